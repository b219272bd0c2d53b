//! Where the times of a transport stream jump, and by how much those behind a jump have to be later for it not to show.
//!
//! The times of each track are cut into runs that go on evenly. Where all tracks that go on begin a new run, the clock has
//! jumped: a part begins. It is laid so that no track overlaps what it had before, and one of them goes on without a gap. So
//! the tracks keep step within each part, whatever comes before it. A track that jumps alone has a gap, or is damaged.

use std::{
    fs::File,
    io::{self, Read},
    time::Instant,
};

use super::super::{
    adts,
    clock::{Clock, Mark, Turn},
    mpeg,
    pes::{self, Packets, Times, distance, wound},
};

/// Ticks a second.
const SECOND: i64 = 90_000;

/// Ticks that a time may lie before the one that came before it: sixteen pictures out of order, 25 a second, are less.
const BACK: i64 = SECOND * 7 / 10;

/// Ticks from a time to the next of the same track that are a jump if others jump with it.
const AHEAD: i64 = SECOND;

/// Ticks that are one in any case, as they are for ffmpeg (`-dts_delta_threshold`).
const FAR: i64 = 10 * SECOND;

/// Ticks that tracks which lie side by side in the file are apart at most.
const APART: u64 = 5 * SECOND.unsigned_abs();

/// When the first time of all comes out: nothing that belongs before it has one below 0.
const BASE: i64 = 10 * SECOND;

/// Runs of all tracks. A file that has more of them is no film.
const MOST: usize = 20_000;

/// Bytes of a piece of audio whose frames are counted.
const PIECE: usize = 64 * 1024;

/// Bytes that are read at once, and after which the clock is looked at.
const BLOCK: usize = 256 * 1024;

/// Ticks after which there is a mark.
const STEP: i64 = 5 * SECOND;

/// Ticks of a picture that comes alone.
const PICTURE: i64 = SECOND / 25;

/// A track whose times count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    /// Its packets.
    pub(super) pid: u16,
    /// Whether it is video.
    pub(super) video: bool,
}

