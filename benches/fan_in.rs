//! Fan-in: a crowd that asks for the same media at once, and again.

use std::{
    fs,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use tempfile::NamedTempFile;

use crate::{
    load::wrk,
    report::{Report, Target, Unit, ms, percentile},
    song::{ID, Song, warm_broker},
    support::{Broker, Player, setup::HANDSHAKE, until},
};

pub const ABOUT: &str = "500 POSTs /api/token at once, each on a connection of its own, for one cold id (one fetch of the audio, one of \
    the captions and one head, or it fails); then wrk -t1 -c32 -d4s of the same POST, warm";

/// How many ask at once.
const CROWD: usize = 500;

pub fn run(report: &mut Report, runs: usize) {
    let (mut last, mut typical, mut rates, mut slowest) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        let upstream = Song::Mp3.upstream();
        let broker = warm_broker(&upstream);
        let heads = heads(&broker);
        let times = crowd(&broker);
        let fetched = ["audio", "vtt"].map(|kind| upstream.hits(&format!("/{kind}/{ID}")));
        assert_eq!(fetched, [1, 1], "audio and captions are fetched once");
        Player::new(&broker, &broker.token(ID)).audio();
        until("the encoder has ended", || broker.children().is_empty());
        assert_eq!(self::heads(&broker) - heads, 1, "one head makes it all");
        typical.push(percentile(&times, 50));
        last.push(percentile(&times, 100));
        let load = warm(&broker);
        rates.push(load.0);
        slowest.push(load.1);
    }
    let what =
        format!("fan-in, {CROWD} POSTs for a cold id: 1 audio fetch, 1 caption fetch, 1 head");
    report.figure(&format!("{what}; the median answer"), Unit::Ms, &typical, Target::Shown);
    report.figure("fan-in, cold: the last answer", Unit::Ms, &last, Target::Shown);
    report.figure("fan-in, warm tokens a second", Unit::PerSecond, &rates, Target::Shown);
    report.figure("fan-in, warm tokens: p99", Unit::Ms, &slowest, Target::Shown);
}

/// Milliseconds until each of the crowd had its token.
fn crowd(broker: &Broker) -> Vec<f64> {
    let start = Barrier::new(CROWD);
    thread::scope(|scope| {
        let one = || {
            start.wait();
            let begun = Instant::now();
            broker.token(ID);
            ms(begun.elapsed())
        };
        let all: Vec<_> = (0..CROWD).map(|_| scope.spawn(one)).collect();
        all.into_iter().map(|one| one.join().expect("an answer")).collect()
    })
}

/// Tokens a second, and the 99th percentile of an answer in milliseconds.
fn warm(broker: &Broker) -> (f64, f64) {
    let script = NamedTempFile::new().expect("a file");
    let body = format!(r#"{{"handshake":"{HANDSHAKE}","qid":"{ID}"}}"#);
    let lua = format!(
        "wrk.method = 'POST'\nwrk.headers['content-type'] = 'application/json'\nwrk.body = '{body}'\n"
    );
    fs::write(script.path(), lua).expect("a file");
    let load = wrk(&format!("{}/api/token", broker.url()), &[], Some(script.path()));
    // The state's writer may still be at it; the next run's broker is another one.
    thread::sleep(Duration::from_millis(200));
    (load.rate, load.p99)
}

/// Heads so far, by the broker's own count.
fn heads(broker: &Broker) -> u64 {
    let page = broker.get("/metrics", &[]).expect(200);
    let ended =
        page.text().lines().filter(|line| line.starts_with("hls_broker_heads_ended_total{"));
    ended.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}
