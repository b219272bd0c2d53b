//! Packages on disk and their hot files in memory: the one room that knows that segments are files.
//!
//! A package is a folder named by its key:
//!
//! | file | is |
//! | --- | --- |
//! | `package.json` | what it was made from, and the plan |
//! | `captions` | the captions as they came, if there are any |
//! | `a0-<n>.m4s` | the segments that are encoded; complete from the moment they have this name |
//! | `peaks.json`, `storyboard-<n>.jpg` | the extras that somebody has asked for |
//! | `manifest.json` | written last: the package is complete |

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::{
    file::{File, Format, Kind, Track},
    fmp4,
    table::SegmentTable,
};
use crate::disk;

/// Begins the name of a file that is being written.
const TEMPORARY: &str = ".new-";

/// Begins the name of a package that is being removed.
const REMOVED: &str = ".removed-";

/// Names a package: the same source, plan and encoder have the same key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 16]);

impl Key {
    /// The key of everything that makes a package what it is.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut key = [0; 16];
        key.copy_from_slice(&hash.finalize()[..16]);
        Self(key)
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Key {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut key = [0; 16];
        if text.len() != 32 || !text.is_ascii() {
            return Err(());
        }
        for (byte, at) in key.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(drop)?;
        }
        Ok(Self(key))
    }
}

/// What completes a package.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Bytes of all its segments.
    pub bytes: u64,
    /// Frames of silence that were appended where the source ended before its header's promise.
    pub silence: u64,
}

/// What a look into a package's folder finds.
#[derive(Debug)]
pub struct Found {
    /// Which segments are there.
    pub ready: Vec<bool>,
    /// Their bytes.
    pub bytes: u64,
    /// The manifest of a complete package.
    pub manifest: Option<Manifest>,
}

/// A file as it is held in memory and sent.
#[derive(Clone, Debug)]
pub struct Hot {
    /// The whole file.
    pub bytes: Bytes,
    /// The same, gzipped, where that is worth it.
    pub gzip: Option<Bytes>,
    /// A strong validator of `bytes`, in quotes.
    pub etag: Bytes,
}

impl Hot {
    /// A file with the validator of its content.
    pub fn new(bytes: Bytes) -> Self {
        let etag = format!("\"{}\"", hex::encode(&Sha256::digest(&bytes)[..12])).into();
        Self { bytes, gzip: None, etag }
    }
}

/// The folder of all packages.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    sequence: AtomicU64,
}

