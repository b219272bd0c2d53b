//! What black-box tests stand on: the real binary, a media server that can misbehave, media made on the spot, a
//! player, a decoder. A test owns a [`Broker`] and an [`Upstream`]; dropping them ends everything they started.
//!
//! Nothing here sleeps to be in step: tests wait for a log line, a request, a [`Gate`], or a condition of the outside
//! world ([`until`]).

// Every file in tests/ is a crate of its own that takes this module in, and none of them uses all of it.
#![allow(dead_code, unused_imports)]

pub mod broker;
pub mod client;
pub mod decode;
pub mod film;
pub mod http;
pub mod log;
pub mod media;
pub mod player;
pub mod process;
pub mod setup;
pub mod shelf;
pub mod signal;
pub mod token;
pub mod upstream;
pub mod wire;

use std::{
    thread,
    time::{Duration, Instant},
};

pub use broker::Broker;
pub use client::{Batch, Grant};
pub use http::{Connection, Reply};
pub use media::{Clip, Format};
pub use player::Player;
pub use setup::{Ended, Setup};
pub use upstream::{Answer, File, Gate, Upstream};

/// How long a test waits before it calls a hang a failure. Not a measure of anything: whoever waits this long is stuck.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// Waits until `condition` holds, for things that announce themselves to nobody: files, processes, sockets.
#[track_caller]
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    assert!(eventually(condition), "waited in vain until {what}");
}

/// Whether `condition` holds before patience ends.
pub fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > PATIENCE {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}
