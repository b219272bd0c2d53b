//! The end of the process, wanted or not, and what the next one finds: streams, packages, half-written files.

mod support;

use std::{
    collections::HashMap,
    fs, io,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use nix::sys::signal::Signal;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;
use support::{
    Answer, Broker, Clip, Connection, File, Format, Gate, Grant, Player, Setup, Upstream, decode,
    player::Track, process::Process, setup::HANDSHAKE, signal, until,
};

/// What fills a package of 14 segments.
fn minute() -> Vec<u8> {
    Clip::noise(Format::Wav, 60.0).mono().bytes()
}

fn setup(upstream: &Upstream) -> Setup {
    Broker::setup(upstream).without("url.vtt")
}

/// Kills the broker alone and starts it again; what it had started must end by itself.
fn crash(broker: &Broker) {
    let children = broker.children();
    broker.kill9();
    children.iter().for_each(Process::wait_gone);
    broker.restart();
}

/// All of the audio, which must be that of `source` from end to end without a gap.
fn listen(player: &Player, source: &[u8]) -> Track {
    let track = player.audio();
    let (source, heard) = (decode::pcm(source), track.pcm());
    assert!(heard.seconds() >= source.seconds(), "{} s", heard.seconds());
    let lags = signal::lags(&source, &heard, 22_050);
    assert!(lags.iter().all(|lag| lag.is_some() && *lag == lags[0]), "{lags:?}");
    track
}

/// Nothing runs and nothing is half done.
fn assert_at_rest(broker: &Broker) {
    until("no ffmpeg is left", || broker.children().is_empty());
    until("tempdir is empty", || broker.files("temp").is_empty());
    assert_no_halves(broker);
}

fn assert_no_halves(broker: &Broker) {
    for file in broker.files("static").iter().chain(&broker.files("cache")) {
        let path = file.to_string_lossy();
        assert!(![".new-", ".removed-", ".part"].iter().any(|half| path.contains(half)), "{path}");
        assert_ne!(file.metadata().expect("a file").len(), 0, "{path}");
    }
}

#[test]
fn a_reader_plays_on_through_kill_9_with_the_same_rid_and_token() {
    let source = minute();
    let upstream = Upstream::start();
    upstream.audio("a", &source);
    let broker = setup(&upstream).with("cache.expiry", "10m").start();
    let grant = broker.token("a");
    let player = Player::new(&broker, &grant);
    let (index, playlist) = (player.get("index.m3u8").body, player.playlist("a0.m3u8"));
    let init = player.get("a0-init.mp4").expect(200).body;
    let mut had = HashMap::new();
    let mut random = StdRng::seed_from_u64(9);
    for _ in 0..4 {
        for _ in 0..3 {
            let uri = &playlist.segments[random.random_range(0..playlist.segments.len())].uri;
            had.insert(uri.clone(), player.get(uri).expect(200).body);
        }
        crash(&broker);
    }
    assert_eq!(player.get("index.m3u8").expect(200).body, index);
    let track = listen(&player, &source);
    assert_eq!((track.playlist.text, track.init), (playlist.text.clone(), init));
    for (segment, bytes) in playlist.segments.iter().zip(&track.segments) {
        assert!(had.get(&segment.uri).is_none_or(|had| had == bytes), "{} changed", segment.uri);
    }
    assert_at_rest(&broker);
    assert_eq!(upstream.hits("/audio/a"), 1, "the source is still there, and known");
}

#[test]
fn a_crash_in_the_middle_of_a_download_costs_only_the_download() {
    let (source, gate) = (minute(), Gate::new());
    let upstream = Upstream::start();
    let stalled = File::new(&source).stall(source.len() / 3, &gate);
    upstream.at("/audio/a", [stalled.into(), (&source).into()]);
    let broker = setup(&upstream).with("upstream.read_timeout", "1m").start();
    let grant = broker.token("a");
    let player = Player::new(&broker, &grant);
    let early: Vec<_> =
        (0..4).map(|n| player.get(&format!("a0-{n}.m4s")).expect(200).body).collect();
    gate.wait_reached();
    assert_eq!(broker.files("temp").len(), 1, "it is still arriving");
    crash(&broker);
    gate.open();
    let track = listen(&player, &source);
    assert_eq!(track.segments[..4], early);
    assert_at_rest(&broker);
    assert_eq!(upstream.hits("/audio/a"), 2);
}

#[test]
fn every_stream_that_was_answered_survives() {
    const ROUNDS: usize = 4;
    let source = Clip::noise(Format::Wav, 3.0).mono().bytes();
    let upstream = Upstream::start();
    for n in 0..MEDIA {
        upstream.audio(&n.to_string(), &source);
    }
    let broker = setup(&upstream).start();
    let mut random = StdRng::seed_from_u64(1);
    let answered = Mutex::new(Vec::<Grant>::new());
    let mut first: HashMap<String, Vec<u8>> = HashMap::new();
    for round in 0..ROUNDS {
        let enough = answered.lock().expect("grants").len() + random.random_range(1..12);
        let next = AtomicUsize::new(16 * round);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some(grant) = ask(&broker, &media(&next)) {
                        answered.lock().expect("grants").push(grant);
                    }
                });
            }
            until("enough streams are answered", || {
                answered.lock().expect("grants").len() >= enough
            });
            broker.kill9();
        });
        broker.restart();
        for grant in answered.lock().expect("grants").iter() {
            let player = Player::new(&broker, grant);
            assert!(player.playlist("a0.m3u8").seconds() > 2.9);
            let bytes = player.get("a0-0.m4s").expect(200).body;
            let had = first.entry(grant.rid.clone()).or_insert_with(|| bytes.clone());
            assert_eq!(*had, bytes);
        }
    }
    for grant in answered.into_inner().expect("grants") {
        assert_eq!(Player::new(&broker, &grant).audio().segments[0], first[&grant.rid]);
    }
    assert_at_rest(&broker);
}

