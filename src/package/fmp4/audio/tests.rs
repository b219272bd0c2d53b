use proptest::prelude::*;

use super::*;
use crate::package::adts::MAX_FRAME;

fn frames(payloads: &[Vec<u8>]) -> Frames {
    let mut frames = Frames::default();
    for payload in payloads {
        frames.push(payload).unwrap();
    }
    frames
}

#[test]
fn init_is_a_pure_function_of_the_config() {
    let config = AudioConfig::new(44_100, 2).unwrap();
    assert_eq!(init(config), init(config));
    assert_ne!(init(config), init(config.with_priming(2112)));
    assert_eq!(&init(config)[4..8], b"ftyp");
}

#[test]
fn a_segment_costs_four_bytes_a_frame() {
    let frames = frames(&[vec![1; 10], vec![2; 20]]);
    let segment = segment(7, 43, &frames);
    assert_eq!(segment.len(), 88 + 2 * 4 + 8 + 30);
    assert_eq!(segment[20..24], 7u32.to_be_bytes());
    assert_eq!(segment[60..68], (43 * 1024u64).to_be_bytes());
    assert_eq!(segment[88..96], [0, 0, 0, 10, 0, 0, 0, 20]);
    assert_eq!(frame_count(&segment), Ok((43, 2)));
    assert_eq!(read(&segment), Ok((43, frames)));
}

#[test]
fn every_cut_is_noticed() {
    let whole = segment(1, 0, &frames(&vec![vec![5; 7]; 9]));
    for length in 0..whole.len() {
        assert!(frame_count(&whole[..length]).is_err(), "{length}");
        assert!(read(&whole[..length]).is_err(), "{length}");
    }
    let longer = [whole.as_ref(), &[0]].concat();
    assert!(frame_count(&longer).is_err() && read(&longer).is_err());
}

#[test]
fn no_frames_and_empty_frames_are_no_segment() {
    let none = segment(1, 0, &Frames::default());
    assert!(frame_count(&none).is_err() && read(&none).is_err());
    let mut one_is_empty = segment(1, 0, &frames(&[vec![1], vec![2]])).to_vec();
    one_is_empty[91] = 0;
    one_is_empty[95] = 2;
    assert!(read(&one_is_empty).is_err());
}

#[test]
fn a_hostile_count_is_refused() {
    let mut segment = segment(1, 0, &frames(&[vec![1; 100]])).to_vec();
    for count in [u32::MAX, u32::MAX / 4, u32::MAX / 4 + 1, 1 << 30, 0, 2] {
        segment[80..84].copy_from_slice(&count.to_be_bytes());
        assert!(frame_count(&segment).is_err() && read(&segment).is_err(), "{count}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn what_is_written_is_read_again(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 1..20),
        sequence in any::<u32>(), first_frame in 0u64..1 << 53,
    ) {
        let frames = frames(&payloads);
        let segment = segment(sequence, first_frame, &frames);
        prop_assert_eq!(frame_count(&segment), Ok((first_frame, frames.len())));
        prop_assert_eq!(read(&segment), Ok((first_frame, frames)));
    }

    #[test]
    fn mutations_are_refused_or_still_a_segment(
        sizes in prop::collection::vec(1usize..60, 1..12),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let payloads: Vec<_> = sizes.iter().map(|&size| vec![size as u8; size]).collect();
        let mut bytes = segment(3, 99, &frames(&payloads)).to_vec();
        // Half of the changes go to the boxes, where they hurt.
        for (n, (at, value)) in changes.iter().enumerate() {
            let end = if n % 2 == 0 { 88 + 4 * sizes.len() } else { bytes.len() };
            bytes[at.index(end)] = *value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()) + 1);
        }
        if let Ok((first_frame, frames)) = read(&bytes) {
            prop_assert_eq!(frame_count(&bytes), Ok((first_frame, frames.len())));
            let sequence = u32::from_be_bytes(bytes[20..24].try_into().unwrap());
            prop_assert_eq!(segment(sequence, first_frame, &frames), bytes);
        }
    }

    #[test]
    fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(read(&bytes).is_err());
        prop_assert!(frame_count(&bytes).is_err());
    }
}

#[test]
fn longest_frames_fit() {
    let frames = frames(&vec![vec![1; MAX_FRAME]; 300]);
    let segment = segment(1, u64::from(u32::MAX), &frames);
    assert_eq!(read(&segment), Ok((u64::from(u32::MAX), frames)));
}
