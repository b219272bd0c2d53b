//! `hls-broker transcode`: a folder that any web server can serve, and clear words for what cannot be done.

mod support;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    str,
};

use nix::pty::{Winsize, openpty};
use tempfile::{NamedTempFile, TempDir};

use support::{
    decode,
    film::{self, Film, H264},
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
    // Segments of audio and captions, their playlists, the index, the initialization segment and the waveform; nothing else
    // is left.
    assert_eq!(names(&dir).len(), 2 * segments.len() + 5, "{:?}", names(&dir));
}

/// 13 s at 25 frames a second with two audio tracks and two of text, in Matroska.
fn film(dir: &Path) -> PathBuf {
    // Where they are is part of the command by which a film is known that was made before.
    let shared = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let texts = [("english", "Hello"), ("german", "Grüß Gott")].map(|(language, text)| {
        let path = shared.join(format!("{language}.srt"));
        let file = NamedTempFile::new_in(shared).expect("a file");
        fs::write(file.path(), format!("1\n00:00:01,000 --> 00:00:12,000\n{text}\n"))
            .expect("room on the disk");
        file.persist(&path).expect("a rename");
        path.to_str().expect("UTF-8").to_owned()
    });
    let [english, german] = texts;
    let rest = format!(
        "-f lavfi -i sine=d=13:r=48000 -f lavfi -i sine=f=600:d=13:r=48000 -i {english} -i {german} \
         -map 0 -map 1 -map 2 -map 3 -map 4 {H264} -c:a flac -c:s subrip -f matroska"
    );
    let film = Film { size: "320x180", rate: "25", seconds: 13.0, filters: "", rest: &rest };
    let path = dir.join("film.mkv");
    fs::write(&path, film.bytes()).expect("a file");
    path
}

const LADDER: &str = "packager.video.ladder=180:400k,120:200k,90:100k";

/// What a playlist names, in lines of their own or as attributes.
fn uris(playlist: &str) -> Vec<String> {
    let attribute = |line: &str| Some(line.split_once("URI=\"")?.1.split('"').next()?.to_owned());
    let uri =
        |line: &str| if line.starts_with('#') { attribute(line) } else { Some(line.to_owned()) };
    playlist.lines().filter(|line| !line.is_empty()).filter_map(uri).collect()
}

