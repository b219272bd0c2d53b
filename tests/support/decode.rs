//! ffmpeg as the ear of the tests: bytes or a playlist in, samples out, and every complaint on the way.

use std::{
    ffi::OsStr,
    io::Write,
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::NamedTempFile;

/// What was heard.
#[derive(Clone)]
pub struct Pcm {
    /// Samples a second.
    pub rate: u32,
    pub channels: usize,
    /// Interleaved, signed 16 bits.
    pub samples: Vec<i16>,
    /// ffmpeg's lines at level warning and above.
    pub warnings: Vec<String>,
}

/// A packet of the first audio or video stream, as ffprobe sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Packet {
    /// Presentation time in seconds.
    pub pts: f64,
    /// Seconds.
    pub duration: f64,
    /// Bytes.
    pub size: u64,
}

impl Pcm {
    /// Samples of one channel.
    pub fn frames(&self) -> usize {
        self.samples.len() / self.channels
    }

    /// Length in seconds.
    pub fn seconds(&self) -> f64 {
        self.frames() as f64 / f64::from(self.rate)
    }

    /// The first channel.
    pub fn mono(&self) -> Vec<i16> {
        self.samples.iter().step_by(self.channels).copied().collect()
    }

    /// The loudest sample of `range`, in frames; 0 is silence.
    pub fn peak(&self, range: std::ops::Range<usize>) -> u16 {
        let samples = &self.samples[range.start * self.channels..range.end * self.channels];
        samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0)
    }
}

/// Decodes a file's bytes: a source, or an init segment with its media segments behind it.
#[track_caller]
pub fn pcm(bytes: impl AsRef<[u8]>) -> Pcm {
    pcm_with(&stored(bytes), &[])
}

/// [`pcm`], resampled and mixed by ffmpeg: for comparing a source with what was made of it.
#[track_caller]
pub fn pcm_as(bytes: impl AsRef<[u8]>, rate: u32, channels: usize) -> Pcm {
    pcm_with(&stored(bytes), &["-ar", &rate.to_string(), "-ac", &channels.to_string()])
}

/// Plays an HLS playlist from its URL with these header lines; without any, it may be a file.
#[track_caller]
pub fn playlist(url: &str, headers: &[(&str, &str)]) -> Pcm {
    let lines = header_lines(headers);
    let before: &[&str] = if lines.is_empty() { &[] } else { &["-headers", &lines] };
    listen(before, url.as_ref(), &[])
}

fn header_lines(headers: &[(&str, &str)]) -> String {
    let line = |(name, value): &(&str, &str)| format!("{name}: {value}\r\n");
    headers.iter().map(line).collect::<Vec<_>>().concat()
}

/// ffprobe's view of the container, its streams and their packet counts.
#[track_caller]
pub fn probe(bytes: impl AsRef<[u8]>) -> Value {
    let output = ffprobe(&stored(bytes), "-show_format -show_streams -count_packets -of json");
    serde_json::from_str(&output).expect("JSON of ffprobe")
}

/// The packets of stream `a:0` or `v:0`.
#[track_caller]
pub fn packets(bytes: impl AsRef<[u8]>, stream: &str) -> Vec<Packet> {
    let output = ffprobe(&stored(bytes), &format!("-select_streams {stream} {PACKETS}"));
    read_packets(&output)
}

/// The packets of stream `a:0` of a playlist, asked for with these header lines.
#[track_caller]
pub fn playlist_packets(url: &str, headers: &[(&str, &str)]) -> Vec<Packet> {
    let lines = header_lines(headers);
    let options = format!("-select_streams a:0 {PACKETS}");
    read_packets(&ffprobe_input(url.as_ref(), &["-headers", &lines], &options))
}

const PACKETS: &str = "-show_entries packet=pts_time,duration_time,size -of csv=p=0";

fn read_packets(output: &str) -> Vec<Packet> {
    let packet = |line: &str| {
        let mut fields = line.split(',');
        let mut number =
            || fields.next().and_then(|field| field.parse::<f64>().ok()).unwrap_or(f64::NAN);
        Packet { pts: number(), duration: number(), size: number() as u64 }
    };
    output.lines().filter(|line| !line.is_empty()).map(packet).collect()
}

/// The packets of AAC in a stream (`0:a:0`), without what a container says of them: sizes and MD5.
#[track_caller]
pub fn payloads(bytes: impl AsRef<[u8]>, stream: &str) -> Vec<String> {
    payloads_through("aac_adtstoasc", bytes, stream)
}

/// The same of a codec that has no headers of its own in some containers.
#[track_caller]
pub fn plain_payloads(bytes: impl AsRef<[u8]>, stream: &str) -> Vec<String> {
    payloads_through("null", bytes, stream)
}

