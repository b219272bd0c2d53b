//! FLAC of a fixed block size.
//!
//! To have at hand: RFC 9639 (STREAMINFO 8.2, frame header 9.1, subframes 9.2).

use std::num::NonZero;

use bytes::BufMut;
use serde::{Deserialize, Serialize};

use crate::{package::adts::Corrupt, source::probe::flac};

/// Sampling rates that players know.
const RATES: [u32; 11] =
    [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 192_000];

/// The largest block of the streamable subset (RFC 9639 section 7), which is 4,608 up to 48 kHz.
const LARGEST: u16 = 16_384;

/// The smallest block that is none at the end (RFC 9639 section 8.2).
const SMALLEST: u16 = 16;

/// What a track of FLAC is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flac {
    rate: u32,
    channels: u8,
    bits: u8,
    block: NonZero<u16>,
    /// Bytes of the largest frame; 0 where they are not known.
    largest: u32,
}

impl Flac {
    /// A track of blocks of `block` samples, of `bits` bits each; None where not every player knows what to do with it.
    pub fn new(rate: u32, channels: u8, bits: u8, block: u16) -> Option<Self> {
        let sound = RATES.contains(&rate) && matches!(channels, 1 | 2) && matches!(bits, 16 | 24);
        let known = sound && (SMALLEST..=LARGEST).contains(&block);
        let block = NonZero::new(block)?;
        known.then_some(Self { rate, channels, bits, block, largest: 0 })
    }

    /// The same, with so many bytes in its largest frame.
    #[must_use]
    pub fn with_largest(self, bytes: u64) -> Self {
        let largest = u32::try_from(bytes).ok().filter(|bytes| bytes >> 24 == 0).unwrap_or(0);
        Self { largest, ..self }
    }

    /// Samples a second.
    pub const fn rate(&self) -> u32 {
        self.rate
    }

    /// 1 or 2.
    pub const fn channels(&self) -> u8 {
        self.channels
    }

    /// Bits of a sample: 16 or 24.
    pub const fn bits(&self) -> u8 {
        self.bits
    }

    /// Samples, a channel, of every block but the last.
    pub const fn block(&self) -> u64 {
        self.block.get() as u64
    }

    /// The body of its STREAMINFO. Length and checksum are left open: silence may stand behind what it was made of.
    pub fn stream_info(&self) -> Vec<u8> {
        let mut info = Vec::with_capacity(34);
        info.put_u16(self.block.get());
        info.put_u16(self.block.get());
        info.put_uint(0, 3);
        info.put_uint(self.largest.into(), 3);
        let (channels, bits) = (u64::from(self.channels) - 1, u64::from(self.bits) - 1);
        info.put_u64(u64::from(self.rate) << 44 | channels << 41 | bits << 36);
        info.put_u128(0);
        info
    }

    /// Samples of a frame that begins with sample `at`.
    ///
    /// # Errors
    /// When it begins with another, has more than the others, or is no frame.
    pub fn samples(&self, at: u64, frame: &[u8]) -> Result<u64, Corrupt> {
        let (start, samples) =
            flac::frame(frame, self.block.get()).ok_or(Corrupt("what is no FLAC frame"))?;
        if start != at || samples > self.block() {
            return Err(Corrupt("a FLAC frame that is not the next one"));
        }
        Ok(samples)
    }

    /// A frame of silence, of so many samples but one block at most, that begins with sample `at`.
    pub fn silence(&self, at: u64, samples: u64) -> Vec<u8> {
        let samples = samples.clamp(1, self.block());
        // Sync; the size of the block in 16 bits, the rate as STREAMINFO has it; independent channels, bits likewise.
        let mut frame = vec![0xff, 0xf8, 0x70, (self.channels - 1) << 4];
        put_coded(&mut frame, at / self.block());
        frame.put_u16((samples - 1) as u16);
        frame.put_u8(flac::crc8(&frame));
        for _ in 0..self.channels {
            // Subframes of a constant, which is 0.
            frame.put_u8(0);
            frame.put_bytes(0, usize::from(self.bits / 8));
        }
        frame.put_u16(flac::crc16(&frame));
        frame
    }
}

/// Appends a number of up to 36 bits as UTF-8 would have it (RFC 9639 section 9.1.5).
fn put_coded(out: &mut Vec<u8>, number: u64) {
    if number < 0x80 {
        return out.put_u8(number as u8);
    }
    // So many bytes follow, of 6 bits each; the first one has what is left.
    let more = (1..6).find(|&more| number >> (6 * more) < 1 << (6 - more)).unwrap_or(6);
    let ones = (0xff00_u16 >> (more + 1)) as u8;
    out.put_u8(ones | (number >> (6 * more)) as u8);
    for at in (0..more).rev() {
        out.put_u8(0x80 | (number >> (6 * at)) as u8 & 0x3f);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_the_frame_that_was_asked_for() {
        for block in [16, 192, 4_096, 16_384_u16] {
            let flac = Flac::new(48_000, 2, 24, block).unwrap();
            for number in [0, 1, 0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0x1_0000, 0x1f_ffff, 1 << 25] {
                let at = number * u64::from(block);
                for samples in [u64::from(block), 7] {
                    let frame = flac.silence(at, samples);
                    assert_eq!(flac.samples(at, &frame), Ok(samples), "{block} {number}");
                    assert_eq!(flac::crc16(&frame), 0);
                    assert!(flac.samples(at + 1, &frame).is_err());
                }
            }
        }
    }

    #[test]
    fn stream_info_says_what_it_is() {
        let flac = Flac::new(96_000, 1, 16, 4_608).unwrap().with_largest(5_000);
        let info = flac.stream_info();
        assert_eq!(info.len(), 34);
        assert_eq!(info[..10], [0x12, 0, 0x12, 0, 0, 0, 0, 0, 0x13, 0x88]);
        assert_eq!(info[10..18], [0x17, 0x70, 0, 0xf0, 0, 0, 0, 0]);
        let flac = flac.with_largest(1 << 24);
        assert_eq!(flac.stream_info()[7..10], [0, 0, 0]);
    }

    #[test]
    fn what_players_may_not_know_is_refused() {
        for (rate, channels, bits, block) in [
            (37_800, 2, 16, 4_096),
            (384_000, 2, 24, 4_096),
            (44_100, 6, 16, 4_096),
            (44_100, 0, 16, 4_096),
            (44_100, 2, 20, 4_096),
            (44_100, 2, 32, 4_096),
            (44_100, 2, 16, 32_768),
            (44_100, 2, 16, 8),
        ] {
            assert_eq!(Flac::new(rate, channels, bits, block), None, "{rate} {bits} {block}");
        }
    }
}
