//! What the library held when it was looked at last, and what has come, changed or gone since.

use std::{
    collections::BTreeMap,
    ops::Bound,
    time::{Duration, Instant},
};

use super::kind::Kind;
use crate::library::{Found, Library, Path, Stamp};

/// Folders within folders that are looked into.
const DEPTH: usize = 64;

/// Something that has happened to a file, and is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// There is a new one.
    Added(Path),
    /// It is not what it was.
    Changed(Path, Stamp),
    /// It is there no more.
    Removed(Path, Stamp),
}

/// A file that is not what it was, or not there, and when that was seen to have changed last.
#[derive(Debug)]
struct Moving {
    seen: Option<Stamp>,
    since: Instant,
}

impl Moving {
    fn new(path: &Path, seen: Option<Stamp>, now: Instant) -> Self {
        let bytes = seen.map(|stamp| stamp.size);
        tracing::debug!(file = %path, bytes, "a file of the library is on its way");
        Self { seen, since: now }
    }
}

/// The media files of a library.
#[derive(Debug, Default)]
pub struct Index {
    files: BTreeMap<Path, Stamp>,
    moving: BTreeMap<Path, Moving>,
    /// Folders that something has happened to, to be looked into once more: what came into a new one before it was watched
    /// nobody has noticed.
    again: BTreeMap<Path, Instant>,
}

impl Index {
    /// All that is there now, taken as it is.
    pub fn new(library: &Library) -> Self {
        Self { files: scan(library), ..Self::default() }
    }

    /// The files that are there.
    pub fn files(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.files.keys()
    }

    /// Whether something is under way.
    pub fn is_moving(&self) -> bool {
        !self.moving.is_empty() || !self.again.is_empty()
    }

    /// Something has happened at `path`: to a file, to a folder, to a folder that is gone.
    pub fn notice(&mut self, library: &Library, path: &Path, now: Instant) {
        if path.is_hidden() {
            return;
        }
        if self.look_below(library, path, now) {
            self.again.insert(path.clone(), now);
        }
    }

    /// Notes what differs at or below `path`; says whether that is a folder.
    fn look_below(&mut self, library: &Library, path: &Path, now: Instant) -> bool {
        let mut there = BTreeMap::new();
        let found = library.look(path);
        match found {
            Ok(Found::Folder(_)) => walk(library, path, DEPTH, &mut there),
            Ok(Found::File(stamp)) if Kind::by_name(path).is_some() => {
                there.insert(path.clone(), stamp);
            }
            _ => {}
        }
        let before = self.below(path);
        self.compare(library, &there, &before, now);
        matches!(found, Ok(Found::Folder(_)))
    }

    /// Looks at everything again.
    pub fn rescan(&mut self, library: &Library, now: Instant) {
        let before: Vec<_> = self.files.clone().into_iter().collect();
        self.compare(library, &scan(library), &before, now);
    }

    /// Looks at what is under way again. What has stayed as it is for `settle` is over.
    pub fn settle(&mut self, library: &Library, settle: Duration, now: Instant) -> Vec<Change> {
        let is_due = |since: Instant| now.saturating_duration_since(since) >= settle;
        for (folder, _) in self.again.extract_if(.., |_, since| is_due(*since)).collect::<Vec<_>>()
        {
            self.look_below(library, &folder, now);
        }
        let mut over = Vec::new();
        for (path, moving) in &mut self.moving {
            let seen = match library.look(path) {
                Ok(Found::File(stamp)) => Some(stamp),
                _ => None,
            };
            if seen != moving.seen {
                *moving = Moving::new(path, seen, now);
            } else if is_due(moving.since) {
                over.push((path.clone(), seen));
            }
        }
        over.into_iter().filter_map(|(path, seen)| self.end(library, path, seen)).collect()
    }

