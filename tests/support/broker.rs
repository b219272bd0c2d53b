//! The broker under test: the real binary, its log in memory, its directories kept over restarts.
//!
//! Whatever a test is about, dropping its broker also checks what must hold in every test: nothing panicked, and no
//! handshake and no token that the broker issued stands in its log.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::Builder;

use super::{
    Setup, Upstream,
    log::Log,
    process::{self, Process},
    setup::{Ended, HANDSHAKE},
    until,
};

/// A broker, running or ended. Every method takes `&self`, so that players in other threads may share it.
pub struct Broker {
    setup: Mutex<Setup>,
    running: Mutex<Running>,
    secrets: Mutex<Vec<String>>,
}

struct Running {
    child: Child,
    log: Log,
    addresses: HashMap<String, SocketAddr>,
}

impl Broker {
    /// A broker with the usual settings.
    #[track_caller]
    pub fn start(upstream: &Upstream) -> Self {
        Setup::new(upstream).start()
    }

    /// Settings to change before the start: `Broker::setup(&upstream).with("cache.expiry", "5m").start()`.
    pub fn setup(upstream: &Upstream) -> Setup {
        Setup::new(upstream)
    }

    #[track_caller]
    pub(super) fn new(setup: Setup) -> Self {
        let running = Mutex::new(launch(&setup));
        Self { setup: Mutex::new(setup), running, secrets: Mutex::new(vec![HANDSHAKE.to_owned()]) }
    }

    /// Where that listener is: "main", "api" or "metrics". What has no listener of its own is at "main".
    pub fn address(&self, listener: &str) -> SocketAddr {
        let running = self.running();
        *running.addresses.get(listener).unwrap_or_else(|| &running.addresses["main"])
    }

    /// `http://127.0.0.1:<port>`. The port is another after a restart.
    pub fn url(&self) -> String {
        format!("http://{}", self.address("main"))
    }

    /// The process's id.
    pub fn pid(&self) -> i32 {
        pid(&self.running().child)
    }

    /// The processes that the broker has started and not yet reaped, zombies included.
    pub fn children(&self) -> Vec<Process> {
        process::descendants(self.pid())
    }

    /// The directory that holds hls.yaml, or one below it: "cache", "temp", "static", "state".
    pub fn dir(&self, name: &str) -> PathBuf {
        self.setup.lock().unwrap_or_else(PoisonError::into_inner).dir().join(name)
    }

    /// All files in one of the directories, in order of their paths.
    pub fn files(&self, dir: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        walk(&self.dir(dir), &mut files);
        files.sort();
        files
    }

    /// Bytes of all files in one of the directories.
    pub fn bytes(&self, dir: &str) -> u64 {
        let sizes = self.files(dir);
        sizes.iter().filter_map(|file| fs::metadata(file).ok()).map(|data| data.len()).sum()
    }

    /// How often a [`Setup::counted_ffmpeg`] was asked to work.
    pub fn ffmpeg_runs(&self) -> usize {
        fs::read_dir(self.dir("runs")).map_or(0, Iterator::count)
    }

    /// Changes hls.yaml on disk; the broker reads it at SIGHUP or at the next start.
    pub fn configure(&self, key: &str, value: impl Into<serde_yaml::Value>) {
        let mut setup = self.setup.lock().expect("setup");
        setup.set(key, Some(value.into()));
        setup.write();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("the broker runs");
    }

    /// SIGKILL to the broker and to nothing else, as in a crash; returns when it is gone.
    pub fn kill9(&self) {
        self.running().child.kill().expect("our child");
        self.wait();
    }

    /// SIGTERM, and the end that follows.
    pub fn terminate(&self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Waits for the broker to end by itself.
    #[track_caller]
    pub fn wait(&self) -> ExitStatus {
        let mut status = None;
        // The lock is free between two looks: players in other threads go on meanwhile.
        until("the broker ends", || {
            status = self.running().ended();
            status.is_some()
        });
        status.expect("it has ended")
    }

    /// Starts it again in the same directories, with SIGKILL first if it still runs. The log goes on.
    #[track_caller]
    pub fn restart(&self) {
        let mut running = self.running();
        running.end();
        let next = launch(&self.setup.lock().expect("setup"));
        next.log.prepend(&running.log);
        *running = next;
    }

    /// Runs another process beside this one in the same directories, to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.setup.lock().expect("setup").run(arguments)
    }

