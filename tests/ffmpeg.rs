//! An ffmpeg that misbehaves: a clear error for those who wait, nothing for the others, and nothing left behind.

mod support;

use std::{fs, thread};

use support::{
    Broker, Clip, File, Format, Gate, Grant, Player, Setup, Upstream,
    process::{open_files, threads},
    until,
};

/// What every script starts with: the broker asks for the version first.
const VERSION: &str = "case $1 in -version) exec {real} \"$@\";; esac\n";

fn upstream() -> Upstream {
    let upstream = Upstream::start();
    upstream.audio("a", Clip::noise(Format::Wav, 20.0).bytes());
    upstream
}

/// A broker whose ffmpeg runs this script, and leaves a folder behind for each of its runs.
fn setup(upstream: &Upstream, script: &str) -> Setup {
    let script = format!("{VERSION}mkdir -p {{dir}}/runs/$$\n{script}");
    Broker::setup(upstream).without("url.vtt").with("packager.stall", "500ms").ffmpeg(&script)
}

fn runs(broker: &Broker) -> usize {
    fs::read_dir(broker.dir("runs")).map_or(0, Iterator::count)
}

/// No process, no zombie, no half-written file.
fn assert_clean(broker: &Broker) {
    until("all processes are reaped", || broker.children().is_empty());
    until("tempdir is empty", || broker.files("temp").is_empty());
    for file in broker.files("static") {
        assert!(!file.to_string_lossy().contains(".new-"), "{}", file.display());
        assert_ne!(file.metadata().expect("a file").len(), 0, "{}", file.display());
    }
}

/// The whole stream, as long as its source.
fn assert_plays(broker: &Broker, grant: &Grant) {
    let heard = Player::new(broker, grant).audio().pcm().seconds();
    assert!((heard - 20.0).abs() < 0.2, "{heard} s");
}

/// With this script nothing of the media can be made: all who wait are told at once, after one retry, and the next POST knows.
#[track_caller]
fn assert_encode_fails(script: &str) {
    let upstream = upstream();
    let broker = setup(&upstream, script).start();
    let grant = broker.token("a");
    let player = Player::new(&broker, &grant);
    player.get("a0.m3u8").expect(200);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| player.get("a0-0.m4s").expect_error(502, "encode_failed"));
        }
    });
    assert_eq!(runs(&broker), 2, "one retry");
    player.get("a0-0.m4s").expect_error(502, "encode_failed");
    broker.ask("a").expect_error(415, "unsupported_media");
    assert_eq!(runs(&broker), 2, "a failure is told again for a while");
    assert_clean(&broker);
    broker.get("/api/ready", &[]).expect(200);
}

#[test]
fn it_hangs() {
    assert_encode_fails("exec sleep 1000");
}

#[test]
fn it_hangs_with_a_child_of_its_own() {
    assert_encode_fails("sleep 1000 & wait");
}

#[test]
fn it_fails_at_once() {
    assert_encode_fails("echo 'no such codec' >&2; exit 1");
}

#[test]
fn it_dies_of_a_signal() {
    assert_encode_fails("kill -SEGV $$");
}

#[test]
fn it_says_nothing_and_ends_well() {
    assert_encode_fails("exit 0");
}

#[test]
fn it_writes_rubbish() {
    assert_encode_fails("exec yes rubbish");
}

#[test]
fn it_writes_another_sample_rate() {
    assert_encode_fails(
        "exec {real} -v error -f lavfi -i anullsrc=r=22050:cl=stereo -c:a aac -f adts -",
    );
}

#[test]
fn it_dies_after_some_frames() {
    for end in ["exit 1", "kill -9 $$"] {
        let upstream = upstream();
        let broker = setup(&upstream, &format!("{{real}} \"$@\" | head -c 100000\n{end}"))
            .with("packager.stall", "20s")
            .start();
        let grant = broker.token("a");
        let player = Player::new(&broker, &grant);
        let playlist = player.playlist("a0.m3u8");
        // Each run makes some segments more, until it has to begin with one that it cannot end.
        let status: Vec<_> =
            playlist.segments.iter().map(|segment| player.get(&segment.uri).status).collect();
        assert_eq!(status[..2], [200, 200], "{status:?}");
        assert!(status.iter().all(|status| [200, 502].contains(status)), "{status:?}");
        broker.token("a");
        assert_clean(&broker);
    }
}

#[test]
fn it_floods_its_standard_error() {
    let upstream = upstream();
    let script = "yes rubbish | head -c 5000000 >&2\nexec {real} \"$@\"";
    let broker = setup(&upstream, script).with("packager.stall", "20s").start();
    assert_plays(&broker, &broker.token("a"));
    assert_clean(&broker);
}

