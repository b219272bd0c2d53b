//! Memory: what many streams cost while nobody plays most of them.

use std::{net::SocketAddr, sync::Mutex, thread};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    report::{Report, Target, Unit},
    song::setup,
    support::{
        Broker, Clip, Connection, Format, Grant, Player, Upstream, process::resident_bytes, until,
    },
};

pub const ABOUT: &str = "resident memory of the broker's process after 2000 live streams over 200 sources of 30 s (96 MB of segments) and \
    20000 reads of random segments of random streams, with cache.memory at its 64 MB";

const SOURCES: usize = 200;
const STREAMS: usize = 2000;
const READS: usize = 20_000;

/// Players that read at once.
const READERS: usize = 16;

/// Target, in MB: cache.memory and 80 more.
const AT_MOST: f64 = 64.0 + 80.0;

pub fn run(report: &mut Report, _runs: usize) {
    let upstream = Upstream::start();
    let song = Clip::noise(Format::Mp3, 30.0).bytes();
    for n in 0..SOURCES {
        upstream.audio(&id(n), &song);
    }
    let broker = setup(&upstream).start();
    let idle = megabytes(&broker);
    let grants = streams(&broker);
    let player = Player::new(&broker, &grants[0]);
    let segments = player.playlist(&player.audio_uri()).segments.len();
    // One after the other: patience is for one encode, not for all of them.
    (1..=SOURCES).for_each(|n| until("the next package is complete", || complete(&broker) >= n));
    let streaming = megabytes(&broker);
    read(broker.address("main"), &grants, segments);
    report.figure("memory, before the first stream", Unit::Megabytes, &[idle], Target::Shown);
    report.figure(
        "memory, 2000 streams over 200 packages, encoded",
        Unit::Megabytes,
        &[streaming],
        Target::Shown,
    );
    let what = "memory, the same after 20000 random segment reads; cache.memory is 64 MB";
    report.figure(what, Unit::Megabytes, &[megabytes(&broker)], Target::AtMost(AT_MOST));
}

fn complete(broker: &Broker) -> usize {
    broker.files("static").iter().filter(|file| file.ends_with("a0-manifest.json")).count()
}

fn id(n: usize) -> String {
    format!("song-{n}")
}

/// Ten streams for each source.
fn streams(broker: &Broker) -> Vec<Grant> {
    let mut grants = Vec::with_capacity(STREAMS);
    for source in 0..SOURCES {
        for _ in 0..STREAMS / SOURCES {
            grants.push(broker.token(&id(source)));
        }
    }
    grants
}

/// Reads random segments of random streams through a few connections, and fails at the first that is not there.
fn read(broker: SocketAddr, grants: &[Grant], segments: usize) {
    let left = Mutex::new(READS);
    let take = || {
        let mut left = left.lock().expect("a count");
        *left = left.checked_sub(1)?;
        Some(())
    };
    thread::scope(|scope| {
        for reader in 0..READERS {
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(reader as u64);
                let mut connection = Connection::open(broker).expect("a connection");
                while take().is_some() {
                    let grant = &grants[random.random_range(0..grants.len())];
                    let n = random.random_range(0..segments);
                    let path = format!("/hls/{}/a0-{n}.m4s", grant.rid);
                    connection.send(get(broker, &path, &grant.token)).reply().expect(200);
                }
            });
        }
    });
}

/// A request for a file as a player with a token in a header sends it.
pub fn get(broker: SocketAddr, path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {broker}\r\nx-gostreamer-token: {token}\r\n\r\n")
}

fn megabytes(broker: &Broker) -> f64 {
    resident_bytes(broker.pid()) as f64 / 1e6
}
