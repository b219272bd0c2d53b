//! Media: from a source to the files that players ask for.
//!
//! [`packager`] holds the packages. In the order of their life: [`choices`] and the probe make a [`plan`] of [`audio`], [`video`] (by a [`ladder`] and in a
//! [`tone`], or as a [`copy`]) and [`text`], [`table`] says where it is cut. [`workers`] decide which [`head`] runs next, [`control`] how far it is, [`pace`] how far it
//! may go; [`feed`] and [`encoder`] are what its ffmpeg gets and is told. The [`muxer`] makes segments of what that says: of [`adts`] frames, of
//! [`fragments`] on a [`reel`] by the [`cutter`] or the [`copier`], or as [`packets`] of some [`codec`], into [`fmp4`], [`packed`] or [`ts`]; what is
//! copied out of an MP4 goes through the [`demuxer`]. The [`store`] keeps them, [`restore`] finds them again, [`eviction`] lets go of what is wanted last.
//! [`playlist`], [`menu`], [`captions`] and [`subtitles`] are rendered when they are asked for, and so are the [`extras`]: [`peaks`] and the pictures of
//! the [`storyboard`]. [`file`] is the grammar of their names.

pub mod adts;
mod ahead;
pub mod audio;
pub mod avc;
pub mod captions;
pub mod choices;
pub mod codec;
mod control;
pub mod copier;
pub mod copy;
pub mod cutter;
mod demuxer;
pub mod encoder;
mod eviction;
mod extras;
mod feed;
pub mod file;
mod fill;
pub mod fmp4;
pub mod fragments;
mod head;
pub mod key;
pub mod ladder;
mod menu;
mod muxer;
mod nal;
mod pace;
mod packager;
pub mod packed;
mod packets;
mod peaks;
pub mod plan;
pub mod playlist;
mod reel;
mod rendition;
mod restore;
mod slots;
pub mod store;
pub mod storyboard;
mod subtitles;
pub mod table;
pub mod text;
pub mod tone;
pub mod ts;
pub mod video;
mod view;
mod workers;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::{Notify, OnceCell};

pub use self::packager::Packager;
use self::{
    audio::Audio,
    control::Control,
    file::{Kind, Track},
    key::Key,
    plan::Plan,
    rendition::{Outlook, Rendition},
    table::SegmentTable,
};
use crate::{
    disk::Reservation,
    error::{Code, Error, Result},
    source::{Origin, Source, cache::Pin},
    time::now,
};

/// The audio rendition that players begin with.
pub const AUDIO: Track = Track { kind: Kind::Audio, index: 0 };

/// The video rendition that players begin with.
pub const VIDEO: Track = Track { kind: Kind::Video, index: 0 };

/// The first caption rendition: that of what came beside the media, if anything did.
pub const SUBTITLES: Track = Track { kind: Kind::Subtitles, index: 0 };

/// Above this share of `cache.killsize.static`, packages that no live stream uses go, without any the video that players want last,
/// and when that is not enough, new packages are refused.
pub const PRESSURE: f64 = 0.8;

/// When a caller who was turned away should come back.
const RETRY: Duration = Duration::from_secs(10);

