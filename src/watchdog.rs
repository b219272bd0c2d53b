//! The watchdog: looks at what the disk really holds, makes room early, and ends the process before it eats the disk.
//!
//! From 80 % of a limit on, packages that nobody plays go, then the video that players want last. When there is none left, new
//! packages are refused. Only when bytes on the disk exceed `killsize` all the same, as when somebody else writes there, does
//! it give up: that is the last resort which operators asked for, not the housekeeping.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    config::Killsize,
    disk::{self, Usage},
    error::{Code, Error, Result},
    metrics::{Metrics, Place},
    package::{PRESSURE, Packager},
    source::Sources,
};

/// Between two looks. A look that takes long makes the next one wait longer: at most a tenth of the time is spent looking.
const PERIOD: Duration = Duration::from_millis(500);

/// Bytes that a file system must have left for new work.
const FLOOR: u64 = 4 << 20;

/// One process's watch over its disk.
pub struct Watchdog {
    tempdir: Watched,
    packages: Watched,
    cache: PathBuf,
    enabled: bool,
    packager: Arc<Packager>,
    sources: Arc<Sources>,
    metrics: Arc<Metrics>,
}

struct Watched {
    place: &'static str,
    key: &'static str,
    path: PathBuf,
    limit: u64,
    /// Bytes beyond which the process ends: the limit, or more while it holds what was too much at the start.
    end: u64,
    usage: Usage,
}

/// Where the three directories are.
pub struct Paths {
    /// `cache.tempdir`
    pub tempdir: PathBuf,
    /// `cache.static`
    pub packages: PathBuf,
    /// `cache.dir`
    pub cache: PathBuf,
}

impl Watchdog {
    /// A watchdog that knows `killsize`; when that is not enabled it only reports.
    pub fn new(
        paths: Paths,
        killsize: &Killsize,
        packager: Arc<Packager>,
        sources: Arc<Sources>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let watched = |place, key, path, limit| {
            let usage = Usage::default();
            Watched { place, key, path, limit, end: limit, usage }
        };
        Self {
            tempdir: watched("tempdir", "cache.killsize.tempdir", paths.tempdir, killsize.tempdir),
            packages: watched("static", "cache.killsize.static", paths.packages, killsize.packages),
            cache: paths.cache,
            enabled: killsize.enabled,
            packager,
            sources,
            metrics,
        }
    }

    /// Looks again and again. Returns only when a limit is exceeded.
    pub async fn watch(mut self) -> Error {
        loop {
            let began = Instant::now();
            let (own, outcome) = match tokio::task::spawn_blocking(move || {
                let outcome = self.look();
                (self, outcome)
            })
            .await
            {
                Ok(looked) => looked,
                Err(e) => {
                    return Error::new(Code::Internal, format!("the watchdog fell over: {e}"));
                }
            };
            self = own;
            if let Err(error) = outcome {
                return error;
            }
            tokio::time::sleep(PERIOD.max(began.elapsed() * 9)).await;
        }
    }

    /// The look before anybody is served: evicts what an earlier run left, as far as that goes.
    ///
    /// What is too much even then would be too much after every restart, and a supervisor would restart for ever. So it is
    /// told and tolerated: nothing new is packaged, streams play on, and the process ends only if there comes to be more.
    pub fn look_first(&mut self) {
        if self.look().is_ok() {
            return;
        }
        for watched in [&mut self.tempdir, &mut self.packages] {
            let bytes = watched.measure();
            if bytes > watched.limit {
                watched.end = bytes.saturating_add(watched.limit / 10);
                tracing::error!("{}", watched.advice(bytes));
            }
        }
    }

