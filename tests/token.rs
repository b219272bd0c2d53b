//! `POST /api/token`: what comes back, how long it lives, how a media id goes upstream.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{
    Broker, Clip, Format, Player, Reply, Upstream,
    setup::HANDSHAKE,
    token::{self, claims, end, expires_at, second_in},
};
use uuid::{Uuid, Version};

/// An upstream that has this id.
fn upstream(id: &str) -> Upstream {
    let upstream = Upstream::start();
    upstream.audio(id, Clip::noise(Format::Wav, 1.0).bytes());
    upstream
}

fn ask(broker: &Broker, headers: &[(&str, &str)], qid: impl Into<Value>) -> Reply {
    let body = json!({ "handshake": HANDSHAKE, "qid": qid.into() });
    broker.post("/api/token", headers, body.to_string())
}

#[test]
fn the_answer_has_all_its_fields() {
    let upstream = upstream("a");
    let broker = token::setup(&upstream).without("url.vtt").start();
    let json = broker.token("a").json;
    let rid: Uuid = json["rid"].as_str().expect("a rid").parse().expect("a UUID");
    assert_eq!(rid.get_version(), Some(Version::Random));
    assert_eq!(claims(json["token"].as_str().expect("a token"))["sub"], json["rid"]);
    assert_eq!(json["url"], format!("{}/hls/{rid}/index.m3u8", broker.url()));
    assert_eq!(json["warnings"], json!([]));
    assert!(json["expires_in"].is_u64() && json["expires_at"].is_string(), "{json}");
}

#[test]
fn a_token_lives_for_the_expiry_to_the_next_whole_second() {
    let upstream = upstream("a");
    let broker = token::setup(&upstream).with("cache.expiry", "2m30s").start();
    let life = Duration::from_secs(150);
    let earliest = second_in(life);
    let grant = broker.token("a");
    let latest = second_in(life);
    assert!((earliest..=latest).contains(&end(&grant.token)), "{}", grant.json);
    assert_eq!(expires_at(&grant.json), end(&grant.token));
    let left = grant.json["expires_in"].as_u64().expect("seconds");
    assert!((140..=151).contains(&left), "{left}");
}

#[test]
fn every_post_makes_a_stream_of_its_own_from_one_fetch() {
    let upstream = upstream("a");
    let broker = Broker::start(&upstream);
    let (one, two) = (broker.token("a"), broker.token("a"));
    assert_ne!((&one.rid, &one.token), (&two.rid, &two.token));
    Player::new(&broker, &one).get("index.m3u8").expect(200);
    Player::new(&broker, &two).get("index.m3u8").expect(200);
    assert_eq!((upstream.hits("/audio/a"), upstream.hits("/vtt/a")), (1, 1));
}

#[test]
fn the_content_type_does_not_matter() {
    let upstream = upstream("a");
    let broker = Broker::start(&upstream);
    ask(&broker, &[], "a").expect(201);
    ask(&broker, &[("content-type", "text/plain")], "a").expect(201);
}

#[test]
fn an_id_goes_upstream_as_one_percent_encoded_segment() {
    let upstream = Upstream::start();
    let broker = Broker::start(&upstream);
    let long = "x".repeat(512);
    let cases = [
        ("7f3a", "7f3a"),
        ("a b", "a%20b"),
        ("a/b", "a%2Fb"),
        ("../../etc/passwd", "..%2F..%2Fetc%2Fpasswd"),
        ("...", "..."),
        (".a", ".a"),
        ("a?x=1&y#z", "a%3Fx%3D1%26y%23z"),
        ("%2e%2e", "%252e%252e"),
        ("a+b;c:d@e", "a%2Bb%3Bc%3Ad%40e"),
        ("\\..\\", "%5C..%5C"),
        ("\u{e9}\u{6f22}", "%C3%A9%E6%BC%A2"),
        ("-._~", "-._~"),
        (&long, &long),
    ];
    for (qid, segment) in cases {
        broker.ask(qid).expect_error(404, "media_not_found");
        for route in ["audio", "vtt"] {
            let target = format!("/{route}/{segment}?batch=true");
            let is_it = |request: &support::upstream::Request| request.target == target;
            assert!(upstream.requests().iter().any(is_it), "{target}: {:#?}", upstream.requests());
        }
    }
}

