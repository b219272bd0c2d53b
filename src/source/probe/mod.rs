//! Container headers to [`Media`]: what a source holds, track by track, and how many samples ffmpeg will decode from it.
//!
//! Pure functions over the bytes that are there; no process is started but in [`last`]. The caller runs [`probe`], waits
//! for what [`Stop`] asks for, and runs it again from scratch. Two classes:
//!
//! - *told by the header*: WAV, AIFF, FLAC with a total, MP3 whose Xing or VBRI frame agrees with Content-Length, MP4 with
//!   `moov` first;
//! - *told by the end*: everything else, and everything of unknown size. [`Stop::Whole`] until the source is whole.
//!
//! The numbers are those of ffmpeg 5.1 as it decodes each track, measured against it: encoder delay, padding and edit
//! lists are trimmed as it trims them, not as the standards ask for.

mod aac;
mod adts;
mod aiff;
mod clock;
pub mod colour;
mod cut;
mod disguise;
pub mod flac;
mod frames;
mod hevc;
pub mod input;
mod language;
pub mod last;
mod matroska;
pub mod media;
mod mp4;
mod mpeg;
mod ogg;
pub mod opus;
mod pes;
mod picture;
mod pictures;
mod rate;
mod sps;
mod vorbis;
mod wav;

use std::{borrow::Cow, io};

use serde::{Deserialize, Serialize};

pub use clock::{Clock, Winder};
pub use input::Input;
pub use media::Media;
pub use mp4::index::{Cursor, Index, Place};
pub use picture::codecs;

/// Enough of the head of a file to know its container.
const MAGIC: usize = 512;

/// More samples than this no codec has in a byte: FLAC's longest block of silence is 65,535 samples in 11 bytes.
const DENSEST: u64 = 8_192;

/// `ID3v2` tags in a row that are skipped in front of the audio.
const TAGS: usize = 16;

/// The containers that are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Container {
    /// RIFF WAVE, RF64 and BW64.
    Wav,
    /// AIFF and AIFF-C.
    Aiff,
    /// MPEG audio frames, layers I to III.
    Mp3,
    /// MP4, M4A and `QuickTime`.
    Mp4,
    /// The same with edit lists that leave nothing or make no sense: it is read as if there were none.
    Mp4Unedited,
    /// AAC in ADTS.
    Adts,
    /// Native FLAC.
    Flac,
    /// Ogg.
    Ogg,
    /// Matroska and `WebM`.
    Matroska,
    /// MPEG-2 transport stream.
    MpegTs,
    /// Apple's Core Audio Format.
    Caf,
    /// Sony Wave64.
    W64,
    /// Microsoft's AVI.
    Avi,
    /// Adobe's Flash video.
    Flv,
    /// MPEG-1 and MPEG-2 program streams.
    MpegPs,
    /// Microsoft's ASF: WMA and WMV.
    Asf,
}

impl Container {
    /// The name of ffmpeg's demuxer, for `-f`.
    pub const fn demuxer(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Aiff => "aiff",
            Self::Mp3 => "mp3",
            Self::Mp4 | Self::Mp4Unedited => "mov",
            Self::Adts => "aac",
            Self::Flac => "flac",
            Self::Ogg => "ogg",
            Self::Matroska => "matroska",
            Self::MpegTs => "mpegts",
            Self::Caf => "caf",
            Self::W64 => "w64",
            Self::Avi => "avi",
            Self::Flv => "flv",
            Self::MpegPs => "mpeg",
            Self::Asf => "asf",
        }
    }

    /// Whether its samples lie where the tables of an MP4 say.
    pub const fn is_mp4(self) -> bool {
        matches!(self, Self::Mp4 | Self::Mp4Unedited)
    }

    /// What else ffmpeg's demuxer is told, in words without spaces.
    pub const fn options(self) -> &'static [&'static str] {
        match self {
            Self::Mp4Unedited => &["-ignore_editlist", "1"],
            _ => &[],
        }
    }
}

