//! Cold start: how long a user waits for the first sound of media that nobody has asked for before.

use std::time::{Duration, Instant};

use crate::{
    report::{Report, Target, Unit, ms},
    song::{ID, SECONDS, Song, warm_broker},
    support::{Broker, Grant, Player},
};

pub const ABOUT: &str = "POST /api/token to the last byte of the first segment (token, index, playlist, segment, each on a \
    connection of its own), 600 s from a loopback upstream, nothing cached; beside `ffmpeg -t 1 -i F -c:a aac -b:a 128k -f adts -`, \
    and beside the whole transcode with `-f segment`";

/// Target: no slower than this many times bare ffmpeg for a second of the same file.
const AT_MOST: f64 = 1.3;

/// Target: this many times faster than transcoding it all first.
const AT_LEAST: f64 = 40.0;

pub fn run(report: &mut Report, runs: usize) {
    for song in Song::ALL {
        let upstream = song.upstream();
        // Into the page cache, for both sides.
        song.bare(None, Some(SECONDS));
        let (mut ours, mut bare, mut whole) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..runs {
            let broker = warm_broker(&upstream);
            ours.push(ms(first_segment(&broker)));
            // Ends its encoder, too: the reference has the machine to itself.
            drop(broker);
            bare.push(ms(song.bare(None, Some(1.0))));
            whole.push(ms(song.transcode()));
        }
        let name = song.name();
        let what = format!("cold start, {name}: first segment beside ffmpeg for 1 s");
        report.ratio(&what, Unit::Ms, &ours, &bare, Target::AtMost(AT_MOST));
        let what =
            format!("cold start, {name}: first segment beside the whole transcode, times faster");
        report.ratio(&what, Unit::Ms, &ours, &whole, Target::TimesFaster(AT_LEAST));
    }
}

/// A player's way to the first sound of the song.
pub fn first_segment(broker: &Broker) -> Duration {
    first(broker, || broker.token(ID))
}

/// A player's way to the first sound of what it asks for.
pub fn first(broker: &Broker, ask: impl FnOnce() -> Grant) -> Duration {
    let begun = Instant::now();
    let grant = ask();
    let player = Player::new(broker, &grant);
    let playlist = player.playlist(&player.audio_uri());
    let segment = player.get(&playlist.segments[0].uri).expect(200);
    let took = begun.elapsed();
    assert!(segment.body.len() > 1000, "{segment:?}");
    took
}
