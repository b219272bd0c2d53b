//! The library: that a file's size does not matter to who begins to play it.

use std::path::{Path, PathBuf};

use crate::{
    cold,
    film::{self, Picture},
    report::{Report, Target, Unit, ms},
    song::{Song, made},
    support::{Broker, process::resident_bytes},
};

pub const ABOUT: &str = "POST /api/token to the last byte of the first segment of a file of 2 GB in the library beside one of 20 MB, sound (WAV, encoded) and \
    picture (1080p H.264 in MP4, copied, never looked at before, and listed before), and how much more resident memory the broker has after it";

/// Target: no slower than this many times the small file.
const AT_MOST: f64 = 1.2;

/// Target: no more than so many MB beyond what the small file takes.
const MEMORY: f64 = 10.0;

/// A file of 20 MB and one of 2 GB with the same beginning.
struct Pair {
    what: &'static str,
    small: PathBuf,
    large: PathBuf,
    /// A player's way to its first segment, in milliseconds.
    first: fn(&Path) -> (f64, f64),
}

pub fn run(report: &mut Report, runs: usize) {
    let listed = Pair { what: "MP4, listed", first: listed_picture, ..picture() };
    for Pair { what, small, large, first } in [sound(), picture(), listed] {
        let (mut ours, mut theirs, mut more) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..runs {
            let (large, small) = (first(&large), first(&small));
            ours.push(large.0);
            theirs.push(small.0);
            more.push(large.1 - small.1);
        }
        let row = format!("library, {what}: first segment of 2 GB beside 20 MB");
        report.ratio(&row, Unit::Ms, &ours, &theirs, Target::AtMost(AT_MOST));
        let row = format!("library, {what}: resident memory beyond that with 20 MB");
        report.figure(&row, Unit::Megabytes, &more, Target::AtMost(MEMORY));
    }
}

/// Song after song, 176 kB a second.
fn sound() -> Pair {
    let songs = |name, times: &str, seconds: &str| {
        made(name, |ffmpeg| {
            ffmpeg.args(["-stream_loop", times, "-i"]).arg(Song::Wav.path());
            ffmpeg.args(["-t", seconds, "-c", "copy", "-f", "wav"]);
        })
    };
    let first = |file: &Path| {
        let broker = film::broker(file, Picture::Copied, |setup| setup);
        let took = cold::first(&broker, || broker.token_file(&film::name(file)));
        (ms(took), resident_bytes(broker.pid()) as f64 / 1e6)
    };
    let (small, large) = (songs("20MB.wav", "0", "113"), songs("2GB.wav", "18", "11330"));
    Pair { what: "WAV", small, large, first }
}

/// Film after film, half a megabyte a second.
fn picture() -> Pair {
    let films = |name, times: &str, seconds: &str| {
        made(name, |ffmpeg| {
            ffmpeg.args(["-stream_loop", times, "-i"]).arg(film::ten_minutes());
            ffmpeg.args(["-t", seconds, "-c", "copy", "-movflags", "+faststart", "-f", "mp4"]);
        })
    };
    let (small, large) = (films("20MB.mp4", "0", "38"), films("2GB.mp4", "6", "3800"));
    Pair { what: "MP4", small, large, first: |file| first_picture(&on_shelf(file), file) }
}

/// After the backend has asked what there is, as it does before it can name a file.
fn listed_picture(file: &Path) -> (f64, f64) {
    let broker = on_shelf(file);
    let name = film::name(file);
    let folder = name.split_once('/').map_or("", |(folder, _)| folder);
    broker.library(&format!("?path={folder}")).expect(200);
    first_picture(&broker, file)
}

fn on_shelf(file: &Path) -> Broker {
    film::broker(file, Picture::Copied, |setup| setup)
}

fn first_picture(broker: &Broker, file: &Path) -> (f64, f64) {
    let (took, _) = film::first_picture(broker, &film::name(file), |rungs| &rungs[0]);
    (ms(took), resident_bytes(broker.pid()) as f64 / 1e6)
}
