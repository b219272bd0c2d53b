//! Real ffmpeg over sources whose frames carry their number in twelve bars of black and white.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{
    config::{Preset, Step},
    package::{
        choices::Choices,
        encoder::{Input, video::Order},
        fmp4::video,
    },
    source::probe::{
        Clock, Container,
        colour::Colour,
        media::{FrameRate, Media, Picture, Video},
    },
};

/// Bars, and so bits of a frame's number.
const BARS: usize = 12;

/// A file, and what the probe would say of it.
struct Source {
    _dir: TempDir,
    path: PathBuf,
    media: Media,
}

/// What ffmpeg writes, and what it has to complain about.
fn run(args: &[String]) -> (Vec<u8>, String) {
    let output = Command::new("ffmpeg").args(args).output().expect("ffmpeg is installed");
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {complaints}");
    (output.stdout, complaints)
}

fn ffmpeg(args: &[String]) -> Vec<u8> {
    let (written, complaints) = run(args);
    assert!(complaints.is_empty(), "{args:?}: {complaints}");
    written
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

fn video(rate: (u32, u32), length: u64) -> Video {
    Video {
        index: 0,
        codec: Picture::Other("test".into()),
        width: 320,
        height: 180,
        plain: true,
        interlaced: false,
        colour: Colour::default(),
        rate: FrameRate { numerator: rate.0, denominator: rate.1 },
        constant: true,
        length,
        delay: 0,
        bitrate: 0,
        cuts: None,
    }
}

impl Source {
    /// Numbered frames of `video`'s rate, through `filter`, into a file of this name by these arguments of ffmpeg.
    fn new(name: &str, video: Video, filter: &str, args: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        let FrameRate { numerator, denominator } = video.rate;
        // The first moment of each frame decides: 20 s hold all tests.
        let numbered = format!(
            "nullsrc=s={BARS}x2:r={numerator}/{denominator}:d=20,\
             geq=lum='16+219*mod(floor(N/pow(2,X)),2)':cb=128:cr=128,\
             scale=320:180:flags=neighbor,format=yuv420p,setsar=1{filter}"
        );
        let mut all = words("-nostdin -v error -y -f lavfi -i");
        all.push(numbered);
        all.extend(words(args));
        all.push(path.display().to_string());
        ffmpeg(&all);
        let container = if name.ends_with("mkv") {
            Container::Matroska
        } else if name.ends_with("ts") {
            Container::MpegTs
        } else {
            Container::Mp4
        };
        let (audio, text) = (Vec::new(), Vec::new());
        let (video, clock) = (Some(video), Clock::default());
        let media = Media { container, pipe: false, audio, video, text, start: 0, lag: 0, clock };
        Self { _dir: dir, path, media }
    }

    fn rungs(&self, steps: &[(u32, u32)]) -> Vec<Rung> {
        let ladder = steps.iter().map(|&(height, bitrate)| Step { height, bitrate }).collect();
        let segment = Duration::from_secs(4);
        Rung::all(&self.media, &Choices { segment, ladder, ..Choices::default() })
    }

    fn rung(&self) -> Rung {
        self.rungs(&[(180, 300_000)]).remove(0)
    }

    /// What a head for segment `first` makes of a rung.
    fn head(&self, rung: &Rung, first: u32) -> Head {
        let input = Input::File(self.path.clone());
        let order =
            Order { rung, input, segment: first, threads: 2, distrusted: false, held: false };
        // In a transport stream a seek ends amid a group of pictures, which is worth a word to the decoder.
        let (stream, _) = run(&order.arguments());
        let mut cutter = Cutter::new(rung, first);
        let mut segments = Vec::new();
        for chunk in stream.chunks(1000 + 7 * first as usize) {
            cutter.push(chunk);
            segments.extend(std::iter::from_fn(|| cutter.segment().unwrap()));
        }
        let missing = cutter.fill().unwrap();
        segments.extend(std::iter::from_fn(|| cutter.segment().unwrap()));
        assert_eq!(cutter.next(), rung.table.len());
        Head { init: cutter.init().unwrap().clone(), segments, missing }
    }
}

struct Head {
    init: Bytes,
    segments: Vec<Bytes>,
    missing: u64,
}

/// A frame as a player sees it.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    /// Its time in ticks.
    at: u64,
    key: bool,
    /// Its number in the source.
    number: u64,
}

