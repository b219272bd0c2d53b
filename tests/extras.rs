//! `peaks.json`: the waveform of what is heard, made once for all who ask and kept, behind the token of its stream.

mod support;

use std::{fs, path::PathBuf, process::Command, thread};

use serde_json::Value;
use support::{Broker, Clip, File, Format, Gate, Player, Reply, Setup, Upstream, until};
use tempfile::TempDir;

const PEAKS: &str = "peaks.json";

fn setup(upstream: &Upstream) -> Setup {
    // Of all that ffmpeg is asked for, what is counted are waveforms.
    let count = r#"case "$*" in *s16le*) mkdir -p {dir}/runs/$$;; esac; exec {real} "$@""#;
    Broker::setup(upstream).with("cache.expiry", "1h").ffmpeg(count)
}

fn upstream(clip: &Clip) -> Upstream {
    let upstream = Upstream::start();
    upstream.audio("a", clip.bytes());
    upstream
}

/// Least and greatest of every pixel.
#[track_caller]
fn pixels(reply: &Reply) -> Vec<(i64, i64)> {
    let json: Value = reply.json();
    let data: Vec<_> =
        json["data"].as_array().expect("data").iter().map(|n| n.as_i64().expect("n")).collect();
    assert_eq!(json["length"], data.len() / 2, "{json}");
    data.chunks(2).map(|pixel| (pixel[0], pixel[1])).collect()
}

/// A second of silence, a second of a full sine in the left channel only, half a second of silence: 44.1 kHz, stereo.
fn beep() -> Vec<u8> {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("beep.wav");
    let mut ffmpeg = Command::new("ffmpeg");
    let sine = r"aevalsrc=between(t\,1\,2)*sin(2*PI*441*t)|0:s=44100:d=2.5";
    ffmpeg.args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", sine, "-bitexact"]).arg(&path);
    assert!(ffmpeg.status().expect("ffmpeg is installed").success());
    fs::read(path).expect("made just now")
}

fn kept(broker: &Broker) -> Vec<PathBuf> {
    broker.files("static").into_iter().filter(|path| path.ends_with(PEAKS)).collect()
}

#[test]
fn a_sine_between_silences_is_seen_where_it_is_heard() {
    let upstream = Upstream::start();
    upstream.audio("a", beep());
    let broker = setup(&upstream).start();
    let reply = Player::new(&broker, &broker.token("a")).get(PEAKS).expect(200);
    let json = reply.json();
    for (field, value) in [
        ("version", 2),
        ("channels", 1),
        ("sample_rate", 44_100),
        ("samples_per_pixel", 256),
        ("bits", 8),
        ("length", 431), // ceil(2.5 * 44100 / 256)
    ] {
        assert_eq!(json[field], value, "{field}");
    }
    let pixels = pixels(&reply);
    // The sine begins in the pixel 44100 / 256 = 172.3 and ends in 344.5. One of two channels: half of its height.
    let (sine, edges) = (173..344, [172, 344]);
    for (n, &(least, greatest)) in pixels.iter().enumerate() {
        if sine.contains(&n) {
            assert!(
                (-64..=-62).contains(&least) && (62..=64).contains(&greatest),
                "{n}: {pixels:?}"
            );
        } else if !edges.contains(&n) {
            assert_eq!((least, greatest), (0, 0), "{n}");
        }
    }
}

#[test]
fn every_format_has_the_pixels_of_its_length() {
    let upstream = Upstream::start();
    let formats = [
        (Format::Wav, 44_100),
        (Format::Mp3, 44_100),
        (Format::M4a, 44_100),
        (Format::FlacUnsized, 44_100),
        (Format::OggOpus, 48_000),
        (Format::Mp4Video, 44_100),
    ];
    for (n, (format, _)) in formats.iter().enumerate() {
        upstream.audio(&n.to_string(), Clip::music(*format, 7.0).bytes());
    }
    let broker = setup(&upstream).start();
    for (n, (format, rate)) in formats.into_iter().enumerate() {
        let reply = Player::new(&broker, &broker.token(&n.to_string())).get(PEAKS).expect(200);
        assert_eq!(reply.json()["sample_rate"], rate, "{format:?}");
        let pixels = pixels(&reply);
        let seconds = pixels.len() as f64 * 256.0 / f64::from(rate);
        // Encoders pad to whole frames.
        assert!((6.99..7.1).contains(&seconds), "{format:?}: {seconds} s");
        let loud = pixels.iter().filter(|(least, greatest)| greatest - least > 20).count();
        assert!(loud > pixels.len() / 2, "{format:?}: {loud} of {}", pixels.len());
    }
}

