//! Text inside of the media: every embedded track is a caption rendition, its cues where the source has them, to the
//! millisecond.

mod support;

use std::{fs, path::PathBuf, thread};

use m3u8_rs::{AlternativeMedia, AlternativeMediaType};
use support::{Broker, Gate, Player, Setup, Upstream, client::Grant, media, setup::hls_broker};
use tempfile::TempDir;

/// A cue: milliseconds from the start, and its text.
type Cue = (u64, u64, String);

const SRT: &str = "1
00:00:01,001 --> 00:00:02,999
Hello <i>there</i> & <font color=\"#ff0000\">red</font>

2
00:00:03,123 --> 00:00:03,456
Two
lines, 1 < 2

3
00:00:03,457 --> 00:00:14,000
{\\an8}lasts

4
00:00:19,998 --> 00:00:19,999
åäö 字幕
";

const GERMAN: &str = "1
00:00:02,500 --> 00:00:04,250
Grüß Gott

2
00:00:18,000 --> 00:00:19,000
Auf Wiedersehen
";

const ASS: &str = r"[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,20,&H00FFFFFF,&H000000FF,&H00000000,&H00000000,-1,-1,0,0,100,100,0,0,1,1,0,2,10,10,10,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:01.01,0:00:02.99,Default,Bob,0,0,0,,{\pos(100,20)\c&H0000FF&}Hello,{\i1} you{\i0} & me\Nbelow
Dialogue: 0,0:00:04.00,0:00:06.00,Default,,0,0,0,,{\an7\p1}m 0 0 l 100 0 100 100{\p0}
Dialogue: 0,0:00:05.12,0:00:06.34,Default,,0,0,0,,{\k20}ka{\k30}ra\hoke
";

const VTT: &str = "WEBVTT

one
00:00:01.500 --> 00:00:02.750 line:10% align:start
<v Bob>Hello</v> <i>there</i> &amp; back

00:00:07.001 --> 00:00:08.002
bye
";

fn cue(start: u64, end: u64, text: &str) -> Cue {
    (start, end, text.to_owned())
}

fn english() -> Vec<Cue> {
    vec![
        cue(1001, 2999, "Hello <i>there</i> &amp; red"),
        cue(3123, 3456, "Two\nlines, 1 &lt; 2"),
        cue(3457, 14_000, "lasts"),
        cue(19_998, 19_999, "åäö 字幕"),
    ]
}

fn german() -> Vec<Cue> {
    vec![cue(2500, 4250, "Grüß Gott"), cue(18_000, 19_000, "Auf Wiedersehen")]
}

/// What ffmpeg makes of 21 s of a picture and silence, and these files of text, as `options` say.
#[track_caller]
fn film(texts: &[&str], options: &str) -> Vec<u8> {
    film_of(
        "-f lavfi -i testsrc2=s=160x90:r=25:d=21 -f lavfi -i anullsrc=r=16000:cl=mono:d=21",
        texts,
        options,
    )
}

#[track_caller]
fn film_of(inputs: &str, texts: &[&str], options: &str) -> Vec<u8> {
    let dir = TempDir::new().expect("a directory");
    let mut arguments = inputs.to_owned();
    let mut maps = String::from("-map 0 -map 1");
    for (n, text) in texts.iter().enumerate() {
        let kind = if text.starts_with("WEBVTT") {
            "vtt"
        } else if text.starts_with('[') {
            "ass"
        } else {
            "srt"
        };
        let path = dir.path().join(format!("{n}.{kind}"));
        fs::write(&path, text).expect("room on the disk");
        arguments = format!("{arguments} -i {}", path.display());
        maps = format!("{maps} -map {}", n + 2);
    }
    let video = "-c:v libx264 -preset ultrafast -bf 0";
    let path = dir.path().join("film");
    let mut ffmpeg = std::process::Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error"]);
    ffmpeg.args(format!("{arguments} {maps} {video} {options}").split(' '));
    let output = ffmpeg.arg(&path).output().expect("ffmpeg is installed");
    assert!(output.status.success(), "{output:?}");
    fs::read(path).expect("made just now")
}

fn mp4() -> Vec<u8> {
    let languages = "-metadata:s:s:0 language=eng -metadata:s:s:1 language=ger";
    film(&[SRT, GERMAN], &format!("-c:a aac -c:s mov_text {languages} -movflags faststart -f mp4"))
}

