//! What all calls of backends and operators share: the handshake, the order of checks, errors, health, listeners.

mod support;

use std::{fmt::Write, fs};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use support::{
    Broker, Clip, Connection, File, Format, Gate, Player, Reply, Upstream, setup::HANDSHAKE, until,
};

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

fn upstream() -> Upstream {
    let upstream = Upstream::start();
    upstream.audio("a", Clip::noise(Format::Wav, 1.0).bytes());
    upstream
}

/// Asks for a token for "a" with this handshake.
fn knock(broker: &Broker, headers: &[(&str, &str)], handshake: impl Into<Value>) -> Reply {
    let body = json!({ "handshake": handshake.into(), "qid": "a" });
    broker.post("/api/token", headers, body.to_string())
}

#[test]
fn every_error_has_a_sentence_a_code_and_cors_and_tells_no_secret() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let file = format!("/hls/{NOBODY}/index.m3u8");
    let cases = [
        ("GET", "/", 404, "not_found"),
        ("GET", "/nowhere", 404, "not_found"),
        ("POST", "/api/nowhere", 404, "not_found"),
        ("POST", "/api/token/", 404, "not_found"),
        ("GET", "/hls/a/index.m3u8", 404, "not_found"),
        ("GET", &file, 401, "token_missing"),
        ("POST", &file, 405, "method_not_allowed"),
        ("GET", "/api/token", 405, "method_not_allowed"),
        ("PUT", "/api/batch", 405, "method_not_allowed"),
        ("POST", "/api/health", 405, "method_not_allowed"),
        ("GET", "/api/streams/a", 405, "method_not_allowed"),
        ("POST", "/api/token", 422, "bad_request"),
        ("DELETE", "/api/streams/a", 401, "bad_handshake"),
    ];
    for (method, path, status, code) in cases {
        let reply = broker.send(method, path, &[], Some(b"")).expect_error(status, code);
        assert_eq!(reply.header("content-type"), Some("application/json"), "{reply:?}");
        assert_eq!(reply.header("allow").is_some(), status == 405, "{reply:?}");
        assert!(reply.header("content-length").is_some(), "{reply:?}");
        let dir = broker.dir("");
        for secret in [HANDSHAKE, dir.to_str().expect("UTF-8"), &upstream.url()] {
            assert!(!reply.text().contains(secret), "{reply:?}");
        }
    }
}

#[test]
fn errors_of_the_upstream_and_of_ffmpeg_name_no_path_and_no_address() {
    let upstream = upstream();
    upstream.audio("broken", support::Answer::Close);
    let broker = Broker::setup(&upstream).counted_ffmpeg("echo {dir} >&2; exit 1").start();
    let grant = broker.token("a");
    let replies = [broker.ask("broken"), Player::new(&broker, &grant).get("a0-0.m4s").expect(502)];
    let (dir, url) = (broker.dir(""), upstream.url());
    let port = url.rsplit(':').next().expect("a port");
    for reply in replies {
        for secret in [dir.to_str().expect("UTF-8"), port, HANDSHAKE, &grant.token] {
            assert!(!reply.text().contains(secret), "{reply:?}");
        }
    }
}

