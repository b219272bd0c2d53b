//! Ten thousand wild request targets over one connection: no path leads to a file that the grammar does not name, none
//! to an error of ours, and each reply is the reply to its own request.

mod support;

use std::{cell::RefCell, collections::BTreeSet, fs, io};

use proptest::{
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestCaseResult, TestRunner},
};
use support::{Broker, Clip, Connection, Format, Grant, Player, Reply, Upstream, media};

const CANARY: &str = "canary-3f9c1e";

/// Stand for the stream's id and its package's folder in targets, so that a case means the same in every run.
const RID: &str = "{rid}";
const PACKAGE: &str = "{package}";

/// Parts that lead somewhere in the right place.
const KNOWN: &[&str] = &[
    RID,
    PACKAGE,
    "index.m3u8",
    "a0.m3u8",
    "s0.m3u8",
    "a0-init.mp4",
    "a0-0.m4s",
    "a0-1.aac",
    "a0-1.ts",
    "s0-0.vtt",
    "00000000-0000-4000-8000-000000000000",
    "hls",
    "api",
    "token",
    "streams",
    "health",
    "ready",
    "metrics",
];

/// Parts that must not lead anywhere.
const HOSTILE: &[&str] = &[
    "",
    ".",
    "..",
    "...",
    "%2e",
    "%2e%2e",
    "%2E.",
    "..%2f",
    "..%2F..",
    "%2f",
    "%5c",
    "..\\",
    "\\..",
    "..;",
    ";",
    "%00",
    "..%00",
    "%252e%252e",
    "..%c0%af",
    "%e0%80%ae",
    "\u{2025}",
    "\u{ff0e}\u{ff0e}",
    "~",
    "%",
    "%z",
    "*",
    "\u{0}",
    " ",
    "\t",
    "etc",
    "passwd",
    "proc",
    "self",
    "static",
    "state",
    "cache",
    "temp",
    "hls.yaml",
    "token.key",
    "state.db",
    "manifest.json",
    "package.json",
    "captions.vtt",
    "canary.txt",
    "a9-0.m4s",
    "v0.m3u8",
    "a0.m3u8.bak",
];

/// What targets begin with.
const PREFIXES: &[&str] = &[
    "/hls/{rid}/",
    "/hls/{rid}/",
    "/hls/{rid}/",
    "/hls/",
    "/",
    "//",
    "",
    "/hls/{rid}//",
    "/hls//{rid}/",
    "/./hls/{rid}/",
    "/hls/{rid}/../",
    "/hls/{rid}/../../",
    "/HLS/{rid}/",
    "/hls/{rid}%2f",
    "http://x/hls/{rid}/",
    "http://x/",
    "http://x",
    "https://u:p@x:1/hls/{rid}/",
    "file:///",
    "x:",
    "/api/",
    "/api/streams/",
];

/// A request as it goes over the wire.
#[derive(Clone, Debug)]
struct Case {
    method: &'static str,
    target: String,
    change: Option<((Index, bool), Edit)>,
}

impl Case {
    /// The target as it is sent.
    fn target(&self, rid: &str, package: &str) -> String {
        let target = self.target.replace(RID, rid).replace(PACKAGE, package);
        let Some(((at, is_part), edit)) = &self.change else {
            return target;
        };
        let parts: Vec<usize> = target.match_indices('/').map(|(at, _)| at + 1).collect();
        let at = if *is_part { *at.get(&parts) } else { at.index(target.len()) };
        edit.apply(&target, at)
    }
}

/// One part of a path.
fn part() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => select(KNOWN).prop_map(str::to_owned),
        4 => select(HOSTILE).prop_map(str::to_owned),
        4 => "[avs]0{0,2}[01]?(-(init|0{0,2}[0-3]))?\\.(m3u8|mp4|m4s|aac|ts|vtt)",
        2 => "[avsAVS]?[0-9]{0,3}(-(init|[0-9]{1,11}))?\\.(m3u8|mp4|m4s|aac|ts|vtt|M3U8|json)",
        1 => "[!-~]{0,20}",
        1 => "[\u{a0}-\u{2fff}]{0,6}",
    ]
}

