//! How a broker is started: a directory of its own, an hls.yaml, an environment that holds nothing of the developer's.

use std::{
    env,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_yaml::{Mapping, Value};
use tempfile::TempDir;

use super::{Broker, Upstream, eventually};

/// The secret that every broker under test is given, unless a test sets another.
pub const HANDSHAKE: &str = "handshake-of-the-tests-5d1f0c";

/// A broker about to be started. `start` takes it; `run` may be called any number of times.
pub struct Setup {
    dir: TempDir,
    config: Value,
    environment: Vec<(String, String)>,
    path: OsString,
    under: Vec<String>,
}

/// A process that ran to its end.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Setup {
    /// A broker on a free port of 127.0.0.1 with the sample file's values, this upstream, JSON logs, and its own directories.
    pub fn new(upstream: &Upstream) -> Self {
        let config = serde_yaml::from_str(&format!(
            "host: 127.0.0.1
port: 0
handshake: {HANDSHAKE}
url:
  audio: {upstream}/audio
  vtt: {upstream}/vtt
cache:
  dir: ./cache
  size: 100MB
  limit: 100
  tempdir: ./temp
  static: ./static
  expiry: 2m30s
  killsize:
    enabled: true
    tempdir: 200MB
    static: 512MB
state:
  dir: ./state
log:
  level: debug
  format: json
",
            upstream = upstream.url()
        ));
        Self {
            dir: TempDir::with_prefix("hls-broker-").expect("a temporary directory"),
            config: config.expect("YAML"),
            environment: Vec::new(),
            path: env::var_os("PATH").unwrap_or_default(),
            under: Vec::new(),
        }
    }

    /// Sets a key of hls.yaml: `.with("cache.expiry", "5m")`.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.set(key, Some(value.into()));
        self
    }

    /// Leaves a key of hls.yaml out.
    pub fn without(mut self, key: &str) -> Self {
        self.set(key, None);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Puts a shell script before everything else in PATH, under that name. In it, `{real}` stands for the program that
    /// it hides and `{dir}` for [`Setup::dir`].
    pub fn program(mut self, name: &str, script: &str) -> Self {
        let bin = self.dir.path().join("bin");
        fs::create_dir_all(&bin).expect("bin/");
        let real =
            env::split_paths(&self.path).map(|dir| dir.join(name)).find(|path| path.exists());
        let real = real.unwrap_or_default();
        let script = script
            .replace("{real}", &real.to_string_lossy())
            .replace("{dir}", &self.dir.path().to_string_lossy());
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o755)
            .open(bin.join(name));
        let script = format!("#!/bin/sh\n{script}\n");
        file.and_then(|mut file| file.write_all(script.as_bytes())).expect("a script");
        let first = bin.as_os_str();
        if !env::split_paths(&self.path).any(|dir| dir == first) {
            let old = std::mem::take(&mut self.path);
            self.path =
                env::join_paths([bin].into_iter().chain(env::split_paths(&old))).expect("PATH");
        }
        self
    }

    /// [`Setup::program`] for ffmpeg.
    pub fn ffmpeg(self, script: &str) -> Self {
        self.program("ffmpeg", script)
    }

    /// An ffmpeg that is counted each time it is asked to work, and then does this: `exec {real} "$@"`, `exit 1`.
    /// See [`Broker::ffmpeg_runs`].
    pub fn counted_ffmpeg(self, then: &str) -> Self {
        // A directory, because the broker lets its children write no files.
        let count = "mkdir -p {dir}/runs/$$";
        self.ffmpeg(&format!(
            r#"case "$*" in *-version*) exec {{real}} "$@";; esac; {count}; {then}"#
        ))
    }

    /// An empty PATH: a machine without ffmpeg.
    pub fn without_programs(mut self) -> Self {
        self.path = self.dir.path().join("nothing").into();
        self
    }

    /// Starts it through a program that sets something up and becomes it: `.under(["prlimit", "--nofile=256"])`.
    pub fn under<const N: usize>(mut self, command: [&str; N]) -> Self {
        self.under = command.map(str::to_owned).into();
        self
    }

    /// The directory that holds hls.yaml, `cache`, `temp`, `static` and `state`.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts it and waits until it listens; ends the test with its log if it does not.
    #[track_caller]
    pub fn start(self) -> Broker {
        Broker::new(self)
    }

    /// Runs the binary with these arguments and `--config` to its end: `check`, or a `serve` that must fail.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ended {
        let config = self.write();
        let mut command = self.command();
        command.args(arguments).arg("--config").arg(config);
        finish(command)
    }

    /// The binary in this directory, environment and PATH, without arguments.
    pub fn command(&self) -> Command {
        let binary = binary();
        let mut command = match self.under.split_first() {
            None => Command::new(binary),
            Some((program, rest)) => {
                let mut command = Command::new(program);
                command.args(rest).arg(binary);
                command
            }
        };
        command
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", self.dir.path().join("home"))
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    pub(super) fn set(&mut self, key: &str, value: Option<Value>) {
        let (sections, name) = key.rsplit_once('.').unwrap_or(("", key));
        let mut section = &mut self.config;
        for word in sections.split('.').filter(|word| !word.is_empty()) {
            let map = section.as_mapping_mut().expect("a section");
            section = map.entry(word.into()).or_insert_with(|| Mapping::new().into());
        }
        let map = section.as_mapping_mut().expect("a section");
        match value {
            Some(value) => map.insert(name.into(), value),
            None => map.remove(name),
        };
    }

    /// What hls.yaml says about this key.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        key.split('.').try_fold(&self.config, |value, word| value.get(word))
    }

    /// Writes hls.yaml.
    pub(super) fn write(&self) -> PathBuf {
        let path = self.dir.path().join("hls.yaml");
        fs::write(&path, serde_yaml::to_string(&self.config).expect("YAML")).expect("hls.yaml");
        path
    }
}

/// The binary under test: the one that cargo built for these tests, or the one that `TEST_BINARY` names by an absolute
/// path (a release build, an installed one).
pub fn binary() -> OsString {
    env::var_os("TEST_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_hls-broker").into())
}

/// Runs the binary with these arguments and nothing else: no file, no environment.
#[track_caller]
pub fn hls_broker(arguments: &[&str]) -> Ended {
    let home = TempDir::new().expect("a temporary directory");
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(home.path()).env_clear().env("HOME", home.path());
    command.env("PATH", env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
    finish(command)
}

/// Runs a command to its end.
#[track_caller]
pub fn finish(mut command: Command) -> Ended {
    let dir = TempDir::new().expect("a temporary directory");
    // Files, because a full pipe would hold up the process that nobody reads.
    let (stdout, stderr) = (dir.path().join("stdout"), dir.path().join("stderr"));
    command
        .stdout(File::create(&stdout).expect("a file"))
        .stderr(File::create(&stderr).expect("a file"));
    let mut child = command.spawn().expect("the command starts");
    let mut status = None;
    let has_ended = eventually(|| {
        status = child.try_wait().expect("our child");
        status.is_some()
    });
    if !has_ended {
        child.kill().expect("our child");
        child.wait().expect("our child");
    }
    let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
    let (stdout, stderr) = (read(stdout), read(stderr));
    assert!(has_ended, "it goes on and on:\n{stdout}\n{stderr}");
    Ended { code: status.and_then(|status| status.code()), stdout, stderr }
}