#[test]
fn the_handshake_comes_in_the_body_or_as_a_bearer_token() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let bearer = format!("Bearer {HANDSHAKE}");
    let bearer = [("authorization", &*bearer)];
    knock(&broker, &[], HANDSHAKE).expect(201);
    knock(&broker, &bearer, Value::Null).expect(201);
    broker.post("/api/token", &bearer, r#"{"qid":"a"}"#).expect(201);
    let rid = broker.token("a").rid;
    broker.post("/api/unlock", &bearer, json!({ "rid": rid }).to_string()).expect(201);
    broker.post("/api/batch", &bearer, r#"{"qids":["a"]}"#).expect(201);
    broker.revoke(&rid).expect(204);
}

#[test]
fn a_wrong_or_missing_handshake_is_refused() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let almost = HANDSHAKE.to_uppercase();
    let longer = format!("{HANDSHAKE} ");
    for wrong in
        [json!(""), json!("wrong"), json!(almost), json!(longer), json!(7), json!([HANDSHAKE])]
    {
        knock(&broker, &[], wrong).expect_error(401, "bad_handshake");
    }
    for headers in [&[][..], &[("authorization", "Bearer wrong")], &[("authorization", HANDSHAKE)]]
    {
        for path in ["/api/token", "/api/batch", "/api/unlock"] {
            broker.post(path, headers, "{}").expect_error(401, "bad_handshake");
        }
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn all_handshakes_of_the_list_are_accepted_and_sighup_reads_it_again() {
    let upstream = upstream();
    let [old, new, next] = ["the-old-handshake-1", "the-new-handshake-2", "the-next-handshake-3"];
    let broker = Broker::setup(&upstream).with("handshake", vec![new, old]).start();
    knock(&broker, &[], old).expect(201);
    knock(&broker, &[], new).expect(201);
    knock(&broker, &[], next).expect_error(401, "bad_handshake");
    broker.configure("handshake", vec![next, new]);
    broker.signal(Signal::SIGHUP);
    broker.wait_log("were read again");
    knock(&broker, &[], old).expect_error(401, "bad_handshake");
    knock(&broker, &[], new).expect(201);
    knock(&broker, &[], next).expect(201);
}

#[test]
fn size_comes_before_syntax_before_handshake_before_shape() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let post = |path: &str, body: &str| broker.post(path, &[], body);
    let large = "{".repeat(64 * 1024 + 1);
    for path in ["/api/token", "/api/batch", "/api/unlock"] {
        post(path, &large).expect_error(413, "too_large");
        for text in ["", "{", "nonsense", r#"{"handshake":}"#, "{} {}", "\u{feff}{}"] {
            post(path, text).expect_error(422, "bad_request");
        }
        for text in ["{}", "[]", "null", "7", r#"{"qid":7,"qids":7,"rid":7}"#] {
            post(path, text).expect_error(401, "bad_handshake");
        }
        let shape = json!({ "handshake": HANDSHAKE }).to_string();
        post(path, &shape).expect_error(422, "bad_request");
    }
    broker.post("/api/token", &[], [0xff, b'{', b'}']).expect_error(422, "bad_request");
}

#[test]
fn a_body_may_have_64_kib_and_not_one_byte_more() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let body = json!({ "handshake": HANDSHAKE, "qid": "a" }).to_string();
    let padded = format!("{body}{}", " ".repeat(64 * 1024 - body.len()));
    broker.post("/api/token", &[], &padded).expect(201);
    broker.post("/api/token", &[], padded + " ").expect_error(413, "too_large");
}

#[test]
fn chunked_bodies_are_fine_within_the_same_bound() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let post = |pieces: &[&[u8]]| {
        let mut wire =
            b"POST /api/token HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for piece in pieces {
            wire.extend([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
        }
        wire.extend(b"0\r\n\r\n");
        let mut connection = Connection::open(broker.address("main")).expect("a connection");
        connection.try_send(wire).ok();
        connection.reply()
    };
    let body = json!({ "handshake": HANDSHAKE, "qid": "a" }).to_string();
    let (head, tail) = body.as_bytes().split_at(20);
    post(&[head, tail]).expect(201);
    post(&body.as_bytes().chunks(1).collect::<Vec<_>>()).expect(201);
    post(&[&[b' '; 8192][..]; 9]).expect_error(413, "too_large");
}

#[test]
fn a_body_that_dribbles_times_out() {
    let upstream = upstream();
    let broker = Broker::setup(&upstream).with("limits.body", "200ms").start();
    let mut connection = Connection::open(broker.address("main")).expect("a connection");
    let head = "POST /api/token HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{";
    connection.send(head).reply().expect_error(408, "request_timeout");
    assert_eq!(connection.rest(), b"");
}

