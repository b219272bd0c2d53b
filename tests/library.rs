//! The library: media on the broker's own disk, listed and played in place, and nothing outside of it.

mod support;

use std::{fs, os::unix::fs::symlink, path::Path, thread};

use nix::{sys::stat::Mode, unistd::mkfifo};
use serde_json::{Value, json};
use support::{
    Broker, Clip, Format, Player, Reply, Upstream, media,
    process::Process,
    setup::{Ended, HANDSHAKE},
    shelf::{Shelf, assert_plays, entries, made, names, put, sound},
    until,
};

#[test]
fn folders_and_media_are_listed_with_kind_length_and_size() {
    let wav = sound(2.5);
    let shelf = Shelf::new()
        .put("films/2024/Talk é & 1.wav", &wav)
        .put("films/a.flac", Clip::noise(Format::Flac, 3.0).bytes())
        .put("films/b.mp4", Clip::noise(Format::Mp4Video, 2.0).bytes())
        .put("films/c.opus", Clip::noise(Format::OggOpus, 4.0).bytes())
        .put("films/.hidden.wav", &wav)
        .put("films/.git/e.wav", &wav)
        .put("films/notes.txt", "text")
        .put("films/a.vtt", media::vtt_for(3.0))
        .put("films/false.mp3", "<html>no sound</html>")
        .put("films/page.m4a", "#EXTM3U\nhttp://127.0.0.1/\n");
    let broker = shelf.start();

    let top = broker.library("").expect(200).json();
    assert_eq!((&top["path"], &top["next"]), (&json!(""), &Value::Null));
    assert_eq!(names(&entries(&broker, "?path=")), ["films", "music"]);
    assert_eq!(top["entries"][0]["kind"], "folder");
    assert_eq!(top["entries"][0]["size"], Value::Null);

    until("every length is known", || {
        let all = entries(&broker, "?path=films");
        all.iter().all(|entry| entry["kind"] == "folder" || !entry["duration"].is_null())
    });
    let films = entries(&broker, "?path=films");
    assert_eq!(names(&films), ["2024", "a.flac", "b.mp4", "c.opus"]);
    let told: Vec<_> = films.iter().map(|entry| (&entry["kind"], &entry["path"])).collect();
    assert_eq!(told[1], (&json!("audio"), &json!("films/a.flac")));
    assert_eq!(told[2], (&json!("video"), &json!("films/b.mp4")));
    for (entry, seconds) in films[1..].iter().zip([3.0, 2.0, 4.0]) {
        let duration = entry["duration"].as_f64().expect("a length");
        assert!((duration - seconds).abs() < 0.1, "{entry}");
    }

    let folder = broker.library("?path=films%2F2024").expect(200).json();
    assert_eq!(folder["path"], "films/2024");
    let entry = &folder["entries"][0];
    assert_eq!(entry["name"], "Talk é & 1.wav");
    assert_eq!((&entry["duration"], &entry["size"]), (&json!(2.5), &json!(wav.len())));
    let modified = entry["modified"].as_str().expect("a time");
    let modified = humantime::parse_rfc3339(modified).expect("RFC 3339");
    let file = fs::metadata(broker.dir("films/2024/Talk é & 1.wav")).expect("a file");
    let truth = file.modified().expect("a time");
    assert!(truth.duration_since(modified).is_ok_and(|ahead| ahead.as_secs() < 1));
    assert_plays(&broker, entry["path"].as_str().expect("a path"), 2.5);
}

