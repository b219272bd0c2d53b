//! Media: from a source to the files that players ask for.
//!
//! In the order of a stream's life: [`plan`] decides what is done, [`table`] where it is cut, [`workers`] which [`head`] runs
//! next, [`encoder`] what ffmpeg is told, [`adts`] cuts what it says, [`fmp4`], [`packed`] and [`ts`] mux it, [`store`] keeps
//! it; [`playlist`] and [`captions`] are rendered when they are asked for. [`file`] is the grammar of their names.

pub mod adts;
pub mod captions;
mod encoder;
pub mod file;
pub mod fmp4;
mod head;
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
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, OnceCell};

use self::{
    file::{File, Kind, Track},
    plan::{Choices, Plan},
    rendition::{Outlook, Rendition},
    store::{Hot, Key, Manifest, Store},
    workers::Workers,
};
use crate::{
    config::{self, Container},
    disk::{Reservation, Room},
    error::{Code, Error, Result},
    ffmpeg::Ffmpeg,
    metrics::Metrics,
    source::{Source, Sources, cache::Pin, cache::disk_full},
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

/// For how long a head waits for a listener before it ends.
const IDLE: Duration = Duration::from_secs(30);

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

impl std::fmt::Debug for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Package({})", self.key)
    }
}

/// What is written beside a package's segments.
#[derive(Serialize, Deserialize)]
struct Description<S> {
    version: u32,
    source: S,
    plan: Plan,
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