/// Media that are asked for in turn.
const MEDIA: usize = 60;

/// The next of them: however many a fast broker answers before it is killed, there is one.
fn media(next: &AtomicUsize) -> String {
    (next.fetch_add(1, SeqCst) % MEDIA).to_string()
}

/// A stream from a broker that may be gone at any moment.
fn ask(broker: &Broker, qid: &str) -> Option<Grant> {
    let body = json!({ "handshake": HANDSHAKE, "qid": qid }).to_string();
    let reply = broker.try_send("POST", "/api/token", &[], Some(body.as_bytes())).ok()?;
    let json = reply.expect(201).json();
    let text = |name: &str| json[name].as_str().expect("text").to_owned();
    broker.keep_secret(&text("token"));
    let (rid, token, url) = (text("rid"), text("token"), text("url"));
    Some(Grant { rid, token, url, warnings: Vec::new(), json })
}

#[test]
fn a_crash_in_the_middle_of_eviction_leaves_nothing_behind() {
    let source = Clip::noise(Format::Wav, 8.0).mono().bytes();
    let upstream = Upstream::start();
    for n in 0..MEDIA {
        upstream.audio(&n.to_string(), &source);
    }
    upstream.audio("kept", &source);
    let setup = setup(&upstream).with("cache.killsize.static", "1MB").with("cache.limit", 8);
    let broker = setup.with("cache.expiry", "10m").start();
    let kept = broker.token("kept");
    let had = Player::new(&broker, &kept).audio();
    let mut random = StdRng::seed_from_u64(5);
    let next = AtomicUsize::new(0);
    for _ in 0..4 {
        let enough = next.load(SeqCst) + random.random_range(7..11);
        thread::scope(|scope| {
            scope.spawn(|| {
                while let Some(grant) = ask(&broker, &media(&next)) {
                    let gone = format!("/api/streams/{}", grant.rid);
                    let bearer = format!("Bearer {HANDSHAKE}");
                    broker.try_send("DELETE", &gone, &[("authorization", &bearer)], None).ok();
                }
            });
            until("packages had to go", || next.load(SeqCst) >= enough);
            broker.kill9();
        });
        broker.restart();
        assert_no_halves(&broker);
        assert!(broker.bytes("static") <= 1_000_000);
        let again = Player::new(&broker, &kept).audio();
        assert_eq!(again.segments, had.segments);
    }
}

#[test]
fn half_written_files_are_cleared_away() {
    let source = minute();
    let upstream = Upstream::start();
    upstream.audio("a", &source);
    let broker = setup(&upstream).with("cache.expiry", "10m").start();
    let grant = broker.token("a");
    let player = Player::new(&broker, &grant);
    let whole = listen(&player, &source);
    until("it is complete", || {
        broker.files("static").iter().any(|file| file.ends_with("a0-manifest.json"))
    });
    broker.kill9();
    let file = |name: &str| {
        let files = broker.files("static");
        files.into_iter().find(|file| file.ends_with(name)).expect("a file of the package")
    };
    let package = file("package.json").parent().expect("its folder").to_owned();
    let cut = &whole.segments[3][..whole.segments[3].len() / 2];
    fs::write(file("a0-3.m4s"), cut).expect("a file");
    fs::write(file("a0-5.m4s"), b"").expect("a file");
    fs::write(package.join(".new-7"), b"half").expect("a file");
    fs::create_dir(package.with_file_name(".removed-0")).expect("a folder");
    fs::write(package.with_file_name(".removed-0").join("a0-0.m4s"), b"x").expect("a file");
    fs::create_dir(package.with_file_name("0".repeat(32))).expect("a folder");
    fs::write(broker.dir("temp").join("x.part"), b"half").expect("a file");
    fs::write(broker.dir("cache").join("stranger"), b"bytes").expect("a file");
    let kept = broker.files("cache").into_iter().find(|file| !file.ends_with("stranger"));
    fs::write(kept.expect("the source"), &source[..source.len() / 2]).expect("a file");
    broker.restart();
    let again = listen(&player, &source).segments;
    // The two that were damaged are made again, and join without a gap; the others stand.
    let others = (0..again.len()).filter(|n| ![3, 5].contains(n));
    others.for_each(|n| assert_eq!(again[n], whole.segments[n], "segment {n} changed"));
    assert_at_rest(&broker);
    assert_eq!(broker.files("cache").len(), 1, "what nobody knows is gone");
    assert!(!package.with_file_name("0".repeat(32)).exists());
}

