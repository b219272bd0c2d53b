//! Sources on disk: those in use are pinned, the others are kept under moka while they fit.
//!
//! A source that a package still needs is outside moka's choice; when its last [`Pin`] goes it moves under moka's
//! least-recently-used policy. Both kinds together stay within `cache.size` bytes and `cache.limit` files, but for a
//! single source larger than all of it, which is held alone.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use moka::{notification::RemovalCause, policy::EvictionPolicy};
use tokio::sync::Notify;

use super::spool::Spool;
use crate::{
    disk::{Reservation, Room},
    error::{Code, Error, Result},
    metrics::Metrics,
};

/// When a caller who was turned away should come back.
const RETRY: Duration = Duration::from_secs(5);

/// By how much a download of unknown length reserves ahead.
const STEP: u64 = 1 << 20;

/// The share of `cache.killsize.tempdir` that downloads may take: the watchdog counts blocks, of which a file has more
/// than its bytes.
const SHARE: f64 = 0.95;

/// The files of one process.
#[derive(Debug)]
pub struct Cache {
    dir: PathBuf,
    tempdir: PathBuf,
    size: u64,
    limit: usize,
    /// How long a new source waits for pinned ones to be done with.
    patience: Duration,
    room: Option<Arc<Room>>,
    kept: moka::sync::Cache<String, Kept>,
    pinned: Mutex<Pinned>,
    released: Notify,
    sequence: AtomicU64,
}

/// A source that nobody needs now, by its file alone: an open one would hold its bytes on the disk after it was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kept {
    /// Counts up as sources are let go, so that the least is the longest unused.
    sequence: u64,
    bytes: u64,
}

#[derive(Debug, Default)]
struct Pinned {
    sources: HashMap<String, (Arc<Spool>, usize)>,
    bytes: u64,
}

impl Pinned {
    fn add(&mut self, id: &str, spool: &Arc<Spool>) {
        self.bytes += spool.total().unwrap_or(0);
        self.sources.insert(id.to_owned(), (spool.clone(), 1));
    }
}

/// Where sources live and how much of them.
#[derive(Debug)]
pub struct Bounds {
    /// `cache.dir`.
    pub dir: PathBuf,
    /// `cache.tempdir`.
    pub tempdir: PathBuf,
    /// `cache.size` in bytes.
    pub size: u64,
    /// `cache.limit`.
    pub limit: usize,
    /// How long a new source waits for others to be done with.
    pub patience: Duration,
    /// What downloads may take of `tempdir`; None without a limit.
    pub room: Option<Arc<Room>>,
}

impl Cache {
    /// An empty cache; see [`Cache::adopt`] for files of an earlier run.
    pub fn new(bounds: Bounds, metrics: Arc<Metrics>) -> Arc<Self> {
        let Bounds { dir, tempdir, size, limit, patience, room } = bounds;
        // Each entry weighs at least its share of the number allowed, so that one bound keeps both.
        let share = size / limit as u64;
        let weigh = move |_: &String, kept: &Kept| {
            u32::try_from(kept.bytes.max(share).div_ceil(1024)).unwrap_or(u32::MAX)
        };
        let evicted = dir.clone();
        let kept = moka::sync::Cache::builder()
            .max_capacity(size / 1024)
            .weigher(weigh)
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener(move |id: Arc<String>, _, cause| {
                if cause == RemovalCause::Size {
                    Metrics::count(&metrics.evictions, "source");
                    remove(&evicted.join(&*id));
                }
            })
            .build();
        Arc::new(Self {
            dir,
            tempdir,
            size,
            limit,
            patience,
            room,
            kept,
            pinned: Mutex::default(),
            released: Notify::new(),
            sequence: AtomicU64::new(0),
        })
    }

    /// How many sources can be in use at once.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Takes over a file of an earlier run; false when there is none, or not one of `total` bytes if that is known.
    pub fn adopt(&self, id: &str, total: Option<u64>) -> bool {
        let Ok(meta) = self.dir.join(id).metadata() else {
            return false;
        };
        if total.is_some_and(|total| total != meta.len()) {
            return false;
        }
        self.keep(id, meta.len());
        true
    }

