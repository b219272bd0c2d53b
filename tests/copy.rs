//! Copied AAC: what is AAC-LC and not too dense leaves the broker packet for packet as it came, whatever it came in, whatever
//! it is played in; everything else is encoded.

mod support;

use support::{Broker, Player, Setup, Upstream, decode, media, player::Track};

const CONTAINERS: [&str; 3] = ["cmaf", "aac", "ts"];

/// Bytes of the ID3 tag in front of packed audio.
const ID3: usize = 73;

/// Something to hear, 12.3 s long, before what becomes of it.
const NOISE: &str = "-f lavfi -i anoisesrc=color=pink:seed=3:amplitude=0.5:r=44100:d=12.3";

fn setup(upstream: &Upstream) -> Setup {
    Broker::setup(upstream).with("cache.expiry", "1h").without("url.vtt")
}

/// Sources that are copied, and what ffmpeg makes them of.
fn sources() -> Vec<(&'static str, Vec<u8>)> {
    let made = |rest: &str| media::made(&format!("{NOISE} {rest}"));
    let picture =
        "-f lavfi -i testsrc2=s=160x90:r=25:d=12 -c:v libx264 -preset ultrafast -pix_fmt yuv420p";
    vec![
        ("m4a", made("-c:a aac -b:a 128k -ac 2 -movflags +faststart -f ipod")),
        ("m4a, moov last", made("-c:a aac -b:a 96k -ac 1 -f ipod")),
        (
            "m4a in fragments",
            made(
                "-c:a aac -b:a 128k -ac 2 -movflags empty_moov+default_base_moof -frag_duration 1000000 -f mp4",
            ),
        ),
        ("adts", made("-c:a aac -b:a 128k -ac 2 -f adts")),
        ("matroska", made("-c:a aac -b:a 128k -ac 2 -ar 48000 -f matroska")),
        ("slow", made("-c:a aac -b:a 32k -ac 1 -ar 16000 -f ipod")),
        ("mp4 with video", made(&format!("{picture} -c:a aac -b:a 128k -ac 2 -f mp4"))),
    ]
}

/// A stream's audio in each of the containers that there are for it, every segment asked for in a random order, the last one
/// first.
#[track_caller]
fn tracks(player: &Player) -> Vec<(&'static str, Track, u64)> {
    let has_video = player.index().variants[0].resolution.is_some();
    let containers = if has_video { &CONTAINERS[..1] } else { &CONTAINERS[..] };
    let mut tracks = Vec::new();
    for &container in containers {
        let uri = format!("a0.m3u8?container={container}");
        let track = player.track_scattered(&uri);
        let index = player.get(&format!("index.m3u8?container={container}")).expect(200);
        let index = m3u8_rs::parse_master_playlist_res(&index.body).expect("an index");
        let bandwidth = if has_video { 0 } else { index.variants[0].bandwidth };
        tracks.push((container, track, bandwidth));
    }
    tracks
}

/// A track as a file that ffmpeg reads: without ID3 tags between its frames.
fn file(container: &str, track: &Track) -> Vec<u8> {
    match container {
        "aac" => track.segments.iter().flat_map(|segment| &segment[ID3..]).copied().collect(),
        _ => track.bytes(),
    }
}

#[test]
fn packets_come_out_as_they_went_in() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).start();
    let mut all = Vec::new();
    for (id, source) in sources() {
        upstream.audio(id, &source);
        let grant = broker.token(id);
        let tracks = tracks(&Player::new(&broker, &grant));
        let own = decode::payloads(&source, "0:a:0");
        for (container, track, bandwidth) in &tracks {
            let served = decode::payloads(file(container, track), "0:a:0");
            let at = own.iter().zip(&served).position(|(own, served)| own != served);
            assert_eq!(at, None, "{id} as {container}: another packet");
            assert_eq!(served.len(), own.len(), "{id} as {container}");
            let segments = track.segments.iter().zip(&track.playlist.segments);
            for (bytes, said) in segments.filter(|_| *bandwidth > 0) {
                let bits = bytes.len() as f64 * 8.0 / said.seconds;
                assert!(bits <= *bandwidth as f64, "{id} as {container}: {bits} > {bandwidth}");
            }
        }
        all.push((grant, tracks));
    }
    broker.kill9();
    broker.restart();
    for (grant, before) in &all {
        let player = Player::new(&broker, grant);
        for (container, before, _) in before {
            let now = player.track(&format!("a0.m3u8?container={container}"));
            assert!(now.init == before.init && now.segments == before.segments, "{container}");
        }
    }
}

