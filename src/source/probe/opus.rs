//! Opus: its packets (RFC 6716 section 3.1) and its header (RFC 7845 section 5.1).

use super::input::le16;

/// Opus always decodes to this rate.
pub const RATE: u32 = 48_000;

/// What an identification header says of a stream that can be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Samples to be thrown away at the start.
    pub(super) skip: u16,
    /// Output gain in 1/256 dB.
    pub(super) gain: i16,
}

impl Head {
    /// The header in `OpusHead`; None for more than one stream, more than two channels, and another major version.
    pub(super) fn read(packet: &[u8]) -> Option<Self> {
        let plain = packet.starts_with(b"OpusHead") && packet.get(8)? < &16;
        Self { skip: le16(packet, 10)?, gain: le16(packet, 16)?.cast_signed() }
            .checked(*packet.get(9)?, *packet.get(18)?)
            .filter(|_| plain)
    }

    /// The same, of so many channels in this mapping family.
    pub(super) fn checked(self, channels: u8, family: u8) -> Option<Self> {
        (family == 0 && matches!(channels, 1 | 2)).then_some(self)
    }
}

/// Whether a packet that starts with this byte is coded by CELT alone.
pub(super) fn is_celt(toc: u8) -> bool {
    toc >= 0x80
}

/// Samples per channel at 48 kHz in a packet that starts with these bytes; None if they are no packet.
pub fn samples(packet: &[u8]) -> Option<u64> {
    let &toc = packet.first()?;
    let frame = match toc >> 3 {
        n @ 0..=11 => [480, 960, 1_920, 2_880][usize::from(n & 3)],
        n @ 12..=15 => [480, 960][usize::from(n & 1)],
        n => 120 << (n & 3),
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u64::from(packet.get(1)? & 0x3f),
    };
    Some(frame * frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let stereo = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\xff\xff\0";
        assert_eq!(Head::read(stereo), Some(Head { skip: 312, gain: -1 }));
        for (at, value) in [(0, b'X'), (8, 16), (9, 3), (9, 0), (18, 1)] {
            let mut other = stereo.to_vec();
            other[at] = value;
            assert_eq!(Head::read(&other), None, "{at}");
        }
        assert_eq!(Head::read(&stereo[..18]), None);
    }

    #[test]
    fn durations() {
        assert_eq!(samples(&[0xfc]), Some(960));
        assert_eq!(samples(&[0b0001_1000]), Some(2_880));
        assert_eq!(samples(&[0b1000_0001]), Some(240));
        assert_eq!(samples(&[0b1110_0011, 0x04]), Some(480));
        assert_eq!(samples(&[0b1110_0011]), None);
        assert_eq!(samples(&[]), None);
    }
}
