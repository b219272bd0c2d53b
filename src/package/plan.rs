//! The plan: what is done to a source. A pure function of the probe and a few settings.

use serde::{Deserialize, Serialize};

use super::{
    audio::Audio,
    choices::Choices,
    file::{Kind, Track},
    fmp4,
    storyboard::Storyboard,
    table::SegmentTable,
    text::Text,
    tone::Tone,
    video::{self, Rung},
};
use crate::{
    config::Container,
    error::{Code, Error, Result},
    source::probe::media::Media,
};

/// Counts up whenever the same source and settings would give another package: other bytes, other cuts.
pub const VERSION: u32 = 8;

/// What is done to one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Whether the source can be decoded while it arrives.
    pub pipe: bool,
    /// The audio renditions, in the order of their numbers; players begin with the first.
    pub audio: Vec<Audio>,
    /// The rungs of the ladder, in the order of their numbers; players begin with the first.
    #[serde(with = "video::file")]
    pub video: Vec<Rung>,
    /// The embedded tracks of text, in the order of the file.
    pub text: Vec<Text>,
    /// The thumbnails of its video.
    pub storyboard: Option<Storyboard>,
}

impl Plan {
    /// What to do to a source that holds this.
    ///
    /// # Errors
    /// [`Code::UnsupportedMedia`] when there is nothing to play in it.
    pub fn new(media: &Media, choices: &Choices) -> Result<Self> {
        let end = media.video.as_ref().map_or(0, |video| video.delay.saturating_add(video.length));
        let audio = |track| Audio::of(track, media.container, choices, end);
        let mut audio: Vec<_> = media.audio.iter().filter_map(audio).take(MOST_TRACKS).collect();
        if let Some(first) = audio.iter().position(|audio| audio.label.default) {
            audio[..=first].rotate_right(1);
        }
        let storyboard = media.video.as_ref().and_then(|video| {
            let size = (video.width, video.height);
            let tone = Tone::of(video, choices.maps_tones);
            Storyboard::new(media.container, video.index, size, video.length, tone)
        });
        let video = rungs(media, choices);
        let plan = Self { pipe: media.pipe, audio, video, text: Text::all(media), storyboard };
        if plan.audio.is_empty() && plan.video.is_empty() {
            let text = "the media has nothing in it that can be played";
            return Err(Error::new(Code::UnsupportedMedia, text));
        }
        Ok(plan)
    }

    /// What is done for an audio rendition; None for other tracks.
    pub fn audio(&self, track: Track) -> Option<&Audio> {
        let index = usize::from(track.index);
        self.audio.get(index).filter(|_| track.kind == Kind::Audio)
    }

    /// What is done for a video rendition; None for other tracks.
    pub fn rung(&self, track: Track) -> Option<&Rung> {
        let index = usize::from(track.index);
        self.video.get(index).filter(|_| track.kind == Kind::Video)
    }

    /// The renditions that have to be made, and their cuts.
    pub fn tables(&self) -> impl Iterator<Item = (Track, &SegmentTable)> {
        let tracks = |kind| (0..).map(move |index| Track { kind, index });
        let audio = tracks(Kind::Audio).zip(self.audio.iter().map(|audio| &audio.table));
        audio.chain(tracks(Kind::Video).zip(self.video.iter().map(|rung| &rung.table)))
    }

    /// The cuts of captions: those of what players begin with.
    pub fn timeline(&self) -> Option<&SegmentTable> {
        let video = self.video.first().map(|rung| &rung.table);
        video.or_else(|| self.audio.first().map(|audio| &audio.table))
    }

    /// What audio comes in for players that want `container`. Beside video there is one for all, since the clocks of the
    /// others begin elsewhere, and only AAC comes in others at all.
    pub fn container(&self, wanted: Container) -> Container {
        let is_aac = self.audio.iter().all(|audio| audio.codec.aac().is_some());
        if self.video.is_empty() && is_aac { wanted } else { Container::Cmaf }
    }

