//! Replies that are JSON, and the body that carries any reply to a connection.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use serde_json::Value;
use uuid::Uuid;
use warp::http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};

use crate::error::{Code, Error};

/// A reply whose body is in memory.
pub type Reply = Response<Bytes>;

/// The stream that a backend's call was about, for the log.
#[derive(Clone, Copy)]
pub struct Rid(pub Uuid);

/// A JSON reply that nobody may keep.
pub fn json(status: StatusCode, value: &Value) -> Reply {
    let mut reply = Reply::new(Bytes::from(value.to_string()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// The reply that tells of an error.
pub fn refuse(error: &Error) -> Reply {
    refuse_as(error.code().status(), error)
}

/// The same with another status than the code's own.
pub fn refuse_as(status: StatusCode, error: &Error) -> Reply {
    let mut reply = json(status, &error.json());
    let headers = reply.headers_mut();
    if let Some(wait) = error.retry_after() {
        // Whole seconds, and never "now": a client that obeys 0 spins.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if matches!(error.code(), Code::TooLarge | Code::RequestTimeout | Code::HeadersTooLarge) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}

/// A reply as bytes for a socket that no HTTP state machine looks after; the connection ends with it.
pub fn wire(reply: &Reply) -> Bytes {
    let mut wire = format!("HTTP/1.1 {}\r\n", reply.status()).into_bytes();
    for (name, value) in reply.headers().iter().filter(|(name, _)| **name != CONNECTION) {
        wire.extend_from_slice(name.as_str().as_bytes());
        wire.extend_from_slice(b": ");
        wire.extend_from_slice(value.as_bytes());
        wire.extend_from_slice(b"\r\n");
    }
    let length = reply.body().len();
    wire.extend_from_slice(
        format!("connection: close\r\ncontent-length: {length}\r\n\r\n").as_bytes(),
    );
    wire.extend_from_slice(reply.body());
    Bytes::from(wire)
}

/// A reply's body on its way to a connection.
pub enum Body {
    /// In memory, sent without a copy.
    Whole(Bytes),
    /// What a warp route answered.
    Routed(Pin<Box<dyn hyper::body::Body<Data = Bytes, Error = warp::Error> + Send>>),
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = warp::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, warp::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Routed(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Routed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Routed(body) => body.size_hint(),
        }
    }
}
