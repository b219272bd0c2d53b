//! The ladder: at which sizes and bit rates a video is offered.
//!
//! A rung is never larger than the source, never asks for more bits than it has, and no two rungs are about the same.

use crate::{
    config::Step,
    source::probe::media::{FrameRate, Video},
};

/// The share of the source's bit rate, in percent, that encoding anew may take: above that it brings nothing.
const SHARE: u64 = 80;

/// A rung has at least this share, in percent, of the bit rate of the one below it more: players that switch for less
/// only flicker.
const STEP: u64 = 30;

/// The fewest bits a second of a rung: below that nothing can be seen.
const LEAST: u32 = 64_000;

/// Frames a second for which the bit rates of the ladder are meant, and above which they grow.
const USUAL: u64 = 30;

/// The most frames a second.
const FASTEST: f64 = 60.0;

/// The frame rates that there are in practice, up to [`FASTEST`].
#[rustfmt::skip]
const RATES: [(u32, u32); 18] = [
    (5, 1), (6, 1), (8, 1), (10, 1), (12_000, 1001), (12, 1), (15_000, 1001), (15, 1), (20, 1),
    (24_000, 1001), (24, 1), (25, 1), (30_000, 1001), (30, 1), (48, 1), (50, 1), (60_000, 1001), (60, 1),
];

/// The largest numerator and denominator of a rate that is taken as it is.
const LARGEST: u32 = 1 << 20;

/// What a source gets that is smaller than every step, where there is none.
const SMALLEST: Step = Step { height: 240, bitrate: 350_000 };

/// The size and bit rate of one rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Pixels from left to right; even.
    pub width: u32,
    /// Pixels from top to bottom; even.
    pub height: u32,
    /// Bits a second, on average.
    pub bitrate: u32,
}

/// The rungs for a video, the smallest first; at least one.
///
/// A source of which the bit rate is known caps each rung at [`SHARE`] of it; of rungs that come too close to one another
/// by that, the smallest stays. A source smaller than every step is one rung at its own size.
pub fn rungs(video: &Video, steps: &[Step]) -> Vec<Size> {
    let short = video.width.min(video.height).max(1);
    let cap = match video.bitrate {
        0 => u64::MAX,
        bitrate => (bitrate * SHARE / 100).max(u64::from(LEAST)),
    };
    let rate = rate(video);
    let size = |step: Step| {
        let bitrate = scaled(step.bitrate, rate).min(cap).min(u64::from(u32::MAX)) as u32;
        let side = |pixels: u32| {
            let exact = u64::from(pixels) * u64::from(step.height.min(short));
            // To the nearest even number.
            let even = 2 * ((exact + u64::from(short)) / (2 * u64::from(short)));
            (even.min(u64::from(pixels & !1)) as u32).max(2)
        };
        Size { width: side(video.width), height: side(video.height), bitrate: bitrate.max(LEAST) }
    };
    let mut steps = steps.to_vec();
    steps.sort_unstable_by_key(|step| step.height);
    let mut rungs: Vec<Size> = Vec::new();
    for step in steps.iter().filter(|step| step.height <= short) {
        let size = size(*step);
        let differs =
            |below: &Size| u64::from(size.bitrate) * 100 >= u64::from(below.bitrate) * (100 + STEP);
        if rungs.last().is_none_or(differs) {
            rungs.push(size);
        }
    }
    if rungs.is_empty() {
        rungs.push(size(own(short, &steps)));
    }
    rungs
}

/// The step of a source that is smaller than all of them: the smallest one's bits for each pixel.
fn own(short: u32, steps: &[Step]) -> Step {
    let smallest = steps.first().copied().unwrap_or(SMALLEST);
    let square = |side: u32| u64::from(side) * u64::from(side);
    let bitrate =
        u64::from(smallest.bitrate) * square(short) / square(smallest.height.max(1)).max(1);
    Step { height: short, bitrate: bitrate as u32 }
}

/// Frames a second of what is encoded: the source's, or the usual rate that it is within 0.1 % of; where frames last
/// differently long, the nearest usual rate that is not below their average. At most 60.
pub fn rate(video: &Video) -> FrameRate {
    let FrameRate { numerator, denominator } = video.rate;
    let rate = FrameRate { numerator: numerator.max(1), denominator: denominator.max(1) };
    if hertz(rate) > FASTEST * 1.001 {
        return part(rate);
    }
    let far = |usual: FrameRate| (hertz(usual) / hertz(rate) - 1.0).abs();
    let nearest = usual().min_by(|&a, &b| far(a).total_cmp(&far(b)));
    let is_small = rate.numerator.max(rate.denominator) <= LARGEST;
    match nearest.filter(|&usual| far(usual) < 0.001) {
        Some(usual) => usual,
        None if video.constant && is_small => rate,
        None => usual().find(|&usual| hertz(usual) >= hertz(rate)).unwrap_or(SIXTY),
    }
}

const SIXTY: FrameRate = FrameRate { numerator: 60, denominator: 1 };

/// Half, a third, ... of a rate that is too high, if that is a usual one, so that frames are left out evenly.
fn part(rate: FrameRate) -> FrameRate {
    let nth = |n: u32| {
        let part = hertz(rate) / f64::from(n);
        usual().find(|&usual| (hertz(usual) / part - 1.0).abs() < 0.0005)
    };
    (2..=10).find_map(nth).unwrap_or(SIXTY)
}

fn usual() -> impl Iterator<Item = FrameRate> {
    RATES.iter().map(|&(numerator, denominator)| FrameRate { numerator, denominator })
}

fn hertz(rate: FrameRate) -> f64 {
    f64::from(rate.numerator) / f64::from(rate.denominator)
}

/// A bit rate at more than [`USUAL`] frames a second: twice the frames take half as much again.
fn scaled(bitrate: u32, rate: FrameRate) -> u64 {
    let [numerator, denominator] = [rate.numerator, rate.denominator].map(u64::from);
    let excess = numerator.saturating_sub(USUAL * denominator);
    let bitrate = u64::from(bitrate);
    bitrate + bitrate * excess / (2 * USUAL * denominator)
}

#[cfg(test)]
mod tests;