/// What is shown of these segments, decoded without a complaint.
fn show(init: &Bytes, segments: &[&Bytes]) -> Vec<Shown> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.mp4");
    let mut all = init.to_vec();
    for segment in segments {
        all.extend_from_slice(segment);
    }
    fs::write(&path, all).unwrap();
    let mut probe = Command::new("ffprobe");
    probe.args(["-v", "warning", "-show_entries", "frame=pts,key_frame", "-of", "csv=p=0"]);
    let output = probe.arg(&path).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut args = words("-nostdin -v error -copyts -i");
    args.push(path.display().to_string());
    args.extend(words("-fps_mode passthrough -f rawvideo -vf"));
    args.push(format!("scale={BARS}:1:flags=area,format=gray"));
    args.push("pipe:1".into());
    let bars = ffmpeg(&args);
    let numbers = bars.chunks_exact(BARS).map(number);
    let line = |line: &str| {
        let mut fields = line.split(',');
        let key = fields.next() == Some("1");
        (key, fields.next().and_then(|pts| pts.parse().ok()).expect("a frame has a time"))
    };
    // Side data of a frame, x264's own words about itself, gets an empty line.
    let lines: Vec<(bool, u64)> = text.lines().filter(|line| !line.is_empty()).map(line).collect();
    assert_eq!(lines.len(), bars.len() / BARS);
    lines.into_iter().zip(numbers).map(|((key, at), number)| Shown { at, key, number }).collect()
}

fn number(bars: &[u8]) -> u64 {
    bars.iter().rev().fold(0, |number, &bar| number << 1 | u64::from(bar > 127))
}

/// Every frame of the table is shown, at its time, and the first of each segment is a keyframe.
fn assert_whole(rung: &Rung, shown: &[Shown], from: u32) {
    let first = rung.frames(from).unwrap().start;
    let expected = (first..).map(|frame| frame * u64::from(rung.duration()));
    let end = rung.table.total();
    let expected: Vec<u64> = expected.take_while(|&at| at < end).collect();
    let times: Vec<u64> = shown.iter().map(|shown| shown.at).collect();
    assert_eq!(times, expected);
    for n in from..rung.table.len() {
        let frame = (rung.frames(n).unwrap().start - first) as usize;
        assert!(shown[frame].key, "segment {n}");
    }
}

/// Heads at all segments in `at` join the run from the start exactly; returns what that shows.
fn assert_joins(source: &Source, rung: &Rung, at: &[u32]) -> Vec<Shown> {
    let single = source.head(rung, 0);
    let all: Vec<&Bytes> = single.segments.iter().collect();
    let shown = show(&single.init, &all);
    for &first in at {
        let head = source.head(rung, first);
        assert_eq!(head.init, single.init);
        assert_eq!(head.missing, single.missing);
        let own: Vec<&Bytes> = head.segments.iter().collect();
        let skipped = rung.frames(first).unwrap().start as usize;
        assert_eq!(show(&head.init, &own), shown[skipped..], "a head at segment {first}");
        let joined: Vec<&Bytes> = all[..first as usize].iter().copied().chain(own).collect();
        assert_eq!(show(&head.init, &joined), shown);
    }
    for (n, segment) in single.segments.iter().enumerate() {
        assert_eq!(video::ticks(segment).ok(), rung.table.ticks(n as u32));
    }
    shown
}

fn numbers(shown: &[Shown]) -> Vec<u64> {
    shown.iter().map(|shown| shown.number).collect()
}

#[test]
fn heads_join_at_every_segment_and_show_the_source() {
    let args = "-t 16 -c:v libx264 -preset ultrafast -g 77 -bf 2";
    let source = Source::new("a.mp4", video((30, 1), 16_000), "", args);
    let rung = source.rung();
    let shown = assert_joins(&source, &rung, &[1, 2, 3, 4]);
    assert_whole(&rung, &shown, 0);
    assert_eq!(numbers(&shown), (0..480).collect::<Vec<_>>());
}

#[test]
fn frame_rates_of_television() {
    for (rate, frames) in [
        ((30_000, 1001), 240),
        ((60_000, 1001), 480),
        ((24_000, 1001), 192),
        ((50, 1), 400),
        ((5, 1), 50),
    ] {
        let length = frames * 1000 * u64::from(rate.1) / u64::from(rate.0);
        let args = format!("-frames:v {frames} -c:v libx264 -preset ultrafast -g 97 -bf 2");
        for name in ["a.mp4", "a.mkv"] {
            let source = Source::new(name, video(rate, length), "", &args);
            let rung = source.rung();
            assert_eq!((rung.rate.numerator, rung.rate.denominator), rate);
            let shown = assert_joins(&source, &rung, &[2]);
            assert_whole(&rung, &shown, 0);
            assert_eq!(numbers(&shown), (0..frames).collect::<Vec<_>>(), "{name}, {rate:?}");
        }
    }
}