#[track_caller]
fn payloads_through(filter: &str, bytes: impl AsRef<[u8]>, stream: &str) -> Vec<String> {
    let mut ffmpeg = Command::new("ffmpeg");
    let file = stored(bytes);
    ffmpeg.args(["-nostdin", "-v", "error", "-i"]).arg(file.path()).args(["-map", stream]);
    ffmpeg.args(["-c", "copy", "-bsf:a", filter, "-f", "framemd5", "pipe:1"]);
    let output = ffmpeg.output().expect("ffmpeg is installed");
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8_lossy(&output.stdout);
    let packets = lines.lines().filter(|line| !line.starts_with('#'));
    let told =
        |line: &str| line.split(',').skip(4).take(2).map(str::trim).collect::<Vec<_>>().join(" ");
    packets.map(told).collect()
}

/// Whether it is a film: cover art is no picture that moves.
#[track_caller]
pub fn has_picture(bytes: impl AsRef<[u8]>) -> bool {
    let probed = probe(bytes);
    let streams = probed["streams"].as_array().expect("streams");
    let moves = |stream: &Value| stream["disposition"]["attached_pic"] == 0;
    streams.iter().any(|stream| stream["codec_type"] == "video" && moves(stream))
}

/// The MD5 of each picture that is decoded.
#[track_caller]
pub fn pictures(bytes: impl AsRef<[u8]>) -> Vec<String> {
    let file = stored(bytes);
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-i"]).arg(file.path()).args(["-map", "0:v:0"]);
    ffmpeg.args(["-fps_mode", "passthrough", "-f", "framemd5", "pipe:1"]);
    let output = ffmpeg.output().expect("ffmpeg is installed");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let lines = String::from_utf8_lossy(&output.stdout);
    let pictures = lines.lines().filter(|line| !line.starts_with('#'));
    pictures.filter_map(|line| Some(line.rsplit_once(',')?.1.trim().to_owned())).collect()
}

/// Whether the first packet of the video is a keyframe, and what kind of picture it is.
#[track_caller]
pub fn first_frame(bytes: impl AsRef<[u8]>) -> (u8, char) {
    let entries = "-select_streams v:0 -read_intervals %+#1 -show_entries frame=key_frame,pict_type -of csv=p=0";
    let output = ffprobe(&stored(bytes), entries);
    let mut fields = output.trim().split(',');
    let mut field = || fields.next().and_then(|field| field.chars().next());
    let is_key = field().and_then(|key| key.to_digit(10)).expect("key_frame") as u8;
    (is_key, field().expect("pict_type"))
}

#[track_caller]
fn pcm_with(file: &NamedTempFile, options: &[&str]) -> Pcm {
    listen(&[], file.path().as_os_str(), options)
}

#[track_caller]
fn listen(before: &[&str], input: &OsStr, after: &[&str]) -> Pcm {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-hide_banner", "-v", "warning"]).args(before).arg("-i").arg(input);
    ffmpeg.args(["-map", "0:a:0"]).args(after);
    ffmpeg.args(["-bitexact", "-c:a", "pcm_s16le", "-f", "wav", "pipe:1"]);
    let output = ffmpeg.output().expect("ffmpeg is installed");
    let warnings = String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect();
    read_wav(&output.stdout, warnings).unwrap_or_else(|| panic!("nothing to hear: {output:?}"))
}

/// A WAV as ffmpeg writes it to a pipe: one `fmt ` chunk, then `data` to the end.
fn read_wav(wav: &[u8], warnings: Vec<String>) -> Option<Pcm> {
    let at = |tag: &[u8]| wav.windows(4).position(|word| word == tag);
    let (fmt, data) = (at(b"fmt ")?, at(b"data")?);
    let channels = u16::from_le_bytes(wav.get(fmt + 10..fmt + 12)?.try_into().ok()?).into();
    let rate = u32::from_le_bytes(wav.get(fmt + 12..fmt + 16)?.try_into().ok()?);
    let samples =
        wav.get(data + 8..)?.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
    Some(Pcm { rate, channels, samples: samples.collect(), warnings })
}

#[track_caller]
fn ffprobe(file: &NamedTempFile, options: &str) -> String {
    ffprobe_input(file.path().as_os_str(), &[], options)
}

#[track_caller]
fn ffprobe_input(input: &OsStr, before: &[&str], options: &str) -> String {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error"]).args(before).args(options.split(' ')).arg(input);
    let Output { status, stdout, stderr } = ffprobe.output().expect("ffprobe is installed");
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8_lossy(&stdout).into_owned()
}

/// A file, because moov may come last and pipes cannot go back.
fn stored(bytes: impl AsRef<[u8]>) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a file");
    file.write_all(bytes.as_ref()).expect("room on the disk");
    file
}
