//! The backend's media server: what each of its faults becomes, what is asked of it and how often.

mod support;

use std::thread;

use serde_json::Value;
use support::{
    Answer, Broker, Clip, File, Format, Gate, Player, Upstream, media, until,
    upstream::{Deaf, Nowhere},
    wire::{counted as setup, lone as upstream, seconds, wav},
};

fn metric(broker: &Broker, name: &str) -> f64 {
    broker.metric(name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn missing_media_is_not_found() {
    let upstream = upstream();
    upstream.audio("gone", Answer::Status(410));
    let broker = Broker::start(&upstream);
    for qid in ["missing", "gone"] {
        broker.ask(qid).expect_error(404, "media_not_found");
    }
}

#[test]
fn an_upstream_that_fails_is_a_bad_gateway() {
    let upstream = upstream();
    let elsewhere = format!("{}/audio/a", upstream.url());
    for status in [400, 401, 403, 429, 500, 503] {
        upstream.audio(&status.to_string(), Answer::Status(status));
    }
    let cases = [
        ("close", Answer::Close),
        ("reset", Answer::Reset),
        ("garbage", Answer::garbage()),
        ("redirect", Answer::Redirect(elsewhere)),
        ("empty", Answer::Status(204)),
        ("cut", File::new(Clip::noise(Format::OggVorbis, 5.0).bytes()).cut(20_000).into()),
        ("torn", File::new(Clip::noise(Format::OggVorbis, 5.0).bytes()).reset(20_000).into()),
        ("short", File::new(Clip::noise(Format::OggVorbis, 1.0).bytes()).length(1_000_000).into()),
        (
            "chunks",
            File::new(Clip::noise(Format::OggVorbis, 5.0).bytes()).chunked().cut(20_000).into(),
        ),
        ("headless", File::new(wav(1.0)).cut(20).into()),
    ];
    let mut qids: Vec<_> = ["400", "401", "403", "429", "500", "503"].into();
    for (qid, answer) in cases {
        upstream.audio(qid, answer);
        qids.push(qid);
    }
    let broker = Broker::start(&upstream);
    for qid in qids {
        broker.ask(qid).expect_error(502, "upstream_failed");
    }
    assert_eq!(upstream.hits("/audio/a"), 0, "the redirect is not followed");
    until("nothing is left behind", || broker.files("temp").is_empty());
}

#[test]
fn an_upstream_that_is_not_there_is_a_bad_gateway() {
    let (upstream, nowhere) = (upstream(), Nowhere::bind());
    let tls = upstream.url().replace("http", "https");
    // A label of 64 letters has no name anywhere, and no resolver is asked for it.
    let nameless = format!("http://{}.test", "x".repeat(64));
    for url in [&nowhere.url(), &tls, &nameless] {
        let broker = Broker::setup(&upstream).with("url.audio", url.as_str()).start();
        let reply = broker.ask("a");
        let host = url.rsplit('/').next().expect("a host");
        assert!(!reply.text().contains(host), "{reply:?}");
        reply.expect_error(502, "upstream_failed");
    }
}

#[test]
fn an_upstream_that_is_slow_times_out() {
    let (upstream, gate) = (upstream(), Gate::new());
    let ogg = Clip::noise(Format::OggVorbis, 5.0).bytes();
    upstream.audio("silent", Answer::silence(&gate));
    upstream.audio("late", Answer::late(&gate, wav(1.0)));
    upstream.audio("headless", File::new(wav(1.0)).stall(0, &gate));
    upstream.audio("stalled", File::new(&ogg).stall(20_000, &gate));
    let broker = Broker::setup(&upstream)
        .with("upstream.first_byte_timeout", "1s")
        .with("upstream.read_timeout", "1s")
        .start();
    for qid in ["silent", "late", "headless", "stalled"] {
        broker.ask(qid).expect_error(504, "upstream_timeout");
    }
    gate.open();
}

#[test]
fn an_upstream_that_takes_no_connection_times_out() {
    let (upstream, deaf) = (upstream(), Deaf::bind());
    let setup = Broker::setup(&upstream).with("upstream.connect_timeout", "1s");
    let broker = setup.with("url.audio", deaf.url()).start();
    let reply = broker.ask("a").expect_error(504, "upstream_timeout");
    assert!(reply.text().contains("connection"), "{reply:?}");
}

/// One that never pauses long enough to be called silent.
#[test]
fn an_upstream_that_dribbles_times_out() {
    let upstream = upstream();
    let (ogg, wav) = (Clip::noise(Format::OggVorbis, 60.0).bytes(), wav(60.0));
    upstream.audio("told by its end", File::new(&ogg).rate(10_000));
    upstream.audio("told by its head", File::new(&wav).rate(100_000));
    let broker = Broker::setup(&upstream).with("upstream.min_rate", "200KB").start();
    thread::scope(|scope| {
        scope.spawn(|| {
            let reply = broker.ask("told by its end").expect_error(504, "upstream_timeout");
            assert!(reply.text().contains("upstream.min_rate"), "{reply:?}");
        });
        let grant = broker.token("told by its head");
        let player = Player::new(&broker, &grant);
        player.get("a0-0.m4s").expect(200);
        player.get("a0-9.m4s").expect_error(504, "upstream_timeout");
    });
}

#[test]
fn more_than_the_largest_size_is_refused_as_soon_as_it_is_known() {
    let upstream = upstream();
    let large = File::new(vec![0; 2_000_000]);
    upstream.audio("told", large.clone());
    upstream.audio("chunks", Answer::Endless);
    upstream.audio("huge", File::new(wav(1.0)).length(3_000_000_000));
    let broker = Broker::setup(&upstream).with("upstream.max_size", "1MB").start();
    for qid in ["told", "huge", "chunks"] {
        broker.ask(qid).expect_error(502, "upstream_too_large");
    }
    let endless = upstream.wait_for("/audio/chunks", |request| request.over);
    assert!(endless.abandoned, "{endless:?}");
    until("nothing is left behind", || broker.files("temp").is_empty());
    broker.token("a");
}

#[test]
fn what_is_no_media_is_unsupported_and_named() {
    let upstream = upstream();
    let cases = [
        ("page", Answer::html(), "HTML"),
        ("json", "{\"error\": \"no such file\"}".into(), "JSON"),
        ("text", "Bonjour, tout le monde".into(), "text"),
        ("png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01".as_slice().into(), "PNG"),
        ("zip", b"PK\x03\x04\x14\0\0\0\x08\0".as_slice().into(), "zip"),
        ("vtt", media::vtt_for(4.0).into(), "WebVTT"),
        ("nothing", "".into(), ""),
        ("zeros", vec![0; 100_000].into(), ""),
        (
            "noise",
            (0..100_000_u32)
                .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
                .collect::<Vec<_>>()
                .into(),
            "",
        ),
        ("half", wav(1.0)[..20].to_vec().into(), ""),
    ];
    let broker = setup(&upstream).start();
    for (qid, answer, found) in cases {
        upstream.audio(qid, answer);
        let reply = broker.ask(qid).expect_error(415, "unsupported_media");
        assert!(reply.text().contains(found), "{qid}: {reply:?}");
    }
    until("nothing is left behind", || {
        broker.files("temp").is_empty() && broker.files("cache").is_empty()
    });
}

#[test]
fn disguised_playlists_are_named_and_lead_nowhere() {
    let upstream = upstream();
    let bait = format!("{}/secret", upstream.url());
    upstream.at("/secret", [wav(1.0).into()]);
    let texts = [
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{bait}\n#EXT-X-ENDLIST\n"),
        format!("\u{feff}#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{bait}\n"),
        "#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n".to_owned(),
        format!("ffconcat version 1.0\nfile {bait}\n"),
        "ffconcat version 1.0\nfile /etc/passwd\n".to_owned(),
        format!("<?xml version=\"1.0\"?><MPD><BaseURL>{bait}</BaseURL></MPD>"),
        format!("v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nu={bait}\r\nm=audio 5004 RTP/AVP 0\r\n"),
        format!("[playlist]\nFile1={bait}\n"),
        format!("<smil><body><audio src=\"{bait}\"/></body></smil>"),
    ];
    let broker = setup(&upstream).start();
    for (n, text) in texts.iter().enumerate() {
        // Content-Types and suffixes are as good as a disguise.
        let qid = format!("{n}.mp3");
        upstream.audio(&qid, File::new(text).header("content-type", "audio/mpeg"));
        broker.ask(&qid).expect_error(415, "unsupported_media");
    }
    // What comes before the playlist does not hide it.
    upstream.audio("id3.mp3", [b"ID3\x04\0\0\0\0\0\x0a0123456789", texts[0].as_bytes()].concat());
    upstream.audio("late.mp3", format!("{}{}", "\n".repeat(5000), texts[0]));
    for qid in ["id3.mp3", "late.mp3"] {
        broker.ask(qid).expect_error(415, "unsupported_media");
    }
    assert_eq!((upstream.hits("/secret"), broker.ffmpeg_runs()), (0, 0));
    assert_eq!(upstream.requests().len(), texts.len() + 2);
}

#[test]
fn a_source_of_which_nothing_decodes_shows_itself_later() {
    let upstream = upstream();
    let mut alac = Clip::noise(Format::Alac, 4.0).bytes();
    let samples = alac.windows(4).position(|word| word == b"mdat").expect("samples") + 4;
    alac[samples..].fill(0xff);
    upstream.audio("a", alac);
    let broker = setup(&upstream).start();
    let player = broker.token("a");
    for file in ["a0-0.m4s", "a0-0.ts", "a0-1.m4s"] {
        Player::new(&broker, &player).get(file).expect_error(502, "encode_failed");
    }
    broker.ask("a").expect_error(415, "unsupported_media");
}

#[test]
fn a_source_that_ends_early_plays_what_is_there_and_then_silence() {
    let upstream = upstream();
    let flac = Clip::noise(Format::Flac, 8.0).bytes();
    upstream.audio("a", &flac[..flac.len() / 2]);
    let broker = setup(&upstream).start();
    let track = Player::new(&broker, &broker.token("a")).audio();
    let heard = track.pcm();
    assert!((8.0..8.1).contains(&heard.seconds()), "{}", heard.seconds());
    assert!(heard.peak(0..2 * 44_100) > 1000 && heard.peak(6 * 44_100..8 * 44_100) < 10);
    until("it is counted", || metric(&broker, "hls_broker_short_sources_total") >= 1.0);
    broker.token("a");
    Player::new(&broker, &broker.token("a")).audio();
    assert_eq!(metric(&broker, "hls_broker_short_sources_total") as u32, 1);
    assert_eq!(broker.logged("before its header's promise").len(), 1, "one warning");
}

#[test]
fn a_header_that_promises_more_than_comes_is_cut_to_what_can_be_there() {
    let upstream = upstream();
    let wav = wav(8.0);
    upstream.audio("a", &wav[..wav.len() / 2]);
    let broker = setup(&upstream).start();
    let playlist = Player::new(&broker, &broker.token("a")).playlist("a0.m3u8");
    assert!((4.0..4.1).contains(&playlist.seconds()), "{}", playlist.seconds());
}

#[test]
fn a_download_that_breaks_off_behind_the_answer_is_fetched_again() {
    let (upstream, gate) = (upstream(), Gate::new());
    let wav = wav(10.0);
    let broken = File::new(&wav).stall(wav.len() / 2, &gate).cut(wav.len() / 2);
    upstream.at("/audio/a", [broken.into(), (&wav).into()]);
    let broker = setup(&upstream).start();
    let player = broker.token("a");
    gate.open();
    until("the second fetch is done", || {
        upstream.requests_for("/audio/a").iter().any(|request| request.sent == wav.len() as u64)
            || Player::new(&broker, &player).get("a0-3.m4s").status == 200
    });
    until("all of it plays", || Player::new(&broker, &player).get("a0-3.m4s").status == 200);
    assert!(seconds(&Player::new(&broker, &player).audio()) >= 10.0);
}

#[test]
fn a_full_queue_is_told_to_come_back() {
    let (upstream, gate) = (upstream(), Gate::new());
    // So long that no head could be trusted to get to its end soon, however fast it was at first.
    let wav = Clip::noise(Format::Wav, 600.0).rate(8_000).mono().bytes();
    upstream.audio("slow", File::new(&wav).stall(wav.len() / 40, &gate));
    let broker = setup(&upstream).with("packager.queue", 1).with("packager.workers", 1).start();
    let slow = broker.token("slow");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| Player::new(&broker, &slow).get("a0-112.m4s"));
        until("somebody is in the queue", || metric(&broker, "hls_broker_queue") >= 1.0);
        let reply = broker.ask("a").expect_error(503, "busy");
        assert!(reply.header("retry-after").is_some(), "{reply:?}");
        gate.open();
        waiting.join().expect("a reply").expect(200);
    });
    broker.token("a");
}

