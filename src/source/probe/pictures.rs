//! The frames of a video track as they are met in the file: how fast, how long, how heavy, and where they can be cut.

use super::{
    media::{Cuts, FrameRate, Video, scale},
    picture::{Coded, Geometry},
};

/// Frames whose times are kept: 18 hours at 60 a second.
const MOST: usize = 4_000_000;

/// The most frames that one is decoded before and shown after (ISO/IEC 14496-10 annex A, 23008-2 annex A).
const REORDERED: usize = 16;

/// Keyframes that lie between two others which are no further apart than a second divided by this are not told: a cut has
/// one so much later at most. Two hours of nothing but keyframes are 15,000 of them then, not 180,000 or more.
const CLOSE: u32 = 2;

/// More frames a second than this are no film, but damaged times: copied, they would have none that players keep.
const BLUR: u64 = 1_000;

/// One frame, its times in ticks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shot {
    /// When it is shown.
    pub(super) time: i64,
    /// How long, if that is known; else 0.
    pub(super) duration: u64,
    /// Its bytes.
    pub(super) size: u64,
    /// Whether decoding can begin with it.
    pub(super) key: bool,
}

/// The frames so far, in the order in which they are decoded.
#[derive(Clone, Debug, Default)]
pub(super) struct Pictures {
    times: Vec<i64>,
    /// Time of each keyframe that parts what comes before from what comes after, and the bytes up to the next.
    cuts: Vec<(i64, u64)>,
    /// Something was met that copying could not keep.
    broken: bool,
    count: u64,
    bytes: u64,
    first: i64,
    last: i64,
    end: i64,
}

/// What the frames of a track come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Frames a second, on average where `constant` is false.
    pub(super) rate: FrameRate,
    /// Whether they follow each other at equal distances, in ticks.
    pub(super) constant: bool,
    /// When the first is shown, in ticks.
    pub(super) first: i64,
    /// Milliseconds from the first to the end of the last.
    pub(super) length: u64,
    /// Bits a second.
    pub(super) bitrate: u64,
    /// Where it can be cut; None if its first frame shown is not its first keyframe.
    pub(super) cuts: Option<Cuts>,
}

impl Pictures {
    /// The next frame to be decoded.
    pub(super) fn push(&mut self, shot: Shot) {
        let Shot { time, duration, size, key } = shot;
        if self.count == 0 {
            (self.first, self.last, self.broken) = (time, time, self.broken || !key);
        }
        if key && (self.count == 0 || time > self.last) {
            self.cuts.push((time, 0));
        }
        self.part(time);
        if let Some((_, bytes)) = self.cuts.last_mut() {
            *bytes = bytes.saturating_add(size);
        }
        if self.times.len() < MOST {
            self.times.push(time);
        }
        self.count += 1;
        self.bytes = self.bytes.saturating_add(size);
        self.first = self.first.min(time);
        self.last = self.last.max(time);
        self.end = self.end.max(time.saturating_add_unsigned(duration));
    }

    /// Gives up the keyframes that a frame is decoded after, but shown before.
    fn part(&mut self, time: i64) {
        while let Some(&(cut, bytes)) = self.cuts.last()
            && time < cut
        {
            self.cuts.pop();
            match self.cuts.last_mut() {
                Some((_, before)) => *before = before.saturating_add(bytes),
                None => self.broken = true,
            }
        }
    }

    /// Frames are there that are not shown, or that must not be copied for another reason.
    pub(super) fn spoil(&mut self) {
        self.broken = true;
    }

