//! What the numbers of pictures mean, as containers and parameter sets say it.
//!
//! To have at hand: ITU-T H.273 (the code points), ISO/IEC 14496-12 section 12.1.5 (`colr`), the VP codec binding (`vpcC`).

use serde::{Deserialize, Serialize};

use super::input::{Reader, be16};

/// The code point for what is not said.
pub(super) const UNSPECIFIED: u8 = 2;

/// Primaries, transfer characteristics and matrix by their code points, and whether all of their range is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Colour {
    /// Which colours red, green and blue are: 1 is BT.709, 9 is BT.2020; 2 where it is not said.
    pub primaries: u8,
    /// From numbers to light: 1 is BT.709, 16 is PQ, 18 is HLG; 2 where it is not said.
    pub transfer: u8,
    /// From red, green and blue to luma and chroma: 1 is BT.709, 6 is BT.601, 0 is none; 2 where it is not said.
    pub matrix: u8,
    /// Whether black is 0, not 16 of 255.
    pub full: bool,
}

impl Default for Colour {
    fn default() -> Self {
        Self { primaries: UNSPECIFIED, transfer: UNSPECIFIED, matrix: UNSPECIFIED, full: false }
    }
}

impl Colour {
    /// This; the other one where it says nothing.
    pub(super) fn or(self, other: Self) -> Self {
        if (Self { full: false, ..self }) == Self::default() { other } else { self }
    }

    /// A `colr` box; None if it holds a profile.
    pub(super) fn colr(body: &[u8]) -> Option<Self> {
        let full = match body.get(..4)? {
            b"nclx" => body.get(10)? & 0x80 != 0,
            b"nclc" => false,
            _ => return None,
        };
        let code = |at| be16(body, at).and_then(|code| u8::try_from(code).ok());
        Some(Self { primaries: code(4)?, transfer: code(6)?, matrix: code(8)?, full })
    }

    /// A `vpcC` box.
    pub(super) fn vpcc(body: &[u8]) -> Option<Self> {
        let &[depth, primaries, transfer, matrix] = body.get(6..10)? else {
            return None;
        };
        Some(Self { primaries, transfer, matrix, full: depth & 1 != 0 })
    }

    /// What stands of it in the VUI of H.264 behind the aspect ratio (section E.1.1).
    pub(super) fn vui(reader: &mut Reader<'_>) -> Option<Self> {
        if reader.take(1)? == 1 {
            reader.take(1)?;
        }
        if reader.take(1)? == 0 {
            return None;
        }
        reader.take(3)?;
        let full = reader.take(1)? == 1;
        if reader.take(1)? == 0 {
            return Some(Self { full, ..Self::default() });
        }
        let mut code = || reader.take(8).map(|code| code as u8);
        Some(Self { primaries: code()?, transfer: code()?, matrix: code()?, full })
    }

    /// By ffmpeg's names of primaries, transfer, matrix and range.
    pub(super) fn named(primaries: &str, transfer: &str, matrix: &str, range: &str) -> Self {
        let code = |names: &[(u8, &str)], name: &str| {
            let known = names.iter().find(|(_, known)| *known == name);
            known.map_or(UNSPECIFIED, |(code, _)| *code)
        };
        Self {
            primaries: code(&PRIMARIES, primaries),
            transfer: code(&TRANSFERS, transfer),
            matrix: code(&MATRICES, matrix),
            full: range == "pc",
        }
    }
}

const PRIMARIES: [(u8, &str); 6] = [
    (1, "bt709"),
    (5, "bt470bg"),
    (6, "smpte170m"),
    (9, "bt2020"),
    (11, "smpte431"),
    (12, "smpte432"),
];

const TRANSFERS: [(u8, &str); 8] = [
    (1, "bt709"),
    (4, "gamma22"),
    (6, "smpte170m"),
    (13, "iec61966-2-1"),
    (14, "bt2020-10"),
    (15, "bt2020-12"),
    (16, "smpte2084"),
    (18, "arib-std-b67"),
];

const MATRICES: [(u8, &str); 8] = [
    (0, "gbr"),
    (1, "bt709"),
    (4, "fcc"),
    (5, "bt470bg"),
    (6, "smpte170m"),
    (7, "smpte240m"),
    (9, "bt2020nc"),
    (10, "bt2020c"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_and_names_are_read() {
        let pq = Colour { primaries: 9, transfer: 16, matrix: 9, full: false };
        assert_eq!(Colour::colr(b"nclx\0\x09\0\x10\0\x09\0"), Some(pq));
        let full = Some(Colour { full: true, ..pq });
        assert_eq!(Colour::colr(b"nclx\0\x09\0\x10\0\x09\x80"), full);
        assert_eq!(Colour::colr(b"nclc\0\x09\0\x10\0\x09"), Some(pq));
        assert_eq!(Colour::vpcc(b"\x01\0\0\0\0\x0a\xa3\x09\x10\x09\0\0"), full);
        assert_eq!(Some(Colour::named("bt2020", "smpte2084", "bt2020nc", "pc")), full);
        for broken in [&b"prof\0\x09\0\x10\0\x09\0"[..], b"nclx\0\x09\0\x10\0\x09", b"nc", b""] {
            assert_eq!(Colour::colr(broken), None);
        }
        assert_eq!(Colour::named("", "unknown", "reserved", ""), Colour::default());
    }

    #[test]
    fn who_says_nothing_is_not_asked() {
        let pq = Colour { primaries: 9, transfer: 16, matrix: 9, full: false };
        assert_eq!(Colour::default().or(pq), pq);
        assert_eq!(pq.or(Colour::default()), pq);
    }
}
