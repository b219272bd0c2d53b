//! The directories of one process, and the room that is left in them.
//!
//! Two measures of disk use stand side by side. A [`Room`] is bookkeeping: whoever is about to write reserves first,
//! so that a limit is kept rather than noticed. [`Usage`] is what the disk really holds, foreign files included; the
//! watchdog reads it.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use sysinfo::{DiskRefreshKind, Disks};

use crate::error::{Code, Error, Result};

/// A directory that this process alone uses, until it is dropped.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Creates `path` where it is missing (readable by the owner only), checks that it can be written, and locks it.
    /// `key` is the setting that names it.
    ///
    /// # Errors
    /// [`Code::Config`] when it cannot be created or written; [`Code::Unavailable`] when another process holds it.
    pub fn open(key: &str, path: &Path) -> Result<Self> {
        let unusable = |e: io::Error| {
            let text = format!(
                "{key}: {}: {e}; it has to be a directory that can be written",
                path.display()
            );
            Error::new(Code::Config, text)
        };
        if !path.exists() {
            fs::create_dir_all(path).map_err(unusable)?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(unusable)?;
        }
        let path = path.canonicalize().map_err(unusable)?;
        let lock = File::open(&path).map_err(unusable)?;
        if lock.try_lock().is_err() {
            let text = format!("{key}: {} is held by another process", path.display());
            return Err(Error::new(Code::Unavailable, text));
        }
        let trial = path.join(".trial");
        fs::write(&trial, b"").and_then(|()| fs::remove_file(&trial)).map_err(unusable)?;
        Ok(Self { path, _lock: lock })
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes everything in it.
    pub fn clear(&self) -> Result<()> {
        let doing = || format!("emptying {}", self.path.display());
        for entry in fs::read_dir(&self.path).map_err(|e| Error::io(doing(), &e))? {
            entry.and_then(|entry| remove(&entry.path())).map_err(|e| Error::io(doing(), &e))?;
        }
        Ok(())
    }
}

/// Removes a file or a whole directory; links are removed, not followed.
pub fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

/// A number of bytes that may be used, and how many are spoken for.
#[derive(Debug)]
pub struct Room {
    limit: u64,
    used: AtomicU64,
}

impl Room {
    /// Room for `limit` bytes.
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicU64::new(0) })
    }

    /// The limit in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes spoken for.
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Takes `bytes` if they fit below `share` of the limit (0 to 1).
    pub fn reserve(self: &Arc<Self>, bytes: u64, share: f64) -> Option<Reservation> {
        let bound = (self.limit as f64 * share) as u64;
        let fits = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= bound);
        self.used.try_update(Relaxed, Relaxed, fits).ok()?;
        Some(Reservation { room: self.clone(), bytes })
    }

    /// Takes `bytes` whether they fit or not: they are on the disk already.
    pub fn occupy(self: &Arc<Self>, bytes: u64) -> Reservation {
        self.used.fetch_add(bytes, Relaxed);
        Reservation { room: self.clone(), bytes }
    }
}

/// Bytes of a [`Room`] that are spoken for, until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    room: Arc<Room>,
    bytes: u64,
}

impl Reservation {
    /// Makes it `bytes`, more or less than before, whether they fit or not.
    pub fn resize(&mut self, bytes: u64) {
        self.room.used.fetch_add(bytes, Relaxed);
        self.room.used.fetch_sub(self.bytes, Relaxed);
        self.bytes = bytes;
    }

    /// Adds `bytes` if they fit below `share` of the limit; says whether they did.
    pub fn grow(&mut self, bytes: u64, share: f64) -> bool {
        let more = self.room.reserve(bytes, share);
        more.map(|more| self.absorb(more)).is_some()
    }

    /// Takes over what another one of the same room holds.
    pub fn absorb(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Gives back `bytes`, or all that it holds.
    pub fn shrink(&mut self, bytes: u64) {
        self.resize(self.bytes.saturating_sub(bytes));
    }

    /// How many bytes it holds.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.room.used.fetch_sub(self.bytes, Relaxed);
    }
}

/// Bytes that a directory tree really holds, measured again and again at little cost.
///
/// A directory's change time moves when an entry comes, goes or is renamed, so one that did not change is not listed
/// again: with thousands of packages a look costs one `stat` each. [`Usage::FULL`] looks apart everything is listed,
/// which finds files that grew in place.
#[derive(Debug, Default)]
pub struct Usage {
    folders: HashMap<PathBuf, Folder>,
    looks: u32,
}

#[derive(Debug)]
struct Folder {
    changed: (i64, i64),
    bytes: u64,
    children: Vec<PathBuf>,
}

impl Usage {
    /// Every how many looks the whole tree is listed.
    pub const FULL: u32 = 30;

