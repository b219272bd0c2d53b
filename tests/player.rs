//! Players: `/hls/<rid>/<file>`.

mod support;

use std::io::Read;

use flate2::read::GzDecoder;
use nix::sys::signal::Signal;
use support::{
    Broker, Clip, Connection, File, Format, Gate, Grant, Player, Reply, Upstream, decode,
    http::Headers,
    media,
    player::Show,
    token::{self, FUTURE, PAST, mint, mint_with},
    until,
};

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";
const SECONDS: f64 = 4.0;

/// An upstream with "a", which has captions, and "plain", which has none.
fn upstream() -> Upstream {
    let upstream = Upstream::start();
    upstream.audio("a", Clip::noise(Format::Wav, SECONDS).bytes());
    upstream.vtt("a", media::vtt_for(SECONDS));
    upstream.audio("plain", Clip::noise(Format::Wav, 1.0).bytes());
    upstream
}

/// A request that shows its token as these headers do.
fn get(broker: &Broker, rid: &str, file: &str, headers: Headers) -> Reply {
    broker.get(&format!("/hls/{rid}/{file}"), headers)
}

fn header<'a>(reply: &'a Reply, name: &str) -> &'a str {
    reply.header(name).unwrap_or_else(|| panic!("no {name}: {reply:?}"))
}

/// All URIs of a playlist: its lines, and those in its tags.
fn uris(playlist: &str) -> Vec<&str> {
    let tagged = playlist.split("URI=\"").skip(1).filter_map(|rest| rest.split('"').next());
    tagged.chain(playlist.lines().filter(|line| !line.starts_with('#'))).collect()
}

#[test]
fn every_file_has_its_media_type() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let player = Player::new(&broker, &broker.token("a"));
    let cases = [
        ("index.m3u8", "application/vnd.apple.mpegurl"),
        ("a0.m3u8", "application/vnd.apple.mpegurl"),
        ("s0.m3u8", "application/vnd.apple.mpegurl"),
        ("a0-init.mp4", "audio/mp4"),
        ("a0-0.m4s", "audio/mp4"),
        ("a0-0.aac", "audio/aac"),
        ("a0-0.ts", "video/mp2t"),
        ("s0-0.vtt", "text/vtt"),
    ];
    for (file, media_type) in cases {
        let reply = player.get(file).expect(200);
        assert_eq!(header(&reply, "content-type"), media_type, "{file}");
        assert_eq!(header(&reply, "content-length"), reply.body.len().to_string());
        assert_eq!(header(&reply, "accept-ranges"), "bytes");
    }
}

#[test]
fn files_hold_what_their_names_say() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let player = Player::new(&broker, &broker.token("a"));
    let body = |file: &str| player.get(file).expect(200).body;
    assert_eq!(&body("a0-init.mp4")[4..8], b"ftyp");
    let fragment = body("a0-0.m4s");
    assert!([&b"styp"[..], b"moof"].contains(&&fragment[4..8]));
    let packed = body("a0-0.aac");
    assert!(packed.starts_with(b"ID3"));
    let owner = b"com.apple.streaming.transportStreamTimestamp\0";
    assert!(packed.windows(owner.len()).any(|bytes| bytes == owner));
    let ts = body("a0-0.ts");
    assert!(ts.len() % 188 == 0 && ts.chunks(188).all(|packet| packet[0] == 0x47));
    assert!(body("s0-0.vtt").starts_with(b"WEBVTT"));
    // The same AAC frames in all three.
    let heard = [[body("a0-init.mp4"), fragment].concat(), packed, ts]
        .map(|bytes| decode::pcm(bytes).frames());
    assert_eq!(heard, [heard[0]; 3]);
}

