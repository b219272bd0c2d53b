//! hls-broker: token-gated HLS from media that a backend owns.
//!
//! The house, in the order that a request walks through it:
//!
//! 1. [`server`] reads HTTP, and knows nothing of media;
//! 2. [`broker`] tells the story: token, batch, unlock, play;
//! 3. [`access`] says who may do what;
//! 4. [`source`] finds the media in the [`library`] or fetches it, and reads what it is from its header;
//! 5. [`package`] turns it into segments with [`ffmpeg`], and knows nothing of HTTP;
//! 6. [`stream`] records who plays which package until when, in [`state`].
//!
//! Beside it: [`catalogue`] lists the library, watches it and has it packaged ahead, [`watchdog`] looks after the disk,
//! [`metrics`] counts, [`config`] is what the operator said, and [`cli`] is how it all begins. Arrows point down; [`error`],
//! [`library`], [`disk`] and [`time`] lie at the bottom.

pub mod access;
pub mod broker;
pub mod catalogue;
pub mod cli;
pub mod config;
pub mod disk;
pub mod error;
pub mod ffmpeg;
pub mod library;
pub mod metrics;
pub mod package;
pub mod server;
pub mod source;
pub mod state;
pub mod stream;
pub mod time;
pub mod watchdog;