fn mkv() -> Vec<u8> {
    let labels = "-metadata:s:s:0 language=eng -metadata:s:s:1 language=ger -metadata:s:s:2 language=eng \
                  -metadata:s:s:3 language=ger -metadata:s:s:2 title=Signs -disposition:s:0 default \
                  -disposition:s:1 0 -disposition:s:2 0 -disposition:s:3 forced";
    let labels = labels.split_whitespace().collect::<Vec<_>>().join(" ");
    let options = format!("-c:a flac -c:s copy {labels} -f matroska");
    film(&[SRT, VTT, ASS, GERMAN], &options)
}

/// Of all that ffmpeg is asked for, what is counted are texts.
fn setup(upstream: &Upstream) -> Setup {
    let count = r#"case "$*" in *"-map 0:s:"*) mkdir -p {dir}/runs/$$;; esac; exec {real} "$@""#;
    Broker::setup(upstream)
        .with("packager.copy", vec!["aac"])
        .with("cache.expiry", "1h")
        .ffmpeg(count)
}

#[track_caller]
fn stream(media: impl Into<Vec<u8>>) -> (Upstream, Broker, Grant) {
    let upstream = Upstream::start();
    upstream.audio("a", media.into());
    let broker = setup(&upstream).start();
    let grant = broker.token("a");
    (upstream, broker, grant)
}

/// The caption renditions that the index names.
#[track_caller]
fn tracks(player: &Player) -> Vec<AlternativeMedia> {
    let index = player.index();
    assert!(index.variants.iter().all(|variant| variant.subtitles.as_deref() == Some("subs")));
    let is_captions =
        |media: &AlternativeMedia| media.media_type == AlternativeMediaType::Subtitles;
    index.alternatives.into_iter().filter(is_captions).collect()
}

/// All cues of a caption rendition, each once, after a look at the shape of its segments.
#[track_caller]
fn cues(player: &Player, uri: &str) -> Vec<Cue> {
    let track = player.track(uri);
    let mut all = Vec::new();
    for (n, start) in track.playlist.starts().into_iter().enumerate() {
        let text = track.text(n);
        let head = "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n\n";
        let blocks = text.strip_prefix(head).unwrap_or_else(|| panic!("{text}"));
        let end = start + track.playlist.segments[n].seconds;
        for block in blocks.split("\n\n").filter(|block| !block.is_empty()) {
            let from = block.lines().position(|line| line.contains(" --> ")).expect("times");
            let lines: Vec<&str> = block.lines().skip(from).collect();
            let mut words = lines[0].split(' ');
            let (first, last) = (clock(words.next()), clock(words.nth(1)));
            let shown = (first as f64 / 1000.0) < end + 0.1 && last as f64 / 1000.0 > start - 0.1;
            assert!(shown, "{block} in the segment from {start} to {end}");
            all.push((first, last, lines[1..].join("\n")));
        }
    }
    all.sort();
    all.dedup();
    all
}

#[track_caller]
fn clock(text: Option<&str>) -> u64 {
    let fields = text.expect("a time").split([':', '.']).map(str::parse::<u64>);
    let [h, m, s, ms] = fields.collect::<Result<Vec<_>, _>>().expect("numbers")[..] else {
        panic!("{text:?} is not hh:mm:ss.ttt");
    };
    ((h * 60 + m) * 60 + s) * 1000 + ms
}

fn kept(broker: &Broker) -> Vec<PathBuf> {
    let is_text = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("text-"))
    };
    broker.files("static").into_iter().filter(is_text).collect()
}

#[test]
fn texts_of_an_mp4_are_captions() {
    let (_upstream, broker, grant) = stream(mp4());
    let player = Player::new(&broker, &grant);
    let told: Vec<_> = tracks(&player)
        .into_iter()
        .map(|track| (track.uri.unwrap(), track.language.unwrap(), track.forced))
        .collect();
    assert_eq!(
        told,
        [("s0.m3u8".into(), "en".into(), false), ("s1.m3u8".into(), "de".into(), false)]
    );
    assert_eq!(broker.ffmpeg_runs(), 0, "playlists wait for nothing");
    assert_eq!(cues(&player, "s0.m3u8"), english());
    assert_eq!(cues(&player, "s1.m3u8"), german());
    assert_eq!(broker.ffmpeg_runs(), 2);
    // Beside video there is one clock, whatever audio alone would come in.
    let first = player.get("s0-0.vtt?container=ts").expect(200);
    assert!(first.text().contains("MPEGTS:0,"), "{}", first.text());
    for uri in ["s2.m3u8", "s2-0.vtt", "s0-99.vtt", "s1-init.mp4", "text-0.vtt"] {
        player.get(uri).expect_error(404, "not_found");
    }
}