/// One source under one plan.
pub struct Package {
    /// Its name.
    pub key: Key,
    plan: Plan,
    source: Arc<Source>,
    renditions: Vec<Arc<Rendition>>,
    has_captions: bool,
    pin: Mutex<Option<Pin>>,
    room: Mutex<Option<Reservation>>,
    /// Room of each extra.
    extras: Mutex<Vec<Reservation>>,
    created: OnceCell<()>,
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
    fn new(key: Key, plan: Plan, source: Arc<Source>, renditions: Vec<Arc<Rendition>>) -> Self {
        Self {
            key,
            plan,
            has_captions: source.captions.is_some(),
            source,
            renditions,
            pin: Mutex::default(),
            room: Mutex::default(),
            extras: Mutex::default(),
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
        self.renditions.iter().all(|rendition| rendition.is_complete())
    }

    /// The rendition of `track`; None for captions, which nobody has to make, and for what its playlists do not name.
    fn rendition(&self, track: Track) -> Option<&Arc<Rendition>> {
        self.renditions.iter().find(|rendition| rendition.track == track)
    }

    /// The rendition of `track`, and this.
    fn part(self: &Arc<Self>, track: Track) -> Option<Part> {
        let rendition = self.rendition(track)?.clone();
        Some(Part { package: self.clone(), rendition })
    }

    /// What players begin with.
    fn first_parts(self: &Arc<Self>) -> impl Iterator<Item = Part> {
        [AUDIO, VIDEO].into_iter().filter_map(|track| self.part(track))
    }

    /// Heads that work for it.
    fn heads(&self) -> usize {
        self.renditions.iter().map(|rendition| rendition.heads()).sum()
    }

    /// Bytes of the segments that are there.
    fn bytes(&self) -> u64 {
        self.renditions.iter().map(|rendition| rendition.bytes()).sum()
    }

    /// Takes over room that was taken for one of its segments; gives it back if the package has gone.
    fn hold(&self, more: Reservation) {
        if let Some(room) = lock(&self.room).as_mut() {
            room.absorb(more);
        }
    }

    /// Wakes all who wait for a segment, for them to look again.
    fn wake(&self) {
        self.renditions.iter().for_each(|rendition| rendition.wake());
    }

    /// Seconds that it lasts.
    pub fn seconds(&self) -> f64 {
        self.plan.timeline().map_or(0.0, SegmentTable::length)
    }

    /// What it was made from.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Whether bytes of the source are still to come.
    fn is_arriving(&self) -> bool {
        let pin = lock(&self.pin);
        let source = pin.as_ref().map(Pin::spool);
        source.is_some_and(|source| !source.is_whole() && source.failure().is_none())
    }

    /// Whether no stream plays it and no head works for it.
    fn is_unused(&self) -> bool {
        !self.is_live() && self.heads() == 0
    }

    /// What is wrong with its source, if nothing in that can be decoded, or none of its pictures: every rung has failed then.
    fn uselessness(&self) -> Option<Error> {
        let failure = |rendition: &Arc<Rendition>| match rendition.outlook(0) {
            Outlook::Failed(error) if error.code() == Code::EncodeFailed => Some(error),
            _ => None,
        };
        let none = self.renditions.iter().all(|rendition| !rendition.has_any());
        let rungs = self.renditions.iter().filter(|rendition| rendition.track.kind == Kind::Video);
        let blind: Option<Vec<_>> = rungs.map(failure).collect();
        let failed = self.renditions.iter().find_map(failure).filter(|_| none);
        failed.or_else(|| blind?.pop())
    }

    /// Lets go of the source if it is complete, or nobody plays it. A file that was named to us is not found again, and costs
    /// nothing while it is open.
    fn release(&self) {
        let is_named = matches!(self.source.origin, Origin::Local);
        if !is_named && (self.is_complete() || self.is_unused()) {
            lock(&self.pin).take();
        }
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

/// A rendition that heads work on, and its package.
#[derive(Clone, Debug)]
struct Part {
    package: Arc<Package>,
    rendition: Arc<Rendition>,
}

impl Part {
    /// Whether both are the same rendition of the same package.
    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.rendition, &other.rendition)
    }

    /// Whether a head for segment `n` can start now: while the source still arrives only the first one can.
    fn can_start(&self, n: u32) -> bool {
        let first = n == 0 && self.package.plan.pipe && self.rendition.heads() == 0;
        first || !self.package.is_arriving()
    }

    /// A head of it for segment `n`, that begins now.
    fn control(&self, n: u32) -> Arc<Control> {
        let audio = self.package.plan.audio(self.rendition.track);
        let reads_all = |audio: &Audio| audio.is_copied() && !audio.container.is_mp4();
        if audio.is_some_and(reads_all) { Control::copying(n) } else { Control::new(n) }
    }

    /// Whether a stream lives, and is near enough, for segment `n` to be made now.
    fn is_due(&self, n: u32) -> bool {
        self.package.is_live() && self.rendition.is_due(n)
    }

    /// Whether segment `n` is due, or somebody relies on this head to get to another one by it.
    fn is_due_of(&self, n: u32, head: &Control) -> bool {
        self.is_due(n) || self.package.is_live() && self.rendition.is_followed(head)
    }

    /// Waits until segment `n` is due of this head; false when it is told to end before.
    async fn wait_until_due(&self, n: u32, head: &Control) -> bool {
        loop {
            let (lively, changed) = (self.package.lively.notified(), self.rendition.changed());
            if head.stop.load(Relaxed) {
                return false;
            }
            if self.is_due_of(n, head) {
                return true;
            }
            tokio::select! {
                () = lively => {}
                () = changed => {}
            }
        }
    }

    /// Whether no head will reach segment `n` soon.
    fn needs_head(&self, n: u32) -> bool {
        matches!(self.rendition.outlook(n), Outlook::Needed)
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
