//! Packages of an earlier run: taken over where they are whole or still played, removed where not.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::UNIX_EPOCH,
};

use super::{
    AUDIO, Lease, Package, Packager,
    key::Key,
    lock,
    packager::Description,
    plan,
    store::{Found, erase},
    table::SegmentTable,
};
use crate::{
    error::{Error, Result},
    source::Source,
};

impl Packager {
    /// The package `key` of an earlier run, if it is still there.
    pub fn lease(&self, key: Key) -> Option<Lease> {
        self.packages().get(&key).cloned().map(Lease::new)
    }

    /// Takes over the packages of an earlier run: the complete ones, and those that `is_live` says streams still play.
    /// Everything else in the folder goes.
    pub fn restore(&self, is_live: impl Fn(Key) -> bool) -> Result<()> {
        let list = self.store.list().map_err(|e| Error::io("listing packages", &e))?;
        for key in list {
            match self.load(key, &is_live) {
                Some(package) => drop(self.packages().insert(key, package)),
                None => self
                    .store
                    .detach(key)
                    .and_then(|gone| gone.map_or(Ok(()), |p| erase(&p)))
                    .map_err(|e| Error::io("removing a package", &e))?,
            }
        }
        self.metrics.packages.set(self.packages().len() as i64);
        Ok(())
    }

    fn load(&self, key: Key, is_live: impl Fn(Key) -> bool) -> Option<Arc<Package>> {
        let (description, captions, changed) =
            self.store.description::<Description<Source>>(key)?;
        let Description { version, mut source, plan } = description;
        if version != plan::VERSION {
            return None;
        }
        source.captions = captions;
        let found = self.store.find(key, &plan).ok()?;
        if found.iter().all(|found| found.manifest.is_none()) && !is_live(key) {
            return None;
        }
        let source = Arc::new(source);
        self.sources.adopt(source.clone());
        let complete = found.iter().all(Found::is_complete);
        // What has its room from the beginning on is in the estimate.
        let counts = |found: &&Found| complete || found.track != AUDIO;
        let bytes: u64 = found.iter().filter(counts).map(Found::bytes).sum();
        let taken = if complete { bytes } else { plan.estimate() + bytes };
        let room = self.room.as_ref().map(|room| room.occupy(taken));
        let rendition = |((track, table), found): ((_, &SegmentTable), &Found)| {
            let rendition = self.rendition(track, table, &found.segments);
            if let Some(init) = &found.init {
                rendition.set_init(init.clone());
            }
            if let Some(manifest) = found.manifest {
                rendition.add_missing(manifest.missing);
                rendition.finish();
            }
            Arc::new(rendition)
        };
        let renditions = plan.tables().zip(&found).map(rendition).collect();
        let package = Package::new(key, plan, source, renditions);
        package.created.set(()).ok()?;
        package
            .used
            .store(changed.duration_since(UNIX_EPOCH).ok()?.as_secs().cast_signed(), Relaxed);
        *lock(&package.room) = room;
        *lock(&package.extras) = self.found_extras(key);
        Some(Arc::new(package))
    }

    /// Goes on with packages of an earlier run that are not complete.
    pub fn resume(&self) {
        let packages: Vec<_> = self.packages().values().cloned().collect();
        let incomplete = packages.iter().filter(|package| !package.is_complete());
        self.workers.prewarm(incomplete.flat_map(Package::first_parts));
    }
}
