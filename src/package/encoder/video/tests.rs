use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use super::*;
use crate::{
    config::Preset,
    package::table::SegmentTable,
    source::probe::{colour::Colour, media::FrameRate},
};

fn rung(frames: u64, rate: (u32, u32)) -> Rung {
    let rate = FrameRate { numerator: rate.0, denominator: rate.1 };
    Rung {
        copied: None,
        container: Container::Mp4,
        index: 1,
        interlaced: false,
        tone: Tone::Kept,
        delay: 0,
        lag: 0,
        encoder: Encoder::Libx264,
        preset: Preset::Veryfast,
        width: 640,
        height: 360,
        rate,
        bitrate: 700_000,
        table: SegmentTable::video(frames, rate, Duration::from_secs(5)),
    }
}

fn order(rung: &Rung, segment: u32) -> Order<'_> {
    let input = Input::File(PathBuf::from("/cache/abc"));
    Order { rung, input, segment, threads: 2, distrusted: false, held: false }
}

#[test]
fn from_the_start_through_a_pipe() {
    let rung = rung(900, (30, 1));
    let order = Order { input: Input::Pipe, ..order(&rung, 0) };
    assert_eq!(
        order.arguments().join(" "),
        "-nostdin -hide_banner -v error -filter_threads 1 -threads 2 -protocol_whitelist pipe \
         -format_whitelist mov -max_alloc 268435456 -probesize 1M -analyzeduration 2M -max_streams 64 \
         -copyts -start_at_zero -f mov -i pipe:0 -map 0:v:1 -an -sn -dn -map_metadata -1 -map_chapters -1 \
         -vf fps=fps=30/1:start_time=0,scale=640:360:flags=bicubic,setsar=1,format=yuv420p \
         -fps_mode passthrough -enc_time_base 1:30 -c:v libx264 -preset veryfast -threads 2 -a53cc 0 -bf 0 \
         -x264-params 8x8dct=1:scenecut=0:open-gop=0:keyint=infinite:force-cfr=1:rc-lookahead=5:sync-lookahead=0 \
         -profile:v high -level 30 -b:v 700000 -maxrate 840000 -bufsize 420000 \
         -force_key_frames expr:eq(n,0)+between(n,30,90)*not(mod(n-30,60))\
         +between(n,210,810)*not(mod(n-210,150)) \
         -video_track_timescale 30 -flush_packets 1 -movflags \
         frag_every_frame+empty_moov+default_base_moof+negative_cts_offsets+frag_discont+skip_trailer \
         -f mp4 pipe:1"
    );
}

#[test]
fn a_head_far_in_seeks_and_leaves_out_by_number() {
    let rung = rung(3_000, (30_000, 1001));
    let line = order(&rung, 4).arguments().join(" ");
    // 29, 59, 119 and 149 frames come before it.
    assert!(
        line.contains(" -ss 11.445067 -noaccurate_seek -copyts -start_at_zero -f mov "),
        "{line}"
    );
    assert!(line.contains(" -vf fps=fps=30000/1001,trim=start_pts=356,scale="), "{line}");
    assert!(
        line.contains(" -force_key_frames expr:eq(n,0)+between(n,149,2533)*not(mod(n-149,149)) "),
        "{line}"
    );
}

