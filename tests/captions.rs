//! Captions: every cue at its time, to the millisecond, in every segment that it is shown in, beside any container.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use m3u8_rs::AlternativeMediaType;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use support::{Answer, Broker, Clip, Format, Grant, Player, Upstream, media, player::Track};

const CONTAINERS: [&str; 3] = ["cmaf", "aac", "ts"];

/// Samples a second of [`silence`].
const RATE: f64 = 16_000.0;

/// Seconds that a player may place a segment's audio beside its place in the table: one AAC frame.
const FRAME: f64 = 1024.0 / RATE;

/// A cue: milliseconds from the start, and its block below the line of times.
type Cue = (u64, u64, String);

fn silence(seconds: f64) -> Vec<u8> {
    Clip::silence(Format::Flac, seconds).rate(16_000).mono().bytes()
}

fn broker(upstream: &Upstream) -> Broker {
    Broker::setup(upstream).with("cache.expiry", "1h").start()
}

/// The readable cues of a file of captions, written without a look at the broker's reader: a line of times that is
/// well-formed, and what follows it up to an empty line.
fn cues(text: &str) -> Vec<Cue> {
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let mut lines = text.lines().peekable();
    let mut cues = Vec::new();
    while let Some(line) = lines.next() {
        let Some((start, end)) = times(line) else { continue };
        let mut block = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.is_empty() && !line.contains("-->")) {
            block.push(line);
        }
        if start < end {
            cues.push((start, end, block.join("\n")));
        }
    }
    cues
}

fn times(line: &str) -> Option<(u64, u64)> {
    let (start, rest) = line.split_once("-->")?;
    let end = rest.split_whitespace().next()?;
    Some((clock(start.trim())?, clock(end)?))
}

/// `[hh:]mm:ss.ttt`, with a comma in SRT.
fn clock(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once(['.', ','])?;
    let fields: Vec<&str> = whole.split(':').collect();
    let widths_hold = fraction.len() == 3
        && fields.len() > 1
        && fields[fields.len() - 2..].iter().all(|field| field.len() == 2);
    let fields: Option<Vec<u64>> = fields.iter().map(|field| field.parse().ok()).collect();
    let fields = fields.filter(|fields| widths_hold && fields.len() < 4)?;
    let is_sixtieth = fields[fields.len() - 2..].iter().all(|field| *field < 60);
    let seconds = fields.iter().fold(0, |sum, field| sum * 60 + field);
    is_sixtieth.then_some(seconds * 1000 + fraction.parse::<u64>().ok()?)
}

/// Each block of cues in a segment, identifier included.
fn blocks(segment: &str) -> Vec<&str> {
    segment
        .split("\n\n")
        .map(|block| block.trim_matches('\n'))
        .filter(|block| block.contains("-->"))
        .collect()
}

/// The caption rendition for a container, named by its index.
#[track_caller]
fn captions(player: &Player, container: &str) -> Track {
    let reply = player.get(&format!("index.m3u8?container={container}")).expect(200);
    let index = m3u8_rs::parse_master_playlist_res(&reply.body).expect("a multivariant playlist");
    let subtitles: Vec<_> = index
        .alternatives
        .iter()
        .filter(|media| media.media_type == AlternativeMediaType::Subtitles)
        .collect();
    assert_eq!(subtitles.len(), 1, "{}", reply.text());
    assert_eq!(index.variants[0].subtitles.as_deref(), Some(subtitles[0].group_id.as_str()));
    player.track(subtitles[0].uri.as_ref().expect("a URI"))
}

/// All cues that the segments hold, in order of time; the same cue in several segments counts once.
#[track_caller]
fn read_back(track: &Track) -> Vec<Cue> {
    let texts = (0..track.segments.len()).map(|n| track.text(n));
    let mut all: Vec<Cue> = texts.flat_map(cues).collect();
    all.sort();
    all.dedup();
    all
}

