use std::{fs, path::Path, time::Duration};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::error::{Code, Result};

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

#[test]
fn the_shipped_file_holds_every_default() {
    let written = Written::new(SAMPLE);
    let shipped = written.load().unwrap();
    written.rewrite(&uncommented());
    assert_eq!(written.load().unwrap(), shipped);
    written.rewrite(
        "handshake: I-AM-A-SECRET-KEY\nurl: {audio: 'http://localhost:5000/audio', vtt: 'http://localhost:5000/vtt'}",
    );
    assert_eq!(written.load().unwrap(), shipped);
}

#[test]
fn the_shipped_file_names_every_key() {
    let names = |value: &serde_yaml::Value| {
        let mut names = Vec::new();
        list_keys("", value, &mut names);
        names.sort();
        names
    };
    let all = serde_yaml::to_value(Written::new(SAMPLE).load().unwrap()).unwrap();
    assert_eq!(names(&serde_yaml::from_str(&uncommented()).unwrap()), names(&all));
}

fn list_keys(section: &str, value: &serde_yaml::Value, names: &mut Vec<String>) {
    for (key, value) in value.as_mapping().into_iter().flatten() {
        let key = format!("{section}.{}", key.as_str().unwrap());
        list_keys(&key, value, names);
        names.push(key);
    }
}

#[test]
fn the_go_services_file_loads() {
    let written = Written::new(
        r#"
port: 7000
handshake: "I-AM-A-SECRET-KEY"
url:
  audio: http://localhost:5000/audio
  vtt: http://localhost:5000/vtt
cache:
  dir: ./data/cache
  size: 100MB
  limit: 100
  tempdir: ./data/temp
  static: ./data/static
  expiry: "1m30s"
  killsize:
    enabled: true
    tempdir: 200MB
    static: 512MB
"#,
    );
    let settings = written.load().unwrap();
    assert_eq!(settings.cache.expiry, Duration::from_secs(90));
    assert_eq!(settings.cache.size, 100_000_000);
    assert_eq!(settings.handshake, [Secret::new("I-AM-A-SECRET-KEY")]);
    assert_eq!(
        settings.url.vtt.unwrap().url("a").as_str(),
        "http://localhost:5000/vtt/a?batch=true"
    );
}