impl Store {
    /// The packages below `root`, which exists.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), sequence: AtomicU64::new(0) }
    }

    /// Makes the folder of a package and says in it what it is.
    pub async fn create<D: Serialize>(
        self: &Arc<Self>,
        key: Key,
        description: &D,
        captions: Option<Bytes>,
    ) -> io::Result<()> {
        let description = serde_json::to_vec(description)?;
        self.blocking(move |store| {
            fs::create_dir_all(store.folder(key))?;
            if let Some(captions) = captions {
                store.put(key, "captions", &captions)?;
            }
            store.put(key, "package.json", &description)
        })
        .await
    }

    /// Keeps a segment: from then on it is there, whole, under its name.
    pub async fn write(self: &Arc<Self>, key: Key, file: File, bytes: Bytes) -> io::Result<()> {
        self.blocking(move |store| store.put(key, &file.to_string(), &bytes)).await
    }

    /// A segment that was kept.
    pub async fn read(self: &Arc<Self>, key: Key, file: File) -> io::Result<Bytes> {
        self.blocking(move |store| fs::read(store.folder(key).join(file.to_string())))
            .await
            .map(Bytes::from)
    }

    /// The captions as they came.
    pub async fn captions(self: &Arc<Self>, key: Key) -> io::Result<Bytes> {
        self.blocking(move |store| fs::read(store.folder(key).join("captions")))
            .await
            .map(Bytes::from)
    }

    /// Marks a package as complete.
    pub async fn complete(self: &Arc<Self>, key: Key, manifest: Manifest) -> io::Result<()> {
        let json = serde_json::to_vec(&manifest)?;
        self.blocking(move |store| store.put(key, "manifest.json", &json)).await
    }

    /// Takes a package out of sight, quickly; its name is free for a successor. What it returns is left to [`erase`]; None
    /// when there was nothing.
    pub fn detach(&self, key: Key) -> io::Result<Option<PathBuf>> {
        let nonce = self.sequence.fetch_add(1, Relaxed);
        let away = self.root.join(format!("{REMOVED}{nonce}"));
        match fs::rename(self.folder(key), &away) {
            Ok(()) => Ok(Some(away)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The packages that are here, and removes what an earlier run left half written.
    pub fn list(&self) -> io::Result<Vec<Key>> {
        let mut keys = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            match entry.file_name().to_str().map(|name| (name.parse(), name.starts_with(REMOVED))) {
                Some((Ok(key), _)) => keys.push(key),
                Some((_, true)) => disk::remove(&entry.path())?,
                _ => {}
            }
        }
        Ok(keys)
    }

    /// What `create` wrote of a package; None when that is missing or of another make.
    pub fn description<D: DeserializeOwned>(
        &self,
        key: Key,
    ) -> Option<(D, Option<Bytes>, SystemTime)> {
        let folder = self.folder(key);
        let path = folder.join("package.json");
        let description = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        let captions = fs::read(folder.join("captions")).ok().map(Bytes::from);
        Some((description, captions, disk::changed(&path)))
    }

    /// Bytes of the extras that are in a package's folder.
    pub fn extras(&self, key: Key) -> u64 {
        let is_extra = |name: &str| matches!(name.parse(), Ok(File::Peaks | File::Sprite(_)));
        let entries = fs::read_dir(self.folder(key)).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name().to_str().is_some_and(is_extra))
            .filter_map(|entry| entry.metadata().ok())
            .map(|meta| meta.len())
            .sum()
    }

    /// Looks which segments of a package are there and whole; others, and half-written files, are removed.
    pub fn find(&self, key: Key, table: &SegmentTable) -> io::Result<Found> {
        let folder = self.folder(key);
        let json = fs::read(folder.join("manifest.json")).ok();
        let manifest: Option<Manifest> = json.and_then(|json| serde_json::from_slice(&json).ok());
        if let Some(manifest) = manifest {
            // A complete package was checked when it became so; its files are only counted.
            let found = self.scan(key, table, |_, _| true)?;
            if found.bytes == manifest.bytes && found.ready.iter().all(|&ready| ready) {
                return Ok(Found { manifest: Some(manifest), ..found });
            }
        }
        self.scan(key, table, |path, n| is_whole(path, table, n))
    }

    /// Which segments are there, as far as they have bytes and `is_whole` says so; the others are removed.
    fn scan(
        &self,
        key: Key,
        table: &SegmentTable,
        is_whole: impl Fn(&Path, u32) -> bool,
    ) -> io::Result<Found> {
        let folder = self.folder(key);
        let mut found =
            Found { ready: vec![false; table.len() as usize], bytes: 0, manifest: None };
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let segment = match name.parse() {
                Ok(File::Segment(Track { kind: Kind::Audio, index: 0 }, n, Format::M4s)) => n,
                _ if name.starts_with(TEMPORARY) => {
                    disk::remove(&entry.path())?;
                    continue;
                }
                _ => continue,
            };
            let length = entry.metadata()?.len();
            match found.ready.get_mut(segment as usize) {
                Some(ready) if length > 0 && is_whole(&entry.path(), segment) => {
                    *ready = true;
                    found.bytes += length;
                }
                _ => disk::remove(&entry.path())?,
            }
        }
        Ok(found)
    }

    /// By temporary file and rename: the name appears with all bytes or not at all.
    fn put(&self, key: Key, name: &str, bytes: &[u8]) -> io::Result<()> {
        let folder = self.folder(key);
        let nonce = self.sequence.fetch_add(1, Relaxed);
        let temporary = folder.join(format!("{TEMPORARY}{nonce}"));
        let written =
            fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, folder.join(name)));
        if written.is_err() {
            // What is half written only takes room; the first error is the one to tell.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn folder(&self, key: Key) -> PathBuf {
        self.root.join(key.to_string())
    }

    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let own = self.clone();
        tokio::task::spawn_blocking(move || work(&own)).await.map_err(io::Error::other)?
    }
}