/// What holds for the captions of every stream: the shape of the playlist and of each segment, and which cues are where.
#[track_caller]
fn check_rendition(player: &Player, source: &[Cue]) {
    for (container, origin) in CONTAINERS.into_iter().zip([0, 900_000, 900_000]) {
        let track = captions(player, container);
        let audio = player.playlist(&format!("a0.m3u8?container={container}"));
        let seconds = |playlist: &support::player::Playlist| -> Vec<f64> {
            playlist.segments.iter().map(|segment| segment.seconds).collect()
        };
        assert_eq!(seconds(&track.playlist), seconds(&audio), "{container}");
        assert!(track.playlist.text.ends_with("#EXT-X-ENDLIST\n"));

        let map = format!("X-TIMESTAMP-MAP=MPEGTS:{origin},LOCAL:00:00:00.000");
        let mut copies: BTreeMap<(u64, u64), BTreeSet<&str>> = BTreeMap::new();
        for (n, start) in track.playlist.starts().into_iter().enumerate() {
            let text = track.text(n);
            let head: Vec<&str> = text.lines().take(3).collect();
            assert_eq!(head, ["WEBVTT", &map, ""], "{container} segment {n}");
            assert!(text.len() > 10);

            let end = start + track.playlist.segments[n].seconds;
            let here = cues(text);
            let shown = |from: f64, to: f64| {
                let is_shown =
                    move |cue: &&Cue| (cue.0 as f64) < to * 1000.0 && cue.1 as f64 > from * 1000.0;
                source.iter().filter(is_shown)
            };
            for cue in shown(start, end) {
                assert!(
                    here.iter().any(|found| (found.0, found.1) == (cue.0, cue.1)),
                    "{cue:?} is not in segment {n} of {start} to {end} s"
                );
            }
            let near: Vec<_> = shown(start - FRAME - 0.001, end + FRAME + 0.001)
                .map(|cue| (cue.0, cue.1))
                .collect();
            for cue in &here {
                assert!(
                    near.contains(&(cue.0, cue.1)),
                    "{cue:?} has no place in segment {n} of {start} to {end} s"
                );
            }
            for block in blocks(text) {
                let line = block.lines().find_map(times).expect("times");
                copies.entry(line).or_default().insert(block);
            }
        }
        let together =
            |key: &(u64, u64)| source.iter().filter(|cue| (cue.0, cue.1) == *key).count();
        for (key, blocks) in &copies {
            assert!(blocks.len() <= together(key), "the same cue in other words: {blocks:#?}");
        }
    }
}

/// A stream of captions as long as they are, and two seconds more.
#[track_caller]
fn stream(broker: &Broker, upstream: &Upstream, id: &str, text: &[u8], source: &[Cue]) -> Grant {
    let end = source.iter().map(|cue| cue.1).max().unwrap_or(0);
    upstream.audio(id, silence(end as f64 / 1000.0 + 2.0)).vtt(id, text);
    let grant = broker.token(id);
    assert_eq!(grant.warnings, Vec::<String>::new(), "{id}");
    grant
}

#[test]
fn generated_cues_keep_their_times() {
    let upstream = Upstream::start();
    let broker = broker(&upstream);
    let mut random = StdRng::seed_from_u64(11);
    let mut source: Vec<(f64, f64, String)> = Vec::new();
    for n in 0..300 {
        let start = f64::from(random.random_range(0..120_000)) / 1000.0;
        // From a flash of a millisecond to something over many segments.
        let longest = [1, 40, 3_000, 40_000][n % 4];
        let length = f64::from(random.random_range(1..=longest)) / 1000.0;
        source.push((start, start + length, format!("Cue <b>{n}</b>\n- åäö & 字幕")));
    }
    let list: Vec<_> =
        source.iter().map(|(start, end, text)| (*start, *end, text.as_str())).collect();
    let text = media::vtt(&list);
    let mut expected = cues(&text);
    expected.sort();
    assert_eq!(expected.len(), 300);
    let grant = stream(&broker, &upstream, "many", text.as_bytes(), &expected);
    let player = Player::new(&broker, &grant);
    check_rendition(&player, &expected);
    assert_eq!(read_back(&captions(&player, "cmaf")), expected);
}

/// Cues that begin and end at the very cut, a millisecond before and behind it.
#[test]
fn cues_at_the_cuts_are_where_they_are_shown() {
    let upstream = Upstream::start();
    let broker = broker(&upstream);
    upstream.audio("bare", silence(30.0)).vtt("bare", "WEBVTT\n");
    let bare = broker.token("bare");
    let starts = Player::new(&broker, &bare).playlist("a0.m3u8").starts();
    let mut list = Vec::new();
    for cut in &starts[1..] {
        for around in [-0.001, 0.0, 0.001] {
            list.extend([
                (cut + around, cut + around + 0.5, "begins"),
                (cut + around - 0.5, cut + around, "ends"),
            ]);
        }
    }
    list.push((0.25, 28.0, "lasts"));
    let text = media::vtt(&list);
    let expected = cues(&text);
    upstream.audio("cuts", silence(30.0)).vtt("cuts", text);
    let grant = broker.token("cuts");
    let player = Player::new(&broker, &grant);
    check_rendition(&player, &expected);
    let track = captions(&player, "cmaf");
    let lasting = (0..track.segments.len()).filter(|n| track.text(*n).contains("\nlasts\n"));
    assert_eq!(lasting.count(), starts.iter().filter(|start| **start < 28.0).count());
}

