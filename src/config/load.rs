//! File, environment and flags, one over the other.

use std::{
    ffi::OsString,
    fs, mem,
    path::{self, Path, PathBuf},
};

use config::{Config, ConfigError, Value, ValueKind};
use serde_yaml::{Mapping, Value as Yaml};

use super::{
    Fault, Settings, check, keys,
    layer::{Layer, overrides},
};
use crate::error::{Code, Error, Result};

/// What stands in for the keys without a default where no file is needed.
const STAND_IN: &str =
    "{handshake: I-AM-A-SECRET-KEY, url: {audio: 'http://localhost:5000/audio'}}";

/// Where the settings come from, so that they can be read again.
pub struct Sources {
    /// Absolute; without one the defaults stand.
    file: Option<PathBuf>,
    /// The later wins.
    overrides: Vec<Layer>,
}

/// [`Sources::find`] and [`Sources::load`] in one.
pub fn load<K: Into<OsString>, V: Into<OsString>>(
    file: Option<&Path>,
    env: impl IntoIterator<Item = (K, V)>,
    flags: impl IntoIterator<Item = (String, String)>,
) -> Result<Settings> {
    Sources::find(file, env, flags)?.load()
}

impl Sources {
    /// `file`, or else the first of `./hls.yaml`, `./.hls.yaml` and `~/.hls.yaml`; over it the variables of `env` and the
    /// (key, value) pairs of `flags`.
    ///
    /// An empty variable counts as absent, an empty flag takes its key back to the default. [`Code::Config`] if there is no
    /// file, saying where it was looked for.
    pub fn find<K: Into<OsString>, V: Into<OsString>>(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (K, V)>,
        flags: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let env: Vec<_> =
            env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let home = env.iter().find(|(name, _)| name == "HOME").map(|(_, home)| PathBuf::from(home));
        let file = match file {
            Some(file) => file.to_path_buf(),
            None => locate(Path::new(""), home.as_deref())?,
        };
        let file = path::absolute(&file).map_err(|error| unreadable(&file, &error))?;
        Ok(Self { file: Some(file), overrides: overrides(env, flags)? })
    }

    /// No file: the defaults, with the sample handshake and upstream, for what needs neither (`transcode`, `demo`).
    pub fn without_file<K: Into<OsString>, V: Into<OsString>>(
        env: impl IntoIterator<Item = (K, V)>,
        flags: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let env = env.into_iter().map(|(name, value)| (name.into(), value.into()));
        Ok(Self { file: None, overrides: overrides(env, flags)? })
    }

    /// The file that is read, if there is one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Reads the file (again) and returns complete, valid settings with absolute paths.
    ///
    /// [`Code::Config`] with one line that says where, which key, what value (unless it is a secret), and what is allowed.
    pub fn load(&self) -> Result<Settings> {
        let Some(file) = &self.file else {
            let here = path::absolute(".").map_err(|error| unreadable(Path::new("."), &error))?;
            return self.settle(Layer::parse("defaults", STAND_IN)?, &here);
        };
        let text = fs::read_to_string(file).map_err(|error| unreadable(file, &error))?;
        let bottom = Layer::parse(&file.display().to_string(), &text)?;
        self.settle(bottom, file.parent().unwrap_or(Path::new("/")))
    }

    /// The overrides over `bottom`, relative paths beginning at `base`.
    fn settle(&self, bottom: Layer, base: &Path) -> Result<Settings> {
        let mut layers = vec![bottom];
        layers.extend_from_slice(&self.overrides);
        let known = known()?;
        for layer in &layers {
            keys::check(&layer.tree, &known).map_err(|fault| told(&layer.origin, &fault))?;
        }
        let settings = merge(&layers).and_then(|mut settings| {
            settle_paths(&mut settings, base);
            check::check(&settings).map(|()| settings)
        });
        settings.map_err(|fault| {
            let origin = layers.iter().rev().find(|layer| layer.sets(&fault.key));
            told(origin.map_or("settings", |layer| &layer.origin), &fault)
        })
    }
}