    /// Removes the files of an earlier run that were not adopted.
    pub fn sweep(&self) {
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let known = entry.file_name().to_str().is_some_and(|name| self.kept.contains_key(name));
            if !known && let Err(e) = crate::disk::remove(&entry.path()) {
                tracing::warn!(error = %e, "a file of an earlier run cannot be removed");
            }
        }
    }

    /// The source `id`, if it is here and did not break off.
    pub fn pin(self: &Arc<Self>, id: &str) -> Option<Pin> {
        let mut pinned = self.pinned();
        if let Some((spool, pins)) = pinned.sources.get_mut(id) {
            if spool.failure().is_some() {
                return None;
            }
            *pins += 1;
            let spool = spool.clone();
            return Some(self.guard(id, spool));
        }
        self.kept.remove(id)?;
        let spool = Arc::new(Spool::open(&self.dir.join(id)).ok()?);
        pinned.add(id, &spool);
        Some(self.guard(id, spool))
    }

    /// A new empty source of `total` bytes, if that is known. Waits for its turn while sources in use leave no room.
    ///
    /// # Errors
    /// [`Code::Busy`] when there is none in time, or the disk is full; [`Code::UpstreamTooLarge`] when it can never fit.
    pub async fn create(
        self: &Arc<Self>,
        id: &str,
        total: Option<u64>,
    ) -> Result<(Pin, Option<Reservation>)> {
        let reservation = self.reserve(total.unwrap_or(STEP))?;
        let nonce = self.sequence.fetch_add(1, Relaxed);
        let part = self.tempdir.join(format!("{id}-{nonce}.part"));
        let full = |e| disk_full("creating a file for a download", &e);
        let spool = Arc::new(Spool::create(&part, total).map_err(full)?);
        let turn = async {
            loop {
                let released = self.released.notified();
                if let Some(pin) = self.admit(id, &spool) {
                    return pin;
                }
                released.await;
            }
        };
        let busy = |_| Error::busy("all room for sources is in use", RETRY);
        let pin = tokio::time::timeout(self.patience, turn).await.map_err(busy)?;
        Ok((pin, reservation))
    }

    fn admit(self: &Arc<Self>, id: &str, spool: &Arc<Spool>) -> Option<Pin> {
        let need = spool.total().unwrap_or(0);
        let mut pinned = self.pinned();
        // A failed one of the same name leaves its place; its own pins find that out when they go.
        if let Some((old, _)) = pinned.sources.remove(id) {
            pinned.bytes -= old.total().unwrap_or(0).min(pinned.bytes);
        }
        let fits = pinned.sources.len() < self.limit && pinned.bytes + need <= self.size;
        if !fits && !pinned.sources.is_empty() {
            return None;
        }
        pinned.add(id, spool);
        self.make_room(&pinned);
        drop(pinned);
        Some(self.guard(id, spool.clone()))
    }

    /// Lets go of what is kept, longest unused first, until it fits beside what is pinned.
    fn make_room(&self, pinned: &Pinned) {
        self.kept.run_pending_tasks();
        let mut kept: Vec<_> = self.kept.iter().map(|(id, kept)| (kept, id)).collect();
        kept.sort_unstable();
        let mut bytes: u64 = kept.iter().map(|(kept, _)| kept.bytes).sum();
        let mut count = kept.len();
        for (_, id) in kept {
            if bytes + pinned.bytes <= self.size && count + pinned.sources.len() <= self.limit {
                return;
            }
            if let Some(gone) = self.kept.remove(&*id) {
                bytes -= gone.bytes;
                count -= 1;
                remove(&self.dir.join(&*id));
            }
        }
    }

    fn reserve(&self, bytes: u64) -> Result<Option<Reservation>> {
        let Some(room) = &self.room else {
            return Ok(None);
        };
        if let Some(reservation) = room.reserve(bytes, SHARE) {
            return Ok(Some(reservation));
        }
        Err(self.no_room(bytes))
    }

    /// Makes sure that a download of unknown length may go on to `bytes`.
    pub fn extend(&self, reservation: &mut Option<Reservation>, bytes: u64) -> Result<()> {
        let Some(reservation) = reservation else {
            return Ok(());
        };
        let more = STEP.max(bytes.saturating_sub(reservation.bytes()));
        if bytes <= reservation.bytes() || reservation.grow(more, SHARE) {
            return Ok(());
        }
        Err(self.no_room(bytes))
    }

    fn no_room(&self, bytes: u64) -> Error {
        let limit = self.room.as_ref().map_or(0, |room| room.limit());
        if bytes as f64 > limit as f64 * SHARE {
            let text = format!(
                "the upstream's file is too large for cache.killsize.tempdir ({})",
                bytesize::ByteSize(limit).display().si()
            );
            return Error::new(Code::UpstreamTooLarge, text);
        }
        Error::busy("downloads in progress leave no room in tempdir", RETRY)
    }

    /// All bytes of `spool` are there: moves its file to `cache.dir`.
    pub fn finish(&self, id: &str, spool: &Spool, bytes: u64) -> Result<()> {
        let grown = if spool.total().is_none() { bytes } else { 0 };
        if grown > 0 {
            let mut pinned = self.pinned();
            pinned.bytes += grown;
            self.make_room(&pinned);
        }
        let moved = spool.keep(&self.dir.join(id), bytes);
        if !spool.is_whole() {
            let mut pinned = self.pinned();
            pinned.bytes -= grown.min(pinned.bytes);
        }
        moved.map_err(|e| disk_full("moving a download into the cache", &e))
    }

    fn keep(&self, id: &str, bytes: u64) {
        let sequence = self.sequence.fetch_add(1, Relaxed);
        self.kept.insert(id.to_owned(), Kept { sequence, bytes });
        self.kept.run_pending_tasks();
    }

    fn guard(self: &Arc<Self>, id: &str, spool: Arc<Spool>) -> Pin {
        Pin { cache: Some(self.clone()), id: id.to_owned(), spool }
    }

    fn release(&self, id: &str, spool: &Arc<Spool>) {
        let mut pinned = self.pinned();
        let Some((own, pins)) = pinned.sources.get_mut(id) else {
            return;
        };
        if !Arc::ptr_eq(own, spool) {
            return;
        }
        *pins -= 1;
        if *pins > 0 {
            return;
        }
        pinned.sources.remove(id);
        pinned.bytes -= spool.total().unwrap_or(0).min(pinned.bytes);
        if spool.is_whole() {
            self.keep(id, spool.available());
        }
        drop(pinned);
        self.released.notify_waiters();
    }

    fn pinned(&self) -> MutexGuard<'_, Pinned> {
        self.pinned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of all sources that are here.
    pub fn bytes(&self) -> u64 {
        let kept: u64 = self.kept.iter().map(|(_, kept)| kept.bytes).sum();
        kept + self.pinned().bytes
    }
}

