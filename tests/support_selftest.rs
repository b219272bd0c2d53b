//! The tools of the other tests, tested: misbehaviour must really be misbehaviour, and the ear must hear a gap.

mod support;

use std::{io, net::SocketAddr, thread};

use support::{
    Answer, Clip, Connection, File, Format, Gate, Reply, Upstream, decode,
    http::{self, Headers},
    media, signal,
    upstream::Nowhere,
};

const BODY: &[u8] = b"0123456789";

fn get(upstream: &Upstream, path: &str, headers: Headers) -> io::Result<Reply> {
    http::request(address(&upstream.url()), "GET", path, headers, None)
}

fn address(url: &str) -> SocketAddr {
    url.strip_prefix("http://").expect("a URL").parse().expect("an address")
}

#[test]
fn a_file_is_served_and_remembered_under_its_decoded_path() {
    let upstream = Upstream::start();
    upstream.audio("a b/ü", BODY);
    let reply =
        get(&upstream, "/audio/a%20b%2F%C3%BC?batch=true", &[("x-key", "1")]).expect("a reply");
    assert_eq!((reply.status, reply.body.as_slice()), (200, BODY));
    let request = upstream.wait_for("/audio/a b/ü", |request| request.over);
    assert_eq!((request.query.as_str(), request.header("x-key")), ("batch=true", Some("1")));
    assert_eq!((request.sent, request.abandoned), (10, false));
    assert_eq!((upstream.hits("/audio/a b/ü"), upstream.hits("/audio/other")), (1, 0));
    assert_eq!(get(&upstream, "/audio/other", &[]).expect("a reply").status, 404);
}

#[test]
fn ranges_and_conditions() {
    let upstream = Upstream::start();
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    upstream.audio("a", File::new(BODY).etag("\"7\"").last_modified(date));
    upstream.audio("plain", File::new(BODY).without_ranges().etag(""));
    let cases: [(&str, Headers, u16, &[u8]); 9] = [
        ("a", &[("range", "bytes=2-4")], 206, b"234"),
        ("a", &[("range", "bytes=7-")], 206, b"789"),
        ("a", &[("range", "bytes=-2")], 206, b"89"),
        ("a", &[("range", "bytes=10-")], 416, b""),
        ("a", &[("range", "bytes=0-0"), ("if-range", "\"6\"")], 200, BODY),
        ("a", &[("if-none-match", "\"7\"")], 304, b""),
        ("a", &[("if-none-match", "\"6\""), ("if-modified-since", date)], 200, BODY),
        ("a", &[("if-modified-since", date)], 304, b""),
        ("plain", &[("range", "bytes=2-4"), ("if-none-match", "\"7\"")], 200, BODY),
    ];
    for (id, headers, status, body) in cases {
        let reply = get(&upstream, &format!("/audio/{id}"), headers).expect("a reply");
        assert_eq!((reply.status, reply.body.as_slice()), (status, body), "{headers:?}");
    }
}

#[test]
fn connections_are_kept_and_answers_take_turns() {
    let upstream = Upstream::start();
    upstream.at("/audio/a", [Answer::Status(500), "one".into(), "two".into()]);
    let mut connection = Connection::open(address(&upstream.url())).expect("a connection");
    let mut ask = || connection.send("GET /audio/a HTTP/1.1\r\n\r\n").reply();
    assert_eq!(ask().status, 500);
    assert_eq!([ask().text(), ask().text(), ask().text()], ["one", "two", "two"]);
}

#[test]
fn broken_answers_break() {
    let upstream = Upstream::start();
    upstream.audio("cut", File::new(BODY).cut(4));
    upstream.audio("cut chunks", File::new(BODY).chunked().cut(4));
    upstream.audio("liar", File::new(BODY).length(11));
    upstream.audio("reset", File::new(BODY).reset(4));
    upstream.audio("rst", Answer::Reset);
    upstream.audio("close", Answer::Close);
    upstream.audio("garbage", Answer::garbage());
    let cases = [
        ("cut", io::ErrorKind::UnexpectedEof),
        ("cut%20chunks", io::ErrorKind::UnexpectedEof),
        ("liar", io::ErrorKind::UnexpectedEof),
        ("reset", io::ErrorKind::ConnectionReset),
        ("rst", io::ErrorKind::ConnectionReset),
        ("close", io::ErrorKind::UnexpectedEof),
        ("garbage", io::ErrorKind::Other),
    ];
    for (id, kind) in cases {
        let error = get(&upstream, &format!("/audio/{id}"), &[]).expect_err(id);
        assert_eq!(error.kind(), kind, "{id}: {error}");
    }
}

#[test]
fn odd_answers_arrive_whole() {
    let upstream = Upstream::start();
    upstream.audio("chunks", File::new(BODY).chunked());
    upstream.audio("zip", File::new(vec![0; 1_000_000]).gzip());
    upstream.audio("page", Answer::html());
    upstream.audio("away", Answer::Redirect("http://127.0.0.1:1/".to_owned()));
    upstream.audio("bomb", Answer::huge_header(100_000));
    let get = |id: &str| get(&upstream, &format!("/audio/{id}"), &[]).expect(id);
    let chunks = get("chunks");
    assert_eq!((chunks.body.as_slice(), chunks.header("content-length")), (BODY, None));
    let zip = get("zip");
    assert_eq!(zip.header("content-encoding"), Some("gzip"));
    assert!(zip.body.len() < 2_000, "{zip:?}");
    assert_eq!(get("page").header("content-type"), Some("text/html"));
    assert_eq!(get("away").header("location"), Some("http://127.0.0.1:1/"));
    assert_eq!(get("bomb").header("x-bomb").map(str::len), Some(100_000));
}