#[test]
fn it_is_a_file_of_the_stream_like_others() {
    let upstream = upstream(&Clip::music(Format::Wav, 20.0));
    let broker = setup(&upstream).start();
    let grant = broker.token("a");
    let path = format!("/hls/{}/{PEAKS}", grant.rid);
    broker.get(&path, &[]).expect_error(401, "token_missing");
    broker.get(&path, &[("x-gostreamer-token", "x")]).expect_error(401, "token_invalid");
    assert_eq!(broker.ffmpeg_runs(), 0, "nothing is made for those who may not have it");

    let player = Player::new(&broker, &grant);
    let head = player.send("HEAD", PEAKS, &[]).expect(200);
    let whole = player.get(PEAKS).expect(200);
    let length = whole.body.len().to_string();
    for reply in [&head, &whole] {
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert_eq!(reply.header("content-length"), Some(length.as_str()));
        let policy = reply.header("cache-control").expect("a policy");
        assert!(policy.starts_with("private, immutable, max-age="), "{policy}");
    }
    let etag = whole.header("etag").expect("an ETag");
    assert_eq!(head.header("etag"), Some(etag));
    player.send("GET", PEAKS, &[("if-none-match", etag)]).expect(304);
    let part = player.send("GET", PEAKS, &[("range", "bytes=1-9")]).expect(206);
    assert_eq!(part.body, whole.body[1..10]);
    let zipped = player.send("GET", PEAKS, &[("accept-encoding", "gzip")]).expect(200);
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    assert!(zipped.body.len() < whole.body.len());
    player.send("POST", PEAKS, &[]).expect_error(405, "method_not_allowed");
    for file in ["storyboard.vtt", "storyboard-0.jpg"] {
        player.get(file).expect_error(404, "not_found");
    }
    assert_eq!(broker.ffmpeg_runs(), 1);
}

#[test]
fn many_who_ask_at_once_share_one_process() {
    let upstream = upstream(&Clip::music(Format::Flac, 60.0));
    let broker = setup(&upstream).start();
    let player = Player::new(&broker, &broker.token("a"));
    let bodies: Vec<_> = thread::scope(|scope| {
        let asked: Vec<_> =
            (0..20).map(|_| scope.spawn(|| player.get(PEAKS).expect(200))).collect();
        asked.into_iter().map(|reply| reply.join().expect("a reply").body).collect()
    });
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    assert_eq!((broker.ffmpeg_runs(), kept(&broker).len()), (1, 1));
}

#[test]
fn one_is_made_at_a_time() {
    let upstream = Upstream::start();
    for id in ["a", "b", "c", "d"] {
        let hertz = u32::from(id.as_bytes()[0]);
        upstream.audio(id, Clip::sine(Format::Flac, 30.0, hertz).bytes());
    }
    let alone = r#"case "$*" in *s16le*) ;; *) exec {real} "$@";; esac
mkdir {dir}/busy || mkdir -p {dir}/clash; {real} "$@"; rmdir {dir}/busy"#;
    let broker = Broker::setup(&upstream).ffmpeg(alone).start();
    thread::scope(|scope| {
        for id in ["a", "b", "c", "d"] {
            let broker = &broker;
            scope.spawn(move || Player::new(broker, &broker.token(id)).get(PEAKS).expect(200));
        }
    });
    assert!(!broker.dir("clash").exists());
}

#[test]
fn the_end_of_the_broker_is_the_end_of_its_work() {
    let upstream = upstream(&Clip::music(Format::Wav, 5.0));
    let held =
        r#"case "$*" in *s16le*) mkdir {dir}/held; exec sleep 1000;; esac; exec {real} "$@""#;
    let broker = Broker::setup(&upstream).ffmpeg(held).with("limits.drain", "1s").start();
    let grant = broker.token("a");
    let path = format!("/hls/{}/{PEAKS}?token={}", grant.rid, grant.token);
    thread::scope(|scope| {
        // The broker ends before it has an answer.
        scope.spawn(|| broker.try_send("GET", &path, &[], None).ok());
        until("it is being made", || broker.dir("held").exists());
        assert!(broker.terminate().success());
    });
    assert_eq!(broker.logged("not reaped"), [""; 0]);
}