/// The audio codecs that are told apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// Linear PCM, integers.
    Pcm,
    /// Linear PCM, floating point.
    Float,
    /// G.711 A-law.
    ALaw,
    /// G.711 mu-law.
    MuLaw,
    /// Microsoft ADPCM.
    AdpcmMs,
    /// IMA ADPCM.
    AdpcmIma,
    /// MPEG audio layer I.
    Mp1,
    /// MPEG audio layer II.
    Mp2,
    /// MPEG audio layer III.
    Mp3,
    /// MPEG-4 AAC.
    Aac {
        /// The audio object type of ISO/IEC 14496-3 table 1.17: 2 is LC, 5 HE-AAC, 29 HE-AAC v2; 0 where it is not known.
        object: u8,
    },
    /// Apple Lossless.
    Alac,
    /// FLAC.
    Flac,
    /// Vorbis.
    Vorbis,
    /// Opus.
    Opus,
    /// AC-3.
    Ac3,
    /// Enhanced AC-3.
    Eac3,
    /// Something else, by ffmpeg's name; only [`last`] finds it.
    Other(String),
}

impl Codec {
    /// The name, for messages.
    pub fn name(&self) -> &str {
        match self {
            Self::Pcm => "PCM",
            Self::Float => "PCM (float)",
            Self::ALaw => "A-law",
            Self::MuLaw => "mu-law",
            Self::AdpcmMs => "MS ADPCM",
            Self::AdpcmIma => "IMA ADPCM",
            Self::Mp1 => "MP1",
            Self::Mp2 => "MP2",
            Self::Mp3 => "MP3",
            Self::Aac { object: 5 | 29 } => "HE-AAC",
            Self::Aac { .. } => "AAC",
            Self::Alac => "ALAC",
            Self::Flac => "FLAC",
            Self::Vorbis => "Vorbis",
            Self::Opus => "Opus",
            Self::Ac3 => "AC-3",
            Self::Eac3 => "E-AC-3",
            Self::Other(name) => name,
        }
    }
}

/// How a head reaches a sample in the middle of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Splice {
    /// ffmpeg's `-ss` lands on the sample that was asked for.
    Seek,
    /// Only decoding from the start lands on it.
    Decode,
    /// The same; and where its times leave a gap, there is silence.
    Fill,
}

/// Why nothing can be told yet, or never will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Bytes up to this offset are needed (or the whole source, if it ends before).
    More(u64),
    /// Only the end tells: the whole source is needed.
    Whole,
    /// Nothing that can be decoded: what was found, to follow "this is".
    Unsupported(String),
    /// Recognised, but only ffmpeg can tell: [`last::decode`] on the whole file.
    Undetermined(Container),
    /// The file could not be read.
    Io(io::ErrorKind),
}

/// What a source holds, from the bytes that are there.
///
/// Reads no more than the header needs (64 MiB at most) where the header tells, else walks the whole source once.
pub fn probe(input: &Input<'_>) -> Result<Media, Stop> {
    let (container, start) = recognise(input)?;
    let Some(total) = input.total() else {
        return Err(Stop::Whole);
    };
    let media = match container {
        Container::Wav => wav::media(input),
        Container::Aiff => aiff::media(input),
        Container::Mp3 => mpeg::media(input, start),
        Container::Mp4 | Container::Mp4Unedited => mp4::media(input),
        Container::Adts => adts::media(input, start),
        Container::Flac => flac::media(input, start),
        Container::Ogg => ogg::media(input),
        Container::Matroska => matroska::media(input),
        _ => Err(Stop::Undetermined(container)),
    };
    match media {
        Err(Stop::Undetermined(_)) if !input.whole() => Err(Stop::Whole),
        Ok(media) => media.checked(total).map_err(Stop::Unsupported),
        Err(stop) => Err(stop),
    }
}

