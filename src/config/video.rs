//! The section `packager.video`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    choice::{Encoder, Preset},
    read::{span, steps},
    step::Step,
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
