//! Films that are larger than the room that packages have: they play to their ends and anywhere, and what they were is what
//! they come back as.

mod support;

use std::{
    ops::Range,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    thread,
};

use support::{
    Broker, Clip, Format, Grant, Player, Setup, Upstream, decode, eventually,
    film::{self, Film, H264},
    player::Playlist,
    until,
};

/// What packages may take: a fraction of each film.
const LIMIT: u64 = 2_000_000;

const SECONDS: f64 = 60.0;

const FRAMES: usize = 60 * 25;

/// 320x180 at 25 frames a second, with a keyframe every other second and sound: a minute of 18 MB, and of 7 MB when it is encoded
/// anew.
fn film() -> Vec<u8> {
    let rest = format!(
        "-f lavfi -i sine=d={SECONDS}:r=44100 {H264} -c:a aac -b:a 48k -movflags +faststart -f mp4"
    );
    Film { size: "320x180", rate: "25", seconds: SECONDS, filters: "", rest: &rest }.bytes()
}

fn setup(upstream: &Upstream) -> Setup {
    let setup = Broker::setup(upstream).without("url.vtt").with("cache.expiry", "1h");
    let setup = setup.with("packager.segment", "2s").with("packager.video.preset", "ultrafast");
    let setup = setup.with("packager.video.ladder", "180:900k").with("packager.video.ahead", "10s");
    // Memory would hide what is on the disk.
    let setup = setup.with("cache.memory", "1MB").with("log.level", "info");
    setup.with("cache.killsize.static", LIMIT)
}

