//! Heads: sources that still arrive, who gets a worker first, and sources that end before they should.

mod support;

use std::{path::PathBuf, thread};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use support::{
    Broker, Clip, File, Format, Gate, Grant, Player, Setup, Upstream, decode, signal, until,
};

/// Samples in one AAC frame, and samples of priming.
const FRAME: usize = 1024;

fn setup(upstream: &Upstream) -> Setup {
    let setup = Broker::setup(upstream).with("cache.expiry", "1h");
    setup.with("cache.size", "1GB").with("cache.killsize.tempdir", "1GB")
}

/// An ffmpeg that reads at a hundred times real time where its arguments hold this text: heads that are still at work when
/// the test's next request comes, however busy the machine is.
fn paced(which: &str) -> String {
    format!(
        r#"case "$*" in *"{which}"*) exec {{real}} -readrate 100 "$@";; esac
exec {{real}} "$@""#
    )
}

/// Samples of a package of that many samples, priming included.
fn frames(samples: usize) -> usize {
    (samples.div_ceil(FRAME) + 1) * FRAME
}

/// A number that `/metrics` has, 0 if it is not there yet.
fn metric(broker: &Broker, name: &str) -> u64 {
    broker.metric(name).unwrap_or(0.0) as u64
}

/// All segments of the package that is in `static` alone.
fn segments(broker: &Broker) -> usize {
    let is_segment = |path: &&PathBuf| path.extension().is_some_and(|e| e == "m4s");
    broker.files("static").iter().filter(is_segment).count()
}

fn manifests(broker: &Broker) -> usize {
    broker.files("static").iter().filter(|path| path.ends_with("a0-manifest.json")).count()
}