#[test]
fn the_term_signal_drains() {
    let (source, gate) = (Clip::noise(Format::Wav, 10.0).bytes(), Gate::new());
    let upstream = Upstream::start();
    upstream.audio("a", &source).audio("late", Answer::late(&gate, &source));
    let setup = setup(&upstream).with("upstream.first_byte_timeout", "1m");
    let broker = setup.with("limits.drain", "1m").start();
    let grant = broker.token("a");
    let player = Player::new(&broker, &grant);
    thread::scope(|scope| {
        let late = scope.spawn(|| broker.ask("late"));
        gate.wait_reached();
        broker.signal(Signal::SIGTERM);
        broker.wait_log("new work is refused");
        broker.get("/api/ready", &[]).expect_error(503, "busy");
        let refused = broker.ask("a").expect_error(503, "busy");
        assert!(refused.header("retry-after").is_some());
        broker.get("/api/health", &[]).expect(200);
        assert_eq!(player.audio().segments.len(), player.playlist("a0.m3u8").segments.len());
        gate.open();
        // What was begun before the signal is answered.
        late.join().expect("a reply").expect(201);
    });
    assert_eq!(broker.wait().code(), Some(0));
    broker.restart();
    player.audio();
}

#[test]
fn the_drain_has_an_end() {
    let gate = Gate::new();
    let upstream = Upstream::start();
    upstream.audio("late", Answer::silence(&gate)).audio("a", minute());
    let broker = setup(&upstream)
        .with("upstream.first_byte_timeout", "10m")
        .with("limits.drain", "1s")
        .ffmpeg("case $1 in -version) exec {real} \"$@\";; esac\nexec sleep 1000")
        .start();
    broker.token("a");
    until("a head runs", || broker.children().iter().any(|child| child.name == "sleep"));
    let children = broker.children();
    thread::scope(|scope| {
        scope.spawn(|| {
            broker.try_send("POST", "/api/token", &[], Some(&body("late"))).expect_err("it is cut")
        });
        gate.wait_reached();
        assert_eq!(broker.terminate().code(), Some(0));
    });
    assert_eq!(broker.logged("connections were cut").len(), 1);
    assert!(children.iter().all(Process::is_gone), "{children:?}");
    gate.open();
}

fn body(qid: &str) -> Vec<u8> {
    json!({ "handshake": HANDSHAKE, "qid": qid }).to_string().into()
}

#[test]
fn a_second_signal_ends_at_once() {
    let gate = Gate::new();
    let upstream = Upstream::start();
    upstream.audio("late", Answer::silence(&gate));
    let setup = setup(&upstream).with("upstream.first_byte_timeout", "10m");
    let broker = setup.with("limits.drain", "1h").start();
    thread::scope(|scope| {
        scope.spawn(|| {
            let cut: io::Result<_> =
                broker.try_send("POST", "/api/token", &[], Some(&body("late")));
            cut.expect_err("it is cut")
        });
        gate.wait_reached();
        broker.signal(Signal::SIGTERM);
        broker.wait_log("new work is refused");
        broker.signal(Signal::SIGINT);
        assert_eq!(broker.wait().code(), Some(0));
    });
    gate.open();
}

