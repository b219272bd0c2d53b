//! Packages that nobody has asked for yet: they come after everybody else, and make nobody wait.

use std::sync::Arc;

use super::{Lease, Package, Packager, Part, RETRY, plan::Plan};
use crate::{
    disk::Room,
    error::{Error, Result},
    source::{Source, cache::Pin},
};

/// The share of `cache.killsize.static` up to which packages are made ahead. Players have the rest, up to
/// [`PRESSURE`](super::PRESSURE), and what was made ahead may be evicted for them.
const SHARE: f64 = 0.5;

impl Packager {
    /// Whether no head works and nobody waits for one.
    pub fn is_idle(&self) -> bool {
        self.workers.is_idle()
    }

    /// The package of `source`, found or begun, and gone on with when no worker has anything else to do. Evicts nothing.
    ///
    /// # Errors
    /// [`Code::Busy`](crate::error::Code::Busy) while packages take half of the disk that they may take;
    /// [`Code::UnsupportedMedia`](crate::error::Code::UnsupportedMedia).
    pub async fn prewarm(&self, source: Arc<Source>, pin: Option<Pin>) -> Result<Lease> {
        let is_new = !self.packages().contains_key(&self.key(&source));
        if is_new {
            self.refuse_ahead(&source)?;
        }
        let lease = self.find_or_begin(source, pin)?;
        if !lease.package().is_complete() {
            self.workers.prewarm(lease.package().first_parts());
        }
        self.create(lease.package()).await?;
        Ok(lease)
    }

    fn refuse_ahead(&self, source: &Source) -> Result<()> {
        let estimate = Plan::new(&source.media, &self.choices)?.estimate();
        let fits = |room: &Arc<Room>| room.reserve(estimate, SHARE).is_some();
        if !self.is_full() && self.room.as_ref().is_none_or(fits) {
            return Ok(());
        }
        Err(Error::busy("the rest of the disk is for players", RETRY))
    }

    /// Waits until all that players begin with is made and nobody works on it any more, or until something is found to be
    /// wrong with it; says whether it is the first. Of video nothing is made ahead: it is made where players are.
    pub async fn finished(&self, package: &Arc<Package>) -> bool {
        let mut is_whole = true;
        for Part { rendition, .. } in package.first_parts() {
            if rendition.is_paced() {
                continue;
            }
            loop {
                let mut changed = std::pin::pin!(rendition.changed());
                // From here on no change is missed.
                changed.as_mut().enable();
                if rendition.heads() == 0 && rendition.first_gap().is_none() {
                    is_whole &= rendition.is_complete();
                    break;
                }
                changed.await;
            }
        }
        is_whole
    }
}