/// A small change to a target that is right.
#[derive(Clone, Debug)]
enum Edit {
    Insert(&'static str),
    Remove,
    Encode,
    SwapCase,
}

impl Edit {
    fn apply(&self, target: &str, at: usize) -> String {
        let (head, tail) = target.split_at(at);
        let (own, rest) = tail.split_at(1);
        let changed = match self {
            Self::Insert(text) => format!("{text}{own}"),
            Self::Remove => String::new(),
            Self::Encode => format!("%{:02x}", own.as_bytes()[0]),
            Self::SwapCase if own == own.to_lowercase() => own.to_uppercase(),
            Self::SwapCase => own.to_lowercase(),
        };
        format!("{head}{changed}{rest}")
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    let texts = [
        "./", "../", "x/../", "%2e/", "/", "%2f", "\\", ";", "..;/", "%00", ".", "0", "x", "\u{0}",
        " ",
    ];
    prop_oneof![
        4 => select(texts.to_vec()).prop_map(Edit::Insert),
        1 => Just(Edit::Remove),
        2 => Just(Edit::Encode),
        1 => Just(Edit::SwapCase),
    ]
}

fn query() -> impl Strategy<Value = String> {
    let known = [
        "",
        "?",
        "?container=ts",
        "?token=x",
        "?token=",
        "?container=../..",
        "#x",
        "?/../..",
        "?a?b#c",
    ];
    prop_oneof![
        4 => Just(String::new()),
        1 => select(known.to_vec()).prop_map(str::to_owned),
        1 => "\\?[!-~]{0,30}",
    ]
}

fn target() -> impl Strategy<Value = String> {
    let path = (select(PREFIXES), prop::collection::vec(part(), 0..5));
    let path = path.prop_map(|(prefix, parts)| format!("{prefix}{}", parts.join("/")));
    // One file of the stream, and nothing else about it.
    let known = select(KNOWN).prop_map(str::to_owned);
    let file = prop_oneof![part(), known].prop_map(|name| format!("/hls/{RID}/{name}"));
    let long = (1_usize..20_000).prop_map(|length| format!("/hls/{RID}/{}", "a".repeat(length)));
    let any = prop_oneof![40 => path, 40 => file, 1 => long, 5 => "[!-~]{1,40}"];
    (any, query()).prop_map(|(path, query)| path + &query)
}

fn case() -> impl Strategy<Value = Case> {
    let methods =
        ["GET", "GET", "GET", "GET", "GET", "GET", "HEAD", "HEAD", "OPTIONS", "DELETE", "POST"];
    let wild = target().prop_map(|target| (target, None));
    let names = select(KNOWN).prop_map(|name| format!("/hls/{RID}/{name}"));
    // Half of the changes are made where a part of the path begins.
    let place = (any::<Index>(), any::<bool>());
    let almost =
        (names, place, edit()).prop_map(|(target, place, edit)| (target, Some((place, edit))));
    let targets = prop_oneof![2 => wild, 1 => almost];
    (select(methods.to_vec()), targets).prop_map(|(method, (target, change))| Case {
        method,
        target,
        change,
    })
}

/// A broker with a stream whose files are all there, canaries in its directories, and the connection to it.
struct House {
    broker: Broker,
    grant: Grant,
    package: String,
    /// Every path that leads to something.
    named: BTreeSet<String>,
    /// What no reply may hold.
    hidden: Vec<Vec<u8>>,
    connection: RefCell<Option<Connection>>,
    tally: RefCell<Tally>,
}

#[derive(Default)]
struct Tally {
    cases: usize,
    connections: usize,
    found: usize,
}

impl House {
    fn open(upstream: &Upstream) -> Self {
        let broker = Broker::setup(upstream).with("log.level", "info").start();
        let grant = broker.token("a");
        let player = Player::new(&broker, &grant);
        let count = player.audio().segments.len();
        let folder = broker.files("static")[0].parent().expect("a package").to_owned();
        let places = [
            broker.dir("static"),
            broker.dir("state"),
            broker.dir("cache"),
            broker.dir(""),
            folder.clone(),
        ];
        for place in places {
            for name in ["canary.txt", "canary.m3u8", "a9-0.m4s", "v0.m3u8", "a0.m3u8.bak"] {
                fs::write(place.join(name), CANARY).expect("room on the disk");
            }
        }
        let package = folder.file_name().and_then(|name| name.to_str()).expect("UTF-8").to_owned();
        let files =
            ["index.m3u8", "a0.m3u8", "s0.m3u8", "a0-init.mp4"].map(str::to_owned).into_iter();
        let segments = (0..count).flat_map(|n| {
            [
                format!("a0-{n}.m4s"),
                format!("a0-{n}.aac"),
                format!("a0-{n}.ts"),
                format!("s0-{n}.vtt"),
            ]
        });
        let named = files.chain(segments).map(|file| format!("/hls/{}/{file}", grant.rid));
        let others = ["/api/health", "/api/ready", "/metrics"].map(str::to_owned);
        let named = named.chain(others).collect();
        let key = fs::read(broker.dir("state").join("token.key")).expect("the signing key");
        let hidden = vec![CANARY.into(), key, b"root:x:0".to_vec(), b"SQLite format 3".to_vec()];
        Self {
            broker,
            grant,
            package,
            named,
            hidden,
            connection: RefCell::default(),
            tally: RefCell::default(),
        }
    }

