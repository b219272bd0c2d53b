//! Room on the disk: reserved before a package begins, won back from packages that nobody plays.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use super::{PRESSURE, Package, Packager, RETRY, key::Key, lock, store::erase};
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

    /// Takes room for a new package, at the cost of packages that nobody plays.
    ///
    /// # Errors
    /// [`Code::Busy`](crate::error::Code::Busy) when all that is there is in use.
    pub(super) fn reserve(
        &self,
        packages: &mut HashMap<Key, Arc<Package>>,
        bytes: u64,
    ) -> Result<Option<Reservation>> {
        let Some(room) = &self.room else {
            return Ok(None);
        };
        let mut taken = None;
        self.take(packages, bytes, || {
            taken = room.reserve(bytes, PRESSURE);
            taken.is_some()
        })?;
        Ok(taken)
    }

    /// Takes room for more of a package than was reserved when it began.
    ///
    /// # Errors
    /// As [`Packager::reserve`].
    pub(super) fn extend(&self, package: &Package, bytes: u64) -> Result<()> {
        let grow = || lock(&package.room).as_mut().is_none_or(|room| room.grow(bytes, PRESSURE));
        self.take(&mut self.packages(), bytes, grow)
    }

    /// Evicts packages that nobody plays until `take` has `bytes`.
    fn take(
        &self,
        packages: &mut HashMap<Key, Arc<Package>>,
        bytes: u64,
        mut take: impl FnMut() -> bool,
    ) -> Result<()> {
        loop {
            if take() {
                return Ok(());
            }
            let Some(gone) = self.detach_one(packages) else {
                let size = bytesize::ByteSize(bytes).display().si();
                let text = format!(
                    "packages in use leave no room for {size} more below cache.killsize.static"
                );
                return Err(Error::busy(text, RETRY));
            };
            tokio::task::spawn_blocking(move || removed(&gone));
        }
    }

    /// Evicts unused packages until `excess` bytes are free, or none is left; says how many bytes went. Blocks while files
    /// are removed.
    pub fn evict(&self, excess: u64) -> u64 {
        let mut freed = 0;
        while freed < excess {
            let mut packages = self.packages();
            let before: u64 = packages.values().map(|p| p.bytes()).sum();
            let Some(gone) = self.detach_one(&mut packages) else {
                break;
            };
            freed += before - packages.values().map(|p| p.bytes()).sum::<u64>();
            drop(packages);
            removed(&gone);
        }
        freed
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

fn removed(path: &Path) {
    if let Err(error) = erase(path) {
        tracing::warn!(%error, "a package that was evicted cannot be removed");
    }
}