#[test]
fn texts_of_every_make_in_matroska_are_captions() {
    let (_upstream, broker, grant) = stream(mkv());
    let player = Player::new(&broker, &grant);
    let told = tracks(&player);
    let facts: Vec<_> = told
        .iter()
        .map(|track| {
            let language = track.language.as_deref().expect("a language");
            (track.name.as_str(), language, track.default, track.autoselect, track.forced)
        })
        .collect();
    assert_eq!(
        facts,
        [
            ("en", "en", false, true, false),
            ("de", "de", false, false, false),
            ("Signs", "en", false, false, false),
            ("de (4)", "de", false, true, true),
        ]
    );
    assert_eq!(cues(&player, "s0.m3u8"), english());
    let vtt = [cue(1500, 2750, "<v Bob>Hello</v> <i>there</i> &amp; back"), cue(7001, 8002, "bye")];
    assert_eq!(cues(&player, "s1.m3u8"), vtt);
    let first = player.get("s1-1.vtt").expect(200);
    assert!(first.text().contains("one\n00:00:01.500 --> 00:00:02.750 line:10% align:start\n"));
    let ass = [cue(1010, 2990, "Hello, you &amp; me\nbelow"), cue(5120, 6340, "kara\u{a0}oke")];
    assert_eq!(cues(&player, "s2.m3u8"), ass);
    assert_eq!(cues(&player, "s3.m3u8"), german());
}

/// As mkvmerge writes it, and ffmpeg does not know it.
#[test]
fn webvtt_by_matroska_s_own_name_is_read() {
    let text = VTT.replace("one\n", "").replace(" line:10% align:start", "");
    let mut film = film(&[&text], "-c:a flac -c:s copy -f matroska");
    let old = b"D_WEBVTT/SUBTITLES";
    let at = film.windows(old.len()).position(|word| word == old).expect("the codec");
    film[at..at + old.len()].copy_from_slice(b"S_TEXT/WEBVTT\0\0\0\0\0");
    let (_upstream, broker, grant) = stream(film);
    let found = cues(&Player::new(&broker, &grant), "s0.m3u8");
    assert_eq!(
        found,
        [cue(1500, 2750, "<v Bob>Hello</v> <i>there</i> &amp; back"), cue(7001, 8002, "bye")]
    );
}

/// Sources whose clock does not begin at 0, and whose tracks do not begin together: what counts is the earliest track.
#[test]
fn times_count_from_the_start_of_what_is_played() {
    let late = "-c:a flac -c:s copy -output_ts_offset 5 -f matroska";
    let (_upstream, broker, grant) = stream(film(&[SRT], late));
    assert_eq!(cues(&Player::new(&broker, &grant), "s0.m3u8"), english());

    // The sound begins 700 ms into the picture; the first text is there before both.
    let inputs = "-itsoffset 2 -f lavfi -i testsrc2=s=160x90:r=25:d=21 -itsoffset 2.7 -f lavfi -i \
                  anullsrc=r=16000:cl=mono:d=20";
    let inputs = inputs.split_whitespace().collect::<Vec<_>>().join(" ");
    for options in ["-c:a flac -c:s copy -f matroska", "-c:a alac -c:s mov_text -f mp4"] {
        let options = format!("-copyts {options}");
        let (_upstream, broker, grant) = stream(film_of(&inputs, &[SRT], &options));
        let shifted: Vec<Cue> = english()
            .into_iter()
            .map(|(start, end, text)| (start.saturating_sub(2000), end - 2000, text))
            .collect();
        assert_eq!(cues(&Player::new(&broker, &grant), "s0.m3u8"), shifted, "{options}");
    }
}

#[test]
fn captions_beside_the_media_come_first() {
    let upstream = Upstream::start();
    upstream.audio("a", mp4()).vtt("a", media::vtt(&[(1.0, 2.0, "beside")]));
    let setup = setup(&upstream).with("captions.name", "de").with("captions.language", "sv");
    let broker = setup.start();
    let player = Player::new(&broker, &broker.token("a"));
    let told: Vec<_> = tracks(&player)
        .into_iter()
        .map(|track| (track.uri.unwrap(), track.name, track.language.unwrap()))
        .collect();
    let expected = [("s0.m3u8", "de", "sv"), ("s1.m3u8", "en", "en"), ("s2.m3u8", "de (3)", "de")];
    assert_eq!(told, expected.map(|(uri, name, tag)| (uri.into(), name.into(), tag.into())));
    assert_eq!(cues(&player, "s0.m3u8"), [cue(1000, 2000, "beside")]);
    assert_eq!(broker.ffmpeg_runs(), 0);
    assert_eq!(cues(&player, "s1.m3u8"), english());
    assert_eq!(cues(&player, "s2.m3u8"), german());
}

