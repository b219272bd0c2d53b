//! Caption tracks: those that came beside the media come first, the embedded ones follow.

use std::sync::Arc;

use super::{
    AUDIO, Package, Packager,
    captions::Captions,
    file::{File, Format, Kind, Track},
    packed,
    store::Hot,
    view::{format, no_such_file},
};
use crate::{
    config::Container,
    error::{Code, Error, Result},
};

/// Where the cues of a track come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cues {
    /// A file beside the media.
    Beside,
    /// The media: a track by its place in the plan.
    Embedded(u8),
}

impl Package {
    /// The caption tracks, in the order of their numbers.
    pub(super) fn caption_tracks(&self) -> impl Iterator<Item = Track> {
        let count = usize::from(self.has_captions) + self.plan.text.len();
        (0..).take(count).map(|index| Track { kind: Kind::Subtitles, index })
    }

    fn cues(&self, track: Track) -> Option<Cues> {
        if !self.caption_tracks().any(|own| own == track) {
            return None;
        }
        match track.index.checked_sub(self.has_captions.into()) {
            None => Some(Cues::Beside),
            Some(place) => Some(Cues::Embedded(place)),
        }
    }
}

impl Packager {
    /// Segment `n` of a caption track.
    ///
    /// # Errors
    /// [`Code::NotFound`] where there is none; what [`Packager::extra`] says where the cues cannot be had.
    pub(super) async fn caption_segment(
        &self,
        package: &Arc<Package>,
        track: Track,
        n: u32,
        container: Container,
    ) -> Result<Hot> {
        let cues = package.cues(track).ok_or_else(no_such_file)?;
        let table = package.plan.timeline().ok_or_else(no_such_file)?;
        let ticks = table.presentation(n).ok_or_else(no_such_file)?;
        let captions = self.captions(package, track, cues).await?;
        // Players place a segment's audio up to one packet beside its place in the table.
        let beside = package.plan.audio.first().map_or(0, |audio| {
            let packet = audio.codec.packet() * u64::from(table.timescale());
            packet.div_ceil(audio.codec.rate().into())
        });
        let period = ticks.start.saturating_sub(beside)..ticks.end + beside;
        let origin = match format(package, AUDIO, container) {
            Format::M4s => 0,
            _ => packed::BASE_PTS,
        };
        Ok(Hot::new(captions.segment(period, table.timescale(), origin)))
    }

    async fn captions(
        &self,
        package: &Arc<Package>,
        track: Track,
        cues: Cues,
    ) -> Result<Arc<Captions>> {
        let read = async {
            let bytes = match cues {
                Cues::Beside => {
                    let bytes = self.store.captions(package.key).await;
                    bytes.map_err(|e| Error::io("reading captions", &e))?
                }
                Cues::Embedded(place) => self.extra(package, File::Text(place)).await?.bytes,
            };
            let parsed = Captions::parse(&bytes);
            let parsed = parsed.map_err(|e| Error::new(Code::Internal, e.to_string()))?;
            Ok(Arc::new(parsed.captions))
        };
        let got = self.captions.try_get_with((package.key, track), read).await;
        got.map_err(|error: Arc<Error>| Error::clone(&error))
    }
}