#[test]
fn what_was_made_is_found_after_a_crash() {
    let upstream = upstream(&Clip::music(Format::Mp3Vbr, 10.0));
    let broker = setup(&upstream).start();
    let grant = broker.token("a");
    let player = Player::new(&broker, &grant);
    let before = player.get(PEAKS).expect(200);
    broker.kill9();
    broker.restart();
    let after = player.get(PEAKS).expect(200);
    assert_eq!((&after.body, after.header("etag")), (&before.body, before.header("etag")));
    assert_eq!(broker.ffmpeg_runs(), 1);

    // A crash of the machine leaves a name without bytes.
    broker.kill9();
    fs::write(&kept(&broker)[0], "").expect("a file of ours");
    broker.restart();
    assert_eq!(player.get(PEAKS).expect(200).body, before.body);
    assert_eq!(broker.ffmpeg_runs(), 2);
}

#[test]
fn it_waits_for_the_whole_source() {
    let (upstream, gate) = (Upstream::start(), Gate::new());
    let source = Clip::music(Format::Wav, 20.0).bytes();
    upstream.audio("a", File::new(&source).stall(source.len() / 2, &gate));
    let broker = setup(&upstream).with("upstream.read_timeout", "10m").start();
    let player = Player::new(&broker, &broker.token("a"));
    gate.wait_reached();
    thread::scope(|scope| {
        let asked = scope.spawn(|| player.get(PEAKS).expect(200));
        player.get("a0-0.m4s").expect(200);
        assert_eq!(broker.ffmpeg_runs(), 0);
        gate.open();
        assert_eq!(
            pixels(&asked.join().expect("a reply")).len(),
            (20 * 44_100_usize).div_ceil(256)
        );
    });
}

#[test]
fn who_waits_longer_than_for_a_segment_is_told_when_to_come_back() {
    let upstream = upstream(&Clip::music(Format::Wav, 5.0));
    let held = r#"case "$*" in *s16le*) while test ! -e {dir}/go; do sleep 0.1; done;; esac
exec {real} "$@""#;
    let setup = Broker::setup(&upstream).with("cache.expiry", "1h").ffmpeg(held);
    let broker = setup.with("limits.segment_wait", "1s").start();
    let player = Player::new(&broker, &broker.token("a"));
    let late = player.get(PEAKS).expect_error(503, "busy");
    assert!(late.header("retry-after").is_some());
    // It is made all the same.
    fs::create_dir(broker.dir("go")).expect("a directory");
    until("the file is kept", || kept(&broker).len() == 1);
    player.get(PEAKS).expect(200);
}

#[test]
fn of_a_source_of_which_nothing_decodes_there_is_none() {
    let upstream = Upstream::start();
    let mut alac = Clip::noise(Format::Alac, 4.0).bytes();
    let samples = alac.windows(4).position(|word| word == b"mdat").expect("samples") + 4;
    alac[samples..].fill(0xff);
    upstream.audio("a", alac);
    let broker = setup(&upstream).start();
    let player = Player::new(&broker, &broker.token("a"));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| player.get(PEAKS).expect_error(502, "encode_failed"));
        }
    });
    player.get(PEAKS).expect_error(502, "encode_failed");
    assert_eq!(broker.ffmpeg_runs(), 2, "one retry for all");
    assert_eq!(kept(&broker).len(), 0);
}

#[test]
fn a_source_that_ends_early_is_silent_from_there_on() {
    let upstream = Upstream::start();
    let whole = Clip::noise(Format::Flac, 20.0).bytes();
    upstream.audio("a", &whole[..whole.len() / 2]);
    let broker = setup(&upstream).start();
    let pixels = pixels(&Player::new(&broker, &broker.token("a")).get(PEAKS).expect(200));
    assert_eq!(pixels.len(), (20 * 44_100_usize).div_ceil(256));
    let is_silent = |&(least, greatest): &(i64, i64)| least == 0 && greatest == 0;
    let silent = pixels.iter().rev().take_while(|pixel| is_silent(pixel)).count();
    assert!((pixels.len() / 3..2 * pixels.len() / 3).contains(&silent), "{silent}");
    assert!(!pixels[..pixels.len() / 3].iter().any(is_silent));
}

#[test]
fn it_goes_with_its_package() {
    let upstream = upstream(&Clip::music(Format::Mp3, 240.0));
    upstream.audio("b", Clip::noise(Format::Mp3, 240.0).bytes());
    // Of 4 MB, and no two fit.
    let broker = setup(&upstream).with("cache.killsize.static", "8MB").start();
    let grant = broker.token("a");
    Player::new(&broker, &grant).get(PEAKS).expect(200);
    let first = kept(&broker);
    broker.revoke(&grant.rid).expect(204);
    Player::new(&broker, &broker.token("b")).get(PEAKS).expect(200);
    until("the first package is removed", || !first[0].exists());
    assert_eq!(kept(&broker).len(), 1);
}
