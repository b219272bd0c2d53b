//! `hls-broker transcode`: a folder that any web server can serve, and clear words for what cannot be done.

mod support;

use std::{
    fs::{self, File},
    io::Read,
    process::{Command, Stdio},
};

use nix::pty::{Winsize, openpty};
use tempfile::TempDir;

use support::{
    decode,
    media::{self, Clip, Format},
    setup::{Ended, binary, hls_broker},
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

/// What a terminal is shown on stderr, and the lines on stdout.
fn on_a_terminal(arguments: &[&str]) -> (String, String) {
    let size = Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    let terminal = openpty(&size, None).expect("a terminal");
    let mut command = Command::new(binary());
    command.arg("transcode").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    let child = command.stderr(terminal.slave).spawn().expect("the binary starts");
    // It holds the terminal's other end, which would never close.
    drop(command);
    let mut shown = Vec::new();
    // Linux says EIO when the last writer is gone.
    File::from(terminal.master).read_to_end(&mut shown).ok();
    let output = child.wait_with_output().expect("our child");
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert!(output.status.success(), "{shown}");
    (shown, String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The sequence with which the bar's line is cleared.
const CLEAR: &str = "\x1b[2K";

#[test]
fn a_terminal_shows_how_far_it_is_and_a_pipe_does_not() {
    let (dir, whole) = (TempDir::new().unwrap(), Clip::noise(Format::Flac, 60.0).bytes());
    let audio = dir.path().join("cut.flac");
    // Cut short, so that there is something to log.
    fs::write(&audio, &whole[..whole.len() * 3 / 4]).unwrap();
    let (audio, out) = (audio.to_str().unwrap(), dir.path().join("out"));
    let arguments = ["--set", "log.format=json", audio, out.to_str().unwrap()];
    let (shown, told) = on_a_terminal(&arguments);
    let segments = names(&dir).iter().filter(|name| name.contains(".m4s")).count();
    assert!(segments > 10);
    assert!(shown.starts_with(&format!("[{:32}] 0/{segments} segments", "")), "{shown:?}");
    let paced = shown.lines().any(|line| line.contains(" segments, ") && line.contains(" left"));
    assert!(paced, "{shown:?}");
    let (_, end) = shown.rsplit_once(CLEAR).expect("the bar is cleared");
    assert!(!end.contains("segments"), "the bar is gone at the end: {shown:?}");
    let logged: Vec<_> = shown.lines().filter(|line| line.contains("is appended")).collect();
    assert_eq!(logged.len(), 1, "{shown:?}");
    let line = logged[0].rsplit(CLEAR).next().unwrap().trim();
    assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line:?}");
    let expected = format!("{}: {} files\n", out.join("index.m3u8").display(), names(&dir).len());
    assert_eq!(told, expected);

    fs::remove_dir_all(&out).unwrap();
    let piped = transcode(&arguments);
    assert_eq!(piped.stdout, expected);
    assert!(piped.stderr.contains("is appended"), "{}", piped.stderr);
    let of_the_bar = ["segments", "\r", "\x1b"];
    assert!(!of_the_bar.iter().any(|part| piped.stderr.contains(part)), "{:?}", piped.stderr);
}