    /// The log's lines so far.
    pub fn logs(&self) -> Vec<String> {
        self.running().log.lines()
    }

    /// The log's lines so far that hold this text.
    pub fn logged(&self, text: &str) -> Vec<String> {
        self.logs().into_iter().filter(|line| line.contains(text)).collect()
    }

    /// Waits for a log line that holds this text, past (before a restart, too) or to come.
    #[track_caller]
    pub fn wait_log(&self, text: &str) -> String {
        let log = self.running().log.clone();
        log.wait(|line| line.contains(text))
            .unwrap_or_else(|end| panic!("no {text:?} in the log: {end}"))
    }

    /// Remembers a secret that must never stand in the log. Handshake and grants need not be told.
    pub fn keep_secret(&self, secret: &str) {
        self.secrets.lock().expect("secrets").push(secret.to_owned());
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// How it ended, and its log is whole; none while it runs.
    fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().expect("our child")?;
        self.log.wait_end();
        Some(status)
    }

    /// Ends it and all that it has started. Stopped first, so that it cannot start another between look and kill.
    fn end(&mut self) {
        if self.ended().is_some() {
            return;
        }
        let id = pid(&self.child);
        kill(Pid::from_raw(id), Signal::SIGSTOP).ok();
        let children = process::descendants(id);
        self.child.kill().ok();
        children.iter().for_each(Process::kill);
        self.child.wait().expect("our child");
        self.log.wait_end();
        children.iter().for_each(Process::wait_gone);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let mut running = self.running();
        let ended = running.ended();
        running.end();
        // Orphans of a broker that was killed or ended by itself.
        process::within(&self.dir("")).iter().for_each(Process::kill);
        if thread::panicking() {
            // The test has failed: this is the first thing that somebody will want to see.
            tell(&running.log.lines(), ended);
            return;
        }
        let secrets = self.secrets.lock().expect("secrets");
        for line in running.log.lines() {
            assert!(!line.contains("panicked at"), "the broker panicked: {line}");
            assert!(
                !secrets.iter().any(|secret| line.contains(secret)),
                "a secret is logged: {line}"
            );
        }
    }
}

/// Prints the end of a log, little enough for the test's own words to be seen before it, and where all of it is.
fn tell(lines: &[String], ended: Option<ExitStatus>) {
    const LINES: usize = 30;
    let mut all = Builder::new();
    let all = all.prefix("broker-").suffix(".log").disable_cleanup(true);
    let all = all.tempfile_in(env!("CARGO_TARGET_TMPDIR")).expect("a file for the log");
    fs::write(all.path(), lines.join("\n")).expect("a file for the log");
    let end = &lines[lines.len().saturating_sub(LINES)..];
    eprintln!("--- the end of the broker's log; all of it: {}", all.path().display());
    eprintln!("{}", end.join("\n"));
    match ended {
        None => eprintln!("--- the broker was running when the test failed"),
        Some(status) => eprintln!("--- the broker had ended: {status}"),
    }
}

#[track_caller]
fn launch(setup: &Setup) -> Running {
    let config = setup.write();
    let mut command = setup.command();
    command.arg("serve").arg("--config").arg(config);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the broker's binary starts");
    let log = Log::read(child.stderr.take().expect("a pipe"));
    let mut running = Running { child, log, addresses: HashMap::new() };
    let own = ["api", "metrics"]
        .into_iter()
        .filter(|name| setup.get(&format!("listen.{name}")).is_some());
    for listener in ["main"].into_iter().chain(own) {
        match running.log.wait(|line| listening(line, listener).is_some()) {
            Ok(line) => {
                let address = listening(&line, listener).expect("just found");
                running.addresses.insert(listener.to_owned(), address);
            }
            Err(end) => {
                running.end();
                panic!("the broker does not listen ({:?}): {end}", running.child.wait());
            }
        }
    }
    running
}

/// The address in the line that says that this listener is open.
fn listening(line: &str, listener: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    let field = |name| line.get(name).or_else(|| line.get("fields")?.get(name))?.as_str();
    (field("message")? == "listening" && field("listener")? == listener).then_some(())?;
    field("addr")?.parse().ok()
}

fn pid(child: &Child) -> i32 {
    child.id().try_into().expect("a process id")
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(&entry.path(), files),
            _ => files.push(entry.path()),
        }
    }
}