#[test]
fn a_large_folder_is_listed_in_pages() {
    let shelf = Shelf::new();
    for n in 0..2_300 {
        put(&shelf.dir.join(format!("music/{n:05}.mp3")), "no sound");
    }
    let wav = sound(0.2);
    let mut expected: Vec<String> = (0..1_205).map(|n| format!("{n:05}.wav")).collect();
    for name in &expected {
        put(&shelf.dir.join("music").join(name), &wav);
    }
    fs::create_dir(shelf.dir.join("music/zebra")).expect("a folder");
    expected.insert(0, "zebra".to_owned());
    let broker = shelf.start();
    let walk = |limit: &str| {
        let (mut walked, mut after) = (Vec::new(), String::new());
        loop {
            let query = format!("?path=music&after={after}{limit}");
            let json = broker.library(&query).expect(200).json();
            let page = json["entries"].as_array().expect("entries").clone();
            assert!(page.len() <= 1_000);
            walked.extend(names(&page).into_iter().map(str::to_owned));
            match json["next"].as_str() {
                Some(next) => next.clone_into(&mut after),
                None => return walked,
            }
        }
    };
    until("all was looked into", || walk("").len() == expected.len());
    assert_eq!(walk("&limit=5000"), expected);
    assert_eq!(walk("&limit=400"), expected);
    for limit in ["0", "-1", "x", "1.5", "99999999999999999999999"] {
        broker.library(&format!("?limit={limit}")).expect_error(422, "bad_request");
    }
}

#[test]
fn only_who_knows_the_handshake_sees_the_library() {
    let broker = Shelf::new().put("music/a.wav", sound(1.0)).setup;
    let broker = broker.with("limits.bad_handshakes", 4).start();
    let ask = |headers: &[(&str, &str)]| broker.get("/api/library?path=music", headers);
    ask(&[]).expect_error(401, "bad_handshake");
    ask(&[("authorization", "Bearer wrong")]).expect_error(401, "bad_handshake");
    ask(&[("authorization", "Basic wrong")]).expect_error(401, "bad_handshake");
    broker.get(&format!("/api/library?handshake={HANDSHAKE}"), &[]).expect(401);
    ask(&[]).expect_error(429, "too_many_attempts");
    broker.library("?path=music").expect(200);
    let reply = broker.post_json("/api/library", &json!({ "handshake": HANDSHAKE }));
    assert_eq!(reply.expect(405).header("allow"), Some("GET, HEAD, OPTIONS"));
}

/// What attackers write to get out of a folder.
const SPELLINGS: [&str; 48] = [
    "..",
    ".",
    "/",
    "//",
    "../outside/secret.wav",
    "../../outside/secret.wav",
    "/outside/secret.wav",
    "music/../outside/secret.wav",
    "music/../../outside/secret.wav",
    "music/./../../outside/secret.wav",
    "music//../outside/secret.wav",
    "music/..//outside/secret.wav",
    "music/...//outside/secret.wav",
    "music/....//outside/secret.wav",
    "music/..;/outside/secret.wav",
    "music/..\\outside\\secret.wav",
    "..\\outside\\secret.wav",
    "music\\..\\outside\\secret.wav",
    "music/%2e%2e/outside/secret.wav",
    "%2e%2e/outside/secret.wav",
    "%2e%2e%2foutside%2fsecret.wav",
    "music%2f..%2foutside%2fsecret.wav",
    "music/..%2foutside/secret.wav",
    "music/%252e%252e/outside/secret.wav",
    "music/..%00/outside/secret.wav",
    "music/..\0/outside/secret.wav",
    "music/a.wav\0.txt",
    "music/a.wav\n",
    "music/a.wav/",
    "music/a.wav/..",
    "music/a.wav/../a.wav",
    "/music/a.wav",
    "./music/a.wav",
    "music/./a.wav",
    "music//a.wav",
    "music/．．/outside/secret.wav",
    "music/\u{2025}/outside/secret.wav",
    "music/..\u{2215}outside/secret.wav",
    "music/\u{202e}../outside/secret.wav",
    "~/outside/secret.wav",
    "outside/secret.wav",
    "file:///etc/passwd",
    "file:music/a.wav",
    "/etc/passwd",
    "music/../../../../../../../../etc/passwd",
    "/proc/self/environ",
    "proc/self/root/etc/passwd",
    "MUSIC/a.wav",
];

fn encoded(text: &str) -> String {
    text.bytes().flat_map(|byte| format!("%{byte:02x}").into_bytes()).map(char::from).collect()
}