    /// What they come to, at so many ticks a second; `nominal` is what the container says of the rate. None if there are none.
    pub(super) fn told(mut self, timescale: u32, nominal: Option<FrameRate>) -> Option<Told> {
        let ticks = u64::from(timescale);
        if self.count == 0 || ticks == 0 {
            return None;
        }
        let span = self.last.abs_diff(self.first);
        let gap = span.checked_div(self.count - 1).unwrap_or(0);
        let end = self.end.max(self.first);
        let length = match end.abs_diff(self.first) {
            covered if covered > span => covered,
            _ => span.saturating_add(nominal.and_then(|rate| rate.ticks(ticks)).unwrap_or(gap)),
        };
        let length = length.max(1);
        let decoded = self.times.clone();
        let distance = self.distance(length);
        // In order of time they would all come when they are shown; whichever comes later than that by its place tells.
        let late =
            self.times.iter().zip(&decoded).map(|(shown, decoded)| shown.saturating_sub(*decoded));
        let reorder = late.max().map_or(0, |ticks| u64::try_from(ticks).unwrap_or(0));
        let (rate, constant) = match distance {
            Some(distance) => FrameRate::of(ticks, distance, true),
            None => match nominal {
                Some(rate) if rate.is_near(self.count - 1, span, ticks) => (rate, false),
                _ => FrameRate::of((self.count - 1).saturating_mul(ticks), span, false),
            },
        };
        let milliseconds = scale(length, 1_000, ticks);
        let bitrate = scale(self.bytes.saturating_mul(8), ticks, length);
        let is_blur = self.count.saturating_mul(ticks) / BLUR > length;
        let cuts = self.cuts(timescale, length, reorder).filter(|_| !is_blur);
        Some(Told { rate, constant, first: self.first, length: milliseconds, bitrate, cuts })
    }

    /// Ticks from each frame to the next, if they are always the same.
    fn distance(&mut self, length: u64) -> Option<u64> {
        if self.times.len() as u64 != self.count {
            return None;
        }
        if self.count == 1 {
            return Some(length);
        }
        sort(&mut self.times);
        let later = self.times.iter().skip(1);
        let mut distances = self.times.iter().zip(later).map(|(time, next)| next.abs_diff(*time));
        let distance = distances.next().filter(|&distance| distance > 0)?;
        distances.all(|other| other == distance).then_some(distance)
    }

    fn cuts(&self, timescale: u32, length: u64, reorder: u64) -> Option<Cuts> {
        if self.broken || self.cuts.is_empty() {
            return None;
        }
        let cuts = self.thinned(timescale / CLOSE);
        let times = cuts.iter().map(|(time, _)| time.abs_diff(self.first));
        let times = times.chain([length]).collect();
        let bytes = cuts.iter().map(|(_, bytes)| *bytes).collect();
        Some(Cuts { timescale, times, bytes, reorder })
    }

    /// The keyframes without those between two others that are no further apart than `close` ticks.
    fn thinned(&self, close: u32) -> Vec<(i64, u64)> {
        let mut kept: Vec<(i64, u64)> = Vec::new();
        for (n, &(time, bytes)) in self.cuts.iter().enumerate() {
            let next = self.cuts.get(n + 1).map(|(next, _)| *next);
            match (kept.last_mut(), next) {
                (Some((before, held)), Some(next))
                    if next.abs_diff(*before) <= u64::from(close) =>
                {
                    *held = held.saturating_add(bytes);
                }
                _ => kept.push((time, bytes)),
            }
        }
        kept
    }
}

impl Video {
    /// A track whose codec, shape and frames are told; it starts with the file.
    pub(super) fn new(index: u32, coded: Coded, geometry: Geometry, told: Told) -> Self {
        let (width, height) = geometry.shown();
        let Told { rate, constant, length, bitrate, cuts, .. } = told;
        Self {
            index,
            width,
            height,
            plain: geometry.plain(),
            interlaced: coded.fields,
            colour: coded.colour,
            rate,
            constant,
            length,
            delay: 0,
            bitrate,
            cuts: cuts.filter(|_| coded.complete && coded.codec.is_copied()),
            codec: coded.codec,
        }
    }
}

