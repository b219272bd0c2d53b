//! Films whose pictures say which frame they are, and an eye that reads it: what is lost, repeated or shown too late
//! cannot hide.

use std::{io::Write, path::Path, process::Command};

use tempfile::NamedTempFile;

use super::{Broker, Grant, media};

/// Bits of a frame's number, side by side in the picture: white is 1, the lowest is on the left.
const BITS: usize = 12;

/// The filter that leaves a pixel for each bit.
const READ: &str = "scale=12:1:flags=area,setsar=1,format=gray";

/// H.264 as fast as it gets, with a keyframe each 50 frames.
pub const H264: &str = "-c:v libx264 -preset ultrafast -crf 30 -g 50 -pix_fmt yuv420p";

/// A film, and what ffmpeg is told beside the picture: more inputs, and the output.
#[derive(Clone, Copy, Debug)]
pub struct Film<'a> {
    /// Pixels, `320x180`.
    pub size: &'a str,
    /// Frames a second, `25` or `30000/1001`.
    pub rate: &'a str,
    pub seconds: f64,
    /// Filters behind the picture, each with a comma in front.
    pub filters: &'a str,
    /// Further inputs and the output's options, the format last.
    pub rest: &'a str,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The frames' numbers, in the order in which they are shown.
    pub numbers: Vec<usize>,
    /// When each is shown, in seconds.
    pub times: Vec<f64>,
    /// ffmpeg's lines at level warning and above.
    pub warnings: Vec<String>,
}

impl Film<'_> {
    /// The file's bytes. There is noise in the picture: bits to spare for every rung.
    #[track_caller]
    pub fn bytes(&self) -> Vec<u8> {
        let Self { size, rate, seconds, filters, rest } = self;
        let code = format!(
            r"geq=lum=if(mod(floor(N/pow(2\,floor(X/2)))\,2)\,200\,50):cb=128:cr=128,scale={size}:flags=neighbor,noise=c0s=60:c0f=t:c0_seed=1"
        );
        let size = format!("{}x2", 2 * BITS);
        let picture = format!(
            "nullsrc=s={size}:r={rate}:d={seconds},{code},format=yuv420p{filters},setsar=1"
        );
        media::made(&format!("-f lavfi -i {picture} {rest} -bitexact"))
    }
}

/// What a file of numbered frames shows: a source, or an init segment with media segments behind it.
#[track_caller]
pub fn see(bytes: impl AsRef<[u8]>) -> Seen {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(bytes.as_ref()).expect("room on the disk");
    look(&[], &file.path().to_string_lossy())
}

/// What ffmpeg as a player of HLS shows of a playlist on disk.
#[track_caller]
pub fn play(playlist: &Path) -> Seen {
    look(&[], &playlist.to_string_lossy())
}

/// What ffmpeg as a player of HLS shows of a stream, from one of its playlists.
#[track_caller]
pub fn watch(broker: &Broker, grant: &Grant, playlist: &str) -> Seen {
    let url = format!("{}/hls/{}/{playlist}", broker.url(), grant.rid);
    look(&["-headers", &format!("x-gostreamer-token: {}\r\n", grant.token)], &url)
}

/// The number in a part of a still picture: left, top, width and height.
#[track_caller]
pub fn read(picture: &[u8], [x, y, width, height]: [u32; 4]) -> usize {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(picture).expect("room on the disk");
    let crop = format!("crop={width}:{height}:{x}:{y},{READ}");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-i"]).arg(file.path()).args(["-vf", &crop]);
    let output = ffmpeg.args(["-f", "rawvideo", "pipe:1"]).output().expect("ffmpeg is installed");
    assert_eq!(output.stdout.len(), BITS, "{output:?}");
    number(&output.stdout)
}

#[track_caller]
fn look(before: &[&str], input: &str) -> Seen {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-hide_banner", "-nostats", "-v", "level+info", "-copyts"]);
    ffmpeg.args(before).args(["-i", input, "-map", "0:v:0", "-fps_mode", "passthrough", "-vf"]);
    ffmpeg.arg(format!("showinfo=checksum=0,{READ}"));
    let output = ffmpeg.args(["-f", "rawvideo", "pipe:1"]).output().expect("ffmpeg is installed");
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    let time = |line: &str| line.split_once("pts_time:")?.1.split(' ').next()?.parse().ok();
    let is_warning =
        |line: &&str| ["[warning]", "[error]", "[fatal]"].iter().any(|level| line.contains(level));
    Seen {
        numbers: output.stdout.chunks_exact(BITS).map(number).collect(),
        times: told.lines().filter_map(time).collect(),
        warnings: told.lines().filter(is_warning).map(str::to_owned).collect(),
    }
}

fn number(bits: &[u8]) -> usize {
    bits.iter().rev().fold(0, |number, &luma| number << 1 | usize::from(luma > 125))
}