#[test]
fn nothing_outside_is_reached_by_any_spelling() {
    let wav = sound(1.0);
    let shelf = Shelf::new().put("music/a.wav", &wav).put("outside/secret.wav", &wav);
    let secret = shelf.dir.join("outside/secret.wav");
    let absolute = secret.display().to_string();
    let broker = shelf.start();
    let refused = |reply: &Reply, spelling: &str, missing: &str| {
        let told = (reply.status, reply.json()["code"].as_str().unwrap_or_default().to_owned());
        let expected = [(422, "bad_path".to_owned()), (404, missing.to_owned())];
        assert!(expected.contains(&told), "{spelling:?}: {reply:?}");
        let told = spelling.contains("/hls-broker-");
        assert!(told || !reply.text().contains("/hls-broker-"), "a path of the server: {reply:?}");
    };
    for spelling in SPELLINGS.into_iter().chain([&*absolute, absolute.trim_start_matches('/')]) {
        refused(&broker.ask_file(spelling), spelling, "media_not_found");
        refused(&broker.library(&format!("?path={}", encoded(spelling))), spelling, "not_found");
        let body = json!({ "handshake": HANDSHAKE, "files": ["music/a.wav", spelling] });
        let reply = broker.post_json("/api/batch", &body);
        if reply.status == 201 {
            assert_eq!(reply.json()["errors"][0]["code"], "media_not_found", "{spelling:?}");
        } else {
            assert!(reply.expect_error(422, "bad_path").text().contains("files[1]"));
        }
    }
    for raw in [
        "?path=music/../outside",
        "?path=%2e%2e",
        "?path=music%2f%2e%2e",
        "?path=%ff",
        "?path=music%00",
    ] {
        refused(&broker.library(raw), raw, "not_found");
    }
    let long = format!("music/{}", "x".repeat(5_000));
    broker.ask_file(&long).expect_error(422, "bad_path");
    broker.ask_file("").expect_error(422, "bad_path");
    assert_plays(&broker, "music/a.wav", 1.0);
}

#[test]
fn links_that_leave_and_what_is_no_file_are_not_there() {
    let wav = sound(1.0);
    let shelf = Shelf::new()
        .put("music/real/a.wav", &wav)
        .put("music/.secret/h.wav", &wav)
        .put("outside/secret.wav", &wav);
    let music = shelf.dir.join("music");
    let link = |target: &Path, name: &str| symlink(target, music.join(name)).expect("a link");
    let outside = shelf.dir.join("outside");
    link(Path::new("real/a.wav"), "inside.wav");
    link(&music.join("real/a.wav"), "inside-absolute.wav");
    link(Path::new("../music/real"), "around");
    link(Path::new("../outside/secret.wav"), "relative.wav");
    link(&outside.join("secret.wav"), "absolute.wav");
    link(&outside, "folder");
    link(Path::new("../outside"), "folder2");
    link(Path::new("relative.wav"), "twice.wav");
    link(Path::new("/proc/self/root"), "proc");
    link(Path::new("/"), "slash");
    link(Path::new("/dev/zero"), "zero.wav");
    link(Path::new("/dev/stdin"), "stdin.wav");
    link(Path::new("loop.wav"), "loop.wav");
    link(Path::new("nothing.wav"), "dangling.wav");
    mkfifo(&music.join("pipe.wav"), Mode::S_IRWXU).expect("a pipe");
    let _socket = std::os::unix::net::UnixListener::bind(music.join("socket.wav"));
    let broker = shelf.start();

    let listed = entries(&broker, "?path=music");
    assert_eq!(names(&listed), ["around", "real", "inside-absolute.wav", "inside.wav"]);
    let path = outside.join("secret.wav");
    for file in [
        "relative.wav",
        "absolute.wav",
        "folder/secret.wav",
        "folder2/secret.wav",
        "twice.wav",
        "zero.wav",
        "stdin.wav",
        "loop.wav",
        "dangling.wav",
        "pipe.wav",
        "socket.wav",
        "real",
        ".secret/h.wav",
        "real/../.secret/h.wav",
        &format!("proc{}", path.display()),
        &format!("slash{}", path.display()),
        "around/../../outside/secret.wav",
    ] {
        let reply = broker.ask_file(&format!("music/{file}"));
        assert!([404, 422].contains(&reply.status), "{file}: {reply:?}");
        let reply = broker.library(&format!("?path=music/{file}"));
        assert!(file == "real" || [404, 422].contains(&reply.status), "{file}: {reply:?}");
    }
    for file in ["inside.wav", "inside-absolute.wav", "around/a.wav"] {
        assert_plays(&broker, &format!("music/{file}"), 1.0);
    }
}

