//! token, batch, unlock, play: the story of the house, and nothing else.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::future::join_all;
use uuid::Uuid;
use warp::http::HeaderValue;

use crate::{
    access::Access,
    catalogue::{Catalogue, Page},
    config::Container,
    error::{Code, Error, Result},
    library::Path,
    package::{Lease, Packager, file::File, playlist},
    source::{Sources, Wanted},
    stream::{Stream, Streams},
    time::{end_of, instant, left},
};

/// When a caller who was turned away should come back.
const RETRY: Duration = Duration::from_secs(5);

/// What a backend gets for a stream.
pub struct Grant {
    /// The stream's id.
    pub rid: Uuid,
    /// Opens every file of the stream until `expires_at`.
    pub token: String,
    /// Whole seconds.
    pub expires_at: SystemTime,
    /// What is missing, such as captions that could not be fetched.
    pub warnings: Vec<String>,
}

/// What a backend gets for a batch.
pub struct Batch {
    /// The batch's id.
    pub id: Uuid,
    /// Streams in the order asked, with what each plays.
    pub streams: Vec<(Uuid, Wanted)>,
    /// Items that failed.
    pub errors: Vec<(Wanted, Error)>,
    /// End of all its streams.
    pub expires_at: SystemTime,
}

/// How a file may be kept by those who got it.
pub enum Keep {
    /// Playlists: ask again each time.
    Revalidate,
    /// Segments: never change; may be kept for this long.
    Immutable(Duration),
}

/// A file as it goes to a player.
pub struct Asset {
    /// The whole file.
    pub bytes: Bytes,
    /// The same, gzipped, where that is worth it.
    pub gzip: Option<Bytes>,
    /// Strong validator of `bytes`, quoted.
    pub etag: HeaderValue,
    /// Content-Type.
    pub media_type: &'static str,
    /// Cache policy.
    pub keep: Keep,
}

/// What a player's query string said.
#[derive(Clone, Default)]
pub struct Query {
    /// `?container=`: overrides the configured one; carried on every URI.
    pub container: Option<Container>,
    /// `?token=`, decoded, to be carried on every URI of playlists.
    pub token: Option<String>,
}

/// The rooms that the story needs.
pub struct Broker {
    access: Arc<Access>,
    sources: Arc<Sources>,
    catalogue: Arc<Catalogue>,
    packager: Arc<Packager>,
    streams: Arc<Streams>,
    /// Life of a token, and of a stream that was not made with a batch.
    expiry: Duration,
    draining: AtomicBool,
}

impl Broker {
    /// A broker over these rooms.
    pub fn new(
        access: Arc<Access>,
        sources: Arc<Sources>,
        catalogue: Arc<Catalogue>,
        packager: Arc<Packager>,
        streams: Arc<Streams>,
        expiry: Duration,
    ) -> Arc<Self> {
        let draining = AtomicBool::new(false);
        Arc::new(Self { access, sources, catalogue, packager, streams, expiry, draining })
    }

    /// Compares a handshake, counting failures per address.
    ///
    /// # Errors
    /// [`Code::BadHandshake`], or [`Code::TooManyAttempts`] past the limit.
    pub fn authorize(&self, handshake: Option<&str>, from: IpAddr) -> Result<()> {
        self.access.check_handshake(handshake, from)
    }

    /// A page of a folder of the library; see [`Catalogue::list`].
    ///
    /// # Errors
    /// [`Code::NotFound`].
    pub async fn list(
        &self,
        folder: Option<Path>,
        after: Option<String>,
        limit: usize,
    ) -> Result<Page> {
        self.catalogue.list(folder, after, limit).await
    }

    /// A stream and its token for one media id, or one file of the library.
    ///
    /// # Errors
    /// As the upstream table of the wire contract says.
    pub async fn token(&self, wanted: &Wanted) -> Result<Grant> {
        self.refuse_while_draining()?;
        let (lease, warnings) = self.open(wanted).await?;
        let end = end_of(self.expiry);
        let streams = self.streams.add(vec![lease], None, end).await?;
        let stream = streams.first().ok_or_else(|| Error::new(Code::Internal, "no stream"))?;
        self.grant(stream, end, warnings)
    }

