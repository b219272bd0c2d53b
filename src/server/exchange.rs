//! One request and its reply: what every exchange gets, whatever its route: bounds, an id, a span, CORS, figures, a line in
//! the log.

use std::{
    any::Any,
    io::{Cursor, Write as _},
    net::IpAddr,
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Instant,
};

use futures_util::FutureExt;
use hyper::{
    body::{Body as _, Incoming},
    service::Service,
};
use hyper_util::service::TowerToHyperService;
use tracing::{Instrument, Level, Span, debug, debug_span, info, info_span, warn};
use uuid::Uuid;
use warp::http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{ALLOW, CONNECTION, HOST, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
};

use crate::error::{Code, Error};

use super::{
    Door,
    api::Peer,
    connection::Link,
    cors,
    player::{self, Target},
    reply::{self, Body, Rid, refuse, refuse_as},
    routes::Route,
};

/// Fields in a request's head.
const MOST_HEADERS: usize = 64;

/// Bytes of a request's head, as HTTP/1.1 writes it.
const LARGEST_HEAD: usize = 16 * 1024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Names requests that come without a name: a random prefix of the process, and a number.
pub struct Ids {
    prefix: u32,
    next: AtomicU64,
}

impl Default for Ids {
    fn default() -> Self {
        Self { prefix: rand::random(), next: AtomicU64::new(1) }
    }
}

impl Ids {
    /// The request's own id if it is a sane one, else a new one.
    fn name(&self, request: &HeaderMap) -> HeaderValue {
        match request.get(REQUEST_ID) {
            Some(id) if is_sane(id.as_bytes()) => id.clone(),
            _ => self.next(),
        }
    }

    fn next(&self) -> HeaderValue {
        let mut room = Cursor::new([0_u8; 32]);
        // 8 hex digits, a hyphen and at most 16 more.
        let _ = write!(room, "{:08x}-{:x}", self.prefix, self.next.fetch_add(1, Relaxed));
        let length = usize::try_from(room.position()).unwrap_or_default();
        HeaderValue::from_bytes(room.get_ref().get(..length).unwrap_or_default())
            .unwrap_or(HeaderValue::from_static("-"))
    }
}

fn is_sane(id: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    (1..=64).contains(&id.len()) && id.iter().all(plain)
}

/// Answers one request on a connection. Never fails: what panics is a 500.
pub async fn exchange(
    door: &Door,
    peer: IpAddr,
    link: &Link,
    request: Request<Incoming>,
) -> Response<Body> {
    let begun = Instant::now();
    let app = &door.app;
    let id = app.ids.name(request.headers());
    let allowed = app.cors.allowed(request.headers());
    let target = door.target(request.uri().path());
    let route = match target {
        Some(target) => target.route(),
        None => door.route(request.uri().path()),
    };
    let rid = target.map(Target::rid);
    let is_head = *request.method() == Method::HEAD;
    let has_body = !request.body().is_end_stream();

    // In one expression: a future with a name would have its room twice in this one, which hyper moves for each request.
    let answered = AssertUnwindSafe(
        answer(door, peer, target, route, request).instrument(span(&id, route, rid)),
    )
    .catch_unwind()
    .await;
    let mut response = match answered {
        Ok(response) => response,
        Err(panic) => whole(internal(&id, route, panic.as_ref())),
    };

    let status = response.status();
    let unread = has_body && (target.is_some() || !status.is_success());
    link.answer(unread);
    let headers = response.headers_mut();
    app.cors.mark(headers, allowed);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let rid = rid.or_else(|| response.extensions().get::<Rid>().map(|rid| rid.0));
    let bytes = if is_head { 0 } else { response.body().size_hint().exact().unwrap_or_default() };
    let status = status.as_u16();
    app.metrics.bytes_sent.inc_by(bytes);
    app.figures.count(route, status, begun);
    Line { id: &id, route, rid, status, bytes, begun }.log();
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

async fn answer(
    door: &Door,
    peer: IpAddr,
    target: Option<Target>,
    route: Route,
    request: Request<Incoming>,
) -> Response<Body> {
    if let Some(refusal) = refuse_head(&request) {
        return whole(refusal);
    }
    if route == Route::Other {
        return whole(refuse(&Error::new(Code::NotFound, "there is no such route or file")));
    }
    if *request.method() == Method::OPTIONS {
        return whole(cors::preflight(request.headers(), route.methods()));
    }
    if !route.allows(request.method()) {
        let error = Error::new(Code::MethodNotAllowed, "this route has other methods");
        let mut reply = refuse(&error);
        reply.headers_mut().insert(ALLOW, HeaderValue::from_static(route.methods()));
        return whole(reply);
    }
    let Some(target) = target else {
        return Box::pin(call(door, peer, request)).await;
    };
    let (head, _) = request.into_parts();
    whole(player::answer(&door.app.broker, target, head).await)
}

async fn call(door: &Door, peer: IpAddr, mut request: Request<Incoming>) -> Response<Body> {
    request.extensions_mut().insert(Peer { address: peer, players: door.players_elsewhere });
    let routes = TowerToHyperService::new(warp::service(door.tree.clone()));
    match routes.call(request).await {
        Ok(response) => response.map(|body| Body::Routed(Box::pin(body))),
        Err(never) => match never {},
    }
}

fn whole(reply: reply::Reply) -> Response<Body> {
    reply.map(Body::Whole)
}

/// Refuses heads that no honest client sends.
fn refuse_head(request: &Request<Incoming>) -> Option<reply::Reply> {
    let headers = request.headers();
    if headers.len() > MOST_HEADERS || head_size(request) > LARGEST_HEAD {
        return Some(refuse(&too_large_head()));
    }
    let hosts = headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        let mut reply =
            refuse_as(StatusCode::BAD_REQUEST, &bad_head("the request needs one Host header"));
        reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return Some(reply);
    }
    None
}

