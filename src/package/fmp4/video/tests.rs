use proptest::prelude::*;

use super::*;
use crate::package::fmp4::samples::Sample;

fn run(samples: &[(Vec<u8>, u32, i32, bool)]) -> Samples {
    let mut run = Samples::default();
    for (payload, duration, offset, sync) in samples {
        let sample = Sample { size: 0, duration: *duration, offset: *offset, sync: *sync };
        run.push(payload, sample).unwrap();
    }
    run
}

fn even(count: usize) -> Samples {
    let samples: Vec<_> = (0..count).map(|n| (vec![n as u8; 9 + n], 1001, 0, n == 0)).collect();
    run(&samples)
}

#[test]
fn a_segment_costs_twelve_bytes_a_sample() {
    let segment = segment(7, 29 * 1001, &even(3));
    assert_eq!(segment.len(), 92 + 3 * 12 + 8 + 30);
    assert_eq!(ticks(&segment), Ok(29 * 1001..32 * 1001));
    assert!(segment.len() <= size(3, 30));
}

#[test]
fn a_stretched_sample_is_counted() {
    let mut samples = even(2);
    samples.stretch(5);
    assert_eq!(samples.duration(), 2007);
    let segment = segment(1, 100, &samples);
    assert_eq!((segment.len(), ticks(&segment)), (size(2, 19), Ok(100..2107)));
    samples.stretch(u64::MAX);
    assert_eq!(samples.duration(), 1001 + u64::from(u32::MAX));
}

#[test]
fn every_cut_is_noticed() {
    let whole = segment(1, 0, &even(4));
    for length in 0..whole.len() {
        assert!(ticks(&whole[..length]).is_err(), "{length}");
    }
    assert!(ticks(&[whole.as_ref(), &[0]].concat()).is_err());
}

#[test]
fn nothing_begins_without_a_keyframe() {
    assert!(ticks(&segment(1, 0, &run(&[(vec![1], 1, 0, false)]))).is_err());
    assert!(ticks(&segment(1, 0, &Samples::default())).is_err());
}

#[test]
fn a_hostile_count_is_refused() {
    let mut segment = segment(1, 0, &even(9)).to_vec();
    for count in [u32::MAX, u32::MAX / 12, u32::MAX / 16 + 1, 1 << 30, 0, 2] {
        segment[84..88].copy_from_slice(&count.to_be_bytes());
        assert!(ticks(&segment).is_err(), "{count}");
    }
}

fn sample() -> impl Strategy<Value = (Vec<u8>, u32, i32, bool)> {
    let payload = prop::collection::vec(any::<u8>(), 0..60);
    (payload, prop_oneof![Just(1001), any::<u32>()], any::<i32>(), any::<bool>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn what_is_written_is_read_again(
        samples in prop::collection::vec(sample(), 1..12), sequence in any::<u32>(), start in 0u64..1 << 60,
    ) {
        let samples = run(&samples);
        let segment = segment(sequence, start, &samples);
        prop_assert!(segment.len() <= size(samples.len(), samples.payload().len()));
        let read = ticks(&segment);
        if samples.samples()[0].sync {
            prop_assert_eq!(read, Ok(start..start + samples.duration()));
        } else {
            prop_assert!(read.is_err());
        }
    }

    #[test]
    fn mutations_do_not_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), stretch in 0u64..2,
    ) {
        let mut samples = even(5);
        samples.stretch(stretch);
        let mut bytes = segment(3, 99, &samples).to_vec();
        for (at, value) in changes {
            bytes[at.index(160)] = value;
        }
        if let Ok(ticks) = ticks(&bytes) {
            prop_assert!(ticks.start <= ticks.end);
        }
    }

    #[test]
    fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(ticks(&bytes).is_err());
    }
}

