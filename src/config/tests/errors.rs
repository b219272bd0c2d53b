//! What is refused, and in which words; what is taken with a warning.

use super::*;

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
        ("packager: {copy: [mp3]}", "is not one of aac, h264, hevc, av1, opus, flac"),
        (
            "packager: {video: {ladder: [720p]}}",
            r#"packager.video.ladder: "720p" is not a height and a bit rate: write it like 720:2800k"#,
        ),
        (
            "packager: {video: {ladder: ['480:1400k', '720:2800k']}}",
            "packager.video.ladder: each step must be lower and take fewer bits than the one before it",
        ),
        ("packager: {video: {ladder: []}}", "packager.video.ladder: must hold 1 to 8 steps"),
        (
            "packager: {video: {ladder: ['9000:1400k']}}",
            "packager.video.ladder: a height of 9000 is out of range: from a height of 64 to a height of 4320",
        ),
        (
            "packager: {video: {preset: slow}}",
            r#"packager.video.preset: "slow" is not one of ultrafast, superfast, veryfast, faster, fast, medium"#,
        ),
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
fn directories_of_the_library_are_there_and_have_names() {
    for (yaml, expected) in [
        ("library: {dirs: [/tmp, data/state/films]}", "library.dirs: "),
        ("library: {dirs: [data/state/films]}", "must lie apart"),
        ("library: {dirs: [.]}", "must lie apart"),
        ("library: {dirs: [/]}", "must lie apart"),
        ("library: {dirs: [/tmp/..]}", "must lie apart"),
        (
            "library: {dirs: [/nowhere/films]}",
            "library.dirs: \"/nowhere/films\" cannot be read (No such file",
        ),
        (
            "library: {dirs: /proc/version}",
            "(Not a directory (os error 20)); it must be a directory that exists",
        ),
        (
            "library: {dirs: [/proc/self/..]}",
            "library.dirs: \"/proc/self/..\" has no name to list it by",
        ),
        ("library: {dirs: [/tmp/.hidden]}", "must be one that is not hidden"),
        ("library: {dirs: [/usr/bin, /usr/../bin]}", "has the same last part as \"/usr/bin\""),
        ("library: {dirs: ['']}", "library.dirs: must not hold an empty path"),
        ("library: {dirs: [{a: b}]}", "library.dirs: must be a list"),
        ("library: {settle: 0s}", "library.settle: "),
    ] {
        let text = error(yaml);
        assert!(text.contains(expected), "{text:?} lacks {expected:?}");
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
fn warnings_name_what_does_not_fit() {
    assert_eq!(warnings(&loaded("port: 7001")), Vec::<String>::new());
    for (yaml, expected) in [
        (
            "upstream: {max_size: 1GB}",
            "upstream.max_size: 1GB is more than cache.killsize.tempdir (200MB)",
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
        (
            "packager: {container: ts, copy: [aac, flac]}",
            "packager.copy: flac is copied into cmaf only, though packager.container is ts",
        ),
        ("library: {watch: true}", "library.watch, library.prewarm: do nothing"),
        (
            "cache: {killsize: {enabled: false}}\nlibrary: {dirs: [/usr], prewarm: true}",
            "library.prewarm: does nothing without cache.killsize.enabled",
        ),
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
