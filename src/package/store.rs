//! Packages on disk and their hot files in memory: the one room that knows that segments are files.
//!
//! A package is a folder named by its key:
//!
//! | file | is |
//! | --- | --- |
//! | `package.json` | what it was made from, and the plan |
//! | `captions` | the captions as they came, if there are any |
//! | `a0-<n>.m4s` | the segments that are encoded; complete from the moment they have this name |
//! | `a0-manifest.json` | the manifest of a rendition, written last and removed first: all its segments are there |
//! | `peaks.json`, `storyboard-<n>.jpg`, `text-<n>.vtt` | the extras that somebody has asked for |

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::{
    file::{File, Format, TEXT, Track},
    key::Key,
    lock,
    plan::Plan,
    table::SegmentTable,
};
use crate::disk;

/// Begins the name of a file that is being written.
const TEMPORARY: &str = ".new-";

/// Begins the name of a package that is being removed.
const REMOVED: &str = ".removed-";

/// What completes a rendition.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Bytes of all its segments.
    pub bytes: u64,
    /// Frames that the source promised and did not have.
    pub missing: u64,
}

/// What a look into a package's folder finds of one rendition.
#[derive(Debug)]
pub struct Found {
    /// Its name.
    pub track: Track,
    /// Bytes of each segment that is there.
    pub segments: Vec<Option<u64>>,
    /// The initialization segment, where that was kept.
    pub init: Option<Bytes>,
    /// The manifest, if all of them are there.
    pub manifest: Option<Manifest>,
}

impl Found {
    /// Bytes of all segments that are there.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().flatten().sum()
    }

    /// Whether every segment is there.
    pub fn is_complete(&self) -> bool {
        self.segments.iter().all(Option::is_some)
    }
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
    /// Held while a manifest is written, and while it goes with a segment.
    manifests: Mutex<()>,
}

impl Store {
    /// The packages below `root`, which exists.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), sequence: AtomicU64::new(0), manifests: Mutex::default() }
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

    /// Marks a rendition as complete, if `manifest` still says so when nothing can be removed meanwhile.
    pub async fn complete(
        self: &Arc<Self>,
        key: Key,
        track: Track,
        manifest: impl FnOnce() -> Option<Manifest> + Send + 'static,
    ) -> io::Result<()> {
        self.blocking(move |store| {
            let _alone = lock(&store.manifests);
            let Some(manifest) = manifest() else {
                return Ok(());
            };
            store.put(key, &manifest_name(track), &serde_json::to_vec(&manifest)?)
        })
        .await
    }

    /// Removes a segment, and before it the manifest of its rendition, which would name what is gone.
    pub fn remove(&self, key: Key, track: Track, n: u32) -> io::Result<()> {
        let _alone = lock(&self.manifests);
        for name in [manifest_name(track), File::Segment(track, n, Format::M4s).to_string()] {
            match fs::remove_file(self.folder(key).join(name)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(())
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
        let is_extra = |name: &str| {
            name.starts_with(TEXT) || matches!(name.parse(), Ok(File::Peaks | File::Sprite(_)))
        };
        let entries = fs::read_dir(self.folder(key)).into_iter().flatten().flatten();
        entries
            .filter(|entry| entry.file_name().to_str().is_some_and(is_extra))
            .filter_map(|entry| entry.metadata().ok())
            .map(|meta| meta.len())
            .sum()
    }

    /// Looks which segments of a package's renditions are there and whole, in the order of the plan; others, and
    /// half-written files, are removed.
    pub fn find(&self, key: Key, plan: &Plan) -> io::Result<Vec<Found>> {
        let folder = self.folder(key);
        let manifest = |track: Track| -> Option<Manifest> {
            let json = fs::read(folder.join(manifest_name(track))).ok()?;
            serde_json::from_slice(&json).ok()
        };
        let manifests: Vec<_> = plan.tables().map(|(track, _)| manifest(track)).collect();
        // A complete rendition was checked when it became so; its files are only counted.
        let mut found = self.scan(key, plan, &manifests)?;
        let is_told = |(found, told): (&Found, &Option<Manifest>)| {
            told.is_none_or(|told| found.bytes() == told.bytes && found.is_complete())
        };
        if !found.iter().zip(&manifests).all(is_told) {
            return self.scan(key, plan, &vec![None; manifests.len()]);
        }
        for (found, manifest) in found.iter_mut().zip(manifests) {
            found.manifest = manifest;
        }
        Ok(found)
    }

    /// Which segments are there, as far as they have bytes and, where no manifest vouches for them, are whole; the others
    /// are removed.
    fn scan(
        &self,
        key: Key,
        plan: &Plan,
        manifests: &[Option<Manifest>],
    ) -> io::Result<Vec<Found>> {
        let nothing = |(track, table): (Track, &SegmentTable)| Found {
            track,
            segments: vec![None; table.len() as usize],
            init: fs::read(self.folder(key).join(File::Init(track).to_string()))
                .ok()
                .map(Bytes::from),
            manifest: None,
        };
        let mut found: Vec<_> = plan.tables().map(nothing).collect();
        for entry in fs::read_dir(self.folder(key))? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let (track, n) = match name.parse() {
                Ok(File::Segment(track, n, Format::M4s)) => (track, n),
                _ if name.starts_with(TEMPORARY) => {
                    disk::remove(&entry.path())?;
                    continue;
                }
                _ => continue,
            };
            let length = entry.metadata()?.len();
            let is_whole = |vouched: bool| {
                let read = || fs::read(entry.path()).is_ok_and(|b| plan.is_whole(track, n, &b));
                length > 0 && (vouched || read())
            };
            let mut all = found.iter_mut().zip(manifests);
            let own = all.find(|(found, _)| found.track == track);
            match own.and_then(|(own, manifest)| {
                let segment = own.segments.get_mut(n as usize)?;
                is_whole(manifest.is_some()).then_some(segment)
            }) {
                Some(segment) => *segment = Some(length),
                None => disk::remove(&entry.path())?,
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

fn manifest_name(track: Track) -> String {
    format!("{track}-manifest.json")
}

/// Removes what [`Store::detach`] took out of sight.
pub fn erase(path: &Path) -> io::Result<()> {
    fs::remove_dir_all(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::{
        AUDIO,
        adts::{AudioConfig, Frames},
        choices::Choices,
        fmp4,
        plan::tests::media,
    };

    fn segment(table: &SegmentTable, n: u32) -> Bytes {
        let frames = table.frames(n).unwrap();
        let mut silence = Frames::default();
        let config = AudioConfig::new(table.timescale(), 2).unwrap();
        silence.push_silence(config, (frames.end - frames.start) as usize).unwrap();
        fmp4::audio::segment(n + 1, frames.start, &silence)
    }

    #[tokio::test]
    async fn what_was_kept_is_found_and_what_is_broken_goes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::new(dir.path()));
        let plan = Plan::new(&media(44_100, 2, 1_000_000), &Choices::default()).unwrap();
        let table = plan.audio[0].table.clone();
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

        let found = store.find(key, &plan).unwrap().remove(0);
        let bytes = |n| Some(segment(&table, n).len() as u64);
        assert_eq!(found.segments[..4], [bytes(0), None, bytes(2), None]);
        assert!(found.manifest.is_none() && !found.is_complete());
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
