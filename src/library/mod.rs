//! Files of this machine that the operator has opened up: `library.dirs`, and nothing outside of them.
//!
//! Two walls: a [`Path`] has no spelling that leads upwards, and what it names is opened by the system below the directory
//! and nowhere else, whatever the links on the way say (`openat2` with `RESOLVE_BENEATH`, through cap-std, which walks part
//! by part where the kernel lacks it). Only regular files are opened. A link that stays within its directory works.

mod path;

use std::{
    collections::HashSet,
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt,
    path::{Path as Place, PathBuf},
    sync::{PoisonError, RwLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use cap_std::{
    ambient_authority,
    fs::{Dir, Metadata, MetadataExt as _, OpenOptions, OpenOptionsExt},
};
use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};

pub use self::path::Path;
use crate::error::{Code, Error};

/// The last second of the year 9999.
const LATEST: i64 = 253_402_300_799;

/// Which version of a file it is, as far as that can be told without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// When it was written last: seconds since the epoch, and nanoseconds.
    pub modified: (i64, u32),
    /// Its number in its file system.
    pub inode: u64,
}

impl Stamp {
    /// The stamp of an open file.
    pub fn of(file: &File) -> io::Result<Self> {
        let meta = file.metadata()?;
        let modified = (meta.mtime(), meta.mtime_nsec() as u32);
        Ok(Self { size: meta.len(), modified, inode: meta.ino() })
    }

    fn from(meta: &Metadata) -> Self {
        let modified = (meta.mtime(), meta.mtime_nsec() as u32);
        Self { size: meta.len(), modified, inode: meta.ino() }
    }

    /// Whether both are of the same bytes, as far as size and time tell: a copy that kept its time is.
    pub fn is_like(&self, other: &Self) -> bool {
        (self.size, self.modified) == (other.size, other.modified)
    }

    /// When it was written last, within the years 1970 to 9999: a file's time can be any.
    pub fn time(&self) -> SystemTime {
        let (seconds, nanos) = self.modified;
        let seconds = seconds.clamp(0, LATEST).cast_unsigned();
        UNIX_EPOCH + Duration::new(seconds, nanos.min(999_999_999))
    }
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A folder.
    Folder(Stamp),
    /// A regular file.
    File(Stamp),
}

/// Something in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Child {
    /// Its name there.
    pub name: String,
    /// Whether it is a folder; else it is a file.
    pub is_folder: bool,
    /// Whether it lies somewhere else in its directory, and this is a link to it.
    pub is_link: bool,
}

/// The directories of `library.dirs`.
#[derive(Debug, Default)]
pub struct Library {
    /// By name, in order.
    roots: Vec<Root>,
    /// Files that are still being written, as far as somebody watches.
    arriving: RwLock<HashSet<Path>>,
}

/// One of them.
#[derive(Debug)]
struct Root {
    name: String,
    path: PathBuf,
}

impl Library {
    /// A library of these directories, whose last parts differ; one without a last part is left out.
    pub fn new(dirs: &[PathBuf]) -> Self {
        let root = |path: &PathBuf| {
            let name = path.file_name()?.to_str()?.to_owned();
            Some(Root { name, path: path.clone() })
        };
        let mut roots: Vec<_> = dirs.iter().filter_map(root).collect();
        roots.sort_by(|a, b| a.name.cmp(&b.name));
        Self { roots, arriving: RwLock::default() }
    }

    /// Whether there is no directory in it.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// The folders at the top.
    pub fn tops(&self) -> impl Iterator<Item = Path> {
        self.roots.iter().filter_map(|root| Path::parse(&root.name).ok())
    }

    /// The folders at the top, each with where it really lies; those that are not there now are left out.
    pub fn places(&self) -> impl Iterator<Item = (Path, PathBuf)> {
        let place = |(path, root): (Path, &Root)| Some((path, root.path.canonicalize().ok()?));
        self.tops().zip(&self.roots).filter_map(place)
    }

    /// Says that a new file is still being written, or no more.
    pub fn set_arriving(&self, path: &Path, arriving: bool) {
        let mut paths = self.arriving.write().unwrap_or_else(PoisonError::into_inner);
        if arriving {
            paths.insert(path.clone());
        } else {
            paths.remove(path);
        }
    }

