//! Everything that must stay between two parties: in no log line at any level, no metric, no error.

mod support;

use nix::sys::signal::Signal;
use serde_json::json;
use support::{
    Answer, Broker, Clip, Connection, File, Format, Player, Reply, Upstream, media, player::Show,
    setup::HANDSHAKE, until,
};

const SIGNING: &str = "signing-secret-Qw7-of-thirty-two-bytes";
const OLD_SIGNING: &str = "old-signing-secret-Rt9-of-32-bytes-too";
const SPARE_HANDSHAKE: &str = "spare-handshake-Zx3";
const WRONG_HANDSHAKE: &str = "wrong-handshake-Lp4";
const UPSTREAM_HEADER: &str = "Bearer upstream-credential-Mn5";
const UPSTREAM_KEY: &str = "upstream-key-in-the-url-Vb6";
const FORGED: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJmb3JnZWQifQ.Zm9yZ2VkLWJ5LW5vYm9keQ";

const SECRETS: [&str; 8] = [
    HANDSHAKE,
    SIGNING,
    OLD_SIGNING,
    SPARE_HANDSHAKE,
    WRONG_HANDSHAKE,
    UPSTREAM_HEADER,
    UPSTREAM_KEY,
    FORGED,
];

/// What a session said to its callers, and what it must not have said.
struct Session<'a> {
    broker: &'a Broker,
    said: Vec<String>,
}

impl Session<'_> {
    /// Notes a reply: an error must not hold any secret, and every reply has the headers that keep URLs private.
    #[track_caller]
    fn note(&mut self, status: u16, reply: Reply) -> Reply {
        let reply = reply.expect(status);
        assert_eq!(reply.header("referrer-policy"), Some("no-referrer"), "{reply:?}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{reply:?}");
        if status >= 400 {
            self.said.push(format!("{reply:?}"));
        }
        reply
    }

    fn post(&mut self, status: u16, path: &str, body: &serde_json::Value) -> Reply {
        self.note(status, self.broker.post_json(path, body))
    }
}