#[test]
fn the_index_names_variants_and_captions() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let player = Player::new(&broker, &broker.token("a"));
    let index = player.index();
    let [variant] = &index.variants[..] else { panic!("{index:?}") };
    assert_eq!((&*variant.uri, variant.codecs.as_deref()), ("a0.m3u8", Some("mp4a.40.2")));
    assert!(variant.average_bandwidth.is_some_and(|average| average <= variant.bandwidth));
    let [captions] = &index.alternatives[..] else { panic!("{index:?}") };
    assert_eq!(Some(&captions.group_id), variant.subtitles.as_ref());
    assert_eq!((&*captions.name, captions.language.as_deref()), ("English", Some("en")));
    assert_eq!(captions.uri.as_deref(), Some("s0.m3u8"));

    let plain = Player::new(&broker, &broker.token("plain"));
    let index = plain.index();
    assert!(index.alternatives.is_empty() && index.variants[0].subtitles.is_none(), "{index:?}");
    plain.get("s0.m3u8").expect_error(404, "not_found");
    plain.get("s0-0.vtt").expect_error(404, "not_found");
}

#[test]
fn bandwidth_is_a_bound_and_the_average_an_honest_estimate() {
    let upstream = Upstream::start();
    upstream.audio("a", Clip::noise(Format::Wav, 30.0).bytes());
    upstream.audio(
        "voice",
        Clip::speech(Format::Wav, 30.0, "one two three").rate(16_000).mono().bytes(),
    );
    let broker = Broker::start(&upstream);
    for qid in ["a", "voice"] {
        let player = Player::new(&broker, &broker.token(qid));
        for container in ["cmaf", "aac", "ts"] {
            let index = player.get(&format!("index.m3u8?container={container}")).expect(200).body;
            let index = m3u8_rs::parse_master_playlist_res(&index).expect("a playlist");
            let variant = &index.variants[0];
            let track = player.track(&variant.uri);
            let bits: Vec<f64> =
                track.segments.iter().map(|bytes| bytes.len() as f64 * 8.0).collect();
            for (bits, segment) in bits.iter().zip(&track.playlist.segments) {
                let rate = bits / segment.seconds;
                assert!(
                    rate <= variant.bandwidth as f64,
                    "{qid} {container}: {rate} in {segment:?}"
                );
            }
            let average = bits.iter().sum::<f64>() / track.playlist.seconds();
            let promised = variant.average_bandwidth.expect("an average") as f64;
            assert!(
                (average / promised - 1.0).abs() < 0.2,
                "{qid} {container}: {average} of {promised}"
            );
        }
    }
}

#[test]
fn segments_are_numbered_from_0_and_complete_from_the_first_answer() {
    let (upstream, gate) = (Upstream::start(), Gate::new());
    upstream.audio("a", File::new(Clip::noise(Format::Wav, 12.0).bytes()).stall(100_000, &gate));
    let broker = Broker::start(&upstream);
    let playlist = Player::new(&broker, &broker.token("a")).playlist("a0.m3u8");
    let uris: Vec<_> = playlist.segments.iter().map(|segment| &*segment.uri).collect();
    assert_eq!(uris, ["a0-0.m4s", "a0-1.m4s", "a0-2.m4s", "a0-3.m4s"]);
    assert!(playlist.parsed.end_list && playlist.parsed.media_sequence == 0);
    assert!((12.0..12.1).contains(&playlist.seconds()), "{}", playlist.seconds());
    gate.open();
}

#[test]
fn the_container_is_configured_and_overridden_by_the_query() {
    let upstream = upstream();
    for (own, extension) in [("cmaf", "m4s"), ("aac", "aac"), ("ts", "ts")] {
        let broker = Broker::setup(&upstream).with("packager.container", own).start();
        let player = Player::new(&broker, &broker.token("a"));
        let first = |query: &str| {
            let index = player.get(&format!("index.m3u8{query}")).expect(200);
            let media = uris(index.text())
                .into_iter()
                .find(|uri| uri.starts_with("a0"))
                .expect("audio")
                .to_owned();
            assert_eq!(media, format!("a0.m3u8{query}"));
            let playlist = player.get(&media).expect(200);
            assert_eq!(playlist.text().contains("EXT-X-MAP"), playlist.text().contains("a0-0.m4s"));
            for uri in uris(playlist.text()) {
                assert!(uri.ends_with(query), "{uri}");
                player.get(uri).expect(200);
            }
            playlist
                .text()
                .lines()
                .find(|line| line.starts_with("a0-0."))
                .expect("a segment")
                .to_owned()
        };
        assert_eq!(first(""), format!("a0-0.{extension}"));
        assert_eq!(first("?container=cmaf"), "a0-0.m4s?container=cmaf");
        assert_eq!(first("?container=aac"), "a0-0.aac?container=aac");
        assert_eq!(first("?container=ts"), "a0-0.ts?container=ts");
    }
}

