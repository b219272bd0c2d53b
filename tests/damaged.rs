//! Media that are damaged, mislabelled or mad: each is refused with 415, or plays what is there to the end that its playlists
//! promise, and the log says so. Nothing hangs, nothing crashes, and no process is left over.

mod support;

use std::ops::Range;

use support::{
    Broker, Clip, Format, Player, Setup, Upstream, decode,
    film::{Film, H264},
    media,
    process::resident_bytes,
    until,
};

/// What is logged of a file that ends before its container does.
const CUT: &str = "shorter than its container says";

/// What is logged of a source that ends before what its tables promise.
const SHORT: &str = "before its header's promise";

const SECONDS: f64 = 8.0;

fn setup(upstream: &Upstream) -> Setup {
    let setup = Broker::setup(upstream).without("url.vtt").with("cache.expiry", "1h");
    let setup =
        setup.with("packager.video.ladder", "90:100k,64:60k").with("packager.segment", "2s");
    setup.with("packager.video.preset", "ultrafast")
}

/// 160x90 with a keyframe every two seconds, pictures out of order, and sound.
fn film(options: &str) -> Vec<u8> {
    let rest =
        format!("-f lavfi -i sine=d={SECONDS}:r=44100 {H264} -bf 2 -c:a aac -b:a 64k {options}");
    Film { size: "160x90", rate: "25", seconds: SECONDS, filters: "", rest: &rest }.bytes()
}

fn mp4() -> Vec<u8> {
    film("-movflags +faststart -f mp4")
}

/// Where the content of the `nth` box of a type begins, by its name alone.
fn find(bytes: &[u8], kind: &[u8], nth: usize) -> usize {
    let places = bytes.windows(kind.len()).enumerate().filter(|(_, word)| *word == kind);
    places.map(|(at, _)| at + kind.len()).nth(nth).expect("a box")
}