#[test]
fn many_who_ask_at_once_share_one_process_and_a_restart_keeps() {
    let (_upstream, broker, grant) = stream(mp4());
    let player = Player::new(&broker, &grant);
    let segments = player.playlist("s0.m3u8").segments;
    thread::scope(|scope| {
        for segment in segments.iter().cycle().take(20) {
            scope.spawn(|| player.get(&segment.uri).expect(200));
        }
    });
    assert_eq!((broker.ffmpeg_runs(), kept(&broker).len()), (1, 1));
    broker.kill9();
    broker.restart();
    assert_eq!(cues(&player, "s0.m3u8"), english());
    assert_eq!(broker.ffmpeg_runs(), 1);

    // A crash of the machine leaves a name without bytes.
    broker.kill9();
    fs::write(&kept(&broker)[0], "").expect("a file of ours");
    broker.restart();
    assert_eq!(cues(&player, "s0.m3u8"), english());
    assert_eq!(broker.ffmpeg_runs(), 2);
}

#[test]
fn cues_wait_for_the_whole_source_and_playlists_do_not() {
    let (upstream, gate) = (Upstream::start(), Gate::new());
    let source = mp4();
    upstream.audio("a", support::File::new(&source).stall(source.len() / 2, &gate));
    let broker = setup(&upstream).with("upstream.read_timeout", "10m").start();
    let player = Player::new(&broker, &broker.token("a"));
    gate.wait_reached();
    assert_eq!(tracks(&player).len(), 2);
    player.playlist("s0.m3u8");
    thread::scope(|scope| {
        let asked = scope.spawn(|| player.get("s0-0.vtt").expect(200));
        assert_eq!(broker.ffmpeg_runs(), 0);
        gate.open();
        asked.join().expect("a reply");
    });
    assert_eq!(cues(&player, "s0.m3u8"), english());
}

#[test]
fn what_cannot_be_extracted_is_said_and_the_rest_plays() {
    let upstream = Upstream::start();
    upstream.audio("a", mp4());
    let broken =
        r#"case "$*" in *"-map 0:s:1"*) mkdir -p {dir}/runs/$$; exit 1;; esac; exec {real} "$@""#;
    let setup = Broker::setup(&upstream).with("packager.copy", vec!["aac"]);
    let broker = setup.ffmpeg(broken).start();
    let player = Player::new(&broker, &broker.token("a"));
    for n in [0, 3] {
        player.get(&format!("s1-{n}.vtt")).expect_error(502, "encode_failed");
    }
    assert_eq!(broker.ffmpeg_runs(), 2, "one retry for all");
    assert_eq!(kept(&broker).len(), 0);
    assert_eq!(cues(&player, "s0.m3u8"), english());
    player.get("v0-0.m4s").expect(200);
}

/// Of a text whose samples are damaged or lie nowhere, what is left is shown.
#[test]
fn damage_costs_what_it_hits() {
    let mut garbled = mp4();
    let word = b"Two\nlines";
    let at = garbled.windows(word.len()).position(|bytes| bytes == word).expect("a text");
    garbled[at..at + 3].fill(0xff);
    let mut lost = mp4();
    // The last table of places is that of the last text.
    let at = lost.windows(4).rposition(|name| name == b"stco").expect("a table");
    let count = u32::from_be_bytes(lost[at + 8..at + 12].try_into().unwrap()) as usize;
    lost[at + 12..at + 12 + 4 * count].fill(0x7f);

    let upstream = Upstream::start();
    upstream.audio("garbled", garbled).audio("lost", lost);
    let broker = setup(&upstream).start();
    let player = Player::new(&broker, &broker.token("garbled"));
    let mut left = english();
    left.remove(1);
    assert_eq!(cues(&player, "s0.m3u8"), left);
    let player = Player::new(&broker, &broker.token("lost"));
    assert_eq!(cues(&player, "s0.m3u8"), english());
    assert_eq!(cues(&player, "s1.m3u8"), []);
}

#[test]
fn transcode_writes_them() {
    let dir = TempDir::new().expect("a directory");
    let (source, out) = (dir.path().join("film.mp4"), dir.path().join("out"));
    fs::write(&source, mp4()).expect("room on the disk");
    let ended = hls_broker(&["transcode", source.to_str().unwrap(), out.to_str().unwrap()]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for (track, text) in [("s0", "00:00:01.001 --> 00:00:02.999\nHello"), ("s1", "Grüß Gott")] {
        let playlist = fs::read_to_string(out.join(format!("{track}.m3u8"))).expect("a playlist");
        let segments = playlist.lines().filter(|line| !line.starts_with('#'));
        let all: String =
            segments.map(|name| fs::read_to_string(out.join(name)).expect("a segment")).collect();
        assert!(all.contains(text), "{all}");
    }
}