/// A run of samples that are shown in this order, by the number that each has in it, `tick` apart, and the delay that they take.
fn reordered(order: &[u32], tick: u32) -> (Samples, u32) {
    let late = (0..).zip(order).map(|(n, &place)| n - i64::from(place)).max().unwrap_or(0);
    let delay = u32::try_from(late).unwrap() * tick;
    let sample = |(n, &place): (u32, &u32)| {
        let offset = (i64::from(place) - i64::from(n)) * i64::from(tick) + i64::from(delay);
        (vec![0], tick, i32::try_from(offset).unwrap(), n == 0)
    };
    (run(&(0..).zip(order).map(sample).collect::<Vec<_>>()), delay)
}

/// When each sample is decoded and shown, if the first is decoded at `start`.
fn times(samples: &Samples, start: u64) -> Vec<(i64, i64)> {
    let mut at = i64::try_from(start).unwrap();
    let time = |sample: &Sample| {
        let decoded = at;
        at += i64::from(sample.duration);
        (decoded, decoded + i64::from(sample.offset))
    };
    samples.samples().iter().map(time).collect()
}

#[test]
fn a_pyramid_is_decoded_from_its_first_picture_on() {
    // I P B b b, P B b b: 512 ticks each, as x264 codes them.
    let (mut samples, delay) = reordered(&[0, 4, 2, 1, 3, 8, 6, 5, 7], 512);
    assert_eq!((delay, samples.settle(24_576, delay)), (1024, 24_576));
    let all: Vec<_> = samples.samples().iter().map(|s| (s.duration, s.offset)).collect();
    assert_eq!(
        all,
        [
            (1, 0),
            (1, 2047),
            (510, 1022),
            (512, 0),
            (512, 512),
            (512, 2560),
            (512, 1024),
            (1024, 0),
            (1024, 0)
        ][..]
    );
}

#[test]
fn pictures_in_order_stay_as_they_are() {
    let mut samples = even(4);
    let before = samples.clone();
    assert_eq!(samples.settle(5_005, 0), 5_005);
    assert_eq!(samples, before);
    assert_eq!(Samples::default().settle(7, 2), 7);
}

#[test]
fn pictures_before_the_first_are_decoded_before_it_is_shown() {
    // An open group: the first that is decoded is the third that is shown.
    let (mut samples, _) = reordered(&[2, 0, 1, 3], 100);
    for sample in &mut samples.samples {
        sample.offset += 200 - 100;
    }
    let before: Vec<_> = times(&samples, 1_000).into_iter().map(|(_, shown)| shown - 200).collect();
    let start = samples.settle(1_000, 200);
    let after = times(&samples, start);
    assert!(start < 1_000);
    assert_eq!(after.iter().map(|&(_, shown)| shown).collect::<Vec<_>>(), before);
    assert!(after.iter().all(|(decoded, shown)| decoded <= shown), "{after:?}");
}

proptest! {
    #[test]
    fn settled_pictures_are_shown_when_they_were(
        groups in prop::collection::vec(Just(vec![1u32, 2, 3, 4]).prop_shuffle(), 1..20), tick in 20u32..5_000, start in 0u64..1 << 40,
    ) {
        let places = (0u32..).zip(&groups).flat_map(|(n, group)| group.iter().map(move |place| 4 * n + place));
        let order: Vec<u32> = std::iter::once(0).chain(places).collect();
        let (mut samples, delay) = reordered(&order, tick);
        let end = start as i64 + i64::from(tick) * order.len() as i64;
        let before: Vec<_> = times(&samples, start).into_iter().map(|(_, shown)| shown - i64::from(delay)).collect();

        prop_assert_eq!(samples.settle(start, delay), start);
        let after = times(&samples, start);
        prop_assert_eq!(after.iter().map(|&(_, shown)| shown).collect::<Vec<_>>(), before);
        prop_assert_eq!(start as i64 + samples.duration() as i64, end);
        prop_assert!(after.windows(2).all(|pair| pair[0].0 < pair[1].0), "{:?}", after);
        prop_assert!(after.iter().all(|(decoded, shown)| decoded <= shown), "{:?}", after);
        let ends = after.iter().zip(samples.samples()).map(|(&(_, shown), sample)| shown + i64::from(sample.duration));
        prop_assert_eq!(ends.max(), Some(end), "{:?}", after);
    }
}
