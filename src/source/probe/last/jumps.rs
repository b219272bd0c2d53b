//! Where the times of a transport stream jump, and by how much those behind a jump have to be later for it not to show.
//!
//! The times of each track are cut into runs that go on evenly. Where all tracks that go on begin a new run, the clock has
//! jumped: a part begins. It is laid so that no track overlaps what it had before, and one of them goes on without a gap. So
//! the tracks keep step within each part, whatever comes before it. A track that jumps alone has a gap, or is damaged.

mod runs;

use std::{
    fs::File,
    io::{self, Read},
    time::Instant,
};

pub(super) use self::runs::Stream;
use self::runs::{Run, Track};
use super::super::{
    clock::{Clock, Mark, Turn},
    pes::{self, Packets, distance, wound},
};

/// Ticks a second.
const SECOND: i64 = 90_000;

/// Ticks that are one in any case, as they are for ffmpeg (`-dts_delta_threshold`).
const FAR: i64 = 10 * SECOND;

/// When the first time of all comes out: nothing that belongs before it has one below 0.
const BASE: i64 = 10 * SECOND;

/// Runs of all tracks. A file that has more of them is no film.
const MOST: usize = 5_000;

/// Every so manieth mark of a run is kept.
const MARKED: usize = 5;

/// Bytes that are read at once, and after which the clock is looked at.
const BLOCK: usize = 256 * 1024;

/// What has to be done to the times of these tracks, as far as a file tells until `deadline`.
pub(super) fn walk(file: &mut File, streams: &[Stream], deadline: Instant) -> io::Result<Clock> {
    let mut tracks: Vec<Track> = streams.iter().map(|&stream| Track::new(stream)).collect();
    let (mut packets, mut block) = (Packets::default(), vec![0; BLOCK]);
    loop {
        let read = file.read(&mut block)?;
        let bytes = block.get(..read).unwrap_or_default();
        if read == 0 {
            packets.end(|at, packet| note(&mut tracks, at, packet));
            tracks.iter_mut().for_each(Track::close);
            return Ok(clock(&tracks));
        }
        packets.push(bytes, |at, packet| note(&mut tracks, at, packet));
        let runs: usize = tracks.iter().map(|track| track.runs.len()).sum();
        if runs > MOST || Instant::now() > deadline {
            return Ok(Clock::default());
        }
    }
}

fn note(tracks: &mut [Track], at: u64, packet: &[u8]) {
    let pid = pes::pid(packet);
    let track = tracks.iter_mut().find(|track| Some(track.stream.pid) == pid);
    if let (Some(track), Some((begins, start))) = (track, pes::payload(packet)) {
        track.take(at, packet, begins, start);
    }
}

/// What the tracks have between two jumps of the clock.
#[derive(Debug)]
struct Part {
    /// Where it begins.
    at: u64,
    /// A time shortly behind its beginning, as packets have it.
    origin: u64,
    /// Those runs that begin with it: of which track, and which.
    runs: Vec<(usize, usize)>,
    /// Whether one track is enough to believe in it.
    clear: bool,
}

/// The parts of the tracks, the first one without any runs.
fn parts(tracks: &[Track]) -> Vec<Part> {
    let first = tracks.iter().filter_map(|track| track.runs.first());
    let origin = first.map(|run| run.origin).next().unwrap_or(0);
    let mut parts = vec![Part { at: 0, origin, runs: Vec::new(), clear: true }];
    let mut jumps = Vec::new();
    for (which, track) in tracks.iter().enumerate() {
        for (n, pair) in track.runs.windows(2).enumerate() {
            if let [before, run] = pair {
                let step = before.step(run.origin);
                jumps.push((run.bytes.0, run.origin, (which, n + 1), !(0..=FAR).contains(&step)));
            }
        }
    }
    jumps.sort_unstable();
    for (at, origin, run, clear) in jumps {
        let goes_with = |&(which, n): &(usize, usize)| {
            let other = tracks.get(which).and_then(|track| track.runs.get(n));
            which != run.0 && other.is_some_and(|other| other.is_at(at, origin))
        };
        let is_of = |part: &&mut Part| !part.runs.is_empty() && part.runs.iter().all(goes_with);
        if let Some(part) = parts.last_mut().filter(is_of) {
            part.runs.push(run);
        } else if !tracks.iter().any(|track| track.goes_on_at(at, origin)) {
            parts.push(Part { at, origin, runs: vec![run], clear });
        }
    }
    let is_first = |part: &Part| part.at == 0 && part.runs.is_empty();
    parts.retain(|part| is_first(part) || part.clear || part.runs.len() > 1);
    parts
}

/// What one track has of a part: one run, or more with gaps in between. At least one.
#[derive(Debug)]
struct Piece<'a> {
    which: usize,
    stream: Stream,
    runs: Vec<&'a Run>,
}

