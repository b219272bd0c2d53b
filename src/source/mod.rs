//! The bytes of one media id: found, or fetched once however many ask.
//!
//! In the order of a request: [`Qid`] names the media, [`upstream`] asks for it, [`cache`] holds the file,
//! [`spool`] lets it be read while it arrives, [`probe`] says what it is.

pub mod cache;
pub mod probe;
pub mod spool;
pub mod upstream;

use std::{
    collections::HashMap,
    fmt::Write as _,
    panic::AssertUnwindSafe,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::{
    cache::{Cache, Pin},
    probe::{Facts, Input, Stop},
    spool::Spool,
    upstream::{Answer, Body, Upstream, Validators},
};
use crate::{
    config::{self, Template},
    disk::Reservation,
    error::{Code, Error, Result},
    ffmpeg::Ffmpeg,
    metrics::Metrics,
    time::now,
};

/// For how long a failure is told again without asking the upstream.
const FAILURE_LIFE: Duration = Duration::from_secs(2);

/// When a caller who was turned away should come back.
const RETRY: Duration = Duration::from_secs(5);

/// Bytes of descriptions, captions included, that are kept in memory.
const KNOWN: u64 = 16 << 20;

/// How many bytes a probe wants before it looks at all.
const FIRST_LOOK: u64 = 4096;

/// A media id that may go upstream: 1 to 512 bytes without control characters, and not a dot segment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Qid(String);

impl Qid {
    /// Checks an id.
    ///
    /// # Errors
    /// [`Code::BadQid`], saying what is wrong with it.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = match text {
            "" => "is empty",
            "." | ".." => "is a dot segment",
            _ if text.len() > 512 => "is longer than 512 bytes",
            _ if text.chars().any(char::is_control) => "holds control characters",
            _ => return Ok(Self(text.to_owned())),
        };
        Err(Error::new(Code::BadQid, format!("the media id {wrong}")))
    }

    /// The id as the backend gave it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is known of one version of one media id. The bytes themselves come and go.
#[derive(Debug, Serialize, Deserialize)]
pub struct Source {
    /// The id that it was asked for by.
    pub qid: Qid,
    /// Names this version of this media: 64 hexadecimal digits; another once the upstream changes.
    pub id: String,
    /// What the header says.
    pub facts: Facts,
    /// The captions as they came, if there are any.
    #[serde(skip)]
    pub captions: Option<Bytes>,
    /// What is missing.
    pub warnings: Vec<String>,
    validators: Validators,
    #[serde(skip)]
    checked: AtomicI64,
}

impl Source {
    /// Whether the upstream was asked about it less than `revalidate` ago.
    fn is_fresh(&self, revalidate: Duration) -> bool {
        now() - self.checked.load(Relaxed) < revalidate.as_secs().cast_signed()
    }

    /// Bytes that its description takes in memory.
    fn weight(&self) -> usize {
        1024 + self.captions.as_ref().map_or(0, Bytes::len)
    }
}

/// Says what is wrong with bytes that are no captions. Handed in, because this room knows nothing of captions.
pub type CheckCaptions = fn(&[u8]) -> std::result::Result<(), String>;

type Flight = Shared<BoxFuture<'static, Result<(Arc<Source>, Option<Pin>)>>>;

/// All sources of one process.
pub struct Sources {
    upstream: Upstream,
    cache: Arc<Cache>,
    ffmpeg: Ffmpeg,
    audio: Template,
    vtt: Option<Template>,
    captions: config::Captions,
    check_captions: CheckCaptions,
    revalidate: Duration,
    patience: Duration,
    /// Fetches under way, of sources and captions together.
    fetches: Arc<Semaphore>,
    /// By the hash of their addresses.
    known: moka::sync::Cache<String, Arc<Source>>,
    failed: moka::sync::Cache<String, Error>,
    flights: Mutex<HashMap<String, Flight>>,
    metrics: Arc<Metrics>,
    own: Weak<Self>,
}

