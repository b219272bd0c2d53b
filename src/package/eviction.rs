//! Room on the disk: reserved before a package begins and as its video is made, won back from packages that nobody plays, then
//! from the video of those in use.
//!
//! A film may be larger than the disk, so its segments come and go while it plays. What players want last goes first: what is
//! behind all of them, the longest unasked for before the rest; then what is ahead, the farthest first. Nothing goes for what
//! is wanted later than itself, and nothing that somebody waits for goes at all. What has gone is made anew, as what never was.
//! Sound stays: it is small, and would not come out as the same bytes again.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use super::{
    AUDIO, PRESSURE, Package, Packager, Part, RETRY, control::Control, key::Key, lock,
    pace::Distance, store::erase,
};
use crate::{
    disk::Reservation,
    error::{Error, Result},
    metrics::Metrics,
};

impl Packager {
    /// Evicts one package if the disk was full when the watchdog looked: somebody may have let go of one since.
    pub(super) fn make_way(&self, packages: &mut HashMap<Key, Arc<Package>>) {
        if self.is_full()
            && let Some(gone) = self.detach_one(packages)
        {
            tokio::task::spawn_blocking(move || removed(&gone));
            self.set_full(false);
        }
    }

    /// Takes room for a new package, or for an extra, at the cost of packages that nobody plays and of segments that no player
    /// is near.
    ///
    /// # Errors
    /// [`Code::Busy`](crate::error::Code::Busy) when all that is there is in use.
    pub(super) fn reserve(
        &self,
        packages: &mut HashMap<Key, Arc<Package>>,
        bytes: u64,
    ) -> Result<Option<Reservation>> {
        self.take(packages, bytes, Some(self.near()))
    }

    /// Takes room for the segment that `head` has made, beyond what was reserved when its package began: at the cost of
    /// packages that nobody plays, then of segments that players want later; where somebody waits for it or for one behind
    /// it, of any that nobody waits for.
    ///
    /// # Errors
    /// As [`Packager::reserve`].
    pub(super) fn room_for(
        &self,
        Part { rendition, .. }: &Part,
        head: &Control,
        bytes: u64,
    ) -> Result<Option<Reservation>> {
        if rendition.track == AUDIO {
            return Ok(None);
        }
        let than = || {
            let distance = rendition.distance(head.next.load(Relaxed));
            distance.unwrap_or(self.near()).min(self.near())
        };
        let than = (!rendition.is_followed(head)).then(than);
        self.take(&mut self.packages(), bytes, than)
    }

    /// What is farther from all players than this is made for none of them.
    fn near(&self) -> Distance {
        Distance::Ahead(self.ahead)
    }

    /// Takes room, for which packages go that nobody plays, then segments that players want later `than` this.
    fn take(
        &self,
        packages: &mut HashMap<Key, Arc<Package>>,
        bytes: u64,
        than: Option<Distance>,
    ) -> Result<Option<Reservation>> {
        let Some(room) = &self.room else {
            return Ok(None);
        };
        if bytes as f64 > room.limit() as f64 * PRESSURE {
            return Err(no_room(bytes));
        }
        loop {
            if let Some(taken) = room.reserve(bytes, PRESSURE) {
                return Ok(Some(taken));
            }
            if let Some(gone) = self.detach_one(packages) {
                tokio::task::spawn_blocking(move || removed(&gone));
            } else if !self.let_go_one(packages, than) {
                return Err(no_room(bytes));
            }
        }
    }

    /// Evicts unused packages, then segments that no player is near, until `excess` bytes are free, or none is left; says how
    /// many bytes went. Blocks while files are removed.
    pub fn evict(&self, excess: u64) -> u64 {
        let mut freed = 0;
        while freed < excess {
            let mut packages = self.packages();
            let before: u64 = packages.values().map(|p| p.bytes()).sum();
            let gone = self.detach_one(&mut packages);
            if gone.is_none() && !self.let_go_one(&packages, Some(self.near())) {
                break;
            }
            let after = packages.values().map(|p| p.bytes()).sum();
            freed += before.saturating_sub(after);
            drop(packages);
            if let Some(gone) = gone {
                removed(&gone);
            }
        }
        freed
    }

    /// Removes the segment that players want last, if that is later `than` this; says whether there was one. The disk is
    /// touched for its removal alone.
    fn let_go_one(&self, packages: &HashMap<Key, Arc<Package>>, than: Option<Distance>) -> bool {
        loop {
            let all = packages.values().flat_map(|p| p.renditions.iter().map(move |r| (p, r)));
            let found = all.filter_map(|(p, r)| r.expendable().map(|(far, n)| (far, n, p, r)));
            let last = found.max_by_key(|&(far, ..)| far);
            let is_wanted_later = |far| than.is_none_or(|than| far > than);
            let Some((_, n, package, rendition)) = last.filter(|&(far, ..)| is_wanted_later(far))
            else {
                return false;
            };
            // Else somebody has asked for it meanwhile.
            if let Some(bytes) = rendition.let_go(n) {
                let (key, track) = (package.key, rendition.track);
                tracing::debug!(package = %key, %track, segment = n, bytes, "a segment goes");
                if let Err(error) = self.store.remove(key, track, n) {
                    tracing::warn!(%error, "a segment cannot be removed");
                }
                rendition.unclaim(n);
                if let Some(room) = lock(&package.room).as_mut() {
                    room.shrink(bytes);
                }
                Metrics::count(&self.metrics.evictions, "segment");
                return true;
            }
        }
    }

    /// Takes the package that nobody has played for longest out of sight, and says what is left to be removed; None when all
    /// are in use. Heads that still work for nobody end.
    fn detach_one(&self, packages: &mut HashMap<Key, Arc<Package>>) -> Option<PathBuf> {
        loop {
            let unused = packages.values().filter(|p| !p.is_live());
            let rank = |p: &&Arc<Package>| (p.heads() > 0, p.used.load(Relaxed));
            let oldest = unused.min_by_key(rank).cloned()?;
            packages.remove(&oldest.key);
            self.workers.end(&oldest);
            self.metrics.packages.set(packages.len() as i64);
            Metrics::count(&self.metrics.evictions, "package");
            *lock(&oldest.room) = None;
            lock(&oldest.extras).clear();
            *lock(&oldest.pin) = None;
            match self.store.detach(oldest.key) {
                Ok(Some(gone)) => return Some(gone),
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "a package cannot be removed"),
            }
        }
    }

    /// Lets go of the sources of packages that nobody plays any more.
    pub fn release_unused(&self) {
        let packages = self.packages();
        for package in packages.values().filter(|package| package.is_unused()) {
            // Dropping a pin takes the cache's lock, never this one.
            lock(&package.pin).take();
        }
    }
}

fn no_room(bytes: u64) -> Error {
    let size = bytesize::ByteSize(bytes).display().si();
    let text = format!("packages in use leave no room for {size} more below cache.killsize.static");
    Error::busy(text, RETRY)
}

fn removed(path: &Path) {
    if let Err(error) = erase(path) {
        tracing::warn!(%error, "a package that was evicted cannot be removed");
    }
}

#[cfg(test)]
mod tests;
