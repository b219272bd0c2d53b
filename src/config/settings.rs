//! Every setting and its unit, with its default in parentheses. The field names are the keys of `hls.yaml`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::{
    choice::{Container, Copied, Format, Level},
    read::{
        address, base_url, bitrate, copied, networks, number, origins, path, paths, secrets, size,
        socket, span, switch, text, workers, write_secrets,
    },
    secret::Secret,
    template::Template,
    video::Video,
};

/// Everything that can be configured, valid and complete once [`load`](super::load) has returned it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The address to listen on (0.0.0.0).
    #[serde(default = "any_address", deserialize_with = "address")]
    pub host: IpAddr,
    /// The port to listen on (7000); 0 takes a free one.
    #[serde(default = "go_port", deserialize_with = "number")]
    pub port: u16,
    /// What players reach the broker by, for the `url` in replies (scheme and host of the request). No query, no fragment.
    #[serde(default, deserialize_with = "base_url", serialize_with = "display")]
    pub public_url: Option<Url>,
    /// Own addresses for parts of the service.
    #[serde(default)]
    pub listen: Listen,
    /// The secrets that backends may send, never empty: the first is current, all are accepted.
    #[serde(deserialize_with = "secrets", serialize_with = "write_secrets")]
    pub handshake: Vec<Secret>,
    /// Where the media come from.
    pub url: Upstreams,
    /// What is kept, where, and how much of it.
    #[serde(default)]
    pub cache: Cache,
    /// What must survive a restart.
    #[serde(default)]
    pub state: State,
    /// How media are fetched.
    #[serde(default)]
    pub upstream: Upstream,
    /// Media on the broker's own disk.
    #[serde(default)]
    pub library: Library,
    /// Caption renditions.
    #[serde(default)]
    pub captions: Captions,
    /// Encoding and packaging.
    #[serde(default)]
    pub packager: Packager,
    /// What tokens are signed with.
    #[serde(default)]
    pub token: Token,
    /// Which web pages may play.
    #[serde(default)]
    pub cors: Cors,
    /// Bounds of the server.
    #[serde(default)]
    pub limits: Limits,
    /// What is logged.
    #[serde(default)]
    pub log: Log,
}

impl Settings {
    /// The settings as `hls.yaml` would hold them, every key with what is in effect and secrets as `***`; with the secrets
    /// filled in, it loads as the same settings.
    pub fn to_yaml(&self) -> String {
        serde_yaml::to_string(self).unwrap_or_default()
    }

    /// Defaults for unit tests, with every directory below `dir`.
    #[cfg(test)]
    #[expect(clippy::missing_panics_doc, reason = "for tests")]
    pub fn example(dir: &std::path::Path) -> Self {
        let no_env: [(&str, &str); 0] = [];
        let place = |key: &str, name: &str| (key.into(), dir.join(name).display().to_string());
        let places = [
            place("cache.dir", "cache"),
            place("cache.tempdir", "temp"),
            place("cache.static", "static"),
            place("state.dir", "state"),
        ];
        super::Sources::without_file(no_env, places).and_then(|sources| sources.load()).unwrap()
    }
}

/// Addresses besides `host` and `port`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// Where `/api` is served, and then only there (with everything else).
    #[serde(deserialize_with = "socket")]
    pub api: Option<SocketAddr>,
    /// Where metrics are served, and then only there (with everything else).
    #[serde(deserialize_with = "socket")]
    pub metrics: Option<SocketAddr>,
}

/// Where the media come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstreams {
    /// Audio or video by media id.
    pub audio: Template,
    /// `WebVTT` by media id (none).
    #[serde(default)]
    pub vtt: Option<Template>,
}

/// What is kept, where, and how much of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Sources (`./data/cache`).
    #[serde(deserialize_with = "path")]
    pub dir: PathBuf,
    /// Bytes of sources (100MB).
    #[serde(with = "size")]
    pub size: u64,
    /// Number of sources (100).
    #[serde(deserialize_with = "number")]
    pub limit: usize,
    /// Downloads in progress and scratch (`./data/temp`).
    #[serde(deserialize_with = "path")]
    pub tempdir: PathBuf,
    /// Packages (`./data/static`).
    #[serde(rename = "static", deserialize_with = "path")]
    pub packages: PathBuf,
    /// Life of a token, and of a stream made by `/api/token` (2m30s).
    #[serde(with = "span")]
    pub expiry: Duration,
    /// Bytes of segments held in memory (64MB).
    #[serde(with = "size")]
    pub memory: u64,
    /// Age after which the upstream is asked whether a source has changed (5m).
    #[serde(with = "span")]
    pub revalidate: Duration,
    /// Sizes at which the watchdog ends the process.
    pub killsize: Killsize,
}

/// Sizes on disk at which the watchdog ends the process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Killsize {
    /// Whether it does (true).
    #[serde(deserialize_with = "switch")]
    pub enabled: bool,
    /// Bytes in `cache.tempdir` (200MB).
    #[serde(with = "size")]
    pub tempdir: u64,
    /// Bytes in `cache.static` (512MB).
    #[serde(rename = "static", with = "size")]
    pub packages: u64,
}

/// What must survive a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct State {
    /// Database and signing key (`./data/state`).
    #[serde(deserialize_with = "path")]
    pub dir: PathBuf,
}

