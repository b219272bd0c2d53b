//! `POST /api/batch`: many streams with one end.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{
    Answer, Broker, Clip, File, Format, Gate, Player, Reply, Upstream,
    setup::HANDSHAKE,
    token::{expires_at, second_in},
};
use uuid::{Uuid, Version};

/// An upstream that has these ids.
fn upstream(ids: &[&str]) -> Upstream {
    let upstream = Upstream::start();
    for id in ids {
        upstream.audio(id, Clip::noise(Format::Wav, 1.0).bytes());
    }
    upstream
}

/// Posts a batch of these fields, and the handshake.
fn post(broker: &Broker, mut body: Value) -> Reply {
    body["handshake"] = HANDSHAKE.into();
    broker.post_json("/api/batch", &body)
}

fn column<'a>(json: &'a Value, list: &str, field: &str) -> Vec<&'a str> {
    let items = json[list].as_array().expect("a list").iter();
    items.map(|item| item[field].as_str().expect("a text")).collect()
}

#[test]
fn the_answer_has_a_stream_for_each_id_in_the_order_asked() {
    let upstream = upstream(&["a", "b", "c"]);
    let broker = Broker::start(&upstream);
    let json = broker.batch(&["c", "a", "b", "a"], "5m").json;
    let id: Uuid = json["batchid"].as_str().expect("an id").parse().expect("a UUID");
    assert_eq!(id.get_version(), Some(Version::Random));
    assert_eq!(column(&json, "streams", "qid"), ["c", "a", "b", "a"]);
    let mut rids = column(&json, "streams", "rid");
    rids.sort_unstable();
    rids.dedup();
    assert_eq!(rids.len(), 4, "repeated ids get a rid each");
    assert_eq!(json["errors"], json!([]));
    assert_eq!(upstream.hits("/audio/a"), 1);
}

#[test]
fn a_stream_of_a_batch_plays_once_it_is_unlocked() {
    let upstream = upstream(&["a"]);
    let broker = Broker::start(&upstream);
    let rid = broker.batch(&["a"], "5m").rids.remove(0);
    broker.get(&format!("/hls/{rid}/index.m3u8"), &[]).expect_error(401, "token_missing");
    let heard = Player::new(&broker, &broker.unlock(&rid)).audio().pcm();
    assert!((1.0..1.1).contains(&heard.seconds()), "{}", heard.seconds());
}

#[test]
fn expiry_is_a_duration_of_go_or_of_humantime() {
    let upstream = upstream(&["a"]);
    let broker = Broker::start(&upstream);
    let cases = [
        (json!("5m30s"), 330),
        (json!("1m30s"), 90),
        (json!("1.5h"), 5400),
        (json!("90000ms"), 90),
        (json!("2days 4h"), 187_200),
        (json!("1h 30min"), 5400),
        (json!("300 seconds"), 300),
        (Value::Null, 1800),
    ];
    for (expiry, seconds) in cases {
        let life = Duration::from_secs(seconds);
        let earliest = second_in(life);
        let json = post(&broker, json!({ "qids": ["a"], "expiry": expiry })).expect(201).json();
        assert!((earliest..=second_in(life)).contains(&expires_at(&json)), "{expiry}: {json}");
    }
    let earliest = second_in(Duration::from_mins(30));
    let json = post(&broker, json!({ "qids": ["a"] })).expect(201).json();
    assert!((earliest..=earliest + 30).contains(&expires_at(&json)), "{json}");
}