/// Writes a number of 32 bits so many bytes behind the beginning of a box's content.
fn set(bytes: &mut [u8], kind: &[u8], nth: usize, at: usize, value: u32) {
    let at = find(bytes, kind, nth) + at;
    bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

/// Writes a number into each entry of a table of so many bytes an entry, behind the head of so many bytes.
fn fill(bytes: &mut [u8], (kind, nth): (&[u8], usize), (head, step): (usize, usize), value: u32) {
    let start = find(bytes, kind, nth);
    let count = bytes[start + head - 4..start + head].try_into().map(u32::from_be_bytes);
    for n in 0..count.expect("a count") as usize {
        set(bytes, kind, nth, head + n * step, value);
    }
}

fn changed(mut bytes: Vec<u8>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    change(&mut bytes);
    bytes
}

/// Bytes without any meaning, the same in every run.
fn noise(bytes: &mut [u8]) {
    let mut state = 1u32;
    for byte in bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
}

/// What becomes of a source.
enum Fate {
    /// 415, in these words.
    Refused(&'static str),
    /// It plays for about so many seconds, and so many of the log's lines hold this text for it.
    Plays(Range<f64>, &'static str, usize),
    /// The same, by its sound alone.
    Sounds(Range<f64>, &'static str, usize),
}
use Fate::{Plays, Refused, Sounds};

/// Plays everything that the playlists name, from the end to the start, and holds each rendition against its promise.
#[track_caller]
fn play(broker: &Broker, id: &str, sound: bool) -> f64 {
    let grant = broker.token(id);
    let player = Player::new(broker, &grant);
    let index = player.index();
    let variants = index.variants.iter().map(|variant| variant.uri.clone());
    let others = index.alternatives.iter().filter_map(|other| other.uri.clone());
    let mut longest = 0.0f64;
    for uri in variants.chain(others).filter(|uri| !uri.starts_with('s')) {
        assert!(!sound || uri.starts_with('a'), "{id} has {uri}");
        let playlist = player.playlist(&uri);
        let last = &playlist.segments.last().expect("a segment").uri;
        player.get(last).expect(200);
        let track = player.track_shuffled(&uri, 5);
        let promised = track.playlist.seconds();
        longest = longest.max(promised);
        let packets = decode::packets(track.bytes(), &format!("{}:0", &uri[..1]));
        let end = packets.iter().map(|packet| packet.pts + packet.duration).fold(0.0, f64::max);
        let start = packets.iter().map(|packet| packet.pts).fold(f64::MAX, f64::min);
        let shown = end - start;
        assert!((shown - promised).abs() < 0.15, "{id}: {uri} is {shown} s of {promised}");
    }
    if !sound {
        let board = player.get("storyboard.vtt").expect(200);
        let sprite = board.text().lines().find_map(|line| line.split_once('#').map(|(uri, _)| uri));
        player.get(sprite.expect("a sprite")).expect(200);
    }
    broker.revoke(&grant.rid).expect(204);
    longest
}

#[track_caller]
fn check(broker: &Broker, upstream: &Upstream, cases: Vec<(&str, Vec<u8>, Fate)>) {
    for (id, source, fate) in cases {
        upstream.audio(id, source);
        let (range, text, lines, sound) = match fate {
            Refused(found) => {
                let reply = broker.ask(id).expect_error(415, "unsupported_media");
                assert!(reply.text().contains(found), "{id}: {}", reply.text());
                continue;
            }
            Plays(range, text, lines) => (range, text, lines, false),
            Sounds(range, text, lines) => (range, text, lines, true),
        };
        let before = broker.logged(text).len();
        let seconds = play(broker, id, sound);
        assert!(range.contains(&seconds), "{id} lasts {seconds} s");
        assert_eq!(broker.logged(text).len() - before, lines, "{id}: {text}");
    }
    until("no process is left", || broker.children().is_empty());
    let longest = broker.logs().iter().map(String::len).max().unwrap_or(0);
    assert!(longest < 3_000, "a line of {longest} bytes is too much for a log");
    assert!(resident_bytes(broker.pid()) < 200 << 20, "{}", resident_bytes(broker.pid()));
}

#[test]
fn films_that_are_cut_short_play_what_is_there() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).start();
    let cut = |bytes: Vec<u8>, percent: usize| bytes[..bytes.len() * percent / 100].to_vec();
    let matroska = film("-f matroska");
    let seconds =
        |percent: f64| SECONDS * (percent - 12.0) / 100.0..SECONDS * (percent + 12.0) / 100.0;
    check(
        &broker,
        &upstream,
        vec![
            ("in the header", mp4()[..600].to_vec(), Refused("ends inside its header")),
            ("without a header", cut(film("-f mp4"), 95), Refused("without a header")),
            ("mp4 5", cut(mp4(), 15), Plays(seconds(10.0), CUT, 1)),
            ("mp4 60", cut(mp4(), 60), Plays(seconds(60.0), CUT, 1)),
            ("mp4 99", cut(mp4(), 99), Plays(seconds(99.0), CUT, 1)),
            ("matroska 60", cut(matroska.clone(), 60), Plays(seconds(60.0), CUT, 1)),
            ("matroska head", matroska[..300].to_vec(), Refused("which cannot be played")),
            (
                "fragments 60",
                cut(film("-movflags frag_keyframe+empty_moov -f mp4"), 60),
                Plays(seconds(60.0), CUT, 1),
            ),
            ("ts 60", cut(film("-f mpegts"), 60), Plays(seconds(60.0), CUT, 0)),
            ("whole", mp4(), Plays(seconds(100.0), CUT, 0)),
        ],
    );
}

#[test]
fn films_with_damaged_tables_are_refused_or_play() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).start();
    let whole = SECONDS - 0.1..SECONDS + 0.2;
    // The first of each table is that of the video.
    let none = |nth: usize| {
        move |bytes: &mut [u8]| {
            for (kind, at) in [(b"stsz", 8), (b"stts", 4), (b"stsc", 4), (b"stco", 4)] {
                set(bytes, kind, nth, at, 0);
            }
        }
    };
    let beyond =
        |nth: usize| move |bytes: &mut [u8]| fill(bytes, (b"stco", nth), (8, 4), 0x7fff_0000);
    let week = |bytes: &mut [u8]| {
        let start = find(bytes, b"tfdt", 4);
        bytes[start + 4..start + 12].copy_from_slice(&(1u64 << 60).to_be_bytes());
    };
    check(
        &broker,
        &upstream,
        vec![
            ("no pictures", changed(mp4(), none(0)), Sounds(whole.clone(), CUT, 0)),
            ("no sound", changed(mp4(), none(1)), Plays(whole.clone(), SHORT, 0)),
            ("neither", changed(changed(mp4(), none(0)), none(1)), Refused("without any samples")),
            ("pictures beyond the file", changed(mp4(), beyond(0)), Sounds(whole.clone(), CUT, 0)),
            ("sound beyond the file", changed(mp4(), beyond(1)), Plays(whole.clone(), SHORT, 0)),
            (
                "no keyframe is known",
                changed(mp4(), |bytes| set(bytes, b"stss", 0, 4, 0)),
                Plays(whole.clone(), SHORT, 0),
            ),
            (
                "a header of 4 GB",
                changed(mp4(), |bytes| {
                    let start = find(bytes, b"moov", 0) - 8;
                    bytes[start..start + 4].fill(0xff);
                }),
                Refused("too large"),
            ),
            (
                "a million years",
                changed(film("-movflags frag_keyframe+empty_moov -f mp4"), week),
                Refused("days"),
            ),
            (
                "slow beyond measure",
                changed(film("-c:v mpeg4 -bf 0 -c:a mp3 -f avi"), |bytes| {
                    let start = find(bytes, b"strh", 0) + 4;
                    bytes[start + 20..start + 24].fill(0xff);
                }),
                Refused("days"),
            ),
        ],
    );
}

