//! `hls-broker transcode`: a folder that any web server can serve, and clear words for what cannot be done.

mod support;

use std::fs;

use tempfile::TempDir;

use support::{
    decode,
    media::{self, Clip, Format},
    setup::{Ended, hls_broker},
    signal,
};

/// Samples by which ffmpeg hears fragments late: it does not trim the priming frame.
const PRIMING: isize = 1024;

fn transcode(arguments: &[&str]) -> Ended {
    hls_broker(&[&["transcode"], arguments].concat())
}

fn names(dir: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path().join("out")).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_folder_holds_all_that_its_playlists_name() {
    let (dir, clip) = (TempDir::new().unwrap(), Clip::noise(Format::FlacUnsized, 12.0));
    let (vtt, out) = (dir.path().join("talk.vtt"), dir.path().join("out"));
    fs::write(&vtt, media::vtt(&[(0.5, 4.0, "Hello"), (6.0, 9.0, "again")])).unwrap();
    let (audio, out) = (clip.path(), out.to_str().unwrap());
    let ended = transcode(&[audio.to_str().unwrap(), vtt.to_str().unwrap(), out]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    let playlist = fs::read_to_string(format!("{out}/a0.m3u8")).unwrap();
    let segments: Vec<_> = playlist.lines().filter(|line| !line.starts_with('#')).collect();
    let read = |name: &&str| fs::read(format!("{out}/{name}")).unwrap();
    let heard =
        decode::pcm(["a0-init.mp4"].iter().chain(&segments).flat_map(read).collect::<Vec<_>>());
    let source = decode::pcm(clip.bytes());
    let lags = signal::lags(&source, &heard, 11_025);
    assert!(lags.len() > 10 && lags.iter().all(|lag| *lag == Some(PRIMING)), "{lags:?}");
    let first = fs::read_to_string(format!("{out}/s0-0.vtt")).unwrap();
    assert!(first.contains("00:00:00.500 --> 00:00:04.000\nHello"), "{first}");
    // Segments of audio and captions, their playlists, the index and the initialization segment; nothing else is left.
    assert_eq!(names(&dir).len(), 2 * segments.len() + 4, "{:?}", names(&dir));
}

#[test]
fn the_container_is_the_configured_one() {
    let (dir, clip) = (TempDir::new().unwrap(), Clip::noise(Format::Wav, 3.0));
    let out = dir.path().join("out");
    let audio = clip.path();
    let arguments =
        ["--set", "packager.container=ts", audio.to_str().unwrap(), out.to_str().unwrap()];
    assert_eq!(transcode(&arguments).code, Some(0));
    assert_eq!(names(&dir), ["a0-0.ts", "a0-1.ts", "a0.m3u8", "index.m3u8"]);
}

#[test]
fn what_cannot_be_done_is_said_and_leaves_nothing() {
    let (dir, clip) = (TempDir::new().unwrap(), Clip::noise(Format::Wav, 1.0));
    let audio = clip.path();
    let page = dir.path().join("page.mp3");
    fs::write(&page, "<!DOCTYPE html><title>No</title>").unwrap();
    let full = dir.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("mine"), "mine").unwrap();
    let (audio, page) = (audio.to_str().unwrap(), page.to_str().unwrap());
    let (out, full) = (dir.path().join("out"), full.to_str().unwrap());
    let out = out.to_str().unwrap();
    for (arguments, code, words) in [
        (&["/no/such.mp3", out][..], 74, "/no/such.mp3"),
        (&[audio, "/no/such.vtt", out], 74, "/no/such.vtt"),
        (&[page, out], 69, "HTML"),
        (&[audio, page, out], 69, "HTML"),
        (&[audio, full], 64, "not empty"),
        (&[audio], 64, "OUT_DIR"),
    ] {
        let ended = transcode(arguments);
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(words), "{arguments:?}: {}", ended.stderr);
    }
    assert_eq!(names(&dir), [""; 0]);
    assert_eq!(fs::read_dir(full).unwrap().count(), 1);
}
