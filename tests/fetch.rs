//! How often the upstream is asked, with what, and what is made of changes there.

mod support;

use std::{
    collections::HashSet,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use support::{
    Answer, Broker, Clip, File, Format, Gate, Grant, Player, Upstream, media,
    setup::HANDSHAKE,
    until,
    upstream::Request,
    wire::{counted as setup, lone as upstream, seconds, wav},
};

/// A broker that asks again whether sources have changed after a second, the shortest there is.
fn curious(upstream: &Upstream) -> Broker {
    setup(upstream).with("cache.revalidate", "1s").start()
}

/// Asks for "a" until the upstream has had that many requests for it.
fn token_of_request(broker: &Broker, upstream: &Upstream, hits: usize) -> Grant {
    let mut grant = broker.token("a");
    until("the source is stale", || {
        let is_asked = upstream.hits("/audio/a") >= hits;
        if !is_asked {
            grant = broker.token("a");
        }
        is_asked
    });
    grant
}

#[test]
fn fifty_who_ask_at_once_share_one_fetch_and_one_encode() {
    let (upstream, gate) = (Upstream::start(), Gate::new());
    upstream.audio("a", Answer::late(&gate, wav(4.0))).vtt("a", media::vtt_for(4.0));
    let broker = Broker::setup(&upstream).counted_ffmpeg(r#"exec {real} "$@""#).start();
    let grants: Vec<Grant> = thread::scope(|scope| {
        let asking: Vec<_> = (0..50).map(|_| scope.spawn(|| broker.token("a"))).collect();
        gate.wait_reached();
        gate.open();
        asking.into_iter().map(|grant| grant.join().expect("a grant")).collect()
    });
    let rids: HashSet<_> = grants.iter().map(|grant| &*grant.rid).collect();
    assert_eq!(rids.len(), 50);
    let first: HashSet<_> = grants
        .iter()
        .map(|grant| Player::new(&broker, grant).get("a0-0.m4s").expect(200).body)
        .collect();
    assert_eq!(first.len(), 1);
    Player::new(&broker, &grants[0]).audio();
    assert_eq!(
        (upstream.hits("/audio/a"), upstream.hits("/vtt/a"), broker.ffmpeg_runs()),
        (1, 1, 1)
    );
}

#[test]
fn fifty_who_ask_at_once_share_one_failure() {
    let (upstream, gate) = (Upstream::start(), Gate::new());
    upstream.audio("a", Answer::late(&gate, Answer::Status(500)));
    let broker = setup(&upstream).start();
    thread::scope(|scope| {
        let asking: Vec<_> = (0..50).map(|_| scope.spawn(|| broker.ask("a"))).collect();
        // A failure is told again for 2 s only: who comes later asks anew.
        let misses = r#"hls_broker_source_lookups_total{outcome="miss"}"#;
        until("all have asked", || broker.metric(misses) == Some(50.0));
        gate.open();
        for reply in asking {
            reply.join().expect("a reply").expect_error(502, "upstream_failed");
        }
    });
    assert_eq!(upstream.hits("/audio/a"), 1);
}

#[test]
fn who_leaves_stops_no_fetch() {
    let (upstream, gate) = (Upstream::start(), Gate::new());
    upstream.audio("a", Answer::late(&gate, wav(1.0)));
    let broker = setup(&upstream).start();
    let body = json!({ "handshake": HANDSHAKE, "qid": "a" }).to_string();
    let head = format!(
        "POST /api/token HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut leaver = support::Connection::open(broker.address("main")).expect("a connection");
    leaver.send(head);
    gate.wait_reached();
    drop(leaver);
    gate.open();
    upstream.wait_for("/audio/a", |request| request.over && !request.abandoned);
    broker.token("a");
    assert_eq!(upstream.hits("/audio/a"), 1);
}

#[test]
fn a_failure_is_told_again_for_two_seconds_at_most() {
    let upstream = Upstream::start();
    upstream.at("/audio/a", [Answer::Status(500), wav(1.0).into()]);
    let broker = setup(&upstream).start();
    let began = Instant::now();
    let first = broker.ask("a").expect_error(502, "upstream_failed").json();
    let told = Instant::now();
    let again = broker.ask("a");
    // On a machine that needs a second for this, it may be forgotten already.
    if began.elapsed() < Duration::from_secs(1) {
        assert_eq!(again.expect_error(502, "upstream_failed").json(), first);
        assert_eq!(upstream.hits("/audio/a"), 1);
    }
    until("two seconds are over", || told.elapsed() >= Duration::from_secs(2));
    broker.token("a");
    assert_eq!(upstream.hits("/audio/a"), 2);
}

#[test]
fn an_unchanged_source_is_neither_sent_nor_encoded_again() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    for file in [
        File::new(wav(1.0)).etag("\"7\""),
        File::new(wav(1.0)).etag("").last_modified(date),
        File::new(wav(1.0)).etag("W/\"7\"").last_modified(date),
    ] {
        let upstream = Upstream::start();
        upstream.audio("a", file);
        let broker = curious(&upstream);
        let first = broker.token("a");
        let etag = |grant: &Grant| {
            Player::new(&broker, grant).get("a0-0.m4s").header("etag").map(str::to_owned)
        };
        let before = etag(&first);
        let later = token_of_request(&broker, &upstream, 2);
        assert_eq!(etag(&later), before);
        let conditional = |request: &Request| {
            request.header("if-none-match").is_some()
                || request.header("if-modified-since").is_some()
        };
        let asked: Vec<_> = upstream
            .requests_for("/audio/a")
            .iter()
            .map(|it| (conditional(it), it.sent > 0))
            .collect();
        assert_eq!(asked[..2], [(false, true), (true, false)]);
        assert_eq!(broker.ffmpeg_runs(), 1);
    }
}

#[test]
fn a_changed_source_is_a_new_package_while_old_streams_keep_theirs() {
    let upstream = Upstream::start();
    upstream.audio("a", File::new(wav(4.0)).etag("\"1\""));
    let broker = curious(&upstream);
    let old = broker.token("a");
    let before = Player::new(&broker, &old).audio();
    upstream.audio("a", File::new(wav(2.0)).etag("\"2\""));
    let new = token_of_request(&broker, &upstream, 2);
    assert!((2.0..2.1).contains(&seconds(&Player::new(&broker, &new).audio())));
    let after = Player::new(&broker, &old).audio();
    assert_eq!(after.bytes(), before.bytes());
}

#[test]
fn an_old_stream_keeps_its_package_even_if_it_was_not_encoded_yet() {
    let upstream = Upstream::start();
    let gate = Gate::new();
    let long = wav(10.0);
    upstream.audio("a", File::new(&long).etag("\"1\"").stall(long.len() / 2, &gate));
    let broker = curious(&upstream);
    let old = broker.token("a");
    upstream.audio("a", File::new(wav(2.0)).etag("\"2\""));
    let new = token_of_request(&broker, &upstream, 2);
    gate.open();
    assert!((2.0..2.1).contains(&seconds(&Player::new(&broker, &new).audio())));
    assert!((10.0..10.1).contains(&seconds(&Player::new(&broker, &old).audio())));
}

#[test]
fn changed_captions_are_a_new_package_too() {
    let upstream = Upstream::start();
    upstream.audio("a", wav(2.0)).vtt("a", media::vtt(&[(0.0, 1.0, "before")]));
    let broker = Broker::setup(&upstream).with("cache.revalidate", "1s").start();
    let old = broker.token("a");
    upstream.vtt("a", media::vtt(&[(0.0, 1.0, "after")]));
    let new = token_of_request(&broker, &upstream, 2);
    let text = |grant| Player::new(&broker, grant).captions().text(0).to_owned();
    assert!(text(&new).contains("after") && text(&old).contains("before"));
}

#[test]
fn without_validators_the_length_tells_versions_apart() {
    let upstream = Upstream::start();
    upstream.audio("a", File::new(wav(1.0)).etag(""));
    let broker = curious(&upstream);
    Player::new(&broker, &broker.token("a")).audio();
    token_of_request(&broker, &upstream, 2);
    assert_eq!(broker.ffmpeg_runs(), 1, "the same length is the same source");
    upstream.audio("a", File::new(wav(2.0)).etag(""));
    let hits = upstream.hits("/audio/a");
    let new = token_of_request(&broker, &upstream, hits + 1);
    assert!((2.0..2.1).contains(&seconds(&Player::new(&broker, &new).audio())));
}

#[test]
fn without_anything_to_tell_versions_apart_each_fetch_is_one() {
    let upstream = Upstream::start();
    upstream.audio("a", File::new(Clip::noise(Format::OggVorbis, 1.0).bytes()).etag("").chunked());
    let broker = curious(&upstream);
    let old = broker.token("a");
    let new = token_of_request(&broker, &upstream, 2);
    for grant in [old, new] {
        assert!(seconds(&Player::new(&broker, &grant).audio()) >= 1.0);
    }
}

#[test]
fn a_known_source_is_played_on_while_the_upstream_is_down() {
    let upstream = upstream();
    let broker = curious(&upstream);
    broker.token("a");
    upstream.set_down(true);
    broker.wait_log("listening");
    until("the upstream was asked in vain", || {
        broker.token("a");
        !broker.logged("cannot say whether a source changed").is_empty()
    });
    broker.token("a");
    broker.ask("b").expect_error(502, "upstream_failed");
    upstream.set_down(false);
    // Gone is not down.
    upstream.audio("a", Answer::Status(410));
    until("the upstream is asked again", || broker.ask("a").status == 404);
}

#[test]
fn every_request_has_the_configured_headers_and_little_else() {
    let upstream = upstream();
    upstream.vtt("a", media::vtt_for(2.0));
    let headers: serde_yaml::Value =
        serde_yaml::from_str("{x-api-key: key-of-the-tests-77aa, authorization: Bearer up-77bb}")
            .expect("YAML");
    let broker = Broker::setup(&upstream).with("upstream.headers", headers).start();
    broker.keep_secret("key-of-the-tests-77aa");
    broker.keep_secret("up-77bb");
    broker.token("a");
    let requests = upstream.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!((&*request.method, &*request.query), ("GET", "batch=true"));
        assert_eq!(request.header("x-api-key"), Some("key-of-the-tests-77aa"));
        assert_eq!(request.header("authorization"), Some("Bearer up-77bb"));
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        assert!(request.header("user-agent").is_some_and(|agent| agent.starts_with("hls-broker/")));
        assert!(request.header("referer").is_none() && request.header("cookie").is_none());
        assert!(!request.headers.iter().any(|(_, value)| value.contains(HANDSHAKE)));
    }
}

#[test]
fn redirects_are_followed_as_often_as_allowed() {
    let upstream = upstream();
    upstream.audio("one", Answer::Redirect(format!("{}/audio/a", upstream.url())));
    upstream.audio("two", Answer::Redirect("/audio/one".to_owned()));
    upstream.audio("round", Answer::Redirect("/audio/round".to_owned()));
    upstream.audio("file", Answer::Redirect("file:///etc/passwd".to_owned()));
    let broker = setup(&upstream).with("upstream.redirects", 1).start();
    broker.token("one");
    for qid in ["two", "round", "file"] {
        broker.ask(qid).expect_error(502, "upstream_failed");
    }
}

#[test]
fn an_answer_that_is_compressed_unasked_is_not_unpacked() {
    let upstream = upstream();
    upstream.audio("zip", File::new(wav(1.0)).gzip());
    upstream.audio("bomb", File::new(vec![0; 50_000_000]).gzip());
    let broker = setup(&upstream).start();
    for qid in ["zip", "bomb"] {
        broker.ask(qid).expect_error(502, "upstream_failed");
    }
}

#[test]
fn giant_headers_are_refused() {
    let upstream = upstream();
    upstream.audio("bomb", Answer::huge_header(2_000_000));
    let many = "x: y\r\n".repeat(100_000);
    upstream.audio("many", Answer::Raw(format!("HTTP/1.1 200 OK\r\n{many}\r\n").into()));
    let broker = setup(&upstream).start();
    for qid in ["bomb", "many"] {
        broker.ask(qid).expect_error(502, "upstream_failed");
    }
    broker.token("a");
}
