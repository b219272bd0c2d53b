//! Settings that are one of a few names.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{scalar, units::shown};

/// Gives a plain enum its lower-case names in both directions.
macro_rules! named {
    ($type:ident: $($variant:ident = $name:literal),+) => {
        impl $type {
            /// The name in `hls.yaml`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        /// The error is a sentence that lists the names.
        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(format!("{} is not one of {}", shown(text), [$($name),+].join(", "))),
                }
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                scalar::parsed(deserializer, str::parse)
            }
        }
    };
}

/// What audio playlists name: the same frames in one of three wrappings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Container {
    /// Fragmented MP4 (`.m4s`).
    #[default]
    Cmaf,
    /// Packed AAC with an ID3 timestamp (`.aac`).
    Aac,
    /// MPEG transport stream (`.ts`).
    Ts,
}

named!(Container: Cmaf = "cmaf", Aac = "aac", Ts = "ts");

/// The codecs that players can be handed as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// AAC-LC.
    Aac,
    /// H.264.
    H264,
    /// HEVC, which few browsers play.
    Hevc,
    /// AV1.
    Av1,
    /// Opus, which some televisions and older Apple devices do not play.
    Opus,
    /// FLAC, likewise, and at whatever bit rate it has.
    Flac,
}

named!(Copied: Aac = "aac", H264 = "h264", Hevc = "hevc", Av1 = "av1", Opus = "opus", Flac = "flac");

/// What encodes video to H.264.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Encoder {
    /// The first of the others that works on this machine, x264 last.
    #[default]
    Auto,
    /// x264, on the processor.
    X264,
    /// NVIDIA's.
    Nvenc,
    /// VA-API's, on the first render node.
    Vaapi,
    /// Intel's Quick Sync.
    Qsv,
}

named!(Encoder: Auto = "auto", X264 = "libx264", Nvenc = "h264_nvenc", Vaapi = "h264_vaapi", Qsv = "h264_qsv");

/// How hard x264 tries; the slower presets do not keep up with players.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Preset {
    /// The fastest.
    Ultrafast,
    /// Between its neighbours.
    Superfast,
    /// About five times as fast as `medium`.
    #[default]
    Veryfast,
    /// Between its neighbours.
    Faster,
    /// Between its neighbours.
    Fast,
    /// x264's own choice.
    Medium,
}

named!(Preset: Ultrafast = "ultrafast", Superfast = "superfast", Veryfast = "veryfast", Faster = "faster",
    Fast = "fast", Medium = "medium");

/// How important a line must be to be logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// What needs somebody.
    Error,
    /// What may need somebody.
    Warn,
    /// What happened.
    #[default]
    Info,
    /// How it happened.
    Debug,
    /// Everything.
    Trace,
}

named!(Level: Error = "error", Warn = "warn", Info = "info", Debug = "debug", Trace = "trace");

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

named!(Format: Text = "text", Json = "json");
