//! A library under watch: what comes, changes and goes is noticed, and packaged ahead where that is asked for.

mod support;

use std::{fs, path::PathBuf};

use serde_json::json;
use support::{
    film::{Film, H264},
    shelf::{Shelf, assert_plays, entries, names, put, sound},
    until,
};

/// A broker that watches, and packages ahead if it is told to.
fn watching(prewarm: bool, settle: &str) -> Shelf {
    Shelf::with(|setup| {
        let setup = setup.with("library.watch", true).with("library.prewarm", prewarm);
        setup.with("library.settle", settle).counted_ffmpeg(r#"exec {real} "$@""#)
    })
}

fn line(message: &str, file: &str) -> String {
    format!(r#""message":"{message}","file":"{file}""#)
}

const ADDED: &str = "a file was added to the library";
const CHANGED: &str = "a file of the library has changed";
const REMOVED: &str = "a file was removed from the library";
const AHEAD: &str = "a file was packaged ahead";

#[test]
fn a_file_that_grows_in_steps_counts_once_it_is_whole() {
    let wav = sound(4.0);
    let broker = watching(false, "3s").put("music/a.wav", &wav).start();
    broker.wait_log("the library was looked through");
    assert_eq!(names(&entries(&broker, "?path=music")), ["a.wav"]);
    let path = broker.dir("music/2024/new.wav");
    for (n, part) in wav.chunks(wav.len() / 4 + 1).enumerate() {
        let before = wav.len() / 4 * n + n;
        put(&path, &wav[..before + part.len()]);
        let grown = line("a file of the library is on its way", "music/2024/new.wav");
        broker.wait_log(&format!(r#"{grown},"bytes":{}"#, before + part.len()));
        assert!(entries(&broker, "?path=music/2024").is_empty(), "it is not there yet");
        let reply = broker.ask_file("music/2024/new.wav").expect_error(404, "media_not_found");
        assert!(reply.text().contains("still being written"), "{reply:?}");
    }
    broker.wait_log(&line(ADDED, "music/2024/new.wav"));
    let told = |message| broker.logged(&line(message, "music/2024/new.wav")).len();
    assert_eq!((told(ADDED), told(CHANGED)), (1, 0));
    let listed = entries(&broker, "?path=music/2024");
    assert_eq!((names(&listed), &listed[0]["duration"]), (vec!["new.wav"], &json!(4.0)));
    until("it is counted", || broker.metric("hls_broker_library_files") == Some(2.0));
}

#[test]
fn what_changes_and_goes_is_noticed() {
    let broker = watching(false, "100ms")
        .put("music/a.wav", sound(2.0))
        .put("music/b.wav", sound(2.0))
        .put("films/one/c.wav", sound(2.0))
        .start();
    broker.wait_log("the library was looked through");
    put(&broker.dir("music/a.wav"), sound(3.0));
    broker.wait_log(&line(CHANGED, "music/a.wav"));
    assert_eq!(entries(&broker, "?path=music")[0]["duration"], 3.0);
    fs::remove_file(broker.dir("music/b.wav")).expect("the test's own");
    broker.wait_log(&line(REMOVED, "music/b.wav"));
    fs::rename(broker.dir("films/one"), broker.dir("films/two")).expect("a rename");
    broker.wait_log(&line(REMOVED, "films/one/c.wav"));
    broker.wait_log(&line(ADDED, "films/two/c.wav"));
    put(&broker.dir("films/two/three/d.wav"), sound(1.0));
    broker.wait_log(&line(ADDED, "films/two/three/d.wav"));
    put(&broker.dir("films/two/.e.wav"), "x");
    put(&broker.dir("films/two/notes.txt"), "x");
    put(&broker.dir("films/two/f.wav"), sound(1.0));
    broker.wait_log(&line(ADDED, "films/two/f.wav"));
    assert!(broker.logged(".e.wav").is_empty() && broker.logged("notes.txt").is_empty());
    assert_eq!(broker.ffmpeg_runs(), 0, "nothing is packaged that nobody wants");
}

#[test]
fn files_are_packaged_before_anybody_asks() {
    let broker = watching(true, "100ms")
        .put("music/a.wav", sound(30.0))
        .put("films/page.mp3", "<html>no sound</html>")
        .start();
    broker.wait_log(&line("a file cannot be packaged ahead", "films/page.mp3"));
    broker.wait_log(&line(AHEAD, "music/a.wav"));
    put(&broker.dir("films/b.wav"), sound(20.0));
    broker.wait_log(&line(AHEAD, "films/b.wav"));
    let runs = broker.ffmpeg_runs();
    assert_eq!(runs, 2);
    let complete = |file: &PathBuf| file.ends_with("a0-manifest.json");
    until("both are complete", || {
        broker.files("static").iter().filter(|f| complete(f)).count() == 2
    });
    assert_plays(&broker, "music/a.wav", 30.0);
    assert_plays(&broker, "films/b.wav", 20.0);
    assert_eq!(broker.ffmpeg_runs(), runs, "all of it was there");
    put(&broker.dir("films/b.wav"), sound(10.0));
    broker.wait_log(&line(CHANGED, "films/b.wav"));
    until("the new one is packaged", || broker.logged(&line(AHEAD, "films/b.wav")).len() == 2);
    assert_plays(&broker, "films/b.wav", 10.0);
    assert_eq!(broker.ffmpeg_runs(), runs + 1);
    broker.restart();
    until("it is found complete", || broker.logged(&line(AHEAD, "music/a.wav")).len() == 2);
    assert_eq!(broker.ffmpeg_runs(), runs + 1, "and not made again");
}

#[test]
fn packaging_ahead_leaves_the_disk_to_players() {
    let shelf = Shelf::with(|setup| {
        let setup = setup.with("library.prewarm", true).with("cache.killsize.static", "1MB");
        setup.counted_ffmpeg(r#"exec {real} "$@""#)
    });
    let broker = shelf.put("music/a.wav", sound(60.0)).put("music/b.wav", sound(10.0)).start();
    broker.wait_log(&line("packaging ahead waits", "music/a.wav"));
    assert_eq!(broker.ffmpeg_runs(), 0, "half of the disk is for players");
    assert_plays(&broker, "music/a.wav", 60.0);
    broker.wait_log(&line("packaging ahead waits", "music/b.wav"));
    assert!(broker.logged(&line(AHEAD, "music/b.wav")).is_empty());
}

/// Who opens a film finds its sound and the first seconds of its pictures there.
#[test]
fn the_beginning_of_a_film_is_made_ahead() {
    let rest = format!("-f lavfi -i sine=d=50 {H264} -c:a aac -f matroska");
    let film = Film { size: "320x180", rate: "25", seconds: 50.0, filters: "", rest: &rest };
    let shelf = watching(true, "100ms");
    let setup = shelf.setup.with("packager.copy", Vec::<String>::new());
    let setup = setup.with("packager.video.ahead", "10s").with("packager.segment", "2s");
    let broker = Shelf { setup, ..shelf }.put("films/a.mkv", film.bytes()).start();
    broker.wait_log(&line(AHEAD, "films/a.mkv"));
    let made = |name: &str| broker.files("static").iter().any(|file| file.ends_with(name));
    assert!(made("a0-manifest.json") && made("v0-0.m4s") && made("v0-4.m4s"));
    assert!(!made("v0-manifest.json"), "the rest is made where somebody looks");
    until("nobody works on it any more", || broker.children().is_empty());
}
