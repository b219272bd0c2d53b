//! The disk: bounds that hold under load, a watchdog that is the last resort, a file system without room.

mod support;

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    thread,
    time::Instant,
};

use support::{
    Broker, Clip, Format, Grant, Player, Setup, Upstream, eventually, player::Track, until,
};

/// Ten seconds: 320 kB of package at 256 kbit/s.
fn clip() -> Vec<u8> {
    Clip::noise(Format::Wav, 10.0).bytes()
}

/// An upstream with this many ids, "0" and up.
fn upstream(ids: usize) -> Upstream {
    let upstream = Upstream::start();
    let clip = clip();
    for n in 0..ids {
        upstream.audio(&n.to_string(), &clip);
    }
    upstream
}

/// Packages may take 5 MB.
fn setup(upstream: &Upstream) -> Setup {
    Broker::setup(upstream)
        .without("url.vtt")
        .with("cache.killsize.static", "5MB")
        .with("packager.bitrate", "256k")
        .with("cache.expiry", "10m")
}

fn play(broker: &Broker, grant: &Grant) -> Track {
    Player::new(broker, grant).audio()
}

/// A figure of `/metrics`.
fn metric(broker: &Broker, name: &str) -> f64 {
    broker.metric(&format!("hls_broker_{name}")).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn fifty_sources_in_turn_stay_below_the_limit() {
    let upstream = upstream(50);
    let broker = setup(&upstream).start();
    let kept = broker.token("0");
    let had = play(&broker, &kept);
    for n in 1..50 {
        let grant = broker.token(&n.to_string());
        Player::new(&broker, &grant).get("a0-0.m4s").expect(200);
        broker.revoke(&grant.rid).expect(204);
        let bytes = broker.bytes("static");
        assert!(bytes <= 5_000_000, "{bytes} bytes after {n}");
        if n % 10 == 0 {
            assert_eq!(play(&broker, &kept).segments, had.segments);
        }
    }
    assert_eq!(play(&broker, &kept).segments, had.segments);
    assert!(metric(&broker, "evictions_total{outcome=\"package\"}") > 10.0);
    broker.get("/api/ready", &[]).expect(200);
}

#[test]
fn live_streams_that_fill_it_keep_new_ones_out() {
    let upstream = upstream(50);
    let broker = setup(&upstream).start();
    let (mut grants, mut played) = (Vec::new(), Vec::new());
    // A package that is complete takes less than it might have: each is played before the next is asked for.
    let complete =
        || broker.files("static").iter().filter(|f| f.ends_with("a0-manifest.json")).count();
    let refused = loop {
        until("packages are complete", || complete() == grants.len());
        let reply = broker.ask(&grants.len().to_string());
        if reply.status != 201 {
            break reply.expect_error(503, "busy");
        }
        let grant = broker.token(&grants.len().to_string());
        broker.revoke(reply.json()["rid"].as_str().expect("a rid")).expect(204);
        played.push(play(&broker, &grant).segments);
        grants.push(grant);
    };
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    assert!(grants.len() > 8, "{}", grants.len());
    assert!(broker.bytes("static") <= 5_000_000);
    broker.ask("49").expect_error(503, "busy");
    // What is there already takes no room.
    let again = broker.token("3");
    for grant in [&again, &grants[3]] {
        broker.revoke(&grant.rid).expect(204);
    }
    broker.ask("49").expect(201);
    for (n, (grant, had)) in grants.iter().zip(&played).enumerate().filter(|(n, _)| *n != 3) {
        assert_eq!(&play(&broker, grant).segments, had, "stream {n}");
    }
}

#[test]
fn a_stranger_beyond_the_limit_ends_it_and_does_not_make_it_loop() {
    let upstream = upstream(3);
    let hangs = "case $1 in -version) exec {real} \"$@\";; esac\n\
                 case $* in *pipe:0*) exec sleep 1000;; esac\nexec {real} \"$@\"";
    let broker = setup(&upstream).start();
    let grant = broker.token("0");
    let had = play(&broker, &grant);
    broker.terminate();
    drop(broker);

    let broker = setup(&upstream).ffmpeg(&hangs.replace("*pipe:0*", "*")).start();
    let hung = broker.token("1");
    until("a head runs", || broker.children().iter().any(|child| child.name == "sleep"));
    let heads = broker.children();
    fs::write(broker.dir("static").join("stranger"), vec![1; 6_000_000]).expect("a file");
    let start = Instant::now();
    assert_eq!(broker.wait().code(), Some(75));
    println!("ended {:?} after the file came", start.elapsed());
    assert!(heads.iter().all(support::process::Process::is_gone), "{heads:?}");
    let said = broker.logged("the watchdog ends the process");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("static holds 6.")
            && said[0].contains("killsize.static is 5.0 MB")
            && said[0].contains("ERROR"),
        "{said:?}"
    );

    // A supervisor starts it again: it lives, plays, takes nothing new, and says what to do.
    broker.restart();
    let line = broker.wait_log("cannot be evicted");
    for part in ["cache.killsize.static", "5.0 MB", "stranger (6.0 MB)", "removed"] {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
    broker.ask("2").expect_error(503, "busy");
    broker.get("/api/ready", &[]).expect(503);
    Player::new(&broker, &hung).get("a0.m3u8").expect(200);

    // It still ends when there comes to be more.
    fs::write(broker.dir("static").join("another"), vec![1; 2_000_000]).expect("a file");
    assert_eq!(broker.wait().code(), Some(75));
    for stranger in ["stranger", "another"] {
        fs::remove_file(broker.dir("static").join(stranger)).expect("it is there");
    }
    broker.restart();
    assert!(!had.segments.is_empty());
    broker.ask("1").expect(201);
}

#[test]
fn a_restart_does_not_die_of_what_the_last_run_left() {
    let upstream = upstream(8);
    let broker = setup(&upstream).start();
    let grants: Vec<_> = (0..8).map(|n| broker.token(&n.to_string())).collect();
    for grant in &grants {
        play(&broker, grant);
    }
    for grant in &grants[1..] {
        broker.revoke(&grant.rid).expect(204);
    }
    let had = play(&broker, &grants[0]);
    broker.kill9();
    broker.configure("cache.killsize.static", "2MB");
    broker.restart();
    assert!(broker.bytes("static") <= 2_000_000);
    assert_eq!(play(&broker, &grants[0]).segments, had.segments);
}

#[test]
fn a_watchdog_that_is_not_enabled_only_reports() {
    let upstream = upstream(2);
    let broker = setup(&upstream).with("cache.killsize.enabled", false).start();
    play(&broker, &broker.token("0"));
    fs::write(broker.dir("static").join("stranger"), vec![1; 6_000_000]).expect("a file");
    fs::write(broker.dir("temp").join("stranger"), vec![1; 300_000_000]).expect("a file");
    until("it is seen", || metric(&broker, "disk_bytes{place=\"static\"}") > 6_000_000.0);
    until("it is seen", || metric(&broker, "disk_bytes{place=\"tempdir\"}") >= 300_000_000.0);
    play(&broker, &broker.token("1"));
    broker.get("/api/ready", &[]).expect(200);
    assert_eq!(broker.terminate().code(), Some(0));
}

#[test]
fn sources_stay_within_size_and_number_under_load() {
    // 1.8 MB each.
    let upstream = upstream(20);
    let setup = setup(&upstream).with("cache.size", "9MB").with("cache.limit", 4);
    let broker = setup.with("cache.killsize.static", "50MB").start();
    let (next, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut most = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            eventually(|| {
                let files = broker.files("cache").len();
                most = (most.0.max(files), most.1.max(broker.bytes("cache")));
                done.load(SeqCst)
            });
        });
        let askers = [0; 4].map(|_| {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, SeqCst);
                    if n >= 20 {
                        return;
                    }
                    let reply = broker.ask(&n.to_string());
                    assert!([201, 503].contains(&reply.status), "{reply:?}");
                }
            })
        });
        let outcomes = askers.map(thread::ScopedJoinHandle::join);
        done.store(true, SeqCst);
        for outcome in outcomes {
            outcome.expect("no panic");
        }
    });
    println!("at most {} files and {} bytes", most.0, most.1);
    assert!(most.0 <= 4 && most.1 <= 9_000_000, "{most:?}");
    assert!(most.0 > 1, "{most:?}");
    until("downloads are over", || broker.files("temp").is_empty());
}