#[test]
fn failures_are_counted_per_address_and_a_correct_handshake_is_never_refused() {
    let upstream = upstream();
    let broker = Broker::setup(&upstream).with("limits.bad_handshakes", 3).start();
    // Anybody can write a header: without trusted proxies these all come from one address.
    for n in 0..3 {
        let address = format!("10.0.0.{n}");
        knock(&broker, &[("x-forwarded-for", &address)], "wrong")
            .expect_error(401, "bad_handshake");
    }
    let other = [("x-forwarded-for", "10.0.0.9")];
    knock(&broker, &other, "wrong").expect_error(429, "too_many_attempts");
    broker.post("/api/unlock", &[], "{}").expect_error(429, "too_many_attempts");
    broker
        .send("DELETE", &format!("/api/streams/{NOBODY}"), &[], None)
        .expect_error(429, "too_many_attempts");
    knock(&broker, &[], HANDSHAKE).expect(201);
    knock(&broker, &[], "wrong").expect_error(429, "too_many_attempts");
}

#[test]
fn behind_a_trusted_proxy_the_forwarded_address_counts() {
    let upstream = upstream();
    let broker = Broker::setup(&upstream)
        .with("limits.bad_handshakes", 1)
        .with("limits.trusted_proxies", vec!["127.0.0.0/8", "10.0.0.0/8"])
        .start();
    let knock =
        |from: &str, handshake: &str| knock(&broker, &[("x-forwarded-for", from)], handshake);
    knock("192.0.2.1", "wrong").expect_error(401, "bad_handshake");
    knock("192.0.2.1", "wrong").expect_error(429, "too_many_attempts");
    knock("192.0.2.2", "wrong").expect_error(401, "bad_handshake");
    // What stands to the left of the last untrusted address is hearsay.
    knock("192.0.2.7, 192.0.2.1, 10.1.1.1", "wrong").expect_error(429, "too_many_attempts");
    knock("192.0.2.1", HANDSHAKE).expect(201);
}

#[test]
fn sighup_reads_limits_again_and_a_bad_file_changes_nothing() {
    let upstream = upstream();
    let broker = Broker::setup(&upstream).with("limits.batch", 2).start();
    let batch = || {
        broker.post_json("/api/batch", &json!({ "handshake": HANDSHAKE, "qids": ["a", "a", "a"] }))
    };
    batch().expect_error(422, "too_many");
    broker.configure("limits.batch", 3);
    broker.signal(Signal::SIGHUP);
    broker.wait_log("were read again");
    batch().expect(201);
    broker.configure("limits.batch", "many");
    broker.signal(Signal::SIGHUP);
    broker.wait_log("the old ones stay");
    batch().expect(201);
}

#[test]
fn health_and_ready() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    for path in ["/api/health", "/api/ready", "/metrics"] {
        broker.get(path, &[]).expect(200);
        assert!(broker.send("HEAD", path, &[], None).expect(200).body.is_empty());
    }
}

#[test]
fn while_draining_nothing_new_is_taken_and_playback_goes_on() {
    let (upstream, gate) = (upstream(), Gate::new());
    upstream.audio("slow", File::new(Clip::noise(Format::Wav, 3.0).bytes()).stall(200_000, &gate));
    let broker = Broker::start(&upstream);
    let (slow, a) = (broker.token("slow"), broker.token("a"));
    let connections = |count| {
        let line = format!("hls_broker_connections {count}\n");
        until(&line, || broker.get("/metrics", &[]).text().contains(&line));
    };
    connections(1);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| Player::new(&broker, &slow).get("a0-1.m4s"));
        connections(2);
        broker.signal(Signal::SIGTERM);
        broker.wait_log("new work is refused");
        let reply = broker.get("/api/ready", &[]).expect_error(503, "busy");
        assert!(reply.text().contains("about to end"), "{reply:?}");
        broker.get("/api/health", &[]).expect(200);
        let refused = broker.ask("a").expect_error(503, "busy");
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
        broker
            .post_json("/api/batch", &json!({ "handshake": HANDSHAKE, "qids": ["a"] }))
            .expect_error(503, "busy");
        Player::new(&broker, &a).get("a0-0.m4s").expect(200);
        gate.open();
        waiting.join().expect("a reply").expect(200);
    });
    assert!(broker.wait().success());
}

