//! The film that is measured with, what bare ffmpeg needs for it, and brokers that have it in their library.

use std::{
    cmp::Reverse,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    song::{self, SECONDS, Song, ffmpeg, made, warmed},
    support::{Broker, Player, Setup, Upstream, player::Playlist},
};

/// A keyframe each two seconds, and B pictures between, as cameras and encoders leave them.
const PICTURE: &str =
    "-c:v libx264 -preset veryfast -b:v 4000k -maxrate 5000k -bufsize 8000k -g 50 -pix_fmt yuv420p";

/// The arguments of `minute.mp4`: a test picture that moves, with noise for a camera's.
const MINUTE: &str = "-f lavfi -i testsrc2=s=1920x1080:r=25:d=60,noise=c0s=8:c0f=t:c0_seed=1";

/// Ten minutes of 1920x1080 at 25 frames a second: H.264 of 4 Mbit/s and AAC, `moov` first.
pub fn ten_minutes() -> PathBuf {
    let minute = made("minute.mp4", |ffmpeg| {
        ffmpeg.args(MINUTE.split(' ')).args(PICTURE.split(' ')).args(["-f", "mp4"]);
    });
    let sound = Song::M4a.path();
    made("film.mp4", |ffmpeg| {
        ffmpeg.args(["-stream_loop", "9", "-i"]).arg(minute).arg("-i").arg(sound);
        ffmpeg.args(["-map", "0:v", "-map", "1:a", "-c", "copy", "-t", &SECONDS.to_string()]);
        ffmpeg.args(["-movflags", "+faststart", "-f", "mp4"]);
    })
}

/// Whether the film's pictures are encoded or go as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picture {
    Encoded,
    Copied,
}

/// A broker that has served a jingle, with these settings and the directory of this file in its library.
pub fn broker(file: &Path, picture: Picture, change: impl FnOnce(Setup) -> Setup) -> Broker {
    let upstream = Upstream::start();
    let copy = match picture {
        Picture::Encoded => vec!["aac".to_owned()],
        Picture::Copied => vec!["aac".to_owned(), "h264".to_owned()],
    };
    let dir = file.parent().expect("a directory").to_string_lossy().into_owned();
    let setup = song::setup(&upstream).with("packager.copy", copy);
    warmed(change(setup.with("library.dirs", vec![dir])), &upstream)
}

/// The name under which the library of [`broker`] has this file.
pub fn name(file: &Path) -> String {
    let part = |path: Option<&OsStr>| path.expect("a name").to_string_lossy().into_owned();
    let dir = part(file.parent().and_then(Path::file_name));
    format!("{dir}/{}", part(file.file_name()))
}

/// The variants of a stream, largest pictures first: the URIs of their playlists.
pub fn rungs(player: &Player) -> Vec<String> {
    let mut variants = player.index().variants;
    variants.sort_by_key(|variant| Reverse(variant.resolution.map(|size| size.height)));
    variants.into_iter().map(|variant| variant.uri).collect()
}

/// A player's way to the first picture of one of the variants: token, index, playlist, initialization, segment. Also how many
/// seconds the segment lasts.
pub fn first_picture(
    broker: &Broker,
    file: &str,
    which: impl Fn(&[String]) -> &String,
) -> (Duration, f64) {
    let begun = Instant::now();
    let grant = broker.token_file(file);
    let player = Player::new(broker, &grant);
    let playlist = player.playlist(which(&rungs(&player)));
    let length = fetch(&player, &playlist, 0);
    (begun.elapsed(), length)
}

/// Fetches a segment and what it is initialized with; says how many seconds it lasts.
pub fn fetch(player: &Player, playlist: &Playlist, n: usize) -> f64 {
    let init = playlist.init.as_ref().expect("an EXT-X-MAP");
    let segment = &playlist.segments[n];
    for uri in [init, &segment.uri] {
        assert!(player.get(uri).expect(200).body.len() > 500, "{uri}");
    }
    segment.seconds
}

/// Time that bare ffmpeg needs for `length` seconds of the film's pictures from second `start` on, until it has ended.
pub fn bare(file: &Path, start: f64, length: f64, coding: &[&str]) -> Duration {
    let mut ffmpeg = ffmpeg();
    if start > 0.0 {
        ffmpeg.args(["-ss", &format!("{start:.6}")]);
    }
    ffmpeg.arg("-i").arg(file).args(["-t", &format!("{length:.6}"), "-map", "0:v"]).args(coding);
    ffmpeg.args(["-movflags", "frag_keyframe+empty_moov", "-f", "mp4", "pipe:1"]);
    timed(ffmpeg)
}

/// Time of a command whose output goes through a pipe to a reader, as it would to us.
pub fn timed(mut command: Command) -> Duration {
    let begun = Instant::now();
    let output = command.output().expect("it is installed");
    let took = begun.elapsed();
    assert!(output.status.success() && output.stdout.len() > 1000, "{:?}", output.stderr);
    took
}
