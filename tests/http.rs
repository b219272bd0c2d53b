//! HTTP as players speak it: HEAD, parts, validators, caching, compression, CORS, methods, bounds.

mod support;

use std::io::Read;

use flate2::read::GzDecoder;
use support::{
    Broker, Clip, Connection, Format, Grant, Player, Reply,
    http::Headers,
    token::{self, FUTURE, mint},
    until,
    wire::{get, header, upstream},
};

#[test]
fn the_stream_itself_leads_to_its_index() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let Grant { rid, token, .. } = broker.token("a");
    let cases = [
        (format!("/hls/{rid}"), format!("{rid}/index.m3u8")),
        (format!("/hls/{rid}/"), "index.m3u8".to_owned()),
        (format!("/hls/{rid}?token={token}"), format!("{rid}/index.m3u8?token={token}")),
        (format!("/hls/{rid}/?container=ts&token=x"), "index.m3u8?container=ts&token=x".to_owned()),
    ];
    for (path, location) in cases {
        for method in ["GET", "HEAD"] {
            let reply = broker.send(method, &path, &[], None).expect(308);
            assert_eq!(header(&reply, "location"), location);
            assert_eq!(header(&reply, "access-control-allow-origin"), "*");
        }
    }
    broker.get("/hls/", &[]).expect_error(404, "not_found");
    broker.get("/hls/a/", &[]).expect_error(404, "not_found");
}

#[test]
fn head_is_get_without_a_body() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let player = Player::new(&broker, &broker.token("a"));
    for file in
        ["index.m3u8", "a0.m3u8", "a0-init.mp4", "a0-0.m4s", "a0-0.aac", "a0-0.ts", "s0-0.vtt"]
    {
        let told = |reply: Reply| {
            let varying = ["date", "x-request-id", "cache-control"];
            let mut headers = reply.expect(200).headers;
            headers.retain(|(name, _)| !varying.contains(&&**name));
            headers
        };
        assert_eq!(told(player.send("HEAD", file, &[])), told(player.get(file)), "{file}");
    }
}

#[test]
fn parts_of_a_file() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let player = Player::new(&broker, &broker.token("a"));
    for file in ["a0-0.m4s", "a0-init.mp4", "a0-0.aac", "a0-0.ts", "a0.m3u8", "s0-0.vtt"] {
        let whole = player.get(file).expect(200).body;
        let size = whole.len();
        let cases = [
            ("bytes=0-9".to_owned(), 0..10),
            ("bytes=5-".to_owned(), 5..size),
            ("bytes=-7".to_owned(), size - 7..size),
            (format!("bytes=0-{}", size * 2), 0..size),
            (format!("bytes=-{}", size * 2), 0..size),
            (format!("bytes={}-{}", size - 1, size - 1), size - 1..size),
        ];
        for (range, part) in cases {
            let reply = player.send("GET", file, &[("range", &range)]).expect(206);
            let expected = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            assert_eq!(header(&reply, "content-range"), expected, "{file} {range}");
            assert_eq!(reply.body, whole[part], "{file} {range}");
        }
        for range in [
            format!("bytes={size}-"),
            format!("bytes={}-{}", size + 5, size + 9),
            "bytes=-0".to_owned(),
        ] {
            let reply = player
                .send("GET", file, &[("range", &range)])
                .expect_error(416, "range_not_satisfiable");
            assert_eq!(header(&reply, "content-range"), format!("bytes */{size}"));
        }
        // Several ranges and nonsense are as good as none.
        for range in ["bytes=0-1,4-5", "bytes=5-2", "lines=0-1", "bytes=a-b", "bytes"] {
            assert_eq!(
                player.send("GET", file, &[("range", range)]).expect(200).body,
                whole,
                "{range}"
            );
        }
    }
}

#[test]
fn a_part_is_only_of_the_file_that_if_range_names() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let player = Player::new(&broker, &broker.token("a"));
    let etag = header(&player.get("a0-0.m4s"), "etag").to_owned();
    let ask = |condition: &str| {
        player.send("GET", "a0-0.m4s", &[("range", "bytes=0-9"), ("if-range", condition)])
    };
    ask(&etag).expect(206);
    ask("\"another\"").expect(200);
    ask(&format!("W/{etag}")).expect(200);
    ask("Sun, 06 Nov 1994 08:49:37 GMT").expect(200);
}

