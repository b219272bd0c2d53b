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

/// 320x180 with a keyframe each second, pictures out of order, and sound.
fn film(container: &str) -> Vec<u8> {
    let rest = format!(
        "-f lavfi -i sine=d=13:r=44100 {H264} -g 25 -bf 2 -c:a aac -b:a 96k -f {container}"
    );
    Film { size: "320x180", rate: "25", seconds: 13.0, filters: "", rest: &rest }.bytes()
}

fn seconds(track: &Track) -> Vec<f64> {
    track.playlist.segments.iter().map(|segment| segment.seconds).collect()
}

#[test]
fn pictures_are_copied_one_by_one() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).with("packager.video.ladder", "90:100k").start();
    for container in ["mp4", "matroska"] {
        let source = film(container);
        upstream.audio(container, &source);
        let grant = broker.token(container);
        let player = Player::new(&broker, &grant);
        let index = player.index();
        let heights: Vec<_> =
            index.variants.iter().map(|v| v.resolution.expect("one").height).collect();
        assert_eq!(heights, [180, 90], "{container}");

        // From the end to the start: each segment but the last has a head of its own.
        let copied = player.track_shuffled("v0.m3u8", 7);
        assert_eq!(decode::pictures(copied.bytes()), decode::pictures(&source), "{container}");
        let times: Vec<_> = film::watch(&broker, &grant, "v0.m3u8").times;
        let begin = times[0];
        for (n, time) in times.iter().enumerate() {
            assert!((time - begin - n as f64 / 25.0).abs() < 0.0011, "{container}: {n} at {time}");
        }
        let densest = copied.segments.iter().zip(seconds(&copied));
        let densest = densest.map(|(bytes, length)| bytes.len() as f64 * 8.0 / length);
        let densest = densest.fold(0.0, f64::max);
        assert!(densest <= index.variants[0].bandwidth as f64, "{container}: {densest}");

        let encoded = player.track("v1.m3u8");
        assert_eq!(seconds(&copied), seconds(&encoded), "{container}");
        let numbers = |track: &Track, n: usize| {
            let mut seen = film::see([track.init.as_slice(), &track.segments[n]].concat());
            // Matroska begins with the priming of its sound; what is encoded shows the first picture so much longer.
            seen.numbers.dedup();
            seen.numbers
        };
        for n in 0..copied.segments.len() {
            assert_eq!(numbers(&copied, n), numbers(&encoded, n), "{container}: segment {n}");
        }
        broker.kill9();
        broker.restart();
        let again = Player::new(&broker, &grant).track("v0.m3u8");
        assert!(again.segments == copied.segments && again.init == copied.init, "{container}");
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
