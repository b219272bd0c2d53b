use proptest::prelude::*;

use super::*;
use crate::package::{adts::MAX_FRAME, fmp4::samples::Sample};

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

/// The body of the box of this type, wherever it is.
fn found(init: &[u8], kind: [u8; 4]) -> &[u8] {
    let at = init.windows(4).position(|name| name == kind).expect("a box");
    let size = u32::from_be_bytes(init[at - 4..at].try_into().unwrap()) as usize;
    &init[at + 4..at - 4 + size]
}

#[test]
fn opus_is_said_as_its_encapsulation_has_it() {
    let init = init(Codec::Opus(Opus::new(2, 312, -256, 960).unwrap()));
    let entry = found(&init, *b"Opus");
    assert_eq!(entry[..8], [0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(entry[16..28], [0, 2, 0, 16, 0, 0, 0, 0, 0xbb, 0x80, 0, 0]);
    assert_eq!(found(&init, *b"dOps"), [0, 2, 1, 0x38, 0, 0, 0xbb, 0x80, 0xff, 0, 0]);
    assert_eq!(found(&init, *b"elst")[12..16], 312u32.to_be_bytes());
    assert_eq!(found(&init, *b"mdhd")[12..16], 48_000u32.to_be_bytes());
    assert_eq!(found(&init, *b"trex")[12..16], 960u32.to_be_bytes());
}

#[test]
fn flac_is_said_as_its_encapsulation_has_it() {
    let flac = Flac::new(96_000, 2, 24, 4_608).unwrap().with_largest(20_000);
    let init = init(Codec::Flac(flac));
    let entry = found(&init, *b"fLaC");
    // 96 kHz do not fit: half of it stands there.
    assert_eq!(entry[16..28], [0, 2, 0, 24, 0, 0, 0, 0, 0xbb, 0x80, 0, 0]);
    let config = found(&init, *b"dfLa");
    assert_eq!(config[..8], [0, 0, 0, 0, 0x80, 0, 0, 34]);
    assert_eq!(config[8..], flac.stream_info());
    assert!(!init.windows(4).any(|name| name == b"elst"), "nothing is to be taken away");
    assert_eq!(found(&init, *b"mdhd")[12..16], 96_000u32.to_be_bytes());
}

#[test]
fn packets_cost_four_bytes_each_until_one_is_shorter() {
    let run = |durations: &[u32]| {
        let mut run = Samples::default();
        for &duration in durations {
            run.push(&[7; 9], Sample { size: 0, duration, offset: 0, sync: true }).unwrap();
        }
        run
    };
    for (durations, width, end) in
        [(&[960, 960, 960][..], 4, 4_880), (&[960, 960, 100], 8, 4_020), (&[500], 4, 2_500)]
    {
        let segment = packets(3, 2_000, &run(durations));
        let count = durations.len();
        assert_eq!(segment.len(), 92 + width * count + 8 + 9 * count);
        assert!(segment.len() <= packets_size(count, 9 * count));
        assert_eq!(ticks(&segment), Ok(2_000..end));
        for length in 0..segment.len() {
            assert!(ticks(&segment[..length]).is_err(), "{length}");
        }
        assert!(frame_count(&segment).is_err() && super::super::video::ticks(&segment).is_err());
    }
    assert!(ticks(&packets(1, 0, &Samples::default())).is_err());
}
