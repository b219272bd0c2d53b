//! Eyes on the library: inotify where it works, a scan every now and then where it does not.
//!
//! One thread, because everything it does is asking the file system. What it is told are hints where to look; what is there
//! is what [`Index`] sees.

use std::{
    io,
    path::{Path as Place, PathBuf},
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
use crate::{config, library::Path, metrics::Metrics};

/// How often everything is looked at where inotify does not work.
const SCAN: Duration = Duration::from_secs(10);

/// How many times longer than a look at everything the pause after it is at least.
const SPARING: u32 = 20;

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
            let places: Vec<_> = room.catalogue.library().places().collect();
            let eyes = watch.then(|| eyes(&places, own));
            let index = room.look();
            match eyes {
                None => {}
                Some(Ok(_eyes)) => room.watch(index, &places, &hints, None),
                Some(Err(error)) => {
                    blind(&error.to_string());
                    room.watch(index, &places, &hints, Some(SCAN));
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
    fn watch(
        &self,
        mut index: Index,
        places: &[(Path, PathBuf)],
        hints: &Receiver<Hint>,
        mut scan: Option<Duration>,
    ) {
        let library = self.catalogue.library();
        let tick = (self.settle / 4).clamp(Duration::from_millis(5), Duration::from_secs(1));
        let (mut scanned, mut next) = (Instant::now(), Instant::now());
        loop {
            let wait = if index.is_moving() { tick } else { scan.unwrap_or(SCAN) };
            let hint = hints.recv_timeout(wait);
            let now = Instant::now();
            match hint {
                Ok(Hint::Place(place)) => {
                    for path in paths_of(&place, places) {
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
            if let Some(pause) = scan
                && now - scanned >= pause
            {
                index.rescan(library, now);
                scanned = Instant::now();
                // A large library on a slow disk is not to be looked at all the time.
                scan = Some(pause.max((scanned - now) * SPARING));
            }
            // Not with every hint: of a folder that is copied there are as many as it has files.
            if now < next {
                continue;
            }
            for change in index.settle(library, self.settle, Instant::now()) {
                self.tell(change);
            }
            next = Instant::now() + tick.max(now.elapsed());
            self.metrics.library_files.set(index.files().len() as i64);
        }
    }

    fn tell(&self, change: Change) {
        match change {
            Change::Added(path) => {
                tracing::info!(file = %path, "a file was added to the library");
                self.push(path);
            }
            Change::Changed(path, before) => {
                tracing::info!(file = %path, "a file of the library has changed");
                self.catalogue.forget(path.clone(), before);
                self.push(path);
            }
            Change::Removed(path, before) => {
                tracing::info!(file = %path, "a file was removed from the library");
                self.catalogue.forget(path, before);
            }
        }
    }

    fn push(&self, path: Path) {
        if let Some(ahead) = &self.ahead {
            ahead.push(path);
        }
    }
}

fn blind(error: &str) {
    tracing::warn!(%error, "inotify cannot watch all of the library; it is looked through every {} s", SCAN.as_secs());
}

/// The library's paths of a place in the file system: several where its directories overlap.
fn paths_of<'a>(place: &'a Place, places: &'a [(Path, PathBuf)]) -> impl Iterator<Item = Path> {
    places.iter().filter_map(|(top, root)| match place.strip_prefix(root).ok()?.to_str()? {
        "" => Some(top.clone()),
        rest => Path::parse(&format!("{top}/{rest}")).ok(),
    })
}

/// inotify on every folder of the library. It works as long as this is held.
fn eyes(places: &[(Path, PathBuf)], hints: SyncSender<Hint>) -> notify::Result<RecommendedWatcher> {
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
    for (_, place) in places {
        eyes.watch(place, RecursiveMode::Recursive)?;
    }
    Ok(eyes)
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::mpsc::sync_channel};

    use tempfile::TempDir;

    use super::*;
    use crate::{library::Library, source::seen::Seen};

    #[tokio::test]
    async fn where_inotify_does_not_work_a_scan_finds_the_same() {
        let dir = TempDir::new().unwrap();
        let top = dir.path().join("music");
        fs::create_dir(&top).unwrap();
        let library = Arc::new(Library::new(std::slice::from_ref(&top)));
        let queue = Arc::<Queue>::default();
        let room = Room {
            catalogue: Catalogue::new(library.clone(), Seen::new()),
            ahead: Some(queue.clone()),
            metrics: Arc::default(),
            settle: Duration::from_millis(20),
        };
        let (stop, hints) = sync_channel(1);
        let index = room.look();
        let watching = std::thread::spawn(move || {
            room.watch(index, &[], &hints, Some(Duration::from_millis(5)));
        });
        for name in ["music/a.wav", "music/b.wav"] {
            fs::write(dir.path().join(name), "x").unwrap();
            assert_eq!(queue.next().await.as_str(), name);
        }
        stop.send(Hint::Stop).unwrap();
        watching.join().unwrap();
    }

    #[test]
    fn places_become_paths() {
        let path = |text: &str| Path::parse(text).unwrap();
        let places = [(path("films"), "/m/films".into()), (path("new"), "/m/films/new".into())];
        let paths =
            |place: &str| paths_of(place.as_ref(), &places).map(String::from).collect::<Vec<_>>();
        assert_eq!(paths("/m/films/new/a.mp4"), ["films/new/a.mp4", "new/a.mp4"]);
        assert_eq!(paths("/m/films"), ["films"]);
        assert!(paths("/m/films2/a.mp4").is_empty() && paths("/").is_empty());
    }
}