    fn end(&mut self, library: &Library, path: Path, seen: Option<Stamp>) -> Option<Change> {
        self.moving.remove(&path);
        library.set_arriving(&path, false);
        let before = match seen {
            Some(stamp) => self.files.insert(path.clone(), stamp),
            None => self.files.remove(&path),
        };
        match (before, seen) {
            (None, Some(_)) => Some(Change::Added(path)),
            (Some(before), Some(now)) if before != now => Some(Change::Changed(path, before)),
            (Some(before), None) => Some(Change::Removed(path, before)),
            _ => None,
        }
    }

    /// Notes which files of `before` and `there` differ.
    fn compare(
        &mut self,
        library: &Library,
        there: &BTreeMap<Path, Stamp>,
        before: &[(Path, Stamp)],
        now: Instant,
    ) {
        let gone = before.iter().map(|(path, _)| path).filter(|path| !there.contains_key(path));
        let other = |(path, stamp): &(&Path, &Stamp)| self.files.get(*path) != Some(*stamp);
        let new = there.iter().filter(other).map(|(path, _)| path);
        for path in gone.chain(new) {
            if !self.files.contains_key(path) {
                library.set_arriving(path, true);
            }
            let seen = there.get(path).copied();
            let moving = self.moving.entry(path.clone());
            moving.or_insert_with_key(|path| Moving::new(path, seen, now));
        }
    }

    /// The files at or below `path` that are known.
    fn below(&self, path: &Path) -> Vec<(Path, Stamp)> {
        let from = self.files.range((Bound::Included(path.clone()), Bound::Unbounded));
        // Between a folder and what is in it other names sort: `a`, `a-b`, `a/b`.
        from.take_while(|(other, _)| other.as_str().starts_with(path.as_str()))
            .filter(|(other, _)| other.is_below(path))
            .map(|(other, stamp)| (other.clone(), *stamp))
            .collect()
    }
}

fn scan(library: &Library) -> BTreeMap<Path, Stamp> {
    let mut files = BTreeMap::new();
    library.tops().for_each(|top| walk(library, &top, DEPTH, &mut files));
    files
}