#[test]
fn captions_of_the_world_keep_their_times() {
    let upstream = Upstream::start();
    let broker = broker(&upstream);
    for path in shared_captions() {
        let id = path.file_name().expect("a name").to_string_lossy().into_owned();
        let bytes = fs::read(&path).expect("a file");
        let text = String::from_utf8_lossy(&bytes);
        let mut source = cues(&text);
        let grant = stream(&broker, &upstream, &id, &bytes, &source);
        let player = Player::new(&broker, &grant);
        check_rendition(&player, &source);
        let mut found = read_back(&captions(&player, "cmaf"));
        if path.extension().is_some_and(|extension| extension == "srt") {
            // The text is translated and the numbers between the cues go.
            found.iter_mut().chain(&mut source).for_each(|cue| cue.2.clear());
        }
        source.sort();
        source.dedup();
        assert_eq!(found, source, "{id}");
        println!("{id}: {} cues", source.len());
    }
}

fn shared_captions() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/media");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_captions = |path: &PathBuf| path.extension().is_some_and(|e| e == "vtt" || e == "srt");
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(is_captions).collect();
    files.sort();
    files
}

#[test]
fn the_index_names_the_captions() {
    let upstream = Upstream::start();
    upstream.audio("with", silence(9.0)).vtt("with", media::vtt_for(9.0));
    upstream.audio("without", silence(9.0));
    let setup =
        Broker::setup(&upstream).with("captions.name", "Svenska").with("captions.language", "sv");
    let broker = setup.start();
    let with = broker.token("with");
    let index = Player::new(&broker, &with).index();
    let subtitles = &index.alternatives[0];
    assert_eq!((subtitles.name.as_str(), subtitles.language.as_deref()), ("Svenska", Some("sv")));
    assert_eq!(subtitles.uri.as_deref(), Some("s0.m3u8"));
    assert_eq!(index.variants[0].subtitles.as_deref(), Some(subtitles.group_id.as_str()));

    let without = broker.token("without");
    let player = Player::new(&broker, &without);
    assert_eq!(player.index().alternatives, []);
    assert_eq!(player.index().variants[0].subtitles, None);
    for uri in ["s0.m3u8", "s0-0.vtt"] {
        player.get(uri).expect_error(404, "not_found");
    }
}

/// The container that is configured decides the clock of captions, as it does for audio.
#[test]
fn a_configured_container_decides_the_clock() {
    let upstream = Upstream::start();
    upstream.audio("a", silence(3.0)).vtt("a", media::vtt_for(3.0));
    let broker = Broker::setup(&upstream).with("packager.container", "ts").start();
    let grant = broker.token("a");
    let track = Player::new(&broker, &grant).captions();
    assert!(track.text(0).contains("MPEGTS:900000"), "{}", track.text(0));
}

#[test]
fn segments_without_cues_are_headers() {
    let upstream = Upstream::start();
    let broker = broker(&upstream);
    let style = "WEBVTT - a title\n\nSTYLE\n::cue { color: lime }\n\nREGION\nid:r\nwidth:40%\n\n";
    let text = format!("{style}00:00:04.000 --> 00:00:04.500 region:r\nonly\n");
    upstream.audio("sparse", silence(40.0)).vtt("sparse", text);
    upstream.audio("empty", silence(40.0)).vtt("empty", "WEBVTT");
    let sparse = broker.token("sparse");
    let track = Player::new(&broker, &sparse).captions();
    for n in 0..track.segments.len() {
        let text = track.text(n);
        assert!(
            text.contains("STYLE\n::cue { color: lime }\n\n")
                && text.contains("REGION\nid:r\nwidth:40%\n\n"),
            "{text}"
        );
        assert_eq!(blocks(text).len(), usize::from(n == 1), "{n}: {text}");
    }
    let empty = broker.token("empty");
    let track = Player::new(&broker, &empty).captions();
    assert!(track.segments.len() > 5);
    let header = b"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n\n";
    assert!(track.segments.iter().all(|segment| segment == header));
}

/// Cues after the end of the audio go; those that reach beyond it keep their times.
#[test]
fn captions_longer_than_the_audio_end_with_it() {
    let upstream = Upstream::start();
    let broker = broker(&upstream);
    upstream.audio("short", silence(10.0)).vtt("short", media::vtt_for(60.0));
    let over = media::vtt(&[(9.5, 30.0, "over"), (11.0, 12.0, "late")]);
    upstream.audio("over", silence(10.0)).vtt("over", over);
    let grant = broker.token("short");
    let player = Player::new(&broker, &grant);
    let found = read_back(&captions(&player, "cmaf"));
    assert_eq!(
        found.iter().map(|cue| cue.0).collect::<Vec<_>>(),
        [0, 2000, 4000, 6000, 8000, 10_000]
    );
    let grant = broker.token("over");
    let found = read_back(&captions(&Player::new(&broker, &grant), "cmaf"));
    assert_eq!(found, [(9500, 30_000, "over".to_owned())]);
}