    /// Bytes below `root` now: the larger of a file's length and its blocks, as a quota would count them.
    pub fn measure(&mut self, root: &Path) -> io::Result<u64> {
        if self.looks.is_multiple_of(Self::FULL) {
            self.folders.clear();
        }
        self.looks = self.looks.wrapping_add(1);
        // The root's own files may grow in place (something put there by hand): always list it.
        self.folders.remove(root);
        self.folder(root)
    }

    fn folder(&mut self, path: &Path) -> io::Result<u64> {
        let meta = fs::symlink_metadata(path)?;
        let changed = (meta.mtime(), meta.mtime_nsec());
        if self.folders.get(path).is_none_or(|known| known.changed != changed) {
            let mut folder = Folder { changed, bytes: 0, children: Vec::new() };
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                match entry.metadata() {
                    Ok(meta) if meta.is_dir() => folder.children.push(entry.path()),
                    Ok(meta) => folder.bytes += meta.len().max(meta.blocks() * 512),
                    // It went away between listing and looking.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(e),
                }
            }
            self.folders.insert(path.to_owned(), folder);
        }
        let Some(folder) = self.folders.get(path) else {
            return Ok(0);
        };
        let (mut bytes, children) = (folder.bytes, folder.children.clone());
        for child in children {
            match self.folder(&child) {
                Ok(more) => bytes += more,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    self.folders.remove(&child);
                }
                Err(e) => return Err(e),
            }
        }
        Ok(bytes)
    }
}

/// Bytes that an unprivileged process may still write on the file system that holds `path`; None when the system
/// does not say.
pub fn free(path: &Path) -> Option<u64> {
    let what = DiskRefreshKind::nothing().with_storage();
    let disks = Disks::new_with_refreshed_list_specifics(what).ok()?;
    let holds = |mount: &Path| path.starts_with(mount).then(|| mount.components().count());
    disks
        .iter()
        .filter_map(|disk| Some((holds(disk.mount_point())?, disk.available_space())))
        .max_by_key(|&(depth, _)| depth)
        .map(|(_, bytes)| bytes)
}

/// When a file or directory was last changed; the epoch when the system does not say.
pub fn changed(path: &Path) -> SystemTime {
    fs::metadata(path).and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_by_one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/deep");
        let held = Directory::open("cache.dir", &path).unwrap();
        let error = Directory::open("cache.dir", &path).unwrap_err();
        assert_eq!(error.code(), Code::Unavailable);
        drop(held);
        Directory::open("cache.dir", &path).unwrap();
    }

    #[test]
    fn a_file_in_the_way_is_named_with_its_key() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Directory::open("cache.static", &file.path().join("x")).unwrap_err();
        assert_eq!(error.code(), Code::Config);
        assert!(error.to_string().starts_with("cache.static: "), "{error}");
    }

    #[test]
    fn reservations_add_up_and_come_back() {
        let room = Room::new(100);
        let mut first = room.reserve(60, 0.8).unwrap();
        assert!(room.reserve(30, 0.8).is_none());
        assert!(room.reserve(u64::MAX, 1.0).is_none());
        assert!(first.grow(40, 1.0) && !first.grow(1, 1.0));
        first.resize(10);
        let forced = room.occupy(500);
        assert_eq!(room.used(), 510);
        first.absorb(room.occupy(30));
        assert_eq!((room.used(), first.bytes()), (540, 40));
        first.shrink(15);
        assert_eq!((room.used(), first.bytes()), (525, 25));
        first.shrink(100);
        assert_eq!((room.used(), first.bytes()), (500, 0));
        drop((first, forced));
        assert_eq!(room.used(), 0);
    }

    #[test]
    fn usage_sees_what_comes_and_goes() {
        let dir = tempfile::tempdir().unwrap();
        let package = dir.path().join("package");
        fs::create_dir(&package).unwrap();
        let mut usage = Usage::default();
        assert_eq!(usage.measure(dir.path()).unwrap(), 0);
        fs::write(package.join("a"), vec![0; 10_000]).unwrap();
        fs::write(dir.path().join("foreign"), vec![0; 5_000]).unwrap();
        assert!(usage.measure(dir.path()).unwrap() >= 15_000);
        fs::write(dir.path().join("foreign"), vec![0; 50_000]).unwrap();
        assert!(usage.measure(dir.path()).unwrap() >= 60_000);
        fs::remove_dir_all(&package).unwrap();
        fs::remove_file(dir.path().join("foreign")).unwrap();
        assert_eq!(usage.measure(dir.path()).unwrap(), 0);
    }

    #[test]
    fn free_space_is_told_for_a_path_below_a_mount() {
        assert!(free(&std::env::temp_dir()).is_some_and(|bytes| bytes > 0));
    }
}
