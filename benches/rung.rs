//! Rungs: how long a viewer waits for encoded pictures, and what one viewer costs.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{
    film::{self, Picture},
    load::processor_seconds,
    report::{Report, Target, Unit, ms},
    seek::hold_heads,
    song::{SECONDS, ffmpeg, made, segment_after},
    support::{Broker, Player, Setup, until},
};

pub const ABOUT: &str = "first segment of the smallest rung (240 lines, 350 kbit/s, alone on its ladder) of a film of 10 min, 1080p H.264, in the library, and a segment \
    around 90 % of it with the first head held (SIGSTOP); beside `ffmpeg [-ss S] -i F -t T -vf scale=426:240 -c:v libx264 -f mp4 -` with the same \
    rate, preset and reference structure. And the processor time of one viewer of the 480 of three rungs of a minute, sound included, \
    beside one ffmpeg that encodes all three";

/// Target: no slower than this many times bare ffmpeg.
const AT_MOST: f64 = 1.3;

/// The smallest rung as bare ffmpeg is asked for it.
const SMALLEST: [&str; 16] = [
    "-vf",
    "scale=426:240",
    "-c:v",
    "libx264",
    "-preset",
    "veryfast",
    "-profile:v",
    "high",
    "-b:v",
    "350k",
    "-maxrate",
    "385k",
    "-bufsize",
    "700k",
    "-bf",
    "0",
];

/// Seconds between the places of two seeks.
const STEP: f64 = 5.0;

pub fn run(report: &mut Report, runs: usize) {
    let film = film::ten_minutes();
    film::bare(&film, 0.0, SECONDS, &["-c", "copy"]);
    first(report, runs, &film);
    seek(report, runs, &film);
    viewer(report, runs);
}

fn smallest(rungs: &[String]) -> &String {
    rungs.last().expect("a rung")
}

fn first(report: &mut Report, runs: usize, film: &Path) {
    let (mut alone, mut among, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        let broker = film::broker(film, Picture::Encoded, lone);
        let (took, length) = film::first_picture(&broker, &film::name(film), smallest);
        alone.push(ms(took));
        drop(broker);
        bare.push(ms(film::bare(film, 0.0, length, &SMALLEST)));
        let broker = film::broker(film, Picture::Encoded, |setup| setup);
        among.push(ms(film::first_picture(&broker, &film::name(film), smallest).0));
    }
    let what = "smallest rung of 10 min, 1080p: first segment beside ffmpeg encoding it";
    report.ratio(what, Unit::Ms, &alone, &bare, Target::AtMost(AT_MOST));
    let what = format!("{what}, the rung that players begin with being encoded at the same time");
    report.ratio(&what, Unit::Ms, &among, &bare, Target::Shown);
}

/// A ladder of the smallest rung alone.
fn lone(setup: Setup) -> Setup {
    setup.with("packager.video.ladder", vec!["240:350k".to_owned()])
}

fn seek(report: &mut Report, runs: usize, film: &Path) {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for run in 0..runs {
        let place = SECONDS * 0.9 + STEP * (run as f64 - runs as f64 / 2.0);
        let broker = film::broker(film, Picture::Encoded, lone);
        let (took, start, length) = sought(&broker, &film::name(film), place);
        ours.push(ms(took));
        drop(broker);
        bare.push(ms(film::bare(film, start, length, &SMALLEST)));
    }
    let what = "smallest rung of 10 min, 1080p: seek to 90 %";
    report.ratio(what, Unit::Ms, &ours, &bare, Target::AtMost(AT_MOST));
}

/// Time of a seek to `place` seconds, where in the media it went, and for how long.
fn sought(broker: &Broker, file: &str, place: f64) -> (Duration, f64, f64) {
    let grant = broker.token_file(file);
    let player = Player::new(broker, &grant);
    let playlist = player.playlist(smallest(&film::rungs(&player)));
    film::fetch(&player, &playlist, 0);
    hold_heads(broker);
    let (n, start, _) = segment_after(&playlist, place);
    let begun = Instant::now();
    let length = film::fetch(&player, &playlist, n);
    (begun.elapsed(), start, length)
}

/// Three rungs of a minute, one of which somebody watches.
fn viewer(report: &mut Report, runs: usize) {
    let minute = minute();
    let ladder = ["1080:4500k", "480:1200k", "240:350k"].map(str::to_owned).to_vec();
    let (mut ours, mut all) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let setup = |setup: Setup| setup.with("packager.video.ladder", ladder.clone());
        let broker = film::broker(&minute, Picture::Encoded, setup);
        let before = processor_seconds(broker.pid());
        let grant = broker.token_file(&film::name(&minute));
        let player = Player::new(&broker, &grant);
        let track = player.track(&film::rungs(&player)[1]);
        assert!(track.playlist.seconds() > 59.0);
        player.audio();
        until("the heads have ended", || broker.children().is_empty());
        ours.push(processor_seconds(broker.pid()) - before);
        drop(broker);
        let before = processor_seconds(own_pid());
        three_outputs(&minute);
        all.push(processor_seconds(own_pid()) - before);
    }
    let what = "one viewer of one of three rungs, 60 s of 1080p: processor time beside an ffmpeg of three outputs";
    report.ratio(what, Unit::Seconds, &ours, &all, Target::Shown);
}

fn own_pid() -> i32 {
    std::process::id().cast_signed()
}

/// The film's first minute, with its sound.
fn minute() -> PathBuf {
    let film = film::ten_minutes();
    made("sounding.mp4", |ffmpeg| {
        ffmpeg.arg("-i").arg(film).args(["-t", "60", "-c", "copy", "-f", "mp4"]);
    })
}

/// What a service does that encodes everything first.
fn three_outputs(file: &Path) {
    let dir = TempDir::new().expect("a temporary directory");
    let mut ffmpeg = ffmpeg();
    ffmpeg.arg("-i").arg(file);
    for (height, rate) in [("1080", "4500k"), ("480", "1200k"), ("240", "350k")] {
        let picture = format!(
            "-vf scale=-2:{height} -c:v libx264 -preset veryfast -bf 0 -b:v {rate} -c:a aac -f hls {height}.m3u8"
        );
        ffmpeg.args(picture.split(' '));
    }
    let status = ffmpeg.current_dir(dir.path()).status().expect("ffmpeg is installed");
    assert!(status.success() && dir.path().join("240.m3u8").exists());
}