#[test]
fn the_hangup_signal_reads_secrets_and_limits_again() {
    let upstream = Upstream::start();
    upstream.audio("a", Clip::noise(Format::Wav, 3.0).bytes());
    let reload = |broker: &Broker, said: &str| {
        let before = broker.logged(said).len();
        broker.signal(Signal::SIGHUP);
        until("the file is read", || broker.logged(said).len() > before);
    };
    let (good, bad) = ("were read again", "were not read again");
    let secrets = ["first-secret-of-32-bytes-or-so-01", "second-secret-of-32-bytes-or-so-2"];
    let broker = setup(&upstream).with("token.secret", secrets[0]).start();
    for secret in secrets {
        broker.keep_secret(secret);
    }
    let old = broker.token("a");
    let ask = |handshake: &str| {
        broker.post_json("/api/token", &json!({ "handshake": handshake, "qid": "a" }))
    };
    let player = Player::new(&broker, &old);

    broker.configure("handshake", vec!["another-handshake", HANDSHAKE]);
    broker.configure("token.secret", vec![secrets[1], secrets[0]]);
    broker.configure("limits.batch", 1);
    // Only a restart takes these.
    broker.configure("cache.expiry", "1s");
    broker.configure("state.dir", "./elsewhere");
    reload(&broker, good);
    ask("another-handshake").expect(201);
    ask(HANDSHAKE).expect(201);
    player.get("index.m3u8").expect(200);
    let new = broker.token("a");
    assert!(new.json["expires_in"].as_u64() > Some(60), "{}", new.json);
    let two = json!({ "handshake": HANDSHAKE, "qids": ["a", "a"] });
    broker.post_json("/api/batch", &two).expect_error(422, "too_many");

    broker.configure("handshake", "another-handshake");
    broker.configure("token.secret", secrets[1]);
    reload(&broker, good);
    ask(HANDSHAKE).expect_error(401, "bad_handshake");
    player.get("index.m3u8").expect_error(401, "token_invalid");
    Player::new(&broker, &new).get("index.m3u8").expect(200);

    broker.configure("handshake", HANDSHAKE);
    broker.configure("limits.batch", "many");
    reload(&broker, bad);
    ask(HANDSHAKE).expect_error(401, "bad_handshake");
    fs::write(broker.dir("hls.yaml"), "port: [").expect("a file");
    reload(&broker, bad);
    ask("another-handshake").expect(201);
    assert!(!broker.dir("elsewhere").exists());
}

#[test]
fn the_patience_of_players_is_read_again() {
    let upstream = Upstream::start();
    upstream.audio("a", Clip::noise(Format::Wav, 3.0).bytes());
    let hangs = "case $1 in -version) exec {real} \"$@\";; esac\nexec sleep 1000";
    let broker = setup(&upstream).ffmpeg(hangs).with("limits.segment_wait", "1h").start();
    let player = broker.token("a");
    let player = Player::new(&broker, &player);
    broker.configure("limits.segment_wait", "50ms");
    broker.signal(Signal::SIGHUP);
    broker.wait_log("were read again");
    let late = player.get("a0-0.m4s").expect_error(503, "busy");
    assert!(late.header("retry-after").is_some());
}

#[test]
fn what_is_missing_or_taken_ends_with_69() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).start();
    let second = broker.run(&["serve"]);
    assert_eq!(second.code, Some(69), "{second:?}");
    assert!(second.stderr.contains("is held by another process"), "{second:?}");

    let port = broker.address("main").port();
    let taken = setup(&upstream).with("port", port).run(&["serve"]);
    assert_eq!(taken.code, Some(69), "{taken:?}");
    assert!(taken.stderr.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{taken:?}");

    let bare = setup(&upstream).without_programs().run(&["serve"]);
    assert_eq!(bare.code, Some(69), "{bare:?}");
    assert!(bare.stderr.contains("ffmpeg: not found; install ffmpeg"), "{bare:?}");
    broker.get("/api/health", &[]).expect(200);
}

#[test]
fn a_state_that_cannot_be_read_is_named() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).start();
    broker.terminate();
    let cases = [
        ("streams.db", "streams.db cannot be used", vec![7; 20_000]),
        ("token.key", "is damaged", b"half a ke".to_vec()),
        ("token.key", "token.key", vec![255; 100]),
    ];
    for (name, said, garbage) in cases {
        let path = broker.dir("state").join(name);
        let good = fs::read(&path).expect("a file of the state");
        fs::write(&path, garbage).expect("a file");
        let ended = broker.run(&["serve"]);
        assert_eq!(ended.code, Some(74), "{ended:?}");
        assert!(ended.stderr.contains("state.dir") && ended.stderr.contains(said), "{ended:?}");
        fs::write(&path, good).expect("a file");
    }
    broker.restart();
    broker.get("/api/health", &[]).expect(200);
}

#[test]
fn a_connection_that_never_speaks_does_not_hold_up_the_end() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).with("limits.drain", "3s").start();
    let silent = Connection::open(broker.address("main")).expect("a connection");
    let mut half = Connection::open(broker.address("main")).expect("a connection");
    half.send("GET /api/health HTTP/1.1\r\nhost:");
    assert_eq!(broker.terminate().code(), Some(0));
    drop(silent);
}