    /// EXT-X-TARGETDURATION of all renditions beside video, in seconds; 0 without.
    pub fn longest(&self) -> u64 {
        let lengths = self.tables().map(|(_, table)| table.target_duration());
        lengths.max().filter(|_| !self.video.is_empty()).unwrap_or(0)
    }

    /// Whether these bytes are all of segment `n` of a track: after a crash of the machine a file may not be.
    pub fn is_whole(&self, track: Track, n: u32, bytes: &[u8]) -> bool {
        if let Some(rung) = self.rung(track) {
            // What is copied has times of its own.
            let is_own = |ticks| rung.copied.is_some() || Some(ticks) == rung.table.ticks(n);
            return n < rung.table.len() && fmp4::video::ticks(bytes).is_ok_and(is_own);
        }
        self.audio(track).is_some_and(|audio| audio.is_whole(n, bytes))
    }

    /// Bytes that will be on disk of what players begin with, by the bit rates. Video and further audio take theirs as they
    /// are made.
    pub fn estimate(&self) -> u64 {
        16 * 1024 + self.audio.first().map_or(0, Audio::estimate)
    }
}

/// Audio renditions of one package.
const MOST_TRACKS: usize = 16;

/// The most bits a second of the rung that players begin with: more would make them wait on many a line.
const START: u32 = 3_000_000;

/// The same where it is copied, so that they wait for nothing else.
const START_COPIED: u32 = 8_000_000;

/// The rungs, best first, but for the one that players begin with: the best that this machine encodes with ease and that
/// most lines carry. That one comes before all others (RFC 8216 section 6.3.1 lets players begin with any; they take it).
fn rungs(media: &Media, choices: &Choices) -> Vec<Rung> {
    let mut rungs = Rung::all(media, choices);
    rungs.reverse();
    let is_easy = |rung: &Rung| match rung.copied {
        Some(_) => rung.bitrate <= START_COPIED,
        None => rung.pixels() <= choices.speed as f64 && rung.bitrate <= START,
    };
    let first = rungs.iter().position(is_easy).or(rungs.len().checked_sub(1));
    if let Some(first) = first {
        rungs[..=first].rotate_right(1);
    }
    rungs
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::source::probe::{Codec, Container, Splice, colour::Colour, media};

    pub fn media(rate: u32, channels: u16, samples: u64) -> Media {
        let track = media::Audio::new(Codec::Pcm, rate, channels, samples, Splice::Seek);
        let (container, audio) = (Container::Wav, vec![track]);
        Media { container, pipe: true, audio, video: None, text: Vec::new(), start: 0, lag: 0 }
    }

    #[test]
    fn silence_of_no_length_is_refused() {
        let error = Plan::new(&media(44_100, 2, 0), &Choices::default()).unwrap_err();
        assert_eq!(error.code(), Code::UnsupportedMedia);
        assert!(Plan::new(&media(44_100, 0, 10), &Choices::default()).is_err());
    }

    #[test]
    fn players_begin_with_a_rung_that_is_easy() {
        let mut film = media(48_000, 2, 480_000);
        film.video = Some(media::Video {
            index: 0,
            codec: media::Picture::Vp9,
            width: 1920,
            height: 1080,
            plain: true,
            interlaced: false,
            colour: Colour::default(),
            rate: media::FrameRate { numerator: 30, denominator: 1 },
            constant: true,
            length: 10_000,
            delay: 0,
            bitrate: 0,
            cuts: None,
        });
        let heights = |speed| {
            let choices = Choices { speed, ..Choices::default() };
            let plan = Plan::new(&film, &choices).unwrap();
            plan.video.iter().map(|rung| rung.height).collect::<Vec<_>>()
        };
        assert_eq!(heights(1 << 40), [720, 1080, 480, 360, 240]);
        assert_eq!(heights(10_000_000), [360, 1080, 720, 480, 240]);
        assert_eq!(heights(1), [240, 1080, 720, 480, 360]);
    }
}
