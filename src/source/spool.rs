//! A source's bytes in a file, readable while they still arrive.

use std::{
    fs::File,
    io,
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::sync::watch;

use crate::{
    error::{Code, Error, Result},
    library::Stamp,
};

/// How far a download has come.
#[derive(Clone, Debug)]
enum Progress {
    /// This many bytes are there; more are coming.
    Growing(u64),
    /// All bytes are there.
    Whole(u64),
    /// It broke off; nobody gets more.
    Failed(Error),
}

/// One source's file: written once from front to back, read by many at any offset that is there.
///
/// The file outlives its name: who holds a `Spool` reads on while it moves from `tempdir` to `cache.dir`. One that never
/// became whole is removed when the last holder lets go.
#[derive(Debug)]
pub struct Spool {
    file: File,
    path: Mutex<PathBuf>,
    total: Option<u64>,
    progress: watch::Sender<Progress>,
    /// The file stays when this goes.
    kept: AtomicBool,
    /// Of a file that belongs to somebody else, who may change it: what it was when it was opened.
    stamp: Option<Stamp>,
}

impl Spool {
    /// A new empty file at `path` that will hold `total` bytes, if that is known. Removed unless [`Spool::keep`] is
    /// called before it is dropped.
    pub fn create(path: &Path, total: Option<u64>) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        Ok(Self::over(file, path, total, Progress::Growing(0), false))
    }

    /// A whole file that is there from an earlier run.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self::over(file, path, Some(bytes), Progress::Whole(bytes), true))
    }

    /// A whole file that belongs to somebody else, opened when it was `stamp`. It is only read, and by its descriptor:
    /// what was opened is what is read, whatever its name leads to by now.
    pub fn foreign(file: File, stamp: Stamp) -> Self {
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        let whole = Progress::Whole(stamp.size);
        let mut spool = Self::over(file, path.as_ref(), Some(stamp.size), whole, true);
        spool.stamp = Some(stamp);
        spool
    }

    fn over(file: File, path: &Path, total: Option<u64>, at: Progress, kept: bool) -> Self {
        let path = Mutex::new(path.to_owned());
        let (progress, kept) = (watch::Sender::new(at), AtomicBool::new(kept));
        Self { file, path, total, progress, kept, stamp: None }
    }

    /// Length in bytes as the upstream announced it, or as it turned out.
    pub fn total(&self) -> Option<u64> {
        match *self.progress.borrow() {
            Progress::Whole(bytes) => Some(bytes),
            _ => self.total,
        }
    }

    /// Bytes that are there now.
    pub fn available(&self) -> u64 {
        match *self.progress.borrow() {
            Progress::Growing(bytes) | Progress::Whole(bytes) => bytes,
            Progress::Failed(_) => 0,
        }
    }

    /// Whether all bytes are there.
    pub fn is_whole(&self) -> bool {
        matches!(*self.progress.borrow(), Progress::Whole(_))
    }

    /// Why no more bytes will come, if that is so.
    pub fn failure(&self) -> Option<Error> {
        match &*self.progress.borrow() {
            Progress::Failed(error) => Some(error.clone()),
            _ => self.change(),
        }
    }

    /// [`Code::StreamGone`] if this is somebody else's file, and it has been written since it was opened.
    pub fn change(&self) -> Option<Error> {
        let before = self.stamp?;
        let same = Stamp::of(&self.file).is_ok_and(|now| now.is_like(&before));
        (!same).then(gone)
    }

    /// Whether it belongs to somebody else.
    pub fn is_foreign(&self) -> bool {
        self.stamp.is_some()
    }

    /// Where the file is now.
    pub fn path(&self) -> PathBuf {
        self.path.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The open file, for reading at any offset below [`Spool::available`].
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Waits until `bytes` are there or the file is whole, and says how many are.
    ///
    /// # Errors
    /// The fetch's own error when it broke off.
    pub async fn wait_for(&self, bytes: u64) -> Result<u64> {
        let mut progress = self.progress.subscribe();
        let enough = |at: &Progress| !matches!(at, Progress::Growing(have) if *have < bytes);
        // The sender lives in self, so the channel cannot close.
        let at = progress.wait_for(enough).await.map(|at| at.clone());
        match at {
            Ok(Progress::Growing(bytes) | Progress::Whole(bytes)) => Ok(bytes),
            Ok(Progress::Failed(error)) => Err(error),
            Err(_) => Err(Error::new(Code::Internal, "a spool ended without an outcome")),
        }
    }

    /// Appends `bytes` at `at`, the present end. Blocks for the time of a write into the page cache.
    pub fn append(&self, at: u64, bytes: &[u8]) -> io::Result<u64> {
        self.file.write_all_at(bytes, at)?;
        let end = at + bytes.len() as u64;
        self.progress.send_if_modified(|progress| {
            // A write that was under way when the spool failed does not bring it back to life.
            let grows = matches!(progress, Progress::Growing(_));
            if grows {
                *progress = Progress::Growing(end);
            }
            grows
        });
        Ok(end)
    }

    /// All bytes are there: moves the file to `path`, where it stays. One that has failed stays failed.
    pub fn keep(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let mut own = self.path.lock().unwrap_or_else(PoisonError::into_inner);
        if self.failure().is_some() {
            return Ok(());
        }
        if let Err(e) = std::fs::rename(&*own, path) {
            if e.kind() != io::ErrorKind::CrossesDevices {
                return Err(e);
            }
            copy(&own, path)?;
        }
        path.clone_into(&mut own);
        self.kept.store(true, Relaxed);
        self.progress.send_replace(Progress::Whole(bytes));
        Ok(())
    }

    /// No more bytes will come, and those that came are of no use: their room on the disk is free at once, whoever still
    /// holds this; the file goes with the last of them.
    pub fn fail(&self, error: Error) {
        // A move that is under way comes first, or not at all.
        let _path = self.path.lock().unwrap_or_else(PoisonError::into_inner);
        self.progress.send_replace(Progress::Failed(error));
        if self.is_foreign() {
            return;
        }
        self.kept.store(false, Relaxed);
        if let Err(error) = self.file.set_len(0) {
            tracing::warn!(%error, "a broken download keeps its room on the disk for now");
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if !self.kept.load(Relaxed) {
            // It may have been removed by hand; there is nobody left to tell.
            let _ = std::fs::remove_file(self.path());
        }
    }
}

/// Moves a file to another file system. Its new name appears with all bytes or not at all: a crash in between leaves
/// nothing that a later run could take for whole.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let part = to.with_extension("part");
    let copied = std::fs::copy(from, &part).and_then(|_| std::fs::rename(&part, to));
    if copied.is_err() {
        // What is half written only takes room; the first error is the one to tell.
        let _ = std::fs::remove_file(&part);
    }
    copied.and_then(|()| std::fs::remove_file(from))
}

