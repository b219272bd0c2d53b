//! MP4, M4A and `QuickTime` (ISO/IEC 14496-12, 14496-14, 14496-15; Apple's `QuickTime` File Format).
//!
//! Told by the header if `moov` comes first and holds all samples, else by the end. Edit lists are applied as
//! ffmpeg 5.1's mov demuxer does: whole packets at the end, single samples at the start, none in fragments.

mod audio;
mod boxes;
mod editing;
mod edits;
mod entry;
mod fragment;
pub mod index;
mod samples;
mod text;
mod track;
mod video;

use std::{borrow::Cow, ops::Range};

use self::{
    audio::Sound,
    boxes::{boxes, child, descend},
    fragment::Moof,
    track::Track,
};
use super::{
    Clock, Codec, Container, Input, Media, Splice, Stop,
    input::{array, be32, be64},
    unsupported,
};

/// The largest `moov` that is read, in bytes.
const MOOV: u64 = 64 * 1024 * 1024;

/// Boxes on the top level; the fragments of a day in pieces of a second.
const BOXES: usize = 200_000;

/// Bytes of one `moof` that are read.
const MOOF: u64 = 4 * 1024 * 1024;

/// Tracks that are looked at; ffmpeg is told the same limit.
const TRACKS: usize = 64;

/// Whether a file starts with a box that MP4 starts with.
pub(super) fn begins(head: &[u8]) -> bool {
    let size = be32(head, 0).unwrap_or(0);
    match head.get(4..8) {
        Some(b"ftyp" | b"moov" | b"styp" | b"pnot") => size >= 8 || size == 1,
        Some(b"mdat" | b"free" | b"wide" | b"skip") => size >= 8 || size <= 1,
        _ => false,
    }
}

/// What the file holds.
pub(super) fn media(input: &Input<'_>) -> Result<Media, Stop> {
    let total = input.total().ok_or(Stop::Whole)?;
    let layout = Layout::read(input, total, None)?;
    let mut fragments = Vec::with_capacity(layout.fragments.len());
    for &(body, end) in &layout.fragments {
        fragments.push(input.bytes(body, (end - body) as usize)?);
    }
    let movie = Movie { moov: &layout.moov, total, fragments: &fragments, edited: true };
    let movie = Movie { edited: movie.can_be_edited(), ..movie };
    let told = movie.media(input, layout.ahead.then_some(layout.end));
    told.map_err(|stop| match stop {
        Stop::Undetermined(_) => Stop::Undetermined(movie.container()),
        stop => stop,
    })
}

/// The boxes of the top level that matter.
struct Layout<'a> {
    moov: Cow<'a, [u8]>,
    /// Where `moov` ends.
    end: u64,
    /// Whether it comes before the media.
    ahead: bool,
    /// The content of every `moof`, by its start and its end.
    fragments: Vec<(u64, u64)>,
}

impl<'a> Layout<'a> {
    /// Reads no further than `moov`, unless fragments follow, and of `moov` only the tracks that have this handler, if one is
    /// named: of hours of film each track is megabytes.
    fn read(input: &Input<'a>, total: u64, handler: Option<[u8; 4]>) -> Result<Self, Stop> {
        let mut found: Option<Self> = None;
        let mut data = false;
        let mut fragments = Vec::new();
        let mut at = 0;
        for _ in 0..BOXES {
            let Some((kind, body, end)) = top(input, at, total)? else {
                break;
            };
            match &kind {
                b"moov" if end - at > MOOV => {
                    return Err(unsupported("MP4 with a header that is too large"));
                }
                b"moov" if end > total => {
                    return Err(unsupported("MP4 that ends inside its header"));
                }
                b"moov" if found.is_none() => {
                    let moov = match handler {
                        Some(handler) => Cow::Owned(without_others(input, body..end, handler)?),
                        None => input.bytes(body, (end - body) as usize)?,
                    };
                    let fragmented = child(&moov, *b"mvex").is_some();
                    let layout = Self { moov, end, ahead: !data, fragments: Vec::new() };
                    if !fragmented {
                        return Ok(layout);
                    }
                    input.end()?;
                    found = Some(layout);
                }
                // What ffmpeg makes of half a fragment only ffmpeg knows.
                b"mdat" if !fragments.is_empty() && end > total => {
                    return Err(Stop::Undetermined(Container::Mp4));
                }
                b"mdat" if found.is_none() => {
                    // What tells stands behind the media: no use in asking for it piece by piece.
                    input.end()?;
                    data = true;
                }
                b"moof" if end - body <= MOOF && end <= total => fragments.push((body, end)),
                _ => {}
            }
            if end >= total {
                break;
            }
            at = end;
        }
        let found = found.ok_or_else(|| unsupported("MP4 without a header (moov)"))?;
        Ok(Self { fragments, ..found })
    }
}

