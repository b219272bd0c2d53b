//! The runs of a track: times that go on evenly, cut where they jump.

use super::{
    super::super::{
        adts, mpeg,
        pes::{self, Times, distance, wound},
    },
    FAR, SECOND,
};

/// Ticks that a time may lie before the one that came before it: sixteen pictures out of order, 25 a second, are less.
const BACK: i64 = SECOND * 7 / 10;

/// Ticks from a time to the next of the same track that are a jump if others jump with it.
const AHEAD: i64 = SECOND;

/// Ticks that tracks which lie side by side in the file are apart at most.
const APART: u64 = 5 * SECOND.unsigned_abs();

/// Bytes of a piece of audio whose frames are counted.
const PIECE: usize = 64 * 1024;

/// Ticks after which there is a mark.
const STEP: i64 = 2 * SECOND;

/// Ticks of a picture that comes alone.
const PICTURE: i64 = SECOND / 25;

/// A track whose times count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Its packets.
    pub pid: u16,
    /// Whether it is video.
    pub video: bool,
}

/// Times that go on evenly. They count from `origin`, and never begin anew.
#[derive(Debug)]
pub(super) struct Run {
    /// Where its first packet is, and its last one that has a time.
    pub(super) bytes: (u64, u64),
    /// When its first picture or sound is decoded, as the packet has it.
    pub(super) origin: u64,
    /// The newest time at which something is decoded.
    newest: i64,
    /// The earliest and the latest at which something is shown.
    pub(super) shown: (i64, i64),
    /// How often there is a time.
    count: i64,
    /// Bytes of audio before the newest piece, and that piece.
    weight: u64,
    piece: Vec<u8>,
    /// Ticks of its last picture or piece.
    last: i64,
    /// Times, and the packets that have them.
    pub(super) marks: Vec<(i64, u64)>,
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
            last: 0,
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
    pub(super) fn step(&self, decoded: u64) -> i64 {
        distance(wound(self.origin.cast_signed().wrapping_add(self.newest)), decoded)
    }

    /// The newest time at a byte, or one up to [`STEP`] before that.
    fn newest_at(&self, byte: u64) -> i64 {
        let behind = self.marks.partition_point(|(_, at)| *at <= byte);
        let mark = behind.checked_sub(1).and_then(|last| self.marks.get(last));
        mark.map_or(0, |(newest, _)| *newest)
    }

    /// Whether it comes about this time at a byte.
    pub(super) fn is_at(&self, byte: u64, time: u64) -> bool {
        let from = wound(self.origin.cast_signed().wrapping_add(self.newest_at(byte)));
        (self.bytes.0..=self.bytes.1).contains(&byte)
            && distance(from, time).unsigned_abs() <= APART
    }

    /// Whether it begins about this time.
    fn is_from(&self, time: u64) -> bool {
        distance(self.origin, time).unsigned_abs() <= APART
    }

    /// Whether it is no plain gap if this begins at `own` and what it follows ends at `end`.
    pub(super) fn is_far(&self, own: i64, end: i64) -> bool {
        let gap = own.saturating_add(self.shown.0).saturating_sub(end);
        !(-BACK..=FAR).contains(&gap)
    }

    /// When it is over; known once it is closed.
    pub(super) fn end(&self) -> i64 {
        self.shown.1.saturating_add(self.last)
    }

    /// Nothing more comes.
    fn close(&mut self, video: bool) {
        let span = self.shown.1.saturating_sub(self.shown.0);
        let usual = span.checked_div(self.count - 1);
        self.last = if video {
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
        self.piece = Vec::new();
    }
}

/// Ticks that the whole frames of a piece of audio last, if they are AAC in ADTS or MPEG audio.
pub(super) fn sound(piece: &[u8]) -> Option<u64> {
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
pub(super) struct Track {
    pub(super) stream: Stream,
    pub(super) runs: Vec<Run>,
}

impl Track {
    pub(super) const fn new(stream: Stream) -> Self {
        Self { stream, runs: Vec::new() }
    }

    /// Takes a packet, which carries something from byte `start` on.
    pub(super) fn take(&mut self, at: u64, packet: &[u8], begins: bool, start: usize) {
        let mut media = start;
        if begins && let Some(times) = Times::of(packet, start) {
            let time = |place| packet.get(place).and_then(pes::read);
            let Some(shown) = time(times.shown) else {
                return;
            };
            let decoded = times.decoded.and_then(time).unwrap_or(shown);
            let known = self.runs.last_mut();
            if !known.is_some_and(|run| run.goes_on(at, decoded, shown)) {
                self.close();
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

    /// Its newest run is over.
    pub(super) fn close(&mut self) {
        if let Some(run) = self.runs.last_mut() {
            run.close(self.stream.video);
        }
    }

    /// Whether it is in the middle of a run at this byte, and does not jump to this time a little before or behind.
    pub(super) fn goes_on_at(&self, byte: u64, time: u64) -> bool {
        let behind = self.runs.partition_point(|run| run.bytes.0 < byte);
        let Some(run) = behind.checked_sub(1).and_then(|own| self.runs.get(own)) else {
            return false;
        };
        let (at, next) = (run.newest_at(byte), self.runs.get(behind));
        let begins = behind > 1 && at.unsigned_abs() <= APART && run.is_from(time);
        let ends = (run.newest - at).unsigned_abs() <= APART;
        byte < run.bytes.1 && !begins && !(ends && next.is_some_and(|run| run.is_from(time)))
    }
}