/// Half a frame beside them, rounding would decide for each frame anew.
#[test]
fn frames_are_moved_onto_those_of_the_rendition() {
    for (container, delay, expected) in [
        (Container::Mp4, 0, " -vf fps=fps=24/1"),
        (Container::Mp4, 20, " -vf setpts=floor(PTS-0.020000/TB+0.5),fps=fps=24/1"),
        (Container::Matroska, 21, " -vf setpts=floor(PTS+0.020667/TB+0.5),fps=fps=24/1"),
        (Container::Mp4, 1000, " -vf fps=fps=24/1"),
        (Container::MpegTs, 0, " -vf fps=fps=24/1"),
        (Container::MpegTs, 510, " -vf setpts=floor(PTS+0.500000/TB+0.5),fps=fps=24/1"),
    ] {
        let rung = Rung { container, delay, ..rung(3_000, (24, 1)) };
        let line = order(&rung, 0).arguments().join(" ");
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn text_before_all_else_does_not_move_the_clock() {
    let rung = Rung { lag: 620_000, ..rung(3_000, (24, 1)) };
    let line = order(&rung, 0).arguments().join(" ");
    assert!(line.contains(" -copyts -start_at_zero -itsoffset -0.620000 -f mov "), "{line}");
}

#[test]
fn where_seeking_cannot_help_all_is_decoded() {
    let late = Rung { delay: 20_000, ..rung(3_000, (30, 1)) };
    let plain = rung(3_000, (30, 1));
    let stream = Rung { container: Container::MpegTs, ..plain.clone() };
    for order in [
        order(&late, 4),
        order(&plain, 0),
        order(&stream, 4),
        Order { distrusted: true, ..order(&plain, 4) },
        Order { held: true, ..order(&plain, 4) },
        Order { input: Input::Pipe, ..order(&plain, 4) },
    ] {
        let line = order.arguments().join(" ");
        assert!(
            !order.seeks() && !line.contains("-ss ") && line.contains(":start_time=0"),
            "{line}"
        );
    }
    assert!(order(&plain, 4).seeks() && order(&late, 9).seeks() && order(&stream, 9).seeks());
}

#[test]
fn fields_are_woven_before_frames_are_counted() {
    let rung = Rung { interlaced: true, ..rung(300, (25, 1)) };
    assert!(order(&rung, 0).filter().starts_with("bwdif=mode=send_frame:deint=interlaced,fps="));
}

#[test]
fn the_last_picture_is_held_before_frames_are_left_out() {
    let rung = rung(300, (25, 1));
    assert!(!order(&rung, 4).filter().contains("tpad"));
    let filter = Order { held: true, ..order(&rung, 4) }.filter();
    let first = order(&rung, 4).first();
    let held = format!(",tpad=stop=-1:stop_mode=clone,trim=end_pts=300,trim=start_pts={first},");
    assert!(filter.contains(&held), "{filter}");
}

/// The frames for which an expression of [`Order::keyframes`] holds.
fn forced(expression: &str, frames: u64) -> BTreeSet<u64> {
    let numbers = |term: &str| -> Vec<u64> {
        let digits = term.split(|c: char| !c.is_ascii_digit());
        digits.filter_map(|digits| digits.parse().ok()).collect()
    };
    let terms = expression.strip_prefix("expr:").unwrap().split('+');
    let holds = |n: u64| {
        terms.clone().any(|term| match numbers(term)[..] {
            [at] => n == at,
            [from, to, again, step] => {
                assert_eq!(from, again);
                (from..=to).contains(&n) && (n - from).is_multiple_of(step)
            }
            _ => panic!("{term}"),
        })
    };
    (0..frames).filter(|&n| holds(n)).collect()
}

#[test]
fn keyframes_are_the_bounds_and_nothing_else() {
    for (frames, rate) in [
        (1, (30, 1)),
        (29, (30, 1)),
        (4_000, (30, 1)),
        (4_000, (30_000, 1001)),
        (4_000, (60_000, 1001)),
        (3_013, (24_000, 1001)),
        (500, (3, 2)),
        (50, (1, 7)),
    ] {
        let rung = rung(frames, rate);
        for segment in 0..rung.table.len() {
            let order = order(&rung, segment);
            let first = order.first();
            let bounds =
                (segment..).map_while(|n| rung.frames(n)).map(|frames| frames.start - first);
            let expression = order.keyframes();
            assert_eq!(forced(&expression, frames - first), bounds.collect(), "{expression}");
            assert!(expression.len() < 200);
        }
    }
}

#[test]
fn keyframes_of_a_day_fit_in_an_argument() {
    let rung = rung(60 * 86_400, (60, 1));
    assert!(rung.table.len() > 17_000);
    assert!(order(&rung, 0).keyframes().len() < 200);
}

#[test]
fn a_trial_says_whether_an_encoder_works() {
    let works = |args: &[String]| {
        let output = std::process::Command::new("ffmpeg").args(args).output();
        output.expect("ffmpeg is installed").status.success()
    };
    assert!(works(&trial(Encoder::Libx264)));
    let unknown = trial(Encoder::Libx264).join(" ").replace("libx264", "h264_of_nobody");
    let unknown: Vec<_> = unknown.split(' ').map(str::to_owned).collect();
    assert!(!works(&unknown));
}

#[test]
fn threads_are_bounded_by_cores_and_memory() {
    let gigabyte = 1 << 30;
    for (cores, memory, expected) in [
        (2, gigabyte, 2),
        (8, gigabyte, 3),
        (8, 8 * gigabyte, 4),
        (8, 128 << 20, 1),
        (0, gigabyte, 1),
    ] {
        let machine = Machine { cores, memory };
        assert_eq!(machine.threads(Tone::Kept), expected, "{machine:?}");
        let mapped = machine.threads(Tone::Mapped(Colour::default()));
        assert!(mapped >= 1 && mapped <= expected.min(2.max(cores / 2)), "{machine:?}: {mapped}");
    }
}
