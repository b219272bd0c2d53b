//! Video that is handed on as it is: whether it can be, and where it is cut.
//!
//! The cuts follow its keyframes. Rungs that are encoded beside it are cut at the same places, on their own grid of frames.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    choices::Choices,
    table::{FOLD, SegmentTable},
};
use crate::{
    config,
    source::probe::{
        Container,
        media::{FrameRate, Media, Picture, Video},
    },
};

/// Keyframes further apart than this many seconds make segments that nobody wants to wait for.
const FARTHEST: f64 = 10.0;

/// A segment may be so much shorter than it is meant to be, for its cut to be at a keyframe.
const NEARLY: f64 = 0.75;

/// The most ticks a second that are kept: of more, 32 bits do not hold what a segment lasts.
const FINEST: u32 = 10_000_000;

/// Ticks a second that tell samples apart that are decoded in a row ([`Samples::settle`](super::fmp4::samples::Samples::settle)).
const FINE: u32 = 1_000;

/// What is known of a track that is copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Its RFC 6381 name.
    pub codecs: String,
    /// Ticks a second: those of its own times, or a multiple of them.
    pub timescale: u32,
    /// When each segment begins, and the end of the last one, in these ticks.
    pub times: Vec<u64>,
    /// Ticks by which that is later than ffmpeg has it.
    pub shift: u64,
    /// Payload bytes of each segment, or more.
    pub bytes: Vec<u64>,
    /// Ticks by which frames are decoded before they are shown.
    pub reorder: u32,
}

impl Copied {
    /// Ticks of one frame of `rate`, which is that of the track on average.
    pub fn frame(&self, rate: FrameRate) -> u64 {
        u64::from(self.timescale) * u64::from(rate.denominator) / u64::from(rate.numerator.max(1))
    }

    /// How to copy the video of `media`, and the cuts of all its rungs in frames of `rate`; None where it has to be encoded.
    pub fn of(media: &Media, choices: &Choices, rate: FrameRate) -> Option<(Self, SegmentTable)> {
        let video = media.video.as_ref()?;
        let codecs = codecs(video, choices)?;
        let cuts = video.cuts.as_ref().filter(|cuts| (1..=FINEST).contains(&cuts.timescale))?;
        let can_enter = media.container.is_mp4()
            || matches!(media.container, Container::Matroska | Container::MpegTs);
        if !can_enter || !video.plain || video.interlaced {
            return None;
        }
        let finer = FINE.div_ceil(cuts.timescale);
        let fine = cuts.timescale.checked_mul(finer)?;
        let timescale = u64::from(fine);
        let keyframes: Vec<u64> =
            cuts.times.iter().map(|time| time.saturating_mul(finer.into())).collect();
        let seconds = |ticks: u64| ticks as f64 / timescale as f64;
        let is_far =
            |pair: &[u64]| matches!(pair, [a, b] if seconds(b.saturating_sub(*a)) > FARTHEST);
        if keyframes.windows(2).any(is_far) {
            return None;
        }
        let delay = video.delay.checked_mul(timescale)? / 1000;
        // There, ffmpeg counts from the first of the tracks that it is asked for.
        let shift = if media.container == Container::MpegTs { delay } else { 0 };
        let chosen = choose(&keyframes, timescale, choices.segment);
        let time = |&at: &usize| keyframes.get(at).map(|time| time + delay);
        let times: Vec<u64> = chosen.iter().map(time).collect::<Option<_>>()?;
        let bytes = chosen.windows(2).map(|pair| match pair {
            [from, to] => cuts.bytes.get(*from..*to).map(|bytes| bytes.iter().sum()),
            _ => None,
        });
        let bytes = bytes.collect::<Option<_>>()?;
        let table = table(&times, timescale, rate)?;
        // Where frames last differently long, their order alone does not tell how late the latest is.
        let reorder = if video.constant { cuts.reorder } else { 2 * cuts.reorder };
        let reorder = u32::try_from(reorder).ok()?.checked_mul(finer)?;
        Some((Self { codecs, timescale: fine, times, shift, bytes, reorder }, table))
    }
}

/// CODECS of what the choices let be copied and players know.
fn codecs(video: &Video, choices: &Choices) -> Option<String> {
    let may = |codec| choices.copy.contains(&codec);
    let codecs = match &video.codec {
        Picture::H264 { codecs } if may(config::Copied::H264) => codecs,
        Picture::Hevc { codecs } if may(config::Copied::Hevc) => codecs,
        Picture::Av1 { codecs } if may(config::Copied::Av1) => codecs,
        _ => return None,
    };
    is_known(codecs).then(|| codecs.clone())
}

