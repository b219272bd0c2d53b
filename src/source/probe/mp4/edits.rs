//! Edit lists (ISO/IEC 14496-12 section 8.6.6): what they leave of a track as ffmpeg 5.1 follows them, and whether they can be
//! followed at all.

use super::{
    super::input::{be32, be64},
    boxes::child,
    fragment::Runs,
    index::{Cursor, Walk},
    samples::{Durations, Sizes},
    track::Track,
};

/// Samples that a list of several entries may show, each counted as often as it is shown: ffmpeg makes an index of them.
const MOST: u128 = 8_000_000;

/// Entries that are followed: for each, ffmpeg decodes from the keyframe before it on.
const ENTRIES: usize = 1_000;

/// The media time of an entry that shows nothing.
const NOTHING: i64 = -1;

/// What an edit list shows of a track, in ticks of the track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    /// The media time at which it starts.
    pub(super) start: u64,
    /// Its duration.
    pub(super) length: u64,
    /// How much later than the presentation it starts, in ticks of the movie.
    pub(super) late: u64,
}

impl Edit {
    fn end(self) -> u64 {
        self.start.saturating_add(self.length)
    }
}

/// An edit list as far as it can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edits {
    /// There is none.
    Absent,
    /// One piece of the media.
    One(Edit),
    /// Several pieces, or nonsense.
    Several,
}

impl Edits {
    /// The edit list of a `trak`; `scales` are the ticks a second of the movie and of the track.
    pub(super) fn read(trak: &[u8], scales: (u32, u32)) -> Self {
        let (mut late, mut shown) = (0u64, None);
        for entry in entries(trak) {
            match shown {
                None if entry.start < 0 => late = late.saturating_add(entry.length),
                None => shown = Some(entry),
                Some(_) => return Self::Several,
            }
        }
        match shown {
            None => Self::Absent,
            Some(entry) => {
                entry.edit(scales).map_or(Self::Several, |edit| Self::One(Edit { late, ..edit }))
            }
        }
    }
}

/// Whether the edit list of a track, if it has one, can be followed: no entry of it begins before the media, a sample is
/// shown, and not all of them over and over.
pub(super) fn can_be_followed(track: &Track<'_>) -> bool {
    let Ok((own, movie)) = track.scales() else { return true };
    let is_mad = |(n, entry): (usize, Entry)| n >= ENTRIES || entry.start < NOTHING;
    if entries(track.trak).enumerate().any(is_mad) {
        return false;
    }
    let mut edits = entries(track.trak).filter_map(|entry| entry.edit((movie, own)));
    let told = match (edits.next(), edits.next()) {
        _ if track.movie.is_fragmented() => begins_inside(track),
        (Some(only), None) => shows(track, only),
        _ => shows_enough(track, (movie, own)),
    };
    told.unwrap_or(true)
}

/// Whether what an edit shows is any sample; None where nobody knows when those are.
fn shows(track: &Track<'_>, edit: Edit) -> Option<bool> {
    let is_sound = track.is(*b"soun");
    let mut walk = Walk::over(track.stbl()?, track.movie.total, Cursor::default())?.peekable();
    walk.peek()?;
    Some(walk.any(|place| {
        let begin = place.time.saturating_add_signed(place.offset.into());
        // Of sound, a part of a packet can be heard.
        let last = if is_sound {
            begin.saturating_add(place.duration.saturating_sub(1).into())
        } else {
            begin
        };
        begin < edit.end() && last >= edit.start
    }))
}

/// Whether several edits, or none, show anything, and not more than anybody plays.
fn shows_enough(track: &Track<'_>, scales: (u32, u32)) -> Option<bool> {
    let mut list = entries(track.trak).peekable();
    list.peek()?;
    let stbl = track.stbl()?;
    let samples = Sizes::read(stbl, None)?.count();
    let media = Durations::read(stbl)?.sum(samples);
    let shown = list.filter_map(|entry| entry.edit(scales));
    let shown = shown.map(|edit| edit.end().min(media).saturating_sub(edit.start));
    let shown: u128 = shown.map(u128::from).sum();
    let times = (shown * u128::from(samples)).checked_div(u128::from(media))?;
    Some(shown > 0 && times <= MOST)
}

/// Whether a movie in fragments has samples behind the time at which its edit list begins: all that ffmpeg takes of it there.
fn begins_inside(track: &Track<'_>) -> Option<bool> {
    let begin = entries(track.trak).find_map(|entry| u64::try_from(entry.start).ok())?;
    let mut end = 0;
    Runs::of(track)?.walk(track.movie.fragments, |sample| {
        end = end.max(sample.decoded.saturating_add(sample.duration.into()));
    })?;
    Some(begin < end || end == 0)
}

/// An entry of an edit list.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// How long it lasts, in ticks of the movie.
    length: u64,
    /// The media time at which it starts, or [`NOTHING`].
    start: i64,
}

impl Entry {
    /// What it shows; None for nothing. Its duration is rescaled as by ffmpeg: to the nearest tick, halves up.
    fn edit(self, (movie, track): (u32, u32)) -> Option<Edit> {
        let (movie, track) = (u128::from(movie), u128::from(track));
        let length = (u128::from(self.length) * track + movie / 2).checked_div(movie)?;
        let length = i64::try_from(length).ok().filter(|&length| length > 0)?;
        self.start.checked_add(length)?;
        let start = u64::try_from(self.start).ok()?;
        Some(Edit { start, length: length.unsigned_abs(), late: 0 })
    }
}

/// The entries of the edit list of a `trak`: all that its box has room for, whatever it counts, as ffmpeg reads them.
fn entries(trak: &[u8]) -> impl Iterator<Item = Entry> {
    let elst = child(trak, *b"edts").and_then(|edts| child(edts, *b"elst")).unwrap_or_default();
    let is_wide = elst.first() == Some(&1);
    let entries = elst.get(8..).unwrap_or_default().chunks_exact(if is_wide { 20 } else { 12 });
    entries.filter_map(move |entry| {
        let (length, start) = if is_wide {
            (be64(entry, 0)?, be64(entry, 8)?.cast_signed())
        } else {
            (u64::from(be32(entry, 0)?), i64::from(be32(entry, 4)?.cast_signed()))
        };
        Some(Entry { length, start })
    })
}
