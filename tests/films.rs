//! Films as people have them: H.264 is handed on picture for picture, the encoded rungs beside it are cut where it is, and
//! every kind of file that there is plays from its start to its end.

mod support;

use std::fs;

use support::{
    Broker, Player, Setup, Upstream, decode,
    film::{self, Film, H264},
    media,
    player::Track,
};

fn setup(upstream: &Upstream) -> Setup {
    let setup = Broker::setup(upstream).without("url.vtt").with("cache.expiry", "1h");
    setup.with("packager.video.preset", "ultrafast").with("cache.killsize.static", "1GB")
}

/// A film whose video is copied.
struct Source {
    id: &'static str,
    bytes: Vec<u8>,
    /// What CODECS says of its video, by its level.
    codecs: fn(u64) -> String,
    /// The type of the sample entry.
    tag: &'static str,
}

const HEVC: &str = "-c:v libx265 -preset ultrafast -pix_fmt yuv420p";

const AV1: &str = "-c:v libsvtav1 -preset 12 -crf 40 -g 25 -pix_fmt yuv420p";

/// An MP4 as streams are recorded: its samples follow the header in pieces.
const FRAGMENTS: &str = "mp4 -movflags empty_moov+default_base_moof+frag_keyframe";

/// x265's own settings, and those of one kind of film.
fn hevc(more: &str) -> String {
    format!("{HEVC} -x265-params log-level=none:keyint=25:min-keyint=25:{more}")
}

/// 320x180 with a keyframe each second, and sound.
fn film(encoder: &str, container: &str) -> Vec<u8> {
    let rest = format!("-f lavfi -i sine=d=9:r=44100 {encoder} -c:a aac -b:a 96k -f {container}");
    Film { size: "320x180", rate: "25", seconds: 9.0, filters: "", rest: &rest }.bytes()
}

/// Bits a second of the densest segment.
fn densest(track: &Track) -> f64 {
    let segments = track.segments.iter().zip(seconds(track));
    segments.map(|(bytes, length)| bytes.len() as f64 * 8.0 / length).fold(0.0, f64::max)
}

fn seconds(track: &Track) -> Vec<f64> {
    track.playlist.segments.iter().map(|segment| segment.seconds).collect()
}

/// The pictures of a segment by their numbers, as somebody sees it who has just come to it.
#[track_caller]
fn alone(track: &Track, n: usize, id: &str) -> Vec<usize> {
    let mut seen = film::see([track.init.as_slice(), &track.segments[n]].concat());
    assert_eq!(seen.warnings, Vec::<String>::new(), "{id}: segment {n}");
    // Matroska begins with the priming of its sound; what is encoded shows the first picture so much longer.
    seen.numbers.dedup();
    seen.numbers
}

/// What a film is called, its encoder, its container, and what CODECS says of it by its level.
type Made<'a> = (&'static str, &'a str, &'a str, fn(u64) -> String);

/// Copies films of one codec.
#[track_caller]
fn check_all(tag: &'static str, films: &[Made<'_>]) {
    let upstream = Upstream::start();
    let setup = setup(&upstream).with("packager.copy", vec!["aac", "h264", "hevc", "av1"]);
    let broker = setup.with("packager.video.ladder", "90:100k").start();
    for &(id, encoder, container, codecs) in films {
        let bytes = film(encoder, container);
        check_copied(&upstream, &broker, &Source { id, bytes, codecs, tag });
    }
}

#[test]
fn h264_is_copied_picture_by_picture() {
    let h264 = format!("{H264} -g 25 -bf 2");
    let codecs = |level| format!("avc1.4d40{level:02x}");
    let films: [Made<'_>; 4] = [
        ("mp4", &h264, "mp4", codecs),
        ("mkv", &h264, "matroska", codecs),
        ("ts", &h264, "mpegts", codecs),
        // Its clock begins anew after 3 s.
        ("wound ts", &h264, "mpegts -output_ts_offset 95440", codecs),
    ];
    check_all("avc1", &films);
}

#[test]
fn hevc_is_copied_picture_by_picture() {
    let closed = hevc("open-gop=0:bframes=3:b-pyramid=1");
    let ten = closed.replace("yuv420p", "yuv420p10le");
    check_all(
        "hvc1",
        &[
            ("mp4", &closed, "mp4", |level| format!("hvc1.1.6.L{level}.90")),
            ("mkv of 10 bits", &ten, "matroska", |level| format!("hvc1.2.4.L{level}.90")),
            ("fragments", &closed, FRAGMENTS, |level| format!("hvc1.1.6.L{level}.90")),
        ],
    );
}

#[test]
fn av1_is_copied_picture_by_picture() {
    let codecs = |level| format!("av01.0.{level:02}M.08");
    check_all("av01", &[("mp4", AV1, "mp4", codecs), ("mkv", AV1, "matroska", codecs)]);
}

