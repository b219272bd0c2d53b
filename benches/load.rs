//! Load from wrk, and what it costs those who bear it.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::OnceLock,
};

use crate::support::process::descendants;

/// Seconds of one run of wrk.
const SECONDS: u32 = 4;

/// Connections of one run.
const CONNECTIONS: u32 = 32;

/// What wrk saw.
#[derive(Debug)]
pub struct Load {
    /// Requests that were answered.
    pub requests: f64,
    /// Requests a second.
    pub rate: f64,
    /// The 99th percentile of the time that an answer took, in milliseconds.
    pub p99: f64,
}

/// Loads `url` for a few seconds through 32 connections from one thread. Every answer must be a 2xx.
pub fn wrk(url: &str, headers: &[(&str, &str)], script: Option<&Path>) -> Load {
    let mut wrk = Command::new("wrk");
    wrk.args(["--latency", "-t1", &format!("-c{CONNECTIONS}"), &format!("-d{SECONDS}s")]);
    for (name, value) in headers {
        wrk.arg("-H").arg(format!("{name}: {value}"));
    }
    if let Some(script) = script {
        wrk.arg("-s").arg(script);
    }
    let output = wrk.arg(url).stdin(Stdio::null()).output().expect("wrk is installed");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{said}");
    let line = |holds: &dyn Fn(&str) -> bool| {
        let found = said.lines().map(str::trim).find(|line| holds(line));
        found.unwrap_or_else(|| panic!("wrk says something else: {said}"))
    };
    let requests = line(&|line| line.contains(" requests in "));
    let rate = line(&|line| line.starts_with("Requests/sec:"));
    let p99 = line(&|line| line.starts_with("99%"));
    Load {
        requests: number(requests.split(' ').next()),
        rate: number(rate.split_whitespace().nth(1)),
        p99: in_ms(p99.split_whitespace().nth(1).unwrap_or_default()),
    }
}

/// [`wrk`], and the microseconds of processor that a request cost the process `pid` and all below it.
pub fn cost(pid: i32, url: &str, headers: &[(&str, &str)]) -> (f64, Load) {
    let before = processor_seconds(pid);
    let load = wrk(url, headers, None);
    let spent = processor_seconds(pid) - before;
    (spent * 1e6 / load.requests, load)
}

/// Seconds of processor, its own and the system's, that a process has taken so far, and those below it, those that have ended
/// included (proc(5)).
pub fn processor_seconds(pid: i32) -> f64 {
    let below = descendants(pid).into_iter().map(|process| process.pid);
    let ticks: u64 = below.chain([pid]).map(ticks).sum();
    ticks as f64 / ticks_per_second()
}

fn ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    // utime, stime, cutime and cstime are the 14th to 17th of all, and the name in parentheses is the 2nd.
    fields.split_whitespace().skip(11).take(4).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

fn ticks_per_second() -> f64 {
    static TICKS: OnceLock<f64> = OnceLock::new();
    *TICKS.get_or_init(|| {
        let output = Command::new("getconf").arg("CLK_TCK").output().expect("getconf");
        number(String::from_utf8_lossy(&output.stdout).split_whitespace().next())
    })
}

fn number(word: Option<&str>) -> f64 {
    word.and_then(|word| word.parse().ok()).expect("a number")
}

/// A time as wrk writes it: `873.00us`, `1.20ms`, `2.00s`.
fn in_ms(time: &str) -> f64 {
    let units = [("us", 0.001), ("ms", 1.0), ("s", 1000.0)];
    let found = units.iter().find_map(|(unit, factor)| Some((time.strip_suffix(unit)?, factor)));
    found.map(|(digits, factor)| number(Some(digits)) * factor).expect("a time")
}