#[test]
fn no_secret_is_logged_counted_or_told() {
    let upstream = Upstream::start();
    upstream.audio("a", Clip::noise(Format::Wav, 5.0).bytes()).vtt("a", media::vtt_for(5.0));
    upstream
        .audio("page", Answer::html())
        .audio("down", Answer::Reset)
        .audio("500", Answer::Status(500));
    upstream.audio("moved", Answer::Redirect(format!("http://a/?{UPSTREAM_KEY}")));
    upstream.audio("garbage", Answer::garbage());
    upstream.audio("cut", File::new(Clip::noise(Format::Wav, 5.0).bytes()).cut(2000));
    let setup = Broker::setup(&upstream)
        .with("log.level", "trace")
        .with("url.audio", format!("{}/audio/{{id}}?key={UPSTREAM_KEY}", upstream.url()))
        .with("handshake", vec![HANDSHAKE, SPARE_HANDSHAKE])
        .with("token.secret", vec![SIGNING, OLD_SIGNING])
        .with("limits.bad_handshakes", 5);
    let mut headers = serde_yaml::Mapping::new();
    headers.insert("Authorization".into(), UPSTREAM_HEADER.into());
    let broker = setup.with("upstream.headers", headers).start();
    for secret in SECRETS {
        broker.keep_secret(secret);
    }
    let mut session = Session { broker: &broker, said: Vec::new() };

    let grant = broker.token("a");
    let batch = broker.batch(&["a", "a"], "5m");
    let unlocked = broker.unlock(&batch.rids[0]);
    for show in [Show::Header, Show::Bearer, Show::Query] {
        let player = Player::new(&broker, &grant).show(show);
        player.audio();
        player.captions();
    }
    assert_eq!(upstream.requests_for("/audio/a")[0].header("authorization"), Some(UPSTREAM_HEADER));

    for qid in ["page", "down", "500", "moved", "garbage", "cut", "missing"] {
        let reply = broker.ask(qid);
        let status = reply.status;
        if status >= 400 {
            session.note(status, reply);
        }
    }
    let token = |handshake: &str, qid: &str| json!({ "handshake": handshake, "qid": qid });
    session.post(422, "/api/token", &token(HANDSHAKE, ".."));
    session.post(422, "/api/token", &json!({ "handshake": HANDSHAKE }));
    session.post(422, "/api/batch", &json!({ "handshake": HANDSHAKE, "qids": [] }));
    session.post(
        422,
        "/api/batch",
        &json!({ "handshake": HANDSHAKE, "qids": ["a"], "expiry": "soon" }),
    );
    session.post(502, "/api/batch", &json!({ "handshake": HANDSHAKE, "qids": ["missing"] }));
    session.post(410, "/api/unlock", &json!({ "handshake": HANDSHAKE, "rid": FORGED }));
    session.note(422, broker.post("/api/token", &[], format!("{{\"handshake\":\"{HANDSHAKE}\"")));
    session.note(413, broker.post("/api/token", &[], HANDSHAKE.repeat(4000)));
    for _ in 0..5 {
        session.post(401, "/api/token", &token(WRONG_HANDSHAKE, "a"));
    }
    session.post(429, "/api/token", &token(WRONG_HANDSHAKE, "a"));
    session.post(404, "/api/token", &token(SPARE_HANDSHAKE, "nothing"));

    let file = |query: &str| format!("/hls/{}/a0-0.m4s{query}", grant.rid);
    let get = |path: &str, headers: &[(&str, &str)]| broker.get(path, headers);
    session.note(401, get(&file(""), &[]));
    session.note(401, get(&file(&format!("?token={FORGED}")), &[]));
    session.note(401, get(&file(""), &[("x-gostreamer-token", FORGED)]));
    session.note(401, get(&file(""), &[("authorization", &format!("Bearer {}", unlocked.token))]));
    session.note(404, get(&format!("/hls/{}/{}?token={}", grant.rid, FORGED, grant.token), &[]));
    session.note(404, get(&format!("/{}", grant.token), &[]));
    session.note(405, broker.post(&file(&format!("?token={}", grant.token)), &[], ""));
    session
        .note(416, get(&file(&format!("?token={}", grant.token)), &[("range", "bytes=99999999-")]));
    broker.revoke(&grant.rid).expect(204);
    session.note(410, get(&file(&format!("?token={}", grant.token)), &[]));
    let mut raw = Connection::open(broker.address("main")).expect("a connection");
    raw.send(format!("GET /?{FORGED} HTTP/1.1\r\nx {}: {HANDSHAKE}\r\n\r\n", grant.token));
    session.said.push(format!("{:?}", raw.reply().expect(400)));
    session.said.push(broker.get("/metrics", &[]).expect(200).text().to_owned());

    broker.configure("limits.batch", "many");
    let before = broker.logged("were not read again").len();
    broker.signal(Signal::SIGHUP);
    until("the bad file is told", || broker.logged("were not read again").len() > before);
    broker.configure("limits.batch", 5);
    broker.restart();
    Player::new(&broker, &unlocked).get("index.m3u8").expect(200);
    broker.terminate();

    let issued = [&grant.token, &unlocked.token];
    for said in &session.said {
        for secret in SECRETS.iter().copied().chain(issued.map(String::as_str)) {
            assert!(!said.contains(secret), "{secret} is told in {said}");
        }
    }
    // The log is searched for all of them when the broker goes.
    assert!(broker.logged("\"level\":\"DEBUG\"").len() > 20, "the level is low");
}

#[test]
fn settings_are_shown_without_their_secrets() {
    let upstream = Upstream::start();
    let mut headers = serde_yaml::Mapping::new();
    headers.insert("Authorization".into(), UPSTREAM_HEADER.into());
    let setup = Broker::setup(&upstream)
        .with("handshake", vec![SPARE_HANDSHAKE, WRONG_HANDSHAKE])
        .with("token.secret", SIGNING)
        .with("upstream.headers", headers);
    let checked = setup.run(&["check"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    for secret in SECRETS {
        assert!(!checked.stdout.contains(secret) && !checked.stderr.contains(secret), "{secret}");
    }
    for key in ["token.secrets", "handshakes", "upstream.headers"] {
        let ended = setup.run(&["--set", &format!("{key}={SIGNING}"), "check"]);
        assert_eq!(ended.code, Some(78), "{ended:?}");
        assert!(!ended.stderr.contains(SIGNING), "{ended:?}");
    }
}