/// The content of a `moov` without the tracks of other handlers.
fn without_others(input: &Input<'_>, moov: Range<u64>, handler: [u8; 4]) -> Result<Vec<u8>, Stop> {
    let mut kept = Vec::with_capacity((moov.end - moov.start) as usize / 2);
    let mut at = moov.start;
    while let Some((kind, body, end)) = top(input, at, moov.end)?
        && end <= moov.end
    {
        let is_other = &kind == b"trak" && handler_of(input, body..end)? != Some(handler);
        if !is_other {
            input.append(&mut kept, at, (end - at) as usize)?;
        }
        at = end;
    }
    Ok(kept)
}

/// The handler of a `trak`.
fn handler_of(input: &Input<'_>, trak: Range<u64>) -> Result<Option<[u8; 4]>, Stop> {
    let mut within = trak;
    for wanted in [*b"mdia", *b"hdlr"] {
        let mut at = within.start;
        loop {
            match top(input, at, within.end)? {
                Some((kind, body, end)) if kind == wanted => break within = body..end,
                Some((.., end)) if end < within.end => at = end,
                _ => return Ok(None),
            }
        }
    }
    Ok(array(&input.some(within.start, 12)?, 8))
}

/// Type, start of the content and end of the box at `at`; None at the end of the file.
pub(super) fn top(
    input: &Input<'_>,
    at: u64,
    total: u64,
) -> Result<Option<([u8; 4], u64, u64)>, Stop> {
    let head = input.some(at, 16)?;
    let (Some(size), Some(kind)) = (be32(&head, 0), array(&head, 4)) else {
        return Ok(None);
    };
    let (header, size) = match size {
        0 => (8, total.saturating_sub(at)),
        1 => (16, be64(&head, 8).unwrap_or(0)),
        size => (8, u64::from(size)),
    };
    if size < header {
        return Err(unsupported("MP4 with a broken box"));
    }
    Ok(Some((kind, at + header, at.saturating_add(size))))
}

/// A movie, and the content of every `moof` behind it.
#[derive(Clone, Copy)]
struct Movie<'a> {
    moov: &'a [u8],
    /// Bytes of the file.
    total: u64,
    fragments: &'a [Moof<'a>],
    /// Whether its edit lists are followed: all of them or, as ffmpeg does it, none.
    edited: bool,
}

impl<'a> Movie<'a> {
    /// All tracks. `end` is where `moov` ends, if it comes before the media.
    fn media(&self, input: &Input<'_>, end: Option<u64>) -> Result<Media, Stop> {
        if self.tracks().any(|track| track.is_encrypted()) {
            return Err(unsupported("an encrypted MP4"));
        }
        if !self.holds_together() {
            return Err(Stop::Undetermined(Container::Mp4));
        }
        let sounds = self.sounds(input)?;
        let pictures = self.pictures()?;
        let starts: Vec<i64> = sounds.iter().map(|sound| sound.start).collect();
        let ahead = |ordered: bool, first: u64| ordered && end.is_some_and(|end| first >= end);
        let piped = |sound: &Sound| ahead(sound.ordered, sound.first);
        let pipe = self.is_fragmented()
            || sounds.iter().all(piped)
                && pictures.as_ref().is_none_or(|video| ahead(video.ordered, video.first));
        let start = pictures.as_ref().map(|video| video.start);
        // ffmpeg counts from the earliest track, and `-ss` with it.
        let steady = pictures.as_ref().is_none_or(|video| video.whole)
            && starts.iter().copied().chain(start).min() == Some(0);
        let audio = sounds.into_iter().map(|sound| {
            let seekable = steady && sound.start == 0 && !self.is_fragmented();
            let codec = matches!(sound.audio.codec, Codec::Aac { object: 2 } | Codec::Alac);
            let splice = if seekable && codec { Splice::Seek } else { Splice::Decode };
            super::media::Audio { splice, ..sound.audio }
        });
        let mut media = Media {
            container: self.container(),
            pipe,
            audio: audio.collect(),
            video: pictures.map(|video| video.video),
            text: self.text(),
            start: 0,
            lag: 0,
            clock: Clock::default(),
        };
        media.align(&starts, start, None);
        Ok(media)
    }

