//! Peers that are slow, many, or do not speak HTTP: bounded, told so where that is possible, and no burden to others.

mod support;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use support::{
    Broker, Clip, Connection, Format, Player, Setup, Upstream, process::open_files, until,
};

fn setup(upstream: &Upstream) -> Setup {
    Broker::setup(upstream).without("url.vtt")
}

fn open(broker: &Broker) -> Connection {
    Connection::open(broker.address("main")).expect("a connection")
}

fn get(target: &str, to: SocketAddr) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: {to}\r\n\r\n")
}

/// Idle connections close within a second, and so does every other wait.
fn impatient(upstream: &Upstream) -> Setup {
    let mut setup = setup(upstream);
    for key in ["header", "body", "idle", "write"] {
        setup = setup.with(&format!("limits.{key}"), "1s");
    }
    setup
}

#[test]
fn a_crowd_that_dribbles_and_does_not_read_is_no_burden_to_a_player() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(soft.max(4096)), hard).expect("within the limit");
    let upstream = Upstream::start();
    upstream.audio("a", Clip::noise(Format::Wav, 30.0).bytes());
    let setup = setup(&upstream).with("limits.header", "5s").with("limits.write", "5s");
    let broker = setup.with("packager.bitrate", "256k").start();
    let grant = broker.token("a");
    let player = Player::new(&broker, &grant);
    player.audio();
    let measure = |n: usize| {
        let mut times: Vec<Duration> = (0..n)
            .map(|_| {
                let start = Instant::now();
                player.get("a0-3.m4s").expect(200);
                start.elapsed()
            })
            .collect();
        times.sort_unstable();
        (times[n / 2], times[n * 99 / 100])
    };
    let (before, alone) = (open_files(broker.pid()), measure(200));
    let mut crowd: Vec<Connection> = (0..600).map(|_| open(&broker)).collect();
    let (dribbling, deaf) = crowd.split_at_mut(500);
    for peer in dribbling {
        peer.send("GET / HTTP/1.1\r\nx-a");
    }
    let target = format!("/hls/{}/a0-3.m4s?token={}", grant.rid, grant.token);
    for peer in deaf {
        // More than the system's buffers take.
        peer.send(get(&target, broker.address("main")).repeat(60));
    }
    let crowded = measure(200);
    println!("median and p99 of a segment: alone {alone:?}, in the crowd {crowded:?}");
    until("the crowd has been seen off", || open_files(broker.pid()) <= before);
    drop(crowd);
    player.audio();
}

#[test]
fn a_head_that_dribbles_is_told_408() {
    let upstream = Upstream::start();
    let broker = impatient(&upstream).start();
    let mut peer = open(&broker);
    peer.send("GET /api/health HTTP/1.1\r\nhost: a\r\nx-slow: ");
    let reply = peer.reply().expect_error(408, "request_timeout");
    assert_eq!(reply.header("connection"), Some("close"));
    assert_eq!(peer.rest(), b"");
}

#[test]
fn a_body_that_dribbles_is_told_408() {
    let upstream = Upstream::start();
    let broker = impatient(&upstream).start();
    let mut peer = open(&broker);
    peer.send("POST /api/token HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{");
    peer.reply().expect_error(408, "request_timeout");
    assert_eq!(peer.rest(), b"");
}

#[test]
fn a_connection_that_rests_is_closed_without_a_word() {
    let upstream = Upstream::start();
    let broker = impatient(&upstream).start();
    let mut silent = open(&broker);
    let mut resting = open(&broker);
    resting.send(get("/api/health", broker.address("main"))).reply().expect(200);
    assert_eq!(resting.rest(), b"");
    assert_eq!(silent.rest(), b"");
}

#[test]
fn heads_beyond_the_bounds_are_told_431() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).start();
    let many = "x-a: b\r\n".repeat(65);
    for fields in [many, format!("x-a: {}\r\n", "b".repeat(17_000)), "c".repeat(100_000)] {
        let mut peer = open(&broker);
        // The server may answer, and close, before it has it all.
        peer.try_send(format!("GET /api/health HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n")).ok();
        peer.reply().expect_error(431, "headers_too_large");
    }
    let fields = "x-a: b\r\n".repeat(60);
    let fits = format!("GET /api/health HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
    open(&broker).send(fits).reply().expect(200);
}

#[test]
fn connections_over_the_cap_are_told_503_until_others_leave() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).with("limits.connections", 5).start();
    let health = get("/api/health", broker.address("main"));
    let mut peers: Vec<_> = (0..5).map(|_| open(&broker)).collect();
    for peer in &mut peers {
        peer.send(&health).reply().expect(200);
    }
    for _ in 0..100 {
        let mut peer = open(&broker);
        peer.try_send(&health).ok();
        // Beyond a number of refusals at once the rest is closed without a word.
        if let Ok(reply) = peer.try_reply("GET") {
            let refused = reply.expect_error(503, "busy");
            assert!(refused.header("retry-after").is_some());
        }
    }
    for peer in &mut peers {
        peer.send(&health).reply().expect(200);
    }
    peers.pop();
    until("there is a place", || {
        let mut peer = open(&broker);
        peer.try_send(&health).is_ok() && peer.try_reply("GET").is_ok_and(|r| r.status == 200)
    });
}

