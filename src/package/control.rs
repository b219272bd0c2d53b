//! One head, as the others see it: where it is, how far it will get, and what it is told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::table::SegmentTable;

/// What a new head costs before its first segment: a process start and a seek (packaging measurements, sections 2 and 6).
const START: Duration = Duration::from_millis(200);

/// Seconds of media that a head is always trusted to reach soon enough.
const NEAR: f64 = 2.0;

/// How many times faster than real time a head is taken to be before it was measured.
const SPEED: f64 = 40.0;

/// One head, as the others see it.
#[derive(Debug)]
pub struct Control {
    /// The segment that it was started for.
    pub start: u32,
    /// The segment that it works on.
    pub next: AtomicU32,
    /// It waits for bytes of its source, or has nobody to work for: it uses no processor.
    pub starved: AtomicBool,
    /// It is to end at the next segment boundary, though never before its first.
    pub stop: AtomicBool,
    /// It reads the source from its beginning, wherever it was started for: another one would come to nothing sooner.
    reads_all: bool,
    began: Instant,
}

impl Control {
    /// A head for `start` that begins now.
    pub fn new(start: u32) -> Arc<Self> {
        Self::begin(start, false)
    }

    /// A head for `start` that begins now, and takes packets of audio as they are: it counts them from the source's first.
    pub fn copying(start: u32) -> Arc<Self> {
        Self::begin(start, true)
    }

    fn begin(start: u32, reads_all: bool) -> Arc<Self> {
        Arc::new(Self {
            reads_all,
            start,
            next: AtomicU32::new(start),
            starved: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            began: Instant::now(),
        })
    }

    /// Whether it will get to segment `n` before a new head could have made it, if no other head has been on its way.
    pub fn reaches(&self, table: &SegmentTable, n: u32) -> bool {
        let next = self.next.load(Relaxed);
        let goes_on = !self.stop.load(Relaxed) || n <= self.start;
        n >= next && goes_on && (n == next || distance(table, next, n) <= self.horizon(table))
    }

    /// Waits for something during which it uses no processor.
    pub async fn starve<T>(&self, wait: impl Future<Output = T>) -> T {
        self.starved.store(true, Relaxed);
        let done = wait.await;
        self.starved.store(false, Relaxed);
        done
    }

    /// Seconds of media that it covers in the time that a new head takes to start.
    fn horizon(&self, table: &SegmentTable) -> f64 {
        if self.reads_all {
            return f64::INFINITY;
        }
        let made = distance(table, self.start, self.next.load(Relaxed));
        // A start that took less than it should must not make for a speed without bounds.
        let took = self.began.elapsed().saturating_sub(START / 4).max(START / 4);
        let speed = if made > 0.0 { made / took.as_secs_f64() } else { SPEED };
        NEAR.max(speed * START.as_secs_f64())
    }
}

/// Seconds of media between the starts of two segments.
fn distance(table: &SegmentTable, from: u32, to: u32) -> f64 {
    let start = |n| table.ticks(n).map_or(0, |ticks| ticks.start);
    start(to).saturating_sub(start(from)) as f64 / f64::from(table.timescale())
}