#[test]
fn an_id_that_must_not_go_upstream_is_refused_and_nothing_is_fetched() {
    let upstream = Upstream::start();
    let broker = Broker::start(&upstream);
    let (long, wide) = ("x".repeat(513), "\u{e9}".repeat(257));
    for qid in ["", ".", "..", "a\nb", "\0", "\t", "\u{7f}", "a\u{85}", &long, &wide] {
        broker.ask(qid).expect_error(422, "bad_qid");
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn an_id_that_is_no_string_is_a_bad_request_that_names_the_field() {
    let upstream = Upstream::start();
    let broker = Broker::start(&upstream);
    for qid in [Value::Null, json!(7), json!(true), json!(["a"]), json!({ "id": "a" })] {
        let json = ask(&broker, &[], qid).expect_error(422, "bad_request").json();
        assert!(json["error"].as_str().is_some_and(|text| text.contains("qid")), "{json}");
    }
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn templates_are_filled_in_and_nothing_is_appended() {
    let upstream = Upstream::start();
    upstream.at("/media/a b/sound.wav", [Clip::noise(Format::Wav, 1.0).bytes().into()]);
    let broker = Broker::setup(&upstream)
        .with("url.audio", format!("{}/media/{{id}}/sound.wav", upstream.url()))
        .with("url.vtt", format!("{}/get?of={{id}}&kind=vtt", upstream.url()))
        .start();
    broker.token("a b");
    let mut targets: Vec<_> =
        upstream.requests().into_iter().map(|request| request.target).collect();
    targets.sort();
    assert_eq!(targets, ["/get?of=a%20b&kind=vtt", "/media/a%20b/sound.wav"]);
}

#[test]
fn a_prefix_may_end_in_a_slash() {
    let upstream = upstream("a");
    let prefix = format!("{}/audio/", upstream.url());
    let broker = Broker::setup(&upstream).with("url.audio", prefix).without("url.vtt").start();
    broker.token("a");
    assert_eq!(upstream.requests()[0].target, "/audio/a?batch=true");
}

#[test]
fn the_url_is_made_of_the_public_url() {
    let upstream = upstream("a");
    for public in
        ["https://hls.example.org", "https://hls.example.org/", "https://example.org/radio/"]
    {
        let broker = Broker::setup(&upstream).with("public_url", public).start();
        let grant = broker.token("a");
        let base = public.trim_end_matches('/');
        assert_eq!(grant.url, format!("{base}/hls/{}/index.m3u8", grant.rid));
    }
}

#[test]
fn without_a_public_url_it_is_made_of_the_requests_host() {
    let upstream = upstream("a");
    let broker = Broker::start(&upstream);
    let address = broker.address("main");
    let url = |headers: &str| {
        let body = json!({ "handshake": HANDSHAKE, "qid": "a" }).to_string();
        let head =
            format!("POST /api/token HTTP/1.1\r\n{headers}content-length: {}\r\n\r\n", body.len());
        let mut connection = support::Connection::open(address).expect("a connection");
        let json = connection.send(head + &body).reply().expect(201).json();
        let rid = json["rid"].as_str().expect("a rid").to_owned();
        json["url"].as_str().expect("a url").replace(&rid, "<rid>")
    };
    assert_eq!(url("host: radio.test:7000\r\n"), "http://radio.test:7000/hls/<rid>/index.m3u8");
    let forwarded = "host: radio.test\r\nx-forwarded-proto: https\r\n";
    assert_eq!(url(forwarded), "http://radio.test/hls/<rid>/index.m3u8");
}

#[test]
fn a_trusted_proxy_says_which_scheme_the_request_came_by() {
    let upstream = upstream("a");
    let broker =
        Broker::setup(&upstream).with("limits.trusted_proxies", vec!["127.0.0.0/8"]).start();
    for (proto, scheme) in [("https", "https://"), ("http", "http://")] {
        let json = ask(&broker, &[("x-forwarded-proto", proto)], "a").expect(201).json();
        assert!(json["url"].as_str().is_some_and(|url| url.starts_with(scheme)), "{json}");
    }
}