#[test]
fn frames_that_last_differently_long() {
    // Some are left out, others come late: never two the same distance apart for long.
    let filter = ",select='gt(mod(n*7,11),3)+not(n)',setpts='PTS+0.4/30/TB*mod(N,2)'";
    for name in ["a.mp4", "a.mkv"] {
        let facts = Video { constant: false, ..video((30, 1), 16_000) };
        let args = "-t 16 -fps_mode passthrough -c:v libx264 -preset ultrafast -g 60 -bf 2";
        let source = Source::new(name, facts, filter, args);
        let rung = source.rung();
        let shown = assert_joins(&source, &rung, &[1, 3, 4]);
        assert_whole(&rung, &shown, 0);
        // Each frame of the table shows the last frame that began before its own end, give or take the rounding.
        let near = |(n, shown): (usize, &Shown)| (shown.number as i64 - n as i64).abs() <= 2;
        assert!(shown.iter().enumerate().all(near), "{:?}", numbers(&shown));
        assert!(shown.is_sorted_by_key(|shown| shown.number));
    }
}

#[test]
fn fields_become_frames() {
    let filter = ",fps=50,tinterlace=mode=interleave_top,fieldorder=tff";
    let facts = Video { interlaced: true, ..video((25, 1), 10_000) };
    let args = "-t 10 -c:v libx264 -preset ultrafast -g 40 -flags +ildct+ilme -x264-params tff=1";
    let source = Source::new("a.mkv", facts, filter, args);
    let rung = source.rung();
    let shown = assert_joins(&source, &rung, &[1, 2]);
    assert_whole(&rung, &shown, 0);
    assert_eq!(numbers(&shown), (0..250).collect::<Vec<_>>());
}

#[test]
fn what_was_turned_stands_upright() {
    let args = "-t 5 -c:v libx264 -preset ultrafast -g 50";
    let source = Source::new("a.mp4", video((25, 1), 5_000), "", args);
    let turned = source.path.with_file_name("turned.mp4");
    let mut copy = words("-nostdin -v error -i");
    copy.push(source.path.display().to_string());
    copy.extend(words("-c copy -metadata:s:v rotate=90"));
    copy.push(turned.display().to_string());
    ffmpeg(&copy);
    let facts = Video { width: 180, height: 320, plain: false, ..video((25, 1), 5_000) };
    let media = Media { video: Some(facts), ..source.media.clone() };
    let source = Source { path: turned, media, ..source };
    let rung = source.rungs(&[(90, 200_000)]).remove(0);
    assert_eq!((rung.width, rung.height), (90, 160));
    let head = source.head(&rung, 0);
    assert_eq!((head.missing, head.segments.len() as u32), (0, rung.table.len()));
}

#[test]
fn odd_sizes_and_pixels_that_are_not_square() {
    let facts = Video { width: 321, height: 119, plain: false, ..video((25, 1), 2_000) };
    let filter = ",scale=107:119:flags=neighbor,setsar=3/1";
    let args = "-t 2 -c:v ffv1 -g 10";
    let source = Source::new("a.mkv", facts, filter, args);
    let rung = source.rungs(&[(240, 200_000)]).remove(0);
    assert_eq!((rung.width, rung.height), (320, 118));
    let shown = assert_joins(&source, &rung, &[1]);
    assert_eq!(numbers(&shown), (0..50).collect::<Vec<_>>());
}

#[test]
fn ten_bits_and_more_colour_become_eight_and_less() {
    for format in ["yuv422p10le", "yuv444p", "rgb24", "gray", "yuvj420p"] {
        let codec = if format == "rgb24" { "png" } else { "ffv1" };
        let args = format!("-t 1 -pix_fmt {format} -c:v {codec}");
        let source = Source::new("a.mkv", video((25, 1), 1_000), "", &args);
        let rung = source.rung();
        let shown = assert_joins(&source, &rung, &[]);
        assert_eq!(numbers(&shown), (0..25).collect::<Vec<_>>(), "{format}");
    }
}