#[test]
fn a_source_larger_than_the_cache_is_held_alone_and_goes() {
    let upstream = upstream(2);
    let large = Clip::noise(Format::Wav, 60.0).bytes();
    upstream.audio("large", &large);
    let broker = setup(&upstream).with("cache.size", "4MB").start();
    play(&broker, &broker.token("0"));
    let grant = broker.token("large");
    assert!(play(&broker, &grant).playlist.seconds() > 59.9);
    until("it has gone", || broker.bytes("cache") <= 4_000_000);
    play(&broker, &broker.token("1"));
    play(&broker, &grant);
}

#[test]
fn downloads_that_break_off_leave_their_room_to_others() {
    let upstream = upstream(1);
    let large = Clip::noise(Format::Wav, 60.0).bytes();
    for n in 0..8 {
        let broken = support::File::new(&large).cut(large.len() / 2).etag(&format!("\"{n}\""));
        upstream.audio(&format!("broken{n}"), broken);
    }
    // Room for one of them, and for a few halves on the disk.
    let setup = setup(&upstream).with("cache.size", "12MB").with("cache.killsize.static", "1GB");
    let broker = setup.with("cache.killsize.tempdir", "25MB").start();
    let mut streams = 0;
    for n in 0..8 {
        let reply = broker.ask(&format!("broken{n}"));
        assert!([201, 502].contains(&reply.status), "{reply:?}");
        streams += usize::from(reply.status == 201);
        until("it broke off", || broker.bytes("temp") == 0);
    }
    println!("{streams} streams of broken sources");
    play(&broker, &broker.token("0"));
    broker.get("/api/ready", &[]).expect(200);
}

