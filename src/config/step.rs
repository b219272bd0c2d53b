//! One step of the ladder of video renditions, as text.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use super::units::{bitrate, shown, write_bitrate};

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
