//! What a source holds, track by track: what a plan is made of.

use serde::{Deserialize, Serialize};

use super::{Clock, Codec, Container, DENSEST, Splice, colour::Colour};

/// What a source holds. At least one audio track, or video.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// The container.
    pub container: Container,
    /// Whether ffmpeg can decode it from a pipe while it is still arriving. The same samples come out, but for MP3 with
    /// LAME's gap: from a pipe, ffmpeg leaves the padding on the end.
    pub pipe: bool,
    /// The audio tracks that can be decoded, in the order of the file.
    pub audio: Vec<Audio>,
    /// The first video track; cover art is none.
    pub video: Option<Video>,
    /// The tracks of text, in the order of the file.
    pub text: Vec<Text>,
    /// The millisecond at which the earliest track starts, by the clock of the file. Text does not count.
    pub start: i64,
    /// Microseconds before that at which ffmpeg's clock begins: where text comes less than a second before all else, it does
    /// count for ffmpeg (libavformat/utils.c, `update_stream_timings`).
    pub lag: u64,
    /// What is done to its times before all else; only in transport streams.
    #[serde(default)]
    pub clock: Clock,
}

/// Nanoseconds by which text that counts for ffmpeg is earlier at most, and one more.
const EARLY: i64 = 1_000_000_000;

/// The most pixels of a side that are played.
const WIDEST: u32 = 8_192;

/// The longest that is played, in milliseconds: a week. What damaged times promise must not fill the memory with its cuts.
const LONGEST: u64 = 7 * DAY;
const DAY: u64 = 24 * 3_600_000;

impl Media {
    /// One audio track in a container of nothing else.
    pub(super) fn sound(container: Container, audio: Audio) -> Self {
        Self {
            container,
            pipe: true,
            audio: vec![audio],
            video: None,
            text: Vec::new(),
            start: 0,
            lag: 0,
            clock: Clock::default(),
        }
    }

    /// Says when the earliest track starts, and by how much each other starts later, from the nanosecond at which each does;
    /// those without samples never start. `text` is that of the first text that ffmpeg meets before it has met all others.
    pub(super) fn align(&mut self, audio: &[i64], video: Option<i64>, text: Option<i64>) {
        let begin = self.audio.iter().zip(audio).filter(|(track, _)| track.samples > 0);
        let earliest = begin.map(|(_, start)| *start).chain(video).min().unwrap_or(0);
        self.start = earliest.saturating_add(500_000).div_euclid(1_000_000);
        let lag = text.map_or(0, |text| earliest.saturating_sub(text));
        self.lag = if lag < EARLY { lag.max(0).unsigned_abs() / 1000 } else { 0 };
        for (track, start) in self.audio.iter_mut().zip(audio) {
            track.delay = scale(start.abs_diff(earliest), u64::from(track.rate), 1_000_000_000);
        }
        if let (Some(track), Some(start)) = (&mut self.video, video) {
            track.delay = scale(start.abs_diff(earliest), 1, 1_000_000);
        }
    }

    /// What of it can be played, from a file of `length` bytes; else what it is instead, to follow "this is".
    pub(super) fn checked(mut self, length: u64) -> Result<Self, String> {
        let dumb =
            self.audio.first().map(|track| format!("{} without any samples", track.codec.name()));
        self.audio.retain(|track| track.samples > 0 && track.rate > 0 && track.channels > 0);
        for track in &mut self.audio {
            track.samples = track.samples.min(length.saturating_mul(DENSEST));
        }
        let blind = self.video.take_if(|video| video.width == 0 || video.height == 0);
        match &self.video {
            Some(Video { width, height, .. }) if *width.max(height) > WIDEST => {
                Err(format!("video of {width}x{height} pixels, more than {WIDEST} a side"))
            }
            None if self.audio.is_empty() => Err(match blind {
                Some(_) => "video without any pixels".to_owned(),
                None => dumb.unwrap_or_else(|| "a file without audio or video".to_owned()),
            }),
            _ if self.end() > LONGEST => Err(format!(
                "media that says it lasts {} days, more than {}",
                self.end() / DAY,
                LONGEST / DAY
            )),
            _ => Ok(self),
        }
    }

    /// Whether the times of its video make more frames a second than are played, in a moment of its sound.
    pub fn is_hasty(&self) -> bool {
        self.video.as_ref().is_some_and(|video| {
            let FrameRate { numerator, denominator } = video.rate;
            let is_fast = u64::from(numerator) >= FASTEST * u64::from(denominator);
            is_fast && video.length < self.end() / 100
        })
    }

    /// The millisecond at which its last track ends.
    fn end(&self) -> u64 {
        let video = self.video.iter().map(|track| track.delay.saturating_add(track.length));
        let audio = self.audio.iter().map(|track| {
            scale(track.delay.saturating_add(track.samples), 1_000, u64::from(track.rate))
        });
        video.chain(audio).max().unwrap_or(0)
    }

    /// Bytes that it takes in memory, roughly.
    pub fn weight(&self) -> usize {
        let cuts = self.video.as_ref().and_then(|video| video.cuts.as_ref());
        let tracks = self.audio.len() + self.text.len() + 1;
        tracks * 256 + cuts.map_or(0, |cuts| cuts.times.len() * 16) + self.clock.weight()
    }
}

/// An audio track.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audio {
    /// Its number among the audio tracks of the file, from 0: ffmpeg's `0:a:<index>`.
    pub index: u32,
    /// The codec.
    pub codec: Codec,
    /// Samples a second of the decoded audio.
    pub rate: u32,
    /// Channels of the decoded audio.
    pub channels: u16,
    /// Samples per channel that ffmpeg decodes, at `rate`. Exact.
    pub samples: u64,
    /// Samples, at `rate`, by which it starts later than the earliest track of the file.
    pub delay: u64,
    /// How a head starts in the middle.
    pub splice: Splice,
    /// Its frames, where they can be copied: AAC-LC, Opus or FLAC of one configuration throughout.
    pub frames: Option<Frames>,
    /// Its language and name.
    pub label: Label,
}

