//! Who may read replies from a browser: CORS as the Fetch standard has it, without credentials.

use warp::http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
        ALLOW, ORIGIN, VARY,
    },
};

use super::reply::Reply;

const EXPOSED: HeaderValue = HeaderValue::from_static("content-length, content-range");
const DAY: HeaderValue = HeaderValue::from_static("86400");
const ANY: HeaderValue = HeaderValue::from_static("*");

/// The configured origins.
pub enum Cors {
    /// Every page on the web.
    Any,
    /// These origins, and no other.
    Listed(Vec<HeaderValue>),
}

impl Cors {
    /// Takes `cors.origins`; a `*` among them means every origin.
    pub fn new(origins: &[String]) -> Self {
        if origins.iter().any(|origin| origin == "*") {
            return Self::Any;
        }
        Self::Listed(origins.iter().filter_map(|o| HeaderValue::from_str(o).ok()).collect())
    }

    /// What `Access-Control-Allow-Origin` answers to a request with these headers.
    pub fn allowed(&self, request: &HeaderMap) -> Option<HeaderValue> {
        match self {
            Self::Any => Some(ANY),
            Self::Listed(origins) => {
                request.get(ORIGIN).filter(|origin| origins.contains(origin)).cloned()
            }
        }
    }

    /// Puts the CORS headers on a reply, whatever its status.
    pub fn mark(&self, reply: &mut HeaderMap, allowed: Option<HeaderValue>) {
        if let Self::Listed(_) = self {
            reply.append(VARY, HeaderValue::from_static("Origin"));
        }
        if let Some(origin) = allowed {
            reply.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            reply.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}

/// The answer to OPTIONS on a route with these methods; needs no token.
pub fn preflight(request: &HeaderMap, methods: &'static str) -> Reply {
    let mut reply = Reply::default();
    *reply.status_mut() = StatusCode::NO_CONTENT;
    let headers = reply.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(methods));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    headers.insert(ACCESS_CONTROL_MAX_AGE, DAY);
    for wanted in request.get_all(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.append(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    reply
}