#[test]
fn what_is_no_media_leaves_no_file() {
    let upstream = Upstream::start();
    for n in 0..20 {
        upstream.audio(&n.to_string(), format!("<!doctype html>{n}"));
    }
    let broker = setup(&upstream).start();
    for n in 0..20 {
        broker.ask(&n.to_string()).expect_error(415, "unsupported_media");
    }
    until("nothing is kept", || {
        broker.files("cache").is_empty() && broker.files("temp").is_empty()
    });
}

/// Whether this machine lets a test mount something that nobody else sees.
fn can_mount() -> bool {
    let mut unshare = Command::new("unshare");
    unshare.args(["-m", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /mnt"]);
    unshare.output().is_ok_and(|output| output.status.success())
}

#[test]
fn a_full_file_system_is_told_and_survived() {
    if !can_mount() {
        eprintln!("skipped: a tmpfs cannot be mounted here");
        return;
    }
    let upstream = upstream(3);
    upstream.audio("long", Clip::noise(Format::Wav, 60.0).bytes());
    // The encoder stands still after some segments until it is let go.
    let gated = "case $1 in -version) exec {real} \"$@\";; esac\n\
                 {real} \"$@\" | { head -c 200000; while [ ! -e {dir}/go ]; do sleep 0.02; done; cat; }";
    let mount = "mkdir -p disk && mount -t tmpfs -o size=40m tmpfs disk && exec \"$0\" \"$@\"";
    let mut setup = setup(&upstream).ffmpeg(gated).under(["unshare", "-m", "sh", "-c", mount]);
    for (key, dir) in [("dir", "cache"), ("tempdir", "temp"), ("static", "static")]
        .map(|(k, d)| (k, format!("./disk/{d}")))
    {
        setup = setup.with(&format!("cache.{key}"), dir);
    }
    let setup = setup.with("state.dir", "./disk/state").with("cache.killsize.static", "500MB");
    let broker = setup.start();
    // Its root shows what is mounted for it alone.
    let root = PathBuf::from(format!("/proc/{}/root", broker.pid()));
    let disk = root.join(broker.dir("disk").strip_prefix("/").expect("an absolute path"));

    let grant = broker.token("long");
    let player = Player::new(&broker, &grant);
    player.get("a0-1.m4s").expect(200);
    until("the source is there", || {
        fs::read_dir(disk.join("temp")).is_ok_and(|mut d| d.next().is_none())
    });
    let filler = disk.join("filler");
    let mut file = File::create(&filler).expect("a file");
    while file.write_all(&[1; 4096]).is_ok() {}
    drop(file);

    until("new work is refused", || broker.ask("0").status == 503);
    let refused = broker.ask("1").expect_error(503, "busy");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    until("it says so", || broker.get("/api/ready", &[]).status == 503);
    // Segments that are there play on; those that cannot be written are refused, and never empty.
    player.get("a0-1.m4s").expect(200);
    File::create(broker.dir("go")).expect("a file");
    let last = player.playlist("a0.m3u8").segments.pop().expect("a segment").uri;
    let refused = player.get(&last).expect_error(503, "busy");
    assert!(refused.header("retry-after").is_some(), "{refused:?}");
    for package in fs::read_dir(disk.join("static")).expect("packages").flatten() {
        for file in fs::read_dir(package.path()).expect("a package").flatten() {
            assert_ne!(file.metadata().expect("a file").len(), 0, "{file:?}");
        }
    }

    fs::remove_file(&filler).expect("it is there");
    until("new work is taken", || broker.get("/api/ready", &[]).status == 200);
    let recovers = eventually(|| player.get(&last).status == 200);
    assert!(recovers, "{:?}", player.get(&last));
    let track = player.audio();
    assert!(track.segments.iter().all(|segment| !segment.is_empty()));
    assert!((track.pcm().seconds() - 60.0).abs() < 0.2);
    play(&broker, &broker.token("0"));
}
