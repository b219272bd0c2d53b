//! H.264's profile and level: chosen before anything is encoded, and checked against what the encoder then says.
//!
//! To have at hand: ITU-T H.264 annex A (table A-1), ISO/IEC 14496-15 (`avcC`, 5.3.3.1), RFC 6381.

use serde::{Deserialize, Serialize};

use super::adts::Corrupt;
use crate::source::probe::media::FrameRate;

/// `profile_idc` of High, the one that is encoded.
const HIGH: u8 = 100;

/// Pictures that the decoder has to hold: x264's presets up to `medium` refer to three, and one is in reserve.
const HELD: u64 = 4;

/// High allows so many times the bit rates of table A-1 (its `cpbBrVclFactor` of 1250, in a thousand).
const FACTOR: u64 = 1250;

/// Table A-1: `level_idc`, macroblocks a second, macroblocks a picture, macroblocks held, kbit/s, kbit of buffer.
#[rustfmt::skip]
const LEVELS: [[u64; 6]; 18] = [
    [10,      1_485,      99,     396,     64,     175],
    [11,      3_000,     396,     900,    192,     500],
    [12,      6_000,     396,   2_376,    384,   1_000],
    [13,     11_880,     396,   2_376,    768,   2_000],
    [20,     11_880,     396,   2_376,  2_000,   2_000],
    [21,     19_800,     792,   4_752,  4_000,   4_000],
    [22,     20_250,   1_620,   8_100,  4_000,   4_000],
    [30,     40_500,   1_620,   8_100, 10_000,  10_000],
    [31,    108_000,   3_600,  18_000, 14_000,  14_000],
    [32,    216_000,   5_120,  20_480, 20_000,  20_000],
    [40,    245_760,   8_192,  32_768, 20_000,  25_000],
    [41,    245_760,   8_192,  32_768, 50_000,  62_500],
    [42,    522_240,   8_704,  34_816, 50_000,  62_500],
    [50,    589_824,  22_080, 110_400, 135_000, 135_000],
    [51,    983_040,  36_864, 184_320, 240_000, 240_000],
    [52,  2_073_600,  36_864, 184_320, 240_000, 240_000],
    [60,  4_177_920, 139_264, 696_320, 240_000, 240_000],
    [62, 16_711_680, 139_264, 696_320, 800_000, 800_000],
];

/// What a rendition asks of a decoder.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
    /// Pictures a second.
    pub rate: FrameRate,
    /// Bits a second that are never exceeded for longer than the buffer lasts.
    pub maxrate: u32,
    /// Bits of that buffer.
    pub buffer: u32,
}

/// A level of H.264 by its `level_idc`: ten times the level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Level(u8);

impl Level {
    /// The lowest level that holds it; the highest where none does.
    pub fn of(demand: Demand) -> Self {
        let [wide, high] =
            [demand.width, demand.height].map(|pixels| u64::from(pixels).div_ceil(16));
        let picture = wide * high;
        let rate = demand.rate;
        let a_second =
            (picture * u64::from(rate.numerator)).div_ceil(u64::from(rate.denominator.max(1)));
        let [maxrate, buffer] = [demand.maxrate, demand.buffer].map(u64::from);
        let holds = |[_, seconds, pictures, held, kbits, kbuffer]: &[u64; 6]| {
            // No side may be longer than the square root of eight pictures' worth.
            let sides = wide.max(high).pow(2) <= 8 * pictures;
            let picture_fits = picture <= *pictures && picture * HELD <= *held && sides;
            picture_fits
                && a_second <= *seconds
                && maxrate <= kbits * FACTOR
                && buffer <= kbuffer * FACTOR
        };
        let level = LEVELS.iter().find(|level| holds(level)).unwrap_or(&LEVELS[LEVELS.len() - 1]);
        Self(level[0] as u8)
    }

    /// As ffmpeg's `-level` takes it: `31`.
    pub const fn idc(self) -> u8 {
        self.0
    }