#[test]
fn a_full_disk_is_a_reason_not_to_be_ready() {
    let upstream = upstream();
    let broker = Broker::setup(&upstream).with("cache.killsize.static", "10MB").start();
    let stranger = broker.dir("static").join("stranger");
    fs::write(&stranger, vec![0; 9_000_000]).expect("room on the disk");
    until("the watchdog has seen it", || broker.get("/api/ready", &[]).status == 503);
    let reply = broker.get("/api/ready", &[]).expect_error(503, "busy");
    assert!(reply.text().contains("disk"), "{reply:?}");
    let refused = broker.ask("a").expect_error(503, "busy");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    fs::remove_file(stranger).expect("our file");
    until("it has seen it go", || broker.get("/api/ready", &[]).status == 200);
    broker.token("a");
}

#[test]
fn a_missing_ffmpeg_is_a_reason_not_to_be_ready() {
    let upstream = upstream();
    let broker = Broker::setup(&upstream).ffmpeg(r#"exec {real} "$@""#).start();
    broker.get("/api/ready", &[]).expect(200);
    let program = broker.dir("bin/ffmpeg");
    let aside = program.with_extension("away");
    fs::rename(&program, &aside).expect("our program");
    let reply = broker.get("/api/ready", &[]).expect_error(503, "busy");
    assert!(reply.text().contains("ffmpeg"), "{reply:?}");
    fs::rename(&aside, &program).expect("our program");
    broker.get("/api/ready", &[]).expect(200);
}

#[test]
fn what_has_a_listener_of_its_own_is_served_there_and_nowhere_else() {
    let upstream = upstream();
    let broker = Broker::setup(&upstream)
        .with("listen.api", "127.0.0.1:0")
        .with("listen.metrics", "127.0.0.1:0")
        .start();
    let grant = broker.token("a");
    let file = format!("/hls/{}/index.m3u8?token={}", grant.rid, grant.token);
    let main = broker.address("main");
    assert_eq!(grant.url, format!("http://{main}/hls/{}/index.m3u8", grant.rid));
    let routes =
        [("main", &*file), ("api", "/api/health"), ("api", "/api/ready"), ("metrics", "/metrics")];
    for (home, path) in routes {
        for listener in ["main", "api", "metrics"] {
            let reply = support::http::request(broker.address(listener), "GET", path, &[], None);
            let status = if listener == home { 200 } else { 404 };
            assert_eq!(reply.expect("a reply").status, status, "{path} at {listener}");
        }
    }
}

#[test]
fn preflights_need_no_handshake() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let headers = [
        ("origin", "https://app.test"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization, content-type"),
    ];
    for path in ["/api/token", "/api/batch", "/api/unlock"] {
        let reply = broker.send("OPTIONS", path, &headers, None).expect(204);
        let header =
            |name: &str| reply.header(name).unwrap_or_else(|| panic!("no {name}: {reply:?}"));
        assert_eq!(header("access-control-allow-origin"), "*");
        assert_eq!(header("access-control-allow-headers"), "authorization, content-type");
        assert!(header("access-control-allow-methods").contains("POST"));
    }
}

#[test]
fn no_secret_is_logged_even_when_it_comes_where_none_belongs() {
    let upstream = upstream();
    let broker = Broker::setup(&upstream).with("log.level", "trace").start();
    let grant = broker.token("a");
    let mut query = String::new();
    write!(query, "token={}&handshake={HANDSHAKE}", grant.token)
        .expect("a String takes everything");
    for path in ["/nowhere", "/api/token", "/api/health", &format!("/hls/{}/a9.m3u8", grant.rid)] {
        broker.get(&format!("{path}?{query}"), &[("x-request-id", &grant.token)]);
    }
    broker.get(&format!("/{HANDSHAKE}"), &[]).expect_error(404, "not_found");
    // Dropping the broker looks through its log.
}
