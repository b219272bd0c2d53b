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
