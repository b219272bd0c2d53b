//! The segment table: the exact duration of every segment, known before anything is encoded.
//!
//! Bounds are ticks of the rendition's timescale (for audio: samples, always whole AAC frames; for video: whole pictures), so that every EXTINF is
//! exact by construction and renditions can be cut at the same instants. RFC 8216 section 4.3.3.1 wants each EXTINF,
//! rounded, at or below the target duration.

use std::{ops::Range, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize, Serializer};

use crate::source::probe::media::FrameRate;

/// Samples in one AAC-LC frame.
pub const FRAME: u64 = 1024;

/// Lengths of the first segments in seconds: time to first sound is what users feel (packaging measurements, section 6).
const FIRST: [f64; 3] = [1.0, 2.0, 4.0];

/// The fewest AAC frames in the first segment. libavformat reads 50 to open packed AAC (`max_ts_probe`): where these reach
/// into the second segment, it takes that one's time for the first one's, and every seek lands too late by the length of
/// the first (measured: ffmpeg 5.1, mpv 0.35). Where they are silence of less than 2 kB, they are filled up
/// ([`packed::opening`](super::packed::opening)).
pub const FIRST_FRAMES: u64 = 50;

/// A last piece shorter than this many seconds is folded into the segment before it.
pub const FOLD: f64 = 1.0;

/// The cuts of one rendition. At least one segment, each at least one tick long. Clones share them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct SegmentTable {
    timescale: u32,
    #[serde(serialize_with = "sequence")]
    bounds: Arc<[u64]>,
    /// Ticks of the first segment before presentation time 0.
    priming: u64,
}

fn sequence<S: Serializer>(bounds: &Arc<[u64]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(bounds.iter())
}

/// A table as it stands in a file.
#[derive(Deserialize)]
struct Unchecked {
    timescale: u32,
    bounds: Vec<u64>,
    priming: u64,
}

impl TryFrom<Unchecked> for SegmentTable {
    type Error = &'static str;

    fn try_from(read: Unchecked) -> Result<Self, Self::Error> {
        let Unchecked { timescale, bounds, priming } = read;
        let grows = bounds.is_sorted_by(|a, b| a < b);
        let is_heard = bounds.get(1).is_some_and(|&end| priming < end);
        if timescale == 0 || bounds.first() != Some(&0) || !grows || !is_heard {
            return Err(
                "the bounds of a segment table grow from 0, its timescale is not 0, and its first segment is more than priming",
            );
        }
        Ok(Self { timescale, bounds: bounds.into(), priming })
    }
}

impl SegmentTable {
    /// The table of `frames` AAC frames (at least 1) at `rate` samples a second: 1, 2 and 4 s, then `segment` each, every
    /// length rounded down to whole frames, the first one up to 50.
    pub fn audio(frames: u64, rate: u32, segment: Duration) -> Self {
        Self::packets(frames * FRAME, FRAME, rate, segment)
    }

    /// The table of `total` samples (at least 1) in packets of `packet` each, of which the last may have fewer, cut likewise.
    pub fn packets(total: u64, packet: u64, rate: u32, segment: Duration) -> Self {
        let first = if packet == FRAME { FIRST_FRAMES } else { 1 };
        Self::cut(total, rate, packet, segment, first)
    }

    /// The table of `frames` pictures (at least 1), cut as [`SegmentTable::audio`] does. One picture lasts the denominator
    /// of `rate` in ticks of its numerator.
    pub fn video(frames: u64, rate: FrameRate, segment: Duration) -> Self {
        let ticks = u64::from(rate.denominator.max(1));
        Self::cut(frames * ticks, rate.numerator.max(1), ticks, segment, 1)
    }