#[test]
fn an_expiry_that_cannot_be_read_is_a_bad_request_that_names_it() {
    let upstream = upstream(&["a"]);
    let broker = Broker::start(&upstream);
    let texts = ["", "5", "soon", "-5m", "0s", "5m30", "1e3s", "5 parsecs"].map(Value::from);
    for expiry in texts.into_iter().chain([json!(330), json!(["5m"])]) {
        let reply = post(&broker, json!({ "qids": ["a"], "expiry": expiry }));
        let json = reply.expect_error(422, "bad_request").json();
        assert!(json["error"].as_str().is_some_and(|text| text.contains("expiry")), "{json}");
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn what_failed_is_told_beside_what_did_not() {
    let upstream = upstream(&["a", "b"]);
    upstream.audio("page", Answer::html()).audio("broken", Answer::Status(500));
    let broker = Broker::start(&upstream);
    let qids = ["page", "a", "missing", "b", "broken"];
    let json = broker.batch(&qids, "5m").json;
    assert_eq!(column(&json, "streams", "qid"), ["a", "b"]);
    assert_eq!(column(&json, "errors", "qid"), ["page", "missing", "broken"]);
    let codes = ["unsupported_media", "media_not_found", "upstream_failed"];
    assert_eq!(column(&json, "errors", "code"), codes);
    assert!(column(&json, "errors", "error").iter().all(|text| !text.is_empty()), "{json}");
}

#[test]
fn one_failure_fails_a_strict_batch() {
    let upstream = upstream(&["a"]);
    let broker = Broker::start(&upstream);
    let strict = |qids: Value| post(&broker, json!({ "qids": qids, "strict": true }));
    let json = strict(json!(["a", "missing"])).expect_error(502, "batch_failed").json();
    assert_eq!(column(&json, "errors", "qid"), ["missing"]);
    assert_eq!(column(&json, "errors", "code"), ["media_not_found"]);
    strict(json!(["a"])).expect(201);
    post(&broker, json!({ "qids": ["a", "missing"], "strict": false })).expect(201);
    let json = post(&broker, json!({ "qids": ["a"], "strict": "yes" }))
        .expect_error(422, "bad_request")
        .json();
    assert!(json["error"].as_str().is_some_and(|text| text.contains("strict")), "{json}");
}

#[test]
fn a_batch_of_failures_fails() {
    let upstream = Upstream::start();
    let broker = Broker::start(&upstream);
    let json =
        post(&broker, json!({ "qids": ["a", "b"] })).expect_error(502, "batch_failed").json();
    assert_eq!(column(&json, "errors", "qid"), ["a", "b"]);
    assert_eq!(column(&json, "errors", "code"), ["media_not_found"; 2]);
}

#[test]
fn a_malformed_batch_is_refused_as_a_whole_and_nothing_is_fetched() {
    let upstream = upstream(&["a"]);
    let broker = Broker::start(&upstream);
    let cases = [
        (json!([]), "bad_request"),
        (Value::Null, "bad_request"),
        (json!("a"), "bad_request"),
        (json!({ "a": "b" }), "bad_request"),
        (json!(["a", 7]), "bad_request"),
        (json!(["a", null]), "bad_request"),
        (json!(["a", ".."]), "bad_qid"),
        (json!(["a", ""]), "bad_qid"),
        (json!(["a", "b\u{0}"]), "bad_qid"),
        (json!(["a", "x".repeat(513)]), "bad_qid"),
        (json!(vec!["a"; 257]), "too_many"),
    ];
    for (qids, code) in cases {
        let json = post(&broker, json!({ "qids": qids })).expect_error(422, code).json();
        assert!(json["error"].as_str().is_some_and(|text| text.contains("qids")), "{json}");
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn as_many_ids_as_allowed_are_taken() {
    let upstream = upstream(&["a"]);
    let broker = Broker::start(&upstream);
    assert_eq!(broker.batch(&["a"; 256], "5m").rids.len(), 256);
    assert_eq!(upstream.hits("/audio/a"), 1);
}

#[test]
fn more_sources_than_the_cache_may_hold_are_refused_at_once() {
    let upstream = upstream(&["a", "b", "c"]);
    let broker = Broker::setup(&upstream).with("cache.limit", 2).start();
    let json = post(&broker, json!({ "qids": ["a", "b", "c"] })).expect_error(503, "busy").json();
    assert!(json["error"].as_str().is_some_and(|text| text.contains("cache.limit")), "{json}");
    assert_eq!(upstream.requests().len(), 0);
    broker.batch(&["a", "b", "a", "b"], "5m");
}

#[test]
fn more_segments_than_the_disk_may_hold_are_refused_at_once() {
    let upstream = Upstream::start();
    for id in ["a", "b", "c"] {
        upstream.audio(id, Clip::silence(Format::Flac, 60.0).bytes());
    }
    // A minute is about a megabyte.
    let broker = Broker::setup(&upstream).with("cache.killsize.static", "2MB").start();
    let reply = post(&broker, json!({ "qids": ["a", "b", "c"] })).expect_error(503, "busy");
    assert!(reply.header("retry-after").is_some(), "{reply:?}");
    assert!(
        reply.json()["error"].as_str().is_some_and(|text| text.contains("killsize")),
        "{reply:?}"
    );
    broker.token("a");
}

#[test]
fn a_batch_answers_when_everything_is_fetched() {
    let (upstream, gate) = (upstream(&["a"]), Gate::new());
    let wav = Clip::noise(Format::Wav, 2.0).bytes();
    upstream.audio("slow", File::new(&wav).stall(100_000, &gate));
    upstream.audio("cut", File::new(&wav).stall(100_000, &gate).cut(200_000));
    let broker = Broker::start(&upstream);
    std::thread::scope(|scope| {
        let batch = scope.spawn(|| broker.batch(&["a", "slow", "cut"], "5m").json);
        gate.wait_reached();
        // The broker has time to answer somebody else, and does not answer this.
        broker.token("a");
        assert!(!batch.is_finished());
        gate.open();
        let json = batch.join().expect("a batch");
        assert_eq!(column(&json, "streams", "qid"), ["a", "slow"]);
        assert_eq!(column(&json, "errors", "code"), ["upstream_failed"]);
    });
}

#[test]
fn a_batch_is_encoded_before_anybody_unlocks_it() {
    let upstream = upstream(&["a", "b"]);
    let broker = Broker::start(&upstream);
    broker.batch(&["a", "b"], "5m");
    let segments =
        || broker.files("static").iter().filter(|file| file.ends_with("a0-0.m4s")).count();
    support::until("both are encoded", || segments() == 2);
}
