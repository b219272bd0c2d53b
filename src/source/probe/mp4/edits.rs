//! Edit lists (ISO/IEC 14496-12 section 8.6.6): what they leave of a track as ffmpeg 5.1 follows them.

use super::{
    super::input::{be32, be64},
    boxes::child,
};

/// The media time of an entry that shows nothing.
pub(super) const NOTHING: i64 = -1;

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
    /// The media time at which it ends.
    pub(super) fn end(self) -> u64 {
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

/// An entry of an edit list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// How long it lasts, in ticks of the movie.
    length: u64,
    /// The media time at which it starts, or [`NOTHING`].
    pub(super) start: i64,
}

impl Entry {
    /// What it shows; None for nothing. Its duration is rescaled as by ffmpeg: to the nearest tick, halves up.
    pub(super) fn edit(self, (movie, track): (u32, u32)) -> Option<Edit> {
        let (movie, track) = (u128::from(movie), u128::from(track));
        let length = (u128::from(self.length) * track + movie / 2).checked_div(movie)?;
        let length = i64::try_from(length).ok().filter(|&length| length > 0)?;
        self.start.checked_add(length)?;
        let start = u64::try_from(self.start).ok()?;
        Some(Edit { start, length: length.unsigned_abs(), late: 0 })
    }
}

/// The entries of the edit list of a `trak`: all that its box has room for, whatever it counts, as ffmpeg reads them.
pub(super) fn entries(trak: &[u8]) -> impl Iterator<Item = Entry> {
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
