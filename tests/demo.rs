//! `hls-broker demo`: its lines work as they are, what they play is what was recorded, and nothing of it stays.

mod support;

use std::{
    env, fs,
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

use support::{decode, http, log::Log, process, setup, until};

/// The last that it prints before it waits.
const END: &str = "Ctrl-C";

/// A demo, running or ended.
struct Demo {
    child: Child,
    out: Log,
    tmp: TempDir,
}

impl Demo {
    /// Starts one and waits until it has said how to go on.
    fn start() -> Self {
        let tmp = TempDir::new().expect("a temporary directory");
        let mut command = Command::new(setup::binary());
        command.arg("demo").env_clear().env("TMPDIR", tmp.path());
        command.env("PATH", env::var_os("PATH").unwrap_or_default());
        // The environment is somebody else's: were it read, this would be refused.
        command.env("HLS__CACHE__LIMIT", "none");
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the demo starts");
        let out = Log::read(child.stdout.take().expect("a pipe"));
        let demo = Self { child, out, tmp };
        let told = demo.out.wait(|line| line.starts_with(END));
        told.unwrap_or_else(|told| panic!("the demo did not get far:\n{told}"));
        demo
    }

    /// The printed line that holds all of these.
    #[track_caller]
    fn line(&self, parts: &[&str]) -> String {
        let lines = self.out.lines();
        let found = lines.iter().find(|line| parts.iter().all(|part| line.contains(part)));
        found.unwrap_or_else(|| panic!("no {parts:?} in {lines:#?}")).trim().to_owned()
    }

    /// What a shell makes of that line: exit code and output.
    #[track_caller]
    fn paste(&self, parts: &[&str]) -> setup::Ended {
        let mut shell = Command::new("sh");
        shell.args(["-c", &self.line(parts)]);
        setup::finish(shell)
    }

    /// The printed URL with its token in it.
    fn url(&self) -> String {
        self.line(&["?token="])
    }

    /// The URI of a playlist, with the token in it.
    fn playlist(&self, name: &str) -> String {
        let url = self.url();
        let (_, query) = url.split_once('?').expect("a query");
        format!("{name}?{query}")
    }

    /// A file of the stream by its URI.
    #[track_caller]
    fn get(&self, uri: &str) -> String {
        let url = self.url();
        let (origin, path) =
            url.strip_prefix("http://").and_then(|url| url.split_once('/')).expect("a URL");
        let stream = path.rsplit_once('/').expect("a path").0;
        let address: SocketAddr = origin.parse().expect("an address");
        let reply = http::request(address, "GET", &format!("/{stream}/{uri}"), &[], None);
        reply.expect("an answer").expect(200).text().to_owned()
    }

    /// Ctrl-C, and the end that follows.
    fn interrupt(&mut self) -> ExitStatus {
        let id = Pid::from_raw(self.child.id().try_into().expect("a process id"));
        kill(id, Signal::SIGINT).expect("the demo runs");
        let mut status = None;
        until("the demo ends", || {
            status = self.child.try_wait().expect("our child");
            status.is_some()
        });
        status.expect("it has ended")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let children = process::descendants(self.child.id().try_into().expect("a process id"));
        self.child.kill().ok();
        self.child.wait().ok();
        children.iter().for_each(process::Process::kill);
    }
}

#[test]
fn every_line_works_as_it_is_printed() {
    let demo = Demo::start();
    for call in ["/api/token", "/api/unlock"] {
        let reply = demo.paste(&["curl", call]);
        let json: Value = serde_json::from_str(&reply.stdout).expect("JSON");
        let left = json["expires_in"].as_u64().unwrap_or_default();
        assert!((3000..=3600).contains(&left), "{json}");
        assert!(json["token"].is_string() && json["url"].is_string(), "{json}");
    }
    assert!(demo.paste(&["curl", "index.m3u8"]).stdout.starts_with("#EXTM3U\n"));
    assert_eq!(demo.paste(&["curl", "/api/ready"]).stdout, r#"{"status":"ready"}"#);
    assert!(demo.paste(&["curl", "/metrics"]).stdout.ends_with("# EOF\n"));

    let ffplay = demo.line(&["ffplay"]);
    let [_, header, _, url, ""] = ffplay.split('\'').collect::<Vec<_>>()[..] else {
        panic!("{ffplay}");
    };
    let (name, token) = header.split_once(": ").expect("a header line");
    assert!(decode::playlist(url, &[(name, token)]).seconds() > 50.0);
    let mpv = demo.line(&["mpv"]);
    assert_eq!(mpv, format!("mpv --http-header-fields='{header}' '{url}'"));

    assert_eq!(demo.paste(&["curl", "DELETE"]).stdout, "");
    let refused: Value =
        serde_json::from_str(&demo.paste(&["curl", "index.m3u8"]).stdout).expect("JSON");
    assert_eq!(refused["code"], "stream_gone");
}

#[test]
fn what_is_heard_is_what_is_read() {
    let demo = Demo::start();
    let sentences: Vec<_> = include_str!("../demo/welcome.txt").lines().collect();
    let mut cues = Vec::new();
    let playlist = demo.get(&demo.playlist("s0.m3u8"));
    for uri in playlist.lines().filter(|line| !line.starts_with('#')) {
        let segment = demo.get(uri);
        for block in segment.split("\n\n").filter(|block| block.contains("-->")) {
            let (time, text) = block.trim().split_once('\n').expect("a cue");
            // Cues that span a cut stand on both sides of it.
            if cues.last().is_none_or(|(_, last)| last != text) {
                cues.push((time.to_owned(), text.to_owned()));
            }
        }
    }
    let read: Vec<_> = cues.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(read, sentences);

    let heard = decode::playlist(&demo.url(), &[]);
    let at = |seconds: f64| (seconds * f64::from(heard.rate)) as usize;
    for (time, text) in &cues {
        let (start, end) = time.split_once(" --> ").expect("two times");
        let (start, end) = (seconds(start), seconds(end));
        // An AAC frame at this rate reaches 93 ms beyond what it holds.
        let silence = heard.peak(at(start - 0.15)..at(start - 0.1));
        assert!(silence < 500, "{silence} before {text:?}");
        for (edge, range) in [("start", start..start + 0.2), ("end", end - 0.2..end)] {
            let peak = heard.peak(at(range.start)..at(range.end));
            assert!(peak > 2000, "{peak} at the {edge} of {text:?}");
        }
    }
}

#[test]
fn ctrl_c_ends_it_and_nothing_stays() {
    let mut demo = Demo::start();
    assert_eq!(fs::read_dir(demo.tmp.path()).expect("a directory").count(), 1);
    let status = demo.interrupt();
    assert!(status.success(), "{status}");
    demo.out.wait_end();
    assert_eq!(
        demo.out.lines().last().map(String::as_str),
        Some("The demo has ended, and its files are gone.")
    );
    assert_eq!(fs::read_dir(demo.tmp.path()).expect("a directory").count(), 0);
}

#[test]
fn a_configuration_is_refused_and_nothing_is_made() {
    let refused = setup::hls_broker(&["demo", "--config", "hls.yaml"]);
    assert_eq!(refused.code, Some(64), "{refused:?}");
    assert!(refused.stderr.contains("--set"), "{refused:?}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let refused = setup::hls_broker(&["demo", "--port", &port]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(69), ""), "{refused:?}");
}

/// `MM:SS.mmm` or `HH:MM:SS.mmm`.
fn seconds(clock: &str) -> f64 {
    clock.split(':').fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().expect("a number"))
}
