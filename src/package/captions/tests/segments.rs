use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::*;
use crate::package::table::{FRAME, SegmentTable};

fn text(segment: &[u8]) -> &str {
    std::str::from_utf8(segment).unwrap()
}

/// Start and end in milliseconds of every cue in a file, by a reader that shares nothing with the one under test: it looks
/// at lines with an arrow only, and so counts a cue that repeats as often as it stands there.
fn times(file: &str) -> Vec<(u64, u64)> {
    fn millis(text: &str) -> Option<u64> {
        let shape: String =
            text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        let shape = shape.replace(',', ".");
        let tail = shape.trim_start_matches('0');
        if tail != ":00:00.000" && shape != "00:00.000" {
            return None;
        }
        let fields: Vec<u64> = text.split([':', '.', ',']).map(|n| n.parse().unwrap()).collect();
        let (millis, clock) = fields.split_last()?;
        if clock.iter().rev().take(2).any(|&n| n > 59) {
            return None;
        }
        Some(clock.iter().fold(0, |sum, n| sum * 60 + n) * 1000 + millis)
    }
    let line = |line: &str| {
        let (start, end) = line.split_once("-->")?;
        let (start, end) = (millis(start.trim())?, millis(end.split_whitespace().next()?)?);
        (start < end).then_some((start, end))
    };
    file.lines().filter_map(line).collect()
}

/// The same by ffprobe.
fn times_by_ffprobe(file: &Path) -> BTreeSet<(u64, u64)> {
    let arguments =
        ["-v", "error", "-show_entries", "packet=pts_time,duration_time", "-of", "csv=p=0"];
    let output = Command::new("ffprobe").args(arguments).arg(file).output().unwrap();
    let millis = |seconds: &str| (seconds.parse::<f64>().unwrap() * 1000.0).round() as u64;
    let packet = |line: &str| {
        let mut fields = line.split(',');
        let start = millis(fields.next()?);
        Some((start, start + millis(fields.next()?)))
    };
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter(|line| !line.is_empty())
        .filter_map(packet)
        .collect()
}

/// The shared sample captions, where they are there.
fn samples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/media");
    let is_captions = |path: &PathBuf| path.extension().is_some_and(|e| e == "vtt" || e == "srt");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(is_captions).collect()
}

/// All segments of a table, each period widened by a frame as the caller is told to.
fn segments(captions: &Captions, table: &SegmentTable) -> Vec<bytes::Bytes> {
    let widened = |n| {
        let ticks = table.ticks(n).unwrap();
        ticks.start.saturating_sub(FRAME)..ticks.end + FRAME
    };
    (0..table.len()).map(|n| captions.segment(widened(n), table.timescale(), 900_000)).collect()
}

/// An audio table that lasts as long as the captions.
fn table(captions: &Captions, rate: u32) -> SegmentTable {
    let end = captions.cues().map(|cue| cue.end_ms).max().unwrap_or(0);
    SegmentTable::audio(
        (end * u64::from(rate) / 1000).div_ceil(FRAME).max(1),
        rate,
        Duration::from_secs(5),
    )
}

#[test]
fn a_segment_reads_as_the_standard_says() {
    let source = "WEBVTT\n\nSTYLE\n::cue{}\n\nNOTE x\n\nfirst\n00:04.000 --> 1:00:00.000 line:0\na\nb\n\n\
                  00:20.000 --> 00:21.000\nlater";
    let captions = parse(source).captions;
    assert_eq!(
        text(&captions.segment(48_000 * 5..48_000 * 10, 48_000, 900_000)),
        "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:00.000\n\nSTYLE\n::cue{}\n\n\
         first\n00:00:04.000 --> 01:00:00.000 line:0\na\nb\n\n"
    );
    let empty = parse("WEBVTT").captions.segment(0..48_000, 48_000, 0);
    assert_eq!(text(&empty), "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n\n");
}

