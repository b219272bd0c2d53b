//! Players: every file of a stream, in every container, and what happens while it is not encoded yet.

mod support;

use support::{
    Broker, Clip, File, Format, Gate, Player, Upstream, decode, until,
    wire::{SECONDS, header, upstream, uris},
};

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