/// The first that exists, `here` being the working directory.
fn locate(here: &Path, home: Option<&Path>) -> Result<PathBuf> {
    let mut places = vec![here.join("hls.yaml"), here.join(".hls.yaml")];
    places.extend(home.map(|home| home.join(".hls.yaml")));
    if let Some(place) = places.iter().find(|place| place.is_file()) {
        return Ok(place.clone());
    }
    let looked: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
    let message =
        format!("no configuration: looked for {}; name one with --config", looked.join(", "));
    Err(Error::new(Code::Config, message))
}

/// Every key there is, from the settings themselves.
fn known() -> Result<Mapping> {
    let tree = Layer::parse("defaults", STAND_IN)?.tree;
    let known =
        serde_yaml::from_value::<Settings>(Yaml::Mapping(tree)).and_then(serde_yaml::to_value);
    match known {
        Ok(Yaml::Mapping(known)) => Ok(known),
        _ => Err(Error::new(Code::Internal, "the settings do not list their keys")),
    }
}

fn merge(layers: &[Layer]) -> Result<Settings, Fault> {
    let sources = Config::builder().add_source(layers.to_vec());
    let mut merged = sources.build().map_err(fault)?.cache;
    prune(&mut merged);
    merged.try_deserialize().map_err(fault)
}

/// Removes what is set to nothing, so that its default stands.
fn prune(value: &mut Value) {
    if let ValueKind::Table(table) = &mut value.kind {
        table.values_mut().for_each(prune);
        table.retain(|_, value| value.kind != ValueKind::Nil);
    }
}

fn fault(error: ConfigError) -> Fault {
    match error {
        ConfigError::NotFound(key) => {
            let what = match key.as_str() {
                "handshake" => "is missing; set it to the secret that your backend sends",
                _ => "is missing; set url.audio to where the upstream keeps its media",
            };
            Fault::new(key, what)
        }
        ConfigError::At { error, key, .. } => {
            Fault::new(key.unwrap_or_default(), error.to_string())
        }
        // Without what was found: it may be a secret.
        ConfigError::Type { expected, key, .. } => {
            Fault::new(key.unwrap_or_default(), format!("must be {expected}"))
        }
        other => Fault::new("", other.to_string()),
    }
}

fn told(origin: &str, Fault { key, what }: &Fault) -> Error {
    let colon = if key.is_empty() { "" } else { ": " };
    Error::new(Code::Config, format!("{origin}: {key}{colon}{what}"))
}

fn unreadable(file: &Path, error: &std::io::Error) -> Error {
    Error::new(Code::Config, format!("{} cannot be read: {error}", file.display()))
}

/// Makes paths absolute. The name of a program stays as it is, to be looked for in PATH.
fn settle_paths(settings: &mut Settings, base: &Path) {
    let Settings { cache, state, packager, library, .. } = settings;
    let program = packager.ffmpeg.components().count() > 1;
    let program = program.then_some(&mut packager.ffmpeg);
    let directories = [&mut cache.dir, &mut cache.tempdir, &mut cache.packages, &mut state.dir];
    for path in directories.into_iter().chain(&mut library.dirs).chain(program) {
        let joined = base.join(mem::take(path));
        *path = path::absolute(&joined).unwrap_or(joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_that_has_a_file_wins() {
        let here = tempfile::tempdir().unwrap();
        let home = tempfile::tempdir().unwrap();
        let find = || locate(here.path(), Some(home.path()));
        let error = find().unwrap_err();
        assert_eq!(error.code(), Code::Config);
        for place in [
            here.path().join("hls.yaml"),
            here.path().join(".hls.yaml"),
            home.path().join(".hls.yaml"),
        ] {
            assert!(error.to_string().contains(&place.display().to_string()), "{error}");
        }
        for place in [
            home.path().join(".hls.yaml"),
            here.path().join(".hls.yaml"),
            here.path().join("hls.yaml"),
        ] {
            fs::write(&place, "").unwrap();
            assert_eq!(find().unwrap(), place);
        }
    }
}