impl Audio {
    /// The first audio track of a file, that starts with it, and of which nothing more is known.
    pub fn new(codec: Codec, rate: u32, channels: u16, samples: u64, splice: Splice) -> Self {
        let label = Label::default();
        Self { index: 0, codec, rate, channels, samples, delay: 0, splice, frames: None, label }
    }
}

/// The frames of a track: packets of equally many samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frames {
    /// What they are made of.
    pub form: Form,
    /// How many.
    pub count: u64,
    /// Samples of each, but for the last one, which may have fewer. Not 0.
    pub samples: u64,
    /// Samples before the first audible one, as the container says; below 65,536.
    pub priming: u16,
    /// Payload bytes of all, or more.
    pub bytes: u64,
    /// Payload bytes of the densest second, or more: of `rate / samples` frames in a row, rounded down, but of one at least.
    pub densest: u64,
    /// Payload bytes of the largest frame, or more.
    pub largest: u64,
}

/// What frames are made of that can be copied, and what a player has to be told of it beside rate and channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// AAC-LC.
    Aac,
    /// Opus of one stream, mono or stereo (RFC 7845, channel mapping family 0).
    Opus {
        /// Its output gain in 1/256 dB.
        gain: i16,
    },
    /// FLAC of one block size.
    Flac {
        /// Bits of a sample.
        bits: u8,
        /// Samples of all blocks but the last.
        block: u16,
    },
}

/// The fastest video that is played as it is, in frames a second; the slowest has one.
pub(super) const FASTEST: u64 = 240;

/// Frames a second, as a fraction: 30000/1001. Neither is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameRate {
    /// Frames.
    pub numerator: u32,
    /// In so many seconds.
    pub denominator: u32,
}

/// A video track.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Video {
    /// Its number among the video streams of the file as ffmpeg counts them, cover art included: `0:v:<index>`.
    pub index: u32,
    /// The codec.
    pub codec: Picture,
    /// Pixels from left to right as it is shown: square, and upright.
    pub width: u32,
    /// Pixels from top to bottom as it is shown.
    pub height: u32,
    /// Whether what is coded is what is shown: no rotation, square pixels.
    pub plain: bool,
    /// Whether it is coded in fields.
    pub interlaced: bool,
    /// What its numbers mean.
    pub colour: Colour,
    /// Frames a second; on average where `constant` is false.
    pub rate: FrameRate,
    /// Whether every frame lasts equally long.
    pub constant: bool,
    /// Milliseconds that it lasts.
    pub length: u64,
    /// Milliseconds by which it starts later than the earliest track of the file.
    pub delay: u64,
    /// Bits a second on average; 0 where it is not known.
    pub bitrate: u64,
    /// Where it can be cut without encoding it: of H.264, HEVC and AV1 whose frames are all shown, the first a keyframe.
    pub cuts: Option<Cuts>,
}

/// The video codecs that are told apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Picture {
    /// H.264; `codecs` is its RFC 6381 name, `avc1.64001f`.
    H264 {
        /// By the first parameter set.
        codecs: String,
    },
    /// HEVC; `codecs` is its RFC 6381 name, `hvc1.1.6.L93.B0`.
    Hevc {
        /// By the decoder configuration.
        codecs: String,
    },
    /// AV1; `codecs` is its RFC 6381 name, `av01.0.04M.08`.
    Av1 {
        /// By the decoder configuration.
        codecs: String,
    },
    /// VP8.
    Vp8,
    /// VP9.
    Vp9,
    /// Something else that ffmpeg decodes, by ffmpeg's name.
    Other(String),
}

/// Where a video track can be cut: its keyframes, in order, but for those that frames are decoded after and shown before
/// (or the other way round).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cuts {
    /// Ticks a second of the times.
    pub timescale: u32,
    /// When each keyframe is shown, the first at 0, and the end of the track: at least two.
    pub times: Vec<u64>,
    /// Bytes of the track from each keyframe to the next, or more.
    pub bytes: Vec<u64>,
    /// Ticks by which frames have to be decoded before they are shown, for none to come too late.
    pub reorder: u64,
}

impl Picture {
    /// Whether it can be copied into CMAF, as far as its codec goes.
    pub(super) fn is_copied(&self) -> bool {
        matches!(self, Self::H264 { .. } | Self::Hevc { .. } | Self::Av1 { .. })
    }
}

/// A track of text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// Its number among the subtitle streams of the file: ffmpeg's `0:s:<index>`.
    pub index: u32,
    /// ffmpeg's name of the codec: `mov_text`, `subrip`, `ass`, `webvtt` or `text`; or Matroska's `S_TEXT/WEBVTT`, for which
    /// ffmpeg has none.
    pub codec: String,
    /// Whether it is shown to everybody.
    pub forced: bool,
    /// Its language and name.
    pub label: Label,
}

/// How a track is told from others of its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// A tag of RFC 5646 in its shortest form: `en`, not `eng`. None where the file does not say, or says `und`.
    pub language: Option<String>,
    /// A name for people.
    pub name: Option<String>,
    /// Whether the file says that it is the one to begin with.
    pub default: bool,
}

/// `value * by / per`, to the nearest.
pub(super) fn scale(value: u64, by: u64, per: u64) -> u64 {
    let (value, by, per) = (u128::from(value), u128::from(by), u128::from(per));
    (value * by + per / 2)
        .checked_div(per)
        .map_or(0, |scaled| scaled.try_into().unwrap_or(u64::MAX))
}
