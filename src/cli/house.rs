//! The rooms of one broker, put together in the order in which they need each other.

use std::{collections::HashSet, path::Path, sync::Arc};

use super::token::keys;
use crate::{
    access::Access,
    broker::Broker,
    catalogue::{
        Catalogue,
        ahead::{self, Queue},
        watch::Watch,
    },
    config::Settings,
    disk::{Directory, Room},
    error::{Error, Result},
    ffmpeg::Ffmpeg,
    library::Library,
    metrics::Metrics,
    package::{Packager, captions::Captions, encoder, key::Key, store::Store},
    source::{
        Sources,
        cache::{Bounds, Cache},
    },
    state::State,
    stream::Streams,
    watchdog::{Paths, Watchdog},
};

/// A broker that is ready to be asked.
pub struct House {
    /// The story.
    pub broker: Arc<Broker>,
    /// The secrets, which may change.
    pub access: Arc<Access>,
    /// The streams, to be swept and closed.
    pub streams: Arc<Streams>,
    /// The packages, to be closed.
    pub packager: Arc<Packager>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    _held: Vec<Directory>,
    _watch: Option<Watch>,
}

impl House {
    /// Opens and locks the directories, takes over what an earlier run left, and builds the rooms. The watchdog has looked
    /// once, and evicted, when this returns: a restart must not die of what the last run left.
    pub async fn open(settings: &Settings) -> Result<(Self, Watchdog)> {
        let cache = &settings.cache;
        let sources_dir = Directory::open("cache.dir", &cache.dir)?;
        let temp = Directory::open("cache.tempdir", &cache.tempdir)?;
        let packages = Directory::open("cache.static", &cache.packages)?;
        let state_dir = Directory::open("state.dir", &settings.state.dir)?;
        temp.clear()?;

        let metrics = Arc::new(Metrics::default());
        let program = settings.packager.ffmpeg.to_string_lossy();
        let ffmpeg = Ffmpeg::find(&program, settings.packager.memory).await?;
        tracing::info!(version = ffmpeg.version(), "ffmpeg found");
        let access = Arc::new(Access::new(
            &settings.handshake,
            keys(settings)?,
            settings.limits.bad_handshakes,
        ));
        let (state, rows) = State::open(state_dir.path())?;

        let bounds = Bounds {
            dir: sources_dir.path().to_owned(),
            tempdir: temp.path().to_owned(),
            size: cache.size,
            limit: cache.limit,
            patience: settings.upstream.wait,
            room: cache.killsize.enabled.then(|| Room::new(cache.killsize.tempdir)),
        };
        let files = Cache::new(bounds, metrics.clone());
        let library = Arc::new(Library::new(&settings.library.dirs));
        let sources = Sources::new(
            settings,
            library.clone(),
            files,
            ffmpeg.clone(),
            metrics.clone(),
            Captions::check,
        )?;
        let store = Store::new(packages.path());
        let skills = encoder::try_out(&ffmpeg, settings.packager.video.encoder).await;
        let ffmpeg = (ffmpeg, skills);
        let packager = Packager::new(settings, store, sources.clone(), ffmpeg, metrics.clone());
        let streams = Arc::new(Streams::new(state, metrics.clone()));

        let now = crate::time::now();
        let live: HashSet<Key> = rows
            .iter()
            .filter(|row| row.end > now)
            .filter_map(|row| row.package.parse().ok())
            .collect();
        packager.restore(|key| live.contains(&key))?;
        sources.sweep();
        streams.restore(rows, &packager);

        let paths =
            Paths { tempdir: path(&temp), packages: path(&packages), cache: path(&sources_dir) };
        let mut watchdog = Watchdog::new(
            paths,
            &cache.killsize,
            packager.clone(),
            sources.clone(),
            metrics.clone(),
        );
        watchdog.look_first();
        packager.resume();
        let catalogue = Catalogue::new(library, sources.seen());
        let watch = watch(settings, &catalogue, &sources, &packager, &metrics)?;
        let broker = Broker::new(
            access.clone(),
            sources,
            catalogue,
            packager.clone(),
            streams.clone(),
            cache.expiry,
        );
        let held = vec![sources_dir, temp, packages, state_dir];
        Ok((
            Self { broker, access, streams, packager, metrics, _held: held, _watch: watch },
            watchdog,
        ))
    }
}

/// Begins to watch the library and to package it ahead, as far as that is wanted.
fn watch(
    settings: &Settings,
    catalogue: &Arc<Catalogue>,
    sources: &Arc<Sources>,
    packager: &Arc<Packager>,
    metrics: &Arc<Metrics>,
) -> Result<Option<Watch>> {
    let library = &settings.library;
    // Without a limit of the disk there is nothing to stop at.
    let prewarm = library.prewarm && settings.cache.killsize.enabled;
    if catalogue.library().is_empty() || !(library.watch || prewarm) {
        return Ok(None);
    }
    let queue = prewarm.then(Arc::<Queue>::default);
    if let Some(queue) = queue.clone() {
        tokio::spawn(ahead::run(queue, sources.clone(), packager.clone()));
    }
    let watch = Watch::start(library, catalogue.clone(), queue, metrics.clone());
    watch.map(Some).map_err(|e| Error::io("starting a thread", &e))
}

fn path(directory: &Directory) -> std::path::PathBuf {
    let path: &Path = directory.path();
    path.to_owned()
}
