//! `POST /api/unlock` and `DELETE /api/streams/<rid>`: new tokens for old streams, longer lives, early ends.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{
    Broker, Clip, Format, Grant, Player, Reply, Upstream,
    setup::HANDSHAKE,
    token::{self, FUTURE, claims, end, expires_at, mint, second_in},
    until,
};

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

fn upstream() -> Upstream {
    let upstream = Upstream::start();
    upstream.audio("a", Clip::noise(Format::Wav, 1.0).bytes());
    upstream
}

fn unlock(broker: &Broker, rid: impl Into<Value>) -> Reply {
    broker.post_json("/api/unlock", &json!({ "handshake": HANDSHAKE, "rid": rid.into() }))
}

/// Seconds that a stream has left, as the Cache-Control of a segment says for a token that outlives it.
fn left(broker: &Broker, rid: &str) -> i64 {
    let headers = [("x-gostreamer-token", &*mint(rid, FUTURE))];
    let reply = broker.get(&format!("/hls/{rid}/a0-0.m4s"), &headers).expect(200);
    let (_, age) =
        reply.header("cache-control").and_then(|it| it.split_once("max-age=")).expect("an age");
    age.parse().expect("seconds")
}

#[test]
fn the_answer_has_all_its_fields() {
    let upstream = upstream();
    let broker = token::setup(&upstream).start();
    let rid = broker.token("a").rid;
    let earliest = second_in(Duration::from_secs(150));
    let Grant { token, url, json, .. } = broker.unlock(&rid);
    assert!((earliest..=earliest + 30).contains(&end(&token)), "{json}");
    assert_eq!((claims(&token)["sub"].as_str(), expires_at(&json)), (Some(&*rid), end(&token)));
    assert_eq!(url, format!("{}/hls/{rid}/index.m3u8", broker.url()));
    assert!(json["expires_in"].as_u64().is_some_and(|left| (120..=151).contains(&left)), "{json}");
}

#[test]
fn a_new_token_leaves_earlier_ones_valid() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let rid = broker.batch(&["a"], "5m").rids.remove(0);
    for token in [broker.unlock(&rid), broker.unlock(&rid), broker.unlock(&rid)] {
        Player::new(&broker, &token).get("index.m3u8").expect(200);
    }
}

#[test]
fn unlocking_a_stream_of_its_own_renews_it() {
    let upstream = upstream();
    let broker = token::setup(&upstream).with("cache.expiry", "1m").start();
    let rid = broker.token("a").rid;
    assert!((30..=61).contains(&left(&broker, &rid)));
    broker.configure("cache.expiry", "10m");
    broker.restart();
    assert!((0..=61).contains(&left(&broker, &rid)), "a restart renews nothing");
    let grant = broker.unlock(&rid);
    assert!((570..=601).contains(&left(&broker, &rid)));
    assert!(grant.json["expires_in"].as_u64().is_some_and(|left| (570..=601).contains(&left)));
    broker.restart();
    assert!((540..=601).contains(&left(&broker, &rid)), "renewals survive a restart");
}

#[test]
fn unlocking_a_batchs_stream_does_not() {
    let upstream = upstream();
    let broker = token::setup(&upstream).with("cache.expiry", "10m").start();
    let batch = broker.batch(&["a"], "1m");
    let grant = broker.unlock(&batch.rids[0]);
    assert_eq!(end(&grant.token), expires_at(&batch.json), "what the batch has left");
    assert!((0..=61).contains(&left(&broker, &batch.rids[0])));
}

#[test]
fn a_token_of_a_long_batch_lives_for_the_expiry() {
    let upstream = upstream();
    let broker = token::setup(&upstream).with("cache.expiry", "1m").start();
    let batch = broker.batch(&["a"], "1h");
    let grant = broker.unlock(&batch.rids[0]);
    let latest = second_in(Duration::from_mins(1));
    assert!((latest - 30..=latest).contains(&end(&grant.token)), "{}", grant.json);
    assert!(left(&broker, &batch.rids[0]) > 3500);
}

#[test]
fn an_unlocked_stream_of_an_ended_batch_is_gone() {
    let upstream = upstream();
    let broker = token::setup(&upstream).start();
    let rid = broker.batch(&["a"], "1s").rids.remove(0);
    until("the batch ends", || unlock(&broker, &*rid).status != 201);
    unlock(&broker, &*rid).expect_error(410, "stream_gone");
    let file = format!("/hls/{rid}/index.m3u8");
    let token = mint(&rid, FUTURE);
    broker.get(&file, &[("x-gostreamer-token", &token)]).expect_error(410, "stream_gone");
}

#[test]
fn unknown_streams_are_gone() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    for rid in [NOBODY, "", "a", "../../etc/passwd", &"x".repeat(1000)] {
        unlock(&broker, rid).expect_error(410, "stream_gone");
    }
}

#[test]
fn a_rid_that_is_no_string_is_a_bad_request_that_names_the_field() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    for rid in [Value::Null, json!(7), json!([NOBODY])] {
        let json = unlock(&broker, rid).expect_error(422, "bad_request").json();
        assert!(json["error"].as_str().is_some_and(|text| text.contains("rid")), "{json}");
    }
}

#[test]
fn a_deleted_stream_refuses_all_its_tokens_and_no_other_streams() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let (gone, other) = (broker.token("a"), broker.token("a"));
    let again = broker.unlock(&gone.rid);
    let reply = broker.revoke(&gone.rid).expect(204);
    assert!(reply.body.is_empty());
    for token in [&gone, &again] {
        for file in ["index.m3u8", "a0.m3u8", "a0-init.mp4", "a0-0.m4s"] {
            Player::new(&broker, token).get(file).expect_error(410, "stream_gone");
        }
    }
    unlock(&broker, &*gone.rid).expect_error(410, "stream_gone");
    Player::new(&broker, &other).get("a0-0.m4s").expect(200);
    broker.restart();
    Player::new(&broker, &gone).get("index.m3u8").expect_error(410, "stream_gone");
    Player::new(&broker, &other).get("index.m3u8").expect(200);
}

#[test]
fn a_stream_of_a_batch_can_be_deleted_too() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let batch = broker.batch(&["a", "a"], "5m");
    broker.revoke(&batch.rids[0]).expect(204);
    unlock(&broker, &*batch.rids[0]).expect_error(410, "stream_gone");
    broker.unlock(&batch.rids[1]);
}

#[test]
fn deleting_what_is_not_there_is_done_already() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let rid = broker.token("a").rid;
    for rid in [&*rid, &*rid, NOBODY, "a"] {
        broker.revoke(rid).expect(204);
    }
}

#[test]
fn deleting_takes_the_handshake() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let grant = broker.token("a");
    let path = format!("/api/streams/{}", grant.rid);
    broker.send("DELETE", &path, &[], None).expect_error(401, "bad_handshake");
    let token = format!("Bearer {}", grant.token);
    broker
        .send("DELETE", &path, &[("authorization", &token)], None)
        .expect_error(401, "bad_handshake");
    Player::new(&broker, &grant).get("index.m3u8").expect(200);
}