    /// Whether one of its tags has this name in it.
    fn is_tagged(&self, name: &[u8]) -> bool {
        let tags = boxes(self.moov).filter(|(kind, _)| kind != b"trak");
        tags.flat_map(|(_, tags)| tags.windows(name.len())).any(|found| found == name)
    }

    fn container(&self) -> Container {
        if self.edited { Container::Mp4 } else { Container::Mp4Unedited }
    }

    /// Whether ffmpeg can read it, as far as its tables tell.
    fn holds_together(&self) -> bool {
        let mut tables = self.tracks().filter_map(|track| track.stbl());
        let ids: Vec<_> = self.tracks().filter_map(|track| track.id()).collect();
        tables.all(samples::holds_together)
            && self
                .fragments
                .iter()
                .flat_map(|moof| fragment::tracks(moof))
                .all(|id| ids.contains(&id))
    }

    /// Whether the edit lists of all tracks can be followed.
    fn can_be_edited(&self) -> bool {
        let mut tracks = self.tracks().filter(|track| track.is(*b"soun") || track.is(*b"vide"));
        tracks.all(|track| editing::can_be_followed(&track))
    }

    fn is_fragmented(&self) -> bool {
        child(self.moov, *b"mvex").is_some()
    }

    fn tracks(&self) -> impl Iterator<Item = Track<'a>> {
        let movie = *self;
        boxes(movie.moov)
            .filter(|(kind, _)| kind == b"trak")
            .take(TRACKS)
            .map(move |(_, trak)| Track { movie, trak })
    }

    /// The audio tracks; those of codecs that nobody knows only count.
    fn sounds(&self, input: &Input<'_>) -> Result<Vec<Sound>, Stop> {
        let mut sounds = Vec::new();
        let mut unknown = None;
        for (index, track) in (0..).zip(self.tracks().filter(|track| track.is(*b"soun"))) {
            match Sound::read(&track, index, input) {
                Ok(sound) => sounds.push(sound),
                Err(Stop::Unsupported(found)) => unknown = unknown.or(Some(found)),
                Err(stop) => return Err(stop),
            }
        }
        match unknown {
            Some(found) if sounds.is_empty() && !self.tracks().any(|track| track.is(*b"vide")) => {
                Err(unsupported(found))
            }
            _ => Ok(sounds),
        }
    }

    /// The first video track that is no picture of the cover or of a chapter.
    fn pictures(&self) -> Result<Option<video::Moving>, Stop> {
        for (index, track) in self.videos().filter(|(_, track)| !self.is_chapter(track)) {
            if let Some(moving) = video::Moving::read(&track, index)? {
                return Ok(Some(moving));
            }
        }
        Ok(None)
    }

    /// The video tracks, each with its number among ffmpeg's video streams, which count pictures of the cover, too, in the
    /// order of the file.
    fn videos(&self) -> impl Iterator<Item = (u32, Track<'a>)> {
        let mut traks = self.tracks();
        let mut count = 0;
        boxes(self.moov).filter_map(move |(kind, body)| match &kind {
            b"udta" => {
                count += covers(body);
                None
            }
            b"trak" => {
                let track = traks.next().filter(|track| track.is(*b"vide"))?;
                count += 1;
                Some((count - 1, track))
            }
            _ => None,
        })
    }

    fn text(&self) -> Vec<super::media::Text> {
        let tracks = self.tracks().filter(|track| !self.is_chapter(track));
        let streams = tracks.filter(text::is_subtitle);
        (0..).zip(streams).filter_map(|(index, track)| text::read(&track, index)).collect()
    }

    /// Whether a track holds the chapters of another.
    fn is_chapter(&self, track: &Track<'_>) -> bool {
        let Some(id) = track.id() else { return false };
        self.tracks().any(|other| {
            let chapters = descend(other.trak, &[*b"tref", *b"chap"]).unwrap_or_default();
            chapters.chunks_exact(4).any(|chapter| be32(chapter, 0) == Some(id))
        })
    }
}

/// The pictures in a `udta` box: `meta` (a full box), `ilst`, `covr`, and a `data` box for each.
fn covers(udta: &[u8]) -> u32 {
    let list = child(udta, *b"meta").and_then(|meta| child(meta.get(4..)?, *b"ilst"));
    let pictures = list.and_then(|list| child(list, *b"covr")).unwrap_or_default();
    boxes(pictures).filter(|(kind, _)| kind == b"data").count() as u32
}
