//! The command line: what is checked before anything starts, what a container probe sees, tokens by hand, exit codes.

mod support;

use std::{fs, process::Command};

use serde_yaml::Value;
use support::{
    Broker, Clip, Format, Player, Setup, Upstream,
    setup::{Ended, HANDSHAKE, finish, hls_broker},
    upstream::Nowhere,
};

const SECRET: &str = "signing-secret-of-thirty-two-bytes-5d";

fn setup(upstream: &Upstream) -> Setup {
    Broker::setup(upstream)
}

/// The one line that says why it ended.
#[track_caller]
fn complaint(ended: &Ended, code: i32) -> &str {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    let mut lines = ended.stderr.lines().filter_map(|line| line.strip_prefix("hls-broker: "));
    let line = lines.next().unwrap_or_else(|| panic!("no complaint: {ended:?}"));
    assert_eq!(lines.next(), None, "{ended:?}");
    line
}

#[test]
fn check_shows_what_is_in_force_and_that_can_be_loaded_again() {
    let upstream = Upstream::start();
    let setup = setup(&upstream).with("token.secret", SECRET).with("cache.expiry", "1h");
    let checked = setup.run(&["check"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(!checked.stdout.contains(HANDSHAKE) && !checked.stdout.contains(SECRET), "{checked:?}");
    let yaml: Value = serde_yaml::from_str(&checked.stdout).expect("YAML");
    assert_eq!(yaml["cache"]["expiry"], "1h");
    assert_eq!(yaml["cache"]["size"], "100MB");
    assert!(yaml["handshake"].is_sequence() || yaml["handshake"].is_string(), "{yaml:?}");
    assert_eq!(yaml["limits"]["connections"], 8192, "defaults are shown, too");

    // As a file of its own it says the same, once the secrets stand in it.
    let copy = setup.dir().join("copy.yaml");
    let load = |text: &str| {
        fs::write(&copy, text).expect("a file");
        let mut again = setup.command();
        again.args(["check", "--config"]).arg(&copy);
        finish(again)
    };
    assert!(complaint(&load(&checked.stdout), 78).contains("handshake: is masked"));
    let again = load(&checked.stdout.replace("***", SECRET));
    assert_eq!((again.code, &again.stdout), (Some(0), &checked.stdout), "{again:?}");
}

#[test]
fn check_warns_of_what_is_weak_or_does_not_fit() {
    let upstream = Upstream::start();
    let setup =
        setup(&upstream).with("handshake", "I-AM-A-SECRET-KEY").with("token.secret", "short");
    let checked = setup.with("cache.size", "10GB").run(&["check"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    for warned in ["handshake", "token.secret", "cache.size"] {
        let is_it = |line: &str| line.starts_with(&format!("warning: {warned}: "));
        assert!(checked.stderr.lines().any(is_it), "{warned}: {checked:?}");
    }
}

#[test]
fn a_mistake_ends_with_78_and_a_line_that_names_it() {
    let upstream = Upstream::start();
    let file = Clip::silence(Format::Wav, 1.0).path();
    let beneath = file.join("dir").to_string_lossy().into_owned();
    let cases: &[(&str, Value, &[&str])] = &[
        ("cache.sise", "1GB".into(), &["cache.sise"]),
        ("surprise", 1.into(), &["surprise"]),
        ("cache.size", "lots".into(), &["cache.size", "lots"]),
        ("cache.size", (-1).into(), &["cache.size", "-1"]),
        ("cache.expiry", "soon".into(), &["cache.expiry", "soon"]),
        ("cache.limit", 0.into(), &["cache.limit", "0"]),
        ("packager.container", "mkv".into(), &["packager.container", "mkv", "cmaf"]),
        ("log.level", "loud".into(), &["log.level", "loud", "debug"]),
        ("url.audio", "not a url".into(), &["url.audio"]),
        ("url.audio", "file:///etc/passwd".into(), &["url.audio"]),
        ("port", 70_000.into(), &["port", "70000"]),
        ("handshake", "".into(), &["handshake"]),
        ("limits.drain", "1d".into(), &["limits.drain", "24h", "1h"]),
        ("cache.killsize", "200MB".into(), &["cache.killsize"]),
    ];
    for (key, value, parts) in cases {
        let ended = setup(&upstream).with(key, value.clone()).run(&["serve"]);
        let line = complaint(&ended, 78);
        for part in *parts {
            assert!(line.contains(part), "no {part:?} in {line:?}");
        }
    }
    for key in ["cache.dir", "cache.tempdir", "cache.static", "state.dir"] {
        let ended = setup(&upstream).with(key, beneath.as_str()).run(&["serve"]);
        assert!(complaint(&ended, 78).starts_with(key), "{ended:?}");
    }
    let ended = setup(&upstream).without("url").run(&["serve"]);
    assert!(complaint(&ended, 78).contains("url.audio"), "{ended:?}");
    let ended = setup(&upstream).without("handshake").run(&["serve"]);
    assert!(complaint(&ended, 78).contains("handshake"), "{ended:?}");
}

#[test]
fn directories_within_each_other_are_refused() {
    let upstream = Upstream::start();
    for (key, dir) in [
        ("cache.static", "./temp"),
        ("cache.static", "./temp/static"),
        ("state.dir", "./cache/state"),
    ] {
        let ended = setup(&upstream).with(key, dir).run(&["serve"]);
        assert!(complaint(&ended, 78).contains(key), "{ended:?}");
    }
}

#[test]
fn a_file_that_is_none_is_named() {
    let upstream = Upstream::start();
    let missing = setup(&upstream);
    let mut command = missing.command();
    command.args(["serve", "--config", "nowhere.yaml"]);
    assert!(complaint(&finish(command), 78).contains("nowhere.yaml"));
    let broken = setup(&upstream);
    fs::write(broken.dir().join("broken.yaml"), "cache: [").expect("a file");
    let mut command = broken.command();
    command.args(["check", "--config", "broken.yaml"]);
    assert!(complaint(&finish(command), 78).contains("broken.yaml"));
    let empty = setup(&upstream);
    assert_eq!(finish(with(empty.command(), &["check"])).code, Some(78));
}

fn with(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments);
    command
}

#[test]
fn files_are_found_where_they_are_looked_for() {
    let upstream = Upstream::start();
    let setup = setup(&upstream);
    setup.run(&["check"]);
    let (dir, home) = (setup.dir(), setup.dir().join("home"));
    fs::create_dir_all(&home).expect("a home");
    let places = [dir.join("hls.yaml"), dir.join(".hls.yaml"), home.join(".hls.yaml")];
    for pair in places.windows(2) {
        let found = finish(with(setup.command(), &["check"]));
        assert_eq!(found.code, Some(0), "{found:?}");
        fs::rename(&pair[0], &pair[1]).expect("a rename");
    }
    let found = finish(with(setup.command(), &["check"]));
    assert_eq!(found.code, Some(0), "{found:?}");
    let yaml: Value = serde_yaml::from_str(&found.stdout).expect("YAML");
    let cache = yaml["cache"]["dir"].as_str().expect("a path");
    assert!(cache.contains("home"), "{cache} is relative to the file");
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let upstream = Upstream::start();
    let effective = |setup: &Setup, arguments: &[&str]| -> Value {
        let checked = setup.run(arguments);
        assert_eq!(checked.code, Some(0), "{checked:?}");
        serde_yaml::from_str(&checked.stdout).expect("YAML")
    };
    let setup = setup(&upstream)
        .with("cache.size", "1MB")
        .env("HLS__CACHE__SIZE", "2MB")
        .env("HLS__CACHE__KILLSIZE__STATIC", "3GB")
        .env("PORT", "7111")
        .env("HANDSHAKE", "a-handshake-from-the-environment");
    let yaml = effective(&setup, &["check"]);
    assert_eq!((&yaml["cache"]["size"], &yaml["port"]), (&"2MB".into(), &7111.into()));
    assert_eq!(yaml["cache"]["killsize"]["static"], "3GB");
    let yaml = effective(&setup, &["check", "--set", "cache.size=3MB", "--port", "7222"]);
    assert_eq!((&yaml["cache"]["size"], &yaml["port"]), (&"3MB".into(), &7222.into()));
    let yaml = effective(&setup, &["--set", "cache.size=4MB", "check"]);
    assert_eq!(yaml["cache"]["size"], "4MB");

    let wrong = Broker::setup(&upstream).env("HLS__CACHE__SISE", "1").run(&["check"]);
    assert!(
        complaint(&wrong, 78).contains("HLS__CACHE__SISE") || wrong.stderr.contains("cache.sise")
    );
}

#[test]
fn the_environment_of_a_container_is_enough() {
    let upstream = Upstream::start();
    upstream.audio("a", Clip::silence(Format::Wav, 2.0).bytes());
    let handshake = "a-handshake-from-the-environment";
    let broker = setup(&upstream)
        .without("port")
        .without("handshake")
        .env("PORT", "0")
        .env("HANDSHAKE", handshake)
        .start();
    broker.keep_secret(handshake);
    let body = serde_json::json!({ "handshake": handshake, "qid": "a" });
    broker.post_json("/api/token", &body).expect(201);
    broker.ask("a").expect_error(401, "bad_handshake");
}

#[test]
fn health_is_0_or_1() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).with("listen.metrics", "127.0.0.1:0").start();
    let well = hls_broker(&["health", "--url", &broker.url()]);
    assert_eq!((well.code, well.stdout.as_str()), (Some(0), "ok\n"), "{well:?}");
    let well = hls_broker(&["health", "--url", &format!("{}/", broker.url())]);
    assert_eq!(well.code, Some(0), "{well:?}");
    let port = broker.address("main").port().to_string();
    let well = broker.run(&["health", "--port", &port]);
    assert_eq!(well.code, Some(0), "{well:?}");
    let metrics = format!("http://{}", broker.address("metrics"));
    let ill = hls_broker(&["health", "--url", &metrics]);
    assert_eq!(ill.code, Some(1), "no health there: {ill:?}");
    let gone = hls_broker(&["health", "--url", &Nowhere::bind().url()]);
    assert_eq!(gone.code, Some(1), "{gone:?}");
    complaint(&gone, 1);
}

#[test]
fn tokens_made_by_hand_open_streams() {
    let upstream = Upstream::start();
    upstream.audio("a", Clip::silence(Format::Wav, 2.0).bytes());
    let broker = setup(&upstream).start();
    let grant = broker.token("a");
    let minted = broker.run(&["token", "mint", &grant.rid, "--for", "10m"]);
    assert_eq!(minted.code, Some(0), "{minted:?}");
    let token = minted.stdout.trim();
    broker.keep_secret(token);
    let own = support::Grant { token: token.to_owned(), ..grant.clone() };
    Player::new(&broker, &own).get("index.m3u8").expect(200);

    let valid = broker.run(&["token", "inspect", token]);
    assert_eq!(valid.code, Some(0), "{valid:?}");
    assert!(valid.stdout.contains(&format!("stream {}", grant.rid)), "{valid:?}");
    assert!(valid.stdout.contains("expires 20") && valid.stdout.contains("valid"), "{valid:?}");
    let other = setup(&upstream).with("token.secret", SECRET).run(&["token", "inspect", token]);
    assert!(!complaint(&other, 69).contains(token), "{other:?}");
    let wrong = broker.run(&["token", "mint", "no-rid", "--for", "10m"]);
    complaint(&wrong, 64);
}

#[test]
fn help_is_on_stdout_and_mistakes_on_stderr() {
    for arguments in [&["--help"][..], &["serve", "--help"], &["--version"]] {
        let ended = hls_broker(arguments);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains("hls-broker") && ended.stderr.is_empty(), "{ended:?}");
    }
    for arguments in [&["sing"][..], &["serve", "--sing"], &["--port", "x"], &["token"]] {
        let ended = hls_broker(arguments);
        assert_eq!(ended.code, Some(64), "{ended:?}");
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{ended:?}");
    }
}
