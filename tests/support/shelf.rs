//! A library on a shelf: folders of media beside a broker's directories.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::{Broker, Clip, Format, Player, Setup, Upstream};

/// A broker about to be started, and a library of `films` and `music` beside its directories.
pub struct Shelf {
    pub setup: Setup,
    pub dir: PathBuf,
}

impl Shelf {
    pub fn new() -> Self {
        Self::with(|setup| setup)
    }

    pub fn with(change: impl FnOnce(Setup) -> Setup) -> Self {
        let upstream = Upstream::start();
        let dirs = vec!["films".to_owned(), "./music".to_owned()];
        let setup = change(Broker::setup(&upstream).with("library.dirs", dirs));
        let dir = setup.dir().to_owned();
        for folder in ["films/2024", "music"] {
            fs::create_dir_all(dir.join(folder)).expect("a folder");
        }
        Self { setup, dir }
    }

    pub fn put(self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        put(&self.dir.join(path), bytes);
        self
    }

    #[track_caller]
    pub fn start(self) -> Broker {
        self.setup.start()
    }
}

pub fn put(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, bytes).expect("room on the disk");
}

/// So many seconds of something to hear.
pub fn sound(seconds: f64) -> Vec<u8> {
    Clip::noise(Format::Wav, seconds).mono().bytes()
}

/// A file of this name that ffmpeg makes of so many seconds of a tone.
pub fn made(dir: &Path, name: &str, seconds: u32) -> Vec<u8> {
    let path = dir.join(name);
    let tone = format!("sine=d={seconds}");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", &tone]).arg(&path);
    assert!(ffmpeg.status().expect("ffmpeg is installed").success());
    let bytes = fs::read(&path).expect("a file");
    fs::remove_file(path).expect("ours");
    bytes
}

#[track_caller]
pub fn entries(broker: &Broker, query: &str) -> Vec<Value> {
    let json = broker.library(query).expect(200).json();
    json["entries"].as_array().expect("entries").clone()
}

pub fn names(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["name"].as_str().expect("a name")).collect()
}

#[track_caller]
pub fn assert_plays(broker: &Broker, file: &str, seconds: f64) {
    let grant = broker.token_file(file);
    let heard = Player::new(broker, &grant).audio().pcm();
    assert!(heard.warnings.is_empty(), "{file}: {:#?}", heard.warnings);
    assert!((heard.seconds() - seconds).abs() < 0.1, "{file}: {} s", heard.seconds());
}