/// Removes what [`Store::detach`] took out of sight.
pub fn erase(path: &Path) -> io::Result<()> {
    fs::remove_dir_all(path)
}

/// Whether a file holds exactly the frames that the table gives its segment: after a crash of the machine it may not.
fn is_whole(path: &Path, table: &SegmentTable, n: u32) -> bool {
    let Some(frames) = table.frames(n) else {
        return false;
    };
    let Ok(bytes) = fs::read(path) else {
        return false;
    };
    fmp4::frame_count(&bytes) == Ok((frames.start, (frames.end - frames.start) as usize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::adts::{AudioConfig, Frames};
    use std::time::Duration;

    const AUDIO: Track = Track { kind: Kind::Audio, index: 0 };

    fn segment(table: &SegmentTable, n: u32) -> Bytes {
        let frames = table.frames(n).unwrap();
        let mut silence = Frames::default();
        let config = AudioConfig::new(table.timescale(), 2).unwrap();
        silence.push_silence(config, (frames.end - frames.start) as usize).unwrap();
        fmp4::segment(n + 1, frames.start, &silence)
    }

    #[test]
    fn keys_are_written_and_read() {
        let key = Key::of(&[b"a", b"bc"]);
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_ne!(key, Key::of(&[b"ab", b"c"]));
        for bad in ["", "..", &"g".repeat(32), &"é".repeat(16), &"0".repeat(33)] {
            assert_eq!(bad.parse::<Key>(), Err(()));
        }
    }

    #[tokio::test]
    async fn what_was_kept_is_found_and_what_is_broken_goes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::new(dir.path()));
        let table = SegmentTable::audio(1000, 44_100, Duration::from_secs(5));
        let key = Key::of(&[b"package"]);
        store.create(key, &"what it is", Some(Bytes::from_static(b"WEBVTT"))).await.unwrap();
        for n in [0, 2] {
            let file = File::Segment(AUDIO, n, Format::M4s);
            store.write(key, file, segment(&table, n)).await.unwrap();
        }
        let folder = dir.path().join(key.to_string());
        let cut = segment(&table, 1);
        for (name, bytes) in [
            ("a0-1.m4s", &cut[..cut.len() - 1]),
            ("a0-3.m4s", b""),
            (".new-7", b"half"),
            ("a0-9999.m4s", b"x"),
        ] {
            fs::write(folder.join(name), bytes).unwrap();
        }

        let found = store.find(key, &table).unwrap();
        assert_eq!(found.ready[..4], [true, false, true, false]);
        assert!(found.manifest.is_none() && found.bytes > 0);
        let mut names: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["a0-0.m4s", "a0-2.m4s", "captions", "package.json"]);
        let (description, captions, _) = store.description::<String>(key).unwrap();
        assert_eq!(
            (description.as_str(), captions.as_deref()),
            ("what it is", Some(&b"WEBVTT"[..]))
        );
    }

    #[tokio::test]
    async fn a_removed_package_is_gone_and_so_are_remains() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::new(dir.path()));
        let key = Key::of(&[b"package"]);
        store.create(key, &(), None).await.unwrap();
        fs::create_dir(dir.path().join(".removed-9")).unwrap();
        assert_eq!(store.list().unwrap(), [key]);
        erase(&store.detach(key).unwrap().unwrap()).unwrap();
        assert!(store.detach(key).unwrap().is_none());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