#[test]
fn shorter_than_a_second_and_a_single_frame() {
    for frames in [1, 2, 7] {
        let args = format!("-frames:v {frames} -c:v libx264 -preset ultrafast");
        let source = Source::new("a.mp4", video((25, 1), 40 * frames), "", &args);
        let shown = assert_joins(&source, &source.rung(), &[]);
        assert_eq!(numbers(&shown), (0..frames).collect::<Vec<_>>());
    }
}

#[test]
fn a_late_beginning_shows_the_first_frame_until_then() {
    // Pictures 1.5 s behind the sound; in Matroska, AAC's priming comes before that.
    let filter = ",setpts=PTS+1.5/TB[out0];sine=d=9.5[out1]";
    let args = "-map 0 -t 9.5 -c:v libx264 -preset ultrafast -g 50 -bf 2 -c:a aac";
    for (name, delay, late) in [("a.mp4", 1_500, 45u64), ("a.mkv", 1_521, 46)] {
        let facts = Video { delay, ..video((30, 1), 8_000) };
        let source = Source::new(name, facts, filter, args);
        let rung = source.rung();
        let shown = assert_joins(&source, &rung, &[1, 2, 3]);
        assert_whole(&rung, &shown, 0);
        let expected: Vec<u64> = (0..240 + late).map(|frame| frame.saturating_sub(late)).collect();
        assert_eq!(numbers(&shown), expected, "{name}");
    }
}

#[test]
fn an_early_end_is_filled_with_what_was_shown_last() {
    let args = "-t 5 -c:v libx264 -preset ultrafast -g 50 -bf 2";
    let source = Source::new("a.mp4", video((30, 1), 16_000), "", args);
    let rung = source.rung();
    let head = source.head(&rung, 0);
    assert_eq!(head.missing, 480 - 150);
    let shown = show(&head.init, &head.segments.iter().collect::<Vec<_>>());
    let times: Vec<u64> = shown.iter().map(|shown| shown.at).collect();
    // The segment that broke off lasts to its end, and those behind it show their own keyframe.
    let expected: Vec<u64> = (0..150).chain([210, 330, 450]).collect();
    assert_eq!(times, expected);
    assert_eq!(numbers(&shown)[148..], [148, 149, 90, 90, 90]);
    for (n, segment) in head.segments.iter().enumerate() {
        assert_eq!(video::ticks(segment).ok(), rung.table.ticks(n as u32));
    }
}

#[test]
fn more_than_was_promised_is_left_out() {
    let args = "-t 9 -c:v libx264 -preset ultrafast -g 50 -bf 2";
    let source = Source::new("a.mp4", video((30, 1), 5_000), "", args);
    let rung = source.rung();
    let shown = assert_joins(&source, &rung, &[1]);
    assert_eq!(numbers(&shown), (0..150).collect::<Vec<_>>());
}

#[test]
fn rungs_can_be_changed_at_every_segment() {
    let args = "-t 16 -c:v libx264 -preset ultrafast -g 77 -bf 2";
    let source = Source::new("a.mp4", video((30_000, 1001), 16_016), "", args);
    let rungs = source.rungs(&[(180, 300_000), (120, 150_000)]);
    let heads: Vec<Head> = rungs.iter().map(|rung| source.head(rung, 0)).collect();
    assert_eq!(rungs[0].table, rungs[1].table);
    let mut shown = Vec::new();
    for n in 0..rungs[0].table.len() {
        let head = &heads[n as usize % 2];
        shown.extend(show(&head.init, &[&head.segments[n as usize]]));
    }
    assert_whole(&rungs[0], &shown, 0);
    assert_eq!(numbers(&shown), (0..480).collect::<Vec<_>>());
}

#[test]
fn the_encoder_says_what_was_promised() {
    // The cutter takes no other codec, level or size.
    let args = "-frames:v 3 -s 1920x1080 -c:v libx264 -preset ultrafast";
    for rate in [(25, 1), (60, 1)] {
        let facts = Video { width: 1920, height: 1080, ..video(rate, 50) };
        let source = Source::new("a.mp4", facts, "", args);
        for preset in [Preset::Ultrafast, Preset::Superfast, Preset::Veryfast, Preset::Medium] {
            for rung in Rung::all(&source.media, &Choices { preset, ..Choices::default() }) {
                assert_eq!(source.head(&rung, 0).segments.len(), 1);
            }
        }
    }
}