/// The first segments of a source come while it is held up, those far in when it is whole.
#[test]
fn a_source_that_still_arrives_is_played() {
    for format in [Format::Wav, Format::Mp3, Format::Flac, Format::M4a, Format::Aiff] {
        let (upstream, gate) = (Upstream::start(), Gate::new());
        let source = Clip::noise(format, 60.0).bytes();
        let file = File::new(&source).stall(source.len() / 3, &gate);
        upstream.audio("slow", file);
        let broker = patient(&upstream).start();
        let grant = broker.token("slow");
        let player = Player::new(&broker, &grant);
        let playlist = player.playlist("a0.m3u8");
        let get = |n: usize| player.get(&playlist.segments[n].uri).expect(200).body;
        let first = [get(0), get(1), get(2)];
        assert!(!upstream.requests_for("/audio/slow")[0].over, "{format:?}");

        let last = playlist.segments.len() - 1;
        let encoded = || metric(&broker, r#"hls_broker_segment_lookups_total{outcome="encoded"}"#);
        let before = encoded();
        thread::scope(|scope| {
            let far = scope.spawn(|| get(last));
            until("the far segment is waited for", || encoded() == before + 1);
            assert!(!far.is_finished(), "{format:?}");
            gate.open();
            far.join().expect("a segment");
        });
        let heard = player.hear(3);
        assert!(first == [get(0), get(1), get(2)], "{format:?}: served anew");
        let source = decode::pcm(&source);
        let lags = signal::lags(&source, &heard, 20_000);
        assert!(lags.iter().all(|lag| *lag == Some(FRAME as isize)), "{format:?}: {lags:?}");
    }
}

/// A broker that waits for its upstream, and for segments, longer than any test lasts.
fn patient(upstream: &Upstream) -> Setup {
    let setup = setup(upstream).with("upstream.read_timeout", "10m").with("upstream.min_rate", 0);
    setup.with("limits.segment_wait", "10m").with("packager.stall", "10m")
}

#[test]
fn a_slow_upstream_starves_no_other_stream() {
    let (upstream, gate) = (Upstream::start(), Gate::new());
    let slow = Clip::noise(Format::Mp3, 40.0).bytes();
    upstream.audio("slow", File::new(&slow).stall(slow.len() / 4, &gate));
    upstream.audio("trickle", File::new(&slow).rate(40_000));
    upstream.audio("fast", Clip::noise(Format::Mp3, 30.0).bytes());
    let broker = patient(&upstream).with("packager.workers", 1).start();
    let slow = broker.token("slow");
    let slow = Player::new(&broker, &slow);
    slow.get("a0-0.m4s").expect(200);
    let trickle = broker.token("trickle");
    let trickle = Player::new(&broker, &trickle);
    trickle.get("a0-0.m4s").expect(200);
    Player::new(&broker, &broker.token("fast")).hear(1);
    let over = |id: &str| upstream.requests_for(&format!("/audio/{id}"))[0].over;
    assert!(!over("slow") && !over("trickle"), "the fast one waited for the others");
    gate.open();
    slow.hear(2);
    trickle.hear(3);
}

/// While a source arrives no other head could follow the one that it is fed to: that one does not yield, and all that is
/// there of the source is played, whoever else wants the worker.
#[test]
fn a_head_whose_source_arrives_does_not_yield() {
    let (upstream, gate) = (Upstream::start(), Gate::new());
    let long = Clip::noise(Format::Wav, 600.0).rate(16_000).mono().bytes();
    upstream.audio("arriving", File::new(&long).stall(long.len() / 2, &gate));
    upstream.audio("other", Clip::noise(Format::Wav, 3.0).bytes());
    let broker = patient(&upstream).with("packager.workers", 1).ffmpeg(&paced("pipe:0")).start();
    let grant = broker.token("arriving");
    let arriving = Player::new(&broker, &grant);
    arriving.get("a0-0.m4s").expect(200);
    Player::new(&broker, &broker.token("other")).hear(1);
    for n in 1..40 {
        arriving.get(&format!("a0-{n}.m4s")).expect(200);
    }
    assert!(!upstream.requests_for("/audio/arriving")[0].over);
    gate.open();
    let heard = arriving.audio().pcm();
    assert_eq!(heard.frames(), frames(600 * 16_000));
}

#[test]
fn a_head_yields_for_another_player() {
    let upstream = Upstream::start();
    let long = Clip::noise(Format::Wav, 300.0).rate(16_000).mono().bytes();
    for id in ["long", "longer", "longest"] {
        upstream.audio(id, long.as_slice());
    }
    upstream.audio("short", Clip::noise(Format::Wav, 3.0).bytes());
    let broker = setup(&upstream).with("packager.workers", 1).ffmpeg(&paced("-c:a aac")).start();
    let grants = ["long", "longer", "longest"].map(|id| broker.token(id));
    let players = grants.each_ref().map(|grant| Player::new(&broker, grant));
    let last = players[0].playlist("a0.m3u8").segments.len() - 1;

    // A new package, then a place far in: both come before what nobody waits for.
    Player::new(&broker, &broker.token("short")).hear(1);
    players[2].get(&format!("a0-{last}.m4s")).expect(200);
    assert!(manifests(&broker) <= 1, "prewarming went first");
    assert!(
        metric(&broker, r#"hls_broker_heads_ended_total{outcome="yielded"}"#) > 0,
        "{}",
        broker.get("/metrics", &[]).text()
    );
    until("all are complete", || manifests(&broker) == 4);
    for player in &players {
        assert_eq!(player.audio().pcm().frames(), frames(300 * 16_000));
    }
}

#[test]
fn a_full_queue_is_busy() {
    let (upstream, gate) = (Upstream::start(), Gate::new());
    // So long that no head could be trusted to get to its end soon, however fast it was at first.
    let source = Clip::noise(Format::Mp3, 600.0).rate(16_000).mono().bytes();
    upstream.audio("slow", File::new(&source).stall(source.len() / 40, &gate));
    upstream.audio("other", source);
    let setup = patient(&upstream).with("packager.workers", 1);
    let broker = setup.with("packager.queue", 1).start();
    let grant = broker.token("slow");
    let player = Player::new(&broker, &grant);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| player.get("a0-112.m4s"));
        until("somebody waits", || metric(&broker, "hls_broker_queue") == 1);
        for reply in [player.get("a0-99.m4s"), broker.ask("other")] {
            let reply = reply.expect_error(503, "busy");
            let retry: u64 =
                reply.header("retry-after").expect("Retry-After").parse().expect("seconds");
            assert!(retry > 0);
        }
        // Who waits for the same one needs no place of their own.
        let same = scope.spawn(|| player.get("a0-112.m4s"));
        gate.open();
        assert_eq!(
            waiting.join().expect("a reply").expect(200).body,
            same.join().expect("a reply").expect(200).body
        );
    });
    player.get("a0-9.m4s").expect(200);
    broker.token("other");
}

#[test]
fn thirty_players_anywhere_in_six_packages_all_get_theirs() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).with("packager.workers", 2).start();
    let formats =
        [Format::Wav, Format::Mp3, Format::Flac, Format::OggVorbis, Format::M4a, Format::OggOpus];
    for format in formats {
        upstream.audio(&format!("{format:?}"), Clip::noise(format, 120.0).mono().bytes());
    }
    let served: Vec<_> = thread::scope(|scope| {
        let player = |n: usize| {
            let (broker, format) = (&broker, formats[n % formats.len()]);
            move || {
                let mut random = StdRng::seed_from_u64(n as u64);
                let grant = broker.token(&format!("{format:?}"));
                let player = Player::new(broker, &grant);
                let playlist = player.playlist("a0.m3u8");
                let get = |_| {
                    let uri =
                        &playlist.segments[random.random_range(0..playlist.segments.len())].uri;
                    (format!("{format:?}/{uri}"), player.get(uri).expect(200).body)
                };
                (0..6).map(get).collect::<Vec<_>>()
            }
        };
        let players: Vec<_> = (0..30).map(|n| scope.spawn(player(n))).collect();
        players.into_iter().flat_map(|player| player.join().expect("all of its segments")).collect()
    });
    for (name, bytes) in &served {
        let same = served.iter().filter(|(other, _)| other == name);
        assert!(same.clone().all(|(_, other)| other == bytes), "{name} differs between players");
    }
}

