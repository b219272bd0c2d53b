//! What keeps the making of a rendition near the players that it is made for.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use super::table::SegmentTable;

/// For how long a player that has asked for a segment is taken to go on from there.
const ATTENTION: Duration = Duration::from_secs(30);

/// Where players were lately, and how far ahead of them segments are made.
#[derive(Debug)]
pub struct Pace {
    /// Seconds of media.
    ahead: f64,
    began: Instant,
    /// When each segment was asked for last, in seconds from `began` on, plus 1; 0 for never.
    asked: Box<[AtomicU32]>,
}

impl Pace {
    /// So far ahead of its players, for a rendition of so many segments.
    pub fn new(segments: u32, ahead: Duration) -> Self {
        let asked = (0..segments).map(|_| AtomicU32::new(0)).collect();
        Self { ahead: ahead.as_secs_f64(), began: Instant::now(), asked }
    }

    /// A player has asked for segment `n`.
    pub fn note(&self, n: u32) {
        if let Some(asked) = self.asked.get(n as usize) {
            asked.store(self.now(), Relaxed);
        }
    }

    /// Whether a player was at segment `n` lately, or near enough before it.
    pub fn is_due(&self, table: &SegmentTable, n: u32) -> bool {
        let recent = self.now().saturating_sub(ATTENTION.as_secs() as u32).max(1);
        let mut way = 0.0;
        for at in (0..=n).rev() {
            if self.asked.get(at as usize).is_some_and(|asked| asked.load(Relaxed) >= recent) {
                return true;
            }
            way += table.seconds(at).unwrap_or_default();
            if way > self.ahead {
                break;
            }
        }
        false
    }

    fn now(&self) -> u32 {
        self.began.elapsed().as_secs() as u32 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_due_only_behind_a_player() {
        let table = SegmentTable::audio(25_841, 44_100, Duration::from_secs(5));
        let pace = Pace::new(table.len(), Duration::from_secs(20));
        assert!(!pace.is_due(&table, 0) && !pace.is_due(&table, 50));
        pace.note(50);
        assert!(pace.is_due(&table, 50) && pace.is_due(&table, 54), "20 s are 4 segments");
        assert!(!pace.is_due(&table, 55) && !pace.is_due(&table, 49));
        pace.note(10_000);
    }
}
