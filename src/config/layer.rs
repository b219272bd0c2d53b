//! Keys with values from one place: a file, a variable, a flag.

use std::{ffi::OsString, fmt};

use config::{ConfigError, Map, Source, Value, ValueKind};
use serde_yaml::{Mapping, Value as Yaml};

use crate::error::{Code, Error, Result};

/// Variables of the Go service, each the name of a key in upper case.
const GO_VARIABLES: [&str; 2] = ["PORT", "HANDSHAKE"];

/// The beginning of every other variable: `HLS__CACHE__SIZE` is `cache.size`.
const PREFIX: &str = "HLS__";

/// Keys with values, and who says so.
#[derive(Clone)]
pub(super) struct Layer {
    /// As in "environment variable PORT".
    pub origin: String,
    /// The dotted key of an override; empty for a file, which may set any.
    pub key: String,
    pub tree: Mapping,
}

impl Layer {
    /// A layer of one key, the text read as YAML only where it is a list or a map in brackets.
    pub fn new(origin: String, key: String, text: &str, literal: bool) -> Self {
        let bracketed = text.starts_with(['[', '{']) && !literal;
        let value = match bracketed.then(|| serde_yaml::from_str(text)) {
            Some(Ok(value)) => value,
            _ if text.is_empty() => Yaml::Null,
            _ => Yaml::String(text.into()),
        };
        // No key is deeper than three, and a header's name is one key, whatever dots it holds.
        let depth = if key.starts_with("upstream.headers.") { 3 } else { 4 };
        let names: Vec<&str> = key.splitn(depth, '.').collect();
        let tree = names
            .into_iter()
            .rev()
            .fold(value, |value, name| Yaml::Mapping(Mapping::from_iter([(name.into(), value)])));
        let tree = if let Yaml::Mapping(tree) = tree { tree } else { Mapping::new() };
        Self { origin, key, tree }
    }

    /// The keys of a file's text.
    pub fn parse(origin: &str, text: &str) -> Result<Layer> {
        let tree = match serde_yaml::from_str(text) {
            Ok(Yaml::Mapping(tree)) => tree,
            Ok(Yaml::Null) => Mapping::new(),
            Ok(_) => {
                return Err(Error::new(
                    Code::Config,
                    format!("{origin}: not a list of `key: value` lines"),
                ));
            }
            Err(error) => {
                return Err(Error::new(Code::Config, format!("{origin}: not YAML: {error}")));
            }
        };
        Ok(Layer { origin: origin.into(), key: String::new(), tree })
    }

    /// Whether the layer has a say in `key`.
    pub fn sets(&self, key: &str) -> bool {
        let below = key.strip_prefix(&self.key);
        self.key.is_empty()
            || below.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }
}

/// Shows no value: it may be a secret.
impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer")
            .field("origin", &self.origin)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(table(&self.tree))
    }
}

/// Flags over `HLS__` variables over the Go service's variables.
pub(super) fn overrides(
    env: impl IntoIterator<Item = (OsString, OsString)>,
    flags: impl IntoIterator<Item = (String, String)>,
) -> Result<Vec<Layer>> {
    let mut layers = Vec::new();
    for (name, value) in env {
        let Some(name) =
            name.to_str().filter(|name| name.starts_with(PREFIX) || GO_VARIABLES.contains(name))
        else {
            continue;
        };
        if value.is_empty() {
            continue;
        }
        let origin = format!("environment variable {name}");
        let Some(value) = value.to_str() else {
            return Err(Error::new(Code::Config, format!("{origin} is not UTF-8")));
        };
        let rest = name.strip_prefix(PREFIX);
        let key = rest.unwrap_or(name).to_ascii_lowercase().replace("__", ".");
        layers.push((rest.is_some(), Layer::new(origin, key, value, rest.is_none())));
    }
    // Sections before what they hold, so that the order of the environment does not matter.
    layers.sort_by(|(ours, a), (others, b)| (ours, &a.key).cmp(&(others, &b.key)));
    let flags =
        flags.into_iter().map(|(key, value)| Layer::new("command line".into(), key, &value, false));
    Ok(layers.into_iter().map(|(_, layer)| layer).chain(flags).collect())
}

fn table(tree: &Mapping) -> Map<String, Value> {
    tree.iter().filter_map(|(name, value)| Some((name.as_str()?.into(), convert(value)))).collect()
}

fn convert(value: &Yaml) -> Value {
    let kind = match value {
        Yaml::Null => ValueKind::Nil,
        Yaml::Bool(truth) => ValueKind::Boolean(*truth),
        Yaml::Number(number) => number
            .as_i64()
            .map(ValueKind::I64)
            .or(number.as_u64().map(ValueKind::U64))
            .unwrap_or(ValueKind::Float(number.as_f64().unwrap_or(f64::NAN))),
        Yaml::String(text) => ValueKind::String(text.clone()),
        Yaml::Sequence(items) => ValueKind::Array(items.iter().map(convert).collect()),
        Yaml::Mapping(tree) => ValueKind::Table(table(tree)),
        Yaml::Tagged(tagged) => convert(&tagged.value).kind,
    };
    Value::new(None, kind)
}
