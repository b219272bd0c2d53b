//! AAC frames made longer by fill elements, which decoders pass over (ISO/IEC 14496-3 sections 4.4.1.1, 4.4.2.7 and 4.5.2.9).

use super::adts::{Corrupt, Frames};

/// Payload bytes of a fill element: a frame becomes longer by two more at most.
const PAYLOAD: u32 = 33;

/// The types of the elements, in three bits: one to fill, and the end.
const FIL: u32 = 6;
const END: u32 = 7;

/// A count in four bits that says that eight more follow, which count from 14 on.
const ESCAPE: u32 = 15;

/// A byte of filling; the first one has the extension's type, `EXT_FILL`, and a nibble of zeros.
const FILLING: u32 = 0xa5;

/// The same frames, each at least [`PAYLOAD`] bytes longer. Those whose end is not where ffmpeg's encoder leaves it stay as
/// they are.
///
/// # Errors
/// As [`Frames::push`].
pub fn filled(frames: &Frames) -> Result<Frames, Corrupt> {
    let mut filled = Frames::default();
    for frame in frames.iter() {
        match longer(frame) {
            Some(longer) => filled.push(&longer)?,
            None => filled.push(frame)?,
        }
    }
    Ok(filled)
}

/// A frame with a fill element before its end: the last three bits that are set, and zeros to the next whole byte.
fn longer(frame: &[u8]) -> Option<Vec<u8>> {
    let last = frame.last().filter(|last| **last != 0)?;
    let end = (frame.len() * 8).checked_sub(last.trailing_zeros() as usize + 3)?;
    let mut bits = Bits { bytes: frame.to_vec(), at: end };
    if bits.take(3) != END {
        return None;
    }
    bits.cut(end);
    bits.put(FIL, 3);
    bits.put(ESCAPE, 4);
    bits.put(PAYLOAD + 1 - ESCAPE, 8);
    bits.put(0, 8);
    for _ in 1..PAYLOAD {
        bits.put(FILLING, 8);
    }
    bits.put(END, 3);
    Some(bits.bytes)
}

/// Bits, the most significant of each byte first.
struct Bits {
    bytes: Vec<u8>,
    at: usize,
}

impl Bits {
    /// The next `count` bits; those behind the end are 0.
    fn take(&mut self, count: usize) -> u32 {
        (0..count).fold(0, |bits, _| {
            let byte = self.bytes.get(self.at / 8).map_or(0, |byte| u32::from(*byte));
            let bit = byte >> (7 - self.at % 8) & 1;
            self.at += 1;
            bits << 1 | bit
        })
    }

    /// Leaves out all bits from `at` on.
    fn cut(&mut self, at: usize) {
        self.at = at;
        self.bytes.truncate(at.div_ceil(8));
        if let Some(last) = self.bytes.last_mut().filter(|_| !at.is_multiple_of(8)) {
            *last &= 0xff << (8 - at % 8);
        }
    }

    /// Appends the lowest `count` bits of `bits`.
    fn put(&mut self, bits: u32, count: usize) {
        for n in (0..count).rev() {
            if self.at.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((bits >> n & 1) as u8) << (7 - self.at % 8);
            }
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_element_is_put_before_the_end() {
        // Mono: 7 + 29 bits of silence, END in the last three of them, no bit to fill.
        let longer = longer(&[0x00, 0x00, 0x00, 0x07]).unwrap();
        assert_eq!(longer.len(), 4 + 1 + PAYLOAD as usize + 1);
        assert_eq!(longer[..6], [0x00, 0x00, 0x00, 0x06, 0b1111_0001, 0b0011_0000]);
        // 3 + 4 + 8 bits, and three of END behind 33 bytes: two bits are left.
        assert_eq!(longer[38], 0b0101_1110);
        assert_eq!(super::longer(&[1, 2, 0]), None);
        assert_eq!(super::longer(&[0xff, 0x0a]), None, "no end");
        assert_eq!(super::longer(&[]), None);
    }

    proptest! {
        #[test]
        fn all_before_the_end_stays(bits in prop::collection::vec(any::<bool>(), 1..90)) {
            let mut frame = Bits { bytes: Vec::new(), at: 0 };
            for bit in &bits {
                frame.put(u32::from(*bit), 1);
            }
            frame.put(END, 3);
            let mut longer = Bits { bytes: longer(&frame.bytes).unwrap(), at: 0 };
            let same: Vec<_> = bits.iter().map(|_| longer.take(1) == 1).collect();
            prop_assert_eq!(same, bits);
            prop_assert_eq!((longer.take(3), longer.take(4), longer.take(8) + 14), (FIL, ESCAPE, PAYLOAD));
            longer.at += 8 * PAYLOAD as usize;
            prop_assert_eq!(longer.take(3), END);
            prop_assert!(longer.bytes.len() * 8 - longer.at < 8);
        }
    }
}