/// Does something, and checks all the while that packages take no more than they may.
fn within_the_limit<T>(broker: &Broker, act: impl FnOnce() -> T) -> T {
    let (done, most) = (AtomicBool::new(false), AtomicU64::new(0));
    let outcome = thread::scope(|scope| {
        scope.spawn(|| {
            let is_over = || {
                most.fetch_max(broker.bytes("static"), SeqCst);
                done.load(SeqCst)
            };
            while !eventually(is_over) {}
        });
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        done.store(true, SeqCst);
        outcome
    });
    let most = most.into_inner();
    assert!(most <= LIMIT, "{most} bytes");
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Segments that have made room for others so far.
fn gone(broker: &Broker) -> f64 {
    broker.metric("hls_broker_evictions_total{outcome=\"segment\"}").unwrap_or(0.0)
}

/// The bytes of some segments of the first video rendition, asked for in order.
#[track_caller]
fn segments(player: &Player, range: Range<usize>) -> Vec<Vec<u8>> {
    let playlist = player.playlist("v0.m3u8");
    playlist.segments[range].iter().map(|s| player.get(&s.uri).expect(200).body).collect()
}

/// Plays on and on, as long as the broker lives.
fn play_to_the_end_of(broker: &Broker, grant: &Grant, playlist: &Playlist) {
    for segment in playlist.segments.iter().cycle() {
        let path = format!("/hls/{}/{}", grant.rid, segment.uri);
        let token = [("x-gostreamer-token", grant.token.as_str())];
        if broker.try_send("GET", &path, &token, None).is_err() {
            return;
        }
    }
}

#[test]
fn an_encoded_film_plays_to_its_end_and_again() {
    let upstream = Upstream::start();
    upstream.audio("film", film());
    upstream.audio("sound", Clip::noise(Format::Mp3, 10.0).bytes());
    let broker = setup(&upstream).with("packager.copy", vec!["aac"]).start();
    let grant = broker.token("film");
    within_the_limit(&broker, || {
        for _ in 0..2 {
            let seen = film::watch(&broker, &grant, "index.m3u8");
            assert_eq!(seen.warnings, Vec::<String>::new());
            assert_eq!(seen.numbers, (0..FRAMES).collect::<Vec<_>>());
            let is_at = |(n, time): (usize, &f64)| (time - n as f64 / 25.0).abs() < 1e-5;
            assert!(seen.times.iter().enumerate().all(is_at), "{:?}", seen.times);
        }
        // The room is the film's as long as nobody else needs it.
        until("it is ready", || broker.get("/api/ready", &[]).status == 200);
        Player::new(&broker, &broker.token("sound")).hear(3);
        let player = Player::new(&broker, &grant);
        let half = player.playlist("v0.m3u8").segments.len() / 2;
        segments(&player, half..half + 3);
        segments(&player, 0..3);
    });
    assert!(gone(&broker) > 30.0, "{}", gone(&broker));
    assert!(broker.logged("a head failed").is_empty());
}

#[test]
fn a_copied_film_comes_back_as_the_same_bytes() {
    let source = film();
    let upstream = Upstream::start();
    upstream.audio("film", &source);
    let broker = setup(&upstream).start();
    let grant = broker.token("film");
    let player = Player::new(&broker, &grant);
    within_the_limit(&broker, || {
        let first = player.track("v0.m3u8");
        assert!(first.bytes().len() > 3 * LIMIT as usize, "{}", first.bytes().len());
        assert_eq!(decode::pictures(first.bytes()), decode::pictures(&source));
        assert!(player.track("v0.m3u8").segments == first.segments);
        assert!(player.track_shuffled("v0.m3u8", 7).segments == first.segments);

        let half = first.segments.len() / 2;
        for round in 1..4_u32 {
            thread::scope(|scope| {
                scope.spawn(|| play_to_the_end_of(&broker, &grant, &first.playlist));
                let enough = gone(&broker) + 5.0 * f64::from(round);
                until("segments have gone", || gone(&broker) > enough);
                broker.kill9();
            });
            broker.restart();
            let place = half * round as usize / 3;
            assert!(segments(&player, place..half) == first.segments[place..half], "{round}");
        }
        let all = first.segments.len();
        assert!(segments(&player, half..all) == first.segments[half..]);
        assert!(segments(&player, 0..half) == first.segments[..half]);
    });
    assert!(gone(&broker) > 10.0, "{}", gone(&broker));
    assert!(broker.logged("a head failed").is_empty());
}

#[test]
fn players_at_different_places_all_get_on() {
    let upstream = Upstream::start();
    upstream.audio("film", film());
    let setup = setup(&upstream).with("packager.copy", vec!["aac"]);
    let broker = setup.with("limits.segment_wait", "2m").start();
    let grant = broker.token("film");
    let player = Player::new(&broker, &grant);
    let all = player.playlist("v0.m3u8").segments.len();
    within_the_limit(&broker, || {
        thread::scope(|scope| {
            for start in [0, all / 3, 2 * all / 3] {
                let player = player.clone();
                scope.spawn(move || segments(&player, start..start + all / 3));
            }
        });
    });
    assert!(gone(&broker) > 10.0, "{}", gone(&broker));
}

#[test]
fn a_film_that_was_complete_is_so_again() {
    let upstream = Upstream::start();
    upstream.audio("film", film());
    let rest = format!("{H264} -f mp4");
    let short = Film { size: "320x180", rate: "25", seconds: 3.0, filters: "", rest: &rest };
    upstream.audio("short", short.bytes());
    let broker = setup(&upstream).start();
    let grant = broker.token("short");
    let player = Player::new(&broker, &grant);
    let first = player.track("v0.m3u8");
    let manifests =
        || broker.files("static").iter().filter(|file| file.ends_with("v0-manifest.json")).count();
    until("it is complete", || manifests() == 1);
    let other = broker.token("film");
    within_the_limit(&broker, || {
        Player::new(&broker, &other).track("v0.m3u8");
        assert_eq!(manifests(), 0, "some of it had to go");
        broker.kill9();
        broker.restart();
        assert!(player.track("v0.m3u8").segments == first.segments);
        until("it is complete again", || manifests() == 1);
    });
}

/// Where there is no room at all for pictures they are refused, and nobody else notices.
#[test]
fn a_disk_that_sound_fills_shows_no_pictures() {
    let upstream = Upstream::start();
    upstream.audio("film", film());
    upstream.audio("sound", Clip::noise(Format::Mp3, 10.0).bytes());
    // Of 80 % of it, more than half is for sound, and two seconds of picture are 600 kB.
    let broker = setup(&upstream).with("cache.killsize.static", "1MB").start();
    let sound = broker.token("sound");
    let player = Player::new(&broker, &broker.token("film"));
    let refused = player.get("v0-0.m4s").expect_error(503, "busy");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    Player::new(&broker, &sound).hear(3);
    player.get("a0-0.m4s").expect(200);
}
