//! What a decoder configuration says of a video codec, and what shape its pictures are shown in.
//!
//! `avcC` and `hvcC` (ISO/IEC 14496-15 sections 5.3.3 and 8.3.3), `av1C` (AV1 Codec ISO Media File Format Binding section
//! 2.3); their names for RFC 6381 by the same three.

use std::fmt::Write as _;

use super::{
    colour::Colour,
    hevc,
    input::{array, be16, be32},
    media::Picture,
    sps::Sps,
};

/// A codec, and what its configuration says of the pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Coded {
    /// The codec.
    pub(super) codec: Picture,
    /// Whether it may code in fields.
    pub(super) fields: bool,
    /// Width and height of its pictures.
    pub(super) size: Option<(u32, u32)>,
    /// Width and height of a pixel.
    pub(super) aspect: Option<(u32, u32)>,
    /// Whether the configuration is all that a decoder needs before the first picture.
    pub(super) complete: bool,
    /// What its numbers mean.
    pub(super) colour: Colour,
}

/// The RFC 6381 name of a video codec by its decoder configuration, the body of an `avcC`, `hvcC` or `av1C` box; None for
/// others, and where it is none.
pub fn codecs(record: [u8; 4], config: &[u8]) -> Option<String> {
    let coded = match &record {
        b"avcC" => Coded::avc(config),
        b"hvcC" => Coded::hevc(config),
        b"av1C" => Coded::av1(config),
        _ => None,
    };
    match coded?.codec {
        Picture::H264 { codecs } | Picture::Hevc { codecs } | Picture::Av1 { codecs } => {
            Some(codecs)
        }
        _ => None,
    }
}

/// NAL units of HEVC that a decoder needs before the first picture: video, sequence and picture parameter set.
const SETS: [u8; 3] = [32, 33, 34];

impl Coded {
    /// A codec of which nothing else is known.
    pub(super) fn plain(codec: Picture) -> Self {
        let colour = Colour::default();
        Self { codec, fields: false, size: None, aspect: None, complete: false, colour }
    }

    /// H.264 by its `avcC`; None where that is damaged.
    pub(super) fn avc(config: &[u8]) -> Option<Self> {
        let [1, profile, compatible, level] = array(config, 0)? else {
            return None;
        };
        let codec =
            Picture::H264 { codecs: format!("avc1.{profile:02x}{compatible:02x}{level:02x}") };
        let length = be16(config, 6).map_or(0, usize::from);
        let sets = config.get(5)? & 0x1f;
        if sets == 0 {
            return Some(Self::plain(codec));
        }
        let sps = Sps::read(config.get(8..8 + length)?)?;
        let size = Some((sps.width, sps.height));
        let complete = has_picture_set(config).unwrap_or(false);
        Some(Self {
            codec,
            fields: sps.fields,
            size,
            aspect: sps.aspect,
            complete,
            colour: sps.colour,
        })
    }

    /// H.264 by its sequence parameter set, a NAL unit, where all that decoders need stands between the pictures.
    pub(super) fn set(unit: &[u8]) -> Option<Self> {
        let [_, profile, compatible, level] = array(unit, 0)?;
        let codec =
            Picture::H264 { codecs: format!("avc1.{profile:02x}{compatible:02x}{level:02x}") };
        let Sps { width, height, fields, aspect, colour } = Sps::read(unit)?;
        Some(Self { codec, fields, size: Some((width, height)), aspect, complete: true, colour })
    }

    /// HEVC by its `hvcC`.
    pub(super) fn hevc(config: &[u8]) -> Option<Self> {
        let profile = *config.get(1)?;
        let compatible = be32(config, 2)?.reverse_bits();
        let constraints: [u8; 6] = array(config, 6)?;
        let level = *config.get(12)?;
        let space = ["", "A", "B", "C"].get(usize::from(profile >> 6))?;
        let tier = if profile & 0x20 == 0 { 'L' } else { 'H' };
        let mut codecs = format!("hvc1.{space}{}.{compatible:X}.{tier}{level}", profile & 0x1f);
        let used = constraints.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        for byte in constraints.iter().take(used) {
            let _ = write!(codecs, ".{byte:X}");
        }
        // Interlaced, or each picture says for itself.
        let fields = constraints.first()? & 0x40 != 0;
        let found = sets(config).unwrap_or_default();
        let complete = SETS.iter().all(|set| found.contains(set));
        let colour = hevc::colour(config).unwrap_or_default();
        Some(Self { fields, complete, colour, ..Self::plain(Picture::Hevc { codecs }) })
    }

    /// AV1 by its `av1C`.
    pub(super) fn av1(config: &[u8]) -> Option<Self> {
        let [0x81, level, flags] = array(config, 0)? else {
            return None;
        };
        let tier = if flags & 0x80 == 0 { 'M' } else { 'H' };
        let depth = match flags & 0x60 {
            0x60 => 12,
            0x40 => 10,
            _ => 8,
        };
        let codecs = format!("av01.{}.{:02}{tier}.{depth:02}", level >> 5, level & 0x1f);
        // The sequence header stands before every keyframe.
        Some(Self { complete: true, ..Self::plain(Picture::Av1 { codecs }) })
    }
}

/// Whether a picture parameter set follows the sequence parameter sets of an `avcC`.
fn has_picture_set(config: &[u8]) -> Option<bool> {
    let mut at = 6;
    for _ in 0..config.get(5)? & 0x1f {
        at += 2 + usize::from(be16(config, at)?);
    }
    let (count, size) = (*config.get(at)?, be16(config, at + 1)?);
    Some(count > 0 && size > 0)
}

