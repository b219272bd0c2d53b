//! Durations, sizes and bit rates as people write them.
//!
//! Durations: Go's `time.ParseDuration` grammar and humantime's. Sizes: bytesize's, where KB, MB and GB are powers of 1000
//! and KiB, MiB and GiB powers of 1024. What is written here reads back as the same value.

use std::time::Duration;

use bytesize::ByteSize;

/// A thousand bytes.
pub const KB: u64 = 1_000;
/// A million bytes.
pub const MB: u64 = 1_000_000;
/// A thousand million bytes.
pub const GB: u64 = 1_000_000_000;

/// Ten years of 365 days: any longer duration counts as this one, so that adding it to an instant never overflows.
pub const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);

/// The largest size, 1 EB: the sum of a few of them still fits 64 bits.
pub const LARGEST: u64 = 1_000_000_000_000_000_000;

/// Go's units in nanoseconds, largest first.
const GO: [(&str, u64); 8] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
    ("µs", 1_000),
    ("μs", 1_000),
];

/// Size units, the decimal ones first because they are the shorter to read.
const SIZES: [(&str, u64); 7] = [
    ("TB", 1_000_000_000_000),
    ("GB", GB),
    ("MB", MB),
    ("KB", KB),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

/// A duration above zero and at most [`LONGEST`]: Go's way ("1m30s", "1.5h", "300ms") or humantime's ("2days 4h").
///
/// The error is a sentence for a person.
pub fn duration(text: &str) -> Result<Duration, String> {
    let trimmed = text.trim();
    let parsed = go_duration(trimmed).or_else(|| humantime::parse_duration(trimmed).ok());
    match parsed {
        Some(Duration::ZERO) => Err(format!("{} must be longer than nothing", shown(text))),
        Some(duration) => Ok(duration.min(LONGEST)),
        None => {
            Err(format!("{} is not a duration: write it like 2m30s, 1.5h or 500ms", shown(text)))
        }
    }
}

/// `None` if this is not Go's grammar: an optional `+`, then numbers with a unit each.
fn go_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return None;
    }
    let mut nanos = 0_u128;
    while !rest.is_empty() {
        let (number, tail) = split(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, tail) = split(tail, |c| !c.is_ascii_digit() && c != '.');
        let &(_, scale) = GO.iter().find(|(name, _)| *name == unit)?;
        nanos = nanos.saturating_add(scaled(number, u128::from(scale))?);
        rest = tail;
    }
    let nanos = nanos.min(LONGEST.as_nanos());
    Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
}

/// `number`, digits with at most one point, times `scale`; what is below one is cut off.
fn scaled(number: &str, scale: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    // What overflows 64 bits is beyond the longest duration in any unit.
    let whole = if whole.is_empty() { 0 } else { whole.parse().unwrap_or(u64::MAX) };
    // Fifteen digits of an hour are finer than a nanosecond.
    let digits = fraction.get(..15).unwrap_or(fraction);
    let part: u128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let part = part * scale / 10_u128.pow(u32::try_from(digits.len()).ok()?);
    Some(u128::from(whole) * scale + part)
}

/// The longest beginning of which every character is `like`, and what follows.
fn split(text: &str, like: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !like(c)).unwrap_or(text.len()))
}

/// A duration the way Go reads it: `2m30s`.
pub fn write_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, scale) in &GO[..6] {
        if rest >= *scale {
            text.push_str(&(rest / scale).to_string());
            text.push_str(unit);
            rest %= scale;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// Bytes, at most [`LARGEST`]: `100MB` is 100,000,000, `100MiB` is 104,857,600, a bare number is bytes.
///
/// The error is a sentence for a person.
pub fn size(text: &str) -> Result<u64, String> {
    match text.trim().parse::<ByteSize>() {
        Ok(size) if size.as_u64() <= LARGEST => Ok(size.as_u64()),
        Ok(_) => Err(format!("{} is larger than 1EB", shown(text))),
        Err(_) => Err(format!("{} is not a size: write it like 500KB, 100MB or 2GiB", shown(text))),
    }
}

/// A size in the largest unit that expresses it exactly: `100MB`.
pub fn write_size(bytes: u64) -> String {
    SIZES
        .iter()
        .find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor))
        .map_or_else(|| format!("{bytes}B"), |(unit, factor)| format!("{}{unit}", bytes / factor))
}