#[test]
fn edit_lists_that_leave_nothing_or_make_no_sense_are_ignored() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).start();
    let whole = SECONDS - 0.1..SECONDS + 0.2;
    let ignored = || Plays(whole.clone(), "all of them are ignored", 1);
    // The first list is that of the video; an entry is a length and a beginning.
    let edited = |nth: usize, length: u32, start: u32| {
        changed(mp4(), |bytes| {
            set(bytes, b"elst", nth, 8, length);
            set(bytes, b"elst", nth, 12, start);
        })
    };
    let minus = |n: u32| n.wrapping_neg();
    check(
        &broker,
        &upstream,
        vec![
            ("begins behind its end", edited(0, 8000, 0x7000_0000), ignored()),
            ("shows nothing", edited(0, 8000, minus(1)), ignored()),
            ("begins before it begins", edited(0, 8000, minus(2)), ignored()),
            ("lasts for nothing", edited(0, 0, 1024), ignored()),
            ("sound that begins behind its end", edited(1, 8000, 0x7000_0000), ignored()),
            ("sound that is not there", edited(1, 8000, minus(1)), ignored()),
            (
                "lasts for weeks",
                edited(0, u32::MAX, 1024),
                Plays(whole.clone(), "all of them are ignored", 0),
            ),
        ],
    );
}

#[test]
fn video_of_another_codec_than_it_says_leaves_its_sound() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).start();
    let whole = SECONDS - 0.1..SECONDS + 0.2;
    let left_out = || Sounds(whole.clone(), "its video is left out", 1);
    let garbled = |bytes: &mut [u8]| {
        let record = find(bytes, b"avcC", 0);
        noise(&mut bytes[record + 6..record + 12]);
    };
    check(
        &broker,
        &upstream,
        vec![
            (
                "another codec",
                changed(mp4(), |bytes| {
                    let entry = find(bytes, b"avc1", 1);
                    bytes[entry - 4..entry].copy_from_slice(b"hvc1");
                }),
                left_out(),
            ),
            ("a configuration that is none", changed(mp4(), garbled), left_out()),
        ],
    );
}

#[test]
fn mp4_that_ffmpeg_refuses_is_refused() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).start();
    let refused = || Refused("that ffmpeg can decode");
    check(
        &broker,
        &upstream,
        vec![
            ("no descriptions", changed(mp4(), |bytes| set(bytes, b"stsd", 0, 4, 0)), refused()),
            (
                "a picture of 4 GB",
                changed(mp4(), |bytes| set(bytes, b"stsz", 0, 12 + 4 * 30, u32::MAX)),
                refused(),
            ),
            (
                "more pictures than sizes",
                changed(mp4(), |bytes| set(bytes, b"stsz", 0, 8, u32::MAX)),
                refused(),
            ),
            (
                "a run of chunks behind the last",
                changed(mp4(), |bytes| fill(bytes, (b"stsc", 1), (8, 12), 0x7fff_0000)),
                refused(),
            ),
        ],
    );
}

