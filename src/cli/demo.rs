//! `demo`: a broker and what it needs around it: an upstream with a recording inside, a stream, and the lines to copy.
//!
//! Everything is as in production, and goes over HTTP; only the recording is in the program itself. `demo/make` spoke it.

use std::{
    convert::Infallible,
    future::pending,
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use uuid::Uuid;
use warp::{
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    reply::Response,
};

use super::{args::Options, health::origin, serve};
use crate::{
    config::{Settings, Sources, write_duration},
    error::{Code, Error, Result},
};

/// Under a minute of speech: MP3, its length told by its Xing frame.
const AUDIO: &[u8] = include_bytes!("../../demo/welcome.mp3");

/// The same in writing, a cue a sentence.
const CAPTIONS: &[u8] = include_bytes!("../../demo/welcome.vtt");

/// The recording's media id.
const QID: &str = "welcome";

/// How long the first answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Serves until a signal ends it, then removes everything it has written.
pub fn run(options: &Options) -> Result<ExitCode> {
    if options.config.is_some() {
        let text = "the demo reads no configuration; change single settings with --set KEY=VALUE";
        return Err(Error::new(Code::Usage, text));
    }
    let doing = |what| move |e: io::Error| Error::io(what, &e);
    let upstream = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let upstream = upstream.map_err(doing("opening a socket for the upstream"))?;
    let address = upstream.local_addr().map_err(doing("asking a socket for its address"))?;
    upstream.set_nonblocking(true).map_err(doing("preparing a socket"))?;
    let home = TempDir::with_prefix("hls-broker-demo-").map_err(doing("making a directory"))?;

    // Nothing of the environment: its secrets are not for showing, its directories not for the demo.
    let nothing: [(&str, &str); 0] = [];
    let overrides = settings(address, home.path()).into_iter().chain(options.overrides());
    let sources = Sources::without_file(nothing, overrides)?;
    let exit = serve::run_with(&sources, async |settings, api| {
        let introducing = async {
            match introduce(&settings, &origin(api), address).await {
                Ok(()) => pending().await,
                Err(error) => error,
            }
        };
        tokio::select! {
            error = serve_media(upstream) => error,
            error = introducing => error,
        }
    })?;
    home.close().map_err(doing("removing the demo's directory"))?;
    say("The demo has ended, and its files are gone.\n")?;
    Ok(exit)
}

/// What differs from the defaults.
fn settings(upstream: SocketAddr, home: &Path) -> Vec<(String, String)> {
    let dir = |name| home.join(name).display().to_string();
    let pairs = [
        ("host", Ipv4Addr::LOCALHOST.to_string()),
        ("port", "0".into()),
        ("handshake", Uuid::new_v4().simple().to_string()),
        ("url.audio", format!("http://{upstream}/audio")),
        ("url.vtt", format!("http://{upstream}/vtt")),
        ("cache.dir", dir("cache")),
        ("cache.tempdir", dir("temp")),
        ("cache.static", dir("static")),
        ("state.dir", dir("state")),
        // Long enough to copy a line.
        ("cache.expiry", "1h".into()),
        ("upstream.max_size", "100MB".into()),
        ("limits.drain", "3s".into()),
        ("log.level", "warn".into()),
    ];
    pairs.into_iter().map(|(key, value)| (key.into(), value)).collect()
}

/// The upstream: two files, and nothing else. Returns only when it cannot go on.
async fn serve_media(listener: std::net::TcpListener) -> Error {
    let failed = |e| Error::io("the demo's upstream", &e);
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return failed(error),
    };
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => return failed(error),
        };
        let service = service_fn(async |request: Request<Incoming>| {
            Ok::<_, Infallible>(media(request.uri().path()))
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

fn media(path: &str) -> Response {
    let (media_type, bytes) = match path.strip_suffix(QID) {
        Some("/audio/") => ("audio/mpeg", AUDIO),
        Some("/vtt/") => ("text/vtt", CAPTIONS),
        _ => {
            let mut reply = Response::default();
            *reply.status_mut() = StatusCode::NOT_FOUND;
            return reply;
        }
    };
    let mut reply = Response::new(bytes.into());
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    reply
}

/// What the broker answers to a backend.
#[derive(Deserialize)]
struct Grant {
    token: String,
    rid: Uuid,
    url: String,
}

/// Asks for the recording as a backend does, and says how to go on.
async fn introduce(settings: &Arc<Settings>, api: &str, upstream: SocketAddr) -> Result<()> {
    let handshake = settings.handshake.first().map_or("", |secret| secret.expose());
    let asked = json!({ "handshake": handshake, "qid": QID }).to_string();
    let start = Instant::now();
    let grant = ask(&format!("{api}/api/token"), asked.clone()).await?;
    let elapsed = start.elapsed().as_millis();

    let Grant { token, rid, url } = grant;
    let life = write_duration(settings.cache.expiry);
    let header = quoted(&format!("x-gostreamer-token: {token}"));
    let [asked, unlock] = [asked, json!({ "handshake": handshake, "rid": rid }).to_string()]
        .map(|body| quoted(&body));
    let seekable = quoted(&format!("{url}?container=aac"));
    let bearer = quoted(&format!("authorization: Bearer {handshake}"));
    say(&format!(
        "\
A media server with the recording \"{QID}\" is at http://{upstream}, and a broker at {api}.
The broker answered this, as a backend asks it, in {elapsed} ms:

  curl {api}/api/token -d {asked}

The reply has a URL and a token that opens it for {life}. Players show it in a header. (These two cannot seek in the
default container, CMAF, before ffmpeg 7.1; so they ask for another.)

  mpv --http-header-fields={header} {seekable}
  ffplay -autoexit -headers {header} {seekable}
  curl --compressed -H {header} {url}

Those that cannot send headers, such as VLC and Safari, show it in the URL:

  {url}?token={token}

A backend renews a token in mid-play, or ends the stream for good:

  curl {api}/api/unlock -d {unlock}
  curl -X DELETE -H {bearer} {api}/api/streams/{rid}

Operators look here:

  curl {api}/api/ready
  curl {api}/metrics

Ctrl-C ends the demo and removes its files.
"
    ))
}

async fn ask(url: &str, body: String) -> Result<Grant> {
    let failed = |e: &reqwest::Error| Error::new(Code::Unavailable, format!("{url}: {e}"));
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build();
    let request = client.map_err(|e| failed(&e))?.post(url).body(body);
    let reply = request.send().await.map_err(|e| failed(&e))?;
    let body = reply.bytes().await.map_err(|e| failed(&e))?;
    let refused = |_| {
        let text = format!("the demo's stream was refused: {}", String::from_utf8_lossy(&body));
        Error::new(Code::Unavailable, text)
    };
    serde_json::from_slice(&body).map_err(refused)
}

/// As one word of a shell's.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// To stdout at once. Not `println!`, which panics where a pipe is closed.
fn say(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    let said = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    said.map_err(|e| Error::io("writing to stdout", &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_stays_within_its_word() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }

    #[test]
    fn only_the_recording_is_served() {
        for path in ["/audio/welcome", "/vtt/welcome"] {
            assert_eq!(media(path).status(), StatusCode::OK, "{path}");
        }
        for path in ["/", "/audio/", "/audio/other", "/video/welcome", "/audio/x/welcome"] {
            assert_eq!(media(path).status(), StatusCode::NOT_FOUND, "{path}");
        }
    }
}