#[test]
fn a_gate_holds_the_body_where_it_was_told_to() {
    let (upstream, gate) = (Upstream::start(), Gate::new());
    upstream.audio("a", File::new(BODY).stall(4, &gate));
    thread::scope(|scope| {
        let reply = scope.spawn(|| get(&upstream, "/audio/a", &[]).expect("a reply"));
        gate.wait_reached();
        let request = &upstream.requests_for("/audio/a")[0];
        assert_eq!((request.sent, request.over), (4, false));
        gate.open();
        assert_eq!(reply.join().expect("no panic").body, BODY);
    });
}

#[test]
fn silence_says_nothing_until_its_gate_opens() {
    let (upstream, gate) = (Upstream::start(), Gate::new());
    upstream.audio("a", Answer::silence(&gate));
    let mut connection = Connection::open(address(&upstream.url())).expect("a connection");
    connection.send("GET /audio/a HTTP/1.1\r\n\r\n");
    gate.wait_reached();
    gate.open();
    assert_eq!(connection.rest(), b"");
    upstream.audio("b", Answer::late(&gate, BODY));
    assert_eq!(get(&upstream, "/audio/b", &[]).expect("a reply").body, BODY);
}

#[test]
fn an_endless_body_notices_that_its_client_left() {
    let upstream = Upstream::start();
    upstream.audio("a", Answer::Endless);
    let mut connection = Connection::open(address(&upstream.url())).expect("a connection");
    connection.send("GET /audio/a HTTP/1.1\r\n\r\n").take(1_000_000);
    drop(connection);
    assert!(upstream.wait_for("/audio/a", |request| request.over).abandoned);
}

#[test]
fn down_resets_and_nowhere_refuses() {
    let upstream = Upstream::start();
    upstream.set_down(true);
    let error = get(&upstream, "/audio/a", &[]).expect_err("it is down");
    assert!(
        matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe),
        "{error}"
    );
    assert_eq!(upstream.requests().len(), 0);
    upstream.set_down(false);
    assert_eq!(get(&upstream, "/audio/a", &[]).expect("it is up").status, 404);
    let nowhere = Nowhere::bind();
    let error =
        http::request(address(&nowhere.url()), "GET", "/", &[], None).expect_err("nobody is there");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn every_format_is_made_and_heard() {
    for format in Format::AUDIO {
        let clip = Clip::noise(format, 1.5);
        let heard = decode::pcm(clip.bytes());
        // Opus counts at 48 kHz, ADTS and fragments keep their priming, lossy blocks are rounded up.
        assert!((1.49..1.60).contains(&heard.seconds()), "{format:?}: {} s", heard.seconds());
        assert_eq!(heard.channels, 2, "{format:?}");
        assert_eq!(clip.bytes(), clip.bytes(), "{format:?}");
    }
    let speech = Clip::speech(Format::Wav, 2.0, "one two").rate(16_000).mono();
    let heard = decode::pcm(speech.bytes());
    assert_eq!((heard.rate, heard.channels, heard.frames()), (16_000, 1, 32_000));
    assert!(heard.peak(0..heard.frames()) > 1000);
    let video = decode::packets(Clip::noise(Format::Mp4Video, 2.0).bytes(), "v:0");
    assert_eq!(video.len(), 50);
}

#[test]
fn unsized_formats_do_not_tell_their_length() {
    let wav = Clip::noise(Format::WavUnsized, 1.0).bytes();
    assert_eq!(wav[4..8], [0xff; 4]);
    let flac = Clip::noise(Format::FlacUnsized, 1.0).bytes();
    // STREAMINFO's 36 bits of total samples (RFC 9639, 8.2).
    assert_eq!((flac[21] & 0x0f, &flac[22..26]), (0, &[0; 4][..]));
    let is_first = |bytes: &[u8], a: &[u8], b: &[u8]| {
        let at = |tag| bytes.windows(4).position(|word| word == tag);
        at(a) < at(b)
    };
    assert!(is_first(&Clip::noise(Format::M4a, 1.0).bytes(), b"moov", b"mdat"));
    assert!(is_first(&Clip::noise(Format::M4aMoovLast, 1.0).bytes(), b"mdat", b"moov"));
}

#[test]
fn the_ear_finds_a_seamless_copy_seamless_and_a_lost_frame_lost() {
    let source = decode::pcm(Clip::noise(Format::Wav, 4.0).bytes());
    let heard = decode::pcm(Clip::noise(Format::M4a, 4.0).bytes());
    let lags = signal::lags(&source, &heard, 4410);
    assert!(lags.len() > 35 && lags.iter().all(|lag| *lag == Some(0)), "{lags:?}");

    let mut gap = heard.clone();
    gap.samples.drain(2 * 50_000..2 * 51_024);
    let lags = signal::lags(&source, &gap, 4410);
    assert_eq!((lags[0], lags[lags.len() - 1]), (Some(0), Some(-1024)), "{lags:?}");

    assert_eq!(signal::lag(&source, &heard, 80_000, 100), Some(0));
    let stranger = decode::pcm(Clip::sine(Format::Wav, 4.0, 440).bytes());
    assert_eq!(signal::lag(&source, &stranger, 80_000, 100), None);
}

#[test]
fn captions_have_their_clock() {
    let vtt = media::vtt(&[(0.5, 3661.25, "Hello")]);
    assert_eq!(vtt, "WEBVTT\n\n00:00:00.500 --> 01:01:01.250\nHello\n\n");
    assert_eq!(media::vtt_for(10.0).matches("-->").count(), 5);
}
