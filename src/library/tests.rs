use std::{
    collections::HashSet,
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use tempfile::TempDir;

use super::*;

/// A library of `films` and `music`, with a secret beside them.
struct House {
    dir: TempDir,
    library: Library,
}

impl House {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        for folder in ["films/2024", "films/.git", "music", "outside"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for file in [
            "films/a.mp4",
            "films/2024/b.mp4",
            "films/.git/c.mp4",
            "films/.d.mp4",
            "outside/secret",
        ] {
            fs::write(dir.path().join(file), file).unwrap();
        }
        let dirs = [dir.path().join("films"), dir.path().join("music")];
        Self { library: Library::new(&dirs), dir }
    }

    fn at(&self, place: &str) -> PathBuf {
        self.dir.path().join(place)
    }

    fn link(&self, target: impl AsRef<Place>, place: &str) {
        symlink(target, self.at(place)).unwrap();
    }

    fn read(&self, path: &str) -> io::Result<String> {
        let (file, stamp) = self.library.open(&Path::parse(path).unwrap())?;
        let text = io::read_to_string(file)?;
        assert_eq!(stamp.size, text.len() as u64);
        Ok(text)
    }

    fn refuses(&self, path: &str) {
        let path = Path::parse(path).unwrap();
        let opened = self.library.open(&path).map(drop);
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::NotFound, "{path}");
    }

    fn names(&self, folder: &str) -> Vec<(String, bool)> {
        let mut children = self.library.list(&Path::parse(folder).unwrap()).unwrap();
        children.sort();
        children.into_iter().map(|child| (child.name, child.is_folder)).collect()
    }
}

#[test]
fn files_are_read_in_place() {
    let house = House::new();
    assert_eq!(house.read("films/a.mp4").unwrap(), "films/a.mp4");
    assert_eq!(house.read("films/2024/b.mp4").unwrap(), "films/2024/b.mp4");
    assert_eq!(house.names("films"), [("2024".into(), true), ("a.mp4".into(), false)]);
    let tops: Vec<_> = house.library.tops().map(String::from).collect();
    assert_eq!(tops, ["films", "music"]);
    assert!(matches!(
        house.library.look(&Path::parse("films/2024").unwrap()),
        Ok(Found::Folder(_))
    ));
}

#[test]
fn what_is_no_file_of_the_library_is_not_there() {
    let house = House::new();
    mkfifo(&house.at("films/pipe.mp4"), Mode::S_IRWXU).unwrap();
    for path in [
        "films",
        "films/2024",
        "films/none",
        "films/a.mp4/b",
        "films/.git/c.mp4",
        "films/.d.mp4",
        "outside/secret",
        "music/a.mp4",
        "films/pipe.mp4",
        "Films/a.mp4",
        "films/%61.mp4",
    ] {
        house.refuses(path);
    }
    assert!(house.names("films").iter().all(|(name, _)| name != "pipe.mp4"));
}

#[test]
fn links_that_stay_work_and_those_that_leave_do_not() {
    let house = House::new();
    house.link("2024/b.mp4", "films/near.mp4");
    house.link(house.at("films/2024/b.mp4"), "films/absolute.mp4");
    house.link("../films/2024", "films/around");
    house.link(house.at("films/2024"), "films/folder");
    house.link(".", "films/self");
    for inside in ["near.mp4", "absolute.mp4", "folder/b.mp4", "self/self/near.mp4"] {
        assert_eq!(house.read(&format!("films/{inside}")).unwrap(), "films/2024/b.mp4", "{inside}");
    }
    let outside = [
        ("../outside/secret", "up.mp4"),
        ("../outside", "upper"),
        ("/", "slash"),
        ("/proc/self/root", "proc"),
        ("/proc/self/cwd", "cwd"),
        ("/dev/zero", "zero.mp4"),
        ("/dev/stdin", "stdin.mp4"),
        ("loop.mp4", "loop.mp4"),
        ("gone.mp4", "dangling.mp4"),
        ("2024/../../outside/secret", "twisted.mp4"),
    ];
    for (target, name) in outside {
        house.link(target, &format!("films/{name}"));
    }
    house.link(house.at("outside/secret"), "films/far.mp4");
    house.link(house.at("outside"), "films/farther");
    house.link("up.mp4", "films/twice.mp4");
    let secret = house.at("outside/secret");
    for path in [
        "up.mp4",
        "far.mp4",
        "twice.mp4",
        "twisted.mp4",
        "zero.mp4",
        "stdin.mp4",
        "loop.mp4",
        "dangling.mp4",
        "upper/secret",
        "farther/secret",
        "cwd/Cargo.toml",
        &format!("slash{}", secret.display()),
        &format!("proc{}", secret.display()),
    ] {
        house.refuses(&format!("films/{path}"));
    }
    let names: Vec<_> = house.names("films").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["2024", "a.mp4", "absolute.mp4", "around", "folder", "near.mp4", "self"]);
    for folder in ["films/upper", "films/slash", "films/proc/etc", "films/farther"] {
        let listed = house.library.list(&Path::parse(folder).unwrap()).map(drop);
        assert_eq!(listed.unwrap_err().kind(), ErrorKind::NotFound, "{folder}");
    }
}

#[test]
fn a_folder_that_turns_into_a_link_while_it_is_read_leads_nowhere() {
    let house = House::new();
    fs::write(house.at("films/2024/secret"), "inside").unwrap();
    house.link(house.at("outside"), "films/away");
    let (folder, link, spare) =
        (house.at("films/2024"), house.at("films/away"), house.at("films/spare"));
    let swap = |from: &PathBuf, to: &PathBuf| {
        fs::rename(&folder, &spare).unwrap();
        fs::rename(from, &folder).unwrap();
        fs::rename(&spare, to).unwrap();
    };
    let done = AtomicBool::new(false);
    let others = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                swap(&link, &link);
            }
        });
        let (mut inside, mut others) = (0, HashSet::new());
        while inside < 1_000 {
            match house.read("films/2024/secret") {
                Ok(text) if text == "inside" => inside += 1,
                Ok(text) => drop(others.insert(text)),
                Err(_) => {}
            }
        }
        done.store(true, Relaxed);
        others
    });
    assert!(others.is_empty(), "{others:?}");
}

#[test]
fn a_stamp_tells_versions_apart() {
    let house = House::new();
    let path = Path::parse("films/a.mp4").unwrap();
    let stamp = || match house.library.look(&path).unwrap() {
        Found::File(stamp) => stamp,
        Found::Folder(_) => panic!("a folder"),
    };
    let before = stamp();
    assert_eq!(before, house.library.open(&path).unwrap().1);
    let file = File::options().write(true).open(house.at("films/a.mp4")).unwrap();
    file.set_modified(before.time() + Duration::from_millis(1)).unwrap();
    assert!(!before.is_like(&stamp()) && before.inode == stamp().inode);
    file.set_modified(before.time()).unwrap();
    assert!(before.is_like(&stamp()));
    file.set_len(3).unwrap();
    file.set_modified(before.time()).unwrap();
    assert!(!before.is_like(&stamp()));
}

#[test]
fn a_directory_may_be_a_link_itself() {
    let house = House::new();
    house.link("films", "cinema");
    let library = Library::new(&[house.at("cinema"), house.at("nowhere")]);
    let path = Path::parse("cinema/2024/b.mp4").unwrap();
    assert!(library.open(&path).is_ok());
    let places: Vec<_> = library.places().collect();
    assert_eq!(
        places,
        [(Path::parse("cinema").unwrap(), house.at("films").canonicalize().unwrap())]
    );
}