    /// Sends a request on the one connection, or on the next one if the last reply closed it.
    fn send(&self, method: &str, target: &str, id: &str) -> io::Result<Reply> {
        let mut connection = if let Some(connection) = self.connection.take() {
            connection
        } else {
            self.tally.borrow_mut().connections += 1;
            Connection::open(self.broker.address("main"))?
        };
        let body = if method == "POST" { "content-length: 5\r\n\r\nhello" } else { "\r\n" };
        let token = &self.grant.token;
        connection.try_send(format!(
            "{method} {target} HTTP/1.1\r\nhost: x\r\nx-request-id: {id}\r\nx-gostreamer-token: {token}\r\n{body}"
        ))?;
        let reply = connection.try_reply(method)?;
        if reply.header("connection") != Some("close") {
            self.connection.replace(Some(connection));
        }
        Ok(reply)
    }

    fn check(&self, case: &Case) -> TestCaseResult {
        self.tally.borrow_mut().cases += 1;
        let id = &format!("case-{}", self.tally.borrow().cases);
        let target = case.target(&self.grant.rid, &self.package);
        let reply = self.send(case.method, &target, id);
        let reply = reply.map_err(|error| TestCaseError::fail(format!("no reply: {error}")))?;
        self.tally.borrow_mut().found += usize::from(reply.status == 200);
        let known = [200, 204, 308, 400, 401, 404, 405, 410, 422, 429, 431];
        prop_assert!(known.contains(&reply.status), "{reply:?}");
        for hidden in &self.hidden {
            let is_shown = reply.body.windows(hidden.len()).any(|bytes| bytes == hidden.as_slice());
            prop_assert!(!is_shown, "{reply:?}");
        }
        let plays = matches!(case.method, "GET" | "HEAD");
        let is_named = path(&target).is_some_and(|path| self.named.contains(path));
        let is_refused = reply.status == 431 || (reply.status == 400 && !is_uri(&target));
        if plays && !is_refused {
            prop_assert_eq!(reply.status == 200, is_named, "{:?}", reply);
        }
        prop_assert!(reply.status != 200 || plays, "{reply:?}");
        if reply.status >= 400 && case.method != "HEAD" {
            prop_assert!(reply.json()["code"].is_string(), "{reply:?}");
        }
        let location = reply.header("location").unwrap_or_default();
        prop_assert!(!location.starts_with('/') && !location.contains("://"), "{reply:?}");
        // Whatever hyper refuses by itself is 400 or 431 and ends the connection; all else answers its own request.
        let is_below =
            matches!(reply.status, 400 | 431) && reply.header("connection") == Some("close");
        prop_assert!(
            is_below || reply.header("x-request-id") == Some(id.as_str()),
            "the reply to another request: {reply:?}"
        );
        Ok(())
    }
}

/// The path of a target in origin-form or absolute-form (RFC 9112 section 3.2).
fn path(target: &str) -> Option<&str> {
    let end = target.find(['?', '#']).unwrap_or(target.len());
    let target = &target[..end];
    match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => {
            rest.find('/').filter(|at| *at > 0).map(|at| &rest[at..])
        }
        _ => Some(target),
    }
}

/// Whether there are no other characters than those of URIs (RFC 3986 section 2).
fn is_uri(target: &str) -> bool {
    target
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte))
}

#[test]
fn no_target_leads_anywhere_but_to_what_the_grammar_names() {
    let upstream = Upstream::start();
    upstream.audio("a", Clip::noise(Format::Wav, 4.0).bytes()).vtt("a", media::vtt_for(4.0));
    let house = House::open(&upstream);
    let mut runner =
        TestRunner::new(Config { cases: 10_000, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&case(), |case| house.check(&case));
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let Tally { cases, connections, found } = *house.tally.borrow();
    // Wild is not enough: a good part must get through, and share a connection with what does not.
    assert!(found > cases / 20, "{found} of {cases} cases found something");
    assert!(connections < cases / 4, "{connections} connections for {cases} cases");
    // Nothing has been worn out on the way.
    Player::new(&house.broker, &house.grant).audio();
}