/// Collects the media files below a folder. Links to folders are not followed: they may lead in circles.
fn walk(library: &Library, folder: &Path, depth: usize, files: &mut BTreeMap<Path, Stamp>) {
    let Ok(children) = library.list(folder) else {
        return;
    };
    for child in children {
        let Ok(path) = folder.join(&child.name) else { continue };
        if child.is_folder {
            if depth > 0 && !child.is_link {
                walk(library, &path, depth - 1, files);
            }
        } else if Kind::by_name(&path).is_some()
            && let Ok(Found::File(stamp)) = library.look(&path)
        {
            files.insert(path, stamp);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use tempfile::TempDir;

    use super::*;

    const SETTLE: Duration = Duration::from_secs(2);

    struct Shelf {
        _dir: TempDir,
        top: PathBuf,
        library: Library,
        index: Index,
        now: Instant,
    }

    impl Shelf {
        fn new(files: &[&str]) -> Self {
            let dir = TempDir::new().unwrap();
            let top = dir.path().join("music");
            fs::create_dir(&top).unwrap();
            for file in files {
                write(&top.join(file), "x");
            }
            let library = Library::new(std::slice::from_ref(&top));
            let index = Index::new(&library);
            Self { _dir: dir, top, library, index, now: Instant::now() }
        }

        fn write(&self, file: &str, text: &str) {
            write(&self.top.join(file), text);
        }

        fn notice(&mut self, path: &str) {
            self.index.notice(&self.library, &Path::parse(path).unwrap(), self.now);
        }

        fn after(&mut self, seconds: u64) -> Vec<String> {
            self.now += Duration::from_secs(seconds);
            let changes = self.index.settle(&self.library, SETTLE, self.now);
            let text = |change: &Change| match change {
                Change::Added(path) => format!("+{path}"),
                Change::Changed(path, _) => format!("~{path}"),
                Change::Removed(path, _) => format!("-{path}"),
            };
            changes.iter().map(text).collect()
        }
    }

    fn write(path: &std::path::Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_file_counts_once_it_has_stopped_growing() {
        let mut shelf = Shelf::new(&["a.wav"]);
        shelf.write("b.wav", "1");
        shelf.notice("music/b.wav");
        assert!(shelf.after(1).is_empty());
        for size in ["12", "123", "1234"] {
            shelf.write("b.wav", size);
            shelf.notice("music/b.wav");
            assert!(shelf.after(5).is_empty(), "it has grown since");
        }
        assert!(shelf.after(1).is_empty());
        let path = Path::parse("music/b.wav").unwrap();
        assert!(shelf.library.is_arriving(&path));
        assert_eq!(shelf.after(1), ["+music/b.wav"]);
        assert!(!shelf.library.is_arriving(&path));
        assert!(!shelf.index.is_moving() && shelf.index.files().len() == 2);
        shelf.notice("music/b.wav");
        assert!(!shelf.index.is_moving(), "nothing has happened to it");
    }

    #[test]
    fn changes_and_ends_are_told_apart() {
        let mut shelf = Shelf::new(&["a.wav", "b.wav", "c.wav", "notes.txt"]);
        shelf.write("a.wav", "longer");
        fs::remove_file(shelf.top.join("b.wav")).unwrap();
        fs::rename(shelf.top.join("c.wav"), shelf.top.join("d.wav")).unwrap();
        shelf.write("more.txt", "x");
        shelf.write(".part.wav", "x");
        for name in ["a.wav", "b.wav", "c.wav", "d.wav", "more.txt", ".part.wav"] {
            shelf.notice(&format!("music/{name}"));
        }
        assert_eq!(
            shelf.after(2),
            ["~music/a.wav", "-music/b.wav", "-music/c.wav", "+music/d.wav"]
        );
    }

    #[test]
    fn one_that_comes_back_the_same_was_never_gone() {
        let mut shelf = Shelf::new(&["a.wav"]);
        fs::rename(shelf.top.join("a.wav"), shelf.top.join("a.tmp")).unwrap();
        shelf.notice("music/a.wav");
        fs::rename(shelf.top.join("a.tmp"), shelf.top.join("a.wav")).unwrap();
        assert!(shelf.after(2).is_empty() && shelf.after(2).is_empty());
        assert!(!shelf.index.is_moving());
    }

    #[test]
    fn folders_take_their_files_with_them() {
        let mut shelf = Shelf::new(&["one/a.wav", "one/two/b.wav", "one-more/c.wav", "one.wav"]);
        fs::rename(shelf.top.join("one"), shelf.top.join("uno")).unwrap();
        shelf.notice("music/one");
        shelf.notice("music/uno");
        assert_eq!(
            shelf.after(2),
            [
                "-music/one/a.wav",
                "-music/one/two/b.wav",
                "+music/uno/a.wav",
                "+music/uno/two/b.wav"
            ]
        );
    }

    #[test]
    fn what_came_into_a_new_folder_before_it_was_watched_is_found() {
        let mut shelf = Shelf::new(&[]);
        fs::create_dir(shelf.top.join("new")).unwrap();
        shelf.notice("music/new");
        shelf.write("new/a.wav", "x");
        assert!(shelf.index.is_moving() && shelf.after(2).is_empty());
        assert_eq!(shelf.after(2), ["+music/new/a.wav"]);
        assert!(!shelf.index.is_moving());
    }

    #[test]
    fn a_scan_finds_what_nobody_noticed() {
        let mut shelf = Shelf::new(&["a.wav", "b.wav"]);
        shelf.write("new/c.wav", "x");
        shelf.write("a.wav", "longer");
        fs::remove_file(shelf.top.join("b.wav")).unwrap();
        std::os::unix::fs::symlink(".", shelf.top.join("self")).unwrap();
        shelf.index.rescan(&shelf.library, shelf.now);
        assert_eq!(shelf.after(2), ["~music/a.wav", "-music/b.wav", "+music/new/c.wav"]);
    }
}
