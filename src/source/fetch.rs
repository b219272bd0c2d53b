//! One fetch: asked for, named, begun; then written to its end, whoever still wants it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    Origin, Qid, Source, Sources,
    cache::{self, Pin},
    ended,
    spool::Spool,
    unexpected,
    upstream::{Answer, Body, Validators},
};
use crate::{
    disk::Reservation,
    error::{Code, Error, Result},
    metrics::Metrics,
    time::now,
};

/// When a caller who was turned away should come back.
const RETRY: Duration = Duration::from_secs(5);

impl Sources {
    /// Asks the upstream for `qid`; for one that is known, whether it is still that.
    pub(super) async fn load(
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
        match self.probe(&pin).await {
            Ok(media) => {
                let checked = AtomicI64::new(now());
                let origin = Origin::Upstream(qid);
                let source = Source { origin, id, media, captions, warnings, validators, checked };
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
    pub(super) async fn take_turn(&self) -> Result<OwnedSemaphorePermit> {
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
            origin: known.origin.clone(),
            id: known.id.clone(),
            media: known.media.clone(),
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
    pub(super) async fn checked_captions(&self, bytes: Bytes) -> Result<Bytes> {
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
        hash.update(serde_json::to_vec(validators).unwrap_or_default());
    } else {
        hash.update(rand::random::<[u8; 16]>());
    }
    hex::encode(&hash.finalize()[..16])
}

/// Whether asking again later may help; a source that is known is played on meanwhile.
fn is_passing(error: &Error) -> bool {
    matches!(error.code(), Code::UpstreamFailed | Code::UpstreamTimeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_named_by_what_the_upstream_says() {
        let etag = Validators { etag: Some("a".into()), ..Validators::default() };
        assert_eq!(version(&etag), version(&etag.clone()));
        let length = Validators { length: Some(5), ..Validators::default() };
        assert_ne!(version(&length), version(&length));
    }
}
