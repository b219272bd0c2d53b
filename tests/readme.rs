//! The README's table of settings is what `hls-broker check` says: every key, every default.

mod support;

use std::{collections::BTreeMap, fs};

use serde_yaml::Value;
use tempfile::TempDir;

use support::setup;

#[test]
fn the_readme_lists_every_setting_with_its_default() {
    let dir = TempDir::new().expect("a temporary directory");
    let config = dir.path().join("hls.yaml");
    let needed = "{handshake: a-secret-of-the-readme, url: {audio: 'http://localhost/audio'}}";
    fs::write(&config, needed).expect("hls.yaml");
    let check = setup::hls_broker(&["check", "--config", config.to_str().expect("UTF-8")]);
    assert_eq!(check.code, Some(0), "{check:?}");
    let base = format!("{}/", dir.path().canonicalize().expect("a directory").display());
    let effective: Value = serde_yaml::from_str(&check.stdout.replace(&base, "./")).expect("YAML");
    let mut settings = BTreeMap::new();
    flatten("", &effective, &mut settings);

    let mut told = table();
    // What has no default, and what depends on the machine.
    for key in ["handshake", "url.audio"] {
        assert_eq!(told.insert(key.into(), settings[key].clone()), Some("*required*".into()));
    }
    let workers = told.insert("packager.workers".into(), settings["packager.workers"].clone());
    assert_eq!(workers, Some("auto".into()));
    assert_eq!(told, settings);
}

/// Key and default of every row below "## Settings"; an empty cell is null.
fn table() -> BTreeMap<String, Value> {
    let readme = include_str!("../README.md");
    let section = readme.split("\n## Settings\n").nth(1).expect("the section");
    let section = section.split("\n## ").next().expect("a first part");
    let row = |line: &str| {
        let mut cells =
            line.strip_prefix("| `")?.split('|').map(|cell| cell.trim().trim_matches('`'));
        let (key, default) = (cells.next()?, cells.next()?);
        let default = match default {
            marked if marked.starts_with('*') => marked.into(),
            yaml => serde_yaml::from_str(yaml).expect("a default in YAML"),
        };
        Some((key.to_owned(), default))
    };
    section.lines().filter_map(row).collect()
}

/// Leaves by their dotted keys.
fn flatten(prefix: &str, value: &Value, leaves: &mut BTreeMap<String, Value>) {
    match value {
        Value::Mapping(map) if !map.is_empty() => {
            for (name, value) in map {
                let name = name.as_str().expect("a name");
                let key = if prefix.is_empty() { name.into() } else { format!("{prefix}.{name}") };
                flatten(&key, value, leaves);
            }
        }
        leaf => drop(leaves.insert(prefix.to_owned(), leaf.clone())),
    }
}
