//! The sequence parameter set of H.264 (ITU-T H.264 sections 7.3.2.1.1 and E.1.1), as far as shape, fields and colour go.

use super::{colour::Colour, input::Reader};

/// Sample aspect ratios by their index, from 1 (table E-1).
const ASPECTS: [(u32, u32); 16] = [
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];

/// Profiles whose sets tell of their chroma.
const HIGH: [u32; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// What a sequence parameter set says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sps {
    /// Pixels from left to right, cropped.
    pub(super) width: u32,
    /// Pixels from top to bottom, cropped.
    pub(super) height: u32,
    /// Whether pictures may be coded in fields.
    pub(super) fields: bool,
    /// Width and height of a pixel, where it says.
    pub(super) aspect: Option<(u32, u32)>,
    /// What the numbers mean, where it says.
    pub(super) colour: Colour,
}

impl Sps {
    /// The set in a NAL unit, its first byte included.
    pub(super) fn read(unit: &[u8]) -> Option<Self> {
        let bytes = unescaped(unit);
        let mut reader = Reader { bytes: &bytes, at: 8 };
        let profile = reader.take(8)?;
        reader.take(16)?;
        reader.exp()?;
        let mut chroma = 1;
        if HIGH.contains(&profile) {
            chroma = reader.exp()?;
            if chroma == 3 && reader.take(1)? == 1 {
                chroma = 0;
            }
            reader.exp()?;
            reader.exp()?;
            reader.take(1)?;
            if reader.take(1)? == 1 {
                reader.scaling_lists(if chroma == 3 { 12 } else { 8 })?;
            }
        }
        reader.exp()?;
        match reader.exp()? {
            0 => drop(reader.exp()?),
            1 => {
                reader.take(1)?;
                reader.exp()?;
                reader.exp()?;
                let cycle = reader.exp()?;
                for _ in 0..cycle.min(256) {
                    reader.exp()?;
                }
            }
            _ => {}
        }
        reader.exp()?;
        reader.take(1)?;
        let (across, down) = (reader.exp()?.checked_add(1)?, reader.exp()?.checked_add(1)?);
        let fields = reader.take(1)? == 0;
        if fields {
            reader.take(1)?;
        }
        reader.take(1)?;
        let lines = if fields { 2 } else { 1 };
        let (mut width, mut height) =
            (across.checked_mul(16)?, down.checked_mul(16)?.checked_mul(lines)?);
        if reader.take(1)? == 1 {
            let (left, right) = (reader.exp()?, reader.exp()?);
            let (top, bottom) = (reader.exp()?, reader.exp()?);
            let step = (
                if matches!(chroma, 1 | 2) { 2 } else { 1 },
                lines * if chroma == 1 { 2 } else { 1 },
            );
            width = width.checked_sub(left.checked_add(right)?.checked_mul(step.0)?)?;
            height = height.checked_sub(top.checked_add(bottom)?.checked_mul(step.1)?)?;
        }
        // The usability information comes last, and may be missing.
        let says_more = reader.take(1) == Some(1);
        let aspect = says_more.then(|| reader.aspect()).flatten();
        let colour = says_more.then(|| Colour::vui(&mut reader)).flatten().unwrap_or_default();
        let aspect = aspect.filter(|&(width, height)| width > 0 && height > 0);
        Some(Self { width, height, fields, aspect, colour })
    }
}

/// The bytes without those that keep start codes out (section 7.4.1).
pub(super) fn unescaped(unit: &[u8]) -> Vec<u8> {
    let mut zeros = 0;
    let mut bytes = Vec::with_capacity(unit.len());
    for &byte in unit {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        bytes.push(byte);
    }
    bytes
}

impl Reader<'_> {
    /// An unsigned Exp-Golomb code (section 9.1).
    pub(super) fn exp(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1u32 << zeros) - 1 + self.take(zeros)?)
    }

    /// A signed one.
    fn signed(&mut self) -> Option<i32> {
        let code = self.exp()?;
        let half = (code.div_ceil(2)).cast_signed();
        Some(if code % 2 == 1 { half } else { -half })
    }

    fn scaling_lists(&mut self, count: usize) -> Option<()> {
        for list in 0..count {
            if self.take(1)? == 0 {
                continue;
            }
            let (mut last, mut next) = (8i32, 8i32);
            for _ in 0..if list < 6 { 16 } else { 64 } {
                if next != 0 {
                    next = last.wrapping_add(self.signed()?).rem_euclid(256);
                }
                last = if next == 0 { last } else { next };
            }
        }
        Some(())
    }

    fn aspect(&mut self) -> Option<(u32, u32)> {
        if self.take(1)? == 0 {
            return None;
        }
        match self.take(8)? {
            255 => Some((self.take(16)?, self.take(16)?)),
            index => ASPECTS.get((index as usize).checked_sub(1)?).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_taken_out() {
        assert_eq!(unescaped(&[0, 0, 3, 1, 0, 0, 3, 0, 0, 3]), [0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(Sps::read(&[0x67, 0x64]), None);
    }

    proptest! {
        #[test]
        fn noise_is_survived(mut unit in prop::collection::vec(any::<u8>(), 0..80), high in any::<bool>()) {
            if let (true, Some(profile)) = (high, unit.get_mut(1)) {
                *profile = 100;
            }
            let _ = Sps::read(&unit);
        }
    }
}
