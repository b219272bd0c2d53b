use serde::{Deserialize, Serialize};

use super::*;
use crate::source::probe::{Clock, colour::Colour, media::Picture};

fn media(rate: (u32, u32), length: u64, delay: u64) -> Media {
    let video = Video {
        index: 0,
        codec: Picture::Vp9,
        width: 1920,
        height: 1080,
        plain: true,
        interlaced: false,
        colour: Colour::default(),
        rate: FrameRate { numerator: rate.0, denominator: rate.1 },
        constant: true,
        length,
        delay,
        bitrate: 0,
        cuts: None,
    };
    let (audio, text) = (Vec::new(), Vec::new());
    Media {
        container: Container::Matroska,
        pipe: false,
        audio,
        video: Some(video),
        text,
        start: 0,
        lag: 0,
        clock: Clock::default(),
    }
}

#[test]
fn all_rungs_are_cut_at_the_same_instants() {
    let rungs = Rung::all(&media((30_000, 1001), 60_000, 0), &Choices::default());
    assert_eq!(rungs.len(), 5);
    assert!(rungs.iter().all(|rung| rung.table == rungs[0].table));
    assert_eq!(rungs[0].table.timescale(), 30_000);
    assert!(rungs.is_sorted_by(|a, b| a.pixels() < b.pixels() && a.bandwidth() < b.bandwidth()));
}

#[test]
fn what_the_playlist_says_of_a_rung() {
    let rungs = Rung::all(&media((30_000, 1001), 60_000, 0), &Choices::default());
    let codecs: Vec<_> = rungs.iter().map(Rung::codecs).collect();
    assert_eq!(codecs, ["avc1.640015", "avc1.64001e", "avc1.64001f", "avc1.64001f", "avc1.640028"]);
    let top = &rungs[4];
    assert!((top.frame_rate() - 29.97).abs() < 1e-9);
    let (peak, average) = top.bandwidth();
    assert!((4_500_000..4_510_000).contains(&average), "{average}");
    // The first segment is the shortest: a buffer on top of 29 frames.
    let most = 1.2 * 4_500_000.0 + 0.6 * 4_500_000.0 / (29.0 * 1001.0 / 30_000.0);
    assert!((most..most * 1.01).contains(&(peak as f64)), "{peak}");
}

#[test]
fn frames_are_those_of_ffmpegs_filter() {
    for (rate, length, delay, expected) in [
        ((30, 1), 10_000, 0, 300),
        ((30, 1), 10_016, 0, 300),
        ((30, 1), 10_017, 0, 301),
        ((30_000, 1001), 10_010, 0, 300),
        ((25, 1), 0, 0, 1),
        ((25, 1), 1_000, 500, 38),
        ((24, 1), 5_000, 20, 120),
        ((24, 1), 5_000, 21, 121),
        ((60, 1), u64::MAX, u64::MAX, MOST_FRAMES),
    ] {
        let media = media(rate, length, delay);
        let video = media.video.unwrap();
        assert_eq!(frames(&video, ladder::rate(&video)), expected, "{length} ms");
    }
}

#[test]
fn without_video_there_are_no_rungs() {
    let media = Media { video: None, ..media((25, 1), 1_000, 0) };
    assert_eq!(Rung::all(&media, &Choices::default()), []);
}

#[test]
fn rungs_survive_their_own_file_and_say_their_cuts_once() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Ladder(#[serde(with = "file")] Vec<Rung>);
    for media in [media((24_000, 1001), 7_000, 40), Media { video: None, ..media((25, 1), 1, 0) }] {
        let ladder = Ladder(Rung::all(&media, &Choices::default()));
        let text = serde_json::to_string(&ladder).unwrap();
        assert_eq!(serde_json::from_str::<Ladder>(&text).unwrap(), ladder);
        assert!(text.matches("bounds").count() <= 1, "{text}");
    }
    let bare =
        serde_json::to_string(&Rung::all(&media((25, 1), 1, 0), &Choices::default())).unwrap();
    let bare = format!(r#"{{"cuts":null,"rungs":{bare}}}"#);
    assert!(serde_json::from_str::<Ladder>(&bare).is_err());
}