    /// The table of `total` ticks in frames of `ticks` each, at least `first` of them in the first segment.
    fn cut(total: u64, timescale: u32, ticks: u64, segment: Duration, first: u64) -> Self {
        let frames = total.div_ceil(ticks);
        let segment = segment.as_secs_f64();
        let in_frames =
            |seconds: f64| ((seconds * f64::from(timescale) / ticks as f64) as u64).max(1);
        let mut bounds = vec![0];
        let mut at = 0;
        let mut lengths = Self::lengths(Duration::from_secs_f64(segment));
        while at < frames {
            at += in_frames(lengths.next().unwrap_or(segment));
            at = at.max(first).min(frames);
            bounds.push(at);
        }
        let last = bounds.len() - 1;
        if last >= 2 && bounds[last] - bounds[last - 1] < in_frames(FOLD) {
            bounds.remove(last - 1);
        }
        Self {
            timescale,
            bounds: bounds.into_iter().map(|frame| total.min(frame * ticks)).collect(),
            priming: 0,
        }
    }

    /// The same cuts of a track whose first `priming` ticks are not heard; all are, where its first segment has no more.
    #[must_use]
    pub fn primed(self, priming: u64) -> Self {
        let priming = if priming < self.bounds[1] { priming } else { 0 };
        Self { priming, ..self }
    }

    /// The lengths of segments in seconds, one after the other, without end.
    pub fn lengths(segment: Duration) -> impl Iterator<Item = f64> {
        let segment = segment.as_secs_f64();
        FIRST.into_iter().filter(move |&first| first < segment).chain(std::iter::repeat(segment))
    }

    /// The table of these bounds, in ticks; None unless they grow from 0.
    pub fn of(timescale: u32, bounds: Vec<u64>) -> Option<Self> {
        Unchecked { timescale, bounds, priming: 0 }.try_into().ok()
    }

    /// Number of segments.
    pub fn len(&self) -> u32 {
        self.bounds.len() as u32 - 1
    }

    /// Whether there are no segments; never true, but clippy and readers expect it beside `len`.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ticks a second.
    pub fn timescale(&self) -> u32 {
        self.timescale
    }

    /// The ticks of segment `n` on the clock of the presentation, which stands at 0 until the priming is over; None past the
    /// end. EXTINF is its length: timestamps and edit lists place segments so, and the sum is the length of the source.
    pub fn presentation(&self, n: u32) -> Option<Range<u64>> {
        let presented = |tick: u64| tick.saturating_sub(self.priming);
        self.ticks(n).map(|ticks| presented(ticks.start)..presented(ticks.end))
    }

    /// The ticks that segment `n` covers, or None past the end.
    pub fn ticks(&self, n: u32) -> Option<Range<u64>> {
        let n = n as usize;
        Some(*self.bounds.get(n)?..*self.bounds.get(n + 1)?)
    }

    /// The AAC frames that segment `n` covers, or None past the end. Audio tables only.
    pub fn frames(&self, n: u32) -> Option<Range<u64>> {
        self.ticks(n).map(|ticks| ticks.start / FRAME..ticks.end / FRAME)
    }

    /// Ticks of the whole rendition, priming included.
    pub fn total(&self) -> u64 {
        self.bounds[self.bounds.len() - 1]
    }

    /// Seconds of the whole presentation.
    pub fn length(&self) -> f64 {
        (self.total() - self.priming) as f64 / f64::from(self.timescale)
    }

    /// The duration of segment `n` in seconds, as EXTINF says it.
    pub fn seconds(&self, n: u32) -> Option<f64> {
        self.presentation(n).map(|t| (t.end - t.start) as f64 / f64::from(self.timescale))
    }