    /// One look, blocking: measures, evicts, judges.
    ///
    /// # Errors
    /// [`Code::Watchdog`] when a limit is exceeded and the watchdog is enabled.
    pub fn look(&mut self) -> Result<()> {
        let (temp, mut packages) = (self.tempdir.measure(), self.packages.measure());
        let bound = (self.packages.limit as f64 * PRESSURE) as u64;
        // Evicting packages makes room on their file system only.
        let is_full = |path: &Path| disk::free(path).is_some_and(|free| free < FLOOR);
        let full = is_full(&self.packages.path);
        if (self.enabled && packages > bound) || full {
            let excess = packages.saturating_sub(bound).max(if full { FLOOR } else { 0 });
            if self.packager.evict(excess) > 0 {
                packages = self.packages.measure();
            }
        }
        let still_full = full && is_full(&self.packages.path);
        self.packager.set_full(still_full || (self.enabled && packages > bound));
        self.packager.release_unused();
        self.report(temp, packages);
        if !self.enabled {
            return Ok(());
        }
        let exceeded = |watched: &Watched, bytes: u64| {
            (bytes > watched.end).then(|| {
                let (key, limit) = (watched.key, si(watched.limit));
                format!("{} holds {}, {key} is {limit}", watched.place, si(bytes))
            })
        };
        let over: Vec<_> = [exceeded(&self.tempdir, temp), exceeded(&self.packages, packages)]
            .into_iter()
            .flatten()
            .collect();
        if over.is_empty() {
            return Ok(());
        }
        Err(Error::new(
            Code::Watchdog,
            format!("the watchdog ends the process: {}", over.join("; ")),
        ))
    }

    fn report(&self, temp: u64, packages: u64) {
        let set =
            |family: &prometheus_client::metrics::family::Family<Place, _>, place, bytes: u64| {
                let gauge: &prometheus_client::metrics::gauge::Gauge =
                    &family.get_or_create(&Place { place });
                gauge.set(bytes.cast_signed());
            };
        let m = &self.metrics;
        for (place, bytes) in [
            (self.tempdir.place, temp),
            (self.packages.place, packages),
            ("cache", self.sources.disk_bytes()),
        ] {
            set(&m.disk_bytes, place, bytes);
        }
        for watched in [&self.tempdir, &self.packages] {
            set(&m.disk_limit_bytes, watched.place, watched.limit);
        }
        for (place, path) in [
            (self.tempdir.place, &self.tempdir.path),
            (self.packages.place, &self.packages.path),
            ("cache", &self.cache),
        ] {
            set(&m.disk_free_bytes, place, disk::free(path).unwrap_or(0));
        }
    }
}

/// Bytes in the units in which limits are written.
fn si(bytes: u64) -> bytesize::Display {
    bytesize::ByteSize(bytes).display().si()
}

impl Watched {
    /// What a person can do about `bytes` that are too much.
    fn advice(&self, bytes: u64) -> String {
        let (key, limit) = (self.key, si(self.limit));
        let (path, bytes) = (self.path.display(), si(bytes));
        let largest = match self.largest() {
            Some((name, size)) => format!(", most of it in {name} ({})", si(size)),
            None => String::new(),
        };
        format!(
            "{key}: {limit} is less than the {bytes} in {path}{largest} that cannot be evicted; \
             no new package is made until what does not belong there is removed, or the limit is raised"
        )
    }

    /// The largest file or folder in it.
    fn largest(&self) -> Option<(String, u64)> {
        let entries = std::fs::read_dir(&self.path).ok()?.flatten();
        let sized = entries.map(|entry| {
            let bytes = match entry.metadata() {
                Ok(meta) if meta.is_dir() => Usage::default().measure(&entry.path()).unwrap_or(0),
                Ok(meta) => meta.len(),
                Err(_) => 0,
            };
            (entry.file_name().to_string_lossy().into_owned(), bytes)
        });
        sized.max_by_key(|&(_, bytes)| bytes)
    }

    fn measure(&mut self) -> u64 {
        let path: &Path = &self.path;
        let bytes = self.usage.measure(path).unwrap_or_else(|error| {
            tracing::warn!(%error, key = self.key, "a directory cannot be measured");
            0
        });
        if bytes <= self.limit {
            self.end = self.limit;
        }
        bytes
    }
}