#[test]
fn an_etag_is_of_the_content_and_spares_a_body() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let (one, two) = (broker.token("a"), broker.token("a"));
    let (one, two) = (Player::new(&broker, &one), Player::new(&broker, &two));
    let mut etags = Vec::new();
    for file in [
        "index.m3u8",
        "a0.m3u8",
        "a0-init.mp4",
        "a0-0.m4s",
        "a0-1.m4s",
        "a0-0.aac",
        "a0-0.ts",
        "s0-0.vtt",
    ] {
        let reply = one.get(file).expect(200);
        let etag = header(&reply, "etag").to_owned();
        assert_eq!(header(&two.get(file), "etag"), etag, "the same bytes in another stream");
        for tags in [etag.clone(), format!("\"x\", {etag}"), format!("W/{etag}"), "*".to_owned()] {
            for method in ["GET", "HEAD"] {
                let unchanged = one.send(method, file, &[("if-none-match", &tags)]).expect(304);
                assert_eq!(header(&unchanged, "etag"), etag);
                assert!(unchanged.header("cache-control").is_some() && unchanged.body.is_empty());
            }
        }
        one.send("GET", file, &[("if-none-match", "\"x\"")]).expect(200);
        etags.push(etag);
    }
    etags.sort();
    etags.dedup();
    assert_eq!(etags.len(), 8);
}

#[test]
fn segments_may_be_kept_for_as_long_as_token_and_stream_last() {
    let upstream = upstream();
    let broker = token::setup(&upstream).with("cache.expiry", "10m").start();
    let Grant { rid, token, .. } = broker.token("a");
    let minute = mint(&rid, token::second_in(std::time::Duration::from_mins(1)));
    for (token, longest) in [(&token, 601), (&minute, 61), (&mint(&rid, FUTURE), 601)] {
        for file in ["a0-init.mp4", "a0-0.m4s", "a0-0.aac", "a0-0.ts", "s0-0.vtt"] {
            let reply = get(&broker, &rid, file, &[("x-gostreamer-token", token)]).expect(200);
            let age = header(&reply, "cache-control").strip_prefix("private, immutable, max-age=");
            let age: u64 =
                age.and_then(|age| age.parse().ok()).unwrap_or_else(|| panic!("{reply:?}"));
            assert!((longest - 40..=longest).contains(&age), "{age} of {longest}");
        }
        for file in ["index.m3u8", "a0.m3u8", "s0.m3u8"] {
            let reply = get(&broker, &rid, file, &[("x-gostreamer-token", token)]).expect(200);
            assert_eq!(header(&reply, "cache-control"), "private, no-cache");
        }
    }
}

#[test]
fn long_playlists_are_compressed_for_those_who_accept_it() {
    let upstream = upstream();
    upstream.audio("long", Clip::silence(Format::Flac, 240.0).rate(8000).mono().bytes());
    let broker = Broker::start(&upstream);
    let player = Player::new(&broker, &broker.token("long"));
    let plain = player.get("a0.m3u8").expect(200);
    assert!(plain.body.len() >= 1024 && plain.header("content-encoding").is_none(), "{plain:?}");
    for accept in ["gzip", "deflate, gzip;q=0.5", "*", "br, GZIP"] {
        let zipped = player.send("GET", "a0.m3u8", &[("accept-encoding", accept)]).expect(200);
        assert_eq!(header(&zipped, "content-encoding"), "gzip", "{accept}");
        assert_eq!(header(&zipped, "content-length"), zipped.body.len().to_string());
        assert_ne!(header(&zipped, "etag"), header(&plain, "etag"));
        let mut text = String::new();
        GzDecoder::new(&*zipped.body).read_to_string(&mut text).expect("gzip");
        assert_eq!(text, plain.text());
        assert!(zipped.body.len() < plain.body.len());
        let etag = header(&zipped, "etag").to_owned();
        player
            .send("GET", "a0.m3u8", &[("accept-encoding", accept), ("if-none-match", &etag)])
            .expect(304);
    }
    for accept in ["identity", "gzip;q=0", "br", ""] {
        let reply = player.send("GET", "a0.m3u8", &[("accept-encoding", accept)]).expect(200);
        assert_eq!(
            (reply.header("content-encoding"), &reply.body),
            (None, &plain.body),
            "{accept}"
        );
    }
    assert!(header(&plain, "vary").to_ascii_lowercase().contains("accept-encoding"));
    for file in ["index.m3u8", "a0-init.mp4", "a0-0.m4s"] {
        let reply = player.send("GET", file, &[("accept-encoding", "gzip")]).expect(200);
        assert!(reply.header("content-encoding").is_none(), "{file}");
    }
}

