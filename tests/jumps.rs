//! Transport streams whose clock jumps, as recordings from the air have it: joined to others, cut, begun anew. All of their
//! pictures and all of their sound play, one part behind the other, and keep step.

mod support;

use support::{
    Broker, Player, Setup, Upstream,
    decode::Pcm,
    film::{self, Film, H264},
    media,
};

/// What is logged of such a stream.
const JUMPS: &str = "the clock of a transport stream jumps";

/// What is logged of a source that ends before what it promised.
const SHORT: &str = "before its header's promise";

/// Pictures of a part, 25 a second, and seconds.
const PICTURES: usize = 150;
const SECONDS: usize = PICTURES / 25;

/// A click of each second begins with this picture of it.
const CLICK: usize = 12;

/// Samples a second, and those of priming that come before all sound.
const RATE: usize = 48_000;
const PRIMING: usize = 1024;

fn setup(upstream: &Upstream) -> Setup {
    let setup = Broker::setup(upstream).without("url.vtt").with("cache.expiry", "1h");
    let setup = setup.with("packager.video.ladder", "180:400k").with("packager.segment", "2s");
    setup.with("packager.video.preset", "ultrafast")
}

fn clicks() -> String {
    let start = CLICK as f64 / 25.0;
    let end = start + 0.05;
    format!(
        r"-f lavfi -i aevalsrc=0.8*sin(2*PI*1000*t)*between(mod(t\,1)\,{start}\,{end}):s={RATE}:d={SECONDS}"
    )
}

const AAC: &str = "-c:a aac -b:a 96k";

/// Numbered pictures, and clicks, that begin so many seconds later than the clock.
fn part(encoders: &str, offset: u32) -> Vec<u8> {
    let rest = format!("{} {encoders} -output_ts_offset {offset} -f mpegts", clicks());
    let seconds = SECONDS as f64;
    Film { size: "320x180", rate: "25", seconds, filters: "", rest: &rest }.bytes()
}

/// H.264 of pictures out of order, and AAC.
fn h264(offset: u32) -> Vec<u8> {
    part(&format!("{H264} -bf 2 {AAC}"), offset)
}

/// The seconds at which clicks begin.
fn onsets(heard: &Pcm) -> Vec<f64> {
    let mut found: Vec<usize> = Vec::new();
    for (at, sample) in heard.mono().iter().enumerate() {
        let is_new = found.last().is_none_or(|last| at - last > RATE / 2);
        if is_new && sample.unsigned_abs() > 6_000 {
            found.push(at);
        }
    }
    found.iter().map(|at| (*at as f64 - PRIMING as f64) / RATE as f64).collect()
}

/// Plays a film from its start to its end after a look at its last quarter, and says how many pictures each part of it has.
#[track_caller]
fn play(broker: &Broker, id: &str) -> Vec<usize> {
    let grant = broker.token(id);
    let player = Player::new(broker, &grant);
    for uri in ["v0.m3u8", "a0.m3u8"] {
        let playlist = player.playlist(uri);
        let late = playlist.segments.len() * 3 / 4;
        player.get(&playlist.segments[late].uri).expect(200);
    }
    let seen = film::watch(broker, &grant, "v0.m3u8");
    assert_eq!(seen.warnings, Vec::<String>::new(), "{id}");
    let onsets = onsets(&player.hear(7));

    let mut parts: Vec<Vec<(usize, f64)>> = Vec::new();
    for (number, time) in seen.numbers.into_iter().zip(seen.times) {
        match parts.last_mut() {
            Some(part) if part.last().is_some_and(|(last, _)| *last == number) => {}
            Some(part) if part.last().is_some_and(|(last, _)| *last + 1 == number) => {
                part.push((number, time));
            }
            _ => parts.push(vec![(number, time)]),
        }
    }
    let shown = parts.iter().flatten().filter(|(number, _)| number % 25 == CLICK);
    let nearest = |time: f64| {
        onsets.iter().map(|heard| time - heard).min_by(|a, b| a.abs().total_cmp(&b.abs()))
    };
    let steps: Vec<_> = shown.map(|(_, time)| nearest(*time).expect("a click")).collect();
    assert!(steps.iter().all(|step| step.abs() < 0.04), "{id}: {steps:?}");
    // Where a part is cut, its sound may end before its pictures do, or behind them.
    assert!(onsets.len().abs_diff(steps.len()) < parts.len(), "{id}: {onsets:?}");
    if parts.iter().all(|part| part.len() == PICTURES) {
        assert_eq!(onsets.len(), steps.len(), "{id}: {onsets:?}");
    }
    assert!(parts.iter().all(|part| part[0].0 == 0), "{id}: {parts:?}");

    let pictures: usize = parts.iter().map(Vec::len).sum();
    for uri in ["v0.m3u8", "a0.m3u8"] {
        let promised = player.playlist(uri).seconds();
        let excess = promised - pictures as f64 / 25.0;
        assert!((-0.05..0.1 * parts.len() as f64).contains(&excess), "{id}: {promised} s");
    }
    broker.revoke(&grant.rid).expect(204);
    parts.iter().map(Vec::len).collect()
}

