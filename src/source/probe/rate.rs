//! Frame rates: which one is meant by the frames that are there.

use super::media::{FASTEST, FrameRate, scale};

/// Rates that are meant where one comes close.
const RATES: [(u32, u32); 11] = [
    (24_000, 1_001),
    (24, 1),
    (25, 1),
    (30_000, 1_001),
    (30, 1),
    (48, 1),
    (50, 1),
    (60_000, 1_001),
    (60, 1),
    (120_000, 1_001),
    (120, 1),
];

impl FrameRate {
    /// `count` frames in `ticks` as a rate between 1 and [`FASTEST`], and whether it is still constant: if so exactly, else the
    /// common rate that is near, else to a thousandth.
    pub(super) fn of(count: u64, ticks: u64, constant: bool) -> (Self, bool) {
        let whole = |numerator| Self { numerator, denominator: 1 };
        if count < ticks || ticks == 0 {
            return (whole(1), false);
        }
        if count / ticks >= FASTEST {
            return (whole(FASTEST as u32), false);
        }
        if let Some(rate) = Self::exact(count, ticks).filter(|_| constant) {
            return (rate, true);
        }
        let rate = count as f64 / ticks as f64;
        let near = |&(numerator, denominator): &(u32, u32)| {
            (rate * f64::from(denominator) / f64::from(numerator) - 1.0).abs() < 0.000_5
        };
        let common = RATES.into_iter().find(near);
        let common = common.map(|(numerator, denominator)| Self { numerator, denominator });
        let rounded = || Self::exact(scale(count, 1_000, ticks), 1_000);
        (common.or_else(rounded).unwrap_or(whole(1)), false)
    }

    /// The rate of frames that are so many nanoseconds apart.
    pub(super) fn of_duration(nanoseconds: u64) -> Option<Self> {
        (nanoseconds > 0).then(|| Self::of(1_000_000_000, nanoseconds, false).0)
    }

    /// Ticks of one frame, of which a second has `timescale`.
    pub(super) fn ticks(self, timescale: u64) -> Option<u64> {
        let ticks = timescale.checked_mul(u64::from(self.denominator))?;
        ticks.checked_div(u64::from(self.numerator))
    }

    /// Whether `count` frames in `span` ticks come within a fiftieth of it.
    pub(super) fn is_near(self, count: u64, span: u64, timescale: u64) -> bool {
        let real = count as f64 * timescale as f64 / span.max(1) as f64;
        let rate = f64::from(self.numerator) / f64::from(self.denominator);
        (real / rate - 1.0).abs() < 0.02
    }

    /// Whether the other is at most four times as fast, and at least a quarter.
    pub(super) fn is_like(self, other: Self) -> bool {
        let one = u64::from(self.numerator) * u64::from(other.denominator);
        let two = u64::from(other.numerator) * u64::from(self.denominator);
        one / 4 <= two && two / 4 <= one
    }

    /// `numerator / denominator` in its lowest terms, if it fits and is no division by zero.
    pub(super) fn exact(numerator: u64, denominator: u64) -> Option<Self> {
        let common = divisor(numerator, denominator);
        let numerator = u32::try_from(numerator / common).ok().filter(|&n| n > 0)?;
        let denominator = u32::try_from(denominator / common).ok().filter(|&n| n > 0)?;
        Some(Self { numerator, denominator })
    }
}

/// The greatest common divisor; 1 where there is none.
fn divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a.max(1) } else { divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_common_ones_where_they_come_near() {
        let rate = |count, ticks, constant| {
            let (rate, constant) = FrameRate::of(count, ticks, constant);
            (rate.numerator, rate.denominator, constant)
        };
        assert_eq!(rate(90_000, 3_003, true), (30_000, 1_001, true));
        assert_eq!(rate(1_000, 33, true), (1_000, 33, true));
        assert_eq!(rate(2_997_100, 100_000, false), (30_000, 1_001, false));
        assert_eq!(rate(14_211, 1_000, false), (14_211, 1_000, false));
        assert_eq!(rate(1, 10, true), (1, 1, false));
        assert_eq!(rate(90_000, 1, true), (240, 1, false));
        assert_eq!(rate(0, 0, false), (1, 1, false));
    }
}
