//! What of the library can be played: listed page by page, with kind and length.
//!
//! A listing never waits for long: what was not looked into before, and is not told within a moment, is listed by its name
//! and looked into behind the reply, so that the next listing knows it. [`watch`] notices what comes, changes and goes,
//! [`ahead`] packages it before anybody asks.

pub mod ahead;
mod index;
pub mod kind;
pub mod watch;

use std::{
    cmp::Ordering,
    io::ErrorKind,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use tokio::{
    sync::Semaphore,
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use self::kind::{Kind, Told, tell};
use crate::{
    error::{Code, Error, Result},
    library::{Child, Found, Library, Path, Stamp},
    source::seen::Seen,
};

/// Entries of one page.
pub const PAGE: usize = 1000;

/// How long a listing waits for what it does not know.
const PATIENCE: Duration = Duration::from_millis(250);

/// Files that are looked into at once.
const LOOKS: usize = 2;

/// Files that wait to be looked into; more are left to a later listing.
const WAITING: usize = 4 * PAGE;

/// Files of which it is remembered what they are.
const KNOWN: u64 = 100_000;

/// A folder or a file, as it is listed.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Where it is.
    pub path: Path,
    /// When it was written last.
    pub modified: SystemTime,
    /// What it is, if it is a file.
    pub file: Option<File>,
}

/// A file, as it is listed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct File {
    /// Sound or pictures.
    pub kind: Kind,
    /// Seconds, if they are known.
    pub duration: Option<f64>,
    /// Bytes.
    pub size: u64,
}

/// A part of a folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Folders first, then files, each by name.
    pub entries: Vec<Entry>,
    /// The name after which the next page begins, if there is one.
    pub next: Option<String>,
}

/// The library, as backends see it.
pub struct Catalogue {
    library: Arc<Library>,
    seen: Arc<Seen>,
    known: moka::sync::Cache<(Path, Stamp), Told>,
    looks: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// A name in a folder: folders come before files.
#[derive(Debug, PartialEq, Eq)]
struct Name {
    path: Path,
    is_folder: bool,
}

impl Name {
    fn compare(&self, is_folder: bool, name: &str) -> Ordering {
        (!self.is_folder, self.path.name()).cmp(&(!is_folder, name))
    }
}

impl Catalogue {
    /// The catalogue of this library; what it finds in its files is remembered in `seen`.
    pub fn new(library: Arc<Library>, seen: Arc<Seen>) -> Arc<Self> {
        let known = moka::sync::Cache::new(KNOWN);
        let (looks, waiting) = (Arc::new(Semaphore::new(LOOKS)), AtomicUsize::new(0));
        Arc::new(Self { library, seen, known, looks, waiting })
    }

    /// The files that it is made of.
    pub fn library(&self) -> &Arc<Library> {
        &self.library
    }

    /// At most `limit` entries of a folder, of the whole library's top without one, that come after the name `after`.
    ///
    /// # Errors
    /// [`Code::NotFound`].
    pub async fn list(
        self: &Arc<Self>,
        folder: Option<Path>,
        after: Option<String>,
        limit: usize,
    ) -> Result<Page> {
        let end = Instant::now() + PATIENCE;
        let limit = limit.clamp(1, PAGE);
        let mut names = self.names(folder, after).await?.into_iter();
        let mut entries = Vec::new();
        let mut last = None;
        while entries.len() < limit {
            let some: Vec<_> = names.by_ref().take(limit - entries.len()).collect();
            let Some(name) = some.last() else {
                return Ok(Page { entries, next: None });
            };
            last = Some(name.path.name().to_owned());
            entries.extend(self.describe(some, end).await?);
        }
        Ok(Page { entries, next: last.filter(|_| names.len() > 0) })
    }

    /// Forgets what a file was.
    pub fn forget(&self, path: Path, stamp: Stamp) {
        self.known.invalidate(&(path, stamp));
    }

