//! How serde reads the settings' values.
//!
//! A value comes from YAML with a type that YAML guessed, or from the environment as text. Both are read as text here, by
//! one parser per kind of value, whose error is a sentence for a person.

use std::{net::IpAddr, path::PathBuf, str::FromStr, thread, time::Duration};

use ipnet::IpNet;
use reqwest::Url;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{
    choice::Copied,
    scalar::parsed,
    secret::Secret,
    step::Step,
    template::web_url,
    units::{self, shown},
};

/// A whole number that fits `T`.
pub(super) fn number<'de, D: Deserializer<'de>, T: TryFrom<u64>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let most = u64::MAX >> (64 - 8 * size_of::<T>());
    parsed(deserializer, |text| {
        let number = text.trim().parse::<u64>().ok().and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| format!("{} is not a whole number from 0 to {most}", shown(text)))
    })
}

/// `true` or `false`, also as `yes`, `no`, `on`, `off`.
pub(super) fn switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    parsed(deserializer, |text| match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!("{} is neither true nor false", shown(text))),
    })
}

/// Text, not empty.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    parsed(deserializer, |text| match text {
        "" => Err("must not be empty".into()),
        _ => Ok(text.into()),
    })
}

/// A path, not empty.
pub(super) fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    text(deserializer).map(PathBuf::from)
}

/// Paths, none of them empty.
pub(super) fn paths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    list(deserializer, |text| match text.trim() {
        "" => Err("must not hold an empty path".into()),
        path => Ok(path.into()),
    })
}

/// An IP address.
pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpAddr, D::Error> {
    parsed(deserializer, |text| like(text, "an IP address such as 0.0.0.0, 127.0.0.1 or ::"))
}

/// An optional IP address with its port.
pub(super) fn socket<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
{
    let allowed = "an IP address with a port such as 127.0.0.1:7001";
    parsed(deserializer, |text| like(text, allowed)).map(Some)
}

/// The cores this process may use; 1 if the system does not say.
pub(super) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Cores, or as many as there are for `auto`.
pub(super) fn workers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    parsed(deserializer, |text| match text.trim() {
        "auto" => Ok(cores()),
        text => like(text, "a whole number or auto"),
    })
}

/// An optional http or https URL without a query.
pub(super) fn base_url<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Url>, D::Error> {
    let url = parsed(deserializer, web_url)?;
    if url.query().is_some() {
        return Err(D::Error::custom("must not have a query (?)"));
    }
    Ok(Some(url))
}

/// Networks; an address alone is a network of one.
pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    list(deserializer, |text| {
        let text = text.trim();
        match text.parse::<IpAddr>() {
            Ok(address) => Ok(address.into()),
            Err(_) => {
                like(text, "an address or network such as 10.0.0.0/8").map(|net: IpNet| net.trunc())
            }
        }
    })
}

/// `*` or origins, each as a browser sends it.
pub(super) fn origins<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    list(deserializer, |text| {
        let text = text.trim();
        if text == "*" {
            return Ok(text.into());
        }
        let origin = Url::parse(text).ok().as_ref().and_then(origin);
        origin.ok_or_else(|| {
            let shown = shown(text);
            format!("{shown} is neither * nor an origin such as https://app.example.org (no path)")
        })
    })
}

/// Scheme, host and port, and nothing else; `None` if there is anything else. Apps in a web view have their own schemes.
fn origin(url: &Url) -> Option<String> {
    let bare = matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    let host = url.host_str().filter(|host| bare && !host.is_empty())?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}://{host}{port}", url.scheme()))
}

/// Names of codecs.
pub(super) fn copied<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Copied>, D::Error> {
    list(deserializer, |text| text.trim().parse())
}

/// Steps of a ladder.
pub(super) fn steps<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Step>, D::Error> {
    list(deserializer, |text| text.trim().parse())
}

/// One value or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Several<T> {
    Many(Vec<T>),
    One(T),
}

/// One secret or a list of them. Text is one secret, whatever commas it holds.
pub(super) fn secrets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Secret>, D::Error> {
    match Several::deserialize(deserializer) {
        Ok(Several::Many(secrets)) => Ok(secrets),
        Ok(Several::One(secret)) => Ok(vec![secret]),
        Err(_) => Err(D::Error::custom("must be text or a list of texts; put each in quotes")),
    }
}

/// A list through `parse`, item by item; text is a list separated by commas.
fn list<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, D::Error> {
    let items = match Several::<String>::deserialize(deserializer) {
        Ok(Several::Many(items)) => items,
        Ok(Several::One(text)) if text.trim().is_empty() => Vec::new(),
        Ok(Several::One(text)) => text.split(',').map(String::from).collect(),
        Err(_) => {
            return Err(D::Error::custom("must be a list, or text separated by commas"));
        }
    };
    items.iter().map(|item| parse(item)).collect::<Result<_, _>>().map_err(D::Error::custom)
}

/// Serializes one secret as itself and several as a list.
pub(super) fn write_secrets<S: Serializer>(
    secrets: &[Secret],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match secrets {
        [secret] => secret.serialize(serializer),
        _ => secrets.serialize(serializer),
    }
}

/// `text` as a `T`, or what is allowed instead.
fn like<T: FromStr>(text: &str, allowed: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("{} is not {allowed}", shown(text)))
}

/// A duration field: see [`units::duration`].
pub(super) mod span {
    use super::{Deserializer, Duration, Serializer, parsed, units};

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        parsed(deserializer, units::duration)
    }

    pub fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&units::write_duration(*span))
    }
}

/// A field of bytes: see [`units::size`].
pub(super) mod size {
    use super::{Deserializer, Serializer, parsed, units};

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        parsed(deserializer, units::size)
    }

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde hands over a reference to the field"
    )]
    pub fn serialize<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&units::write_size(*bytes))
    }
}

/// A field of bits per second: see [`units::bitrate`].
pub(super) mod bitrate {
    use super::{Deserializer, Serializer, parsed, units};

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        parsed(deserializer, units::bitrate)
    }

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde hands over a reference to the field"
    )]
    pub fn serialize<S: Serializer>(bits: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&units::write_bitrate(*bits))
    }
}
