//! Whether edit lists can be followed at all: what they would make of a track.

use super::{
    edits::{Edit, Entry, NOTHING, entries},
    fragment::Runs,
    index::{Cursor, Walk},
    samples::{Durations, Sizes},
    track::Track,
};

/// Samples that a list of several entries may show, each counted as often as it is shown: ffmpeg makes an index of them.
const MOST: u128 = 8_000_000;

/// Entries that are followed: for each, ffmpeg decodes from the keyframe before it on.
const ENTRIES: usize = 1_000;

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
