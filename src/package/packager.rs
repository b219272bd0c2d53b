//! The packages of one process: found or begun, kept, restored.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    Lease, Package, Part, RETRY,
    captions::Captions,
    choices::{Choices, Skills},
    encoder::video::Machine,
    extras::Extras,
    file::{File, Kind, Track},
    key::Key,
    lock,
    plan::{self, Plan},
    rendition::Rendition,
    store::{Hot, Manifest, Store},
    table::SegmentTable,
    view::Name,
    workers::Workers,
};
use crate::{
    config::{self, Container},
    disk::Room,
    error::{Code, Error, Result},
    ffmpeg::Ffmpeg,
    metrics::Metrics,
    source::{
        Source, Sources,
        cache::{Pin, disk_full},
    },
};

/// For how long a head waits for a listener before it ends.
const IDLE: Duration = Duration::from_secs(30);

/// For how long the end of the process waits for its heads' processes.
const FAREWELL: Duration = Duration::from_secs(2);

/// What is written beside a package's segments.
#[derive(Serialize, Deserialize)]
pub(super) struct Description<S> {
    pub version: u32,
    pub source: S,
    pub plan: Plan,
}

/// All packages of one process, and what is needed to make them.
pub struct Packager {
    pub(super) store: Arc<Store>,
    pub(super) hot: moka::future::Cache<Name, Hot, foldhash::fast::RandomState>,
    pub(super) captions: moka::future::Cache<(Key, Track), Arc<Captions>>,
    pub(super) workers: Workers,
    pub(super) extras: Extras,
    pub(super) ffmpeg: Ffmpeg,
    pub(super) sources: Arc<Sources>,
    pub(super) packages: Mutex<HashMap<Key, Arc<Package>>>,
    /// What packages may take of the disk; None without a limit.
    pub(super) room: Option<Arc<Room>>,
    full: AtomicBool,
    pub(super) choices: Choices,
    pub(super) container: Container,
    pub(super) name: String,
    pub(super) language: String,
    /// How far ahead of players video is made.
    pub(super) ahead: Duration,
    /// What its video encoders run on.
    pub(super) machine: Machine,
    pub(super) stall: Duration,
    pub(super) idle: Duration,
    pub(super) wait: Mutex<Duration>,
    pub(super) metrics: Arc<Metrics>,
}