/// A source that stays while this is held.
#[derive(Debug)]
pub struct Pin {
    /// None for a file that is not the cache's own, and stays anyway.
    cache: Option<Arc<Cache>>,
    id: String,
    spool: Arc<Spool>,
}

impl Pin {
    /// A hold on a file that lies somewhere else.
    pub fn local(id: &str, spool: Arc<Spool>) -> Self {
        Self { cache: None, id: id.to_owned(), spool }
    }

    /// Its bytes.
    pub fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }

    /// Its name in the cache.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl Clone for Pin {
    fn clone(&self) -> Self {
        if let Some(cache) = &self.cache
            && let Some((own, pins)) = cache.pinned().sources.get_mut(&self.id)
            && Arc::ptr_eq(own, &self.spool)
        {
            *pins += 1;
        }
        Self { cache: self.cache.clone(), id: self.id.clone(), spool: self.spool.clone() }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Some(cache) = &self.cache {
            cache.release(&self.id, &self.spool);
        }
    }
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(%error, "a source that was evicted cannot be removed");
    }
}

/// What a failed write means to a caller: most often that the disk is full.
pub fn disk_full(doing: &str, error: &std::io::Error) -> Error {
    tracing::error!(%error, "{doing}");
    Error::busy("the broker's disk cannot take this now", RETRY)
}

#[cfg(test)]
mod tests;
