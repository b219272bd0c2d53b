//! Eyes on the library: inotify where it works, a scan every now and then where it does not.
//!
//! One thread, because everything it does is asking the file system. What it is told are hints where to look; what is there
//! is what [`Index`] sees.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use notify::{Config, Event, RecommendedWatcher, RecursiveMode, Watcher};

use super::{
    Catalogue,
    ahead::Queue,
    index::{Change, Index},
};
use crate::{config, metrics::Metrics};

/// How often everything is looked at where inotify does not work.
const SCAN: Duration = Duration::from_secs(10);

/// Hints that wait for the thread; the kernel holds back the next ones.
const HINTS: usize = 1024;

/// A hint.
#[derive(Debug)]
enum Hint {
    /// Something has happened there.
    Place(PathBuf),
    /// Something has happened, who knows where.
    Anywhere,
    /// inotify has come to an end of what it can do.
    Blind(String),
    /// Nobody wants to know any more.
    Stop,
}

/// The thread that watches. It ends when this goes.
#[derive(Debug)]
pub struct Watch(SyncSender<Hint>);

impl Drop for Watch {
    fn drop(&mut self) {
        // A thread that has ended needs no telling, and one that is behind with its hints ends with the process.
        let _ = self.0.try_send(Hint::Stop);
    }
}

impl Watch {
    /// Looks at the whole library once, hands all files to `ahead`, and with `library.watch` goes on from there.
    pub fn start(
        settings: &config::Library,
        catalogue: Arc<Catalogue>,
        ahead: Option<Arc<Queue>>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let (sender, hints) = sync_channel(HINTS);
        let (own, watch, settle) = (sender.clone(), settings.watch, settings.settle);
        let room = Room { catalogue, ahead, metrics, settle };
        std::thread::Builder::new().name("library".into()).spawn(move || {
            // First the eyes, then the look: nothing comes in between.
            let eyes = watch.then(|| eyes(&room, own));
            let index = room.look();
            match eyes {
                None => {}
                Some(Ok(_eyes)) => room.watch(index, &hints, None),
                Some(Err(error)) => {
                    blind(&error.to_string());
                    room.watch(index, &hints, Some(SCAN));
                }
            }
        })?;
        Ok(Self(sender))
    }
}

struct Room {
    catalogue: Arc<Catalogue>,
    ahead: Option<Arc<Queue>>,
    metrics: Arc<Metrics>,
    settle: Duration,
}

impl Room {
    fn look(&self) -> Index {
        let index = Index::new(self.catalogue.library());
        tracing::info!(files = index.files().len(), "the library was looked through");
        if let Some(ahead) = &self.ahead {
            index.files().for_each(|path| ahead.push(path.clone()));
        }
        self.metrics.library_files.set(index.files().len() as i64);
        index
    }

    /// Follows hints, and looks at everything each `scan` if there is one.
    fn watch(&self, mut index: Index, hints: &Receiver<Hint>, mut scan: Option<Duration>) {
        let library = self.catalogue.library();
        let tick = (self.settle / 4).clamp(Duration::from_millis(5), Duration::from_secs(1));
        let (mut scanned, mut settled) = (Instant::now(), Instant::now());
        loop {
            let wait = if index.is_moving() { tick } else { SCAN };
            let hint = hints.recv_timeout(wait);
            let now = Instant::now();
            match hint {
                Ok(Hint::Place(place)) => {
                    for path in library.paths_of(&place) {
                        index.notice(library, &path, now);
                    }
                }
                Ok(Hint::Anywhere) => index.rescan(library, now),
                Ok(Hint::Blind(error)) if scan.is_none() => {
                    blind(&error);
                    scan = Some(SCAN);
                }
                Ok(Hint::Blind(_)) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Hint::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            }
            if scan.is_some_and(|scan| now - scanned >= scan) {
                index.rescan(library, now);
                scanned = Instant::now();
            }
            // Not with every hint: of a folder that is copied there are as many as it has files.
            if now - settled < tick {
                continue;
            }
            settled = now;
            for change in index.settle(library, self.settle, Instant::now()) {
                self.tell(change);
            }
            self.metrics.library_files.set(index.files().len() as i64);
        }
    }

    fn tell(&self, change: Change) {
        let ahead = |path| self.ahead.iter().for_each(|ahead| ahead.push(Clone::clone(path)));
        match change {
            Change::Added(path) => {
                tracing::info!(file = %path, "a file was added to the library");
                ahead(&path);
            }
            Change::Changed(path, before) => {
                tracing::info!(file = %path, "a file of the library has changed");
                ahead(&path);
                self.catalogue.forget(path, before);
            }
            Change::Removed(path, before) => {
                tracing::info!(file = %path, "a file was removed from the library");
                self.catalogue.forget(path, before);
            }
        }
    }
}

fn blind(error: &str) {
    tracing::warn!(%error, "inotify cannot watch all of the library; it is looked through every {} s", SCAN.as_secs());
}

/// inotify on every folder of the library. It works as long as this is held.
fn eyes(room: &Room, hints: SyncSender<Hint>) -> notify::Result<RecommendedWatcher> {
    let handler = move |event: notify::Result<Event>| {
        let hinted = match event {
            Ok(event) if event.need_rescan() => hints.send(Hint::Anywhere),
            // Reading changes nothing, and whoever writes is seen to modify.
            Ok(event) if event.kind.is_access() => Ok(()),
            Ok(event) => {
                event.paths.into_iter().try_for_each(|place| hints.send(Hint::Place(place)))
            }
            Err(error) => hints.send(Hint::Blind(error.to_string())),
        };
        // Nobody listens any more when the process is about to end.
        drop(hinted);
    };
    let config = Config::default().with_follow_symlinks(false);
    let mut eyes = RecommendedWatcher::new(handler, config)?;
    for place in room.catalogue.library().places() {
        eyes.watch(place, RecursiveMode::Recursive)?;
    }
    Ok(eyes)
}
