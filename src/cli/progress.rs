//! The bar that `transcode` shows on a terminal: segments, speed, time left. Nothing of it in a pipe.

use std::{
    fmt,
    io::{self, Write},
    time::Duration,
};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

const TEMPLATE: &str = "[{bar:32}] {pos}/{len} segments{pace}";

/// How often the time is drawn anew while no segment comes.
const TICK: Duration = Duration::from_millis(500);

/// A bar on stderr, if that is a terminal. It is gone when this is.
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar that does not show yet.
    pub fn new() -> Self {
        Self(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()))
    }

    /// Shows it: of so many segments, which are so many seconds of media in all, none is there yet.
    pub fn begin(&self, segments: usize, seconds: f64) {
        let pace = move |state: &ProgressState, out: &mut dyn fmt::Write| {
            if state.pos() == 0 {
                return;
            }
            let done = f64::from(state.fraction()) * seconds;
            let speed = done / state.elapsed().as_secs_f64();
            // What cannot be written is not shown.
            let _ = write!(out, ", {speed:.1}x, {:#} left", HumanDuration(state.eta()));
        };
        let style =
            ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.0.set_style(style.with_key("pace", pace).progress_chars("=> "));
        self.0.set_length(segments as u64);
        self.0.enable_steady_tick(TICK);
    }

    /// One more segment is there.
    pub fn advance(&self) {
        self.0.inc(1);
    }

    /// A stderr whose lines stand above the bar.
    pub fn stderr(&self) -> Stderr {
        Stderr(self.0.clone())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// See [`Progress::stderr`].
#[derive(Clone)]
pub struct Stderr(ProgressBar);

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
