//! Whole package: what cutting, muxing, keeping and sending add to an encode.

use std::time::Instant;

use crate::{
    report::{Report, Target, Unit},
    song::{ID, Song, warm_broker},
    support::Player,
};

pub const ABOUT: &str = "POST /api/token to the last byte of the last segment, fetched in order by one player, 600 s from a loopback \
    upstream; beside `ffmpeg -i F -c:a aac -b:a 128k -f adts -`";

/// Target: no slower than this many times bare ffmpeg.
const AT_MOST: f64 = 1.1;

pub fn run(report: &mut Report, runs: usize) {
    for song in Song::ALL {
        let upstream = song.upstream();
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..runs {
            let broker = warm_broker(&upstream);
            let begun = Instant::now();
            let track = Player::new(&broker, &broker.token(ID)).audio();
            ours.push(begun.elapsed().as_secs_f64());
            assert!(track.segments.len() > 100);
            drop(broker);
            bare.push(song.bare(None, None).as_secs_f64());
        }
        let what = format!("whole package of 600 s, {}", song.name());
        report.ratio(&what, Unit::Seconds, &ours, &bare, Target::AtMost(AT_MOST));
    }
}