#[test]
fn bounds_are_exact() {
    let source = "WEBVTT\n\n00:00.000 --> 00:03.000\nbeside\n\n00:01.000 --> 00:02.000\nx";
    let captions = parse(source).captions;
    let cases = [
        ("ends as the cue begins", 0..44_100, 44_100, false),
        ("ends a tick later", 0..44_101, 44_100, true),
        ("begins as the cue ends", 88_200..100_000, 44_100, false),
        ("begins a tick earlier", 88_199..100_000, 44_100, true),
        ("within the cue", 66_000..66_001, 44_100, true),
        ("a third of a millisecond into it", 3_000_001..3_000_002, 3_000_000, true),
        ("a third of a millisecond from its end", 5_999_999..6_000_001, 3_000_000, true),
        ("everything", 0..u64::MAX, 1, true),
        ("far out", u64::MAX - 1..u64::MAX, 44_100, false),
    ];
    for (name, period, timescale, expected) in cases {
        let segment = captions.segment(period, timescale, 0);
        assert_eq!(times(text(&segment)).contains(&(1000, 2000)), expected, "{name}");
    }
    let timescale_of_nothing = captions.segment(0..1, 0, 0);
    assert_eq!(times(text(&timescale_of_nothing)), [(0, 3000)], "no division by zero");
}

#[test]
fn sample_files_come_back_to_the_millisecond() {
    for path in samples() {
        let bytes = fs::read(&path).unwrap();
        let source = String::from_utf8_lossy(&bytes);
        let expected: BTreeSet<_> = times(&source).into_iter().collect();
        assert!(!expected.is_empty(), "{path:?}");

        let Parsed { captions, skipped } = parse(&bytes);
        assert_eq!(captions.len() + skipped, source.matches("-->").count(), "{path:?}");
        for rate in [8_000, 44_100, 48_000] {
            let rendered = segments(&captions, &table(&captions, rate));
            let found: BTreeSet<_> =
                rendered.iter().flat_map(|segment| times(text(segment))).collect();
            assert_eq!(found, expected, "{path:?} at {rate}");
        }
        if captions.header.is_empty() {
            assert_eq!(times_by_ffprobe(&path), expected, "{path:?} by ffprobe");
            let file = tempfile::Builder::new().suffix(".vtt").tempfile().unwrap();
            fs::write(file.path(), captions.segment(0..u64::MAX, 1, 0)).unwrap();
            assert_eq!(times_by_ffprobe(file.path()), expected, "{path:?}, rendered, by ffprobe");
        }
    }
}

#[test]
fn six_hours_are_rendered_in_linear_work() {
    const CUES: u64 = 20_000;
    const SIX_HOURS_MS: u64 = 6 * 3_600_000;
    let cue = |start_ms, end_ms, payload: String| Cue {
        start_ms,
        end_ms,
        id: Box::default(),
        settings: Box::default(),
        payload: payload.into(),
    };
    let mut draft = Draft::default();
    draft.push(Some(cue(0, SIX_HOURS_MS, "a title that never goes".into())));
    for n in 0..CUES {
        draft.push(Some(cue(n * 1080, n * 1080 + 1500, format!("line {n}"))));
    }
    let captions = draft.finish().captions;
    let table = table(&captions, 44_100);
    let millis = |ticks: u64| ticks * 1000 / 44_100;

    let (mut looked_at, mut longest) = (0, 0);
    for n in 0..table.len() {
        let ticks = table.ticks(n).unwrap();
        let cues: usize =
            captions.runs(&(millis(ticks.start)..millis(ticks.end) + 1)).map(<[Cue]>::len).sum();
        looked_at += cues;
        longest = longest.max(cues);
    }
    // The run of the title and at most two more; 20,000 each without the index.
    assert!(longest <= 3 * segment::RUN, "{longest} cues looked at for one segment");
    assert!(looked_at <= 3 * segment::RUN * table.len() as usize);

    let mut copies: BTreeMap<(u64, u64), usize> = BTreeMap::new();
    for segment in segments(&captions, &table) {
        for times in times(text(&segment)) {
            *copies.entry(times).or_default() += 1;
        }
    }
    assert_eq!(copies.len() as u64, CUES + 1, "every cue is in a segment");
    assert_eq!(copies.remove(&(0, SIX_HOURS_MS)), Some(table.len() as usize));
    assert!(copies.values().all(|&n| n <= 2), "a cue of 1.5 s is in at most two segments of 5 s");
}
