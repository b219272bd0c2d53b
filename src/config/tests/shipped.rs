//! The files that users have: the sample of this project, and the Go service's.

use super::*;

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
