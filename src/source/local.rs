//! A file of the library: opened where it lies, probed, with the captions beside it.

use std::{
    fs::File,
    io::{self, ErrorKind, Read},
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{
    Origin, Source, Sources,
    cache::Pin,
    sources::Outcome,
    spool::{Spool, gone},
    unexpected,
    upstream::Validators,
};
use crate::{
    error::{Code, Error, Result},
    library::{self, Found, Library, Path, Stamp},
    metrics::Metrics,
    time::now,
};

/// When to ask again for a file that is being written.
const RETRY: Duration = Duration::from_secs(2);

/// What captions beside a file end in, the first that is there counting.
const CAPTIONS: [&str; 2] = ["vtt", "srt"];

/// A file that was opened, and the captions seen beside it.
struct Opened {
    file: File,
    stamp: Stamp,
    captions: Option<(Path, Stamp)>,
}

impl Sources {
    /// What a file of the library is, as it is now.
    ///
    /// # Errors
    /// [`Code::MediaNotFound`]; [`Code::UnsupportedMedia`]; [`Code::Busy`] while it is being written.
    pub(super) async fn file(&self, path: &Path) -> Outcome {
        if self.library.is_arriving(path) {
            let text = format!("{path} is still being written; it is there once it stays the same");
            return Err(Error::new(Code::MediaNotFound, text));
        }
        let Opened { file, stamp, captions } =
            self.look(path, open).await?.map_err(|e| library::failed(path, &e))?;
        let id = name(path, &stamp);
        let beside = captions.as_ref().map(|(path, stamp)| name(path, stamp)).unwrap_or_default();
        let key = format!("{id}{beside}");
        if let Some(error) = self.failed.get(&key) {
            return Err(error);
        }
        let pin = Pin::local(&id, Arc::new(Spool::foreign(file, stamp)));
        if let Some(source) = self.known.get(&key) {
            Metrics::count(&self.metrics.source_lookups, "hit");
            return Ok((source, Some(pin)));
        }
        Metrics::count(&self.metrics.source_lookups, "miss");
        let origin = Origin::Library { path: path.clone(), stamp };
        let captions = captions.map(|(path, _)| path);
        self.share(key, |own, _| async move { own.describe(id, origin, pin, captions).await }).await
    }

    async fn describe(
        &self,
        id: String,
        origin: Origin,
        pin: Pin,
        captions: Option<Path>,
    ) -> Outcome {
        let _turn = self.take_turn().await?;
        let seen = match &origin {
            Origin::Library { path, stamp } => self.recall(&pin, path, *stamp).await,
            _ => None,
        };
        let media = match seen {
            Some(media) => Ok(media),
            None => self.probe(&pin).await,
        };
        if pin.spool().change().is_some() {
            return Err(Error::busy(
                "the file is being written; ask again when it is whole",
                RETRY,
            ));
        }
        let media = media?;
        let (captions, warnings) = match self.captions_at(captions).await {
            Ok(captions) => (captions, Vec::new()),
            Err(error) if self.captions.required => return Err(error),
            Err(error) => (None, vec![format!("no captions: {error}")]),
        };
        let (validators, checked) = (Validators::default(), AtomicI64::new(now()));
        let source = Source { origin, id, media, captions, warnings, validators, checked };
        Ok((Arc::new(source), Some(pin)))
    }

    async fn captions_at(&self, path: Option<Path>) -> Result<Option<Bytes>> {
        let Some(path) = path else {
            return Ok(None);
        };
        let most = self.captions.max_size;
        let read = move |library: &Library, path: &Path| {
            let (file, _) = library.open(path)?;
            let mut bytes = Vec::new();
            file.take(most + 1).read_to_end(&mut bytes).map(|_| bytes)
        };
        let bytes = self.look(&path, read).await?.map_err(|e| library::failed(&path, &e))?;
        if bytes.len() as u64 > most {
            let text = format!("{path} is larger than captions.max_size");
            return Err(Error::new(Code::UnsupportedMedia, text));
        }
        let named = |e: Error| Error::new(e.code(), format!("{path}: {e}"));
        self.checked_captions(bytes.into()).await.map(Some).map_err(named)
    }

    /// The bytes of a file that was seen before, if it is still that.
    ///
    /// # Errors
    /// [`Code::StreamGone`] when it has changed since, or is gone.
    pub(super) async fn reopen(&self, id: &str, path: &Path, stamp: &Stamp) -> Result<Pin> {
        let opened = self.look(path, Library::open).await?;
        let (file, now) = match opened {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(library::failed(path, &error));
            }
            Ok((file, now)) if now.is_like(stamp) => (file, now),
            _ => return Err(gone()),
        };
        Ok(Pin::local(id, Arc::new(Spool::foreign(file, now))))
    }

    /// Asks the library on a thread where blocking is allowed.
    async fn look<T: Send + 'static>(
        &self,
        path: &Path,
        ask: impl FnOnce(&Library, &Path) -> io::Result<T> + Send + 'static,
    ) -> Result<io::Result<T>> {
        let (library, path) = (self.library.clone(), path.clone());
        let asked = tokio::task::spawn_blocking(move || ask(&library, &path)).await;
        asked.map_err(|e| unexpected(&e))
    }
}

fn open(library: &Library, path: &Path) -> io::Result<Opened> {
    let (file, stamp) = library.open(path)?;
    let beside = |extension: &&str| {
        let path = path.sibling(extension)?;
        match library.look(&path) {
            Ok(Found::File(stamp)) => Some((path, stamp)),
            _ => None,
        }
    };
    let captions = CAPTIONS.iter().find_map(beside);
    Ok(Opened { file, stamp, captions })
}

/// Names this version of a file: 64 hexadecimal digits.
fn name(path: &Path, stamp: &Stamp) -> String {
    let Stamp { size, modified: (seconds, nanos), inode } = stamp;
    let mut hash = Sha256::new();
    hash.update(size.to_be_bytes());
    hash.update(seconds.to_be_bytes());
    hash.update(nanos.to_be_bytes());
    hash.update(inode.to_be_bytes());
    hash.update(path.as_str());
    hex::encode(hash.finalize())
}
