//! Packages that nobody has asked for yet: they come after everybody else, and make nobody wait.

use std::sync::Arc;

use super::{Lease, Package, Packager, Part, RETRY, plan::Plan, rendition::Rendition};
use crate::{
    disk::Room,
    error::{Error, Result},
    source::{Source, cache::Pin},
};

/// The share of `cache.killsize.static` up to which packages are made ahead. Players have the rest, up to
/// [`PRESSURE`](super::PRESSURE), and what was made ahead may be evicted for them.
const SHARE: f64 = 0.5;

/// Seconds of video that are made ahead: what players fetch before they begin.
const OPENING: f64 = 10.0;

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
        let is_made = |package: &Arc<Package>| package.is_complete();
        if !self.packages().get(&self.key(&source)).is_some_and(is_made) {
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

    /// Waits until what players begin with is made and nobody works on it any more, or until something is found to be wrong
    /// with it; says whether it is the first. Of video only the beginning is made ahead: the rest is where players are.
    pub async fn finished(&self, package: &Arc<Package>) -> bool {
        let mut is_whole = true;
        for part in package.first_parts() {
            is_whole &= if part.rendition.is_paced() {
                self.has_opening(&part).await
            } else {
                is_settled(&part.rendition).await
            };
        }
        is_whole
    }

    /// Makes the beginning of a rendition that is paced; says whether it is there.
    async fn has_opening(&self, part: &Part) -> bool {
        let rendition = &part.rendition;
        let table = rendition.table();
        let starts = |n| table.ticks(n).map(|t| t.start as f64 / f64::from(table.timescale()));
        for n in (0..).take_while(|&n| starts(n).is_some_and(|start| start < OPENING)) {
            if self.wait_for(part, n).await.is_err() {
                return false;
            }
        }
        // Nobody follows the head that made it; one that rests would keep the next file waiting.
        if let Some(head) = rendition.spare_head().filter(|head| !rendition.is_followed(head)) {
            rendition.stop(&head);
        }
        true
    }
}

/// Waits until a rendition is complete or fails, and nobody works on it any more; says whether it is complete.
async fn is_settled(rendition: &Rendition) -> bool {
    loop {
        let mut changed = std::pin::pin!(rendition.changed());
        // From here on no change is missed.
        changed.as_mut().enable();
        if rendition.heads() == 0 && rendition.first_gap().is_none() {
            return rendition.is_complete();
        }
        changed.await;
    }
}