impl Sources {
    /// Sources as `settings` say, in `cache`.
    pub fn new(
        settings: &config::Settings,
        cache: Arc<Cache>,
        ffmpeg: Ffmpeg,
        metrics: Arc<Metrics>,
        check_captions: CheckCaptions,
    ) -> Result<Arc<Self>> {
        let upstream = Upstream::new(&settings.upstream)?;
        let weigh = |_: &String, source: &Arc<Source>| source.weight() as u32;
        Ok(Arc::new_cyclic(|own| Self {
            upstream,
            cache,
            ffmpeg,
            audio: settings.url.audio.clone(),
            vtt: settings.url.vtt.clone(),
            captions: settings.captions.clone(),
            check_captions,
            revalidate: settings.cache.revalidate,
            patience: settings.upstream.wait,
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
        if !self.cache.adopt(&source.id, source.validators.length) {
            tracing::debug!("a source of an earlier run is not on disk any more");
        }
        self.known.insert(self.key(&source.qid), source);
    }

    /// Removes files of an earlier run that nobody knows.
    pub fn sweep(&self) {
        self.cache.sweep();
    }

    /// How many sources can be in use at once.
    pub fn limit(&self) -> usize {
        self.cache.limit()
    }

    /// What `qid` is, asking the upstream if nobody did lately. All who ask at once share one fetch, which goes on
    /// when they leave. The pin, if there is one, keeps the bytes that were just fetched.
    ///
    /// # Errors
    /// As the upstream table of the wire contract says; failures are told again for 2 s.
    pub async fn get(&self, qid: &Qid) -> Result<(Arc<Source>, Option<Pin>)> {
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
        self.share(key, qid, known).await
    }

    /// The bytes of `source`: those that are here, or fetched again.
    ///
    /// # Errors
    /// As [`Sources::get`]; [`Code::StreamGone`] when the upstream has another version by now.
    pub async fn bytes(&self, source: &Source) -> Result<Pin> {
        if let Some(pin) = self.cache.pin(&source.id) {
            return Ok(pin);
        }
        let key = self.key(&source.qid);
        if let Some(error) = self.failed.get(&key) {
            return Err(error);
        }
        let (now, pin) = self.share(key, &source.qid, None).await?;
        if now.id == source.id
            && let Some(pin) = pin.or_else(|| self.cache.pin(&source.id))
        {
            return Ok(pin);
        }
        Err(Error::new(Code::StreamGone, "the media has changed upstream; ask for a new stream"))
    }

    /// A file of this machine, read in place, with captions from another one.
    ///
    /// # Errors
    /// [`Code::Io`] when one of them cannot be read; [`Code::UnsupportedMedia`].
    pub async fn local(&self, file: &Path, vtt: Option<&Path>) -> Result<(Arc<Source>, Pin)> {
        let unreadable = |path: &Path| {
            let doing = format!("reading {}", path.display());
            move |e: std::io::Error| Error::io(&doing, &e)
        };
        let captions = match vtt {
            Some(vtt) => {
                let bytes = std::fs::read(vtt).map_err(unreadable(vtt))?;
                Some(self.checked_captions(bytes.into()).await?)
            }
            None => None,
        };
        let file = std::path::absolute(file).map_err(unreadable(file))?;
        let spool = Arc::new(Spool::open(&file).map_err(unreadable(&file))?);
        let facts = self.probe(&spool).await?;
        let id = hex(&Sha256::digest(file.as_os_str().as_encoded_bytes()));
        let pin = Pin::local(&id, spool);
        let qid = Qid::parse("local")?;
        let (warnings, validators) = (Vec::new(), Validators::default());
        let checked = AtomicI64::new(now());
        let source = Source { qid, id, facts, captions, warnings, validators, checked };
        Ok((Arc::new(source), pin))
    }

    /// Joins the fetch for `key`, or starts it in a task of its own.
    async fn share(
        &self,
        key: String,
        qid: &Qid,
        known: Option<Arc<Source>>,
    ) -> Result<(Arc<Source>, Option<Pin>)> {
        let flight = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            let start = |key: &String| self.start(key.clone(), qid.clone(), known);
            flights.entry(key).or_insert_with_key(start).clone()
        };
        flight.await
    }

    fn start(&self, key: String, qid: Qid, known: Option<Arc<Source>>) -> Flight {
        let Some(own) = self.own.upgrade() else {
            return futures_util::future::ready(Err(ended())).boxed().shared();
        };
        let task = tokio::spawn(async move {
            // Whatever happens, the flight ends: one that stayed would be joined for ever.
            let load = AssertUnwindSafe(own.load(&key, qid, known)).catch_unwind();
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

    async fn load(
        self: &Arc<Self>,
        key: &str,
        qid: Qid,
        known: Option<Arc<Source>>,
    ) -> Result<(Arc<Source>, Option<Pin>)> {
        let permit = self.take_turn().await?;
        let before = known.as_deref();
        let url = self.audio.url(qid.as_str());
        let audio = self.upstream.get(url, before.map(|source| &source.validators), u64::MAX);
        let (audio, captions) = tokio::join!(audio, self.fetch_captions(&qid));
        let (captions, warnings) = match captions {
            Ok(captions) => (captions, Vec::new()),
            Err(error) if self.captions.required => return Err(error),
            // What was there before is better than nothing.
            Err(error) => {
                let text = format!("no captions: {error}");
                (before.and_then(|source| source.captions.clone()), vec![text])
            }
        };
        let body = match (audio, known) {
            (Ok(Answer::Body(body)), _) => body,
            (Ok(Answer::Unchanged), Some(known)) => {
                Metrics::count(&self.metrics.fetches, "unchanged");
                return Ok((Self::unchanged(known, captions, warnings), None));
            }
            (Err(error), Some(known)) if is_passing(&error) => {
                tracing::warn!(%error, "the upstream cannot say whether a source changed");
                known.checked.store(now(), Relaxed);
                return Ok((known, None));
            }
            (Err(error), _) => {
                Metrics::count(&self.metrics.fetches, "failed");
                return Err(error);
            }
            (Ok(Answer::Unchanged), None) => return Err(ended()),
        };
        let validators = body.validators.clone();
        let id = format!("{key}{}", version(&validators));
        // The same version may still be here, though nobody knew what it was.
        let (pin, download) = if let Some(pin) = self.cache.pin(&id) {
            (pin, None)
        } else {
            let (pin, room) = self.cache.create(&id, validators.length).await?;
            let download = self.clone().download(key.to_owned(), body, pin.clone(), room, permit);
            (pin, Some(tokio::spawn(download)))
        };
        match self.probe(pin.spool()).await {
            Ok(facts) => {
                let checked = AtomicI64::new(now());
                let source = Source { qid, id, facts, captions, warnings, validators, checked };
                Ok((Arc::new(source), Some(pin)))
            }
            Err(error) => {
                if let Some(download) = download {
                    download.abort();
                    pin.spool().fail(error.clone());
                }
                Err(error)
            }
        }
    }

    /// Waits until fewer than `upstream.fetches` are under way.
    async fn take_turn(&self) -> Result<OwnedSemaphorePermit> {
        let turn = tokio::time::timeout(self.patience, self.fetches.clone().acquire_owned()).await;
        let busy = |_| Error::busy("too many fetches are under way", RETRY);
        turn.map_err(busy)?.map_err(|_| ended())
    }

    /// The audio is what it was; the captions may not be.
    fn unchanged(
        known: Arc<Source>,
        captions: Option<Bytes>,
        warnings: Vec<String>,
    ) -> Arc<Source> {
        if known.captions == captions {
            known.checked.store(now(), Relaxed);
            return known;
        }
        Arc::new(Source {
            qid: known.qid.clone(),
            id: known.id.clone(),
            facts: known.facts.clone(),
            captions,
            warnings,
            validators: known.validators.clone(),
            checked: AtomicI64::new(now()),
        })
    }

    async fn fetch_captions(&self, qid: &Qid) -> Result<Option<Bytes>> {
        let Some(template) = &self.vtt else {
            return Ok(None);
        };
        let url = template.url(qid.as_str());
        match self.upstream.get(url, None, self.captions.max_size).await? {
            Answer::Body(body) => self.checked_captions(body.bytes().await?.into()).await.map(Some),
            Answer::Unchanged => Ok(None),
        }
    }

    /// Captions that can be read, or what they are instead: a login page with status 200, mostly.
    async fn checked_captions(&self, bytes: Bytes) -> Result<Bytes> {
        let (check, text) = (self.check_captions, bytes.clone());
        let checked =
            tokio::task::spawn_blocking(move || check(&text)).await.map_err(|e| unexpected(&e))?;
        checked.map(|()| bytes).map_err(|found| Error::new(Code::UnsupportedMedia, found))
    }

    /// Writes a body into its spool to the end, whoever still wants it.
    async fn download(
        self: Arc<Self>,
        key: String,
        mut body: Body,
        pin: Pin,
        mut room: Option<Reservation>,
        _turn: OwnedSemaphorePermit,
    ) {
        let spool = pin.spool();
        let outcome = async {
            let mut at = 0;
            while let Some(chunk) = body.chunk().await? {
                self.cache.extend(&mut room, at + chunk.len() as u64)?;
                at = append(spool, at, chunk).await?;
            }
            let (own, pin) = (self.clone(), pin.clone());
            tokio::task::spawn_blocking(move || own.cache.finish(pin.id(), pin.spool(), at))
                .await
                .unwrap_or_else(|_| Err(ended()))
        };
        match outcome.await {
            Ok(()) => Metrics::count(&self.metrics.fetches, "whole"),
            Err(error) => {
                Metrics::count(&self.metrics.fetches, "failed");
                tracing::warn!(%error, "a download broke off");
                // Who asks next is to hear of it before a stream is made.
                self.known.invalidate(&key);
                self.failed.insert(key, error.clone());
                spool.fail(error);
            }
        }
    }

    /// Reads the header as it arrives.
    async fn probe(&self, spool: &Arc<Spool>) -> Result<Facts> {
        let mut need = FIRST_LOOK;
        loop {
            spool.wait_for(need).await?;
            let file = spool.clone();
            let look = move || {
                let (whole, have) = (file.is_whole(), file.available());
                (probe::probe(&Input::file(file.file(), have, file.total(), whole)), whole)
            };
            let (told, whole) =
                tokio::task::spawn_blocking(look).await.map_err(|e| unexpected(&e))?;
            need = match told {
                Ok(facts) => return Ok(facts),
                Err(Stop::More(more)) if !whole => more.max(need + 1),
                Err(Stop::Whole) if !whole => u64::MAX,
                Err(Stop::Undetermined(container)) if whole => {
                    return self.decode(spool, container).await;
                }
                Err(Stop::Undetermined(_)) => u64::MAX,
                Err(Stop::Unsupported(found)) => return Err(unsupported(&found)),
                Err(Stop::Io(kind)) => {
                    return Err(Error::io("reading a source", &kind.into()));
                }
                Err(Stop::More(_) | Stop::Whole) => {
                    return Err(unsupported("a file that ends before its header does"));
                }
            };
        }
    }

    async fn decode(&self, spool: &Spool, container: probe::Container) -> Result<Facts> {
        let (path, limit) = (spool.path(), self.patience);
        probe::last::decode(&self.ffmpeg, &path, container, limit)
            .await
            .map_err(|found| unsupported(&found))
    }

    /// The hash of the addresses of `qid`: what makes two requests the same.
    fn key(&self, qid: &Qid) -> String {
        let text = |url: Url| String::from(url);
        let vtt = self.vtt.as_ref().map(|template| text(template.url(qid.as_str())));
        let mut hash = Sha256::new();
        hash.update(text(self.audio.url(qid.as_str())));
        hash.update([0]);
        hash.update(vtt.unwrap_or_default());
        hex(&hash.finalize()[..16])
    }

    /// Bytes of all sources on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.cache.bytes()
    }
}

async fn append(spool: &Arc<Spool>, at: u64, chunk: Bytes) -> Result<u64> {
    let spool = spool.clone();
    let written = tokio::task::spawn_blocking(move || spool.append(at, &chunk)).await;
    written.map_err(|e| unexpected(&e))?.map_err(|e| cache::disk_full("writing a download", &e))
}

/// A name for this version; without validators every fetch is a version of its own.
fn version(validators: &Validators) -> String {
    let mut hash = Sha256::new();
    if validators.are_strong() {
        hash.update(format!("{validators:?}"));
    } else {
        hash.update(rand::random::<[u8; 16]>());
    }
    hex(&hash.finalize()[..16])
}

/// Whether asking again later may help; a source that is known is played on meanwhile.
fn is_passing(error: &Error) -> bool {
    matches!(error.code(), Code::UpstreamFailed | Code::UpstreamTimeout)
}

fn unsupported(found: &str) -> Error {
    let text = format!("the upstream sent {found}, which cannot be played as audio");
    Error::new(Code::UnsupportedMedia, text)
}

fn unexpected(error: &tokio::task::JoinError) -> Error {
    Error::new(Code::Internal, format!("a task ended unexpectedly: {error}"))
}

fn ended() -> Error {
    Error::new(Code::Internal, "a fetch ended without an outcome")
}

/// Lower-case hexadecimal digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_must_not_go_upstream_are_refused() {
        let long = "x".repeat(513);
        for bad in ["", ".", "..", "a\nb", "\0", "\u{7f}", "\u{85}", &long] {
            assert_eq!(Qid::parse(bad).unwrap_err().code(), Code::BadQid, "{bad:?}");
        }
        for good in ["1", "a/b", "..a", "é 漢字 %2f?#@", &"x".repeat(512)] {
            assert_eq!(Qid::parse(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn a_version_is_named_by_what_the_upstream_says() {
        let etag = Validators { etag: Some("a".into()), ..Validators::default() };
        assert_eq!(version(&etag), version(&etag.clone()));
        let length = Validators { length: Some(5), ..Validators::default() };
        assert_ne!(version(&length), version(&length));
    }
}