#[test]
fn captions_are_optional() {
    let (upstream, gate) = (upstream(), Gate::new());
    let faults = [
        ("missing", Answer::Status(404)),
        ("broken", Answer::Status(500)),
        ("torn", Answer::Reset),
        ("silent", Answer::silence(&gate)),
        ("cut", File::new(media::vtt_for(60.0)).cut(100).into()),
        ("large", vec![b' '; 20_000].into()),
        ("page", Answer::html()),
        ("moved", Answer::Redirect(format!("{}/vtt/good", upstream.url()))),
        ("binary", vec![0xff; 1000].into()),
    ];
    upstream.audio("good", wav(1.0)).vtt("good", media::vtt_for(2.0));
    for (qid, answer) in &faults {
        upstream.audio(qid, wav(1.0)).vtt(qid, answer.clone());
    }
    let setup = || {
        Broker::setup(&upstream)
            .with("captions.max_size", "10KB")
            .with("upstream.first_byte_timeout", "1s")
            .with("upstream.read_timeout", "1s")
    };
    let broker = setup().start();
    for (qid, _) in &faults {
        let grant = broker.token(qid);
        assert!(
            matches!(&grant.warnings[..], [warning] if warning.contains("captions")),
            "{qid}: {}",
            grant.json
        );
        let player = Player::new(&broker, &grant);
        assert_eq!(player.captions_uri(), None, "{qid}");
        player.audio();
    }
    let good = broker.token("good");
    assert_eq!(good.warnings, [""; 0]);
    assert!(Player::new(&broker, &good).captions().text(0).contains("Cue 0"));

    let strict = setup().with("captions.required", true).start();
    let codes = faults.iter().map(|(qid, _)| {
        let reply = strict.ask(qid);
        (reply.status, reply.json()["code"].as_str().expect("a code").to_owned())
    });
    let codes: Vec<_> = codes.collect();
    let codes: Vec<_> = codes.iter().map(|(status, code)| (*status, &**code)).collect();
    assert_eq!(
        codes[..6],
        [
            (404, "media_not_found"),
            (502, "upstream_failed"),
            (502, "upstream_failed"),
            (504, "upstream_timeout"),
            (502, "upstream_failed"),
            (502, "upstream_too_large"),
        ]
    );
    assert_eq!(
        codes[6..],
        [(415, "unsupported_media"), (502, "upstream_failed"), (415, "unsupported_media")]
    );
    strict.token("good");
    gate.open();
}