    /// Seconds of media.
    pub fn seconds(&self) -> f64 {
        self.plan.audio.seconds()
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

    /// The source's bytes, held until the package is complete or nobody's.
    async fn pin(&self, packager: &Packager) -> Result<Pin> {
        let held = lock(&self.pin).clone();
        if let Some(pin) = held.filter(|pin| pin.spool().failure().is_none()) {
            return Ok(pin);
        }
        let pin = packager.sources.bytes(&self.source).await?;
        if !self.is_complete() {
            *lock(&self.pin) = Some(pin.clone());
        }
        Ok(pin)
    }

    /// Whether a head for segment `n` can start now: while the source still arrives only the first one can.
    fn can_start(&self, n: u32) -> bool {
        let pin = lock(&self.pin);
        let Some(source) = pin.as_ref().map(Pin::spool) else {
            return true;
        };
        let arriving = !source.is_whole() && source.failure().is_none();
        !arriving || (n == 0 && self.plan.audio.pipe && self.audio.heads() == 0)
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

/// All packages of one process, and what is needed to make them.
pub struct Packager {
    store: Arc<Store>,
    hot: moka::future::Cache<(Key, File, Container), Hot>,
    captions: moka::future::Cache<Key, Arc<captions::Captions>>,
    workers: Workers,
    ffmpeg: Ffmpeg,
    sources: Arc<Sources>,
    packages: Mutex<HashMap<Key, Arc<Package>>>,
    /// What packages may take of the disk; None without a limit.
    room: Option<Arc<Room>>,
    choices: Choices,
    container: Container,
    name: String,
    language: String,
    stall: Duration,
    idle: Duration,
    wait: Duration,
    metrics: Arc<Metrics>,
}

impl Packager {
    /// A packager that keeps its packages in `store`.
    pub fn new(
        settings: &config::Settings,
        store: Store,
        sources: Arc<Sources>,
        ffmpeg: Ffmpeg,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let memory = settings.cache.memory;
        let killsize = &settings.cache.killsize;
        let weigh = |_: &_, hot: &Hot| {
            let bytes = 512 + hot.bytes.len() + hot.gzip.as_ref().map_or(0, bytes::Bytes::len);
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let weigh_captions = |_: &_, captions: &Arc<captions::Captions>| captions.bytes() as u32;
        let packager = &settings.packager;
        Arc::new_cyclic(|own| Self {
            store: Arc::new(store),
            hot: moka::future::Cache::builder().max_capacity(memory).weigher(weigh).build(),
            captions: moka::future::Cache::builder()
                .max_capacity(memory / 16)
                .weigher(weigh_captions)
                .build(),
            workers: Workers::new(packager.workers, packager.queue, own.clone(), metrics.clone()),
            ffmpeg,
            sources,
            packages: Mutex::default(),
            room: killsize.enabled.then(|| Room::new(killsize.packages)),
            choices: packager.into(),
            container: packager.container,
            name: settings.captions.name.clone(),
            language: settings.captions.language.clone(),
            stall: packager.stall,
            idle: IDLE,
            wait: settings.limits.segment_wait,
            metrics,
        })
    }

    /// The package of `source`, found or begun; its first head starts now.
    ///
    /// # Errors
    /// [`Code::UnsupportedMedia`] when nothing in it decodes; [`Code::Busy`] when there is no room or no worker for it.
    pub async fn open(&self, source: Arc<Source>, pin: Option<Pin>) -> Result<Lease> {
        let (lease, new) = self.find_or_begin(source, pin)?;
        if new {
            self.workers.begin(lease.package());
            self.dispatch_when_whole(lease.package());
        } else if !lease.package().is_complete() {
            self.workers.prewarm(lease.package());
        }
        self.create(lease.package()).await?;
        Ok(lease)
    }

    fn find_or_begin(&self, source: Arc<Source>, pin: Option<Pin>) -> Result<(Lease, bool)> {
        let key = self.key(&source);
        let mut packages = self.packages();
        if let Some(package) = packages.get(&key) {
            if let Outlook::Failed(error) = package.audio.outlook(0)
                && error.code() == Code::EncodeFailed
                && !package.audio.has_any()
            {
                let text = format!("nothing in this media can be decoded: {error}");
                return Err(Error::new(Code::UnsupportedMedia, text));
            }
            return Ok((Lease::new(package.clone()), false));
        }
        if self.workers.is_full() {
            return Err(Error::busy("too many segments are waited for", RETRY));
        }
        let plan = Plan::new(&source.facts, self.choices)?;
        let room = self.reserve(&mut packages, plan.estimate())?;
        let audio = Rendition::new(plan.audio.table.clone(), &[], 0);
        let package = Arc::new(Package::new(key, plan, source, audio));
        *lock(&package.room) = room;
        *lock(&package.pin) = pin;
        packages.insert(key, package.clone());
        self.metrics.packages.set(packages.len() as i64);
        Ok((Lease::new(package), true))
    }

    /// Takes room for a new package, at the cost of packages that nobody plays.
    fn reserve(
        &self,
        packages: &mut HashMap<Key, Arc<Package>>,
        bytes: u64,
    ) -> Result<Option<Reservation>> {
        let Some(room) = &self.room else {
            return Ok(None);
        };
        loop {
            if let Some(reservation) = room.reserve(bytes, PRESSURE) {
                return Ok(Some(reservation));
            }
            if !self.evict_one(packages) {
                return Err(Error::busy(
                    format!(
                        "packages in use leave no room for {} more below cache.killsize.static",
                        bytesize::ByteSize(bytes)
                    ),
                    RETRY,
                ));
            }
        }
    }

    /// Removes the package that nobody has played for longest; false when all are in use.
    fn evict_one(&self, packages: &mut HashMap<Key, Arc<Package>>) -> bool {
        let unused = packages.values().filter(|p| !p.is_live() && p.audio.heads() == 0);
        let Some(oldest) = unused.min_by_key(|p| p.used.load(Relaxed)).cloned() else {
            return false;
        };
        packages.remove(&oldest.key);
        self.metrics.packages.set(packages.len() as i64);
        Metrics::count(&self.metrics.evictions, "package");
        // Out of the map nobody can find it; the rename inside makes its name free for a successor.
        if let Err(error) = self.store.remove_now(oldest.key) {
            tracing::warn!(%error, "a package cannot be removed");
        }
        *lock(&oldest.room) = None;
        *lock(&oldest.pin) = None;
        true
    }

    /// Evicts unused packages until `excess` bytes are free, or none is left; says how many bytes went.
    pub fn evict(&self, excess: u64) -> u64 {
        let mut packages = self.packages();
        let before: u64 = packages.values().map(|p| p.audio.bytes()).sum();
        let mut gone = 0;
        while gone < excess && self.evict_one(&mut packages) {
            gone = before - packages.values().map(|p| p.audio.bytes()).sum::<u64>();
        }
        gone
    }

    /// Makes the package's folder, once.
    async fn create(&self, package: &Arc<Package>) -> Result<()> {
        let made = package.created.get_or_try_init(|| async {
            let description = Description {
                version: plan::VERSION,
                source: &*package.source,
                plan: package.plan.clone(),
            };
            let captions = package.source.captions.clone();
            self.store.create(package.key, &description, captions).await
        });
        made.await.map(drop).map_err(|e| disk_full("creating a package", &e))
    }

    /// A head can start anywhere once the source is whole.
    fn dispatch_when_whole(&self, package: &Arc<Package>) {
        let Some(pin) = lock(&package.pin).clone() else {
            return;
        };
        if pin.spool().is_whole() {
            return;
        }
        let package = Arc::downgrade(package);
        let Some(own) = self.workers.packager() else {
            return;
        };
        tokio::spawn(async move {
            // Broken off counts too: who waits has to be told.
            let _ = pin.spool().wait_for(u64::MAX).await;
            drop(pin);
            if let Some(package) = package.upgrade() {
                package.audio.wake();
            }
            own.workers.dispatch();
        });
    }

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
                None => {
                    self.store.remove_now(key).map_err(|e| Error::io("removing a package", &e))?
                }
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
        let found = self.store.find(key, &plan.audio.table).ok()?;
        if found.manifest.is_none() && !is_live(key) {
            return None;
        }
        let source = Arc::new(source);
        self.sources.adopt(source.clone());
        let audio = Rendition::new(plan.audio.table.clone(), &found.ready, found.bytes);
        audio.add_silence(found.manifest.map_or(0, |manifest| manifest.silence));
        let room = self.room.as_ref().map(|room| {
            let bytes = if found.manifest.is_some() { found.bytes } else { plan.estimate() };
            room.occupy(bytes)
        });
        let package = Package::new(key, plan, source, audio);
        package.complete.store(found.manifest.is_some(), Relaxed);
        package.created.set(()).ok()?;
        package.used.store(
            changed.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs().cast_signed(),
            Relaxed,
        );
        *lock(&package.room) = room;
        Some(Arc::new(package))
    }

    /// Goes on with packages of an earlier run that are not complete.
    pub fn resume(&self) {
        let packages: Vec<_> = self.packages().values().cloned().collect();
        packages.iter().filter(|p| !p.is_complete()).for_each(|p| self.workers.prewarm(p));
    }

    /// A head has ended: a package without gaps gets its manifest, one that nobody plays lets go of its source.
    async fn settle(&self, package: &Arc<Package>) {
        let complete = package.audio.is_complete();
        if complete && !package.complete.swap(true, Relaxed) {
            let (bytes, silence) = (package.audio.bytes(), package.audio.silence());
            if let Err(error) = self.store.complete(package.key, Manifest { bytes, silence }).await
            {
                tracing::warn!(%error, "a manifest cannot be written");
            }
            if let Some(room) = lock(&package.room).as_mut() {
                room.resize(bytes);
            }
        }
        if complete || (!package.is_live() && package.audio.heads() == 0) {
            lock(&package.pin).take();
        }
    }

    /// Lets go of the sources of packages that nobody plays any more.
    pub fn release_unused(&self) {
        let packages: Vec<_> = self.packages().values().cloned().collect();
        for package in packages {
            if !package.is_live() && package.audio.heads() == 0 {
                lock(&package.pin).take();
            }
        }
    }

    /// Keeps a segment that a head has made.
    async fn keep(&self, package: &Arc<Package>, file: File, segment: Hot) -> Result<()> {
        self.create(package).await?;
        let written = self.store.write(package.key, file, segment.bytes.clone()).await;
        written.map_err(|e| disk_full("writing a segment", &e))?;
        self.hot.insert((package.key, file, Container::Cmaf), segment).await;
        Ok(())
    }

    /// What makes two packages the same.
    fn key(&self, source: &Source) -> Key {
        let captions = source.captions.as_deref();
        let marked = [captions.is_some().into()];
        // Choices are plain numbers: they can be written as JSON.
        let choices = serde_json::to_vec(&self.choices).unwrap_or_default();
        Key::of(&[
            source.id.as_bytes(),
            &marked,
            captions.unwrap_or_default(),
            &choices,
            &plan::VERSION.to_be_bytes(),
            self.ffmpeg.version().as_bytes(),
        ])
    }

    /// Bytes that packages may take, and have.
    pub fn room(&self) -> Option<&Arc<Room>> {
        self.room.as_ref()
    }

    /// Ends all heads; done when their processes are reaped.
    pub async fn close(&self) {
        self.workers.close();
        self.ffmpeg.all_reaped().await;
    }

    fn packages(&self) -> MutexGuard<'_, HashMap<Key, Arc<Package>>> {
        lock(&self.packages)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