#[test]
fn a_file_plays_in_place_and_leaves_nothing_in_the_cache() {
    let shelf = Shelf::new();
    let dir = shelf.dir.clone();
    let shelf = shelf
        .put("music/a.wav", sound(5.0))
        .put("music/b.mp3", Clip::noise(Format::Mp3, 6.0).bytes())
        .put("music/c.m4a", Clip::noise(Format::M4aMoovLast, 7.0).bytes())
        .put("music/d.caf", made(&dir, "d.caf", 4))
        .put("films/e.mp4", Clip::noise(Format::Mp4Video, 5.0).bytes())
        .put("films/odd name %2e é.ogg", Clip::noise(Format::OggOpus, 3.0).bytes());
    let broker = shelf.start();
    for (file, seconds) in [
        ("music/a.wav", 5.0),
        ("music/b.mp3", 6.0),
        ("music/c.m4a", 7.0),
        ("music/d.caf", 4.0),
        ("films/e.mp4", 5.0),
        ("films/odd name %2e é.ogg", 3.0),
    ] {
        assert_plays(&broker, file, seconds);
    }
    let grant = broker.token_file("music/a.wav");
    assert!(grant.url.contains(&grant.rid) && grant.warnings.is_empty());
    let player = Player::new(&broker, &grant);
    assert_eq!(player.track_shuffled("a0.m3u8", 3).pcm().frames(), player.audio().pcm().frames());
    assert!(broker.files("cache").is_empty() && broker.files("temp").is_empty());
    assert_eq!(fs::read(broker.dir("music/a.wav")).expect("still there"), sound(5.0));
}

