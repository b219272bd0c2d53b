//! Copied Opus and FLAC: where the operator lets them be, they leave the broker packet for packet as they came, whatever they came
//! in, and in CMAF, whatever was asked for.

mod support;

use support::{Broker, Player, Setup, Upstream, decode, media};

/// Something to hear, 12.3 s long, before what becomes of it.
const NOISE: &str = "-f lavfi -i anoisesrc=color=pink:seed=3:amplitude=0.5:r=44100:d=12.3";

/// MP4 in fragments.
const FRAGMENTS: &str = "-movflags empty_moov+default_base_moof -frag_duration 1000000 -f mp4";

fn setup(upstream: &Upstream) -> Setup {
    Broker::setup(upstream).with("cache.expiry", "1h").without("url.vtt")
}

fn copying(upstream: &Upstream) -> Broker {
    setup(upstream).with("packager.copy", vec!["aac", "h264", "opus", "flac"]).start()
}

fn made(rest: &str) -> Vec<u8> {
    media::made(&format!("{NOISE} {rest}"))
}

/// Sources that are copied, what they are to players, and the samples of a packet.
fn sources() -> Vec<(&'static str, Vec<u8>, &'static str, usize)> {
    let opus = "-c:a libopus -b:a 96k";
    let surround = "-af pan=stereo|c0=c0|c1=-1*c0";
    vec![
        ("opus in ogg", made(&format!("{opus} -ac 2 -f ogg")), "opus", 960),
        ("speech", made("-c:a libopus -b:a 20k -ac 1 -frame_duration 60 -f ogg"), "opus", 2_880),
        ("hasty", made(&format!("{opus} {surround} -frame_duration 2.5 -f ogg")), "opus", 120),
        ("opus in webm", made(&format!("{opus} -ac 1 -f webm")), "opus", 960),
        ("opus in mp4", made(&format!("{opus} -ac 2 -movflags +faststart -f mp4")), "opus", 960),
        ("flac", made("-c:a flac -ac 2 -f flac"), "fLaC", 4_608),
        (
            "flac of small blocks",
            made("-c:a flac -frame_size 1152 -ac 1 -ar 16000 -f flac"),
            "fLaC",
            1_152,
        ),
        ("flac in ogg", made("-c:a flac -ac 2 -f ogg"), "fLaC", 4_608),
        (
            "flac in matroska",
            made("-c:a flac -ac 2 -sample_fmt s32 -ar 48000 -f matroska"),
            "fLaC",
            4_608,
        ),
        ("flac in mp4", made("-c:a flac -ac 1 -strict -2 -f mp4"), "fLaC", 4_608),
        (
            "flac in fragments",
            made(&format!("-c:a flac -ac 2 -strict -2 {FRAGMENTS}")),
            "fLaC",
            4_608,
        ),
        (
            "flac from a pipe",
            media::Clip::noise(media::Format::FlacUnsized, 12.3).bytes(),
            "fLaC",
            4_608,
        ),
        ("fast flac", made("-c:a flac -ac 2 -sample_fmt s32 -ar 96000 -f flac"), "fLaC", 4_608),
    ]
}

#[test]
fn packets_come_out_as_they_went_in() {
    let upstream = Upstream::start();
    let broker = copying(&upstream);
    let mut all = Vec::new();
    for (id, source, codecs, _) in sources() {
        upstream.audio(id, &source);
        let grant = broker.token(id);
        let player = Player::new(&broker, &grant);
        let index = player.index();
        let variant = &index.variants[0];
        assert_eq!(variant.codecs.as_deref(), Some(codecs), "{id}");
        let track = player.track_scattered("a0.m3u8");
        let served = decode::plain_payloads(track.bytes(), "0:a:0");
        let own = decode::plain_payloads(&source, "0:a:0");
        let at = own.iter().zip(&served).position(|(own, served)| own != served);
        assert_eq!((at, served.len()), (None, own.len()), "{id}: another packet");
        for (bytes, said) in track.segments.iter().zip(&track.playlist.segments) {
            let bits = bytes.len() as f64 * 8.0 / said.seconds;
            assert!(bits <= variant.bandwidth as f64, "{id}: {bits} > {}", variant.bandwidth);
        }
        all.push((grant, track));
    }
    broker.kill9();
    broker.restart();
    // What has to be made anew, from the start on, is the same: another order gives nothing else.
    let other = copying(&upstream);
    for ((grant, before), (id, ..)) in all.iter().zip(sources()) {
        for player in [Player::new(&broker, grant), Player::new(&other, &other.token(id))] {
            let now = player.track("a0.m3u8");
            assert!(now.init == before.init && now.segments == before.segments, "{id}");
        }
    }
}

