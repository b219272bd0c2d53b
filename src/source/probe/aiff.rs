//! AIFF and AIFF-C (Apple, Audio Interchange File Format 1.3 and AIFF-C draft of 1991).

use super::{
    Codec, Container, Input, Splice, Stop,
    input::{array, be16, be32, be64},
    media::{Audio, Media},
    unsupported,
};

/// Chunks in front of the sound; more is no recording.
const CHUNKS: usize = 1_000;

/// What an AIFF file holds, told by its header if COMM comes before SSND.
pub(super) fn media(input: &Input<'_>) -> Result<Media, Stop> {
    let compressed = input.bytes(8, 4)?.as_ref() == b"AIFC";
    let mut common = None;
    let mut at = 12;
    for _ in 0..CHUNKS {
        let head = input.bytes(at, 8)?;
        let size = u64::from(be32(&head, 4).unwrap_or(0));
        at += 8;
        match head.get(..4) {
            Some(b"COMM") => {
                let body = input.bytes(at, if compressed { 22 } else { 18 })?;
                common = Some(
                    Common::read(&body)
                        .ok_or_else(|| unsupported("AIFF with a broken COMM chunk"))?,
                );
            }
            Some(b"SSND") => {
                let Some(common) = common else {
                    return Err(Stop::Undetermined(Container::Aiff));
                };
                let offset = u64::from(be32(&input.bytes(at, 8)?, 0).unwrap_or(0));
                let end = input.total().ok_or(Stop::Whole)?.min(at + size);
                return common.media(end.saturating_sub(at + 8 + offset));
            }
            _ => {}
        }
        at += size + (size & 1);
    }
    Err(unsupported("AIFF without sound"))
}

/// The COMM chunk.
struct Common {
    channels: u16,
    bits: u16,
    rate: u32,
    compression: [u8; 4],
}

impl Common {
    fn read(body: &[u8]) -> Option<Self> {
        Some(Self {
            channels: be16(body, 0)?,
            bits: be16(body, 6)?,
            rate: extended(be16(body, 8)?, be64(body, 10)?)?,
            compression: array(body, 18).unwrap_or(*b"NONE"),
        })
    }

    /// What `bytes` bytes of sound are.
    fn media(&self, bytes: u64) -> Result<Media, Stop> {
        let (codec, width) = match &self.compression {
            b"NONE" | b"twos" | b"sowt" if (1..=32).contains(&self.bits) => {
                (Codec::Pcm, u64::from(self.bits.div_ceil(8)))
            }
            b"fl32" | b"FL32" => (Codec::Float, 4),
            b"fl64" | b"FL64" => (Codec::Float, 8),
            b"alaw" | b"ALAW" => (Codec::ALaw, 1),
            b"ulaw" | b"ULAW" => (Codec::MuLaw, 1),
            _ => return Err(Stop::Undetermined(Container::Aiff)),
        };
        if self.channels == 0 {
            return Err(unsupported("AIFF with a broken COMM chunk"));
        }
        let samples = bytes / (width * u64::from(self.channels));
        let audio = Audio::new(codec, self.rate, self.channels, samples, Splice::Seek);
        Ok(Media::sound(Container::Aiff, audio))
    }
}

/// A positive 80-bit extended float, rounded to a whole number as ffmpeg does.
fn extended(exponent: u16, mantissa: u64) -> Option<u32> {
    let shift = u32::from(16_383u16.checked_add(63)?.checked_sub(exponent)?);
    let whole = mantissa.checked_shr(shift)?;
    let half =
        shift.checked_sub(1).and_then(|bit| mantissa.checked_shr(bit)).map_or(0, |bit| bit & 1);
    u32::try_from(whole + half).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_extended_floats() {
        assert_eq!(extended(0x400e, 0xac44_0000_0000_0000), Some(44_100));
        assert_eq!(extended(0x400e, 0xbb80_0000_0000_0000), Some(48_000));
        assert_eq!(extended(0x400d, 0xac44_0000_0000_0000), Some(22_050));
        assert_eq!(extended(0xffff, u64::MAX), None);
        assert_eq!(extended(0, 1), None);
    }
}
