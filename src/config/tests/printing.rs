//! What `check` prints is what was meant, and holds no secret.

use super::*;

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
library: {dirs: [/usr], watch: true, prewarm: true, settle: 3s}
captions: {required: yes, name: Norsk, language: no, max_size: 3MB}
packager: {workers: 3, queue: 4, bitrate: 96001, segment: 6s, container: ts, ffmpeg: /opt/ffmpeg, memory: 2GiB, stall: 5s, copy: [av1], copy_bitrate: 96k, video: {encoder: h264_qsv, preset: fast, ladder: ["540:1200k"], ahead: 2m}}
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