/// What is heard is what the source's own decoder makes of it, to the sample, and lasts as long.
#[test]
fn samples_come_out_as_they_went_in() {
    let upstream = Upstream::start();
    let broker = copying(&upstream);
    for (id, source, _, packet) in sources() {
        upstream.audio(id, &source);
        let track = Player::new(&broker, &broker.token(id)).audio();
        let (heard, own) = (decode::pcm(track.bytes()), decode::pcm(&source));
        assert_eq!((heard.rate, heard.channels), (own.rate, own.channels), "{id}");
        // ffmpeg throws the pre-skip of Opus away whatever the edit list says.
        let both = heard.samples.len().min(own.samples.len());
        assert!(heard.samples[..both] == own.samples[..both], "{id}");
        assert!(heard.frames().abs_diff(own.frames()) < packet, "{id}");
        let promised = track.playlist.seconds();
        assert!((promised - own.seconds()).abs() < 1e-4, "{id}: {promised} s of {}", own.seconds());
    }
}

#[test]
fn nothing_else_is_copied() {
    let upstream = Upstream::start();
    let broker = copying(&upstream);
    let cases = [
        ("surround", made("-c:a libopus -b:a 192k -ac 6 -f ogg")),
        ("dense", made("-c:a libopus -b:a 400k -ac 2 -f ogg")),
        ("flac of six", made("-c:a flac -ac 6 -f flac")),
        ("odd flac", made("-c:a flac -ar 37800 -f flac")),
        ("opus in fragments", made(&format!("-c:a libopus -ac 2 {FRAGMENTS}"))),
        ("vorbis", made("-c:a libvorbis -f ogg")),
    ];
    for (id, source) in cases {
        upstream.audio(id, &source);
        let index = Player::new(&broker, &broker.token(id)).index();
        assert_eq!(index.variants[0].codecs.as_deref(), Some("mp4a.40.2"), "{id}");
    }
    // Nor is anything of it without being asked for.
    let broker = setup(&upstream).start();
    for (id, source, ..) in sources() {
        upstream.audio(id, &source);
        let player = Player::new(&broker, &broker.token(id));
        assert_eq!(player.index().variants[0].codecs.as_deref(), Some("mp4a.40.2"), "{id}");
    }
}

#[test]
fn it_comes_in_cmaf_whatever_is_asked_for() {
    let upstream = Upstream::start();
    let broker = copying(&upstream);
    for (id, source, ..) in sources().into_iter().take(1) {
        upstream.audio(id, &source);
        let player = Player::new(&broker, &broker.token(id));
        for container in ["aac", "ts"] {
            let track = player.track(&format!("a0.m3u8?container={container}"));
            assert!(track.playlist.segments.iter().all(|s| s.uri.contains(".m4s")), "{container}");
            let reply = player.get(&format!("a0-0.{container}")).expect(404);
            assert_eq!(reply.json()["code"], "not_found");
        }
    }
}

/// Beside a picture that lasts longer there is silence to its end, behind all packets of the source.
#[test]
fn silence_follows_to_the_end_of_the_picture() {
    let upstream = Upstream::start();
    let broker = copying(&upstream);
    let picture =
        "-f lavfi -i testsrc2=s=160x90:r=25:d=20 -c:v libx264 -preset ultrafast -pix_fmt yuv420p";
    for (id, codec) in [("opus", "-c:a libopus -b:a 96k -ac 2"), ("fLaC", "-c:a flac -ac 2")] {
        let source = made(&format!("{picture} {codec} -f matroska"));
        upstream.audio(id, &source);
        let player = Player::new(&broker, &broker.token(id));
        let codecs = player.index().variants[0].codecs.clone().expect("CODECS");
        assert!(codecs.ends_with(&format!(",{id}")), "{codecs}");
        let track = player.track_scattered("a0.m3u8");
        let served = decode::plain_payloads(track.bytes(), "0:a:0");
        let own = decode::plain_payloads(&source, "0:a:0");
        assert_eq!(served[..own.len()], own, "{id}");
        let heard = decode::pcm(track.bytes());
        assert!(heard.warnings.is_empty(), "{id}: {:?}", heard.warnings);
        assert!((heard.seconds() - 20.0).abs() < 0.11, "{id}: {} s", heard.seconds());
        let second = heard.rate as usize;
        assert_eq!(heard.peak(13 * second..heard.frames()), 0, "{id}");
    }
}
