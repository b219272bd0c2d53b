//! Players: `/hls/<rid>/<file>`, from the raw path and headers to the broker and back.

use std::sync::Arc;

use uuid::Uuid;
use warp::http::{
    HeaderMap, HeaderValue, StatusCode, Uri,
    header::{CACHE_CONTROL, LOCATION},
    request::Parts,
};

use crate::{
    broker::{Broker, Query},
    error::{Code, Error, Result},
    package::file::{File, Format},
    stream::parse_rid,
};

use super::{
    asset,
    caller::bearer,
    query::{decode, find},
    reply::{Reply, refuse},
    routes::Route,
};

/// What a path below `/hls/` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file of a stream.
    File(Uuid, File),
    /// The stream itself, with or without a slash behind it.
    Stream(Uuid, bool),
}

impl Target {
    /// Reads a raw path, which is never percent-decoded: a stream has one spelling, and so has each file.
    pub fn parse(path: &str) -> Option<Self> {
        let path = path.strip_prefix("/hls/")?;
        let Some((rid, name)) = path.split_once('/') else {
            return Some(Self::Stream(parse_rid(path)?, false));
        };
        let rid = parse_rid(rid)?;
        if name.is_empty() {
            return Some(Self::Stream(rid, true));
        }
        Some(Self::File(rid, name.parse().ok()?))
    }

    /// The stream.
    pub fn rid(self) -> Uuid {
        match self {
            Self::File(rid, _) | Self::Stream(rid, _) => rid,
        }
    }

    /// The route's name.
    pub fn route(self) -> Route {
        match self {
            Self::Stream(..) | Self::File(_, File::Index | File::Playlist(_)) => Route::Playlist,
            Self::File(_, File::Init(_)) => Route::Init,
            Self::File(_, File::Segment(_, _, Format::Vtt)) => Route::Captions,
            Self::File(_, File::Segment(..)) => Route::Segment,
            Self::File(_, File::Peaks | File::Storyboard | File::Sprite(_) | File::Text(_)) => {
                Route::Extra
            }
        }
    }
}

/// Answers GET or HEAD.
pub async fn answer(broker: &Arc<Broker>, target: Target, request: Parts) -> Reply {
    let (rid, file) = match target {
        Target::File(rid, file) => (rid, file),
        Target::Stream(rid, slash) => return redirect(rid, slash, &request.uri),
    };
    match play(broker, rid, file, request).await {
        Ok(reply) => reply,
        Err(error) => refuse(&error),
    }
}

async fn play(broker: &Arc<Broker>, rid: Uuid, file: File, request: Parts) -> Result<Reply> {
    let Parts { method, uri, headers, .. } = request;
    let offered = uri.query().and_then(|query| find(query, "token")).map(decode);
    let token = match header_token(&headers)? {
        Some(token) => Some(token),
        None => offered.as_deref(),
    };
    let query = Query {
        container: uri
            .query()
            .and_then(|query| find(query, "container"))
            .and_then(|name| name.parse().ok()),
        token: offered.as_deref().map(String::from),
    };
    // An empty token is present and decides, but it is none.
    let token = token.filter(|token| !token.is_empty());
    let asset = broker.play(rid, token, file, &query).await?;
    Ok(asset::send(asset, &method, headers))
}

/// The token of the first header that has one, perhaps empty.
fn header_token(headers: &HeaderMap) -> Result<Option<&str>> {
    let invalid = || Error::new(Code::TokenInvalid, "the token is not valid for this stream");
    let mut token = None;
    for list in headers.get_all("x-gostreamer-token") {
        // Proxies and players that send the header twice make a list of it.
        for item in list.to_str().map_err(|_| invalid())?.split(',').map(str::trim) {
            match token {
                None | Some("") => token = Some(item),
                Some(token) if token == item || item.is_empty() => {}
                Some(_) => return Err(invalid()),
            }
        }
    }
    if token.is_some() {
        return Ok(token);
    }
    bearer(headers).map_err(|()| invalid())
}

/// Sends a player that asked for the stream to its playlist, by a path relative to what it asked for.
fn redirect(rid: Uuid, slash: bool, uri: &Uri) -> Reply {
    let folder = if slash { String::new() } else { format!("{rid}/") };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut reply = Reply::default();
    *reply.status_mut() = StatusCode::PERMANENT_REDIRECT;
    // The location holds the token if the request did.
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    if let Ok(location) = HeaderValue::try_from(format!("{folder}index.m3u8{query}")) {
        reply.headers_mut().insert(LOCATION, location);
    }
    reply
}

#[cfg(test)]
mod tests;