impl Packager {
    /// A packager that keeps its packages in `store`. `skills` are what [`try_out`](super::encoder::try_out) has found.
    pub fn new(
        settings: &config::Settings,
        store: Store,
        sources: Arc<Sources>,
        (ffmpeg, skills): (Ffmpeg, Skills),
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let memory = settings.cache.memory;
        let killsize = &settings.cache.killsize;
        let weigh = |name: &Name, hot: &Hot| {
            let bytes =
                512 + name.weight() + hot.bytes.len() + hot.gzip.as_ref().map_or(0, Bytes::len);
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let weigh_captions = |_: &_, captions: &Arc<Captions>| captions.bytes() as u32;
        let packager = &settings.packager;
        Arc::new_cyclic(|own| Self {
            store: Arc::new(store),
            hot: moka::future::Cache::builder()
                .max_capacity(memory)
                .weigher(weigh)
                .build_with_hasher(foldhash::fast::RandomState::default()),
            captions: moka::future::Cache::builder()
                .max_capacity(memory / 16)
                .weigher(weigh_captions)
                .build(),
            workers: Workers::new(packager.workers, packager.queue, own.clone(), metrics.clone()),
            extras: Extras::new(packager.queue),
            ffmpeg,
            sources,
            packages: Mutex::default(),
            full: AtomicBool::new(false),
            room: killsize.enabled.then(|| Room::new(killsize.packages)),
            choices: Choices::new(packager, skills),
            container: packager.container,
            name: settings.captions.name.clone(),
            language: settings.captions.language.clone(),
            ahead: packager.video.ahead,
            machine: Machine { cores: packager.workers, memory: packager.memory },
            stall: packager.stall,
            idle: IDLE,
            wait: Mutex::new(settings.limits.segment_wait),
            metrics,
        })
    }

    /// The package of `source`, found or begun; its first head starts now.
    ///
    /// # Errors
    /// [`Code::UnsupportedMedia`] when nothing in it decodes; [`Code::Busy`] when there is no room or no worker for it.
    pub async fn open(&self, source: Arc<Source>, pin: Option<Pin>) -> Result<Lease> {
        let lease = self.find_or_begin(source, pin)?;
        if !lease.package().is_complete() {
            self.workers.begin(lease.package().first_parts());
        }
        self.create(lease.package()).await?;
        Ok(lease)
    }

    pub(super) fn find_or_begin(&self, source: Arc<Source>, pin: Option<Pin>) -> Result<Lease> {
        let key = self.key(&source);
        let mut packages = self.packages();
        if let Some(package) = packages.get(&key) {
            if let Some(error) = package.uselessness() {
                let text = format!("nothing in this media can be decoded: {error}");
                return Err(Error::new(Code::UnsupportedMedia, text));
            }
            return Ok(Lease::new(package.clone()));
        }
        self.make_way(&mut packages);
        self.ready()?;
        if self.workers.is_full() {
            return Err(Error::busy("too many segments are waited for", RETRY));
        }
        let plan = Plan::new(&source.media, &self.choices)?;
        let room = self.reserve(&mut packages, plan.estimate())?;
        let rendition = |(track, table)| Arc::new(self.rendition(track, table, &[]));
        let renditions = plan.tables().map(rendition).collect();
        let package = Arc::new(Package::new(key, plan, source, renditions));
        *lock(&package.room) = room;
        // Before anybody else sees the package: one without a stream may be evicted.
        let lease = Lease::new(package.clone());
        packages.insert(key, package.clone());
        self.metrics.packages.set(packages.len() as i64);
        drop(packages);
        if let Some(pin) = pin {
            self.hold(&package, pin);
        }
        Ok(lease)
    }

    /// A rendition of which those segments are there that have bytes in `found`. Video is paced: it costs too much to be made for
    /// nobody.
    pub(super) fn rendition(
        &self,
        track: Track,
        table: &SegmentTable,
        found: &[Option<u64>],
    ) -> Rendition {
        let rendition = Rendition::new(track, table.clone(), found);
        match track.kind {
            Kind::Video => rendition.paced(self.ahead),
            _ => rendition,
        }
    }

    /// Makes the package's folder, once.
    pub(super) async fn create(&self, package: &Arc<Package>) -> Result<()> {
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

    /// The source's bytes, held until the package is complete or nobody's.
    pub(super) async fn pin(&self, package: &Arc<Package>) -> Result<Pin> {
        let held = lock(&package.pin).clone();
        if let Some(pin) = held.filter(|pin| pin.spool().failure().is_none()) {
            return Ok(pin);
        }
        let pin = self.sources.bytes(&package.source).await?;
        self.hold(package, pin.clone());
        Ok(pin)
    }

    /// Waits until all of a package's source is there.
    ///
    /// # Errors
    /// What the source says when it breaks off.
    pub async fn fetch(&self, package: &Arc<Package>) -> Result<()> {
        if package.is_complete() {
            return Ok(());
        }
        let pin = self.pin(package).await?;
        pin.spool().wait_for(u64::MAX).await.map(drop)
    }

    /// Holds the source for a package, and lets heads start anywhere in it once it is whole.
    fn hold(&self, package: &Arc<Package>, pin: Pin) {
        let source = pin.spool().clone();
        *lock(&package.pin) = Some(pin);
        let Some(own) = self.workers.packager().filter(|_| !source.is_whole()) else {
            return;
        };
        let package = Arc::downgrade(package);
        tokio::spawn(async move {
            let broken = source.wait_for(u64::MAX).await.is_err();
            drop(source);
            if let Some(package) = package.upgrade() {
                if broken {
                    package.let_go_of_failed();
                }
                // Broken off counts too: who waits has to be told.
                package.wake();
            }
            own.workers.dispatch();
        });
    }

    /// A head has ended: a rendition without gaps gets its manifest, a package that is complete or that nobody plays lets go
    /// of its source.
    pub(super) async fn settle(&self, Part { package, rendition }: &Part) {
        if rendition.finish() {
            let own = rendition.clone();
            let manifest = move || {
                let manifest = Manifest { bytes: own.bytes(), missing: own.missing() };
                own.is_complete().then_some(manifest)
            };
            let written = self.store.complete(package.key, rendition.track, manifest).await;
            if let Err(error) = written {
                tracing::warn!(%error, "a manifest cannot be written");
            }
        }
        // With these held nothing is let go of meanwhile.
        let packages = self.packages();
        if package.is_complete()
            && let Some(room) = lock(&package.room).as_mut()
        {
            room.resize(package.bytes());
        }
        drop(packages);
        package.release();
    }

    /// Keeps a file that was made for a package.
    pub(super) async fn keep(&self, package: &Arc<Package>, file: File, hot: Hot) -> Result<()> {
        self.create(package).await?;
        let written = self.store.write(package.key, file, hot.bytes.clone()).await;
        written.map_err(|e| disk_full("writing a segment", &e))?;
        self.hot.insert(Name::new(package.key, file), hot).await;
        Ok(())
    }

    /// What makes two packages the same.
    pub(super) fn key(&self, source: &Source) -> Key {
        let captions = source.captions.as_deref();
        let marked = [captions.is_some().into()];
        let choices = self.choices.key(source.media.video.is_some());
        Key::of(&[
            source.id.as_bytes(),
            &marked,
            captions.unwrap_or_default(),
            &choices,
            &plan::VERSION.to_be_bytes(),
            self.ffmpeg.version().as_bytes(),
        ])
    }

    /// Whether new packages are taken; what is there plays in any case.
    ///
    /// # Errors
    /// [`Code::Busy`], saying why not.
    pub fn ready(&self) -> Result<()> {
        if self.is_full() {
            return Err(Error::busy("the disk is full and nothing on it can be evicted", RETRY));
        }
        if !self.ffmpeg.is_there() {
            return Err(Error::busy("ffmpeg is not there any more", RETRY));
        }
        Ok(())
    }

    /// Whether the disk had no room for new packages when it was looked at last.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Relaxed)
    }

    /// The disk has no room for new packages from now on, or has again.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Relaxed);
    }

    /// Ends all heads; done when their processes are reaped. Those that measure a source end with the runtime.
    pub async fn close(&self) {
        self.workers.close();
        self.extras.close();
        if tokio::time::timeout(FAREWELL, self.ffmpeg.all_reaped()).await.is_err() {
            tracing::warn!("some ffmpeg processes are not reaped yet");
        }
    }

    /// How long players wait for a segment from now on.
    pub fn set_wait(&self, wait: Duration) {
        *lock(&self.wait) = wait;
    }

    pub(super) fn packages(&self) -> MutexGuard<'_, HashMap<Key, Arc<Package>>> {
        lock(&self.packages)
    }
}
