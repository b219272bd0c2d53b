//! Copying: what it costs that the broker cuts, checks and keeps what ffmpeg only passes on.

use std::time::Instant;

use crate::{
    film::{self, Picture},
    report::{Report, Target, Unit, ms},
    song::{ID, Song, ffmpeg, setup, warmed},
    support::Player,
};

pub const ABOUT: &str = "first segment of 10 min of 1080p H.264 in the library: POST /api/token to its last byte (token, index, playlist, init, \
    segment, each on a connection of its own), beside `ffmpeg -i F -t T -map 0:v -c copy -f mp4 -`; and all segments of 600 s of AAC \
    in M4A, in order, beside `ffmpeg -i F -c copy -f adts -`";

/// Target: the first segment takes no longer than this many times bare ffmpeg's copy of it.
const FIRST: f64 = 1.3;

/// Target: the whole of the sound no longer than this many times bare ffmpeg's copy.
const WHOLE: f64 = 2.0;

pub fn run(report: &mut Report, runs: usize) {
    first(report, runs);
    whole(report, runs);
}

fn first(report: &mut Report, runs: usize) {
    let film = film::ten_minutes();
    // Into the page cache, for both sides.
    film::bare(&film, 0.0, 600.0, &["-c", "copy"]);
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let broker = film::broker(&film, Picture::Copied, |setup| setup);
        let (took, length) = film::first_picture(&broker, &film::name(&film), |rungs| &rungs[0]);
        ours.push(ms(took));
        drop(broker);
        bare.push(ms(film::bare(&film, 0.0, length, &["-c", "copy"])));
    }
    let what = "copied film of 10 min, 1080p: first segment beside ffmpeg -c copy of it";
    report.ratio(what, Unit::Ms, &ours, &bare, Target::AtMost(FIRST));
}

fn whole(report: &mut Report, runs: usize) {
    let upstream = Song::M4a.upstream();
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let copying = setup(&upstream).with("packager.copy", vec!["aac".to_owned()]);
        let broker = warmed(copying, &upstream);
        let begun = Instant::now();
        let track = Player::new(&broker, &broker.token(ID)).audio();
        ours.push(ms(begun.elapsed()));
        assert!(track.segments.len() > 100);
        drop(broker);
        let mut ffmpeg = ffmpeg();
        ffmpeg.arg("-i").arg(Song::M4a.path()).args(["-c", "copy", "-f", "adts", "-"]);
        bare.push(ms(film::timed(ffmpeg)));
    }
    let what = "copied sound, 600 s of AAC: all segments beside ffmpeg -c copy";
    report.ratio(what, Unit::Ms, &ours, &bare, Target::AtMost(WHOLE));
}
