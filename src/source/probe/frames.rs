//! The sizes of the frames of a track, added up as they are met.

use super::media::{Form, Frames};

/// The frames so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Weights {
    rate: u32,
    /// Samples of each frame but the last; 0 before the first.
    usual: u64,
    /// Whether the newest frame has fewer: then it has to be the last.
    short: bool,
    /// Whether they are not of one length.
    uneven: bool,
    /// Frames of a second; 0 before the first.
    span: usize,
    /// The newest of them, and where among them the oldest is once they are so many.
    second: Vec<u64>,
    oldest: usize,
    /// Bytes of those.
    held: u64,
    count: u64,
    bytes: u64,
    densest: u64,
    largest: u64,
}

impl Weights {
    /// No frames yet, of so many samples a second.
    pub(super) fn new(rate: u32) -> Self {
        Self { rate, ..Self::default() }
    }

    /// The next frame, of so many bytes and samples.
    pub(super) fn push(&mut self, size: u64, samples: u64) {
        if self.count == 0 {
            self.usual = samples;
            self.span = span(self.rate, samples) as usize;
        }
        self.uneven |= self.short || samples > self.usual || samples == 0;
        self.short = samples < self.usual;
        self.held = self.held.saturating_add(size);
        if self.second.len() < self.span {
            self.second.push(size);
        } else if let Some(oldest) = self.second.get_mut(self.oldest) {
            self.held = self.held.saturating_sub(std::mem::replace(oldest, size));
            self.oldest = if self.oldest + 1 < self.span { self.oldest + 1 } else { 0 };
        }
        self.count += 1;
        self.bytes = self.bytes.saturating_add(size);
        self.densest = self.densest.max(self.held);
        self.largest = self.largest.max(size);
    }

    /// They cannot be copied, whatever comes.
    pub(super) fn spoil(&mut self) {
        self.uneven = true;
    }

    /// All of them, of which the first `priming` samples are not to be heard; None where they cannot be copied.
    pub(super) fn frames(&self, form: Form, priming: u64) -> Option<Frames> {
        let priming = u16::try_from(priming).ok()?;
        let Self { usual, count, bytes, densest, largest, .. } = *self;
        let samples = match form {
            Form::Flac { block, .. } => u64::from(block),
            _ => usual,
        };
        let even = count > 0 && !self.uneven && (usual == samples || count == 1 && usual < samples);
        even.then_some(Frames { form, count, samples, priming, bytes, densest, largest })
    }
}

/// Frames of a second: as many as there are in it, but one at least.
pub(super) fn span(rate: u32, samples: u64) -> u64 {
    u64::from(rate).checked_div(samples).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_densest_second_is_found_wherever_it_is() {
        let mut weights = Weights::new(4_096);
        assert_eq!(weights.frames(Form::Aac, 0), None);
        for size in [1, 9, 9, 9, 2, 1, 1, 10] {
            weights.push(size, 1_024);
        }
        let (form, priming) = (Form::Aac, 1_024);
        let frames =
            Frames { form, count: 8, samples: 1_024, priming, bytes: 42, densest: 29, largest: 10 };
        assert_eq!(weights.frames(form, 1_024), Some(frames));
        assert_eq!(weights.frames(form, 65_536), None);
    }

    #[test]
    fn only_the_last_may_be_shorter() {
        let mut weights = Weights::new(48_000);
        for samples in [960, 960, 480] {
            weights.push(1, samples);
        }
        let form = Form::Opus { gain: 0 };
        assert_eq!(weights.frames(form, 312).map(|frames| frames.samples), Some(960));
        weights.push(1, 480);
        assert_eq!(weights.frames(form, 312), None);
        let mut longer = Weights::new(48_000);
        longer.push(1, 960);
        longer.push(1, 2_880);
        assert_eq!(longer.frames(form, 312), None);
    }
}