/// An element of Matroska: its id, and where its head, its size and its content begin.
#[derive(Clone, Copy)]
struct Element {
    id: u64,
    at: usize,
    size: usize,
    body: usize,
    length: usize,
}

const CLUSTER: u64 = 0x1f43_b675;

/// All elements of a film in Matroska down to the blocks.
fn elements(bytes: &[u8]) -> Vec<Element> {
    let number = |at: usize| {
        let width = bytes[at].leading_zeros() as usize + 1;
        let value = bytes[at..at + width].iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
        (at + width, value, value & ((1 << (7 * width)) - 1))
    };
    let (mut all, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let (size, id, _) = number(at);
        let (body, _, length) = number(size);
        let length = length as usize;
        all.push(Element { id, at, size, body, length });
        at = if matches!(id, 0x1853_8067 | CLUSTER) { body } else { body + length };
    }
    all
}

/// A film in Matroska of which the content of an element is damaged: that of the `nth` that is meant.
fn damaged(
    film: &[u8],
    nth: usize,
    is_meant: impl Fn(&[u8], Element) -> bool,
    damage: impl FnOnce(&mut [u8], Element),
) -> Vec<u8> {
    let mut meant = elements(film).into_iter().filter(|element| is_meant(film, *element));
    let element = meant.nth(nth).expect("an element");
    changed(film.to_vec(), |bytes| damage(bytes, element))
}

/// Whether it is a block of the first track that begins with a keyframe.
fn is_keyframe(film: &[u8], block: Element) -> bool {
    block.id == 0xa3 && film[block.body] == 0x81 && film[block.body + 3] & 0x80 != 0
}

fn is_cluster(_: &[u8], element: Element) -> bool {
    element.id == CLUSTER
}

#[test]
fn matroska_with_damaged_elements_plays() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).start();
    let whole = SECONDS - 0.1..SECONDS + 0.2;
    let plays = || Plays(whole.clone(), CUT, 0);
    let film = film("-f matroska");
    let scale = |ticks: u32| {
        changed(film.clone(), |bytes| {
            let at = find(bytes, b"\x2a\xd7\xb1\x83", 0);
            bytes[at..at + 3].copy_from_slice(&ticks.to_be_bytes()[1..]);
        })
    };
    let resized = |by: isize| {
        damaged(&film, 1, is_cluster, |bytes, cluster| {
            let size = cluster.length.checked_add_signed(by).expect("a size");
            let width = cluster.body - cluster.size;
            let size = (size | 1 << (7 * width)).to_be_bytes();
            bytes[cluster.size..cluster.body].copy_from_slice(&size[8 - width..]);
        })
    };
    let lost = damaged(&film, 1, is_cluster, |bytes, cluster| {
        noise(&mut bytes[cluster.at..cluster.body + 40]);
    });
    check(
        &broker,
        &upstream,
        vec![
            ("no ticks", scale(0), plays()),
            ("ticks that make no second", scale(999_999), plays()),
            ("a film in a moment", scale(1), Plays(whole.clone(), "faster than anybody", 1)),
            ("a cluster that is too long", resized(200), plays()),
            ("a cluster that is too short", resized(-200), plays()),
            ("a cluster without a head", lost, plays()),
        ],
    );
}

