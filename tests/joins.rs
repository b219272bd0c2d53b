//! Joins: many ffmpeg processes, one sound. No sample is lost or doubled where one head ends and another begins.

mod support;

use std::{collections::BTreeSet, fs};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use support::{Broker, Clip, Format, Player, Setup, Upstream, decode, player::Playlist, signal};

/// Samples in one AAC frame, and samples of priming.
const FRAME: usize = 1024;

/// AAC frames that a head encodes and drops before its first segment.
const PREROLL: usize = 16;

/// Joins that each format is tried at, at least.
const JOINS: usize = 10;

/// Packages of one format, at most: each has a join, and nearly always enough of them.
const ROUNDS: usize = 10;

/// A broker whose ffmpeg leaves a trace of each head that begins in the middle: a directory named by the sample, because
/// the broker allows its children to write no files. The head that begins at the start takes its time, or on a fast machine
/// it would have been everywhere before the others are asked for. AAC is encoded as well: to copy all of it takes one head.
fn traced(upstream: &Upstream) -> Setup {
    let trace = r#"all="$*"
case "$all" in
*atrim=start_*)
    at=${all#*atrim=start_*=}
    mkdir "{dir}/head-${at%%,*}-$$";;
*"-c:a aac"*) set -- -readrate 2 "$@";;
esac
exec {real} "$@""#;
    let setup = Broker::setup(upstream).with("cache.size", "1GB").with("cache.expiry", "1h");
    let setup = setup.with("cache.killsize.tempdir", "1GB").with("packager.workers", 2);
    let setup = setup.with("packager.segment", "2s").ffmpeg(trace);
    let setup = setup.with("packager.copy", Vec::<String>::new());
    setup.program("ffprobe", r#"exec {real} "$@""#)
}

/// Where in what is heard heads have begun since the last look, in samples.
fn joins(broker: &Broker) -> BTreeSet<usize> {
    let entries = fs::read_dir(broker.dir("")).expect("a directory").flatten();
    let join = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let sample = name.to_str()?.strip_prefix("head-")?.split('-').next()?.parse::<usize>();
        fs::remove_dir(entry.path()).expect("a trace");
        // The samples of frame n are heard one frame later, in frame n + 1.
        Some(sample.expect("a number") + PREROLL * FRAME)
    };
    entries.filter_map(join).collect()
}

/// Places at which heads must start when they are asked for in this order, last first: no head goes backwards.
fn places(playlist: &Playlist, seed: u64) -> Vec<usize> {
    let mut random = StdRng::seed_from_u64(seed);
    let places = (4..playlist.segments.len() - 1).step_by(2).rev();
    places.map(|place| place + random.random_range(0..2)).collect()
}

/// Asks for places from the last to the first, each of which takes a head unless prewarming has been there; then for
/// everything, in a random order. Each join must be where it was without one. Says how many there were.
#[track_caller]
fn check_joins(broker: &Broker, upstream: &Upstream, id: &str, source: &[u8]) -> usize {
    let seed = id.bytes().map(u64::from).sum();
    joins(broker);
    upstream.audio(id, source);
    let grant = broker.token(id);
    let player = Player::new(broker, &grant);
    let playlist = player.playlist("a0.m3u8");
    for place in places(&playlist, seed) {
        player.get(&playlist.segments[place].uri).expect(200);
    }
    let heard = player.hear(seed);
    let source = decode::pcm_as(source, heard.rate, heard.channels);

    let joins = joins(broker);
    assert!(!joins.is_empty(), "{id}: one head made it all");
    // In what is heard a join comes later by the priming. Excerpts of two frames: before, astride and behind it.
    let places: Vec<usize> =
        joins.iter().flat_map(|join| [join - 2 * FRAME, join - FRAME, *join]).collect();
    let lags = signal::lags_at(&source, &heard, &places, FRAME as isize);
    let wrong: Vec<_> =
        places.iter().zip(&lags).filter(|(_, lag)| **lag != Some(FRAME as isize)).collect();
    assert!(wrong.is_empty(), "{id}: gaps at {wrong:?}");
    joins.len()
}

/// [`check_joins`] of mono noise.
#[track_caller]
fn check_format(formats: &[(Format, u32)]) {
    let upstream = Upstream::start();
    let broker = traced(&upstream).start();
    for &(format, rate) in formats {
        let source = Clip::noise(format, 75.0).rate(rate).mono().bytes();
        let mut count = 0;
        let mut rounds = 0..ROUNDS;
        while count < JOINS
            && let Some(round) = rounds.next()
        {
            let id = format!("{format:?} at {rate}, {round}");
            count += check_joins(&broker, &upstream, &id, &source);
        }
        assert!(count >= JOINS, "{format:?}: only {count} joins");
        println!("{format:?} at {rate}: {count} joins without a gap");
    }
}

#[test]
fn joins_of_sources_that_seek_have_no_gap() {
    check_format(&[
        (Format::Wav, 44_100),
        (Format::WavU8, 22_050),
        (Format::WavS24, 48_000),
        (Format::WavFloat, 32_000),
        (Format::WavAlaw, 8_000),
        (Format::WavUnsized, 44_100),
        (Format::Aiff, 44_100),
        (Format::Alac, 44_100),
        (Format::Flac, 44_100),
        (Format::FlacUnsized, 48_000),
        (Format::OggFlac, 44_100),
    ]);
}

#[test]
fn joins_of_lossy_sources_that_seek_have_no_gap() {
    check_format(&[
        (Format::Mp3, 44_100),
        (Format::Mp3Vbr, 48_000),
        (Format::Mp3VbrBare, 44_100),
        (Format::M4a, 44_100),
        (Format::M4aMoovLast, 48_000),
        (Format::M4aFragmented, 44_100),
        (Format::Adts, 44_100),
        (Format::OggOpus, 48_000),
    ]);
}

#[test]
fn joins_of_sources_that_are_decoded_from_the_start_have_no_gap() {
    check_format(&[
        (Format::OggVorbis, 44_100),
        (Format::Mkv, 44_100),
        (Format::Webm, 48_000),
        (Format::WebmUnsized, 48_000),
        (Format::WavAdpcm, 44_100),
    ]);
}

#[test]
fn joins_of_resampled_sources_have_no_gap() {
    check_format(&[(Format::Wav, 88_200), (Format::Flac, 96_000), (Format::Wav, 192_000)]);
}