fn head_size(request: &Request<Incoming>) -> usize {
    let uri = request.uri();
    let line = uri.path().len() + uri.query().map_or(0, str::len);
    // A colon, a space and the end of the line.
    let fields =
        request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    line + fields.sum::<usize>()
}

/// A head beyond the bounds.
pub fn too_large_head() -> Error {
    let message =
        format!("a request's head has at most {MOST_HEADERS} headers and {LARGEST_HEAD} bytes");
    Error::new(Code::HeadersTooLarge, message)
}

/// A head that is not HTTP; goes out with status 400.
pub fn bad_head(message: &str) -> Error {
    Error::new(Code::BadRequest, message)
}

fn internal(id: &HeaderValue, route: Route, panic: &(dyn Any + Send)) -> reply::Reply {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    let id = id.to_str().unwrap_or_default();
    tracing::error!(target: "request", id, route = route.as_str(), panic = message, "a bug ended a request");
    refuse(&Error::new(Code::Internal, "the request ended in a bug"))
}

fn span(id: &HeaderValue, route: Route, rid: Option<Uuid>) -> Span {
    let id = id.to_str().unwrap_or_default();
    let name = route.as_str();
    if route.is_quiet() {
        debug_span!(target: "request", "request", id, route = name, rid = rid.map(tracing::field::display))
    } else {
        info_span!(target: "request", "request", id, route = name)
    }
}

/// What is told of an exchange once it is over. Never the path, the query, a token or a handshake.
struct Line<'a> {
    id: &'a HeaderValue,
    route: Route,
    rid: Option<Uuid>,
    status: u16,
    bytes: u64,
    begun: Instant,
}

impl Line<'_> {
    fn level(&self) -> Level {
        match self.status {
            // A probe that is told "not ready" is told so every second.
            _ if self.route == Route::Ready => Level::DEBUG,
            500.. => Level::WARN,
            400.. => Level::INFO,
            _ if self.route.is_quiet() => Level::DEBUG,
            _ => Level::INFO,
        }
    }

    fn log(&self) {
        macro_rules! line {
            ($log:ident) => {
                $log!(
                    target: "request",
                    id = self.id.to_str().unwrap_or_default(),
                    route = self.route.as_str(),
                    rid = self.rid.map(tracing::field::display),
                    status = self.status,
                    bytes = self.bytes,
                    ms = self.begun.elapsed().as_micros() as f64 / 1000.0,
                )
            };
        }
        match self.level() {
            Level::WARN => line!(warn),
            Level::INFO => line!(info),
            _ => line!(debug),
        }
    }
}