    /// The names in a folder that can be media, in order, beginning behind `after`.
    async fn names(&self, folder: Option<Path>, after: Option<String>) -> Result<Vec<Name>> {
        let library = self.library.clone();
        blocking(move || {
            let named = |path, is_folder| Name { path, is_folder };
            let mut names: Vec<_> = match &folder {
                None => library.tops().map(|path| named(path, true)).collect(),
                Some(folder) => {
                    let listed = library.list(folder).map_err(|e| unlisted(folder, &e))?;
                    let path =
                        |child: Child| Some(named(folder.join(&child.name).ok()?, child.is_folder));
                    listed.into_iter().filter_map(path).collect()
                }
            };
            let is_media =
                |path: &Path| Kind::by_name(path).is_some() && !library.is_arriving(path);
            names.retain(|name| name.is_folder || is_media(&name.path));
            names.sort_by(|a, b| a.compare(b.is_folder, b.path.name()));
            let Some(after) = after else { return Ok(names) };
            // One that has gone since was a file if it has a file's name.
            let is_file = Path::parse(&after).is_ok_and(|name| Kind::by_name(&name).is_some());
            let is_there = names.iter().any(|name| name.is_folder && name.path.name() == after);
            let is_folder = is_there || !is_file;
            let first = names.partition_point(|name| name.compare(is_folder, &after).is_le());
            Ok(names.split_off(first))
        })
        .await?
    }

    /// What has these names. What has gone since, or is no media, is left out.
    async fn describe(self: &Arc<Self>, names: Vec<Name>, end: Instant) -> Result<Vec<Entry>> {
        let library = self.library.clone();
        let look = move |Name { path, .. }| library.look(&path).ok().map(|found| (path, found));
        let found: Vec<_> = blocking(move || names.into_iter().filter_map(look).collect()).await?;
        let mut looks = Vec::with_capacity(found.len());
        for (path, found) in found {
            let look = match found {
                Found::Folder(_) => None,
                Found::File(stamp) => Some(self.look(&path, stamp)),
            };
            looks.push((path, found, look));
        }
        let mut entries = Vec::with_capacity(looks.len());
        for (path, found, look) in looks {
            let (stamp, file) = match found {
                Found::Folder(stamp) => (stamp, None),
                Found::File(stamp) => {
                    let Some((kind, duration)) = told(look, &path, end).await else { continue };
                    (stamp, Some(File { kind, duration, size: stamp.size }))
                }
            };
            entries.push(Entry { path, modified: stamp.time(), file });
        }
        Ok(entries)
    }

    /// What is known of a file, or the look that has begun.
    fn look(self: &Arc<Self>, path: &Path, stamp: Stamp) -> Look {
        let key = (path.clone(), stamp);
        if let Some(told) = self.known.get(&key) {
            return Look::Known(told);
        }
        if self.waiting.fetch_add(1, Relaxed) >= WAITING {
            self.waiting.fetch_sub(1, Relaxed);
            return Look::Later;
        }
        let own = self.clone();
        Look::Begun(tokio::spawn(async move {
            let told = own.look_into(key).await;
            own.waiting.fetch_sub(1, Relaxed);
            told
        }))
    }

    async fn look_into(&self, key: (Path, Stamp)) -> Option<Told> {
        let turn = self.looks.clone().acquire_owned().await.ok()?;
        let (library, seen) = (self.library.clone(), self.seen.clone());
        let known = self.known.clone();
        let look = move || {
            let told = known.optionally_get_with_by_ref(&key, || tell(&library, &seen, &key.0));
            // The turn is over when the file was read, whoever still waits for it.
            drop(turn);
            told
        };
        blocking(look).await.ok()?
    }
}

enum Look {
    Known(Told),
    Begun(JoinHandle<Option<Told>>),
    /// Too many others wait.
    Later,
}

/// Kind and length of a file, by its name where nothing was told in time; none for what is no media.
async fn told(look: Option<Look>, path: &Path, end: Instant) -> Option<(Kind, Option<f64>)> {
    let told = match look {
        Some(Look::Known(told)) => Some(told),
        Some(Look::Begun(task)) => timeout_at(end, task).await.ok().and_then(Result::ok).flatten(),
        Some(Look::Later) | None => None,
    };
    match told {
        Some(Told::Media(kind, duration)) => Some((kind, duration)),
        Some(Told::Nothing) => None,
        None => Kind::by_name(path).map(|kind| (kind, None)),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Error::new(Code::Internal, format!("a task ended unexpectedly: {e}")))
}

fn unlisted(folder: &Path, error: &std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => {
            Error::new(Code::NotFound, format!("the library has no folder {folder}"))
        }
        _ => Error::io(format!("listing {folder} of the library"), error),
    }
}

#[cfg(test)]
mod tests;
