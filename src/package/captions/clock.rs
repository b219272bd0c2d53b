//! Times as they stand in files of captions: read loosely, checked by each format, written in one way.

use std::fmt;

/// A time of day as written, not yet checked. `fraction` is empty where there is none.
pub(super) struct Clock<'a> {
    pub hours: &'a str,
    pub minutes: &'a str,
    pub seconds: &'a str,
    pub fraction: &'a str,
}

impl<'a> Clock<'a> {
    /// Reads `[h:]mm:ss[.fff]` from the front of `text` and returns what follows it; `points` may stand for the point.
    pub fn read(text: &'a str, points: &[char]) -> Option<(Self, &'a str)> {
        let (first, rest) = digits(text);
        let (second, rest) = digits(rest.strip_prefix(':')?);
        let (hours, minutes, seconds, rest) = match rest.strip_prefix(':').map(digits) {
            Some((third, rest)) => (first, second, third, rest),
            None => ("0", first, second, rest),
        };
        let (fraction, rest) = rest.strip_prefix(points).map_or(("", rest), digits);
        Some((Self { hours, minutes, seconds, fraction }, rest))
    }

    /// Milliseconds, if minutes and seconds are below 60 and hours below 2^32.
    pub fn millis(&self) -> Option<u64> {
        let sixtieth = |digits: &str| digits.parse().ok().filter(|&n: &u64| n < 60);
        let hours = u64::from(self.hours.parse::<u32>().ok()?);
        let seconds = (hours * 60 + sixtieth(self.minutes)?) * 60 + sixtieth(self.seconds)?;
        let millis =
            if self.fraction.is_empty() { 0 } else { self.fraction.parse::<u16>().ok()? };
        Some(seconds * 1000 + u64::from(millis))
    }
}

/// The ASCII digits at the front of `text`, and the rest.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// Milliseconds, written as `hh:mm:ss.ttt`.
pub(in crate::package) struct Timestamp(pub u64);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0 / 1000, self.0 % 1000);
        let (minutes, hours) = (seconds / 60 % 60, seconds / 3600);
        write!(f, "{hours:02}:{minutes:02}:{:02}.{millis:03}", seconds % 60)
    }
}