#[test]
fn without_an_address_for_captions_nobody_misses_them() {
    let upstream = upstream();
    let broker = setup(&upstream).start();
    let grant = broker.token("a");
    assert_eq!((grant.warnings.len(), Player::new(&broker, &grant).captions_uri()), (0, None));
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn captions_have_the_configured_name_and_language() {
    let upstream = upstream();
    upstream.vtt("a", media::vtt_for(2.0));
    let broker = Broker::setup(&upstream)
        .with("captions.name", "Fran\u{e7}ais")
        .with("captions.language", "fr-CA")
        .start();
    let index = Player::new(&broker, &broker.token("a")).index();
    let captions = &index.alternatives[0];
    assert_eq!((&*captions.name, captions.language.as_deref()), ("Fran\u{e7}ais", Some("fr-CA")));
}

#[test]
fn bodies_of_unknown_length_play() {
    let upstream = upstream();
    upstream.audio("wav", File::new(wav(2.0)).chunked());
    upstream.audio("piped", File::new(Clip::noise(Format::WavUnsized, 2.0).bytes()).chunked());
    upstream.audio("mp3", File::new(Clip::noise(Format::Mp3, 2.0).bytes()).chunked().etag(""));
    let broker = setup(&upstream).start();
    for qid in ["wav", "piped", "mp3"] {
        let heard = seconds(&Player::new(&broker, &broker.token(qid)).audio());
        assert!((2.0..2.15).contains(&heard), "{qid}: {heard}");
    }
}

#[test]
fn an_answer_comes_before_the_body_where_the_header_tells_all() {
    let (upstream, gate) = (Upstream::start(), Gate::new());
    let wav = wav(10.0);
    upstream.audio("a", File::new(&wav).stall(wav.len() / 2, &gate));
    let broker = setup(&upstream).start();
    let grant = broker.token("a");
    let player = Player::new(&broker, &grant);
    assert!((10.0..10.1).contains(&player.playlist("a0.m3u8").seconds()));
    player.get("a0-0.m4s").expect(200);
    assert!(!upstream.requests_for("/audio/a")[0].over);
    gate.open();
    assert!(seconds(&player.audio()) >= 10.0);
}

#[test]
fn errors_of_a_batch_are_those_of_its_items() {
    let (upstream, gate) = (upstream(), Gate::new());
    upstream
        .audio("silent", Answer::silence(&gate))
        .audio("torn", Answer::Reset)
        .audio("page", Answer::html());
    let broker = setup(&upstream).with("upstream.first_byte_timeout", "1s").start();
    let qids = ["missing", "torn", "silent", "page", "a"];
    let json = broker.batch(&qids, "5m").json;
    let codes: Vec<_> =
        json["errors"].as_array().expect("errors").iter().map(|item| &item["code"]).collect();
    let expected = ["media_not_found", "upstream_failed", "upstream_timeout", "unsupported_media"]
        .map(Value::from);
    assert_eq!(codes, expected.iter().collect::<Vec<_>>());
    gate.open();
}