/// What has to be done to the times of these tracks, as far as a file tells until `deadline`.
pub(super) fn walk(file: &mut File, streams: &[Stream], deadline: Instant) -> io::Result<Clock> {
    let mut tracks: Vec<Track> = streams.iter().map(|&stream| Track::new(stream)).collect();
    let (mut packets, mut block) = (Packets::default(), vec![0; BLOCK]);
    loop {
        let read = file.read(&mut block)?;
        let bytes = block.get(..read).unwrap_or_default();
        if read == 0 {
            packets.end(|at, packet| note(&mut tracks, at, packet));
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

/// Times that go on evenly. They count from `origin`, and only that may be more than the packets have bits for.
#[derive(Debug)]
struct Run {
    /// Where its first packet is, and its last one that has a time.
    bytes: (u64, u64),
    /// When its first picture or sound is decoded, as the packet has it.
    origin: u64,
    /// The newest time at which something is decoded.
    newest: i64,
    /// The earliest and the latest at which something is shown.
    shown: (i64, i64),
    /// How often there is a time.
    count: i64,
    /// Bytes of audio before the newest piece, and that piece.
    weight: u64,
    piece: Vec<u8>,
    /// Times, and the packets that have them.
    marks: Vec<(i64, u64)>,
}

impl Run {
    fn new(at: u64, decoded: u64, shown: u64) -> Self {
        let shown = distance(decoded, shown);
        Self {
            bytes: (at, at),
            origin: decoded,
            newest: 0,
            shown: (shown, shown),
            count: 1,
            weight: 0,
            piece: Vec::new(),
            marks: vec![(0, at)],
        }
    }

    /// The next time; false if it jumps.
    fn goes_on(&mut self, at: u64, decoded: u64, shown: u64) -> bool {
        let step = self.step(decoded);
        if !(-BACK..=AHEAD).contains(&step) {
            return false;
        }
        let time = self.newest.saturating_add(distance(decoded, shown)).saturating_add(step);
        self.shown = (self.shown.0.min(time), self.shown.1.max(time));
        self.newest = self.newest.saturating_add(step);
        self.bytes.1 = at;
        self.count += 1;
        self.weight += self.piece.len() as u64;
        self.piece.clear();
        if self.marks.last().is_none_or(|(mark, _)| self.newest - mark >= STEP) {
            self.marks.push((self.newest, at));
        }
        true
    }

    /// Ticks from its newest time to another one.
    fn step(&self, decoded: u64) -> i64 {
        distance(wound(self.origin.cast_signed().wrapping_add(self.newest)), decoded)
    }

    /// Whether it comes about this time at a byte.
    fn is_at(&self, byte: u64, time: u64) -> bool {
        let behind = self.marks.partition_point(|(_, at)| *at <= byte);
        let mark = behind.checked_sub(1).and_then(|last| self.marks.get(last));
        let newest = mark.map_or(0, |(newest, _)| *newest);
        let from = wound(self.origin.cast_signed().wrapping_add(newest));
        byte <= self.bytes.1 && distance(from, time).unsigned_abs() <= APART
    }

    /// When it is over.
    fn end(&self, video: bool) -> i64 {
        let span = self.shown.1.saturating_sub(self.shown.0);
        let usual = span.checked_div(self.count - 1);
        let last = if video {
            usual.unwrap_or(PICTURE)
        } else {
            // Where nobody knows its frames, the last piece is as dense as the others.
            let dense = |ticks: i64| {
                let ticks = u64::try_from(ticks).ok()?;
                ticks.checked_mul(self.piece.len() as u64)?.checked_div(self.weight)
            };
            let ticks = sound(&self.piece).or_else(|| dense(self.newest));
            ticks.and_then(|ticks| i64::try_from(ticks).ok()).or(usual).unwrap_or(0)
        };
        self.shown.1.saturating_add(last)
    }
}

/// Ticks that the whole frames of a piece of audio last, if they are AAC in ADTS or MPEG audio.
fn sound(piece: &[u8]) -> Option<u64> {
    let frame = |at: usize| {
        let bytes = piece.get(at..)?;
        let (size, samples, rate) = adts::frame(bytes).or_else(|| {
            let header = mpeg::Header::read(bytes)?;
            Some((header.size, header.samples(), header.rate))
        })?;
        let next = at + usize::try_from(size).ok()?;
        let ticks = samples.checked_mul(SECOND.unsigned_abs())?.checked_div(rate.into())?;
        (next <= piece.len()).then_some((next, ticks))
    };
    let is_whole = |at: &usize| {
        frame(*at).is_some_and(|(next, _)| next == piece.len() || frame(next).is_some())
    };
    let mut at = (0..piece.len()).find(is_whole)?;
    let mut all = 0;
    while let Some((next, ticks)) = frame(at) {
        (at, all) = (next, all + ticks);
    }
    Some(all)
}

/// A track, and what was met of it.
#[derive(Debug)]
struct Track {
    stream: Stream,
    runs: Vec<Run>,
}

impl Track {
    const fn new(stream: Stream) -> Self {
        Self { stream, runs: Vec::new() }
    }

    /// Takes a packet, which carries something from byte `start` on.
    fn take(&mut self, at: u64, packet: &[u8], begins: bool, start: usize) {
        let mut media = start;
        if begins && let Some(times) = Times::of(packet, start) {
            let time = |place| packet.get(place).and_then(pes::read);
            let Some(shown) = time(times.shown) else {
                return;
            };
            let decoded = times.decoded.and_then(time).unwrap_or(shown);
            let known = self.runs.last_mut();
            if !known.is_some_and(|run| run.goes_on(at, decoded, shown)) {
                self.runs.push(Run::new(at, decoded, shown));
            }
            media = times.media;
        }
        if let Some(run) = self.runs.last_mut().filter(|_| !self.stream.video)
            && run.piece.len() < PIECE
        {
            run.piece.extend_from_slice(packet.get(media..).unwrap_or_default());
        }
    }

    /// Whether it is in the middle of a run at this byte, and neither end of that is a jump to this time.
    fn goes_on_at(&self, byte: u64, time: u64) -> bool {
        let next = self.runs.partition_point(|run| run.bytes.0 < byte);
        let Some(run) = next.checked_sub(1).and_then(|own| self.runs.get(own)) else {
            return false;
        };
        let jumps = |run: &Run| distance(run.origin, time).unsigned_abs() <= APART;
        let begins = next > 1 && jumps(run);
        byte < run.bytes.1 && !begins && !self.runs.get(next).is_some_and(jumps)
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

impl Piece<'_> {
    /// When it begins, in a part of this origin.
    fn start(&self, origin: u64) -> Option<i64> {
        let run = self.runs.first()?;
        Some(distance(origin, run.origin).saturating_add(run.shown.0))
    }

    /// When it ends. A run of wild times says nothing of that.
    fn end(&self, origin: u64) -> Option<i64> {
        let mut end: Option<i64> = None;
        for run in &self.runs {
            let begins = distance(origin, run.origin);
            let own = begins.saturating_add(run.end(self.stream.video));
            match end {
                Some(known) if begins > known.saturating_add(FAR) || own < known => {}
                _ => end = Some(own),
            }
        }
        end
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
        let origin = lay(part.origin, &pieces, &mut ends);
        let later = wound(origin.wrapping_sub_unsigned(part.origin));
        let turn = |piece: &Piece<'_>| {
            let from = piece.runs.first()?.bytes.0;
            Some(Turn { pid: piece.stream.pid, from, later })
        };
        turns.extend(pieces.iter().filter_map(turn));
        let video = pieces.iter().filter(|piece| piece.stream.video).flat_map(|piece| &piece.runs);
        for run in video {
            let start =
                origin.saturating_sub(BASE).saturating_add(distance(part.origin, run.origin));
            let time = |ticks: i64| u64::try_from(start.saturating_add(ticks) / (SECOND / 1000));
            let mark = |&(ticks, at): &(i64, u64)| Mark { time: time(ticks).unwrap_or(0), at };
            marks.extend(run.marks.iter().map(mark));
        }
    }
    Clock::new(turns, marks)
}

/// Where the origin of a part comes to lie, behind what ends before it. From then on, `ends` says when each track ends.
fn lay(origin: u64, pieces: &[Piece<'_>], ends: &mut [Option<i64>]) -> i64 {
    let end = |piece: &Piece<'_>| ends.get(piece.which).copied().flatten();
    let behind = |piece| end(piece)?.checked_sub(piece.start(origin)?);
    let lies = pieces.iter().filter_map(behind).max().unwrap_or_else(|| {
        let first = pieces.iter().filter_map(|piece| piece.start(origin)).min();
        let last = ends.iter().flatten().max().copied();
        last.unwrap_or(BASE).saturating_sub(first.unwrap_or(0))
    });
    for piece in pieces {
        if let Some(end) = ends.get_mut(piece.which) {
            *end = piece.end(origin).map(|own| own.saturating_add(lies)).max(*end);
        }
    }
    lies
}

#[cfg(test)]
mod tests;
