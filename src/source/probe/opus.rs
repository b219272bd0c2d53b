//! Opus packets (RFC 6716 section 3.1).

/// Opus always decodes to this rate.
pub(super) const RATE: u32 = 48_000;

/// Whether a packet that starts with this byte is coded by CELT alone.
pub(super) fn is_celt(toc: u8) -> bool {
    toc >= 0x80
}

/// Samples per channel at 48 kHz in a packet that starts with these bytes; None if they are no packet.
pub(super) fn samples(packet: &[u8]) -> Option<u64> {
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
    fn durations() {
        assert_eq!(samples(&[0xfc]), Some(960));
        assert_eq!(samples(&[0b0001_1000]), Some(2_880));
        assert_eq!(samples(&[0b1000_0001]), Some(240));
        assert_eq!(samples(&[0b1110_0011, 0x04]), Some(480));
        assert_eq!(samples(&[0b1110_0011]), None);
        assert_eq!(samples(&[]), None);
    }
}