#[test]
fn without_descriptors_it_waits_and_recovers() {
    let upstream = Upstream::start();
    upstream.audio("a", Clip::noise(Format::Wav, 3.0).bytes());
    let broker = setup(&upstream).under(["prlimit", "--nofile=80"]).start();
    let grant = broker.token("a");
    Player::new(&broker, &grant).audio();
    let peers: Vec<_> = (0..150).map(|_| open(&broker)).collect();
    broker.wait_log("cannot accept");
    drop(peers);
    Player::new(&broker, &grant).audio();
    broker.token("a");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Upstream::start();
    upstream.audio("a", Clip::noise(Format::Wav, 10.0).bytes());
    let broker = setup(&upstream).start();
    let grant = broker.token("a");
    let player = Player::new(&broker, &grant);
    let names: Vec<_> =
        player.playlist("a0.m3u8").segments.into_iter().map(|segment| segment.uri).collect();
    let mut peer = open(&broker);
    let requests: Vec<_> = names
        .iter()
        .map(|name| format!("/hls/{}/{name}?token={}", grant.rid, grant.token))
        .map(|target| get(&target, broker.address("main")))
        .collect();
    peer.send(requests.concat());
    for name in names {
        assert!(peer.reply().expect(200).body == player.get(&name).body, "{name}");
    }
}

#[test]
fn http_2_is_not_spoken() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).start();
    let mut peer = open(&broker);
    peer.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    let said = peer.rest();
    assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 400 "), "{said:?}");
}

/// What goes out, and the statuses that may come back. One request never has two replies.
const BAD: &[(&str, &[u16])] = &[
    ("GET /api/health HTTP/1.1\r\n\r\n", &[400]),
    ("GET /api/health HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", &[400]),
    ("GET /api/health HTTP/1.1\r\nhost : a\r\n\r\n", &[400]),
    ("GET /api/health HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n", &[400]),
    ("GET /api/health HTTP/1.1\r\nhost: a\r\nx: b\r\n c\r\n\r\n", &[400]),
    ("GET /api/health HTTP/1.1\r\nhost: a\r\nno colon\r\n\r\n", &[400]),
    ("GET /api/health HTTP/1.1\r\nhost: a\r\n: empty\r\n\r\n", &[400]),
    ("GET /api/health\r\n\r\n", &[400]),
    ("GET  /api/health HTTP/1.1\r\nhost: a\r\n\r\n", &[400]),
    ("GET /api/health HTTP/3.0\r\nhost: a\r\n\r\n", &[400]),
    ("G\u{e4}T /api/health HTTP/1.1\r\nhost: a\r\n\r\n", &[400]),
    ("GET /api/he alth HTTP/1.1\r\nhost: a\r\n\r\n", &[400]),
    ("\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03 a TLS hello\r\n\r\n", &[400]),
    ("get /api/health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", &[405]),
    ("BREW /api/health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", &[405]),
    ("OPTIONS * HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", &[404]),
    ("CONNECT evil:80 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", &[404, 405]),
    ("GET http://evil/api/health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", &[200, 400]),
    ("\r\n\r\nGET /api/health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", &[200]),
    ("GET /api/health HTTP/1.0\r\n\r\n", &[200]),
    (
        "POST /api/token HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n12345",
        &[400],
    ),
    ("POST /api/token HTTP/1.1\r\nhost: a\r\ncontent-length: -5\r\n\r\n12345", &[400]),
    ("POST /api/token HTTP/1.1\r\nhost: a\r\ncontent-length: +5\r\n\r\n12345", &[400]),
    (
        "POST /api/token HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999\r\n\r\n1",
        &[400],
    ),
    ("POST /api/token HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999\r\n\r\n1", &[413]),
    (
        "POST /api/token HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        &[400],
    ),
    ("POST /api/token HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n", &[400]),
    (
        "POST /api/token HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        &[400, 422],
    ),
    (
        "POST /api/token HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\nzz\r\n",
        &[422],
    ),
    (
        "POST /api/token HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\nffffffffffffffffff\r\n",
        &[422],
    ),
    (
        "POST /api/token HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\n",
        &[400, 422],
    ),
    (
        "POST /api/token HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
        &[401],
    ),
];

#[test]
fn what_is_not_http_gets_one_clear_reply_and_an_end() {
    let upstream = Upstream::start();
    let broker = impatient(&upstream).start();
    for (bytes, expected) in BAD {
        let mut peer = open(&broker);
        peer.send(bytes);
        let reply = peer.reply();
        assert!(expected.contains(&reply.status), "{bytes:?}: {reply:?}");
        if reply.status >= 400 {
            let status = reply.status;
            let json = reply.json();
            assert!(json["error"].is_string() && json["code"].is_string(), "{bytes:?}: {status}");
        }
        let rest = peer.rest();
        assert!(rest.is_empty(), "{bytes:?}: {}", String::from_utf8_lossy(&rest));
    }
    broker.get("/api/health", &[]).expect(200);
    assert_eq!(broker.logged("\"level\":\"ERROR\"").len(), 0);
}