/// Sorts times that lie a few places from where they belong, as those of B pictures do, in one pass; others as one does.
fn sort(times: &mut [i64]) {
    for n in 1..times.len() {
        let mut at = n;
        while at > 0 && times[at - 1] > times[at] {
            if n - at == REORDERED {
                return times.sort_unstable();
            }
            times.swap(at - 1, at);
            at -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Frames of one tick and ten bytes, in the order of decoding; keyframes end in `!`.
    fn told(frames: &str) -> Option<Told> {
        let mut pictures = Pictures::default();
        for frame in frames.split_whitespace() {
            let time = frame.trim_end_matches('!').parse().unwrap();
            pictures.push(Shot { time, duration: 1, size: 10, key: frame.ends_with('!') });
        }
        pictures.told(25, None)
    }

    fn cuts(frames: &str) -> Option<(Vec<u64>, Vec<u64>)> {
        told(frames)?.cuts.map(|cuts| (cuts.times, cuts.bytes))
    }

    #[test]
    fn cuts_part_what_is_shown_before_from_what_is_shown_after() {
        let closed = "5! 7 6 8! 10 9";
        assert_eq!(cuts(closed), Some((vec![0, 3, 6], vec![30, 30])));
        let told = told(closed).unwrap();
        assert_eq!((told.constant, told.first, told.length, told.bitrate), (true, 5, 240, 2_000));
        assert_eq!((told.rate.numerator, told.rate.denominator), (25, 1));
        let open = "0! 2 1 5! 3 4 6 7! 8";
        assert_eq!(cuts(open), Some((vec![0, 7, 9], vec![70, 20])));
        let late = "0! 1 3 2! 4 5!";
        assert_eq!(cuts(late), Some((vec![0, 5, 6], vec![50, 10])));
        for broken in ["0 1! 2", "2! 0 1 3! 4", ""] {
            assert_eq!(cuts(broken), None, "{broken}");
        }
    }

    #[test]
    fn keyframes_that_no_cut_needs_are_left_out() {
        // Half a second is 12 ticks.
        let all: Vec<_> = (0..50).map(|n| format!("{n}!")).collect();
        assert_eq!(
            cuts(&all.join(" ")),
            Some((vec![0, 12, 24, 36, 48, 49, 50], vec![120, 120, 120, 120, 10, 10]))
        );
        let changes = "0! 1 2! 20! 21 22! 23! 40! 41";
        assert_eq!(
            cuts(changes),
            Some((vec![0, 2, 20, 23, 40, 42], vec![20, 10, 30, 10, 20])),
            "a cut at 3 or 24 has the keyframe that it had"
        );
    }

    #[test]
    fn times_of_no_film_leave_no_cuts() {
        let told = |step: i64| {
            let mut pictures = Pictures::default();
            for n in 0..20 {
                let time = n * step;
                pictures.push(Shot { time, duration: 0, size: 10, key: n % 10 == 0 });
            }
            pictures.told(1_000_000, None).unwrap()
        };
        assert!(told(1_000).cuts.is_some() && told(900).cuts.is_none());
    }

    proptest! {
        #[test]
        fn times_are_sorted(far in prop::collection::vec(any::<i64>(), 0..60), near in prop::collection::vec(-9i64..9, 0..60)) {
            let near: Vec<_> = (0..).zip(near).map(|(n, near)| 3 * n + near).collect();
            for mut times in [far, near] {
                let mut sorted = times.clone();
                sorted.sort_unstable();
                sort(&mut times);
                prop_assert_eq!(times, sorted);
            }
        }

        #[test]
        fn whatever_is_met_the_cuts_are_in_order_and_lose_nothing(
            shots in prop::collection::vec((any::<i64>(), -9i64..9, any::<u64>(), any::<u16>(), any::<bool>()), 0..40),
            wild in any::<bool>(),
            timescale in any::<u32>(),
        ) {
            let mut pictures = Pictures::default();
            let mut bytes = 0;
            for (n, (far, near, duration, size, key)) in (0..).zip(shots) {
                let time = if wild { far } else { n * 4 + near };
                let duration = if wild { duration } else { duration % 8 };
                pictures.push(Shot { time, duration, size: u64::from(size), key });
                bytes += u64::from(size);
            }
            if let Some(Told { cuts: Some(cuts), .. }) = pictures.told(timescale, None) {
                prop_assert_eq!(cuts.times.len(), cuts.bytes.len() + 1);
                prop_assert!(cuts.times[0] == 0 && cuts.times.windows(2).all(|pair| pair[0] < pair[1]));
                prop_assert_eq!(cuts.bytes.iter().sum::<u64>(), bytes);
            }
        }
    }
}
