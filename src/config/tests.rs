use std::{fs, path::Path, time::Duration};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::error::{Code, Result};

mod errors;
mod layers;
mod printing;
mod shipped;
mod wild;

const SAMPLE: &str = include_str!("../../hls.yaml");

/// What has no default.
const NEEDED: &str = "handshake: a-handshake-of-some-length\nurl:\n  audio: http://up/audio\n";

const NO_ENV: [(&str, &str); 0] = [];

/// A configuration file in a directory of its own.
struct Written(TempDir);

impl Written {
    fn new(yaml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("hls.yaml"), yaml).unwrap();
        Self(dir)
    }

    fn rewrite(&self, yaml: &str) {
        fs::write(self.file(), yaml).unwrap();
    }

    fn file(&self) -> std::path::PathBuf {
        self.0.path().join("hls.yaml")
    }

    fn load(&self) -> Result<Settings> {
        self.load_with(&[], &[])
    }

    fn load_with(&self, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Settings> {
        load(Some(&self.file()), env.iter().copied(), owned(flags))
    }
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

/// The error of what is needed plus `yaml`, without the file's name.
fn error(yaml: &str) -> String {
    let written = Written::new(&format!("{NEEDED}{yaml}"));
    let error = written.load().expect_err(yaml);
    assert_eq!(error.code(), Code::Config);
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    text.replace(&format!("{}: ", written.file().display()), "")
}

fn loaded(yaml: &str) -> Settings {
    Written::new(&format!("{NEEDED}{yaml}"))
        .load()
        .unwrap_or_else(|error| panic!("{yaml}: {error}"))
}

/// The sample with its defaults switched on: a `#` directly before a key or its indentation goes.
fn uncommented() -> String {
    let setting = |line: &&str| !line.starts_with("# ") || line.starts_with("#  ");
    SAMPLE
        .lines()
        .map(|line| {
            line.strip_prefix('#').filter(|_| setting(&line)).unwrap_or(line).to_owned() + "\n"
        })
        .collect()
}
