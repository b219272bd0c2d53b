//! Delivery: what a file costs that is there, beside a web server that does nothing else.

use crate::{
    load::{Load, cost},
    nginx::Nginx,
    report::{Report, Target, Unit},
    song::{ID, Song, setup},
    support::{Broker, Grant, Player, until},
};

pub const ABOUT: &str = "wrk -t1 -c32 -d4s on one file, token in a header, in turns with nginx (secure_link_md5, sendfile, \
    open_file_cache, workers auto, no access log as ours at info) serving the same bytes; processor time is user + system of all \
    processes of a server (/proc/<pid>/stat)";

/// A file under load, and the targets: processor time per request beside nginx's. Requests a second may not be fewer.
struct Case {
    what: &'static str,
    file: fn(&Player) -> String,
    at_most: f64,
}

/// With the settings that everybody has.
const USUAL: [Case; 2] = [
    Case { what: "playlist", file: |player| player.audio_uri(), at_most: 0.85 },
    Case { what: "80 kB segment", file: |player| segment(player, 20), at_most: 0.9 },
];

/// With segments of a minute.
const LONG: [Case; 1] =
    [Case { what: "1.4 MB segment", file: |player| segment(player, 5), at_most: 0.5 }];

pub fn run(report: &mut Report, runs: usize) {
    let upstream = Song::Mp3.upstream();
    under_load(report, runs, &setup(&upstream).start(), &USUAL);
    let long = setup(&upstream).with("packager.segment", "60s").with("packager.bitrate", "192k");
    under_load(report, runs, &long.start(), &LONG);
}

fn segment(player: &Player, n: usize) -> String {
    player.playlist(&player.audio_uri()).segments[n].uri.clone()
}

fn under_load(report: &mut Report, runs: usize, broker: &Broker, cases: &[Case]) {
    let grant = broker.token(ID);
    let player = Player::new(broker, &grant);
    // Until it is complete no encoder may run beside the load.
    player.audio();
    until("the encoder has ended", || broker.children().is_empty());
    for case in cases {
        compare(report, runs, broker, &grant, &player, case);
    }
}

fn compare(
    report: &mut Report,
    runs: usize,
    broker: &Broker,
    grant: &Grant,
    player: &Player,
    case: &Case,
) {
    let file = (case.file)(player);
    let bytes = player.get(&file).expect(200).body;
    let nginx = Nginx::serve(&[(file.clone(), bytes)]);
    let (ours, theirs) = (format!("{}/hls/{}/{file}", broker.url(), grant.rid), nginx.link(&file));
    let token = [("x-gostreamer-token", grant.token.as_str())];
    let turns: Vec<_> = (0..runs)
        .map(|_| (cost(broker.pid(), &ours, &token), cost(nginx.pid(), &theirs, &[])))
        .collect();
    let rate = |(_, load): &(f64, Load)| load.rate;
    let column = |figure: &dyn Fn(&(f64, Load)) -> f64| -> (Vec<f64>, Vec<f64>) {
        turns.iter().map(|(ours, theirs)| (figure(ours), figure(theirs))).unzip()
    };
    let (us, nginx) = column(&|(cost, _)| *cost);
    let what = format!("delivery, {}: processor time a request", case.what);
    report.ratio(&what, Unit::Us, &us, &nginx, Target::AtMost(case.at_most));
    let (us, nginx) = column(&rate);
    let what = format!("delivery, {}: requests a second", case.what);
    report.ratio(&what, Unit::PerSecond, &us, &nginx, Target::AtLeast(1.0));
}