/// Whether it is a profile of 4:2:0 that players know: of 8 bits in H.264 (Baseline, Main, High), of up to 10 in HEVC (Main,
/// Main 10) and AV1 (Main).
fn is_known(codecs: &str) -> bool {
    let mut parts = codecs.split('.');
    match (parts.next(), parts.next()) {
        (Some("avc1"), Some(profile)) => matches!(profile.get(..2), Some("42" | "4d" | "64")),
        (Some("hvc1"), Some("1" | "2")) | (Some("av01"), Some("0")) => true,
        _ => false,
    }
}

/// Which keyframes segments begin with, by their place, and the end: so that segments come as close to 1, 2, 4 s and then
/// `segment` as the keyframes let them, and none is left at the end that is shorter than [`FOLD`].
fn choose(times: &[u64], timescale: u64, segment: Duration) -> Vec<usize> {
    let mut lengths = SegmentTable::lengths(segment);
    let mut wanted = lengths.next().unwrap_or(1.0);
    let mut chosen = vec![0];
    let end = times.len().saturating_sub(1);
    let mut from = times.first().copied().unwrap_or(0);
    for (at, &time) in times.iter().enumerate().take(end).skip(1) {
        let length = time.saturating_sub(from) as f64 / timescale as f64;
        if length >= wanted * NEARLY {
            chosen.push(at);
            from = time;
            wanted = lengths.next().unwrap_or(wanted);
        }
    }
    let last = times.get(end).copied().unwrap_or(from).saturating_sub(from);
    if chosen.len() > 1 && (last as f64) < FOLD * timescale as f64 {
        chosen.pop();
    }
    if chosen.last() != Some(&end) {
        chosen.push(end);
    }
    chosen
}

/// The cuts at these times, each at the nearest frame of a grid of `rate`, the first at 0; None where two would fall together.
fn table(times: &[u64], timescale: u64, rate: FrameRate) -> Option<SegmentTable> {
    let (numerator, denominator) = (u128::from(rate.numerator), u128::from(rate.denominator));
    let scale = u128::from(timescale) * denominator;
    let frame = |&time: &u64| {
        let frame = (2 * u128::from(time) * numerator + scale) / (2 * scale).max(1);
        u64::try_from(frame * denominator).ok()
    };
    let mut bounds: Vec<u64> = times.iter().map(frame).collect::<Option<_>>()?;
    // What comes before the first picture is part of the first segment.
    if let Some(first) = bounds.first_mut() {
        *first = 0;
    }
    SegmentTable::of(rate.numerator, bounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: FrameRate = FrameRate { numerator: 30, denominator: 1 };

    #[test]
    fn segments_begin_at_keyframes_near_their_lengths() {
        let times: Vec<u64> = (0..=30).map(|n| n * 2_000).collect();
        let chosen = choose(&times, 1000, Duration::from_secs(5));
        assert_eq!(chosen[..5], [0, 1, 2, 4, 6]);
        assert_eq!(chosen.last(), Some(&30));
        assert_eq!(choose(&[0, 40], 1000, Duration::from_secs(5)), [0, 1]);
        let short = [0, 4_000, 8_000, 8_900];
        assert_eq!(choose(&short, 1000, Duration::from_secs(4)), [0, 1, 3], "folded in");
    }

    #[test]
    fn profiles_that_players_know_are_copied() {
        for codecs in
            ["avc1.42c01e", "avc1.4d401f", "avc1.640028", "hvc1.1.6.L93.90", "hvc1.2.4.H150"]
        {
            assert!(is_known(codecs), "{codecs}");
        }
        assert!(is_known("av01.0.04M.10"));
        for codecs in
            ["avc1.6e0028", "avc1.", "hvc1.4.10.L93", "hvc1.A1.6.L93", "av01.1.04M.08", ""]
        {
            assert!(!is_known(codecs), "{codecs}");
        }
    }

    #[test]
    fn the_cuts_are_on_the_grid_of_frames() {
        let table = table(&[23, 1_990, 4_023], 1000, RATE).unwrap();
        let cuts: Vec<_> = (0..table.len()).map(|n| table.ticks(n).unwrap()).collect();
        assert_eq!(cuts, [0..60, 60..121]);
        assert!(super::table(&[0, 1, 1_000], 1000, RATE).is_none(), "two on one frame");
    }
}