#[test]
fn every_page_may_play_and_read_errors() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let Grant { rid, token, .. } = broker.token("a");
    let (origin, token) = (("origin", "https://app.test"), ("x-gostreamer-token", &*token));
    let size = ("range", "bytes=99999999-");
    let cases: [(&str, Headers, u16); 6] = [
        ("index.m3u8", &[origin, token], 200),
        ("a0-0.m4s", &[origin, token, ("range", "bytes=0-1")], 206),
        ("a0-0.m4s", &[origin, token, size], 416),
        ("index.m3u8", &[origin], 401),
        ("a9.m3u8", &[origin, token], 404),
        ("nonsense", &[origin, token], 404),
    ];
    for (file, headers, status) in cases {
        let reply = get(&broker, &rid, file, headers).expect(status);
        assert_eq!(header(&reply, "access-control-allow-origin"), "*");
        assert_eq!(
            header(&reply, "access-control-expose-headers"),
            "content-length, content-range"
        );
        assert!(reply.header("access-control-allow-credentials").is_none());
    }
}

#[test]
fn only_listed_origins_may_if_there_is_a_list() {
    let upstream = upstream();
    let origins = vec!["https://app.test", "https://other.test:8443"];
    let broker = Broker::setup(&upstream).with("cors.origins", origins).start();
    let player = Player::new(&broker, &broker.token("a"));
    let allowed = |origin: Headers| {
        let reply = player.send("GET", "a0.m3u8", origin).expect(200);
        assert!(header(&reply, "vary").to_ascii_lowercase().contains("origin"), "{reply:?}");
        reply.header("access-control-allow-origin").map(str::to_owned)
    };
    for origin in ["https://app.test", "https://other.test:8443"] {
        assert_eq!(allowed(&[("origin", origin)]).as_deref(), Some(origin));
    }
    for origin in ["https://app.test.evil", "http://app.test", "null", "*"] {
        assert_eq!(allowed(&[("origin", origin)]), None, "{origin}");
    }
    assert_eq!(allowed(&[]), None);
}

#[test]
fn a_preflight_needs_no_token() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let headers = [
        ("origin", "https://app.test"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "x-gostreamer-token, range, x-own"),
    ];
    for file in ["index.m3u8", "a0-0.m4s", ""] {
        let reply = broker
            .send(
                "OPTIONS",
                &format!("/hls/00000000-0000-4000-8000-000000000000/{file}"),
                &headers,
                None,
            )
            .expect(204);
        assert_eq!(header(&reply, "access-control-allow-origin"), "*");
        assert_eq!(
            header(&reply, "access-control-allow-headers"),
            "x-gostreamer-token, range, x-own"
        );
        assert!(header(&reply, "access-control-allow-methods").contains("GET"));
        let exposed = header(&reply, "access-control-expose-headers");
        assert_eq!(exposed, "content-length, content-range");
        assert!(header(&reply, "access-control-max-age").parse::<u32>().is_ok_and(|age| age > 0));
        assert!(
            reply.header("access-control-allow-credentials").is_none() && reply.body.is_empty()
        );
    }
}

#[test]
fn other_methods_are_told_which_there_are() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let Grant { rid, token, .. } = broker.token("a");
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"] {
        for file in ["index.m3u8", "a0-0.m4s", ""] {
            let path = format!("/hls/{rid}/{file}?token={token}");
            let reply =
                broker.send(method, &path, &[], None).expect_error(405, "method_not_allowed");
            assert_eq!(header(&reply, "allow"), "GET, HEAD, OPTIONS");
        }
    }
}

#[test]
fn a_request_that_dribbles_times_out() {
    let upstream = upstream();
    let broker = Broker::setup(&upstream).with("limits.header", "200ms").start();
    let mut connection = Connection::open(broker.address("main")).expect("a connection");
    connection.send("GET /api/health HTT").reply().expect_error(408, "request_timeout");
    assert_eq!(connection.rest(), b"");
}

#[test]
fn a_giant_head_is_refused() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let many = "x: y\r\n".repeat(65);
    let long = format!("x: {}\r\n", "y".repeat(16 * 1024));
    let huge = format!("x: {}\r\n", "y".repeat(1024 * 1024));
    for fields in [many, long, huge] {
        let mut connection = Connection::open(broker.address("main")).expect("a connection");
        connection.try_send(format!("GET /api/health HTTP/1.1\r\nhost: x\r\n{fields}\r\n")).ok();
        connection.reply().expect_error(431, "headers_too_large");
    }
}

#[test]
fn connections_beyond_the_limit_are_told_to_come_back() {
    let upstream = upstream();
    let broker = Broker::setup(&upstream).with("limits.connections", 2).start();
    let mut kept: Vec<_> =
        (0..2).map(|_| Connection::open(broker.address("main")).expect("a connection")).collect();
    for connection in &mut kept {
        connection.send("GET /api/health HTTP/1.1\r\nhost: x\r\n\r\n").reply().expect(200);
    }
    let reply = broker.get("/api/health", &[]).expect_error(503, "busy");
    assert!(reply.header("retry-after").is_some(), "{reply:?}");
    drop(kept);
    until("there is room again", || {
        broker.try_send("GET", "/api/health", &[], None).is_ok_and(|reply| reply.status == 200)
    });
}
