//! Backends: the bodies of their calls, read in the order that the wire contract names: size, syntax, handshake, shape.

use std::{
    borrow::Cow,
    net::IpAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;
use warp::http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE},
};

use crate::{
    catalogue::{Entry, PAGE},
    config,
    error::{Code, Error, Result},
    library::Path,
    source::{Qid, Wanted},
    stream::parse_rid,
};

use super::{
    App,
    caller::{self, bearer},
    query::{decode, find},
    reply::{self, Reply, Rid},
};

/// Bytes of a call's body.
const LARGEST_BODY: usize = 64 * 1024;

/// How long a batch lives that does not say.
const BATCH_EXPIRY: Duration = Duration::from_mins(30);

/// Where a call comes from.
#[derive(Clone, Copy)]
pub struct Peer {
    /// The other end of the connection, perhaps a proxy.
    pub address: IpAddr,
    /// The port that players are served on, where it is not the one called.
    pub players: Option<u16>,
}

/// A call by somebody who knows the handshake.
pub struct Call {
    app: Arc<App>,
    peer: Peer,
    headers: HeaderMap,
    body: Value,
}

impl Call {
    /// Reads a call within `limits.body` and checks its handshake.
    pub async fn read<B: Buf>(
        app: Arc<App>,
        peer: Peer,
        headers: HeaderMap,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Result<Self> {
        let limit = app.settings().limits.body;
        let body = timeout(limit, collect(&headers, body)).await.map_err(|_| {
            Error::new(Code::RequestTimeout, "the request's body did not arrive in time")
        })??;
        let body: Value = serde_json::from_slice(&body)
            .map_err(|why| Error::new(Code::BadRequest, format!("the body is not JSON: {why}")))?;
        let call = Self { app, peer, headers, body };
        authorize(&call.app, peer, &call.headers, call.field("handshake"))?;
        Ok(call)
    }

    /// A field, `null` being as good as absent.
    fn field(&self, name: &str) -> Option<&Value> {
        self.body.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<&str> {
        let field = self.field(name).ok_or_else(|| malformed(name, "is missing"))?;
        field.as_str().ok_or_else(|| malformed(name, "must be a string"))
    }

    fn url(&self, rid: Uuid) -> Option<String> {
        let settings = self.app.settings();
        let base = if let Some(url) = &settings.public_url {
            url.as_str().trim_end_matches('/').to_owned()
        } else {
            let trusted = &settings.limits.trusted_proxies;
            caller::origin(self.peer.address, &self.headers, trusted, self.peer.players)?
        };
        Some(format!("{base}/hls/{rid}/index.m3u8"))
    }
}

async fn collect<B: Buf>(
    headers: &HeaderMap,
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> Result<Bytes> {
    let too_large =
        || Error::new(Code::TooLarge, format!("a body has at most {LARGEST_BODY} bytes"));
    let promised =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if promised.is_some_and(|length: usize| length > LARGEST_BODY) {
        return Err(too_large());
    }
    let mut body = pin!(body);
    let mut whole = Vec::with_capacity(promised.unwrap_or_default());
    while let Some(part) = body.next().await {
        let mut part =
            part.map_err(|_| Error::new(Code::BadRequest, "the request's body broke off"))?;
        if part.remaining() > LARGEST_BODY - whole.len() {
            return Err(too_large());
        }
        while part.has_remaining() {
            let chunk = part.chunk();
            whole.extend_from_slice(chunk);
            let length = chunk.len();
            part.advance(length);
        }
    }
    Ok(whole.into())
}

/// Checks the body's handshake, or if it has none, the bearer's.
fn authorize(app: &App, peer: Peer, headers: &HeaderMap, handshake: Option<&Value>) -> Result<()> {
    let offered = match handshake {
        Some(handshake) => handshake.as_str(),
        None => bearer(headers).unwrap_or_default(),
    };
    let trusted = &app.settings().limits.trusted_proxies;
    app.broker.authorize(offered, caller::address(peer.address, headers, trusted))
}

/// `POST /api/token`
pub async fn token(call: Call) -> Result<Reply> {
    let wanted = match (call.field("qid"), call.field("file")) {
        (Some(_), Some(_)) => return Err(malformed("qid", "and file exclude each other")),
        (None, Some(_)) => Wanted::File(Path::parse(call.text("file")?)?),
        _ => Wanted::Id(Qid::parse(call.text("qid")?)?),
    };
    let grant = call.app.broker.token(&wanted).await?;
    let body = json!({
        "token": grant.token,
        "rid": grant.rid,
        "url": call.url(grant.rid),
        "expires_at": instant(grant.expires_at),
        "expires_in": seconds_to(grant.expires_at),
        "warnings": grant.warnings,
    });
    Ok(about(grant.rid, reply::json(StatusCode::CREATED, &body)))
}

/// `POST /api/batch`
pub async fn batch(call: Call) -> Result<Reply> {
    let wanted = wanted(&call)?;
    let expiry = match call.field("expiry") {
        None => BATCH_EXPIRY,
        Some(_) => config::duration(call.text("expiry")?)
            .map_err(|why| Error::new(Code::BadRequest, format!("expiry: {why}")))?,
    };
    let strict = match call.field("strict") {
        None => false,
        Some(strict) => {
            strict.as_bool().ok_or_else(|| malformed("strict", "must be true or false"))?
        }
    };
    let batch = call.app.broker.batch(wanted, expiry, strict).await?;
    let streams: Vec<_> =
        batch.streams.iter().map(|(rid, wanted)| wanted.named(json!({ "rid": rid }))).collect();
    let errors: Vec<_> =
        batch.errors.iter().map(|(wanted, error)| wanted.named(error.json())).collect();
    let body = json!({
        "batchid": batch.id,
        "streams": streams,
        "errors": errors,
        "expires_at": instant(batch.expires_at),
    });
    Ok(reply::json(StatusCode::CREATED, &body))
}

/// What a batch is to play: its `qids` in their order, then its `files`.
fn wanted(call: &Call) -> Result<Vec<Wanted>> {
    let mut wanted = Vec::new();
    if call.field("qids").is_some() || call.field("files").is_none() {
        let qid = |text: &str| Qid::parse(text).map(Wanted::Id);
        wanted.extend(items(call, "qids", qid)?);
    }
    if call.field("files").is_some() {
        let file = |text: &str| Path::parse(text).map(Wanted::File);
        wanted.extend(items(call, "files", file)?);
    }
    most_of_batch(call, "qids and files", wanted.len()).map(|()| wanted)
}

/// A list of names, each through `parse`.
fn items(call: &Call, name: &str, parse: impl Fn(&str) -> Result<Wanted>) -> Result<Vec<Wanted>> {
    let Some(Value::Array(items)) = call.field(name) else {
        return Err(malformed(name, "must be a list of strings"));
    };
    if items.is_empty() {
        return Err(malformed(name, "must name at least one"));
    }
    most_of_batch(call, name, items.len())?;
    // Shape before content: what is no string is told first, wherever it stands.
    let text = |(n, item): (usize, &Value)| {
        let text = item.as_str().map(str::to_owned);
        text.ok_or_else(|| malformed(&format!("{name}[{n}]"), "must be a string"))
    };
    let texts: Vec<_> = items.iter().enumerate().map(text).collect::<Result<_>>()?;
    let parse = |(n, text): (usize, &String)| {
        parse(text).map_err(|e| Error::new(e.code(), format!("{name}[{n}]: {e}")))
    };
    texts.iter().enumerate().map(parse).collect()
}

fn most_of_batch(call: &Call, name: &str, count: usize) -> Result<()> {
    let most = call.app.settings().limits.batch;
    if count <= most {
        return Ok(());
    }
    Err(Error::new(Code::TooMany, format!("{name}: a batch has at most {most} media")))
}

/// `POST /api/unlock`
pub async fn unlock(call: Call) -> Result<Reply> {
    // Whatever was never given out is gone, however it is written.
    let rid = parse_rid(call.text("rid")?)
        .ok_or_else(|| Error::new(Code::StreamGone, "there is no such stream, or it has ended"))?;
    let grant = call.app.broker.unlock(rid).await?;
    let body = json!({
        "token": grant.token,
        "url": call.url(rid),
        "expires_at": instant(grant.expires_at),
        "expires_in": seconds_to(grant.expires_at),
    });
    Ok(about(rid, reply::json(StatusCode::CREATED, &body)))
}

/// `DELETE /api/streams/<rid>`
pub async fn revoke(app: Arc<App>, peer: Peer, headers: &HeaderMap, rid: &str) -> Result<Reply> {
    authorize(&app, peer, headers, None)?;
    let mut reply = Reply::default();
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let Some(rid) = parse_rid(rid) else {
        return Ok(reply);
    };
    app.broker.revoke(rid).await?;
    Ok(about(rid, reply))
}

/// `GET /api/library`
pub async fn library(app: Arc<App>, peer: Peer, headers: &HeaderMap, query: &str) -> Result<Reply> {
    authorize(&app, peer, headers, None)?;
    let text = |key| find(query, key).map(decode).filter(|text| !text.is_empty());
    let folder = text("path").map(|path| Path::parse(&path)).transpose()?;
    let limit = match text("limit") {
        None => PAGE,
        Some(limit) => limit
            .parse()
            .ok()
            .filter(|&limit: &usize| limit > 0)
            .ok_or_else(|| malformed("limit", "must be a whole number from 1 on"))?,
    };
    let path = folder.as_ref().map(ToString::to_string).unwrap_or_default();
    let page = app.broker.list(folder, text("after").map(Cow::into_owned), limit).await?;
    let entries: Vec<_> = page.entries.iter().map(entry).collect();
    let body = json!({ "path": path, "entries": entries, "next": page.next });
    Ok(reply::json(StatusCode::OK, &body))
}

fn entry(Entry { path, modified, file }: &Entry) -> Value {
    json!({
        "name": path.name(),
        "path": path.as_str(),
        "kind": file.map_or("folder", |file| file.kind.as_str()),
        "duration": file.and_then(|file| file.duration),
        "size": file.map(|file| file.size),
        "modified": instant(*modified),
    })
}

/// `GET /api/health`
pub fn health() -> Reply {
    reply::json(StatusCode::OK, &json!({ "status": "ok" }))
}

/// `GET /api/ready`
pub fn ready(app: &App) -> Reply {
    match app.broker.ready() {
        Ok(()) => reply::json(StatusCode::OK, &json!({ "status": "ready" })),
        Err(why) => reply::refuse_as(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

/// `GET /metrics`
pub fn metrics(app: &App) -> Reply {
    let (page, media_type) = app.metrics.page();
    let mut reply = Reply::new(page.into());
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

fn malformed(field: &str, why: &str) -> Error {
    Error::new(Code::BadRequest, format!("{field} {why}"))
}

fn about(rid: Uuid, mut reply: Reply) -> Reply {
    reply.extensions_mut().insert(Rid(rid));
    reply
}

fn instant(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

/// Whole seconds from now, never more than there are.
fn seconds_to(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::now()).unwrap_or_default().as_secs()
}