#[test]
fn from_a_pipe_comes_the_same() {
    let args = "-t 5 -c:v libx264 -preset ultrafast -g 77 -bf 2 -movflags +faststart";
    let source = Source::new("a.mp4", video((30, 1), 5_000), "", args);
    let rung = source.rung();
    let order = Order {
        rung: &rung,
        input: Input::Pipe,
        segment: 0,
        threads: 2,
        distrusted: false,
        held: false,
    };
    let file = fs::File::open(&source.path).unwrap();
    let output = Command::new("ffmpeg").args(order.arguments()).stdin(file).output().unwrap();
    let mut cutter = Cutter::new(&rung, 0);
    cutter.push(&output.stdout);
    let segments: Vec<Bytes> = std::iter::from_fn(|| cutter.segment().unwrap()).collect();
    let shown = show(cutter.init().unwrap(), &segments.iter().collect::<Vec<_>>());
    assert_eq!(numbers(&shown), (0..150).collect::<Vec<_>>());
}

#[test]
fn a_segment_comes_before_the_next_keyframe() {
    let args = "-t 8 -c:v libx264 -preset ultrafast";
    let source = Source::new("a.mp4", video((30, 1), 8_000), "", args);
    let rung = source.rung();
    let input = Input::File(source.path.clone());
    let order =
        Order { rung: &rung, input, segment: 0, threads: 2, distrusted: false, held: false };
    let stream = ffmpeg(&order.arguments());
    let mut cutter = Cutter::new(&rung, 0);
    let mut bytes = stream.iter();
    while cutter.segment().unwrap().is_none() {
        cutter.push(&[*bytes.next().expect("a segment is in it")]);
    }
    // The 30th frame's last byte made it.
    let taken = stream.len() - bytes.len();
    let fragments = stream[..taken].windows(4).filter(|kind| kind == b"moof").count();
    assert_eq!((fragments, cutter.reel.fragments.rest()), (30, 0));
}

#[test]
fn wild_streams_are_errors_or_segments_of_the_table() {
    let args = "-t 2 -c:v libx264 -preset ultrafast";
    let source = Source::new("a.mp4", video((10, 1), 2_000), "", args);
    let rung = source.rung();
    let input = Input::File(source.path.clone());
    let order =
        Order { rung: &rung, input, segment: 0, threads: 2, distrusted: false, held: false };
    let stream = ffmpeg(&order.arguments());
    let change = (any::<prop::sample::Index>(), any::<u8>(), any::<bool>());
    let changes = prop::collection::vec(change, 0..6);
    let cut = any::<prop::sample::Index>();
    proptest!(ProptestConfig::with_cases(3_000), |(changes in changes, cut in cut, size in 1usize..3_000)| {
        let mut stream = stream.clone();
        for (at, value, early) in changes {
            // Half of the changes go to the moov and the first fragments.
            let end = if early { 1_200 } else { stream.len() };
            stream[at.index(end)] = value;
        }
        stream.truncate(cut.index(2 * stream.len()));
        let mut cutter = Cutter::new(&rung, 0);
        let mut segments = Vec::new();
        let mut all = || -> Result<(), Corrupt> {
            for chunk in stream.chunks(size) {
                cutter.push(chunk);
                while let Some(segment) = cutter.segment()? {
                    segments.push(segment);
                }
            }
            cutter.fill()?;
            while let Some(segment) = cutter.segment()? {
                segments.push(segment);
            }
            Ok(())
        };
        let whole = all().is_ok();
        prop_assert!(!whole || segments.len() as u32 == rung.table.len());
        for (n, segment) in segments.iter().enumerate() {
            prop_assert_eq!(video::ticks(segment).ok(), rung.table.ticks(n as u32));
        }
    });
}

/// The frames of a run as 16 by 9 points of grey.
fn points(head: &Head) -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.mp4");
    let all = [std::slice::from_ref(&head.init), &head.segments[..]].concat().concat();
    fs::write(&path, all).unwrap();
    let mut args = words("-nostdin -v warning -copyts -i");
    args.push(path.display().to_string());
    args.extend(words(
        "-fps_mode passthrough -vf scale=16:9:flags=area,format=gray -f rawvideo pipe:1",
    ));
    ffmpeg(&args).chunks_exact(16 * 9).map(<[u8]>::to_vec).collect()
}