/// The types of the NAL units in an `hvcC`.
fn sets(config: &[u8]) -> Option<Vec<u8>> {
    let (mut at, mut found) = (23, Vec::new());
    for _ in 0..*config.get(22)? {
        let kind = config.get(at)? & 0x3f;
        let units = be16(config, at + 1)?;
        at += 3;
        for _ in 0..units {
            let size = usize::from(be16(config, at)?);
            config.get(at + 2..at + 2 + size)?;
            at += 2 + size;
            found.push(kind);
        }
    }
    Some(found)
}

/// Coded pictures on their way to a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Width and height as they are coded.
    pub(super) size: (u32, u32),
    /// Width and height of a pixel.
    pub(super) aspect: Option<(u32, u32)>,
    /// Whether they are turned or mirrored.
    pub(super) turned: bool,
    /// Whether they are turned by a quarter.
    pub(super) quarter: bool,
}

impl Geometry {
    /// Width and height with square pixels, upright; the coded lines stay as many as they are.
    pub(super) fn shown(&self) -> (u32, u32) {
        let (across, down) = (self.square(), self.size.1);
        if self.quarter { (down, across) } else { (across, down) }
    }

    /// Whether what is coded is what is shown.
    pub(super) fn plain(&self) -> bool {
        !self.turned && self.square() == self.size.0
    }

    /// The width with square pixels, to the nearest.
    fn square(&self) -> u32 {
        let (across, down) = self.aspect.unwrap_or((1, 1));
        let (across, down, width) = (u64::from(across), u64::from(down), u64::from(self.size.0));
        let shown = (width * across + down / 2).checked_div(down).unwrap_or(width);
        if across == 0 { self.size.0 } else { u32::try_from(shown).unwrap_or(u32::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_rfc_6381() {
        let hevc = [1, 0x01, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 93];
        let codecs = "hvc1.1.6.L93.B0".to_owned();
        assert_eq!(Coded::hevc(&hevc).map(|c| c.codec), Some(Picture::Hevc { codecs }));
        let codecs = "av01.0.04M.08".to_owned();
        assert_eq!(Coded::av1(&[0x81, 4, 0x0c, 0]).map(|c| c.codec), Some(Picture::Av1 { codecs }));
        let codecs = "av01.0.31H.10".to_owned();
        assert_eq!(Coded::av1(&[0x81, 31, 0xcc]).map(|c| c.codec), Some(Picture::Av1 { codecs }));
        let bare = Coded::avc(&[1, 0x64, 0, 0x1f, 0xff, 0xe0, 0]).unwrap();
        assert_eq!(bare, Coded::plain(Picture::H264 { codecs: "avc1.64001f".to_owned() }));
        assert_eq!(Coded::avc(&[]), None);
        assert_eq!(Coded::hevc(&hevc[..12]), None);
        assert_eq!(Coded::av1(&[1, 4, 0x0c]), None);
    }

    #[test]
    fn all_parameter_sets_have_to_be_there() {
        let mut hevc = [1, 0x01, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 93].to_vec();
        hevc.extend([0; 9]);
        hevc.extend(b"\x03\xa0\0\x01\0\x02vv\x21\0\x01\0\x01s\x22\0\x02\0\x01p\0\x01q");
        let complete = |config: &[u8]| Coded::hevc(config).is_some_and(|coded| coded.complete);
        assert!(complete(&hevc));
        for length in 0..hevc.len() {
            assert!(!complete(&hevc[..length]), "{length}");
        }
        hevc[23] = 0x27;
        assert!(!complete(&hevc), "no video parameter set");

        let avc = b"\x01\x64\0\x1f\xff\xe1\0\x02gg\x01\0\x01p";
        assert_eq!(has_picture_set(avc), Some(true));
        assert_eq!(has_picture_set(&avc[..avc.len() - 4]), None);
        assert_eq!(has_picture_set(b"\x01\x64\0\x1f\xff\xe1\0\x02gg\0\0\0"), Some(false));
    }

    proptest! {
        #[test]
        fn noise_is_survived(config in prop::collection::vec(any::<u8>(), 0..60), sets in any::<u8>()) {
            let mut config = config;
            if let [1, _, _, _, _, count, ..] = config.as_mut_slice() {
                *count = sets;
            }
            let _ = (Coded::avc(&config), Coded::hevc(&config), Coded::av1(&config));
            let _ = (has_picture_set(&config), super::sets(&config));
        }
    }

    #[test]
    fn pixels_become_square_and_pictures_upright() {
        let tv =
            Geometry { size: (720, 576), aspect: Some((64, 45)), turned: false, quarter: false };
        assert_eq!((tv.shown(), tv.plain()), ((1_024, 576), false));
        let phone = Geometry { size: (1_920, 1_080), aspect: None, turned: true, quarter: true };
        assert_eq!((phone.shown(), phone.plain()), ((1_080, 1_920), false));
        let usual = Geometry { turned: false, quarter: false, ..phone };
        assert_eq!((usual.shown(), usual.plain()), ((1_920, 1_080), true));
        let broken = Geometry { aspect: Some((1, 0)), ..usual };
        assert_eq!((broken.shown(), broken.plain()), ((1_920, 1_080), true));
    }
}
