//! What /proc says (proc(5)): a process's children, whether it has ended, what it holds.

use std::{fs, path::Path};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::until;

/// A process as it was when we looked. The start time tells it from a later one with the same id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    pub name: String,
    pub state: char,
    started: u64,
}

impl Process {
    /// The process of that id, zombies included.
    pub fn find(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in parentheses and may hold any character, these included.
        let (head, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        Some(Self {
            pid,
            parent: fields.get(1)?.parse().ok()?,
            name: head.split_once('(')?.1.to_owned(),
            state: fields.first()?.chars().next()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }

    /// Whether it has ended. A zombie has.
    pub fn is_gone(&self) -> bool {
        Self::find(self.pid).is_none_or(|now| now.started != self.started || now.state == 'Z')
    }

    /// Waits until it has ended.
    #[track_caller]
    pub fn wait_gone(&self) {
        until(&format!("{} {} ends", self.name, self.pid), || self.is_gone());
    }

    /// Its argument list.
    pub fn arguments(&self) -> Vec<String> {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.split_terminator('\0').map(str::to_owned).collect()
    }

    /// Ends it, if it is still the one that we saw.
    pub fn kill(&self) {
        if !self.is_gone() {
            kill(Pid::from_raw(self.pid), Signal::SIGKILL).ok();
        }
    }
}

/// Every process below this one, parents before children.
pub fn descendants(pid: i32) -> Vec<Process> {
    let all = all();
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        for process in all.iter().filter(|process| process.parent == parent) {
            parents.push(process.pid);
            found.push(process.clone());
        }
    }
    found
}

/// Every process whose working directory is this one or below it.
pub fn within(dir: &Path) -> Vec<Process> {
    let dir = fs::canonicalize(dir).expect("a directory");
    let is_within = |process: &Process| {
        let cwd = fs::read_link(format!("/proc/{}/cwd", process.pid));
        cwd.is_ok_and(|cwd| cwd.starts_with(&dir))
    };
    all().into_iter().filter(is_within).collect()
}

fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Process::find).collect()
}

/// How many files and sockets it has open.
pub fn open_files(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// How many bytes of it are in memory (`VmRSS`).
pub fn resident_bytes(pid: i32) -> u64 {
    status(pid, "VmRSS:").map_or(0, |kibibytes| kibibytes * 1024)
}

/// How many threads it has.
pub fn threads(pid: i32) -> u64 {
    status(pid, "Threads:").unwrap_or(0)
}

fn status(pid: i32, key: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}