#[test]
fn it_never_stops_writing() {
    let upstream = upstream();
    let script = "exec {real} -v error -f lavfi -i anullsrc=r=44100:cl=stereo -c:a aac -f adts -";
    let broker = setup(&upstream, script).with("packager.stall", "20s").start();
    assert_plays(&broker, &broker.token("a"));
    assert_clean(&broker);
    assert_eq!(runs(&broker), 1);
}

#[test]
fn it_ignores_its_standard_input_or_closes_it() {
    let silence = "-v error -f lavfi -i anullsrc=r=44100:cl=stereo -t 20 -c:a aac -f adts -";
    for early in ["", "exec 0<&-"] {
        let (gate, source) = (Gate::new(), Clip::noise(Format::Wav, 20.0).bytes());
        let upstream = Upstream::start();
        upstream.audio("a", File::new(&source).stall(1_000_000, &gate));
        let script = format!("{early}\nexec {{real}} {silence} </dev/null");
        let broker = setup(&upstream, &script).with("packager.stall", "20s").start();
        let grant = broker.token("a");
        Player::new(&broker, &grant).get("a0-0.m4s").expect(200);
        gate.open();
        assert_plays(&broker, &grant);
        assert_clean(&broker);
    }
}

#[test]
fn it_is_slow() {
    let upstream = upstream();
    let broker = setup(&upstream, "exec {real} -readrate 8 \"$@\"").with("packager.stall", "20s");
    let broker = broker.start();
    assert_plays(&broker, &broker.token("a"));
    assert_clean(&broker);
}

#[test]
fn a_source_that_only_trickles_is_no_fault_of_ffmpeg() {
    let (gate, source) = (Gate::new(), Clip::noise(Format::Wav, 20.0).bytes());
    let upstream = Upstream::start();
    upstream.audio("a", File::new(&source).stall(1_500_000, &gate));
    let broker = setup(&upstream, "exec {real} \"$@\"").with("packager.stall", "3s").start();
    let grant = broker.token("a");
    let player = Player::new(&broker, &grant);
    player.get("a0-0.m4s").expect(200);
    gate.wait_reached();
    // Longer than an ffmpeg that has all it needs may be silent.
    let start = std::time::Instant::now();
    until("ffmpeg would have been given up", || start.elapsed().as_millis() > 4000);
    gate.open();
    assert_plays(&broker, &grant);
    assert_eq!(runs(&broker), 1);
}

#[test]
fn others_do_not_notice() {
    let upstream = upstream();
    for n in 0..2 {
        let odd = Clip::noise(Format::Wav, 5.0 + f64::from(n)).rate(22_050).bytes();
        upstream.audio(&format!("odd{n}"), odd);
    }
    let script = "case $* in *'-ar 22050'*) exec sleep 1000;; esac\nexec {real} \"$@\"";
    let broker = setup(&upstream, script).with("packager.stall", "3s").start();
    let odd: Vec<_> = (0..2).map(|n| broker.token(&format!("odd{n}"))).collect();
    thread::scope(|scope| {
        for grant in &odd {
            let player = Player::new(&broker, grant);
            scope.spawn(move || player.get("a0-0.m4s").expect_error(502, "encode_failed"));
        }
        assert_plays(&broker, &broker.token("a"));
    });
    assert_clean(&broker);
}

#[test]
fn many_jobs_leave_no_descriptor_and_no_thread() {
    let upstream = Upstream::start();
    let (odd, even) =
        (Clip::noise(Format::Wav, 1.0).rate(22_050).bytes(), Clip::noise(Format::Wav, 1.0).bytes());
    for n in 0..60_usize {
        upstream.audio(&n.to_string(), if n.is_multiple_of(2) { &even } else { &odd });
    }
    let script = "case $* in *'-ar 22050'*) kill -ABRT $$;; esac\nexec {real} \"$@\"";
    let broker = setup(&upstream, script).with("packager.stall", "20s").start();
    let run = |n: usize| {
        let grant = broker.token(&n.to_string());
        let status = Player::new(&broker, &grant).get("a0-0.m4s").status;
        assert_eq!(status, if n.is_multiple_of(2) { 200 } else { 502 });
        broker.revoke(&grant.rid).expect(204);
    };
    (0..10).for_each(run);
    until("processes are reaped", || broker.children().is_empty());
    let before = (open_files(broker.pid()), threads(broker.pid()));
    (10..60).for_each(run);
    assert_clean(&broker);
    // The pool of blocking threads breathes by a few; 50 jobs that left something behind would show as 25 or more.
    until("descriptors are closed and threads have ended", || {
        open_files(broker.pid()) <= before.0 + 8 && threads(broker.pid()) <= before.1 + 8
    });
}
