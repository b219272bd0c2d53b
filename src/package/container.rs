//! The containers that audio is offered in, all muxed from the same frames.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::file::Format;
use crate::error::{Code, Error};

/// What audio segments are wrapped in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Container {
    /// Fragmented MP4 (CMAF) with an initialization segment.
    #[default]
    Cmaf,
    /// Packed audio: ADTS behind an ID3 timestamp.
    Aac,
    /// MPEG transport stream.
    Ts,
}

impl Container {
    /// The name in the configuration and in queries.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cmaf => "cmaf",
            Self::Aac => "aac",
            Self::Ts => "ts",
        }
    }

    /// The format of its media segments.
    pub const fn format(self) -> Format {
        match self {
            Self::Cmaf => Format::M4s,
            Self::Aac => Format::Aac,
            Self::Ts => Format::Ts,
        }
    }

    /// The extension of its media segments, without the dot.
    pub const fn extension(self) -> &'static str {
        self.format().extension()
    }

    /// The media type of its audio segments.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Cmaf => "audio/mp4",
            Self::Aac => "audio/aac",
            Self::Ts => "video/mp2t",
        }
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Container {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        [Self::Cmaf, Self::Aac, Self::Ts]
            .into_iter()
            .find(|container| container.as_str() == name)
            .ok_or_else(|| Error::new(Code::BadRequest, "container is one of cmaf, aac and ts"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_everywhere() {
        for container in [Container::Cmaf, Container::Aac, Container::Ts] {
            assert_eq!(
                container.to_string().parse::<Container>().unwrap(),
                container
            );
            let json = serde_json::to_string(&container).unwrap();
            assert_eq!(json, format!("\"{container}\""));
        }
        for wrong in ["", "CMAF", "mp4", "ts ", "aac\0"] {
            assert!(wrong.parse::<Container>().is_err(), "{wrong:?}");
        }
    }
}
