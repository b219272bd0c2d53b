//! File, environment, flags: which of them counts.

use super::*;

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
