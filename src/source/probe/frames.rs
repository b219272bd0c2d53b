//! The sizes of the AAC frames of a track, added up as they are met.

use std::collections::VecDeque;

use super::{aac, media::Frames};

/// The frames so far.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    /// Frames of a second.
    span: usize,
    /// The newest of them.
    second: VecDeque<u64>,
    /// Bytes of those.
    held: u64,
    frames: Frames,
}

impl Weights {
    /// No frames yet, of so many samples a second.
    pub(super) fn new(rate: u32) -> Self {
        let span = (u64::from(rate) / aac::FRAME).max(1) as usize;
        let frames = Frames { count: 0, priming: 0, bytes: 0, densest: 0, largest: 0 };
        Self { span, second: VecDeque::new(), held: 0, frames }
    }

    /// The next frame, of so many bytes.
    pub(super) fn push(&mut self, size: u64) {
        if self.second.len() == self.span {
            self.held = self.held.saturating_sub(self.second.pop_front().unwrap_or(0));
        }
        self.second.push_back(size);
        self.held = self.held.saturating_add(size);
        let frames = &mut self.frames;
        frames.count += 1;
        frames.bytes = frames.bytes.saturating_add(size);
        frames.densest = frames.densest.max(self.held);
        frames.largest = frames.largest.max(size);
    }

    /// All of them, of which the first `priming` samples are not to be heard; None where they cannot be copied.
    pub(super) fn frames(&self, priming: u64) -> Option<Frames> {
        let priming = u16::try_from(priming).ok()?;
        (self.frames.count > 0).then_some(Frames { priming, ..self.frames })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_densest_second_is_found_wherever_it_is() {
        let mut weights = Weights::new(4_096);
        assert_eq!(weights.frames(0), None);
        for size in [1, 9, 9, 9, 2, 1, 1, 10] {
            weights.push(size);
        }
        let frames = Frames { count: 8, priming: 1_024, bytes: 42, densest: 29, largest: 10 };
        assert_eq!(weights.frames(1_024), Some(frames));
        assert_eq!(weights.frames(65_536), None);
    }
}
