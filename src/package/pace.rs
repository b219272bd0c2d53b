//! What keeps the making of a rendition near the players that it is made for, and says what of it they want last.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use super::table::SegmentTable;

/// For how long a player that has asked for a segment is taken to go on from there.
const ATTENTION: Duration = Duration::from_secs(30);

/// How far players are from a segment: the greater, the later it is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Distance {
    /// The nearest one gets there after so much of the media.
    Ahead(Duration),
    /// None is on the way there; the last one was there, or near before it, so long ago.
    Behind(Duration),
}

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

    /// How far players are from each segment, in their order. A player is at a segment that was asked for lately, if the next
    /// one was not asked for since. Where one has been, what was made ahead of it counts as asked for then, too.
    pub fn distances(&self, table: &SegmentTable) -> impl Iterator<Item = Distance> {
        let (now, recent) = (self.now(), self.recent());
        let asked = |n: usize| self.asked.get(n).map_or(0, |asked| asked.load(Relaxed));
        let mut end = 0.0;
        let mut player = None;
        let mut last = (0.0, 0);
        table.durations().enumerate().map(move |(n, seconds)| {
            let (start, here) = (end, asked(n));
            end += seconds;
            if here >= recent && here > asked(n + 1) {
                player = Some(start);
            }
            if here >= last.1 || start - last.0 > self.ahead {
                last = (start, here);
            }
            match player {
                Some(at) => {
                    let way = Duration::try_from_secs_f64(start - at);
                    Distance::Ahead(way.unwrap_or(Duration::MAX))
                }
                None => Distance::Behind(Duration::from_secs(now.saturating_sub(last.1).into())),
            }
        })
    }

    /// Whether a player was at segment `n` lately, or near enough before it.
    pub fn is_due(&self, table: &SegmentTable, n: u32) -> bool {
        let recent = self.recent();
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

    /// Since when it counts as lately.
    fn recent(&self) -> u32 {
        self.now().saturating_sub(ATTENTION.as_secs() as u32).max(1)
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

    /// A pace of four segments to 20 s that says when each was asked for, in seconds; it is second 100 now.
    fn asked(asked: &[(u32, u32)]) -> Vec<Distance> {
        let table = SegmentTable::audio(25_841, 44_100, Duration::from_secs(5));
        let mut pace = Pace::new(table.len(), Duration::from_secs(20));
        pace.began = Instant::now().checked_sub(Duration::from_secs(99)).unwrap();
        for &(n, second) in asked {
            pace.asked[n as usize].store(second, Relaxed);
        }
        pace.distances(&table).collect()
    }

    fn behind(seconds: u64) -> Distance {
        Distance::Behind(Duration::from_secs(seconds))
    }

    fn ahead(distance: Distance, seconds: f64) -> bool {
        matches!(distance, Distance::Ahead(way) if (way.as_secs_f64() - seconds).abs() < 0.3)
    }

    #[test]
    fn what_is_behind_a_player_is_wanted_last() {
        let far = asked(&[(49, 90), (50, 95), (51, 98)]);
        assert_eq!(far[0], behind(100));
        assert_eq!((far[48], far[49], far[50]), (behind(100), behind(10), behind(5)));
        assert!(ahead(far[51], 0.0) && ahead(far[52], 5.0) && ahead(far[61], 50.0), "{far:?}");
        let last = far.iter().enumerate().max_by_key(|&(n, far)| (far, std::cmp::Reverse(n)));
        assert_eq!(last.unwrap().0, 0);
        assert!(far[50] > far[100] && far[100] > far[52] && far[52] > far[51]);
    }

    #[test]
    fn the_nearest_player_counts() {
        let far = asked(&[(10, 80), (11, 85), (12, 90), (10, 99), (30, 98)]);
        assert!(ahead(far[10], 0.0) && ahead(far[11], 5.0) && ahead(far[12], 0.0), "{far:?}");
        assert!(ahead(far[29], 85.0) && ahead(far[30], 0.0) && ahead(far[31], 5.0), "{far:?}");
    }

    #[test]
    fn a_player_who_has_left_is_remembered_by_what_was_made_for_it() {
        let far = asked(&[(50, 20), (51, 25), (52, 30)]);
        assert_eq!((far[50], far[51], far[52]), (behind(80), behind(75), behind(70)));
        assert_eq!((far[53], far[56], far[57]), (behind(70), behind(70), behind(100)));
    }
}