#[test]
fn captions_carry_the_container_too() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let player = Player::new(&broker, &broker.token("a"));
    let index = player.get("index.m3u8?container=ts").expect(200);
    assert!(uris(index.text()).contains(&"s0.m3u8?container=ts"), "{index:?}");
    let captions = player.get("s0.m3u8?container=ts").expect(200);
    assert!(uris(captions.text()).contains(&"s0-0.vtt?container=ts"), "{captions:?}");
}

#[test]
fn a_token_is_shown_in_three_ways() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let grant = broker.token("a");
    for show in [Show::Header, Show::Bearer, Show::Query] {
        let player = Player::new(&broker, &grant).show(show);
        let track = player.audio();
        assert!(track.pcm().seconds() >= SECONDS, "{show:?}");
        assert_eq!(player.captions().segments.len(), track.segments.len(), "{show:?}");
    }
}

#[test]
fn the_first_token_that_is_present_decides() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let Grant { rid, token: good, .. } = broker.token("a");
    let (query, bearer) = (format!("index.m3u8?token={good}"), format!("Bearer {good}"));
    let twice = format!("{good}, {good}");
    let (header, bearer) = (("x-gostreamer-token", &*good), ("authorization", &*bearer));
    let (wrong, wrong_bearer) =
        (("x-gostreamer-token", "wrong"), ("authorization", "Bearer wrong"));
    let ask = |file: &str, headers: Headers| get(&broker, &rid, file, headers);
    ask("index.m3u8?token=wrong", &[header, wrong_bearer]).expect(200);
    ask("index.m3u8?token=wrong", &[bearer]).expect(200);
    ask(&query, &[wrong, bearer]).expect_error(401, "token_invalid");
    ask(&query, &[wrong_bearer]).expect_error(401, "token_invalid");
    ask("index.m3u8?token=wrong", &[]).expect_error(401, "token_invalid");
    // A scheme that is not ours says nothing.
    ask(&query, &[("authorization", "Basic dTpw")]).expect(200);
    ask("index.m3u8", &[("x-gostreamer-token", &twice)]).expect(200);
    ask("index.m3u8", &[header, header]).expect(200);
    ask("index.m3u8", &[header, wrong]).expect_error(401, "token_invalid");
}

#[test]
fn a_token_in_the_query_is_carried_on_every_uri() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let Grant { rid, token, .. } = broker.token("a");
    for query in [format!("?token={token}"), format!("?container=ts&token={token}")] {
        let index = get(&broker, &rid, &format!("index.m3u8{query}"), &[]).expect(200);
        for media in uris(index.text()) {
            assert!(media.ends_with(&query), "{media}");
            let playlist = get(&broker, &rid, media, &[]).expect(200);
            for uri in uris(playlist.text()) {
                assert!(uri.ends_with(&query), "{uri}");
                get(&broker, &rid, uri, &[]).expect(200);
            }
        }
    }
}

#[test]
fn a_token_in_a_header_is_carried_nowhere() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let grant = broker.token("a");
    for file in ["index.m3u8", "a0.m3u8", "s0.m3u8"] {
        for show in [Show::Header, Show::Bearer] {
            let reply = Player::new(&broker, &grant).show(show).get(file).expect(200);
            assert!(!reply.text().contains("token"), "{reply:?}");
        }
    }
    // Unless the request carried one in the query as well.
    let both =
        get(&broker, &grant.rid, "index.m3u8?token=x", &[("x-gostreamer-token", &grant.token)]);
    assert!(uris(both.expect(200).text()).iter().all(|uri| uri.ends_with("?token=x")));
}