/// Reads `len` bytes at `at`, on a thread where blocking is allowed. Short only at the end of the file.
pub async fn read(spool: &Arc<Spool>, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let spool = spool.clone();
    tokio::task::spawn_blocking(move || {
        let mut buffer = vec![0; len];
        let mut filled = 0;
        while filled < len {
            match spool.file.read_at(&mut buffer[filled..], at + filled as u64)? {
                0 => break,
                n => filled += n,
            }
        }
        buffer.truncate(filled);
        Ok(buffer)
    })
    .await
    .map_err(io::Error::other)?
}

/// What a stream is told whose file is another one now.
pub(super) fn gone() -> Error {
    Error::new(Code::StreamGone, "the file has changed; ask for a new stream")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn readers_follow_the_writer_through_the_move() {
        let dir = tempfile::tempdir().unwrap();
        let (part, kept) = (dir.path().join("a.part"), dir.path().join("a"));
        let spool = Arc::new(Spool::create(&part, Some(6)).unwrap());
        let reader = tokio::spawn({
            let spool = spool.clone();
            async move {
                spool.wait_for(6).await.unwrap();
                read(&spool, 2, 10).await.unwrap()
            }
        });
        let end = spool.append(0, b"abc").unwrap();
        assert_eq!(spool.wait_for(3).await.unwrap(), 3);
        spool.append(end, b"def").unwrap();
        spool.keep(&kept, 6).unwrap();
        assert_eq!(reader.await.unwrap(), b"cdef");
        assert!(spool.is_whole() && !part.exists());
        drop(spool);
        assert!(kept.exists());
    }

    #[tokio::test]
    async fn a_failure_reaches_who_waits_and_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("a.part");
        let spool = Spool::create(&part, None).unwrap();
        spool.append(0, b"abc").unwrap();
        spool.fail(Error::new(Code::UpstreamFailed, "broke off"));
        assert_eq!(spool.wait_for(4).await.unwrap_err().code(), Code::UpstreamFailed);
        assert_eq!(part.metadata().unwrap().len(), 0, "its room is free while it is held");
        spool.append(3, b"def").unwrap();
        spool.keep(&dir.path().join("a"), 6).unwrap();
        assert!(spool.failure().is_some() && !dir.path().join("a").exists());
        drop(spool);
        assert!(!part.exists());
    }

    #[tokio::test]
    async fn one_that_fails_after_it_was_kept_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let (part, kept) = (dir.path().join("a.part"), dir.path().join("a"));
        let spool = Spool::create(&part, None).unwrap();
        spool.append(0, b"abc").unwrap();
        spool.keep(&kept, 3).unwrap();
        spool.fail(Error::new(Code::UnsupportedMedia, "a web page"));
        drop(spool);
        assert!(!part.exists() && !kept.exists());
    }

    #[tokio::test]
    async fn somebody_elses_file_is_read_by_its_descriptor_and_never_harmed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&path, b"abc").unwrap();
        let file = File::open(&path).unwrap();
        let stamp = Stamp::of(&file).unwrap();
        let spool = Arc::new(Spool::foreign(file, stamp));
        std::fs::rename(&path, &other).unwrap();
        assert_eq!(std::fs::read(spool.path()).unwrap(), b"abc");
        assert_eq!(read(&spool, 1, 10).await.unwrap(), b"bc");
        assert!(spool.is_whole() && spool.failure().is_none());
        std::fs::write(&other, b"abcd").unwrap();
        assert_eq!(spool.failure().unwrap().code(), Code::StreamGone);
        spool.fail(Error::new(Code::Internal, "no"));
        drop(spool);
        assert_eq!(std::fs::read(&other).unwrap(), b"abcd");
    }

    #[test]
    fn a_copy_to_another_file_system_is_whole_or_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a.part"), dir.path().join("b"));
        assert!(copy(&from, &to).is_err() && !to.exists());
        std::fs::write(&from, b"abc").unwrap();
        copy(&from, &to).unwrap();
        assert!(!from.exists() && std::fs::read(&to).unwrap() == b"abc");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