impl<'a> Piece<'a> {
    /// When it begins, in a part of this origin.
    fn start(&self, origin: u64) -> Option<i64> {
        let run = self.runs.first()?;
        Some(distance(origin, run.origin).saturating_add(run.shown.0))
    }

    /// Where its runs begin if the part's origin `lies` there. One of wild times, far from what `others` have at the same place,
    /// goes on where the last one ended.
    fn lay(&self, origin: u64, lies: i64, others: &[Self]) -> Vec<Laid<'a>> {
        let mut end = None;
        let lay = |&run: &&'a Run| {
            let own = lies.saturating_add(distance(origin, run.origin));
            let begins = match end {
                Some(end) if run.is_far(own, end) && !self.goes_with(run, others) => {
                    end.saturating_sub(run.shown.0)
                }
                _ => own,
            };
            let laid = Laid { run, begins };
            end = end.max(Some(laid.end()));
            laid
        };
        self.runs.iter().map(lay).collect()
    }

    /// Whether one of the others comes about the time of this run at the same place.
    fn goes_with(&self, run: &Run, others: &[Self]) -> bool {
        let others = others.iter().filter(|other| other.which != self.which);
        others.flat_map(|other| &other.runs).any(|other| other.is_at(run.bytes.0, run.origin))
    }
}

/// A run, and when it begins by the clock that goes evenly.
#[derive(Debug)]
struct Laid<'a> {
    run: &'a Run,
    begins: i64,
}

impl Laid<'_> {
    fn end(&self) -> i64 {
        self.begins.saturating_add(self.run.end())
    }

    /// By how much its times have to be later.
    fn later(&self) -> u64 {
        wound(self.begins.wrapping_sub_unsigned(self.run.origin))
    }

    fn marks(&self) -> impl Iterator<Item = Mark> {
        let begins = self.begins.saturating_sub(BASE);
        self.run.marks.iter().step_by(MARKED).map(move |&(ticks, at)| {
            let time = begins.saturating_add(ticks) / (SECOND / 1000);
            Mark { time: u64::try_from(time).unwrap_or(0), at }
        })
    }
}

/// In which part each run of a track is, which is number `which`.
fn places(parts: &[Part], which: usize, track: &Track) -> Vec<usize> {
    let mut place = 0;
    let place_of = |(n, run): (usize, &Run)| {
        let begins = parts.iter().position(|part| part.runs.contains(&(which, n)));
        // A track that is there later than others begins with the part that is there.
        let first = || parts.iter().rposition(|part| n == 0 && part.at <= run.bytes.0);
        place = begins.or_else(first).unwrap_or(place);
        place
    };
    track.runs.iter().enumerate().map(place_of).collect()
}

/// The clock by which all tracks go on evenly.
fn clock(tracks: &[Track]) -> Clock {
    let parts = parts(tracks);
    if parts.len() == 1 {
        return Clock::default();
    }
    let places: Vec<_> =
        tracks.iter().enumerate().map(|(which, track)| places(&parts, which, track)).collect();
    let mut ends = vec![None; tracks.len()];
    let (mut turns, mut marks) = (Vec::new(), Vec::new());
    for (n, part) in parts.iter().enumerate() {
        let pieces = tracks.iter().zip(&places).enumerate().map(|(which, (track, places))| {
            let runs = track.runs.iter().zip(places).filter(|(_, place)| **place == n);
            Piece { which, stream: track.stream, runs: runs.map(|(run, _)| run).collect() }
        });
        let pieces: Vec<_> = pieces.filter(|piece| !piece.runs.is_empty()).collect();
        let lies = lie(part.origin, &pieces, &ends);
        for piece in &pieces {
            let Stream { pid, video } = piece.stream;
            let mut last = None;
            for laid in piece.lay(part.origin, lies, &pieces) {
                let (from, later) = (laid.run.bytes.0, laid.later());
                if last.replace(later) != Some(later) {
                    turns.push(Turn { pid, from, later });
                }
                if video {
                    marks.extend(laid.marks());
                }
                if let Some(end) = ends.get_mut(piece.which) {
                    *end = (*end).max(Some(laid.end()));
                }
            }
        }
    }
    Clock::new(turns, marks)
}

/// Where the origin of a part comes to lie, behind what ends before it: `ends` says when each track does.
fn lie(origin: u64, pieces: &[Piece<'_>], ends: &[Option<i64>]) -> i64 {
    let end = |piece: &Piece<'_>| ends.get(piece.which).copied().flatten();
    let behind = |piece| end(piece)?.checked_sub(piece.start(origin)?);
    pieces.iter().filter_map(behind).max().unwrap_or_else(|| {
        let first = pieces.iter().filter_map(|piece| piece.start(origin)).min();
        let last = ends.iter().flatten().max().copied();
        last.unwrap_or(BASE).saturating_sub(first.unwrap_or(0))
    })
}

#[cfg(test)]
mod tests;