/// Everything that a file names, and what that names, each as it is written.
fn walk(out: &Path, file: &str, found: &mut BTreeSet<String>) {
    if !found.insert(file.to_owned()) {
        return;
    }
    let bytes = fs::read(out.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
    assert!(!bytes.is_empty(), "{file}");
    let text = || str::from_utf8(&bytes).expect("text");
    let named = match file.rsplit_once('.') {
        Some((_, "m3u8")) => uris(text()),
        Some(("storyboard", "vtt")) => {
            let sprites = text().lines().filter_map(|line| line.split_once("#xywh="));
            sprites.map(|(sprite, _)| sprite.to_owned()).collect()
        }
        _ => Vec::new(),
    };
    for name in &named {
        walk(out, name, found);
    }
}

#[test]
fn a_film_becomes_a_tree_that_any_web_server_can_serve() {
    let dir = TempDir::new().unwrap();
    let (film, out) = (film(dir.path()), dir.path().join("out"));
    let ended = transcode(&["--set", LADDER, film.to_str().unwrap(), out.to_str().unwrap()]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let mut found = BTreeSet::new();
    for root in ["index.m3u8", "storyboard.vtt", "peaks.json"] {
        walk(&out, root, &mut found);
    }
    let names = names(&dir);
    assert_eq!(
        found.into_iter().collect::<Vec<_>>(),
        names,
        "what is named is there, and nothing else"
    );
    for name in ["v0.m3u8", "v1.m3u8", "v2.m3u8", "a0.m3u8", "a1.m3u8", "s0.m3u8", "s1.m3u8"] {
        assert!(names.iter().any(|other| other == name), "{name}: {names:?}");
    }
    let captions = fs::read_to_string(out.join("s1-2.vtt")).unwrap();
    assert!(captions.contains("Grüß Gott"), "{captions}");

    let heard = decode::playlist(out.join("a1.m3u8").to_str().unwrap(), &[]);
    assert!(
        (heard.seconds() - 13.0).abs() < 0.05 && heard.warnings.is_empty(),
        "{} s",
        heard.seconds()
    );
    for playlist in ["index.m3u8", "v0.m3u8", "v1.m3u8", "v2.m3u8"] {
        let mut seen = film::play(&out.join(playlist));
        // ffmpeg 5.1 plays no captions of HLS.
        seen.warnings.retain(|line| !line.contains("Can't support the subtitle"));
        assert_eq!(seen.warnings, [""; 0], "{playlist}");
        assert_eq!(seen.numbers, (0..325).collect::<Vec<_>>(), "{playlist}");
    }
    let cues = fs::read_to_string(out.join("storyboard.vtt")).unwrap();
    assert_eq!(cues.matches("-->").count(), 7, "{cues}");
    let sprite = fs::read(out.join("storyboard-0.jpg")).unwrap();
    // The second thumbnail shows the middle of its two seconds.
    let number = film::read(&sprite, [160, 0, 160, 90]);
    assert!((74..=76).contains(&number), "{number}");
}

/// Encoders of video begin their work when two of them are there.
#[test]
fn rungs_are_encoded_side_by_side() {
    let dir = TempDir::new().unwrap();
    let (film, out, two) = (film(dir.path()), dir.path().join("out"), dir.path().join("two"));
    let met = dir.path().join("met");
    fs::create_dir(&met).unwrap();
    let met = met.display();
    let script = format!(
        "#!/bin/sh
case \"$*\" in *\"-c:v libx264\"*pipe:1)
    : > {met}/$$
    until [ \"$(ls {met} | wc -l)\" -gt 1 ]; do sleep 0.05; done
esac
exec ffmpeg \"$@\"
"
    );
    fs::write(&two, script).unwrap();
    fs::set_permissions(&two, fs::Permissions::from_mode(0o755)).unwrap();
    let ffmpeg = format!("packager.ffmpeg={}", two.display());
    let arguments = ["--set", &ffmpeg, "--set", "packager.workers=2", "--set", LADDER];
    let files = [film.to_str().unwrap(), out.to_str().unwrap()];
    let ended = transcode(&[&arguments[..], &files].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(film::play(&out.join("v2.m3u8")).numbers.len(), 325);
}

/// A waveform, or thumbnails, that nothing comes of are left out; the rest is there.
#[test]
fn what_players_can_do_without_may_be_missing() {
    let dir = TempDir::new().unwrap();
    let (film, out, half) = (film(dir.path()), dir.path().join("out"), dir.path().join("half"));
    let script = "#!/bin/sh\ncase \"$*\" in *mjpeg*|*s16le*) exit 1;; esac\nexec ffmpeg \"$@\"\n";
    fs::write(&half, script).unwrap();
    fs::set_permissions(&half, fs::Permissions::from_mode(0o755)).unwrap();
    let ffmpeg = format!("packager.ffmpeg={}", half.display());
    let files = [film.to_str().unwrap(), out.to_str().unwrap()];
    let ladder = "packager.video.ladder=90:100k";
    let ended = transcode(&[&["--set", &ffmpeg, "--set", ladder][..], &files].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("storyboard-0.jpg") && ended.stderr.contains("peaks.json"));
    let names = names(&dir);
    let is_extra = |name: &String| name.starts_with("storyboard") || name.starts_with("peaks");
    assert!(!names.iter().any(is_extra), "{names:?}");
    walk(&out, "index.m3u8", &mut BTreeSet::new());
}

#[test]
fn the_container_is_the_configured_one() {
    let (dir, clip) = (TempDir::new().unwrap(), Clip::noise(Format::Wav, 3.0));
    let out = dir.path().join("out");
    let audio = clip.path();
    let arguments =
        ["--set", "packager.container=ts", audio.to_str().unwrap(), out.to_str().unwrap()];
    assert_eq!(transcode(&arguments).code, Some(0));
    assert_eq!(names(&dir), ["a0-0.ts", "a0-1.ts", "a0.m3u8", "index.m3u8", "peaks.json"]);
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
