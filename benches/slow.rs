//! Slow upstream: the first segment must not wait for more bytes than it is made of.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use crate::{
    cold::first_segment,
    report::{Report, Target, Unit, ms},
    song::{ID, Song, warm_broker},
    support::{File, Upstream},
};

pub const ABOUT: &str = "600 s of WAV over an upstream held to 20 Mbit/s: from the moment when the upstream has sent what the first \
    segment is made of (44 + 50 * 1024 * 4 bytes) to the segment's last byte; beside `ffmpeg -t 1` on the file, for scale";

/// Bytes a second: 20 Mbit/s.
const RATE: u64 = 20_000_000 / 8;

/// The WAV's header, and 50 frames of 1024 samples of 16 bits for each of two ears.
const NEEDED: u64 = 44 + 50 * 1024 * 4;

/// Target, in milliseconds.
const AT_MOST: f64 = 300.0;

pub fn run(report: &mut Report, runs: usize) {
    let bytes = fs::read(Song::Wav.path()).expect("the song");
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let upstream = Upstream::start();
        upstream.audio(ID, File::new(&bytes).rate(RATE));
        ours.push(ms(after_its_bytes(&upstream)));
        bare.push(ms(Song::Wav.bare(None, Some(1.0))));
    }
    let what = "slow upstream, WAV at 20 Mbit/s: first segment after its bytes";
    report.figure(what, Unit::Ms, &ours, Target::AtMost(AT_MOST));
    report.ratio(&format!("{what}, beside ffmpeg for 1 s"), Unit::Ms, &ours, &bare, Target::Shown);
}

fn after_its_bytes(upstream: &Upstream) -> Duration {
    let broker = warm_broker(upstream);
    thread::scope(|scope| {
        let player = scope.spawn(|| {
            first_segment(&broker);
            Instant::now()
        });
        upstream.wait_for(&format!("/audio/{ID}"), |request| request.sent >= NEEDED);
        let there = Instant::now();
        player.join().expect("a player").saturating_duration_since(there)
    })
}