/// What the probe would say of a file, as far as ffprobe does.
fn facts(path: &Path) -> Option<Media> {
    let mut probe = Command::new("ffprobe");
    probe.args(["-v", "error", "-select_streams", "V:0", "-of", "csv=p=0", "-show_entries"]);
    probe.arg("stream=width,height,r_frame_rate:format=duration");
    let output = probe.arg(path).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut words = text.split([',', '\n']);
    let (width, height) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (numerator, denominator) = words.next()?.split_once('/')?;
    let rate = (numerator.parse().ok()?, denominator.parse().ok()?);
    let length = (words.next()?.parse::<f64>().ok()? * 1000.0) as u64;
    let container = match path.extension()?.to_str()? {
        "mp4" => Container::Mp4,
        "mkv" | "webm" => Container::Matroska,
        "ts" => Container::MpegTs,
        _ => return None,
    };
    let video = Video { width, height, ..video(rate, length) };
    let (audio, text) = (Vec::new(), Vec::new());
    let (video, clock) = (Some(video), Clock::default());
    Some(Media { container, pipe: false, audio, video, text, start: 0, lag: 0, clock })
}

#[test]
fn what_people_have_joins() {
    let media = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/media");
    let files = fs::read_dir(media).into_iter().flatten().flatten().map(|file| file.path());
    for path in files {
        let Some(media) = facts(&path) else { continue };
        let source = Source { _dir: tempfile::tempdir().unwrap(), path, media };
        let rung = source.rungs(&[(144, 200_000)]).remove(0);
        let single = source.head(&rung, 0);
        let shown = points(&single);
        for n in (1..rung.table.len()).step_by(2) {
            let head = source.head(&rung, n);
            assert_eq!(head.init, single.init);
            let frames = rung.frames(n).unwrap();
            for (frame, (joined, straight)) in
                points(&head).iter().zip(&shown[frames.start as usize..]).enumerate()
            {
                let apart: u32 =
                    joined.iter().zip(straight).map(|(&a, &b)| u32::from(a.abs_diff(b))).sum();
                assert!(
                    apart < 4 * 16 * 9,
                    "{}: frame {frame} of segment {n}: {apart}",
                    source.path.display()
                );
            }
        }
    }
}

#[test]
fn nothing_exceeds_its_bandwidth() {
    // Noise that comes and goes, beside the cuts and with them.
    for filter in [
        ",noise=alls=100:allf=t",
        ",noise=alls=100:allf=t:enable='between(mod(t,3),2,3)'",
        ",noise=alls=100:allf=t:enable='gte(t,3)'",
        ",negate=enable='lt(mod(n,14),7)'",
    ] {
        let args = "-t 16 -c:v libx264 -preset ultrafast -qp 10";
        let source = Source::new("a.mp4", video((30, 1), 16_000), filter, args);
        for rung in source.rungs(&[(180, 250_000), (96, 70_000)]) {
            let (peak, average) = rung.bandwidth();
            assert!(average < peak);
            let head = source.head(&rung, 0);
            for (n, segment) in head.segments.iter().enumerate() {
                let seconds = rung.table.seconds(n as u32).unwrap();
                let bits = segment.len() as f64 * 8.0 / seconds;
                assert!(bits <= peak as f64, "segment {n} of {rung:?} takes {bits}, not {peak}");
            }
        }
    }
}

#[test]
fn a_seek_that_comes_out_too_late_is_noticed() {
    // A transport stream has no index, and this one a single keyframe in 16 s.
    let args = "-t 16 -c:v libx264 -preset ultrafast -g 1000 -bf 2";
    let mut source = Source::new("a.ts", video((30, 1), 16_000), "", args);
    source.media.container = Container::MpegTs;
    let rung = source.rung();
    let input = Input::File(source.path.clone());
    let order =
        Order { rung: &rung, input, segment: 5, threads: 2, distrusted: false, held: false };
    assert!(order.seeks());
    let mut cutter = Cutter::new(&rung, 5);
    cutter.push(&run(&order.arguments()).0);
    let first = cutter.segment();
    assert!(first == Ok(None) || first == Err(OUT_OF_STEP), "{first:?}");
    let order = Order { distrusted: true, ..order };
    let mut cutter = Cutter::new(&rung, 5);
    cutter.push(&run(&order.arguments()).0);
    let first = cutter.segment().unwrap().unwrap();
    let shown = show(cutter.init().unwrap(), &[&first]);
    assert_eq!(numbers(&shown), (450..480).collect::<Vec<_>>());
}

#[test]
fn transport_streams_join_where_keyframes_are_near() {
    let args = "-t 20 -c:v libx264 -preset ultrafast -g 60 -bf 2";
    let source = Source::new("a.ts", video((30, 1), 20_000), "", args);
    let rung = source.rung();
    let shown = assert_joins(&source, &rung, &[1, 5, 6]);
    assert_eq!(numbers(&shown), (0..600).collect::<Vec<_>>());
}
