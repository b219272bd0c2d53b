//! `AudioSpecificConfig` (ISO/IEC 14496-3 section 1.6.2.1) as ffmpeg understands it.

use super::input::Reader;

/// Samples per channel in one AAC frame, before any doubling by SBR.
pub(super) const FRAME: u64 = 1_024;

/// Up to this rate, a stream that does not say so may still be HE-AAC.
pub(super) const IMPLICIT: u32 = 24_000;

const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// The rate of a sampling frequency index.
pub(super) fn rate(index: u32) -> Option<u32> {
    RATES.get(index as usize).copied()
}

/// The channels of a channel configuration; 0 (told by a program config element) is not taken.
pub(super) fn channels(configuration: u32) -> Option<u16> {
    match configuration {
        n @ 1..=6 => Some(n as u16),
        7 => Some(8),
        _ => None,
    }
}

/// What decoding gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Config {
    /// Audio object type: 2 for LC, 5 and 29 for HE-AAC.
    pub(super) object: u8,
    /// Samples a second, after SBR.
    pub(super) rate: u32,
    /// Channels, after parametric stereo.
    pub(super) channels: u16,
    /// Samples per channel of one packet, after SBR.
    pub(super) frame: u64,
}

impl Config {
    /// The configuration, or None where only decoding can tell: implicit SBR or PS, rare object types, short frames.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        let first = reader.object()?;
        let core = reader.rate()?;
        let configuration = reader.take(4)?;
        let (object, mut doubled) = match first {
            5 | 29 => {
                let extended = reader.rate()?;
                (reader.object()?, Some((first, extended)))
            }
            object => (object, None),
        };
        if object != 2 || reader.take(1)? != 0 {
            return None;
        }
        if reader.take(1)? == 1 {
            reader.take(14)?;
        }
        if reader.take(1)? == 1 {
            return None;
        }
        let mut said = doubled.is_some();
        if !said && reader.take(16) == Some(0x2b7 << 5 | 5) {
            said = true;
            if reader.take(1)? == 1 {
                let extended = reader.rate()?;
                let stereo = reader.take(12) == Some(0x548 << 1 | 1);
                doubled = Some((if stereo { 29 } else { 5 }, extended));
            }
        }
        let channels = channels(configuration)?;
        match doubled {
            None if !said && core <= IMPLICIT => None,
            None => Some(Self { object, rate: core, channels, frame: FRAME }),
            Some((29, rate)) if channels == 1 && rate == core * 2 => {
                Some(Self { object: 29, rate, channels: 2, frame: FRAME * 2 })
            }
            // Parametric stereo may hide in mono.
            Some((5, rate)) if channels > 1 && rate == core * 2 => {
                Some(Self { object: 5, rate, channels, frame: FRAME * 2 })
            }
            Some(_) => None,
        }
    }
}

impl Reader<'_> {
    fn object(&mut self) -> Option<u8> {
        match self.take(5)? {
            31 => Some(self.take(6)? as u8 + 32),
            object => Some(object as u8),
        }
    }

    fn rate(&mut self) -> Option<u32> {
        match self.take(4)? {
            15 => self.take(24),
            index => rate(index),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations() {
        let told =
            |bytes: &[u8]| Config::read(bytes).map(|c| (c.object, c.rate, c.channels, c.frame));
        assert_eq!(told(&[0x12, 0x10]), Some((2, 44_100, 2, 1_024)));
        assert_eq!(told(&[0x12, 0x10, 0x56, 0xe5, 0x00]), Some((2, 44_100, 2, 1_024)));
        assert_eq!(told(&[0x15, 0x88]), None, "8 kHz may be HE-AAC");
        assert_eq!(told(&[0x15, 0x88, 0x56, 0xe5, 0x00]), Some((2, 8_000, 1, 1_024)));
        assert_eq!(told(&[0x13, 0x90, 0x56, 0xe5, 0xa0]), Some((5, 44_100, 2, 2_048)));
        assert_eq!(told(&[0x2b, 0x92, 0x08, 0x00]), Some((5, 44_100, 2, 2_048)));
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[0xff; 8]), None);
    }
}
