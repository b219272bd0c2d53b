//! Tokens as players show them: where, in which order of checks, until when.

mod support;

use nix::sys::signal::Signal;
use support::{
    Broker, Grant, Player, decode,
    http::Headers,
    player::Show,
    token::{self, FUTURE, PAST, mint, mint_with},
    until,
    wire::{SECONDS, get, upstream, uris},
};

/// A stream that there never was.
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

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