#[test]
fn a_wild_token_in_the_query_breaks_no_playlist() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let grant = broker.token("a");
    for token in
        ["%22", "%0a%23EXT-X-ENDLIST", "%0D%0A", "a%20b", "%26x=1", "%zz", "'", "\"", "<x>", ";"]
    {
        let file = format!("index.m3u8?token={token}");
        let reply = get(&broker, &grant.rid, &file, &[("x-gostreamer-token", &grant.token)]);
        if reply.status == 400 {
            continue; // not a URI at all
        }
        let index =
            m3u8_rs::parse_master_playlist_res(&reply.expect(200).body).expect("a playlist");
        assert!(index.variants[0].uri.starts_with("a0.m3u8"), "{index:?}");
        assert_eq!((index.variants.len(), index.alternatives.len()), (1, 1), "{index:?}");
    }
}

#[test]
fn ffmpeg_plays_with_nothing_but_the_url() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let grant = broker.token("a");
    for container in ["", "container=aac&", "container=ts&"] {
        let heard =
            decode::playlist(&format!("{}?{container}token={}", grant.url, grant.token), &[]);
        assert!(
            (SECONDS..SECONDS + 0.1).contains(&heard.seconds()),
            "{container}: {}",
            heard.seconds()
        );
    }
    let short = format!("{}/hls/{}?token={}", broker.url(), grant.rid, grant.token);
    assert!(decode::playlist(&short, &[]).seconds() >= SECONDS);
}

#[test]
fn grammar_comes_before_token_before_stream_before_file() {
    let upstream = upstream();
    let broker = token::setup(&upstream).start();
    let Grant { rid, token, .. } = broker.token("a");
    let (ours, nobodys) = (token.clone(), mint(NOBODY, FUTURE));
    let upper = rid.to_uppercase();
    let ask = |rid: &str, file: &str, token: &str| {
        let headers = [("x-gostreamer-token", token)];
        get(&broker, rid, file, if token.is_empty() { &[] } else { &headers })
    };
    for file in [
        "nonsense",
        "a0.mp3",
        "a00.m3u8",
        "a0-01.m4s",
        "a0-0.vtt",
        "s0-0.m4s",
        "v0-0.ts",
        "INDEX.M3U8",
        "a0",
    ] {
        for token in ["", "wrong", &ours] {
            ask(&rid, file, token).expect_error(404, "not_found");
        }
    }
    for rid in ["a", "..", &rid[1..], &upper, &format!("{{{rid}}}"), &rid.replace('-', "")] {
        ask(rid, "index.m3u8", &ours).expect_error(404, "not_found");
    }
    for file in ["a7.m3u8", "a0-999.m4s", "index.m3u8"] {
        ask(&rid, file, "").expect_error(401, "token_missing");
        ask(NOBODY, file, "").expect_error(401, "token_missing");
        ask(NOBODY, file, &ours).expect_error(401, "token_invalid");
        ask(NOBODY, file, &nobodys).expect_error(410, "stream_gone");
    }
    for file in [
        "a7.m3u8",
        "a1-init.mp4",
        "a0-999.m4s",
        "a0-4294967295.aac",
        "v0.m3u8",
        "s1.m3u8",
        "s0-999.vtt",
    ] {
        ask(&rid, file, &ours).expect_error(404, "not_found");
    }
}