/// Whether the container says that there is more of a source than its bytes; [`Stop::More`] while what says so is on its way.
pub fn is_cut(input: &Input<'_>, container: Container) -> Result<bool, Stop> {
    cut::is_cut(input, container)
}

/// The container, and where it starts behind its `ID3v2` tags.
fn recognise(input: &Input<'_>) -> Result<(Container, u64), Stop> {
    let head = peek(input, 0)?;
    if head.is_empty() {
        return Err(unsupported("an empty body"));
    }
    if let Some(container) = magic(&head) {
        return Ok((container, 0));
    }
    if let Some(found) = disguise::name(&head) {
        return Err(unsupported(found));
    }
    let start = audio_start(input)?;
    let head = peek(input, start)?;
    if head.starts_with(b"fLaC") {
        return Ok((Container::Flac, start));
    }
    if adts::begins(input, start)? {
        return Ok((Container::Adts, start));
    }
    match mpeg::first_frame(input, start)? {
        Some(_) => Ok((Container::Mp3, start)),
        None => Err(unsupported("nothing that is known as audio or video")),
    }
}

/// The first bytes at `at`: what is there, once that is enough to tell containers apart.
fn peek<'a>(input: &Input<'a>, at: u64) -> Result<Cow<'a, [u8]>, Stop> {
    input.some(at, MAGIC)
}

/// The container of a file whose magic number says it.
fn magic(head: &[u8]) -> Option<Container> {
    let form = head.get(8..12);
    match head.get(..4)? {
        b"RIFF" | b"RF64" | b"BW64" if form == Some(b"WAVE") => Some(Container::Wav),
        b"RIFF" if form == Some(b"AVI ") => Some(Container::Avi),
        b"FLV\x01" => Some(Container::Flv),
        [0, 0, 1, 0xba] => Some(Container::MpegPs),
        [0x30, 0x26, 0xb2, 0x75] => Some(Container::Asf),
        b"FORM" if matches!(form, Some(b"AIFF" | b"AIFC")) => Some(Container::Aiff),
        b"fLaC" => Some(Container::Flac),
        b"OggS" => Some(Container::Ogg),
        b"caff" => Some(Container::Caf),
        b"riff" if head.get(4..8) == Some(&[0x2e, 0x91, 0xcf, 0x11]) => Some(Container::W64),
        [0x1a, 0x45, 0xdf, 0xa3] => Some(Container::Matroska),
        _ if mp4::begins(head) => Some(Container::Mp4),
        _ if packets(head, 0, 188) || packets(head, 4, 192) => Some(Container::MpegTs),
        _ => None,
    }
}

/// Whether three packets of a transport stream follow each other: of 188 bytes, or of 192 on a Blu-ray disc.
fn packets(head: &[u8], start: usize, length: usize) -> bool {
    (0..3).all(|n| head.get(start + n * length) == Some(&0x47))
}

/// The offset behind all `ID3v2` tags at the head (id3.org, id3v2.4.0-structure section 3.1).
fn audio_start(input: &Input<'_>) -> Result<u64, Stop> {
    let mut at = 0;
    for _ in 0..TAGS {
        let head = input.some(at, 10)?;
        match id3(&head) {
            Some(length) => at += length,
            None => break,
        }
    }
    Ok(at)
}

/// The length of the `ID3v2` tag that starts with these ten bytes, header and footer included.
fn id3(head: &[u8]) -> Option<u64> {
    let [b'I', b'D', b'3', major, minor, flags, size @ ..] = input::array::<10>(head, 0)? else {
        return None;
    };
    if major == 0xff || minor == 0xff || size.iter().any(|byte| byte & 0x80 != 0) {
        return None;
    }
    let size = size.iter().fold(0, |size, byte| size << 7 | u64::from(*byte));
    Some(size + if flags & 0x10 == 0 { 10 } else { 20 })
}

/// A [`Stop::Unsupported`].
fn unsupported(found: impl Into<String>) -> Stop {
    Stop::Unsupported(found.into())
}

#[cfg(test)]
mod tests;
