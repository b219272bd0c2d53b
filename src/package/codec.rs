//! The codecs of audio renditions: what stands in their packets, and what players are told of it.

mod flac;
mod opus;

use serde::{Deserialize, Serialize};

pub use self::{flac::Flac, opus::Opus};
use super::{
    adts::{AudioConfig, Corrupt},
    table::FRAME,
};
use crate::{
    config::Copied,
    source::probe::media::{self, Form, Frames},
};

/// What an audio rendition is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// AAC-LC, the only one that comes in packed audio and in transport streams, too.
    Aac(AudioConfig),
    /// Opus, in CMAF only.
    Opus(Opus),
    /// FLAC, in CMAF only.
    Flac(Flac),
}

impl From<AudioConfig> for Codec {
    fn from(config: AudioConfig) -> Self {
        Self::Aac(config)
    }
}

impl Codec {
    /// The codec of a track's own frames; None where players would not know what to do with them.
    pub fn of(track: &media::Audio, frames: &Frames) -> Option<Self> {
        let channels = u8::try_from(track.channels).ok()?;
        let samples = u32::try_from(frames.samples).ok()?;
        match frames.form {
            Form::Aac => {
                let config = AudioConfig::new(track.rate, channels)?;
                let known = AudioConfig::PLAYED.contains(&track.rate) && frames.samples == FRAME;
                known.then(|| Self::Aac(config.with_priming(frames.priming)))
            }
            Form::Opus { gain } => {
                Opus::new(channels, frames.priming, gain, samples).map(Self::Opus)
            }
            Form::Flac { bits, block } => {
                let flac = Flac::new(track.rate, channels, bits, block)?;
                Some(Self::Flac(flac.with_largest(frames.largest)))
            }
        }
    }

    /// Samples a second.
    pub const fn rate(&self) -> u32 {
        match self {
            Self::Aac(config) => config.rate(),
            Self::Opus(_) => Opus::RATE,
            Self::Flac(flac) => flac.rate(),
        }
    }

    /// 1 or 2.
    pub const fn channels(&self) -> u8 {
        match self {
            Self::Aac(config) => config.channels(),
            Self::Opus(opus) => opus.channels(),
            Self::Flac(flac) => flac.channels(),
        }
    }

    /// Samples, a channel, before the first audible one.
    pub const fn priming(&self) -> u16 {
        match self {
            Self::Aac(config) => config.priming(),
            Self::Opus(opus) => opus.skip(),
            Self::Flac(_) => 0,
        }
    }

    /// Samples, a channel, of every packet but the last. Not 0.
    pub const fn packet(&self) -> u64 {
        match self {
            Self::Aac(_) => FRAME,
            Self::Opus(opus) => opus.packet(),
            Self::Flac(flac) => flac.block(),
        }
    }

    /// CODECS, as RFC 6381 has it.
    pub const fn codecs(&self) -> &'static str {
        match self {
            Self::Aac(_) => "mp4a.40.2",
            Self::Opus(_) => "opus",
            Self::Flac(_) => "fLaC",
        }
    }

    /// Its name in `packager.copy`.
    pub const fn copied(&self) -> Copied {
        match self {
            Self::Aac(_) => Copied::Aac,
            Self::Opus(_) => Copied::Opus,
            Self::Flac(_) => Copied::Flac,
        }
    }

    /// The configuration, if it is AAC.
    pub const fn aac(&self) -> Option<AudioConfig> {
        match self {
            Self::Aac(config) => Some(*config),
            _ => None,
        }
    }

    /// Samples of a packet that begins with sample `at` of the track.
    ///
    /// # Errors
    /// When it cannot be that packet.
    pub fn samples(&self, at: u64, packet: &[u8]) -> Result<u64, Corrupt> {
        match self {
            Self::Aac(_) => Ok(FRAME),
            Self::Opus(opus) => opus.samples(packet),
            Self::Flac(flac) => flac.samples(at, packet),
        }
    }

    /// A packet of silence that begins with sample `at` and has so many samples, or all of a packet's.
    pub fn silence(&self, at: u64, samples: u64) -> Vec<u8> {
        match self {
            Self::Aac(config) => config.silence().to_vec(),
            Self::Opus(opus) => opus.silence(),
            Self::Flac(flac) => flac.silence(at, samples),
        }
    }
}