    /// The durations of all segments in seconds.
    pub fn durations(&self) -> impl Iterator<Item = f64> + '_ {
        (0..).map_while(|n| self.seconds(n))
    }

    /// EXT-X-TARGETDURATION: the longest segment, rounded to whole seconds (RFC 8216 section 4.3.3.1), at least 1.
    pub fn target_duration(&self) -> u64 {
        self.durations().fold(1.0, f64::max).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_grow_from_one_second_to_five() {
        let table = SegmentTable::audio(25_840, 44_100, Duration::from_secs(5));
        let frames: Vec<u64> =
            (0..5).map(|n| table.frames(n).unwrap()).map(|f| f.end - f.start).collect();
        assert_eq!(frames, [50, 86, 172, 215, 215]);
        assert_eq!(table.total(), 25_840 * FRAME);
        assert_eq!(table.target_duration(), 5);
    }

    #[test]
    fn pictures_are_never_cut() {
        let ntsc = FrameRate { numerator: 30_000, denominator: 1001 };
        let table = SegmentTable::video(300, ntsc, Duration::from_secs(4));
        let pictures: Vec<u64> = (0..)
            .map_while(|n| table.ticks(n))
            .map(|ticks| (ticks.end - ticks.start) / 1001)
            .collect();
        assert_eq!(pictures, [29, 59, 119, 93]);
        assert_eq!((table.timescale(), table.total()), (30_000, 300 * 1001));
    }

    #[test]
    fn a_jingle_is_one_segment() {
        let table = SegmentTable::audio(4, 44_100, Duration::from_secs(5));
        assert_eq!(table.len(), 1);
        assert_eq!(table.frames(0), Some(0..4));
        assert_eq!(table.frames(1), None);
    }

    #[test]
    fn the_first_segment_is_as_long_as_libavformat_reads_to_open_it() {
        for (rate, seconds, first) in
            [(8_000, 5, 50), (16_000, 5, 50), (48_000, 1, 50), (96_000, 5, 93)]
        {
            let table = SegmentTable::audio(10_000, rate, Duration::from_secs(seconds));
            assert_eq!(table.frames(0), Some(0..first), "{rate} Hz");
        }
    }

    #[test]
    fn segments_shorter_than_the_first_ones_stay_short() {
        let table = SegmentTable::audio(1_000, 48_000, Duration::from_secs(2));
        assert!(table.durations().skip(1).take(5).all(|d| d <= 2.0));
    }

    #[test]
    fn priming_is_not_presented() {
        let table = SegmentTable::audio(431, 44_100, Duration::from_secs(5)).primed(2112);
        let last = table.len() - 1;
        assert_eq!(table.ticks(0), Some(0..50 * FRAME));
        assert_eq!(table.presentation(0), Some(0..50 * FRAME - 2112));
        assert_eq!(table.presentation(1).unwrap().start, 50 * FRAME - 2112);
        assert_eq!(table.presentation(last).unwrap().end, 431 * FRAME - 2112);
        let sum: f64 = table.durations().sum();
        assert!((sum - table.length()).abs() < 1e-9);
        let short = SegmentTable::audio(1, 44_100, Duration::from_secs(5)).primed(2112);
        assert_eq!(short.presentation(0), Some(0..FRAME));
    }

    #[test]
    fn a_damaged_table_is_not_taken() {
        let read = |json| serde_json::from_str::<SegmentTable>(json);
        assert!(read(r#"{"timescale":8000,"bounds":[0,1024,2048],"priming":1023}"#).is_ok());
        for wrong in [
            r#"{"timescale":0,"bounds":[0,1024],"priming":0}"#,
            r#"{"timescale":8000,"bounds":[],"priming":0}"#,
            r#"{"timescale":8000,"bounds":[0],"priming":0}"#,
            r#"{"timescale":8000,"bounds":[1024,2048],"priming":0}"#,
            r#"{"timescale":8000,"bounds":[0,2048,1024],"priming":0}"#,
            r#"{"timescale":8000,"bounds":[0,1024,2048],"priming":1024}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]
        #[test]
        fn every_frame_is_in_exactly_one_segment(
            frames in 1u64..1_100_000, rate in 8_000u32..=48_000, seconds in 1u64..=60,
        ) {
            let table = SegmentTable::audio(frames, rate, Duration::from_secs(seconds));
            prop_assert_eq!(table.total(), frames * FRAME);
            let mut next = 0;
            for n in 0..table.len() {
                let covered = table.frames(n).unwrap();
                prop_assert_eq!(covered.start, next);
                prop_assert!(covered.end > covered.start);
                next = covered.end;
            }
            if table.len() > 1 {
                let last = table.seconds(table.len() - 1).unwrap();
                prop_assert!(last >= FOLD - FRAME as f64 / f64::from(rate));
            }
        }
    }
}
