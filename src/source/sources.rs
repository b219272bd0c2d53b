//! All sources of one process: what is known of them, and one fetch for all who ask at once.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use reqwest::Url;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::{
    Origin, Qid, Source, Wanted,
    cache::{Cache, Pin},
    ended,
    seen::Seen,
    upstream::Upstream,
};
use crate::{
    config::{self, Template},
    error::{Code, Error, Result},
    ffmpeg::Ffmpeg,
    library::Library,
    metrics::Metrics,
};

/// For how long a failure is told again without asking the upstream.
const FAILURE_LIFE: Duration = Duration::from_secs(2);

/// Bytes of descriptions, captions included, that are kept in memory.
const KNOWN: u64 = 16 << 20;

/// Says what is wrong with bytes that are no captions. Handed in, because this room knows nothing of captions.
pub type CheckCaptions = fn(&[u8]) -> std::result::Result<(), String>;

pub(super) type Outcome = Result<(Arc<Source>, Option<Pin>)>;

type Flight = Shared<BoxFuture<'static, Outcome>>;

/// All sources of one process.
pub struct Sources {
    pub(super) upstream: Upstream,
    pub(super) library: Arc<Library>,
    pub(super) seen: Arc<Seen>,
    pub(super) cache: Arc<Cache>,
    pub(super) ffmpeg: Ffmpeg,
    pub(super) audio: Template,
    pub(super) vtt: Option<Template>,
    pub(super) captions: config::Captions,
    pub(super) check_captions: CheckCaptions,
    revalidate: Duration,
    pub(super) patience: Duration,
    /// Whether H.264 is handed on as it is where it can be.
    pub(super) copied: bool,
    /// Fetches under way, of sources and captions together.
    pub(super) fetches: Arc<Semaphore>,
    /// By the hash of their addresses; files of the library by that of their versions.
    pub(super) known: moka::sync::Cache<String, Arc<Source>>,
    pub(super) failed: moka::sync::Cache<String, Error>,
    flights: Mutex<HashMap<String, Flight>>,
    pub(super) metrics: Arc<Metrics>,
    own: Weak<Self>,
}

impl Sources {
    /// Sources as `settings` say, fetched into `cache` or read from `library`.
    pub fn new(
        settings: &config::Settings,
        library: Arc<Library>,
        cache: Arc<Cache>,
        ffmpeg: Ffmpeg,
        metrics: Arc<Metrics>,
        check_captions: CheckCaptions,
    ) -> Result<Arc<Self>> {
        let upstream = Upstream::new(&settings.upstream)?;
        let weigh = |_: &String, source: &Arc<Source>| source.weight() as u32;
        Ok(Arc::new_cyclic(|own| Self {
            upstream,
            library,
            seen: Seen::new(),
            cache,
            ffmpeg,
            audio: settings.url.audio.clone(),
            vtt: settings.url.vtt.clone(),
            captions: settings.captions.clone(),
            check_captions,
            revalidate: settings.cache.revalidate,
            patience: settings.upstream.wait,
            copied: settings.packager.copy.contains(&config::Copied::H264),
            fetches: Arc::new(Semaphore::new(settings.upstream.fetches)),
            known: moka::sync::Cache::builder().max_capacity(KNOWN).weigher(weigh).build(),
            failed: moka::sync::Cache::builder()
                .max_capacity(10_000)
                .time_to_live(FAILURE_LIFE)
                .build(),
            flights: Mutex::default(),
            metrics,
            own: own.clone(),
        }))
    }

    /// Takes over what an earlier run knew of a source, and its file if that is still there.
    pub fn adopt(&self, source: Arc<Source>) {
        let Origin::Upstream(qid) = &source.origin else {
            // Others lie somewhere else, and are looked at when they are needed.
            return;
        };
        if !self.cache.adopt(&source.id, source.validators.length) {
            tracing::debug!("a source of an earlier run is not on disk any more");
        }
        self.known.insert(self.key(qid), source);
    }

    /// Removes files of an earlier run that nobody knows.
    pub fn sweep(&self) {
        self.cache.sweep();
    }

    /// What is known of files of the library, for those who list it to add to.
    pub fn seen(&self) -> Arc<Seen> {
        self.seen.clone()
    }

    /// How many sources can be in use at once.
    pub fn limit(&self) -> usize {
        self.cache.limit()
    }

