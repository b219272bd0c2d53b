//! Figures, and the Markdown table that they end up in.

use std::{
    env,
    fmt::{self, Display},
    fs,
    process::Command,
    thread,
    time::{Duration, SystemTime},
};

/// What a row's figures are measured in.
#[derive(Clone, Copy)]
pub enum Unit {
    /// Milliseconds.
    Ms,
    /// Seconds.
    Seconds,
    /// Microseconds.
    Us,
    /// Events a second.
    PerSecond,
    /// Millions of bytes.
    Megabytes,
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::Ms => "ms",
            Self::Seconds => "s",
            Self::Us => "us",
            Self::PerSecond => "/s",
            Self::Megabytes => "MB",
        }
    }
}

/// What a row must hold to. A bound on a ratio where there is a reference, else on the median itself.
#[derive(Clone, Copy)]
pub enum Target {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
    /// The reference takes at least this many times as long: the ratio is turned round.
    TimesFaster(f64),
    /// Shown, not judged.
    Shown,
}

impl Target {
    fn holds(self, value: f64) -> Option<bool> {
        match self {
            Self::AtMost(bound) => Some(value <= bound),
            Self::AtLeast(bound) | Self::TimesFaster(bound) => Some(value >= bound),
            Self::Shown => None,
        }
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bound) => write!(f, "at most {bound}"),
            Self::AtLeast(bound) | Self::TimesFaster(bound) => write!(f, "at least {bound}"),
            Self::Shown => Ok(()),
        }
    }
}

/// The table, as it grows.
pub struct Report {
    runs: usize,
    load: String,
    rows: Vec<String>,
}

impl Report {
    /// A table of measurements that are repeated `runs` times.
    pub fn new(runs: usize) -> Self {
        Self { runs, load: load(), rows: Vec::new() }
    }

    /// Figures of ours without a reference; the target bounds their median.
    pub fn figure(&mut self, what: &str, unit: Unit, ours: &[f64], target: Target) {
        let verdict = verdict(target, target.holds(median(ours)));
        self.row(format!("| {what} | {} | | | {verdict} |", spread(ours, unit)));
    }

    /// Figures of ours beside those of a reference that ran in turns with them. The target bounds the ratio: the median of
    /// the ratios of neighbours.
    pub fn ratio(
        &mut self,
        what: &str,
        unit: Unit,
        ours: &[f64],
        reference: &[f64],
        target: Target,
    ) {
        let ratio = |(ours, theirs): (&f64, &f64)| match target {
            Target::TimesFaster(_) => theirs / ours,
            _ => ours / theirs,
        };
        let ratio = median(&ours.iter().zip(reference).map(ratio).collect::<Vec<_>>());
        let verdict = verdict(target, target.holds(ratio));
        let (ours, reference) = (spread(ours, unit), spread(reference, unit));
        self.row(format!("| {what} | {ours} | {reference} | **{}** | {verdict} |", short(ratio)));
    }

    fn row(&mut self, row: String) {
        eprintln!("  {row}");
        self.rows.push(row);
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let today = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let day = today.split('T').next().unwrap_or_default();
        writeln!(f, "\n## {day}, commit {}\n", commit())?;
        writeln!(
            f,
            "{}; {}; {}. Medians of {} runs (min to max); the ratio is the median of neighbours' ratios. \
             Load average when it began: {}.\n",
            machine(),
            first_line("ffmpeg", "-version"),
            first_line("nginx", "-v"),
            self.runs,
            self.load,
        )?;
        writeln!(f, "| measured | ours | reference | ratio | target |")?;
        writeln!(f, "| --- | --- | --- | --- | --- |")?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}

/// A duration in milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The middle one; of an even number, the upper of the two.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The value that so many of a hundred do not exceed.
pub fn percentile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(rank).copied().unwrap_or(f64::NAN)
}

fn verdict(target: Target, holds: Option<bool>) -> String {
    match holds {
        Some(true) => format!("{target}: met"),
        Some(false) => format!("{target}: **missed**"),
        None => target.to_string(),
    }
}

fn spread(values: &[f64], unit: Unit) -> String {
    let unit = unit.name();
    let middle = short(median(values));
    if values.len() < 2 {
        return format!("{middle} {unit}");
    }
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{middle} {unit} ({} to {})", short(least), short(most))
}

/// Three significant digits or so.
fn short(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or_default().to_owned()
}

fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let name = name.trim_start_matches([' ', '\t', ':']);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores of {name}, Linux {}", kernel.trim())
}

/// The first two or three words that a program says of itself.
fn first_line(program: &str, flag: &str) -> String {
    let Ok(output) = Command::new(program).arg(flag).output() else {
        return format!("no {program}");
    };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let line = said.lines().next().unwrap_or_default();
    line.split(" Copyright").next().unwrap_or_default().to_owned()
}

fn commit() -> String {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    // GIT_DIR and its kin are set where a hook runs us.
    env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GIT_")).for_each(
        |(name, _)| {
            git.env_remove(name);
        },
    );
    let said = git.output().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    said.ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}