#[test]
fn keyframes_that_are_lost_to_a_copy_leave_the_picture_before_them() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).start();
    let whole = SECONDS - 0.1..SECONDS + 0.2;
    let film = film("-f matroska");
    let still = || Plays(whole.clone(), "the one before them stands still", 1);
    let garble = |film: &[u8], nth: usize| {
        damaged(film, nth, is_keyframe, |bytes, block| {
            noise(&mut bytes[block.body + 4..block.body + block.length]);
        })
    };
    let garbled = |nth: usize| garble(&film, nth);
    let unmarked = damaged(&film, 2, is_keyframe, |bytes, block| {
        let picture = block.body + 4..block.body + block.length;
        // Units that are none.
        bytes[picture].fill(0);
    });
    check(
        &broker,
        &upstream,
        vec![
            ("the first", garbled(0), still()),
            ("one in the middle", garbled(2), still()),
            ("two in a row", garble(&garbled(1), 2), still()),
            ("zeros", unmarked, still()),
            ("none", film.clone(), Plays(whole.clone(), "stands still", 0)),
        ],
    );
    // What is left of the film is where it was.
    upstream.audio("whole", film.clone()).audio("lost", garbled(2));
    let frames = |id: &str| {
        let grant = broker.token(id);
        let player = Player::new(&broker, &grant);
        let index = player.index();
        let codecs = |variant: &m3u8_rs::VariantStream| variant.codecs.clone().unwrap_or_default();
        let best = index.variants.iter().max_by_key(|variant| variant.bandwidth);
        let best = best.expect("a variant");
        assert!(!codecs(best).is_empty());
        decode::packets(player.track(&best.uri).bytes(), "v:0")
    };
    let (all, left) = (frames("whole"), frames("lost"));
    let places = |packets: &[decode::Packet], from: f64, to: f64| -> Vec<u64> {
        let mut places: Vec<u64> = packets
            .iter()
            .filter(|packet| (from..to).contains(&packet.pts))
            .map(|packet| (packet.pts * 1000.0).round() as u64)
            .collect();
        places.sort_unstable();
        places
    };
    assert_eq!(places(&left, 0.0, 3.9), places(&all, 0.0, 3.9));
    assert_eq!(places(&left, 6.1, 9.0), places(&all, 6.1, 9.0));
    assert!(places(&left, 4.1, 5.9).is_empty());
}

#[test]
fn captions_of_what_is_cut_short_are_those_that_are_there() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).start();
    let dir = tempfile::tempdir().expect("a directory");
    let subtitled = |id: &str, cues: &str| {
        let texts = dir.path().join(format!("{id}.srt"));
        std::fs::write(&texts, cues).expect("room on the disk");
        let sound = format!("-f lavfi -i sine=d={SECONDS}:r=44100 -i {}", texts.display());
        let rest = format!("{sound} -map 0 -map 1 -map 2 {H264} -c:a aac -c:s srt -f matroska");
        Film { size: "160x90", rate: "25", seconds: SECONDS, filters: "", rest: &rest }.bytes()
    };
    let late = "1\n00:00:06,000 --> 00:00:07,000\nlate\n";
    let both = format!("1\n00:00:00,500 --> 00:00:01,000\nsoon\n\n2{}", &late[1..]);
    for (n, (id, cues, words)) in (1..).zip([("late", late, &[][..]), ("both", &both, &["soon"])]) {
        let film = subtitled(id, cues);
        upstream.audio(id, film[..film.len() * 4 / 10].to_vec());
        let grant = broker.token(id);
        let player = Player::new(&broker, &grant);
        let uri = player.captions_uri().expect("captions");
        let segments = player.playlist(&uri).segments;
        let texts: String = segments
            .iter()
            .map(|segment| player.get(&segment.uri).expect(200).text().to_owned())
            .collect();
        assert!(words.iter().all(|word| texts.contains(word)), "{texts}");
        assert!(!texts.contains("late"), "{texts}");
        assert_eq!(broker.logged("captions are damaged").len(), n, "{id}");
        broker.revoke(&grant.rid).expect(204);
        until("no process is left", || broker.children().is_empty());
        if id == "late" {
            assert!(!texts.contains("-->"), "{texts}");
        }
    }
}

#[test]
fn films_that_are_noise_from_some_point_on_show_their_last_picture() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).start();
    let dead = changed(mp4(), |bytes| {
        let half = bytes.len() * 6 / 10;
        noise(&mut bytes[half..]);
    });
    upstream.audio("dead", dead);
    let grant = broker.token("dead");
    let player = Player::new(&broker, &grant);
    for variant in player.index().variants {
        let uri = variant.uri;
        let playlist = player.playlist(&uri);
        let last = playlist.segments.last().expect("a segment");
        player.get(&last.uri).expect(200);
        player.track(&uri);
    }
    assert!(!broker.logged(SHORT).is_empty());
    // What has nothing but noise is refused once that is known.
    let noise = changed(mp4(), |bytes| {
        let start = find(bytes, b"mdat", 0);
        bytes[start..].fill(0);
    });
    upstream.audio("noise", noise);
    let grant = broker.token("noise");
    let player = Player::new(&broker, &grant);
    for variant in player.index().variants {
        let first = player.playlist(&variant.uri).segments[0].uri.clone();
        player.get(&first).expect_error(502, "encode_failed");
    }
    let reply = broker.ask("noise").expect_error(415, "unsupported_media");
    assert!(reply.text().contains("can be decoded"), "{reply:?}");
}

