//! The sequence parameter set of HEVC (ITU-T H.265 sections 7.3.2.2.1 and E.2.1), as far as its colours, which come last.

use super::{
    colour::Colour,
    input::{Reader, be16},
    sps::unescaped,
};

/// The type of its NAL unit.
const SPS: u8 = 33;

/// Sets of reference pictures in it (section 7.4.3.2.1).
const MOST_SETS: u32 = 64;

/// Pictures in a set.
const MOST_PICTURES: u32 = 16;

/// What the first set in an `hvcC` (ISO/IEC 14496-15 section 8.3.3.1) says of colours.
pub(super) fn colour(config: &[u8]) -> Option<Colour> {
    let mut rest = config.get(23..)?;
    for _ in 0..*config.get(22)? {
        let kind = rest.first()? & 0x3f;
        let count = be16(rest, 1)?;
        rest = rest.get(3..)?;
        for _ in 0..count {
            let length = usize::from(be16(rest, 0)?);
            let unit = rest.get(2..2 + length)?;
            if kind == SPS {
                return read(&mut Reader { bytes: &unescaped(unit), at: 16 });
            }
            rest = rest.get(2 + length..)?;
        }
    }
    None
}

/// The set behind the header of its NAL unit.
fn read(reader: &mut Reader<'_>) -> Option<Colour> {
    reader.take(4)?;
    let layers = reader.take(3)?;
    reader.take(1)?;
    levels(reader, layers)?;
    reader.exp()?;
    if reader.exp()? == 3 {
        reader.take(1)?;
    }
    skip(reader, 2)?;
    if reader.take(1)? == 1 {
        skip(reader, 4)?;
    }
    skip(reader, 2)?;
    let bits = reader.exp()?.checked_add(4).filter(|&bits| bits <= 16)?;
    let told = if reader.take(1)? == 1 { layers + 1 } else { 1 };
    skip(reader, 3 * told + 6)?;
    if reader.take(1)? == 1 && reader.take(1)? == 1 {
        scaling(reader)?;
    }
    reader.take(2)?;
    if reader.take(1)? == 1 {
        reader.take(8)?;
        skip(reader, 2)?;
        reader.take(1)?;
    }
    sets(reader)?;
    if reader.take(1)? == 1 {
        for _ in 0..reader.exp()?.min(33) {
            reader.take(bits as usize + 1)?;
        }
    }
    reader.take(2)?;
    if reader.take(1)? == 0 {
        return None;
    }
    if reader.take(1)? == 1 && reader.take(8)? == 255 {
        reader.take(32)?;
    }
    Colour::vui(reader)
}

/// Passes over so many Exp-Golomb codes.
fn skip(reader: &mut Reader<'_>, count: u32) -> Option<()> {
    (0..count).try_for_each(|_| reader.exp().map(drop))
}

/// Profile, tier and level of the whole and of so many layers within (section 7.3.3).
fn levels(reader: &mut Reader<'_>, layers: u32) -> Option<()> {
    let mut pass = |bits: usize| (0..bits / 8).try_for_each(|_| reader.take(8).map(drop));
    pass(96)?;
    if layers == 0 {
        return Some(());
    }
    let told = reader.take(16)?;
    for layer in 0..layers {
        let has = |flag: u32| told >> (15 - 2 * layer - flag) & 1 == 1;
        let bytes = 11 * usize::from(has(0)) + usize::from(has(1));
        (0..bytes).try_for_each(|_| reader.take(8).map(drop))?;
    }
    Some(())
}

/// Scaling lists (section 7.3.4).
fn scaling(reader: &mut Reader<'_>) -> Option<()> {
    for size in 0..4 {
        for _ in 0..if size == 3 { 2 } else { 6 } {
            if reader.take(1)? == 0 {
                reader.exp()?;
                continue;
            }
            let first = u32::from(size > 1);
            skip(reader, first + 64.min(1 << (4 + 2 * size)))?;
        }
    }
    Some(())
}

/// Sets of reference pictures (section 7.3.7).
fn sets(reader: &mut Reader<'_>) -> Option<()> {
    let mut pictures = 0;
    for set in 0..reader.exp().filter(|&count| count <= MOST_SETS)? {
        if set > 0 && reader.take(1)? == 1 {
            reader.take(1)?;
            reader.exp()?;
            let mut kept = 0;
            for _ in 0..=pictures {
                // Used at once, or else perhaps later.
                kept += if reader.take(1)? == 1 { 1 } else { reader.take(1)? };
            }
            pictures = kept;
        } else {
            let (before, after) = (reader.exp()?, reader.exp()?);
            pictures = before.checked_add(after).filter(|&all| all <= MOST_PICTURES)?;
            for _ in 0..pictures {
                reader.exp()?;
                reader.take(1)?;
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    /// The `hvcC` of a film made by x265 with these parameters.
    fn config(preset: &str, parameters: &str) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.mp4");
        let args = format!(
            "-nostdin -v error -f lavfi -i testsrc2=s=200x100:d=1 -pix_fmt yuv420p10le -c:v libx265 -preset {preset} \
             -x265-params log-level=error:{parameters}"
        );
        let output = Command::new("ffmpeg").args(args.split_whitespace()).arg(&path).output();
        assert!(output.unwrap().status.success());
        let film = std::fs::read(path).unwrap();
        let at = film.windows(4).position(|name| name == b"hvcC").unwrap() + 4;
        film[at..].to_vec()
    }

    #[test]
    fn colours_are_found_behind_all_else() {
        let pq = Colour { primaries: 9, transfer: 16, matrix: 9, full: false };
        let hdr = "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc";
        for (preset, parameters, expected) in [
            ("ultrafast", hdr.to_owned(), Some(pq)),
            (
                "slow",
                format!("{hdr}:range=full:sar=4:scaling-list=default"),
                Some(Colour { full: true, ..pq }),
            ),
            ("medium", format!("{hdr}:temporal-layers=2"), Some(pq)),
        ] {
            assert_eq!(colour(&config(preset, &parameters)), expected, "{preset} {parameters}");
        }
        let silent = colour(&config("fast", "bframes=2")).unwrap_or_default();
        assert_eq!(Colour { full: false, ..silent }, Colour::default());
    }

    proptest! {
        #[test]
        fn noise_is_survived(unit in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = read(&mut Reader { bytes: &unit, at: 16 });
            let _ = colour(&unit);
        }
    }
}
