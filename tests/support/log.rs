//! A process's standard error, line by line, for those who look and those who wait.

use std::{
    io::{BufRead, BufReader, Read},
    sync::{Arc, Condvar, Mutex},
    thread,
};

use super::PATIENCE;

/// The lines so far. Clones are the same log.
#[derive(Clone, Default)]
pub struct Log(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
}

impl Log {
    /// Reads in a thread of its own, so that the writer never waits.
    pub fn read(from: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        let writer = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                writer.change(|state| state.lines.push(line));
            }
            writer.change(|state| state.ended = true);
        });
        log
    }

    /// The lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.0.0.lock().expect("log").lines.clone()
    }

    /// Puts another log's lines before ours.
    pub fn prepend(&self, earlier: &Self) {
        let mut lines = earlier.lines();
        self.change(|state| {
            lines.append(&mut state.lines);
            state.lines = lines;
        });
    }

    /// The first line of that kind, past or to come. If the log ends without one, or keeps silent about it, all of it.
    pub fn wait(&self, is_it: impl Fn(&str) -> bool) -> Result<String, String> {
        let mut seen = 0;
        let mut found = None;
        self.wait_while(|state| {
            found = state.lines[seen..].iter().find(|line| is_it(line)).cloned();
            seen = state.lines.len();
            found.is_none() && !state.ended
        });
        found.ok_or_else(|| self.lines().join("\n"))
    }

    /// Waits for the end of the log, that is, of all who write to it.
    pub fn wait_end(&self) {
        self.wait_while(|state| !state.ended);
    }

    fn wait_while(&self, condition: impl FnMut(&mut State) -> bool) {
        let (state, changed) = &*self.0;
        let state = state.lock().expect("log");
        drop(changed.wait_timeout_while(state, PATIENCE, condition).expect("log"));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let (state, changed) = &*self.0;
        change(&mut state.lock().expect("log"));
        changed.notify_all();
    }
}
