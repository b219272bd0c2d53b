//! Where log lines go and what they look like.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt, fmt::MakeWriter};

use crate::config::{Format, Log};

/// Logs to stderr from now on. Called once.
pub fn start(log: &Log) {
    start_to(log, io::stderr);
}

/// As [`start`], but by way of `writer`, which leads to stderr too.
pub fn start_to(log: &Log, writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static) {
    // What the libraries below say is of interest only when somebody looks for it.
    let filter = format!(
        "warn,hls_broker={level},request={level},drain={level},connection={level}",
        level = log.level
    );
    let filter = EnvFilter::new(filter);
    let lines =
        fmt().with_env_filter(filter).with_ansi(io::stderr().is_terminal()).with_writer(writer);
    match log.format {
        Format::Text => lines.with_target(false).init(),
        Format::Json => lines.json().flatten_event(true).init(),
    }
}