    /// Streams for many media, all with the same end. With `strict`, one failure fails all.
    ///
    /// # Errors
    /// [`Code::Busy`] for what cannot fit; [`Code::BatchFailed`] when nothing could be prepared, or not all of a strict one.
    pub async fn batch(
        &self,
        wanted: Vec<Wanted>,
        expiry: Duration,
        strict: bool,
    ) -> Result<Batch> {
        self.refuse_while_draining()?;
        let distinct: HashSet<_> = wanted.iter().collect();
        // Files of the library take no place in the cache.
        let fetched = distinct.iter().filter(|wanted| matches!(wanted, Wanted::Id(_))).count();
        if fetched > self.sources.limit() {
            let limit = self.sources.limit();
            let text = format!("the batch has {fetched} different media; cache.limit is {limit}");
            return Err(Error::busy(text, RETRY));
        }
        let end = end_of(expiry);
        let opened = join_all(
            distinct.iter().map(|one| async { ((*one).clone(), self.open_whole(one).await) }),
        );
        let opened: HashMap<_, _> = opened.await.into_iter().collect();

        let (mut leases, mut named, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for wanted in wanted {
            match opened.get(&wanted) {
                Some(Ok(lease)) => {
                    leases.push(lease.clone());
                    named.push(wanted);
                }
                // What does not fit now may fit later, as a whole.
                Some(Err(error)) if error.code() == Code::Busy => return Err(error.clone()),
                Some(Err(error)) => errors.push((wanted, error.clone())),
                None => {}
            }
        }
        if leases.is_empty() || (strict && !errors.is_empty()) {
            return Err(batch_failed(&errors));
        }
        let id = Uuid::new_v4();
        let streams = self.streams.add(leases, Some(id), end).await?;
        let streams = streams.iter().map(|stream| stream.rid).zip(named).collect();
        Ok(Batch { id, streams, errors, expires_at: instant(end) })
    }

    /// A new token for a stream that exists. One that was not made with a batch goes on for longer by it.
    ///
    /// # Errors
    /// [`Code::StreamGone`].
    pub async fn unlock(&self, rid: Uuid) -> Result<Grant> {
        let stream = self.streams.get(rid)?;
        let mut end = end_of(self.expiry);
        if stream.is_of_batch() {
            end = end.min(stream.end());
        } else {
            self.streams.renew(&stream, self.expiry).await?;
        }
        self.grant(&stream, end, stream.package().source().warnings.clone())
    }

    /// Ends a stream; every token of it is refused from then on.
    pub async fn revoke(&self, rid: Uuid) -> Result<()> {
        self.streams.end(rid).await
    }

    /// One file of a stream, for the bearer of `token`. Waits for a segment that is not encoded yet.
    ///
    /// # Errors
    /// In this order: the token's, [`Code::StreamGone`], [`Code::NotFound`], and what [`Packager::view`] says.
    pub async fn play(
        &self,
        rid: Uuid,
        token: Option<&str>,
        file: File,
        query: &Query,
    ) -> Result<Asset> {
        let token_end = self.access.check_token(token, rid)?;
        let stream = self.streams.get(rid)?;
        let carried = playlist::Query { container: query.container, token: query.token.as_deref() };
        let hot = self.packager.view(stream.package(), file, carried).await?;
        let keep = match file {
            File::Index | File::Playlist(_) => Keep::Revalidate,
            _ => Keep::Immutable(left(token_end.min(stream.end()))),
        };
        let etag = HeaderValue::from_maybe_shared(hot.etag);
        let etag =
            etag.map_err(|_| Error::new(Code::Internal, "a validator is no header value"))?;
        Ok(Asset { bytes: hot.bytes, gzip: hot.gzip, etag, media_type: file.media_type(), keep })
    }

    /// Whether new work is taken.
    ///
    /// # Errors
    /// [`Code::Busy`], saying why not.
    pub fn ready(&self) -> Result<()> {
        self.refuse_while_draining()?;
        self.packager.ready()
    }

    fn refuse_while_draining(&self) -> Result<()> {
        if self.draining.load(Relaxed) {
            return Err(Error::busy("the broker is about to end", RETRY));
        }
        Ok(())
    }

    /// The process is going to end: new work is refused, playback goes on.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// The package of what is wanted, and what is missing in it.
    async fn open(&self, wanted: &Wanted) -> Result<(Lease, Vec<String>)> {
        let (source, pin) = self.sources.get(wanted).await?;
        let warnings = source.warnings.clone();
        let lease = self.packager.open(source, pin).await?;
        Ok((lease, warnings))
    }

    /// The package of what is wanted once all of the source is there: what is wrong with it has shown itself by then.
    async fn open_whole(&self, wanted: &Wanted) -> Result<Lease> {
        let (lease, _) = self.open(wanted).await?;
        self.packager.fetch(lease.package()).await?;
        Ok(lease)
    }

    fn grant(&self, stream: &Stream, end: i64, warnings: Vec<String>) -> Result<Grant> {
        let token = self.access.sign(stream.rid, end)?;
        Ok(Grant { rid: stream.rid, token, expires_at: instant(end), warnings })
    }
}

fn batch_failed(errors: &[(Wanted, Error)]) -> Error {
    let items: Vec<_> = errors.iter().map(|(wanted, error)| wanted.named(error.json())).collect();
    let text = format!("{} of the batch's media could not be prepared", errors.len());
    Error::new(Code::BatchFailed, text).with("errors", items.into())
}