    /// What `wanted` is. The pin, if there is one, keeps the bytes that were just found or fetched.
    ///
    /// # Errors
    /// As the upstream table of the wire contract says; [`Code::MediaNotFound`] for what the library does not have. Failures
    /// are told again for 2 s.
    pub async fn get(&self, wanted: &Wanted) -> Outcome {
        match wanted {
            Wanted::Id(qid) => self.fetched(qid).await,
            Wanted::File(path) => self.file(path).await,
        }
    }

    /// What `qid` is, asking the upstream if nobody did lately. All who ask at once share one fetch, which goes on
    /// when they leave.
    async fn fetched(&self, qid: &Qid) -> Outcome {
        let key = self.key(qid);
        if let Some(error) = self.failed.get(&key) {
            return Err(error);
        }
        let known = self.known.get(&key);
        if let Some(source) = known.as_ref().filter(|source| source.is_fresh(self.revalidate)) {
            Metrics::count(&self.metrics.source_lookups, "hit");
            return Ok((source.clone(), None));
        }
        Metrics::count(&self.metrics.source_lookups, "miss");
        self.fetch(key, qid, known).await
    }

    /// The bytes of `source`: those that are here, or fetched again.
    ///
    /// # Errors
    /// As [`Sources::get`]; [`Code::StreamGone`] when there is another version by now.
    pub async fn bytes(&self, source: &Source) -> Result<Pin> {
        match &source.origin {
            Origin::Upstream(qid) => self.fetched_bytes(source, qid).await,
            Origin::Library { path, stamp } => self.reopen(&source.id, path, stamp).await,
            Origin::Local => Err(Error::new(Code::Internal, "a local file was let go of")),
        }
    }

    async fn fetched_bytes(&self, source: &Source, qid: &Qid) -> Result<Pin> {
        if let Some(pin) = self.cache.pin(&source.id) {
            return Ok(pin);
        }
        let key = self.key(qid);
        if let Some(error) = self.failed.get(&key) {
            return Err(error);
        }
        let (now, pin) = self.fetch(key, qid, None).await?;
        if now.id == source.id
            && let Some(pin) = pin.or_else(|| self.cache.pin(&source.id))
        {
            return Ok(pin);
        }
        Err(Error::new(Code::StreamGone, "the media has changed upstream; ask for a new stream"))
    }

    async fn fetch(&self, key: String, qid: &Qid, known: Option<Arc<Source>>) -> Outcome {
        let qid = qid.clone();
        self.share(key, |own, key| async move { own.load(&key, qid, known).await }).await
    }

    /// Joins the work for `key`, or starts it in a task of its own.
    pub(super) async fn share<F: Future<Output = Outcome> + Send + 'static>(
        &self,
        key: String,
        load: impl FnOnce(Arc<Self>, String) -> F,
    ) -> Outcome {
        let flight = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            let start = |key: &String| self.start(key.clone(), load);
            flights.entry(key).or_insert_with_key(start).clone()
        };
        flight.await
    }

    fn start<F: Future<Output = Outcome> + Send + 'static>(
        &self,
        key: String,
        load: impl FnOnce(Arc<Self>, String) -> F,
    ) -> Flight {
        let Some(own) = self.own.upgrade() else {
            return futures_util::future::ready(Err(ended())).boxed().shared();
        };
        // Whatever happens, the flight ends: one that stayed would be joined for ever.
        let load = AssertUnwindSafe(load(own.clone(), key.clone())).catch_unwind();
        let task = tokio::spawn(async move {
            let outcome = load.await.unwrap_or_else(|_| Err(ended()));
            match &outcome {
                // One whose download broke off meanwhile is to be asked for again.
                Ok((_, Some(pin))) if pin.spool().failure().is_some() => {}
                Ok((source, _)) => own.known.insert(key.clone(), source.clone()),
                Err(error) => own.failed.insert(key.clone(), error.clone()),
            }
            own.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            outcome
        });
        async move { task.await.unwrap_or_else(|_| Err(ended())) }.boxed().shared()
    }

    /// The hash of the addresses of `qid`: what makes two requests the same.
    fn key(&self, qid: &Qid) -> String {
        let text = |url: Url| String::from(url);
        let vtt = self.vtt.as_ref().map(|template| text(template.url(qid.as_str())));
        let mut hash = Sha256::new();
        hash.update(text(self.audio.url(qid.as_str())));
        hash.update([0]);
        hash.update(vtt.unwrap_or_default());
        hex::encode(&hash.finalize()[..16])
    }

    /// Bytes of all sources on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.cache.bytes()
    }
}
