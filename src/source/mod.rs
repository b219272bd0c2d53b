//! The bytes of one media id: found, or fetched once however many ask.
//!
//! In the order of a request: [`Qid`] names the media, [`Sources`] knows it or has it fetched, [`upstream`] asks for it,
//! [`cache`] holds the file, [`spool`] lets it be read while it arrives, [`probe`] says what it is. A file of the
//! [`library`](crate::library) is read where it lies.

pub mod cache;
mod fetch;
mod inspect;
mod local;
pub mod probe;
pub mod seen;
mod sources;
pub mod spool;
pub mod upstream;

use std::{
    sync::atomic::{AtomicI64, Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use self::sources::{CheckCaptions, Sources};
use self::{probe::Media, upstream::Validators};
use crate::{
    error::{Code, Error, Result},
    library::{self, Stamp},
    time::now,
};

/// A media id that may go upstream: 1 to 512 bytes without control characters, and not a dot segment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Qid(String);

impl Qid {
    /// Checks an id.
    ///
    /// # Errors
    /// [`Code::BadQid`], saying what is wrong with it.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = match text {
            "" => "is empty",
            "." | ".." => "is a dot segment",
            _ if text.len() > 512 => "is longer than 512 bytes",
            _ if text.chars().any(char::is_control) => "holds control characters",
            _ => return Ok(Self(text.to_owned())),
        };
        Err(Error::new(Code::BadQid, format!("the media id {wrong}")))
    }

    /// The id as the backend gave it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a backend may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// Media that the upstream has.
    Id(Qid),
    /// A file of the library.
    File(library::Path),
}

impl Wanted {
    /// A JSON object with the name that the backend gave, under the key that it gave it by.
    #[must_use]
    pub fn named(&self, mut object: serde_json::Value) -> serde_json::Value {
        match self {
            Self::Id(qid) => object["qid"] = qid.as_str().into(),
            Self::File(path) => object["file"] = path.as_str().into(),
        }
        object
    }
}

/// Where a source's bytes are had from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The upstream, under this id.
    Upstream(Qid),
    /// A file of the library, as it was when it was read.
    Library {
        /// Where it is.
        path: library::Path,
        /// Which version of it.
        stamp: Stamp,
    },
    /// A file that was named on the command line, and is held open as long as it is needed.
    Local,
}

/// What is known of one version of one media id. The bytes themselves come and go.
#[derive(Debug, Serialize, Deserialize)]
pub struct Source {
    /// Where it comes from.
    pub origin: Origin,
    /// Names this version of this media: 64 hexadecimal digits; another once it changes.
    pub id: String,
    /// What it holds.
    pub media: Media,
    /// The captions as they came, if there are any.
    #[serde(skip)]
    pub captions: Option<Bytes>,
    /// What is missing.
    pub warnings: Vec<String>,
    validators: Validators,
    #[serde(skip)]
    checked: AtomicI64,
}

impl Source {
    /// Whether the upstream was asked about it less than `revalidate` ago.
    fn is_fresh(&self, revalidate: Duration) -> bool {
        now() - self.checked.load(Relaxed) < revalidate.as_secs().cast_signed()
    }

    /// Bytes that its description takes in memory.
    fn weight(&self) -> usize {
        1024 + self.media.weight() + self.captions.as_ref().map_or(0, Bytes::len)
    }
}

fn unexpected(error: &tokio::task::JoinError) -> Error {
    Error::new(Code::Internal, format!("a task ended unexpectedly: {error}"))
}

fn ended() -> Error {
    Error::new(Code::Internal, "a fetch ended without an outcome")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_must_not_go_upstream_are_refused() {
        let long = "x".repeat(513);
        for bad in ["", ".", "..", "a\nb", "\0", "\u{7f}", "\u{85}", &long] {
            assert_eq!(Qid::parse(bad).unwrap_err().code(), Code::BadQid, "{bad:?}");
        }
        for good in ["1", "a/b", "..a", "é 漢字 %2f?#@", &"x".repeat(512)] {
            assert_eq!(Qid::parse(good).unwrap().as_str(), good);
        }
    }
}