/// What is offered of a film is its pictures as they are, and an encoded rung that is cut where they are.
#[track_caller]
fn check_copied(upstream: &Upstream, broker: &Broker, source: &Source) {
    let Source { id, bytes: source, codecs, tag } = source;
    upstream.audio(id, source);
    let grant = broker.token(id);
    let player = Player::new(broker, &grant);
    let index = player.index();
    let heights: Vec<_> =
        index.variants.iter().map(|v| v.resolution.expect("one").height).collect();
    assert_eq!(heights, [180, 90], "{id}");
    let level = decode::probe(source)["streams"][0]["level"].as_u64().expect("a level");
    let told = index.variants[0].codecs.as_deref().and_then(|told| told.split(',').next());
    assert_eq!(told, Some(&*codecs(level)), "{id}");

    // From the end to the start: each segment but the last has a head of its own.
    let copied = player.track_shuffled("v0.m3u8", 7);
    assert_eq!(decode::pictures(copied.bytes()), decode::pictures(source), "{id}");
    let stream = &decode::probe(copied.bytes())["streams"][0];
    assert_eq!(stream["codec_tag_string"], *tag, "{id}");
    let seen = film::watch(broker, &grant, "v0.m3u8");
    assert_eq!(seen.warnings, Vec::<String>::new(), "{id}");
    let begin = seen.times[0];
    for (n, time) in seen.times.iter().enumerate() {
        assert!((time - begin - n as f64 / 25.0).abs() < 0.0011, "{id}: {n} at {time}");
    }
    let densest = densest(&copied);
    assert!(densest <= index.variants[0].bandwidth as f64, "{id}: {densest}");

    let encoded = player.track("v1.m3u8");
    assert_eq!(seconds(&copied), seconds(&encoded), "{id}");
    for n in 0..copied.segments.len() {
        assert_eq!(alone(&copied, n, id), alone(&encoded, n, id), "{id}: segment {n}");
    }
    broker.kill9();
    broker.restart();
    let again = Player::new(broker, &grant).track("v0.m3u8");
    assert!(again.segments == copied.segments && again.init == copied.init, "{id}");
}

#[test]
fn pictures_that_may_not_be_copied_are_encoded() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).with("packager.video.ladder", "180:300k,90:100k").start();
    let all = setup(&upstream).with("packager.copy", vec!["aac", "h264", "hevc", "av1"]);
    let all = all.with("packager.video.ladder", "180:300k,90:100k").start();
    let closed = hevc("open-gop=0");
    // Pictures that are decoded after a keyframe and shown before it refer to what came before.
    let open = hevc("open-gop=1:bframes=3:b-adapt=0").replace("25", "27");
    let colours = closed.replace("yuv420p", "yuv422p");
    // More than 10 s from the first keyframe to the end.
    let made = |encoder: &str, container: &str| {
        let rest = format!("{encoder} -f {container}");
        Film { size: "320x180", rate: "25", seconds: 11.0, filters: "", rest: &rest }.bytes()
    };
    let refreshed = format!("{H264} -x264-params intra-refresh=1:keyint=25");
    let fields = format!("{H264} -g 25 -flags +ildct+ilme");
    let short = |encoder: &str| made(encoder, "matroska");
    let ts = |encoder: &str| made(encoder, "mpegts");
    let mut lossy = ts(&format!("{H264} -g 25"));
    drop(lossy.drain(188 * 200..188 * 201));
    let cases = [
        ("refreshed", &all, ts(&refreshed)),
        ("fields", &all, ts(&fields)),
        ("lossy", &all, lossy),
        ("mpeg-2", &all, ts("-c:v mpeg2video -g 25 -b:v 2M")),
        ("off", &broker, short(&closed)),
        ("av1 off", &broker, short(AV1)),
        ("open", &all, short(&open)),
        ("colours", &all, short(&colours)),
    ];
    for (id, broker, source) in cases {
        upstream.audio(id, &source);
        let grant = broker.token(id);
        let variants = Player::new(broker, &grant).index().variants;
        let codecs: Vec<_> = variants.iter().filter_map(|v| v.codecs.as_deref()).collect();
        assert!(codecs.iter().all(|codecs| codecs.starts_with("avc1.64")), "{id}: {codecs:?}");
    }
}

#[test]
fn films_of_the_world_play() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).start();
    for path in media::shared() {
        let source = fs::read(&path).expect("a file");
        if !decode::has_picture(&source) {
            continue;
        }
        let id = path.file_name().expect("a name").to_string_lossy();
        upstream.audio(&id, &source);
        let grant = broker.token(&id);
        let player = Player::new(&broker, &grant);
        let index = player.index();
        let first = player.track_shuffled(&index.variants[0].uri, 3);
        let shown = decode::pictures(first.bytes()).len();
        let own = decode::pictures(&source).len();
        assert!(shown >= own && shown <= own + 3, "{id}: {shown} pictures of {own}");
    }
}