#[test]
fn ffmpeg_reads_the_cues() {
    let upstream = Upstream::start();
    let broker = broker(&upstream);
    let list: Vec<_> = (0..12)
        .map(|n| (f64::from(n) * 2.5 + 0.123, f64::from(n) * 2.5 + 3.456, "words"))
        .collect();
    let text = media::vtt(&list);
    upstream.audio("a", silence(32.0)).vtt("a", text.as_str());
    let grant = broker.token("a");
    for container in CONTAINERS {
        let url = format!("{}/hls/{}/index.m3u8?container={container}", broker.url(), grant.rid);
        let output = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "warning", "-strict", "experimental"])
            .args(["-headers", &format!("x-gostreamer-token: {}\r\n", grant.token)])
            .args(["-copyts", "-i", &url, "-map", "0:s:0", "-f", "webvtt", "pipe:1"])
            .output()
            .expect("ffmpeg is installed");
        let heard = String::from_utf8_lossy(&output.stdout);
        let mut found = cues(&heard);
        found.sort();
        found.dedup();
        assert_eq!(found, cues(&text), "{container}: {}", String::from_utf8_lossy(&output.stderr));
        // Cues that reach over a cut come once with each segment.
        let complaints = String::from_utf8_lossy(&output.stderr);
        let mut complaints = complaints.lines();
        assert!(
            complaints.all(|line| line.contains("duplicated subtitle events")),
            "{container}: {output:?}"
        );
    }
}

#[test]
fn of_broken_captions_the_good_cues_stay() {
    let upstream = Upstream::start();
    let broker = broker(&upstream);
    let good = "good\n00:00:03.000 --> 00:00:04.000\nhear, hear\n\n";
    let cases: [(&str, Vec<u8>); 7] = [
        ("bad times", format!("WEBVTT\n\n00:00:aa.000 --> 00:00:02.000\nbad\n\n{good}").into()),
        ("ends before it starts", format!("WEBVTT\n\n00:00:02.000 --> 00:00:01.000\nbad\n\n{good}").into()),
        ("no empty line after the header", format!("WEBVTT\n{good}").into()),
        ("no end", format!("WEBVTT\n\n{good}5\n00:00:05.000 -->").into()),
        ("not UTF-8", [b"WEBVTT\n\n\xff\xfe\xfd\n\n", good.as_bytes()].concat()),
        ("carriage returns", format!("WEBVTT\n\n{good}").replace('\n', "\r").into()),
        ("SRT with a broken cue", b"1\n00:00:aa,000 --> 00:00:02,000\nbad\n\n2\n00:00:03,000 --> 00:00:04,000\nhear, hear\n".to_vec()),
    ];
    for (id, text) in cases {
        upstream.audio(id, silence(6.0)).vtt(id, text);
        let grant = broker.token(id);
        let found = read_back(&captions(&Player::new(&broker, &grant), "cmaf"));
        assert_eq!(found, [(3000, 4000, "hear, hear".to_owned())], "{id}");
    }
}

/// A login page with status 200, a picture, nothing at all: the audio plays, and the backend is told.
#[test]
fn what_is_no_captions_gives_a_stream_without() {
    let upstream = Upstream::start();
    let broker = broker(&upstream);
    let strict = Broker::setup(&upstream).with("captions.required", true).start();
    let cases: [(&str, Answer); 6] = [
        ("page", Answer::html()),
        ("ttml", "<?xml version=\"1.0\"?><tt xmlns=\"http://www.w3.org/ns/ttml\"/>".into()),
        ("picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..].into()),
        ("prose", "Once upon a time there was no subtitle.".into()),
        ("nothing", "".into()),
        ("missing", Answer::Status(404)),
    ];
    for (id, answer) in cases {
        upstream.audio(id, silence(3.0)).vtt(id, answer);
        let grant = broker.token(id);
        assert_eq!(grant.warnings.len(), 1, "{id}");
        assert!(grant.warnings[0].starts_with("no captions: "), "{:?}", grant.warnings);
        let player = Player::new(&broker, &grant);
        assert_eq!(player.captions_uri(), None, "{id}");
        player.get("s0.m3u8").expect_error(404, "not_found");
        player.get("a0-0.m4s").expect(200);
        let reply = strict.ask(id);
        assert!(matches!(reply.status, 404 | 415), "{id}: {reply:?}");
    }
}