/// Bits per second: `128k` or `128000`.
///
/// The error is a sentence for a person.
pub fn bitrate(text: &str) -> Result<u32, String> {
    let trimmed = text.trim();
    let (number, factor) = match trimmed.strip_suffix(['k', 'K']) {
        Some(number) => (number, 1000),
        None => (trimmed, 1),
    };
    let bits = number.parse::<u32>().ok().and_then(|n| n.checked_mul(factor));
    bits.ok_or_else(|| format!("{} is not a bit rate: write it like 128k or 128000", shown(text)))
}

/// A bit rate as it is usually written: `128k`.
pub fn write_bitrate(bits: u32) -> String {
    if bits.is_multiple_of(1000) { format!("{}k", bits / 1000) } else { bits.to_string() }
}

/// A wild value as an error shows it: quoted, on one line, not too long.
pub fn shown(text: &str) -> String {
    const ENOUGH: usize = 80;
    match text.char_indices().nth(ENOUGH) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_in_go_and_humantime_notation() {
        for (text, millis) in [
            ("1m30s", 90_000),
            ("2m30s", 150_000),
            ("1.5h", 5_400_000),
            ("2h45m0.5s", 9_900_500),
            ("300ms", 300),
            (".5s", 500),
            ("1.s", 1_000),
            ("+5s", 5_000),
            ("1s1s", 2_000),
            ("1500000us", 1_500),
            ("1500µs", 1),
            (" 5m 30s ", 330_000),
            ("2days 4h", 187_200_000),
            ("1 minute", 60_000),
            ("876000h", 315_360_000_000),
            ("99999999999999999999999h", 315_360_000_000),
            ("500years", 315_360_000_000),
        ] {
            assert_eq!(duration(text).map(|d| d.as_millis()), Ok(millis), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration() {
        for text in [
            "",
            " ",
            "0",
            "0s",
            "5",
            "1.5",
            "-5s",
            "5 parsecs",
            "1..5s",
            ".s",
            "s",
            "h1",
            "1m30",
            "1e3s",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_decimal_unless_they_say_otherwise() {
        for (text, bytes) in [
            ("100MB", 100_000_000),
            ("100mb", 100_000_000),
            ("100 MB", 100_000_000),
            ("100MiB", 104_857_600),
            ("1.5GB", 1_500_000_000),
            ("16KB", 16_000),
            ("1234", 1_234),
            ("1EB", LARGEST),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MB", "12XB", "-1MB", "1..2MB", "2EB", "99999999999999999999999", "1e3"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bit_rates() {
        for (text, bits) in
            [("128k", 128_000), ("128K", 128_000), ("128000", 128_000), ("96001", 96_001)]
        {
            assert_eq!(bitrate(text), Ok(bits), "{text}");
        }
        for text in ["", "k", "128kb", "-1", "1.5k", "99999999k", "128 kbit/s"] {
            assert!(bitrate(text).is_err(), "{text}");
        }
        assert_eq!(write_bitrate(128_000), "128k");
        assert_eq!(write_bitrate(96_001), "96001");
    }

    #[test]
    fn errors_stay_on_one_line_and_short() {
        let error = duration(&format!("one\ntwo{}", "µ".repeat(1000))).unwrap_err();
        assert!(!error.contains('\n') && error.chars().count() < 200, "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn no_text_makes_them_panic(text in r"[0-9.]{0,30}[a-zA-Zµ ]{0,3}[0-9.]{0,9}\PC{0,4}") {
            let _ = (duration(&text), size(&text), bitrate(&text));
        }

        #[test]
        fn what_is_written_reads_back(nanos in 1..=LONGEST.as_nanos() as u64, shift in 0..64_u32, bits: u32) {
            let span = Duration::from_nanos((nanos >> shift).max(1));
            prop_assert_eq!(duration(&write_duration(span)), Ok(span));
            let bytes = nanos >> shift;
            prop_assert_eq!(size(&write_size(bytes)), Ok(bytes));
            prop_assert_eq!(size(&write_size(bytes / 1024 * 1024)), Ok(bytes / 1024 * 1024));
            prop_assert_eq!(bitrate(&write_bitrate(bits)), Ok(bits));
        }
    }
}