#[test]
fn sounds_that_are_damaged_are_refused_or_play() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).start();
    let clip = |format| Clip::noise(format, 8.0).bytes();
    let half = |format| {
        let bytes: Vec<u8> = clip(format);
        bytes[..bytes.len() / 2].to_vec()
    };
    let flac = clip(Format::Flac);
    let frames = flac.windows(2).position(|sync| sync == b"\xff\xf8").expect("a frame");
    let about = 3.0..5.0;
    check(
        &broker,
        &upstream,
        vec![
            ("wav", half(Format::Wav), Sounds(about.clone(), CUT, 1)),
            ("aiff", half(Format::Aiff), Sounds(about.clone(), CUT, 1)),
            ("m4a", half(Format::M4a), Sounds(about.clone(), CUT, 1)),
            ("vorbis", half(Format::OggVorbis), Sounds(about.clone(), CUT, 1)),
            ("webm", half(Format::Webm), Sounds(about.clone(), CUT, 1)),
            ("mp3", half(Format::Mp3), Sounds(about.clone(), CUT, 0)),
            ("adts", half(Format::Adts), Sounds(about, CUT, 0)),
            ("flac", half(Format::Flac), Sounds(7.9..8.2, SHORT, 1)),
            ("flac without frames", flac[..frames].to_vec(), Refused("FLAC without any samples")),
            ("wav of a pipe", clip(Format::WavUnsized), Sounds(7.9..8.2, CUT, 0)),
            (
                "wav without data",
                clip(Format::Wav)[..36].to_vec(),
                Refused("which cannot be played"),
            ),
        ],
    );
}

#[test]
fn what_is_no_media_is_named_and_what_has_another_name_plays() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).start();
    let mut packets = vec![0; 188 * 2_000];
    noise(&mut packets);
    packets.iter_mut().step_by(188).for_each(|byte| *byte = 0x47);
    let mut random = vec![0; 100_000];
    noise(&mut random);
    let image = |codec| media::made(&format!("-f lavfi -i testsrc=s=64x64 -frames:v 1 {codec}"));
    let key = "00112233445566778899aabbccddeeff";
    let secret = format!(
        "-encryption_scheme cenc-aes-ctr -encryption_key {key} -encryption_kid {key} -f mp4"
    );
    check(
        &broker,
        &upstream,
        vec![
            ("text.mp4", b"a text, and nothing else\n".repeat(200), Refused("text")),
            (
                "list.mp4",
                b"#EXTM3U\n#EXTINF:5,\nfile:///etc/passwd\n".to_vec(),
                Refused("an HLS playlist"),
            ),
            (
                "script.mp4",
                b"ffconcat version 1.0\nfile '/etc/passwd'\n".to_vec(),
                Refused("a concat script"),
            ),
            (
                "picture.mp4",
                b"<svg><image href=\"file:///etc/passwd\"/></svg>".to_vec(),
                Refused("an SVG image"),
            ),
            ("page.mp3", b"<!DOCTYPE html><title>404</title>".to_vec(), Refused("an HTML page")),
            ("image.mp4", image("-c:v png -f image2pipe"), Refused("a PNG image")),
            ("photo.mp4", image("-c:v mjpeg -f image2pipe"), Refused("a JPEG image")),
            ("archive.mp4", [b"PK\x03\x04".as_slice(), &mp4()].concat(), Refused("a zip archive")),
            ("random.ts", packets, Refused("cannot be played")),
            ("random.mp4", random, Refused("cannot be played")),
            ("empty.mp3", Vec::new(), Refused("empty")),
            ("secret.mp4", film(&secret), Refused("encrypted")),
            ("matroska.mp4", film("-f matroska"), Plays(SECONDS - 0.1..SECONDS + 0.2, CUT, 0)),
            ("wav.ts", Clip::noise(Format::Wav, 8.0).bytes(), Sounds(7.9..8.2, CUT, 0)),
        ],
    );
}