    /// CODECS of High at this level, as RFC 6381 writes it: `avc1.64001f`.
    pub fn codecs(self) -> String {
        codecs([HIGH, 0, self.0])
    }
}

/// CODECS by what a decoder configuration record (`avcC`, without its box) says.
///
/// # Errors
/// When it is none: another version, lengths that are not of four bytes, no sequence or picture parameter set, or cut short.
pub fn read(record: &[u8]) -> Result<String, Corrupt> {
    const WRONG: Corrupt =
        Corrupt("the avcC is not one of four-byte lengths and whole parameter sets");
    let ([1, profile, compatible, level, lengths, sequences], mut rest) =
        record.split_first_chunk().ok_or(WRONG)?
    else {
        return Err(WRONG);
    };
    let sequence = skip(&mut rest, sequences & 0x1f).ok_or(WRONG)?;
    let (&pictures, mut rest) = rest.split_first().ok_or(WRONG)?;
    let picture = skip(&mut rest, pictures).ok_or(WRONG)?;
    if lengths & 3 != 3 || sequence == 0 || picture == 0 {
        return Err(WRONG);
    }
    Ok(codecs([*profile, *compatible, *level]))
}

/// Leaves `count` parameter sets behind, and says how many bytes they had.
fn skip(rest: &mut &[u8], count: u8) -> Option<usize> {
    let mut bytes = 0;
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk()?;
        let (set, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        bytes += set.len();
        *rest = after;
    }
    Some(bytes)
}

fn codecs([profile, compatible, level]: [u8; 3]) -> String {
    format!("avc1.{profile:02x}{compatible:02x}{level:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(width: u32, height: u32, rate: (u32, u32), maxrate: u32) -> u8 {
        let rate = FrameRate { numerator: rate.0, denominator: rate.1 };
        Level::of(Demand { width, height, rate, maxrate, buffer: maxrate / 2 }).idc()
    }

    #[test]
    fn levels_are_those_of_the_table() {
        for (got, expected) in [
            (level(1920, 1080, (30, 1), 5_000_000), 40),
            (level(1920, 1080, (60_000, 1001), 8_000_000), 42),
            (level(1280, 720, (30, 1), 3_000_000), 31),
            (level(1280, 720, (60, 1), 4_500_000), 32),
            (level(854, 480, (30_000, 1001), 1_400_000), 31),
            (level(854, 480, (24, 1), 1_400_000), 30),
            (level(640, 360, (30, 1), 840_000), 30),
            (level(640, 360, (25, 1), 840_000), 30),
            (level(426, 240, (30, 1), 420_000), 21),
            (level(416, 234, (30, 1), 420_000), 13),
            (level(240, 426, (30, 1), 420_000), 21),
            (level(16, 16, (1, 1), 80_000), 10),
            (level(1920, 1080, (30, 1), 30_000_000), 41),
            (level(3840, 2160, (30, 1), 20_000_000), 51),
            (level(3840, 2160, (60, 1), 20_000_000), 52),
            (level(100_000, 100_000, (60, 1), 20_000_000), 62),
        ] {
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn long_strips_need_more_than_their_area() {
        assert_eq!(level(1600, 16, (1, 1), 80_000), 22);
    }

    #[test]
    fn the_name_is_what_the_record_says() {
        let record = b"\x01\x64\x00\x1f\xff\xe1\x00\x03abc\x01\x00\x02de\xfd\xf8\xf8\x00";
        assert_eq!(read(record).as_deref(), Ok("avc1.64001f"));
        for length in 0..16 {
            assert!(read(&record[..length]).is_err(), "{length}");
        }
        let changed = |at: usize, to: u8| {
            let mut record = record.to_vec();
            record[at] = to;
            read(&record)
        };
        assert_eq!(changed(2, 0xe0).as_deref(), Ok("avc1.64e01f"));
        for (at, to) in [(0, 2), (4, 0xfe), (5, 0xe0), (5, 0xe3), (6, 1), (11, 0), (11, 3), (13, 9)]
        {
            assert!(changed(at, to).is_err(), "{at}");
        }
    }
}