/// How media are fetched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Upstream {
    /// Bytes of one source (2GB).
    #[serde(with = "size")]
    pub max_size: u64,
    /// Until the connection stands (3s).
    #[serde(with = "span")]
    pub connect_timeout: Duration,
    /// From the request to the first byte of the answer (5s).
    #[serde(with = "span")]
    pub first_byte_timeout: Duration,
    /// The longest gap within a body (10s).
    #[serde(with = "span")]
    pub read_timeout: Duration,
    /// Bytes per second, on average, below which a fetch is given up (16KB); 0 for no such limit.
    #[serde(with = "size")]
    pub min_rate: u64,
    /// Fetches under way at once (32).
    #[serde(deserialize_with = "number")]
    pub fetches: usize,
    /// How long a fetch waits for its turn, and for room in the cache (60s).
    #[serde(with = "span")]
    pub wait: Duration,
    /// Redirects followed (0).
    #[serde(deserialize_with = "number")]
    pub redirects: usize,
    /// Headers sent with every request; their values are secrets (none).
    pub headers: BTreeMap<String, Secret>,
}

/// Media on the broker's own disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Library {
    /// Directories that exist, each listed by its last part, which no other has (none).
    #[serde(deserialize_with = "paths")]
    pub dirs: Vec<PathBuf>,
    /// Whether files that come, change and go are noticed at once (false).
    #[serde(deserialize_with = "switch")]
    pub watch: bool,
    /// Whether files are packaged before anybody asks: all at the start, and with `watch` those that come (false).
    #[serde(deserialize_with = "switch")]
    pub prewarm: bool,
    /// For how long size and time of a file must stay the same before it counts as whole (2s).
    #[serde(with = "span")]
    pub settle: Duration,
}

/// Caption renditions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Captions {
    /// Whether a stream without its captions is an error (false).
    #[serde(deserialize_with = "switch")]
    pub required: bool,
    /// NAME of the rendition ("English").
    #[serde(deserialize_with = "text")]
    pub name: String,
    /// LANGUAGE of the rendition, a BCP 47 tag ("en").
    #[serde(deserialize_with = "text")]
    pub language: String,
    /// Bytes of one caption file (2MB).
    #[serde(with = "size")]
    pub max_size: u64,
}

/// Encoding and packaging.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Packager {
    /// Encoders at once (`auto`, as many as there are cores).
    #[serde(deserialize_with = "workers")]
    pub workers: usize,
    /// Encoders that somebody waits for, beyond the workers (64).
    #[serde(deserialize_with = "number")]
    pub queue: usize,
    /// Bits per second of encoded audio (128k).
    #[serde(with = "bitrate")]
    pub bitrate: u32,
    /// Length of a segment after the first three (5s).
    #[serde(with = "span")]
    pub segment: Duration,
    /// What audio playlists name (cmaf).
    pub container: Container,
    /// The ffmpeg to run, a path or a name in PATH (ffmpeg).
    #[serde(deserialize_with = "path")]
    pub ffmpeg: PathBuf,
    /// Bytes of address space of one ffmpeg (1GB).
    #[serde(with = "size")]
    pub memory: u64,
    /// Silence of an ffmpeg that is being read from, after which it is ended (20s).
    #[serde(with = "span")]
    pub stall: Duration,
    /// Codecs that are handed on as they are, where nothing else speaks against it (aac and h264).
    #[serde(deserialize_with = "copied")]
    pub copy: Vec<Copied>,
    /// Bits per second, on average, above which audio is encoded all the same (256k).
    #[serde(with = "bitrate")]
    pub copy_bitrate: u32,
    /// Encoding video.
    pub video: Video,
}

/// What tokens are signed with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Token {
    /// The first signs, all verify; empty for a key that is made once and kept in `state.dir`.
    #[serde(deserialize_with = "secrets", serialize_with = "write_secrets")]
    pub secret: Vec<Secret>,
}

/// Which web pages may play.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// `*` or origins as a browser sends them (`*`).
    #[serde(deserialize_with = "origins")]
    pub origins: Vec<String>,
}

/// Bounds of the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Open connections; above that 503 (8192).
    #[serde(deserialize_with = "number")]
    pub connections: usize,
    /// Wrong handshakes per address and minute; above that 429 (20).
    #[serde(deserialize_with = "number")]
    pub bad_handshakes: u32,
    /// Proxies whose X-Forwarded-For is believed (none).
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// How long a request waits for a segment that is not encoded yet (30s).
    #[serde(with = "span")]
    pub segment_wait: Duration,
    /// For a request head, from its first byte (10s).
    #[serde(with = "span")]
    pub header: Duration,
    /// For a request body (10s).
    #[serde(with = "span")]
    pub body: Duration,
    /// How long a connection may rest between requests (90s).
    #[serde(with = "span")]
    pub idle: Duration,
    /// How long a reader may take nothing of a reply (60s).
    #[serde(with = "span")]
    pub write: Duration,
    /// How long playback goes on after the signal to end (20s).
    #[serde(with = "span")]
    pub drain: Duration,
    /// Media ids in one batch (256).
    #[serde(deserialize_with = "number")]
    pub batch: usize,
}

/// What is logged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least important that is logged (info).
    pub level: Level,
    /// How a line looks (text).
    pub format: Format,
}

fn any_address() -> IpAddr {
    Ipv4Addr::UNSPECIFIED.into()
}

fn go_port() -> u16 {
    7000
}

/// Serializes by `Display`.
#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
fn display<S: serde::Serializer>(url: &Option<Url>, serializer: S) -> Result<S::Ok, S::Error> {
    url.as_ref().map(Url::as_str).serialize(serializer)
}
