//! The last resort: ffmpeg decodes a finished file, and what comes out is counted.
//!
//! For what only decoding can tell ([`super::Stop::Undetermined`]). The demuxer is pinned and nothing but files is
//! allowed, so that a source never makes ffmpeg open another one.

use std::{io, path::Path, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

use super::{Codec, Container, Facts, Splice};
use crate::ffmpeg::Ffmpeg;

/// Bytes of ffprobe's answer that are read.
const ANSWER: u64 = 4_096;

/// The facts of a finished file by decoding all of its first audio track, within `limit` of wall time for each of two
/// processes; else a sentence fragment that says what was found.
pub async fn decode(
    ffmpeg: &Ffmpeg,
    path: &Path,
    container: Container,
    limit: Duration,
) -> Result<Facts, String> {
    let path = std::path::absolute(path).map_err(|error| failed(&error))?;
    let path = path.to_str().ok_or_else(|| "unreadable".to_owned())?;
    let found = timeout(limit, ask(ffmpeg, path, container, limit))
        .await
        .map_err(|_| "too slow to read".to_owned())??;
    let counted = timeout(limit, count(ffmpeg, path, container, limit)).await;
    let samples =
        counted.map_err(|_| "too slow to decode".to_owned())?.map_err(|error| failed(&error))?;
    if samples == 0 {
        return Err(format!("{} of which nothing decodes", found.codec.name()));
    }
    let Found { splice, codec, rate, channels } = found;
    Ok(Facts { container, codec, rate, channels, samples, pipe: pipes(container), splice })
}

/// Whether a container can be read from a pipe while it arrives, as far as is known without its header.
const fn pipes(container: Container) -> bool {
    !matches!(container, Container::Mp4 | Container::Caf | Container::Aiff)
}

/// What ffprobe says of the track.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    codec: Codec,
    rate: u32,
    channels: u16,
    splice: Splice,
}

/// Asks ffprobe for codec, rate and channels.
async fn ask(
    ffmpeg: &Ffmpeg,
    path: &str,
    container: Container,
    limit: Duration,
) -> Result<Found, String> {
    let ask =
        "-select_streams a:0 -of flat -show_entries stream=codec_name,profile,sample_rate,channels";
    let mut args = source(path, container);
    args.extend(ask.split(' ').map(str::to_owned));
    let cpu = limit.as_secs().max(1);
    let mut process = ffmpeg.spawn_probe(args, cpu).await.map_err(|error| failed(&error))?;
    let mut text = String::new();
    let output = process.stdout.take().ok_or_else(|| "unreadable".to_owned())?;
    output.take(ANSWER).read_to_string(&mut text).await.map_err(|error| failed(&error))?;
    process.end().await.map_err(|error| failed(&error))?;
    understand(&text, container)
        .ok_or_else(|| "a file without audio that ffmpeg can decode".to_owned())
}

/// The facts in ffprobe's flat output.
fn understand(text: &str, container: Container) -> Option<Found> {
    let field = |name: &str| {
        let lines = text.lines().filter_map(|line| line.rsplit_once('.')?.1.split_once('='));
        lines.filter(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"')).next()
    };
    let codec = codec(field("codec_name")?, field("profile").unwrap_or_default());
    let splice = match (container, &codec) {
        (Container::Caf, Codec::Pcm | Codec::Float | Codec::ALaw | Codec::MuLaw | Codec::Alac)
        | (Container::Adts, Codec::Aac { object: 2 })
        | (Container::Mp3, Codec::Mp3) => Splice::Seek,
        _ => Splice::Decode,
    };
    let (rate, channels) = (field("sample_rate")?.parse().ok()?, field("channels")?.parse().ok()?);
    (rate > 0 && channels > 0).then_some(Found { codec, rate, channels, splice })
}

/// The codec by ffmpeg's name and profile.
fn codec(name: &str, profile: &str) -> Codec {
    match name {
        "pcm_alaw" => Codec::ALaw,
        "pcm_mulaw" => Codec::MuLaw,
        "adpcm_ms" => Codec::AdpcmMs,
        "adpcm_ima_wav" | "adpcm_ima_qt" => Codec::AdpcmIma,
        "mp1" => Codec::Mp1,
        "mp2" => Codec::Mp2,
        "mp3" => Codec::Mp3,
        "aac" => Codec::Aac {
            object: match profile {
                "LC" => 2,
                "HE-AAC" => 5,
                "HE-AACv2" => 29,
                _ => 0,
            },
        },
        "alac" => Codec::Alac,
        "flac" => Codec::Flac,
        "vorbis" => Codec::Vorbis,
        "opus" => Codec::Opus,
        "ac3" => Codec::Ac3,
        "eac3" => Codec::Eac3,
        _ if name.starts_with("pcm_f") => Codec::Float,
        _ if name.starts_with("pcm_") => Codec::Pcm,
        _ => Codec::Other(name.to_owned()),
    }
}

/// Decodes the track to mono of one byte a sample, and counts.
async fn count(
    ffmpeg: &Ffmpeg,
    path: &str,
    container: Container,
    limit: Duration,
) -> io::Result<u64> {
    let decode = "-map 0:a:0 -vn -sn -dn -ac 1 -c:a pcm_u8 -f u8 pipe:1".split(' ');
    let mut args = vec!["-nostdin".to_owned()];
    args.extend(source(path, container));
    args.extend(decode.map(str::to_owned));
    let mut process = ffmpeg.spawn(args, false, limit.as_secs().max(1)).await?;
    let output = process.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
    let samples = drain(output).await?;
    process.wait().await?;
    Ok(samples)
}

/// Reads to the end, and says how many bytes there were.
async fn drain(mut output: impl AsyncRead + Unpin) -> io::Result<u64> {
    let mut block = vec![0; 64 * 1024];
    let mut bytes = 0;
    loop {
        match output.read(&mut block).await? {
            0 => return Ok(bytes),
            n => bytes += n as u64,
        }
    }
}

/// The arguments that open a local file, and only that, with a pinned demuxer.
fn source(path: &str, container: Container) -> Vec<String> {
    let fixed = ["-v", "quiet", "-protocol_whitelist", "file", "-f", container.demuxer(), "-i"];
    fixed.into_iter().map(str::to_owned).chain([format!("file:{path}")]).collect()
}

/// A failure of the machine, without its paths.
fn failed(error: &io::Error) -> String {
    format!("unreadable ({})", error.kind())
}