#[test]
fn tokens_that_open_nothing() {
    let upstream = upstream();
    let broker = token::setup(&upstream).start();
    let (rid, other) = (broker.token("a").rid, broker.token("a"));
    let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiIwIiwiZXhwIjo5OTk5OTk5OTk5fQ.";
    let genuine = mint(&rid, FUTURE);
    let (head, _) = genuine.rsplit_once('.').expect("three parts");
    let cases = [
        ("", "token_missing"),
        ("nonsense", "token_invalid"),
        ("a.b.c", "token_invalid"),
        (none, "token_invalid"),
        (head, "token_invalid"),
        (&other.token, "token_invalid"),
        (&mint_with("some other secret of 32 bytes and more", &rid, FUTURE), "token_invalid"),
        (&mint_with("some other secret of 32 bytes and more", &rid, PAST), "token_invalid"),
        (&mint(&other.rid, PAST), "token_invalid"),
        (&mint(&rid, PAST), "token_expired"),
    ];
    for (token, code) in cases {
        for file in ["index.m3u8", "a0.m3u8", "a0-init.mp4", "a0-0.m4s", "s0-0.vtt"] {
            get(&broker, &rid, file, &[("x-gostreamer-token", token)]).expect_error(401, code);
        }
        let head = broker.send(
            "HEAD",
            &format!("/hls/{rid}/a0-0.m4s"),
            &[("x-gostreamer-token", token)],
            None,
        );
        let headers = [("x-gostreamer-token", token), ("range", "bytes=0-1")];
        assert_eq!((head.status, get(&broker, &rid, "a0-0.m4s", &headers).status), (401, 401));
    }
}

#[test]
fn an_ended_stream_is_gone_for_those_whose_token_still_stands() {
    let upstream = upstream();
    let broker = token::setup(&upstream).start();
    let Grant { rid, token, .. } = broker.token("a");
    broker.revoke(&rid).expect(204);
    let ask = |token: &str| get(&broker, &rid, "a0-0.m4s", &[("x-gostreamer-token", token)]);
    ask(&token).expect_error(410, "stream_gone");
    ask(&mint(&rid, PAST)).expect_error(401, "token_expired");
    ask(&mint(NOBODY, FUTURE)).expect_error(401, "token_invalid");
}

#[test]
fn a_token_ends_in_its_second_and_so_does_its_stream() {
    let upstream = upstream();
    let broker = token::setup(&upstream).with("cache.expiry", "1s").start();
    let Grant { rid, token, .. } = broker.token("a");
    let ask = |token: &str| get(&broker, &rid, "index.m3u8", &[("x-gostreamer-token", token)]);
    until("the token ends", || ask(&token).status != 200);
    assert!(
        token::second_in(std::time::Duration::ZERO) >= token::end(&token),
        "not before its time"
    );
    ask(&token).expect_error(401, "token_expired");
    ask(&mint(&rid, FUTURE)).expect_error(410, "stream_gone");
}

#[test]
fn tokens_of_the_command_line_open_too() {
    let upstream = upstream();
    let broker = Broker::start(&upstream);
    let rid = broker.token("a").rid;
    let minted = broker.run(&["token", "mint", &rid, "--for", "10m"]);
    assert_eq!(minted.code, Some(0), "{minted:?}");
    let token = minted.stdout.trim();
    broker.keep_secret(token);
    get(&broker, &rid, "index.m3u8", &[("x-gostreamer-token", token)]).expect(200);
}