/// What is heard is what the source's own decoder makes of it, to the sample, after the priming that the init segment tells.
#[test]
fn samples_come_out_as_they_went_in() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).start();
    for (id, source) in sources() {
        upstream.audio(id, &source);
        let grant = broker.token(id);
        let track = Player::new(&broker, &grant).audio();
        let (heard, own) = (decode::pcm(track.bytes()), decode::pcm(&source));
        assert_eq!((heard.rate, heard.channels), (own.rate, own.channels), "{id}");
        let list = track.init.windows(4).position(|name| name == b"elst");
        let priming = list.map_or(0, |at| {
            u32::from_be_bytes(track.init[at + 16..at + 20].try_into().expect("4"))
        });
        let heard = &heard.samples[priming as usize * heard.channels..];
        // Containers that tell where the sound ends, within the last frame, are cut there.
        let both = heard.len().min(own.samples.len());
        assert!(heard[..both] == own.samples[..both], "{id}: priming of {priming}");
        assert!(heard.len().abs_diff(own.samples.len()) < 1024 * own.channels, "{id}");
    }
}

/// An MP4 whose index tells everything is cut without a process in between, wherever its index lies.
#[test]
fn mp4_is_copied_without_ffmpeg() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).counted_ffmpeg(r#"exec {real} "$@""#).start();
    let film = "-f lavfi -i testsrc2=s=320x180:r=25:d=12 -c:v libx264 -bf 2 -g 50 -pix_fmt yuv420p -c:a aac -b:a 96k -ac 2";
    for rest in ["-f mp4", "-movflags +faststart -f mp4", "-f mov"] {
        upstream.audio(rest, media::made(&format!("{NOISE} {film} {rest}")));
        let grant = broker.token(rest);
        let player = Player::new(&broker, &grant);
        let pictures = player.track_shuffled("v0.m3u8", 7);
        assert!(pictures.segments.len() > 2 && player.audio().segments.len() > 2, "{rest}");
        assert_eq!(decode::packets(pictures.bytes(), "v:0").len(), 300, "{rest}");
        assert_eq!(broker.ffmpeg_runs(), 0, "{rest}");
    }
}

#[test]
fn what_may_not_be_copied_is_encoded() {
    let upstream = Upstream::start();
    let made = |rest: &str| media::made(&format!("{NOISE} {rest}"));
    let plain = made("-c:a aac -b:a 128k -ac 2 -f ipod");
    let cases = [
        ("surround", made("-c:a aac -b:a 192k -ac 6 -f ipod"), false),
        ("fast", made("-c:a aac -b:a 192k -ac 2 -ar 96000 -f ipod"), false),
        ("main", made("-c:a aac -profile:a aac_main -b:a 128k -ac 2 -f ipod"), false),
        (
            "delayed",
            made(
                "-f lavfi -i testsrc2=s=160x90:r=25:d=12 -c:v libx264 -preset ultrafast -pix_fmt yuv420p -af asetpts=PTS+1/TB -c:a aac -f mp4",
            ),
            false,
        ),
        ("plain", plain.clone(), true),
    ];
    let broker = setup(&upstream).start();
    for (id, source, copied) in &cases {
        upstream.audio(id, source);
        let grant = broker.token(id);
        let track = Player::new(&broker, &grant).audio();
        let same = decode::payloads(track.bytes(), "0:a:0") == decode::payloads(source, "0:a:0");
        assert_eq!(same, *copied, "{id}");
        assert!(decode::pcm(track.bytes()).warnings.is_empty(), "{id}");
    }
    for (key, value) in [("packager.copy", ""), ("packager.copy_bitrate", "100k")] {
        let broker = setup(&upstream).with(key, value).start();
        let grant = broker.token("plain");
        let track = Player::new(&broker, &grant).audio();
        let packets = decode::payloads(track.bytes(), "0:a:0");
        assert!(packets != decode::payloads(&plain, "0:a:0"), "{key}: {value}");
    }
}
