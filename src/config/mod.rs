//! `hls.yaml`, the environment and flags become one validated [`Settings`].
//!
//! [`Sources`] finds the file and remembers what overrides it; [`Sources::load`] layers file, environment and flags, refuses
//! unknown keys and values out of range with one line that names key, value and what is allowed, and makes every path
//! absolute. [`warnings`] tells what is allowed but does not fit together. Rooms get the finished settings by reference and
//! decide no default of their own.

mod check;
mod choice;
mod defaults;
mod keys;
mod layer;
mod load;
mod read;
mod scalar;
mod secret;
mod settings;
mod step;
mod template;
#[cfg(test)]
mod tests;
mod units;
mod video;
mod warnings;

pub use choice::{Container, Copied, Encoder, Format, Level, Preset};
pub use load::{Sources, load};
pub use secret::Secret;
pub use settings::{
    Cache, Captions, Cors, Killsize, Library, Limits, Listen, Log, Packager, Settings, State,
    Token, Upstream, Upstreams,
};
pub use step::Step;
pub use template::Template;
pub use units::{LONGEST, duration, size, write_duration, write_size};
pub use video::Video;
pub use warnings::{SAMPLE_HANDSHAKE, warnings};

/// What is wrong with the value of one key.
#[derive(Debug)]
struct Fault {
    /// Dotted, as in `cache.size`.
    key: String,
    /// A sentence that follows the key and holds no secret.
    what: String,
}

impl Fault {
    fn new(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { key: key.into(), what: what.into() }
    }
}