/// Without a stream nothing is encoded; with a new one it goes on.
#[test]
fn a_package_that_nobody_plays_is_not_encoded() {
    let upstream = Upstream::start();
    let minutes = Clip::noise(Format::Flac, 600.0).bytes();
    upstream.audio("long", minutes);
    let broker = setup(&upstream).with("packager.workers", 1).start();
    let grant = broker.token("long");
    Player::new(&broker, &grant).get("a0-0.m4s").expect(200);
    let total = Player::new(&broker, &grant).playlist("a0.m3u8").segments.len();
    broker.revoke(&grant.rid).expect(204);
    // It is paused for a while, and then gives up.
    until("its ffmpeg has ended", || broker.children().is_empty());
    assert_eq!(metric(&broker, r#"hls_broker_heads_ended_total{outcome="idle"}"#), 1);
    let made = segments(&broker);
    assert!(made < total && manifests(&broker) == 0, "{made} of {total}");
    let grant = broker.token("long");
    assert_eq!(segments(&broker), made, "too early");
    Player::new(&broker, &grant).get(&format!("a0-{}.m4s", total - 1)).expect(200);
    until("it is complete", || manifests(&broker) == 1);
}

/// What is missing in the middle of a body, though Content-Length agrees with it.
struct Short<'a> {
    broker: &'a Broker,
    upstream: &'a Upstream,
}

impl Short<'_> {
    /// Half of a clip: its seconds by the playlist, and what is heard.
    #[track_caller]
    fn half(&self, format: Format) -> (Grant, f64, decode::Pcm, decode::Pcm) {
        let whole = Clip::noise(format, 40.0).bytes();
        let half = &whole[..whole.len() / 2];
        let id = format!("{format:?}");
        self.upstream.audio(&id, half);
        let grant = self.broker.token(&id);
        let player = Player::new(self.broker, &grant);
        let heard = player.hear(5);
        let track = player.audio();
        let promised = track.playlist.seconds();
        let audible = heard.seconds() - track.priming() as f64 / f64::from(heard.rate);
        assert!(
            (audible - promised).abs() < 0.001,
            "{id}: {promised} s promised, {audible} s heard"
        );
        (grant, promised, heard, decode::pcm(half))
    }

    fn warnings(&self) -> (usize, u64) {
        let logged = self.broker.logged("a source ends").len();
        (logged, metric(self.broker, "hls_broker_short_sources_total"))
    }
}

#[test]
fn a_source_that_ends_early_goes_on_in_silence() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).start();
    let short = Short { broker: &broker, upstream: &upstream };

    // Whose header can be held against Content-Length is cut to what is there.
    for format in [
        Format::Wav,
        Format::WavAdpcm,
        Format::Aiff,
        Format::Mp3,
        Format::M4a,
        Format::M4aFragmented,
        Format::Alac,
        Format::Adts,
        Format::OggVorbis,
        Format::Webm,
    ] {
        let (_, promised, _, source) = short.half(format);
        assert!((19.0..21.2).contains(&promised), "{format:?}: {promised} s");
        assert!(
            (promised - source.seconds()).abs() < 0.05,
            "{format:?}: {promised} s of {}",
            source.seconds()
        );
        assert_eq!(short.warnings(), (0, 0), "{format:?}");
    }
    // FLAC says how many samples there are and not how many bytes.
    let (grant, promised, heard, source) = short.half(Format::Flac);
    assert!((promised - 40.0).abs() < 0.05, "{promised} s");
    assert_eq!(short.warnings(), (1, 1));
    let end = source.frames();
    let lags = signal::lags_at(&source, &heard, &[44_100, end / 2, end - 4_000], FRAME as isize);
    assert_eq!(lags, [Some(FRAME as isize); 3], "what is there is played");
    assert_eq!(heard.peak(end + 4 * FRAME..heard.frames()), 0, "the rest is silent");
    // Asked for again, and after a restart, it is not warned of again.
    broker.token("Flac");
    broker.restart();
    Player::new(&broker, &grant).hear(6);
    assert_eq!(broker.logged("a source ends").len(), 1);
}

/// A far segment of such a source, asked for first: seeking beyond the end must not spoil what is there.
#[test]
fn a_seek_behind_the_end_of_a_short_source_is_silence() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).start();
    let whole = Clip::noise(Format::Flac, 120.0).mono().bytes();
    let half = &whole[..whole.len() / 2];
    upstream.audio("short", half);
    let grant = broker.token("short");
    let player = Player::new(&broker, &grant);
    let playlist = player.playlist("a0.m3u8");
    let last = playlist.segments.len() - 1;
    player.get(&playlist.segments[last].uri).expect(200);
    let heard = player.hear(7);
    let source = decode::pcm(half);
    assert!((heard.seconds() - 120.0).abs() < 0.05);
    let lags = signal::lags(&source, &heard, 44_100);
    let before_end = source.frames() / 44_100 - 2;
    assert!(lags[..before_end].iter().all(|lag| *lag == Some(FRAME as isize)), "{lags:?}");
    assert_eq!(heard.peak(source.frames() + 4 * FRAME..heard.frames()), 0);
    assert_eq!(broker.logged("a source ends").len(), 1);
}
