//! Seek: how long a user waits who jumps to a place that nothing has been encoded for.

use std::time::{Duration, Instant};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    report::{Report, Target, Unit, ms},
    song::{ID, SECONDS, Song, segment_after, warm_broker},
    support::{Broker, Player, Upstream, until},
};

pub const ABOUT: &str = "GET of a segment of 5 s around 90 % (another one in each run) of a package that was just begun and whose source is on disk; beside \
    `ffmpeg -ss T -t 5 -i F -c:a aac -b:a 128k -f adts -`. Once with the first head held (SIGSTOP: both sides have the machine \
    to themselves), once while it goes on encoding on another core";

/// Target: no slower than this many times bare ffmpeg.
const AT_MOST: f64 = 1.3;

/// Seconds between the places of two runs. The encoder takes up to half as long again for the same music, by nothing but the
/// sample that its first frame begins with: one place would be a lottery.
const STEP: f64 = 5.0;

/// What the package's first head does during the seek.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FirstHead {
    Held,
    Encoding,
}

pub fn run(report: &mut Report, runs: usize) {
    for song in Song::ALL {
        let upstream = song.upstream();
        song.bare(None, Some(SECONDS));
        let (mut held, mut encoding, mut bare) = (Vec::new(), Vec::new(), Vec::new());
        for run in 0..runs {
            let place = SECONDS * 0.9 + STEP * (run as f64 - runs as f64 / 2.0);
            let (took, start) = seek(&upstream, FirstHead::Held, place);
            held.push(ms(took));
            bare.push(ms(song.bare(Some(start), Some(5.0))));
            encoding.push(ms(seek(&upstream, FirstHead::Encoding, place).0));
        }
        let what = format!("cold seek to 90 %, {}", song.name());
        report.ratio(&what, Unit::Ms, &held, &bare, Target::AtMost(AT_MOST));
        let what = format!("{what}, while the first head encodes");
        report.ratio(&what, Unit::Ms, &encoding, &bare, Target::Shown);
    }
}

/// Time of a seek to `place` seconds, and where in the media it went.
fn seek(upstream: &Upstream, first: FirstHead, place: f64) -> (Duration, f64) {
    let broker = warm_broker(upstream);
    // The jingle's source, and then the song's.
    let before = broker.files("cache").len();
    let grant = broker.token(ID);
    let player = Player::new(&broker, &grant);
    let playlist = player.playlist(&player.audio_uri());
    player.get(&playlist.segments[0].uri).expect(200);
    until("the source is on disk", || broker.files("cache").len() > before);
    if first == FirstHead::Held {
        hold_heads(&broker);
    }
    let (n, start, segment) = segment_after(&playlist, place);
    assert!((4.9..5.1).contains(&segment.seconds), "{segment:?}");
    assert!(!is_there(&broker, n), "the first head was faster than we were");
    let begun = Instant::now();
    player.get(&segment.uri).expect(200);
    (begun.elapsed(), start)
}

/// Stops the broker's encoders where they are.
pub fn hold_heads(broker: &Broker) {
    for head in broker.children() {
        kill(Pid::from_raw(head.pid), Signal::SIGSTOP).expect("a head runs");
    }
}

fn is_there(broker: &Broker, n: usize) -> bool {
    let name = format!("a0-{n}.m4s");
    broker.files("static").iter().any(|file| file.ends_with(&name))
}
