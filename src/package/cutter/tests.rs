//! Real ffmpeg over sources whose frames carry their number in twelve bars of black and white.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use tempfile::TempDir;

use super::*;
use crate::{
    package::{
        encoder::{Input, video::Order},
        ladder::Step,
        video::Choices,
    },
    source::probe::{
        Container,
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

fn ffmpeg(args: &[String]) -> Vec<u8> {
    let output = Command::new("ffmpeg").args(args).output().expect("ffmpeg is installed");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{args:?}: {complaints}");
    output.stdout
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
        let media = Media { container, pipe: false, audio, video: Some(video), text };
        Self { _dir: dir, path, media }
    }

    fn rungs(&self, steps: &[(u32, u32)]) -> Vec<Rung> {
        let steps = steps.iter().map(|&(height, bitrate)| Step { height, bitrate }).collect();
        let segment = Duration::from_secs(4);
        Rung::all(&self.media, &Choices { steps, segment, ..Choices::default() })
    }

    fn rung(&self) -> Rung {
        self.rungs(&[(180, 300_000)]).remove(0)
    }

    /// What a head for segment `first` makes of a rung.
    fn head(&self, rung: &Rung, first: u32) -> Head {
        let input = Input::File(self.path.clone());
        let order = Order { rung, input, segment: first, threads: 2, distrusted: false };
        let stream = ffmpeg(&order.arguments());
        let mut cutter = Cutter::new(rung, first);
        let mut segments = Vec::new();
        for chunk in stream.chunks(1000 + 7 * first as usize) {
            cutter.push(chunk);
            segments.extend(std::iter::from_fn(|| cutter.segment().unwrap()));
        }
        let missing = cutter.fill().unwrap();
        segments.extend(std::iter::from_fn(|| cutter.segment().unwrap()));
        assert_eq!(cutter.next(), rung.table.len());
        Head { init: cutter.init().unwrap().clone(), segments, missing, first }
    }
}

struct Head {
    init: Bytes,
    segments: Vec<Bytes>,
    missing: u64,
    first: u32,
}

impl Head {
    fn segment(&self, n: u32) -> &Bytes {
        &self.segments[(n - self.first) as usize]
    }
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
    segments.iter().for_each(|segment| all.extend_from_slice(segment));
    fs::write(&path, all).unwrap();
    let mut probe = Command::new("ffprobe");
    probe.args(["-v", "warning", "-show_entries", "frame=pts,key_frame", "-of", "csv=p=0"]);
    let output = probe.arg(&path).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut args = words("-nostdin -v warning -copyts -i");
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