    /// Whether a file is known to be still being written: it is not there yet for those who want to play it.
    pub fn is_arriving(&self, path: &Path) -> bool {
        self.arriving.read().unwrap_or_else(PoisonError::into_inner).contains(path)
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for what is not there, hidden, outside, or no regular file.
    pub fn open(&self, path: &Path) -> io::Result<(File, Stamp)> {
        let (root, rest) = self.root(path)?;
        // Before it is opened: opening a device can do things.
        if !root.beneath(rest, |dir, rest| dir.metadata(rest))?.is_file() {
            return Err(ErrorKind::NotFound.into());
        }
        let mut options = OpenOptions::new();
        // A pipe that takes the file's place in between is not waited for.
        options.read(true).custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits());
        let file = root.beneath(rest, |dir, rest| dir.open_with(rest, &options))?.into_std();
        let is_file = file.metadata()?.is_file();
        let stamp = Stamp::of(&file)?;
        if is_file { Ok((file, stamp)) } else { Err(ErrorKind::NotFound.into()) }
    }

    /// What is there.
    ///
    /// # Errors
    /// As [`Library::open`]; a folder is no error.
    pub fn look(&self, path: &Path) -> io::Result<Found> {
        let (root, rest) = self.root(path)?;
        let meta = root.beneath(rest, |dir, rest| dir.metadata(rest))?;
        match Stamp::from(&meta) {
            stamp if meta.is_dir() => Ok(Found::Folder(stamp)),
            stamp if meta.is_file() => Ok(Found::File(stamp)),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    /// What is in a folder, in no order. Left out is what is hidden, what has a name that no
    /// [`Path`] can have, links that lead outside, and what is neither file nor folder.
    ///
    /// # Errors
    /// As [`Library::open`].
    pub fn list(&self, folder: &Path) -> io::Result<Vec<Child>> {
        let (root, rest) = self.root(folder)?;
        let mut children = Vec::new();
        for entry in root.beneath(rest, |dir, rest| dir.read_dir(rest))? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let Ok(path) = folder.join(&name) else { continue };
            if name.starts_with('.') {
                continue;
            }
            // What goes meanwhile is not there.
            let Ok(kind) = entry.file_type() else { continue };
            let is_link = kind.is_symlink();
            let is_folder = if is_link {
                self.look(&path).ok().map(|found| matches!(found, Found::Folder(_)))
            } else {
                (kind.is_dir() || kind.is_file()).then_some(kind.is_dir())
            };
            children.extend(is_folder.map(|is_folder| Child { name, is_folder, is_link }));
        }
        Ok(children)
    }

    fn root<'a>(&self, path: &'a Path) -> io::Result<(&Root, &'a str)> {
        let (name, rest) = path.split();
        let root = self.roots.iter().find(|root| root.name == name && !path.is_hidden());
        let rest = if rest.is_empty() { "." } else { rest };
        root.map(|root| (root, rest)).ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Root {
    /// Does something to `rest` below this directory. What leads outside is not found.
    fn beneath<T>(&self, rest: &str, act: impl Fn(&Dir, &Place) -> io::Result<T>) -> io::Result<T> {
        // Opened anew each time: a disk may be mounted there after the start.
        let dir = Dir::open_ambient_dir(&self.path, ambient_authority()).map_err(absent)?;
        let acted = act(&dir, rest.as_ref());
        if !acted.as_ref().is_err_and(escapes) {
            return acted.map_err(absent);
        }
        // The system takes any absolute link for an escape. Where it ends inside, that end is acted upon, by the same rules.
        let root = self.path.canonicalize().map_err(absent)?;
        let end = root.join(rest).canonicalize().map_err(absent)?;
        let end = end.strip_prefix(&root).map_err(|_| ErrorKind::NotFound)?;
        let end = if end.as_os_str().is_empty() { Place::new(".") } else { end };
        act(&dir, end).map_err(absent)
    }
}

/// Whether the sandbox, rather than the system, said no.
fn escapes(error: &io::Error) -> bool {
    error.kind() == ErrorKind::PermissionDenied && error.raw_os_error().is_none()
}

/// All that makes a path name nothing here is one error: a stranger learns nothing of what lies outside.
fn absent(error: io::Error) -> io::Error {
    use nix::libc::{
        EACCES, EINVAL, ELOOP, ENAMETOOLONG, ENODEV, ENOENT, ENOTDIR, ENXIO, EPERM, EXDEV,
    };
    let here = [EACCES, EINVAL, ELOOP, ENAMETOOLONG, ENODEV, ENOENT, ENOTDIR, ENXIO, EPERM, EXDEV];
    match error.raw_os_error() {
        Some(code) if !here.contains(&code) => error,
        _ => {
            tracing::debug!(%error, "something is not there, or nobody's to have");
            ErrorKind::NotFound.into()
        }
    }
}

/// What a failed look or open means to a caller: not there, or the machine's fault.
pub fn failed(path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => {
            let text = format!("the library has no file {path}");
            Error::new(Code::MediaNotFound, text)
        }
        _ => Error::io(format!("reading {path} of the library"), error),
    }
}

#[cfg(test)]
mod tests;
