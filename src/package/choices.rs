//! The settings that change a package.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{self, Copied, Preset, Step};

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
    /// Whether pictures of high dynamic range can be mapped to what other screens show.
    pub maps_tones: bool,
    /// How hard x264 tries.
    pub preset: Preset,
    /// The steps of the ladder, the highest first.
    pub ladder: Vec<Step>,
    /// Pixels a second that this machine encodes with ease.
    pub speed: u64,
}

/// Pixels a second for each core: a third of what x264's `veryfast` was measured to do, 1280x720 at 5 times real time on two
/// cores (packaging measurements, section 4), for it has other things to do.
const SPEED: u64 = 25_000_000;

impl Choices {
    /// What of them makes a package another one, with or without video in it.
    pub fn key(&self, video: bool) -> Vec<u8> {
        let Self { bitrate, segment, copy, copy_bitrate, .. } = self;
        // Plain numbers and names can be written as JSON.
        let all = video.then_some(self);
        serde_json::to_vec(&(bitrate, segment, copy, copy_bitrate, all)).unwrap_or_default()
    }

    /// Those of `packager`, with what ffmpeg was found to be able to.
    pub fn new(packager: &config::Packager, Skills { encoder, maps_tones }: Skills) -> Self {
        Self {
            bitrate: packager.bitrate,
            segment: packager.segment,
            copy: packager.copy.clone(),
            copy_bitrate: packager.copy_bitrate,
            encoder,
            maps_tones,
            preset: packager.video.preset,
            ladder: packager.video.ladder.clone(),
            speed: SPEED * packager.workers as u64,
        }
    }
}

impl Default for Choices {
    fn default() -> Self {
        Self::new(&config::Packager::default(), Skills::default())
    }
}

/// What ffmpeg can do on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skills {
    /// What encodes video.
    pub encoder: Encoder,
    /// Whether it can map pictures of high dynamic range.
    pub maps_tones: bool,
}

impl Default for Skills {
    fn default() -> Self {
        Self { encoder: Encoder::default(), maps_tones: true }
    }
}

/// What encodes H.264, by ffmpeg's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoder {
    /// x264, on the processor.
    #[default]
    Libx264,
    /// NVIDIA's.
    H264Nvenc,
    /// VA-API's, on the first render node.
    H264Vaapi,
    /// Intel's Quick Sync.
    H264Qsv,
}

impl Encoder {
    /// ffmpeg's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Libx264 => "libx264",
            Self::H264Nvenc => "h264_nvenc",
            Self::H264Vaapi => "h264_vaapi",
            Self::H264Qsv => "h264_qsv",
        }
    }
}