#[test]
fn all_who_want_a_file_at_once_share_one_package() {
    let shelf = Shelf::with(|setup| setup.counted_ffmpeg(r#"exec {real} "$@""#));
    let broker = shelf.put("music/a.ogg", Clip::noise(Format::OggVorbis, 20.0).bytes()).start();
    let grants: Vec<_> = thread::scope(|scope| {
        let asking: Vec<_> =
            (0..40).map(|_| scope.spawn(|| broker.token_file("music/a.ogg"))).collect();
        asking.into_iter().map(|asked| asked.join().expect("a grant")).collect()
    });
    for grant in grants.iter().step_by(13) {
        assert!((Player::new(&broker, grant).audio().pcm().seconds() - 20.0).abs() < 0.1);
    }
    assert_eq!(broker.ffmpeg_runs(), 1);
    assert_eq!(broker.metric("hls_broker_packages"), Some(1.0));
}

#[test]
fn what_cannot_be_played_is_refused_as_an_upstreams_would_be() {
    let shelf = Shelf::new()
        .put("music/page.mp3", "<html>no sound</html>")
        .put("music/list.mp3", "#EXTM3U\nfile:///etc/passwd\n")
        .put("music/empty.wav", "");
    let broker = shelf.start();
    for file in ["music/page.mp3", "music/list.mp3", "music/empty.wav"] {
        let reply = broker.ask_file(file).expect_error(415, "unsupported_media");
        assert!(reply.text().contains("the file is"), "{reply:?}");
    }
    let missing = broker.ask_file("music/none.wav").expect_error(404, "media_not_found");
    assert!(missing.text().contains("music/none.wav"), "{missing:?}");
    for body in [json!({ "file": 5 }), json!({}), json!({ "qid": "a", "file": "music/a.wav" })] {
        let mut body = body;
        body["handshake"] = HANDSHAKE.into();
        broker.post_json("/api/token", &body).expect_error(422, "bad_request");
    }
}

#[test]
fn a_batch_takes_ids_and_files() {
    let upstream = Upstream::start();
    upstream.audio("q", sound(1.0));
    let setup = Broker::setup(&upstream).with("library.dirs", vec!["music".to_owned()]);
    for name in ["a", "b"] {
        put(&setup.dir().join(format!("music/{name}.wav")), sound(1.5));
    }
    let broker = setup.with("cache.limit", 1).start();
    let post = |mut body: Value| {
        body["handshake"] = HANDSHAKE.into();
        broker.post_json("/api/batch", &body)
    };
    let files = ["music/b.wav", "music/none.wav", "music/a.wav", "music/b.wav"];
    let json = post(json!({ "qids": ["q"], "files": files })).expect(201).json();
    let streams = json["streams"].as_array().expect("streams");
    assert_eq!(streams[0]["qid"], "q");
    assert_eq!(streams[0].get("file"), None);
    let played: Vec<_> = streams[1..].iter().map(|stream| stream["file"].clone()).collect();
    assert_eq!(played, ["music/b.wav", "music/a.wav", "music/b.wav"]);
    let error = &json["errors"][0];
    assert_eq!(
        (&error["file"], &error["code"]),
        (&json!("music/none.wav"), &json!("media_not_found"))
    );
    let grant = broker.unlock(streams[2]["rid"].as_str().expect("a rid"));
    assert!((Player::new(&broker, &grant).audio().pcm().seconds() - 1.5).abs() < 0.1);

    let strict = post(json!({ "files": files, "strict": true })).expect_error(502, "batch_failed");
    assert_eq!(strict.json()["errors"][0]["file"], "music/none.wav");
    let reply = post(json!({ "files": ["music/a.wav", "../a"] })).expect_error(422, "bad_path");
    assert!(reply.text().contains("files[1]"), "{reply:?}");
    for body in
        [json!({ "files": [] }), json!({ "files": "a" }), json!({ "files": [1] }), json!({})]
    {
        post(body).expect_error(422, "bad_request");
    }
    let many = vec!["music/a.wav"; 200];
    post(json!({ "qids": many, "files": many })).expect_error(422, "too_many");
}

#[test]
fn captions_beside_a_file_are_taken() {
    let shelf = Shelf::new();
    for name in ["a", "b", "c", "d", "e"] {
        put(&shelf.dir.join(format!("films/{name}.wav")), sound(4.0));
    }
    let srt = "1\n00:00:00,000 --> 00:00:01,000\nFrom SubRip\n";
    let shelf = shelf
        .put("films/a.vtt", media::vtt_for(4.0))
        .put("films/a.srt", srt)
        .put("films/b.srt", srt)
        .put("films/c.vtt", "<html>log in</html>")
        .put("films/d.vtt", vec![b'x'; 3_000_000]);
    symlink("/etc/passwd", shelf.dir.join("films/e.vtt")).expect("a link");
    let broker = shelf.start();
    let captions = |file: &str| {
        let grant = broker.token_file(file);
        let player = Player::new(&broker, &grant);
        let text = player.captions_uri().map(|uri| {
            let track = player.track(&uri);
            (0..track.segments.len()).map(|n| track.text(n).to_owned()).collect::<String>()
        });
        (text, grant.warnings)
    };
    let (text, warnings) = captions("films/a.wav");
    assert!(text.expect("captions").contains("Cue 1") && warnings.is_empty());
    let (text, warnings) = captions("films/b.wav");
    assert!(text.expect("captions").contains("From SubRip") && warnings.is_empty());
    for (file, name) in [("films/c.wav", "films/c.vtt"), ("films/d.wav", "films/d.vtt")] {
        let (text, warnings) = captions(file);
        assert!(
            text.is_none() && warnings.len() == 1 && warnings[0].contains(name),
            "{warnings:?}"
        );
        assert!(warnings[0].starts_with("no captions: "), "{warnings:?}");
    }
    let (text, warnings) = captions("films/e.wav");
    assert!(text.is_none() && warnings.is_empty(), "{warnings:?}");
    // Better ones are taken with the next token.
    put(&broker.dir("films/c.vtt"), media::vtt_for(4.0));
    let (text, warnings) = captions("films/c.wav");
    assert!(text.expect("captions").contains("Cue 1") && warnings.is_empty());
}

/// An ffmpeg that makes the first three seconds and holds its breath while `hold` is there.
const HELD: &str = r#"case "$*" in *-version*) exec {real} "$@";; esac
[ -e {dir}/hold ] || exec {real} "$@"
{real} "$@" | head -c 32000
while [ -e {dir}/hold ]; do sleep 0.05; done"#;

#[test]
fn a_file_that_changes_ends_what_is_not_made_and_is_another_for_new_tokens() {
    let shelf = Shelf::with(|setup| setup.ffmpeg(HELD).with("packager.workers", 2));
    let broker = shelf.put("music/a.wav", sound(60.0)).put("hold", "").start();
    let old = broker.token_file("music/a.wav");
    let player = Player::new(&broker, &old);
    let first = player.get("a0-0.m4s").expect(200).body;
    put(&broker.dir("music/a.wav"), sound(30.0));
    player.get("a0-9.m4s").expect_error(410, "stream_gone");
    fs::remove_file(broker.dir("hold")).expect("the test's own");
    player.get("a0-5.m4s").expect_error(410, "stream_gone");
    assert_eq!(player.get("a0-0.m4s").expect(200).body, first);
    player.get("a0.m3u8").expect(200);
    assert_plays(&broker, "music/a.wav", 30.0);
    player.get("a0-9.m4s").expect_error(410, "stream_gone");
    // And one that is gone.
    fs::remove_file(broker.dir("music/a.wav")).expect("the test's own");
    broker.ask_file("music/a.wav").expect_error(404, "media_not_found");
    assert_eq!(player.get("a0-0.m4s").expect(200).body, first);
}

#[test]
fn a_file_that_is_replaced_by_a_rename_plays_to_its_end() {
    let shelf = Shelf::with(|setup| setup.ffmpeg(HELD).with("cache.expiry", "10m"));
    let broker = shelf.put("music/a.wav", sound(30.0)).put("hold", "").start();
    let old = broker.token_file("music/a.wav");
    let player = Player::new(&broker, &old);
    player.get("a0-0.m4s").expect(200);
    put(&broker.dir("music/b.tmp"), sound(10.0));
    fs::rename(broker.dir("music/b.tmp"), broker.dir("music/a.wav")).expect("a rename");
    fs::remove_file(broker.dir("hold")).expect("the test's own");
    assert_plays(&broker, "music/a.wav", 10.0);
    let last = player.playlist("a0.m3u8").segments.last().expect("a segment").uri.clone();
    player.get(&last).expect(200);
}

#[test]
fn a_stream_of_a_file_plays_on_through_kill_9() {
    let shelf = Shelf::with(|setup| setup.ffmpeg(HELD).with("cache.expiry", "10m"));
    let broker = shelf.put("music/a.wav", sound(40.0)).put("hold", "").start();
    let grant = broker.token_file("music/a.wav");
    let player = Player::new(&broker, &grant);
    let first = player.get("a0-0.m4s").expect(200).body;
    let children = broker.children();
    broker.kill9();
    fs::remove_file(broker.dir("hold")).expect("the test's own");
    children.iter().for_each(Process::wait_gone);
    broker.restart();
    let track = player.audio();
    assert_eq!(track.segments[0], first);
    assert!((track.pcm().seconds() - 40.0).abs() < 0.1);
    until("the package is complete", || {
        broker.files("static").iter().any(|file| file.ends_with("a0-manifest.json"))
    });
    broker.kill9();
    broker.restart();
    // Complete, it needs no file any more.
    fs::remove_file(broker.dir("music/a.wav")).expect("the test's own");
    assert!((player.audio().pcm().seconds() - 40.0).abs() < 0.1);
    assert!(broker.files("cache").is_empty());
}

#[test]
fn a_file_that_changes_while_the_broker_is_down_is_not_mixed() {
    let shelf = Shelf::with(|setup| setup.ffmpeg(HELD).with("cache.expiry", "10m"));
    let broker = shelf.put("music/a.wav", sound(40.0)).put("hold", "").start();
    let grant = broker.token_file("music/a.wav");
    let player = Player::new(&broker, &grant);
    player.get("a0-0.m4s").expect(200);
    let children = broker.children();
    broker.kill9();
    fs::remove_file(broker.dir("hold")).expect("the test's own");
    put(&broker.dir("music/a.wav"), sound(20.0));
    children.iter().for_each(Process::wait_gone);
    broker.restart();
    player.get("a0-0.m4s").expect(200);
    player.get("a0-5.m4s").expect_error(410, "stream_gone");
    assert_plays(&broker, "music/a.wav", 20.0);
}

#[test]
fn directories_that_cannot_be_listed_end_the_start() {
    let shelf = Shelf::new().put("films/a.wav", "x").put("other/films/a.wav", "x");
    let mut setup = shelf.setup;
    let mut fails = |dirs: &[&str], told: &[&str]| {
        let dirs: Vec<String> = dirs.iter().map(|&dir| dir.to_owned()).collect();
        let upstream = Upstream::start();
        let taken = std::mem::replace(&mut setup, Broker::setup(&upstream));
        setup = taken.with("library.dirs", dirs);
        for command in ["serve", "check"] {
            let Ended { code, stderr, .. } = setup.run(&[command]);
            assert_eq!(code, Some(78), "{stderr}");
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
            for text in told {
                assert!(stderr.contains(text), "{text:?} in {stderr}");
            }
        }
    };
    fails(
        &["films", "missing"],
        &["library.dirs", "/missing\"", "must be a directory that exists"],
    );
    fails(&["films/a.wav"], &["library.dirs", "a.wav\"", "must be a directory that exists"]);
    fails(&["films", "other/films"], &["library.dirs", "other/films\"", "they must differ"]);
    fails(&["static/films"], &["library.dirs", "must lie apart"]);
    fails(&["."], &["library.dirs", "must lie apart"]);
}

#[test]
fn without_a_library_there_is_nothing_in_it() {
    let broker = Broker::start(&Upstream::start());
    assert!(entries(&broker, "").is_empty());
    broker.library("?path=films").expect_error(404, "not_found");
    broker.ask_file("films/a.wav").expect_error(404, "media_not_found");
}

/// Whether a backend has listed a file before it asks for it makes no difference to who plays it, nor to what is said of it.
#[test]
fn what_was_listed_is_played_as_it_is() {
    let whole = sound(3.0);
    let shelf = Shelf::new().put("music/cut.wav", &whole[..whole.len() * 2 / 3]);
    let other = shelf.dir.join("music/other.wav");
    let broker = shelf.put("music/other.wav", &whole[..whole.len() / 3]).start();
    let playlist = |name: &str| {
        let grant = broker.token_file(&format!("music/{name}"));
        Player::new(&broker, &grant).playlist("a0.m3u8").seconds()
    };
    assert!((playlist("cut.wav") - 2.0).abs() < 0.03);
    assert_eq!(broker.logged("shorter than its container says").len(), 1);
    let listed = entries(&broker, "?path=music");
    assert_eq!(names(&listed), ["cut.wav", "other.wav"]);
    assert!((playlist("other.wav") - 1.0).abs() < 0.03);
    assert_eq!(broker.logged("shorter than its container says").len(), 2);
    // A file that has changed since is another one.
    put(&other, &whole);
    assert!((playlist("other.wav") - 3.0).abs() < 0.03);
}
