//! The section `packager.video`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize, Serializer};

use super::{
    choice::{Encoder, Preset},
    read::{span, steps},
    units::{bitrate, shown, write_bitrate},
};

/// Encoding video.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Video {
    /// What encodes (auto).
    pub encoder: Encoder,
    /// How hard x264 tries (veryfast).
    pub preset: Preset,
    /// Heights and their bit rates; never above the source's (1080:4500k to 240:350k).
    #[serde(deserialize_with = "steps")]
    pub ladder: Vec<Step>,
    /// How far ahead of its players video is encoded (60s).
    #[serde(with = "span")]
    pub ahead: Duration,
}

/// A step of the ladder: written `720:2800k`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Pixels of the shorter side.
    pub height: u32,
    /// Bits a second at up to 30 frames a second.
    pub bitrate: u32,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.height, write_bitrate(self.bitrate))
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let step = || {
            let (height, bits) = text.split_once(':')?;
            Some(Self { height: height.trim().parse().ok()?, bitrate: bitrate(bits).ok()? })
        };
        step().ok_or_else(|| {
            format!("{} is not a height and a bit rate: write it like 720:2800k", shown(text))
        })
    }
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
