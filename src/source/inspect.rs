//! What a source is: its header read as it arrives, or all of it where only the end tells.

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicI64},
};

use sha2::{Digest, Sha256};

use super::{
    Origin, Source, Sources,
    cache::Pin,
    probe::{self, Container, Input, Media, Stop},
    spool::Spool,
    unexpected,
    upstream::Validators,
};
use crate::{
    error::{Code, Error, Result},
    library::{self, Stamp},
    time::now,
};

/// How many bytes a probe wants before it looks at all.
const FIRST_LOOK: u64 = 4096;

impl Sources {
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
        let id = hex::encode(Sha256::digest(file.as_os_str().as_encoded_bytes()));
        let pin = Pin::local(&id, spool);
        let media = self.probe(&pin).await?;
        let (warnings, validators) = (Vec::new(), Validators::default());
        let checked = AtomicI64::new(now());
        let source =
            Source { origin: Origin::Local, id, media, captions, warnings, validators, checked };
        Ok((Arc::new(source), pin))
    }

    /// Reads the header as it arrives.
    pub(super) async fn probe(&self, pin: &Pin) -> Result<Media> {
        let spool = pin.spool();
        let mut need = FIRST_LOOK;
        loop {
            spool.wait_for(need).await?;
            let file = spool.clone();
            let look = move || {
                let (whole, have) = (file.is_whole(), file.available());
                let input = Input::file(file.file(), have, file.total(), whole);
                let told = probe::probe(&input);
                let container = match &told {
                    Ok(media) => Some(media.container),
                    Err(Stop::Undetermined(container)) => Some(*container),
                    Err(_) => None,
                };
                (told, container.map_or(Ok(false), |it| probe::is_cut(&input, it)), whole)
            };
            let (told, cut, whole) =
                tokio::task::spawn_blocking(look).await.map_err(|e| unexpected(&e))?;
            need = match told {
                Ok(media) => match cut {
                    Err(Stop::More(more)) if !whole => more.max(need + 1),
                    cut => {
                        warn_of_damage(pin, &media, &cut);
                        return Ok(media);
                    }
                },
                Err(Stop::More(more)) if !whole => more.max(need + 1),
                Err(Stop::Whole) if !whole => u64::MAX,
                Err(Stop::Undetermined(container)) if whole => {
                    let media = self.decode(spool, container).await?;
                    warn_of_damage(pin, &media, &cut);
                    return Ok(media);
                }
                Err(Stop::Undetermined(_)) => u64::MAX,
                Err(Stop::Unsupported(found)) => return Err(unsupported(spool, &found)),
                Err(Stop::Io(kind)) => {
                    return Err(Error::io("reading a source", &kind.into()));
                }
                Err(Stop::More(_) | Stop::Whole) => {
                    return Err(unsupported(spool, "a file that ends before its header does"));
                }
            };
        }
    }

    /// What a listing has found in a file of the library; None where none has.
    pub(super) async fn recall(
        &self,
        pin: &Pin,
        path: &library::Path,
        stamp: Stamp,
    ) -> Option<Media> {
        let media = self.seen.get(path, stamp)?;
        let (file, container) = (pin.spool().clone(), media.container);
        let look = move || {
            let input = Input::file(file.file(), file.available(), file.total(), true);
            probe::is_cut(&input, container)
        };
        let cut = tokio::task::spawn_blocking(look).await.ok()?;
        warn_of_damage(pin, &media, &cut);
        Some(media)
    }

    async fn decode(&self, spool: &Spool, container: Container) -> Result<Media> {
        let (path, limit) = (spool.path(), self.patience);
        probe::last::decode(&self.ffmpeg, &path, container, self.copied, limit)
            .await
            .map_err(|found| unsupported(spool, &found))
    }
}

/// Says what of a source is not as it should be, though it plays.
fn warn_of_damage(pin: &Pin, media: &Media, cut: &Result<bool, Stop>) {
    let source = pin.id();
    if matches!(cut, Ok(true)) {
        let bytes = pin.spool().total();
        tracing::warn!(
            source,
            bytes,
            "a file is shorter than its container says; what is there is played"
        );
    }
    if media.container == Container::Mp4Unedited {
        tracing::warn!(
            source,
            "an edit list leaves nothing or makes no sense; all of them are ignored"
        );
    }
    if media.is_hasty() {
        tracing::warn!(source, "pictures come faster than anybody shows them; most are left out");
    }
    if !media.clock.is_even() {
        let jumps = media.clock.jumps();
        tracing::warn!(
            source,
            jumps,
            "the clock of a transport stream jumps; its parts are played one behind the other"
        );
    }
}

fn unsupported(spool: &Spool, found: &str) -> Error {
    let whose = if spool.is_foreign() { "the file is" } else { "the upstream sent" };
    let text = format!("{whose} {found}, which cannot be played");
    Error::new(Code::UnsupportedMedia, text)
}