#[test]
fn errors_name_key_value_and_what_is_allowed() {
    for (yaml, expected) in [
        ("port: 70000", r#"port: "70000" is not a whole number from 0 to 65535"#),
        ("port: -1", "port: \"-1\" is not a whole number"),
        ("port: 70.5", "port: \"70.5\" is not a whole number"),
        ("host: localhost", r#"host: "localhost" is not an IP address such as 0.0.0.0"#),
        ("public_url: hls.example.org", r#"public_url: "hls.example.org" is not a URL"#),
        ("public_url: ftp://x/", "public_url: \"ftp://x/\" is neither http nor https"),
        ("public_url: http://x/?a=b", "public_url: must not have a query"),
        (
            "listen: {api: 7001}",
            r#"listen.api: "7001" is not an IP address with a port such as 127.0.0.1:7001"#,
        ),
        ("listen: {api: '0.0.0.0:7000'}", "listen.api: 0.0.0.0:7000 is in use by another part"),
        (
            "cache: {size: 12XB}",
            r#"cache.size: "12XB" is not a size: write it like 500KB, 100MB or 2GiB"#,
        ),
        ("cache: {size: 10}", "cache.size: 10B is out of range: from 1KB to 1000TB"),
        ("cache: {limit: 0}", "cache.limit: 0 is out of range: from 1 to 1000000"),
        ("cache: {expiry: 150}", r#"cache.expiry: "150" is not a duration: write it like 2m30s"#),
        ("cache: {expiry: 0s}", "cache.expiry: \"0s\" must be longer than nothing"),
        ("cache: {expiry: 2}", "is not a duration"),
        ("cache: {expiry: [1s]}", "cache.expiry: invalid type: sequence, expected a single value"),
        ("cache: {dir: ''}", "cache.dir: must not be empty"),
        (
            "cache: {killsize: {enabled: maybe}}",
            r#"cache.killsize.enabled: "maybe" is neither true nor false"#,
        ),
        ("cache: 5", "cache: takes no value but the keys dir, size, limit"),
        ("cache: {size: {max: 1}}", "cache.size: takes a value, not further keys"),
        ("cache: {dir: data/x, static: data/x}", "cache.static: "),
        ("cache: {dir: data, static: data/x/../y}", "must lie apart"),
        ("cache: {tempdir: data/state/temp}", "must lie apart"),
        ("upstream: {headers: {X-Key: [a]}}", "upstream.headers.X-Key: invalid type: sequence"),
        ("upstream: {headers: {Range: a}}", "upstream.headers.Range: is set by the broker itself"),
        (
            "upstream: {headers: {'X Key': a}}",
            "upstream.headers.X Key: is not the name of an HTTP header",
        ),
        (
            "upstream: {headers: {X-Key: \"a\\x07\"}}",
            "upstream.headers.X-Key: holds a control character",
        ),
        ("upstream: {redirects: 11}", "upstream.redirects: 11 is out of range: from 0 to 10"),
        (
            "captions: {language: English please}",
            r#"captions.language: "English please" is not a language tag"#,
        ),
        ("captions: {name: 'a\"b'}", "captions.name: must be at most 64 characters without quotes"),
        (
            "packager: {bitrate: fast}",
            r#"packager.bitrate: "fast" is not a bit rate: write it like 128k or 128000"#,
        ),
        ("packager: {bitrate: 8k}", "packager.bitrate: 8k is out of range: from 16k to 512k"),
        ("packager: {segment: 61s}", "packager.segment: 1m1s is out of range: from 1s to 1m"),
        ("packager: {container: mkv}", r#"packager.container: "mkv" is not one of cmaf, aac, ts"#),
        ("packager: {workers: 0}", "packager.workers: 0 is out of range: from 1 to 1024"),
        ("packager: {workers: all}", r#"packager.workers: "all" is not a whole number or auto"#),
        (
            "cors: {origins: [example.org]}",
            "is neither * nor an origin such as https://app.example.org",
        ),
        ("cors: {origins: 'https://a/b'}", "cors.origins: \"https://a/b\" is neither"),
        ("cors: {origins: {a: b}}", "cors.origins: takes a value"),
        (
            "limits: {trusted_proxies: [10.0.0.0/99]}",
            r#"limits.trusted_proxies: "10.0.0.0/99" is not an address or network"#,
        ),
        ("limits: {idle: 2days}", "limits.idle: 48h is out of range: from 10ms to 1h"),
        (
            "log: {level: loud}",
            r#"log.level: "loud" is not one of error, warn, info, debug, trace"#,
        ),
        ("token: {secret: ['']}", "token.secret: must not be empty"),
        ("port: 1\nport: 2", "not YAML: "),
        ("a: [", "not YAML: "),
        ("\tport: 1", "not YAML: "),
    ] {
        let text = error(yaml);
        assert!(text.contains(expected), "{yaml}\n  says      {text}\n  should be {expected}");
    }
}

#[test]
fn what_has_no_default_must_be_there() {
    for (yaml, expected) in [
        ("", "handshake: is missing"),
        ("handshake:", "handshake: is missing"),
        ("handshake: []\nurl: {audio: 'http://up'}", "handshake: must hold at least one"),
        ("handshake: ''\nurl: {audio: 'http://up'}", "handshake: must not be empty"),
        ("handshake: [a, '']\nurl: {audio: 'http://up'}", "handshake: must not be empty"),
        (
            "handshake: 1.50\nurl: {audio: 'http://up'}",
            "handshake: must be text or a list of texts; put each in quotes",
        ),
        ("handshake: '***'\nurl: {audio: 'http://up'}", "handshake: is masked"),
        ("handshake: a", "url: is missing; set url.audio"),
        ("handshake: a\nurl: {vtt: 'http://up'}", "url.audio: is missing; set url.audio"),
        ("just text", "not a list of `key: value` lines"),
        ("- a\n- b", "not a list of `key: value` lines"),
    ] {
        let text = Written::new(yaml).load().expect_err(yaml).to_string();
        assert!(text.contains(expected), "{yaml}: {text}");
    }
    let text = load(Some(Path::new("/nowhere/hls.yaml")), NO_ENV, []).unwrap_err().to_string();
    assert!(text.contains("/nowhere/hls.yaml cannot be read"), "{text}");
}

#[test]
fn an_unknown_key_is_answered_with_the_nearest() {
    for (yaml, expected) in [
        ("cache: {szie: 1MB}", "cache.szie: unknown key; did you mean cache.size?"),
        ("cahce: {size: 1MB}", "cahce: unknown key; did you mean cache?"),
        ("killsize: {enabled: true}", "killsize: unknown key; did you mean cache.killsize?"),
        ("packager: {expiry: 1m}", "packager.expiry: unknown key; did you mean cache.expiry?"),
        (
            "limits: {conections: 5}",
            "limits.conections: unknown key; did you mean limits.connections?",
        ),
        ("publicUrl: http://x", "publicUrl: unknown key; did you mean public_url?"),
        ("cache: {killsize: {statics: 1MB}}", "did you mean cache.killsize.static?"),
        (
            "something_else_entirely: 1",
            "something_else_entirely: unknown key; hls.yaml in the repository lists all keys",
        ),
        ("5: 1", "a key below this is not text"),
    ] {
        assert!(error(yaml).contains(expected), "{yaml}: {}", error(yaml));
    }
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let written = Written::new(&format!(
        "{NEEDED}port: 1\nlog: {{level: warn}}\ncache: {{size: 1MB, limit: 5}}"
    ));
    let port = |env: &[_], flags: &[_]| written.load_with(env, flags).unwrap().port;
    assert_eq!(port(&[], &[]), 1);
    assert_eq!(port(&[("PORT", "2")], &[]), 2);
    assert_eq!(port(&[("HLS__PORT", "3"), ("PORT", "2")], &[]), 3);
    assert_eq!(port(&[("HLS__PORT", "3"), ("PORT", "2")], &[("port", "4")]), 4);
    assert_eq!(port(&[], &[("port", "4"), ("port", "5")]), 5);
    assert_eq!(port(&[("PORT", ""), ("HLS_PORT", "tcp://10.0.0.1"), ("port", "9")], &[]), 1);
    assert_eq!(port(&[("PORT", "2")], &[("port", "")]), 7000);

    let env = [
        ("HLS__CACHE__SIZE", "1GB"),
        ("HLS__CACHE__KILLSIZE__ENABLED", "false"),
        ("HANDSHAKE", "[a,b"),
    ];
    let settings = written.load_with(&env, &[]).unwrap();
    assert_eq!((settings.cache.size, settings.cache.limit), (1_000_000_000, 5));
    assert!(!settings.cache.killsize.enabled);
    assert_eq!(settings.handshake, [Secret::new("[a,b")]);
}

#[test]
fn lists_and_maps_come_from_the_environment_too() {
    let env = [
        ("HLS__CORS__ORIGINS", "https://a.example, HTTPS://B.example:443/,capacitor://localhost"),
        ("HLS__LIMITS__TRUSTED_PROXIES", "10.1.2.3/8,::1"),
        ("HLS__UPSTREAM__HEADERS__X-API-KEY", "k,1"),
        ("HLS__HANDSHAKE", r#"["one", "two, too"]"#),
        ("HLS__URL__AUDIO", "http://up/{id}.mp3"),
        ("HLS__CACHE__LIMIT", "8"),
        ("HLS__CACHE", "{limit: 7, size: 5MB}"),
    ];
    let flags = [("upstream.headers.X.Dotted", "d"), ("token.secret", "a,b")];
    let settings = Written::new(NEEDED).load_with(&env, &flags).unwrap();
    assert_eq!(
        settings.cors.origins,
        ["https://a.example", "https://b.example", "capacitor://localhost"]
    );
    let nets: Vec<_> = settings.limits.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(nets, ["10.0.0.0/8", "::1/128"]);
    let headers: Vec<_> = settings
        .upstream
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose()))
        .collect();
    assert_eq!(headers, [("X.Dotted", "d"), ("x-api-key", "k,1")]);
    assert_eq!(settings.handshake, [Secret::new("one"), Secret::new("two, too")]);
    assert_eq!(settings.token.secret, [Secret::new("a,b")]);
    assert_eq!(settings.url.audio.url("x").as_str(), "http://up/x.mp3");
    assert_eq!((settings.cache.limit, settings.cache.size), (8, 5_000_000));
}

#[test]
fn an_error_names_the_variable_or_flag_that_caused_it() {
    let written = Written::new(NEEDED);
    for (env, flag, expected) in [
        (
            ("HLS__CACHE__SIZE", "5XB"),
            ("port", "1"),
            "environment variable HLS__CACHE__SIZE: cache.size: \"5XB\"",
        ),
        (
            ("HLS__CACHE__SIZ", "5MB"),
            ("port", "1"),
            "environment variable HLS__CACHE__SIZ: cache.siz: unknown key; did you mean cache.size?",
        ),
        (("PORT", "http"), ("cache.size", "1MB"), "environment variable PORT: port: \"http\""),
        (("PORT", "http"), ("port", "x"), "command line: port: \"x\""),
        (("PORT", "1"), ("cache.limit", "0"), "command line: cache.limit: 0 is out of range"),
        (("PORT", "1"), ("a[99999999999999]", "0"), "command line: a[99999999999999]: unknown key"),
        (("HLS__", "1"), ("port", "1"), "environment variable HLS__: unknown key"),
    ] {
        let text = written.load_with(&[env], &[flag]).unwrap_err().to_string();
        assert!(text.starts_with(expected), "{text}");
    }
}

#[test]
fn a_variable_that_is_not_text_is_refused_only_if_it_is_ours() {
    use std::os::unix::ffi::OsStringExt;
    let broken = || std::ffi::OsString::from_vec(vec![0xff]);
    let written = Written::new(NEEDED);
    assert!(load(Some(&written.file()), [("OTHER", broken())], []).is_ok());
    let text = load(Some(&written.file()), [("PORT", broken())], []).unwrap_err().to_string();
    assert_eq!(text, "environment variable PORT is not UTF-8");
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let written = Written::new(&format!(
        "{NEEDED}cache: {{dir: ./here/cache, tempdir: /far/temp}}\npackager: {{ffmpeg: bin/ffmpeg}}"
    ));
    let settings = written.load_with(&[("HLS__STATE__DIR", "state")], &[]).unwrap();
    assert_eq!(settings.cache.dir, written.0.path().join("here/cache"));
    assert_eq!(settings.cache.tempdir, Path::new("/far/temp"));
    assert_eq!(settings.cache.packages, written.0.path().join("data/static"));
    assert_eq!(settings.state.dir, written.0.path().join("state"));
    assert_eq!(settings.packager.ffmpeg, written.0.path().join("bin/ffmpeg"));
    assert_eq!(loaded("").packager.ffmpeg, Path::new("ffmpeg"));
}

/// Every key away from its default, secrets in every place that takes one.
const ALL_CHANGED: &str = r#"
host: 127.0.0.1
port: 0
public_url: https://hls.example.org/stream
listen: {api: "127.0.0.1:7001", metrics: "[::1]:7002"}
handshake: [hunter2-first-handshake, hunter2-second-handshake]
url: {audio: "http://media/{id}.mp3", vtt: "https://media/{id}.vtt?a=b"}
cache:
  dir: a
  size: 3MiB
  limit: 7
  tempdir: b
  static: c
  expiry: 1.5h
  memory: 1234567
  revalidate: 1h1m1s
  killsize: {enabled: false, tempdir: 1.5GB, static: 1TB}
state: {dir: d}
upstream:
  max_size: 5MB
  connect_timeout: 1500ms
  first_byte_timeout: 1s
  read_timeout: 2s
  min_rate: 0
  fetches: 3
  wait: 20s
  redirects: 2
  headers: {Authorization: "Bearer hunter2", X-Number: 42}
captions: {required: yes, name: Norsk, language: no, max_size: 3MB}
packager: {workers: 3, queue: 4, bitrate: 96001, segment: 6s, container: ts, ffmpeg: /opt/ffmpeg, memory: 2GiB, stall: 5s}
token: {secret: hunter2-token-secret}
cors: {origins: ["https://app.example.org"]}
limits:
  connections: 10
  bad_handshakes: 3
  trusted_proxies: [10.0.0.0/8, 192.168.1.1]
  segment_wait: 1s
  header: 2s
  body: 3s
  idle: 40s
  write: 5s
  drain: 6s
  batch: 12
log: {level: trace, format: json}
"#;

#[test]
fn the_printed_settings_hold_no_secret_and_load_back() {
    let written = Written::new(ALL_CHANGED);
    let settings = written.load().unwrap();
    let yaml = settings.to_yaml();
    for printed in [
        &yaml,
        &format!("{settings:?}"),
        &format!("{settings:#?}"),
        &warnings(&settings).join("\n"),
    ] {
        assert!(!printed.contains("hunter2") && !printed.contains("42"), "{printed}");
    }
    for readable in
        ["expiry: 1h30m", "size: 3MiB", "tempdir: 1500MB", "bitrate: '96001'", "language: no"]
    {
        assert!(yaml.contains(readable), "{readable} in {yaml}");
    }
    assert!(Written::new(&yaml).load().unwrap_err().to_string().contains("is masked"));
    let secrets = [
        "hunter2-first-handshake",
        "hunter2-second-handshake",
        "Bearer hunter2",
        "'42'",
        "hunter2-token-secret",
    ];
    let filled = secrets.iter().fold(yaml, |yaml, secret| yaml.replacen("'***'", secret, 1));
    written.rewrite(&filled);
    assert_eq!(written.load().unwrap(), settings, "{filled}");
}

#[test]
fn every_key_of_the_test_above_is_away_from_its_default() {
    let changed = serde_yaml::to_value(Written::new(ALL_CHANGED).load().unwrap()).unwrap();
    let default = serde_yaml::to_value(Written::new(SAMPLE).load().unwrap()).unwrap();
    assert_all_differ("", &changed, &default);
}

fn assert_all_differ(key: &str, a: &serde_yaml::Value, b: &serde_yaml::Value) {
    match (a.as_mapping(), b.as_mapping()) {
        (Some(a), Some(b)) if !b.is_empty() => {
            a.iter().for_each(|(name, a)| {
                assert_all_differ(&format!("{key}.{}", name.as_str().unwrap()), a, &b[name]);
            });
        }
        _ => assert_ne!(a, b, "{key}"),
    }
}

#[test]
fn no_error_repeats_a_secret() {
    for yaml in [
        "handshake: {hunter2: hunter2}",
        "handshake: [[hunter2]]",
        "handshake: ' hunter2'",
        "handshake: [true, hunter2]",
        "handshake: \"hunter2\\n\"",
        "token: hunter2",
        "token: {secret: [[hunter2]]}",
        "token: {secret: {key: hunter2}}",
        "upstream: {headers: hunter2}",
        "upstream: {headers: {A: [hunter2]}}",
        "upstream: {headers: {A: \"hunter2\\n\"}}",
        "upstream: {headers: {A: \"hunter2\u{20ac}\", range: hunter2}}",
        "public_url: http://hunter2@x/",
        "public_url: http://x:hunter2/?y=hunter2",
    ] {
        let written = Written::new("url: {audio: 'http://up'}");
        written.rewrite(&format!("url: {{audio: 'http://up'}}\n{yaml}"));
        let flags = if yaml.starts_with("handshake") {
            vec![]
        } else {
            vec![("handshake", "something-or-other")]
        };
        let error = written.load_with(&[], &flags).expect_err(yaml);
        if !yaml.contains("x:hunter2") {
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{yaml}: {error}");
        }
    }
}

#[test]
fn reading_again_sees_what_has_changed_and_keeps_the_overrides() {
    let written = Written::new(&format!("{NEEDED}limits: {{batch: 1}}"));
    let sources =
        Sources::find(Some(&written.file()), [("PORT", "5")], owned(&[("cache.limit", "3")]))
            .unwrap();
    let before = sources.load().unwrap();
    written.rewrite(&format!("{NEEDED}limits: {{batch: 2}}"));
    let after = sources.load().unwrap();
    assert_eq!((before.limits.batch, after.limits.batch), (1, 2));
    assert_eq!((after.port, after.cache.limit), (5, 3));
    written.rewrite("handshake: [");
    assert!(sources.load().is_err());
}

#[test]
fn without_a_file_the_defaults_stand() {
    let settings = Sources::without_file([("PORT", "5")], owned(&[("packager.bitrate", "96k")]))
        .unwrap()
        .load()
        .unwrap();
    assert_eq!((settings.port, settings.packager.bitrate), (5, 96_000));
    assert!(settings.cache.dir.is_absolute());
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Settings::example(dir.path()).state.dir, dir.path().join("state"));
}

#[test]
fn warnings_name_what_does_not_fit() {
    let quiet = "upstream: {max_size: 200MB}\n";
    assert_eq!(warnings(&loaded(quiet)), Vec::<String>::new());
    for (yaml, expected) in [
        (
            "upstream: {max_size: 2GB}",
            "upstream.max_size: 2GB is more than cache.killsize.tempdir (200MB)",
        ),
        ("cache: {size: 1GB}", "cache.size: 1GB is more than cache.killsize.static (512MB)"),
        (
            "cache: {killsize: {static: 70MB}, size: 1MB}",
            "packager.bitrate: 60480KB is more than 80% of cache.killsize.static",
        ),
        ("packager: {workers: 1024}", "packager.workers: 1024 is more than the cores"),
        ("token: {secret: short}", "token.secret: shorter than 32 bytes"),
        ("listen: {api: '127.0.0.1:1'}", "public_url: not set"),
        ("limits: {trusted_proxies: 0.0.0.0/0}", "limits.trusted_proxies: holds everybody"),
        ("limits: {idle: 5s}", "packager.segment: 5s is more than half of limits.idle (5s)"),
        ("cache: {memory: 1GB}", "cache.memory: 1GB is more than cache.killsize.static (512MB)"),
    ] {
        let found = warnings(&loaded(yaml));
        assert!(found.iter().any(|text| text.starts_with(expected)), "{yaml}: {found:?}");
    }
    let sample = warnings(&Written::new(SAMPLE).load().unwrap());
    assert!(sample.iter().any(|text| text.contains("everybody knows")), "{sample:?}");
    let short =
        warnings(&Written::new("handshake: short\nurl: {audio: 'http://up'}").load().unwrap());
    assert!(short.iter().any(|text| text.contains("can be guessed")), "{short:?}");
}

#[test]
fn deep_nesting_is_an_error() {
    for yaml in
        ["[".repeat(1_000), "- ".repeat(1_000), "a: {".repeat(1_000), "&a [*a, *a]".repeat(10)]
    {
        assert!(Written::new(&yaml).load().is_err());
    }
    let deep = "a.".repeat(1_000);
    assert!(
        Written::new(NEEDED)
            .load_with(&[], &[(&deep, "1"), ("cache.dir", &"[".repeat(1_000))])
            .is_err()
    );
}

/// Lines that look like settings, some of which are.
fn yamlish() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        Just("port"),
        Just("handshake"),
        Just("url"),
        Just("audio"),
        Just("cache"),
        Just("size"),
        Just("expiry"),
        Just("upstream"),
        Just("headers"),
        Just("limits"),
        Just("trusted_proxies"),
        Just("packager"),
        Just("bitrate"),
        Just("cors"),
        Just("origins"),
        Just("token"),
        Just("secret"),
        Just("log"),
        Just("<<"),
        Just("? x"),
    ];
    let line = (
        0..3_usize,
        key,
        "|[0-9]{1,20}|[0-9.]{1,9}(MB|ms|h|k)|[-\\[\\]{}&*!|>'\"%@`#,?: a-z0-9.]{0,12}|\\PC{0,8}",
    )
        .prop_map(|(depth, key, value)| format!("{}{key}: {value}\n", "  ".repeat(depth)));
    prop_oneof![
        proptest::collection::vec(line, 0..8).prop_map(|lines| lines.concat()),
        "\\PC{0,60}",
        "[\\s\\S]{0,60}"
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn no_file_makes_it_panic(yaml in yamlish()) {
        let written = Written::new(&yaml);
        if let Err(error) = written.load() {
            prop_assert_eq!(error.code(), Code::Config);
            prop_assert!(!error.to_string().contains('\n'), "{}", error);
        }
    }

    #[test]
    fn no_override_makes_it_panic(
        variable in "HLS__([A-Z_]{0,12}|CACHE__SIZE|LIMITS__IDLE|CORS__ORIGINS|UPSTREAM__HEADERS__[!-~]{0,5})",
        key in "[a-z.\\[\\]0-9-]{0,16}|cache\\.(size|dir|expiry)|packager\\.(bitrate|segment)|handshake|url\\.(audio|vtt)|\\PC{0,9}",
        value in "\\PC{0,20}|[\\[{][\\[\\]{},:a-z0-9 '\"&*]{0,20}|[0-9.]{1,25}(MB|ms|h|k|)",
    ) {
        let written = Written::new(NEEDED);
        if let Err(error) = written.load_with(&[(&variable, &value)], &[(&key, &value)]) {
            prop_assert_eq!(error.code(), Code::Config);
            prop_assert!(!error.to_string().contains('\n'), "{}", error);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_valid_settings_print_and_load_back(
        port: u16,
        size in 1_000..1_000_000_000_000_000_u64,
        expiry in 1_000_000_000..31_000_000_000_000_000_u64,
        bitrate in 16_000..=512_000_u32,
        name in "[^\\p{C}\"]{1,64}",
        batch in 1..=10_000_usize,
    ) {
        let written = Written::new(NEEDED);
        let mut settings = written.load().unwrap();
        settings.port = port;
        settings.cache.size = size;
        settings.cache.expiry = Duration::from_nanos(expiry);
        settings.packager.bitrate = bitrate;
        settings.captions.name = name;
        settings.limits.batch = batch;
        written.rewrite(&settings.to_yaml().replacen("'***'", "a-handshake-of-some-length", 1));
        prop_assert_eq!(written.load().unwrap(), settings);
    }
}
