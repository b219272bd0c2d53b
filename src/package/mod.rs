//! Media: from a source to the files that players ask for.
//!
//! [`packager`] holds the packages. In the order of their life: [`plan`] decides what is done, [`table`] where it is cut, [`workers`] which [`head`] runs
//! next and [`control`] how far it is, [`encoder`] what ffmpeg is told, [`adts`] cuts what it says, [`fmp4`], [`packed`] and [`ts`] mux it, [`store`] keeps
//! it; [`playlist`] and [`captions`] are rendered when they are asked for. [`file`] is the grammar of their names.

pub mod adts;
mod ahead;
pub mod captions;
mod control;
mod encoder;
mod eviction;
pub mod file;
pub mod fmp4;
mod head;
mod packager;
pub mod packed;
pub mod plan;
pub mod playlist;
mod rendition;
pub mod store;
pub mod table;
pub mod ts;
mod view;
mod workers;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::{Notify, OnceCell};

pub use self::packager::Packager;
use self::{
    file::{Kind, Track},
    plan::Plan,
    rendition::Rendition,
    store::Key,
};
use crate::{
    disk::Reservation,
    error::Result,
    source::{Source, cache::Pin},
    time::now,
};

/// The one audio rendition.
pub const AUDIO: Track = Track { kind: Kind::Audio, index: 0 };

/// The one caption rendition.
pub const SUBTITLES: Track = Track { kind: Kind::Subtitles, index: 0 };

/// Above this share of `cache.killsize.static`, packages that no live stream uses go, and without any, new ones are refused.
pub const PRESSURE: f64 = 0.8;

/// When a caller who was turned away should come back.
const RETRY: Duration = Duration::from_secs(10);

/// One source under one plan.
pub struct Package {
    /// Its name.
    pub key: Key,
    plan: Plan,
    source: Arc<Source>,
    audio: Arc<Rendition>,
    has_captions: bool,
    pin: Mutex<Option<Pin>>,
    room: Mutex<Option<Reservation>>,
    created: OnceCell<()>,
    complete: AtomicBool,
    live: AtomicUsize,
    lively: Notify,
    used: AtomicI64,
}

impl fmt::Debug for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Package({})", self.key)
    }
}

impl Package {
    fn new(key: Key, plan: Plan, source: Arc<Source>, audio: Rendition) -> Self {
        Self {
            key,
            plan,
            has_captions: source.captions.is_some(),
            source,
            complete: AtomicBool::new(false),
            audio: Arc::new(audio),
            pin: Mutex::default(),
            room: Mutex::default(),
            created: OnceCell::new(),
            live: AtomicUsize::new(0),
            lively: Notify::new(),
            used: AtomicI64::new(now()),
        }
    }

    /// Whether a stream plays it.
    pub fn is_live(&self) -> bool {
        self.live.load(Relaxed) > 0
    }

    /// Whether every segment is there.
    pub fn is_complete(&self) -> bool {
        self.complete.load(Relaxed)
    }

    /// What it was made from.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    async fn wait_until_live(&self) {
        loop {
            let lively = self.lively.notified();
            if self.is_live() {
                return;
            }
            lively.await;
        }
    }

    /// Whether bytes of the source are still to come.
    fn is_arriving(&self) -> bool {
        let pin = lock(&self.pin);
        let source = pin.as_ref().map(Pin::spool);
        source.is_some_and(|source| !source.is_whole() && source.failure().is_none())
    }

    /// Whether a head for segment `n` can start now: while the source still arrives only the first one can.
    fn can_start(&self, n: u32) -> bool {
        let first = n == 0 && self.plan.audio.pipe && self.audio.heads() == 0;
        first || !self.is_arriving()
    }

    /// Whether no stream plays it and no head works for it.
    fn is_unused(&self) -> bool {
        !self.is_live() && self.audio.heads() == 0
    }

    /// Gives up the hold on a source that broke off: it has nothing to offer, and would count as held.
    fn let_go_of_failed(&self) {
        let is_failed = |pin: &mut Pin| pin.spool().failure().is_some();
        let failed = lock(&self.pin).take_if(is_failed);
        drop(failed);
    }

    /// Refuses to go on with a file that somebody writes to meanwhile: what was read of it may be half of each.
    fn refuse_change(&self) -> Result<()> {
        let change = lock(&self.pin).as_ref().and_then(|pin| pin.spool().change());
        change.map_or(Ok(()), Err)
    }

    fn touch(&self) {
        self.used.store(now(), Relaxed);
    }
}

/// A stream's hold on its package: while one lives the package is not evicted, and what is missing of it is made.
#[derive(Debug)]
pub struct Lease(Arc<Package>);

impl Lease {
    fn new(package: Arc<Package>) -> Self {
        package.touch();
        package.live.fetch_add(1, Relaxed);
        package.lively.notify_waiters();
        Self(package)
    }

    /// The package.
    pub fn package(&self) -> &Arc<Package> {
        &self.0
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        Self::new(self.0.clone())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.touch();
        self.0.live.fetch_sub(1, Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
