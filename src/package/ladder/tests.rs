use proptest::prelude::*;

use super::*;
use crate::source::probe::{colour::Colour, media::Picture};

fn video(width: u32, height: u32, rate: (u32, u32), bitrate: u64) -> Video {
    Video {
        index: 0,
        codec: Picture::Vp8,
        width,
        height,
        plain: true,
        interlaced: false,
        colour: Colour::default(),
        rate: FrameRate { numerator: rate.0, denominator: rate.1 },
        constant: true,
        length: 10_000,
        delay: 0,
        bitrate,
        cuts: None,
    }
}

fn sizes(video: &Video) -> Vec<(u32, u32, u32)> {
    rungs(video, &crate::config::Video::default().ladder)
        .iter()
        .map(|rung| (rung.width, rung.height, rung.bitrate))
        .collect()
}

#[test]
fn all_steps_of_a_large_source() {
    let expected = [
        (426, 240, 350_000),
        (640, 360, 700_000),
        (854, 480, 1_200_000),
        (1280, 720, 2_500_000),
        (1920, 1080, 4_500_000),
    ];
    assert_eq!(sizes(&video(1920, 1080, (30, 1), 0)), expected);
    assert_eq!(sizes(&video(3840, 2160, (25, 1), 40_000_000)), expected);
}

#[test]
fn the_short_side_of_a_portrait_counts() {
    let rungs = sizes(&video(1080, 1920, (30, 1), 0));
    assert_eq!(rungs[0], (240, 426, 350_000));
    assert_eq!(rungs[4], (1080, 1920, 4_500_000));
}

#[test]
fn between_two_steps_the_lower_one_is_the_top() {
    let rungs = sizes(&video(960, 540, (30, 1), 0));
    assert_eq!(rungs.last(), Some(&(854, 480, 1_200_000)));
}

#[test]
fn a_small_source_is_one_rung_of_its_own_size() {
    assert_eq!(sizes(&video(320, 180, (30, 1), 0)), [(320, 180, 196_875)]);
    assert_eq!(sizes(&video(321, 181, (30, 1), 0)), [(320, 180, 199_068)]);
    assert_eq!(sizes(&video(1, 1, (30, 1), 0)), [(2, 2, LEAST)]);
}

#[test]
fn a_poor_source_has_fewer_rungs() {
    assert_eq!(
        sizes(&video(1920, 1080, (30, 1), 1_000_000)),
        [(426, 240, 350_000), (640, 360, 700_000)]
    );
    assert_eq!(
        sizes(&video(1920, 1080, (30, 1), 2_000_000)),
        [(426, 240, 350_000), (640, 360, 700_000), (854, 480, 1_200_000), (1280, 720, 1_600_000)]
    );
    assert_eq!(sizes(&video(1920, 1080, (30, 1), 200_000)), [(426, 240, 160_000)]);
}

#[test]
fn twice_the_frames_take_half_as_much_again() {
    assert_eq!(sizes(&video(1920, 1080, (60, 1), 0))[4].2, 6_750_000);
}

#[test]
fn rates_become_usual_ones() {
    let cases = [
        ((30_000, 1001), true, (30_000, 1001)),
        ((2997, 100), true, (30_000, 1001)),
        ((29_971, 1000), true, (30_000, 1001)),
        ((2_999_999, 100_000), true, (30, 1)),
        ((23_976, 1000), true, (24_000, 1001)),
        ((18, 1), true, (18, 1)),
        ((18, 1), false, (20, 1)),
        ((27, 1), false, (30_000, 1001)),
        ((59_940, 1000), false, (60_000, 1001)),
        ((120, 1), true, (60, 1)),
        ((240, 1), true, (60, 1)),
        ((100, 1), true, (50, 1)),
        ((119_880, 1000), true, (60_000, 1001)),
        ((75, 1), true, (25, 1)),
        ((144, 1), true, (48, 1)),
        ((90_000, 1), false, (60, 1)),
        ((1, 10), true, (1, 10)),
        ((1, 10), false, (5, 1)),
        ((0, 0), true, (1, 1)),
    ];
    for (source, constant, expected) in cases {
        let found = rate(&Video { constant, ..video(640, 360, source, 0) });
        assert_eq!((found.numerator, found.denominator), expected, "{source:?}");
    }
}

proptest! {
    #[test]
    fn rungs_are_even_within_the_source_and_apart(
        width in 0u32..9_000, height in 0u32..9_000, bitrate in 0u64..50_000_000,
        numerator in 0u32..130_000, denominator in 0u32..2_000,
        steps in prop::collection::vec((1u32..3_000, 1u32..20_000_000), 0..8),
    ) {
        let video = video(width, height, (numerator, denominator), bitrate);
        let steps: Vec<_> = steps.into_iter().map(|(height, bitrate)| Step { height, bitrate }).collect();
        let rungs = rungs(&video, &steps);
        prop_assert!(!rungs.is_empty());
        for rung in &rungs {
            prop_assert!(rung.width % 2 == 0 && rung.height % 2 == 0);
            prop_assert!((2..=width.max(2)).contains(&rung.width));
            prop_assert!((2..=height.max(2)).contains(&rung.height));
            prop_assert!(bitrate == 0 || u64::from(rung.bitrate) <= (bitrate * 4 / 5).max(64_000));
        }
        let apart = |pair: &[Size]| u64::from(pair[1].bitrate) * 10 >= u64::from(pair[0].bitrate) * 13;
        prop_assert!(rungs.windows(2).all(apart));
    }
}
