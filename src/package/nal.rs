//! NAL units as samples of MP4 hold them: each behind its length.
//!
//! To have at hand: ISO/IEC 14496-15 (5.3.3, 8.3.3: `lengthSizeMinusOne`), ITU-T H.264 (7.3.1, table 7-1), H.265 (7.3.1.2,
//! table 7-1).

/// How to take the samples of a track apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Units {
    /// H.264, with so many bytes to a length.
    Avc(usize),
    /// HEVC likewise.
    Hevc(usize),
    /// Something else, which is not looked into.
    Other,
}

impl Units {
    /// By a decoder configuration: the type of its box, `avcC`, `hvcC` or another, and what it holds.
    pub fn of(kind: [u8; 4], record: &[u8]) -> Self {
        let size = |at: usize| record.get(at).map_or(4, |byte| usize::from(byte & 3) + 1);
        match &kind {
            b"avcC" => Self::Avc(size(4)),
            b"hvcC" => Self::Hevc(size(21)),
            _ => Self::Other,
        }
    }

    /// By a whole box.
    pub fn boxed(config: &[u8]) -> Self {
        let kind = config.get(4..8).and_then(|kind| kind.try_into().ok()).unwrap_or_default();
        Self::of(kind, config.get(8..).unwrap_or_default())
    }

    /// Whether a sample can be a picture: its lengths fill it, and each unit is of a kind that there is, one of them a slice.
    /// Tells a picture from noise, not a good one from a bad one.
    pub fn fit(self, mut sample: &[u8]) -> bool {
        let (size, kind): (_, fn(u8) -> Option<bool>) = match self {
            Self::Avc(size) => (size, avc),
            Self::Hevc(size) => (size, hevc),
            Self::Other => return !sample.is_empty(),
        };
        let mut has_slice = false;
        while let Some((length, rest)) = sample.split_at_checked(size) {
            let length = length.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
            let Some((unit, rest)) = rest.split_at_checked(length) else {
                return false;
            };
            match unit.first().and_then(|&byte| kind(byte)) {
                Some(is_slice) => has_slice |= is_slice,
                None => return false,
            }
            sample = rest;
        }
        sample.is_empty() && has_slice
    }
}

/// Whether a unit of H.264 that begins with this byte is a slice; None where there is no such unit.
fn avc(byte: u8) -> Option<bool> {
    match byte & 0x9f {
        kind @ 1..=23 => Some(kind <= 5 || kind == 20),
        _ => None,
    }
}

/// The same of HEVC.
fn hevc(byte: u8) -> Option<bool> {
    (byte & 0x80 == 0).then_some(byte >> 1 < 32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_picture_is_told_from_noise() {
        let units = Units::boxed(b"\0\0\0\x0davcC\x01\x64\0\x1e\xff");
        assert_eq!(units, Units::Avc(4));
        let slice = [0, 0, 0, 3, 0x65, 1, 2];
        let delimiter = [0, 0, 0, 2, 0x09, 0xf0];
        assert!(units.fit(&slice) && units.fit(&[&delimiter[..], &slice].concat()));
        assert!(!units.fit(&delimiter), "no picture");
        assert!(!units.fit(&[0; 16]) && !units.fit(&[]) && !units.fit(&slice[..6]));
        assert!(!units.fit(&[&slice[..], &[0]].concat()), "a byte too many");
        assert!(!units.fit(&[0, 0, 0, 3, 0xe5, 1, 2]), "forbidden_zero_bit");
        let hevc = Units::boxed(&[&b"\0\0\0\x20hvcC"[..], &[1; 20], &[0, 0xfc]].concat());
        assert_eq!(hevc, Units::Hevc(1));
        assert!(hevc.fit(&[2, 0x26, 1]) && !hevc.fit(&[2, 0x40, 1]));
        assert!(Units::boxed(b"\0\0\0\x0cav1C\x81").fit(&[1]));
    }

    proptest! {
        #[test]
        fn nothing_ends_it(sample in prop::collection::vec(any::<u8>(), 0..100), size in 1usize..5) {
            let _ = (Units::Avc(size).fit(&sample), Units::Hevc(size).fit(&sample));
        }
    }
}
