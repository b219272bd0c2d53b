//! Which segments of a rendition are there, and how large they are.

use std::ops::Range;

#[derive(Clone, Copy, Debug)]
enum Slot {
    Missing,
    /// Its file is being written, or removed.
    Busy,
    /// Its file is there, with so many bytes.
    Ready(u64),
}

/// The segments of one rendition. Of those past its end none is there, and none can be.
#[derive(Debug)]
pub struct Slots {
    all: Vec<Slot>,
    bytes: u64,
    missing: usize,
    /// Whether all are there and that has been told.
    finished: bool,
    /// Whether one has ever been there.
    any: bool,
}

impl Slots {
    /// So many segments, of which those are there that have bytes in `found`.
    pub fn new(count: u32, found: &[Option<u64>]) -> Self {
        let found = |n| found.get(n as usize).copied().flatten();
        let all: Vec<_> = (0..count).map(|n| found(n).map_or(Slot::Missing, Slot::Ready)).collect();
        let missing = all.iter().filter(|slot| !slot.is_ready()).count();
        let any = missing < all.len();
        let bytes = (0..count).filter_map(found).sum();
        Self { all, bytes, missing, finished: false, any }
    }

    /// Bytes of those that are there.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether every one is there.
    pub fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Whether every one is there, and that is news.
    pub fn finish(&mut self) -> bool {
        self.is_complete() && !std::mem::replace(&mut self.finished, true)
    }

    /// Whether any is or was there.
    pub fn has_any(&self) -> bool {
        self.any
    }

    /// Whether segment `n` is there.
    pub fn is_ready(&self, n: u32) -> bool {
        self.all.get(n as usize).is_some_and(Slot::is_ready)
    }

    /// Whether the file of segment `n` is being written, or removed.
    pub fn is_busy(&self, n: u32) -> bool {
        matches!(self.all.get(n as usize), Some(Slot::Busy))
    }

    /// Whether none of these is there.
    pub fn are_free(&self, range: Range<u32>) -> bool {
        let way = self.all.get(range.start as usize..range.end as usize);
        way.is_some_and(|way| !way.iter().any(Slot::is_ready))
    }

    /// The first one that is missing.
    pub fn first_gap(&self) -> Option<u32> {
        let gap = self.all.iter().position(|slot| matches!(slot, Slot::Missing));
        gap.map(|n| n as u32)
    }

    /// Takes segment `n` for writing; false when it is there or somebody else writes it: the first writer wins.
    pub fn claim(&mut self, n: u32) -> bool {
        match self.all.get_mut(n as usize) {
            Some(slot @ Slot::Missing) => {
                *slot = Slot::Busy;
                true
            }
            _ => false,
        }
    }

    /// A claimed segment has been written, with so many bytes.
    pub fn publish(&mut self, n: u32, bytes: u64) {
        if let Some(slot @ Slot::Busy) = self.all.get_mut(n as usize) {
            *slot = Slot::Ready(bytes);
            self.missing -= 1;
            self.bytes += bytes;
            self.any = true;
        }
    }

    /// Takes segment `n` for its removal, and says how many bytes it has; None when it is not there.
    pub fn let_go(&mut self, n: u32) -> Option<u64> {
        let slot = self.all.get_mut(n as usize)?;
        let Slot::Ready(bytes) = *slot else {
            return None;
        };
        *slot = Slot::Busy;
        self.missing += 1;
        self.bytes -= bytes;
        self.finished = false;
        Some(bytes)
    }

    /// A segment that was taken could not be written, or is removed.
    pub fn unclaim(&mut self, n: u32) {
        if let Some(slot @ Slot::Busy) = self.all.get_mut(n as usize) {
            *slot = Slot::Missing;
        }
    }
}

impl Slot {
    const fn is_ready(&self) -> bool {
        matches!(self, Self::Ready(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_and_goes_is_counted() {
        let mut slots = Slots::new(3, &[Some(10), None, Some(30), Some(40)]);
        assert_eq!((slots.bytes(), slots.first_gap()), (40, Some(1)));
        assert!(slots.are_free(1..2) && !slots.are_free(1..3) && !slots.are_free(1..4));
        assert!(slots.claim(1) && !slots.claim(1) && slots.is_busy(1) && !slots.finish());
        slots.publish(1, 20);
        slots.publish(0, 99);
        assert!(slots.finish() && !slots.finish() && slots.bytes() == 60);
        assert_eq!((slots.let_go(2), slots.let_go(2), slots.let_go(3)), (Some(30), None, None));
        assert!(!slots.is_complete() && !slots.is_ready(2) && !slots.claim(2));
        slots.unclaim(2);
        assert!(slots.claim(2) && slots.bytes() == 30);
        slots.publish(2, 35);
        assert!(slots.finish() && slots.bytes() == 65);
    }

    #[test]
    fn that_there_was_one_is_not_forgotten() {
        let mut slots = Slots::new(2, &[]);
        assert!(!slots.has_any() && slots.claim(0));
        slots.publish(0, 1);
        slots.let_go(0);
        slots.unclaim(0);
        assert!(slots.has_any() && slots.bytes() == 0);
    }
}