#[test]
fn parts_with_clocks_of_their_own_play_one_behind_the_other() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).start();
    let (first, later) = (h264(0), h264(3_600));
    let mpeg2 = part("-c:v mpeg2video -b:v 1M -g 12 -bf 2 -c:a mp2 -b:a 128k", 0);
    let cut = first[..first.len() / 2 + 100].to_vec();
    for (id, parts) in [
        ("joined to itself", vec![&first, &first]),
        ("MPEG-2 joined to itself", vec![&mpeg2, &mpeg2]),
        ("an hour later", vec![&first, &later]),
        ("an hour earlier", vec![&later, &first]),
        ("many", vec![&first, &later, &first, &first, &later]),
    ] {
        let before = broker.logged(JUMPS).len();
        upstream.audio(id, parts.iter().copied().flatten().copied().collect::<Vec<u8>>());
        assert_eq!(play(&broker, id), vec![PICTURES; parts.len()], "{id}");
        assert_eq!(broker.logged(JUMPS).len(), before + 1, "{id}");
    }
    upstream.audio("cut", [cut, first.clone()].concat());
    let pictures = play(&broker, "cut");
    assert!(pictures.len() == 2 && pictures[0] > 60 && pictures[1] == PICTURES, "{pictures:?}");
    assert_eq!(broker.logged(SHORT), Vec::<String>::new());
}

#[test]
fn a_clock_that_begins_anew_at_its_end_has_not_jumped() {
    let upstream = Upstream::start();
    for copied in [vec!["aac", "h264"], Vec::new()] {
        let broker = setup(&upstream).with("packager.copy", copied).start();
        // 2^33 ticks are 95443.7 s.
        let whole = h264(95_440);
        upstream.audio("wound", &whole);
        assert_eq!(play(&broker, "wound"), [PICTURES]);
        let twice = [&whole[..], &whole].concat();
        assert_eq!(broker.logged(JUMPS), Vec::<String>::new());
        upstream.audio("wound twice", twice);
        assert_eq!(play(&broker, "wound twice"), [PICTURES; 2]);
        assert_eq!(broker.logged(JUMPS).len(), 1);
    }
}

#[test]
fn sound_without_pictures_plays_all_of_its_parts() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).start();
    for (id, encoder) in [("aac", AAC), ("mp2", "-c:a mp2 -b:a 128k"), ("ac3", "-c:a ac3")] {
        let sound = media::made(&format!("{} {encoder} -f mpegts", clicks()));
        upstream.audio(id, [&sound[..], &sound, &sound].concat());
        let grant = broker.token(id);
        let player = Player::new(&broker, &grant);
        let heard = player.hear(3);
        let onsets = onsets(&heard);
        assert_eq!(onsets.len(), 3 * SECONDS, "{id}: {onsets:?}");
        // Each part lasts as long as its frames: up to one more than the sound, and that of priming.
        for (n, onset) in onsets.iter().enumerate() {
            let due = n as f64 + CLICK as f64 / 25.0;
            let most = 0.03 + (n / SECONDS) as f64 * 0.045;
            assert!((-0.03..most).contains(&(onset - due)), "{id}: click {n} at {onset}");
        }
        assert!((heard.seconds() - 3.0 * SECONDS as f64).abs() < 0.25, "{id}");
        let peaks = player.get("peaks.json").expect(200).json();
        let pixels = peaks["length"].as_u64().expect("a number") * 256 / RATE as u64;
        assert_eq!(pixels, 3 * SECONDS as u64, "{id}");
    }
    assert_eq!(broker.logged(JUMPS).len(), 3);
    assert_eq!(broker.logged(SHORT), Vec::<String>::new());
}