#[test]
fn the_first_secret_signs_all_verify_and_sighup_reads_them_again() {
    let upstream = upstream();
    let old = "the-old-secret-of-the-tests-with-32-bytes-and-more";
    let new = "the-new-secret-of-the-tests-with-32-bytes-and-more";
    let broker = token::setup(&upstream).with("token.secret", vec![token::SECRET, old]).start();
    let grant = broker.token("a");
    assert_eq!(token::claims(&grant.token)["sub"], *grant.rid, "signed with the first");
    let [by_old, by_new] = [old, new].map(|secret| mint_with(secret, &grant.rid, FUTURE));
    let ask = |token: &str| get(&broker, &grant.rid, "a0.m3u8", &[("x-gostreamer-token", token)]);
    ask(&by_old).expect(200);
    ask(&by_new).expect_error(401, "token_invalid");
    broker.configure("token.secret", vec![new, token::SECRET]);
    broker.signal(Signal::SIGHUP);
    broker.wait_log("were read again");
    ask(&by_old).expect_error(401, "token_invalid");
    ask(&by_new).expect(200);
    ask(&grant.token).expect(200);
}

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
        let reply =
            broker.send("OPTIONS", &format!("/hls/{NOBODY}/{file}"), &headers, None).expect(204);
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
fn get_and_head_wait_for_a_segment_that_is_not_encoded_yet() {
    let (upstream, gate) = (Upstream::start(), Gate::new());
    let wav = Clip::noise(Format::Wav, 10.0).bytes();
    upstream.audio("a", File::new(&wav).stall(wav.len() / 2, &gate));
    let broker = Broker::start(&upstream);
    let grant = broker.token("a");
    let player = Player::new(&broker, &grant);
    player.get("a0-0.m4s").expect(200);
    std::thread::scope(|scope| {
        let waiting: Vec<_> = [("GET", "a0-3.m4s"), ("HEAD", "a0-3.m4s"), ("GET", "a0-3.ts")]
            .map(|(method, file)| scope.spawn(|| player.send(method, file, &[]).expect(200)))
            .into_iter()
            .collect();
        gate.wait_reached();
        player.get("a0-0.m4s").expect(200);
        assert!(waiting.iter().all(|player| !player.is_finished()));
        gate.open();
        let replies: Vec<_> =
            waiting.into_iter().map(|player| player.join().expect("a reply")).collect();
        assert_eq!(header(&replies[1], "content-length"), replies[0].body.len().to_string());
    });
}

#[test]
fn whoever_waited_too_long_is_told_to_come_back() {
    let (upstream, gate) = (Upstream::start(), Gate::new());
    let wav = Clip::noise(Format::Wav, 10.0).bytes();
    upstream.audio("a", File::new(&wav).stall(wav.len() / 2, &gate));
    let broker = Broker::setup(&upstream).with("limits.segment_wait", "300ms").start();
    let player = Player::new(&broker, &broker.token("a"));
    for file in ["a0-3.m4s", "a0-3.aac", "a0-3.ts"] {
        let reply = player.get(file).expect_error(503, "busy");
        assert!(header(&reply, "retry-after").parse::<u32>().is_ok_and(|seconds| seconds > 0));
        assert_eq!(player.send("HEAD", file, &[]).status, 503);
    }
    // Playlists and captions wait for nothing.
    player.get("a0.m3u8").expect(200);
    gate.open();
    until("the segment is there", || player.get("a0-3.m4s").status == 200);
}

#[test]
fn a_segment_that_cannot_be_encoded_fails_after_one_retry_for_all_who_wait() {
    let upstream = upstream();
    let broker = Broker::setup(&upstream).counted_ffmpeg("exit 1").start();
    let grant = broker.token("a");
    let player = Player::new(&broker, &grant);
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..10).map(|_| scope.spawn(|| player.get("a0-0.m4s"))).collect();
        for player in waiting {
            player.join().expect("a reply").expect_error(502, "encode_failed");
        }
    });
    for file in ["a0-0.m4s", "a0-0.aac", "a0-0.ts"] {
        player.get(file).expect_error(502, "encode_failed");
    }
    assert_eq!(broker.ffmpeg_runs(), 2, "one try and one retry");
    player.get("a0.m3u8").expect(200);
    player.get("s0-0.vtt").expect(200);
}

#[test]
fn one_failure_of_ffmpeg_is_nobodys_business() {
    let upstream = upstream();
    let script = r#"mkdir {dir}/once && exit 1; exec {real} "$@""#;
    let broker = Broker::setup(&upstream).counted_ffmpeg(script).start();
    let track = Player::new(&broker, &broker.token("a")).audio();
    assert!(track.pcm().seconds() >= SECONDS);
    assert_eq!(broker.ffmpeg_runs(), 2);
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
