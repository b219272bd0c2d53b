//! The settings that change a package.

use std::time::Duration;

use serde::Serialize;

use crate::config::{self, Copied, Encoder, Preset, Step};

/// The settings that change a package: it is another one where they differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Choices {
    /// Bits a second for stereo; mono gets half.
    pub bitrate: u32,
    /// Length of a segment after the first three.
    pub segment: Duration,
    /// Codecs that are handed on as they are.
    pub copy: Vec<Copied>,
    /// Bits a second above which audio is encoded all the same.
    pub copy_bitrate: u32,
    /// What encodes video.
    pub encoder: Encoder,
    /// How hard x264 tries.
    pub preset: Preset,
    /// The steps of the ladder, the highest first.
    pub ladder: Vec<Step>,
}

impl From<&config::Packager> for Choices {
    fn from(packager: &config::Packager) -> Self {
        Self {
            bitrate: packager.bitrate,
            segment: packager.segment,
            copy: packager.copy.clone(),
            copy_bitrate: packager.copy_bitrate,
            encoder: packager.video.encoder,
            preset: packager.video.preset,
            ladder: packager.video.ladder.clone(),
        }
    }
}

impl Default for Choices {
    fn default() -> Self {
        (&config::Packager::default()).into()
    }
}
