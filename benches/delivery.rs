//! Delivery: what a file costs that is there, beside a web server that does nothing else.

use crate::{
    load::cost,
    nginx::{Nginx, OpenFiles},
    report::{Report, Target, Unit},
    song::{ID, Song, setup},
    support::{Broker, Grant, Player, player::Show, until},
};

pub const ABOUT: &str = "wrk -t1 -c32 -d4s on one file, in turns with nginx serving the same bytes (secure_link_md5 with an end, \
    sendfile, tcp_nopush, workers auto, no access log as ours at info; once without and once with open_file_cache); processor time \
    is user + system of all processes of a server (/proc/<pid>/stat)";

/// A file under load.
struct Case {
    what: &'static str,
    file: fn(&Player) -> String,
    show: Show,
    /// Bound of our processor time per request beside nginx's. Requests a second may not be fewer.
    at_most: Option<f64>,
}

/// With the settings that everybody has.
const USUAL: [Case; 3] = [
    Case { what: "playlist", file: playlist, show: Show::Header, at_most: Some(0.85) },
    Case { what: "playlist with ?token=", file: playlist, show: Show::Query, at_most: None },
    Case {
        what: "80 kB segment",
        file: |player| segment(player, 20),
        show: Show::Header,
        at_most: Some(0.9),
    },
];

/// With segments of a minute at 192 kbit/s.
const LONG: [Case; 1] = [Case {
    what: "1.4 MB segment",
    file: |player| segment(player, 5),
    show: Show::Header,
    at_most: Some(0.5),
}];

pub fn run(report: &mut Report, runs: usize) {
    let upstream = Song::Mp3.upstream();
    under_load(report, runs, &setup(&upstream).start(), &USUAL);
    let long = setup(&upstream).with("packager.segment", "60s").with("packager.bitrate", "192k");
    under_load(report, runs, &long.start(), &LONG);
}

fn playlist(player: &Player) -> String {
    player.audio_uri()
}

fn segment(player: &Player, n: usize) -> String {
    player.playlist(&player.audio_uri()).segments[n].uri.clone()
}

fn under_load(report: &mut Report, runs: usize, broker: &Broker, cases: &[Case]) {
    let grant = broker.token(ID);
    // Until it is complete no encoder may run beside the load.
    Player::new(broker, &grant).audio();
    until("the encoder has ended", || broker.children().is_empty());
    for case in cases {
        compare(report, runs, broker, &grant, case);
    }
}

/// Two columns of figures for each reference: ours and theirs.
type Columns = (Vec<f64>, Vec<f64>);

fn compare(report: &mut Report, runs: usize, broker: &Broker, grant: &Grant, case: &Case) {
    let player = Player::new(broker, grant).show(case.show);
    let file = (case.file)(&player);
    let bytes = player.get(&file).expect(200).body;
    let ours = format!("{}/hls/{}/{file}", broker.url(), grant.rid);
    let name = file.split('?').next().unwrap_or_default();
    let files = [(name.to_owned(), bytes)];
    let header = [("x-gostreamer-token", grant.token.as_str())];
    let headers = if case.show == Show::Header { &header[..] } else { &[] };
    let references = [
        ("nginx", Nginx::serve(&files, OpenFiles::Forgotten), true),
        ("nginx with open_file_cache", Nginx::serve(&files, OpenFiles::Cached), false),
    ];
    let (mut costs, mut rates) =
        ([(); 2].map(|()| Columns::default()), [(); 2].map(|()| Columns::default()));
    for _ in 0..runs {
        for (turn, (_, nginx, _)) in references.iter().enumerate() {
            let (us, them) =
                (cost(broker.pid(), &ours, headers), cost(nginx.pid(), &nginx.link(name), &[]));
            costs[turn].0.push(us.0);
            costs[turn].1.push(them.0);
            rates[turn].0.push(us.1.rate);
            rates[turn].1.push(them.1.rate);
        }
    }
    for (turn, (reference, _, judged)) in references.iter().enumerate() {
        let bound = |target: Option<Target>| target.filter(|_| *judged).unwrap_or(Target::Shown);
        let (us, them) = &costs[turn];
        let what = format!("delivery, {}: processor time a request, beside {reference}", case.what);
        report.ratio(&what, Unit::Us, us, them, bound(case.at_most.map(Target::AtMost)));
        let (us, them) = &rates[turn];
        let what = format!("delivery, {}: requests a second, beside {reference}", case.what);
        report.ratio(
            &what,
            Unit::PerSecond,
            us,
            them,
            bound(case.at_most.map(|_| Target::AtLeast(1.0))),
        );
    }
}
