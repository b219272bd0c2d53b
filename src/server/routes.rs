//! The routes by name, and warp's tree of those that backends and operators call.
//!
//! Players' files are not in the tree: they are most of all requests, and in the tree each cost 7.2 us of CPU
//! against 6.2 us beside it (200-byte segment, wrk with 16 connections). [`exchange`](super::exchange) takes them out first.

use std::sync::Arc;

use warp::{
    Filter, Rejection,
    filters::BoxedFilter,
    http::{HeaderMap, Method},
    reply::{Reply as _, Response},
};

use crate::error::{Code, Error, Result};

use super::{
    App,
    api::{self, Call},
    reply::{Reply, refuse},
};

/// A route's name in the log and in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/api/token`
    Token,
    /// `/api/batch`
    Batch,
    /// `/api/unlock`
    Unlock,
    /// `/api/streams/<rid>`
    Streams,
    /// `/api/library`
    Library,
    /// `/api/health`
    Health,
    /// `/api/ready`
    Ready,
    /// `/metrics`
    Metrics,
    /// Playlists of either kind, and redirects to them.
    Playlist,
    /// Initialization segments.
    Init,
    /// Audio and video segments.
    Segment,
    /// Caption segments.
    Captions,
    /// Waveforms and thumbnails.
    Extra,
    /// What there is not.
    Other,
}

impl Route {
    /// Every route, in the order of their numbers.
    pub const ALL: [Self; 14] = [
        Self::Token,
        Self::Batch,
        Self::Unlock,
        Self::Streams,
        Self::Library,
        Self::Health,
        Self::Ready,
        Self::Metrics,
        Self::Playlist,
        Self::Init,
        Self::Segment,
        Self::Captions,
        Self::Extra,
        Self::Other,
    ];

    /// The route of a raw path, players' files aside.
    pub fn of(path: &str) -> Self {
        match path {
            "/api/token" => Self::Token,
            "/api/batch" => Self::Batch,
            "/api/unlock" => Self::Unlock,
            "/api/library" => Self::Library,
            "/api/health" => Self::Health,
            "/api/ready" => Self::Ready,
            "/metrics" => Self::Metrics,
            _ => match path.strip_prefix("/api/streams/") {
                Some(rid) if !rid.is_empty() && !rid.contains('/') => Self::Streams,
                _ => Self::Other,
            },
        }
    }

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Batch => "batch",
            Self::Unlock => "unlock",
            Self::Streams => "streams",
            Self::Library => "library",
            Self::Health => "health",
            Self::Ready => "ready",
            Self::Metrics => "metrics",
            Self::Playlist => "playlist",
            Self::Init => "init",
            Self::Segment => "segment",
            Self::Captions => "captions",
            Self::Extra => "extra",
            Self::Other => "other",
        }
    }

    /// Its methods, as `Allow` has them.
    pub const fn methods(self) -> &'static str {
        match self {
            Self::Token | Self::Batch | Self::Unlock => "POST, OPTIONS",
            Self::Streams => "DELETE, OPTIONS",
            _ => "GET, HEAD, OPTIONS",
        }
    }

    /// Whether it takes the method, OPTIONS aside.
    pub fn allows(self, method: &Method) -> bool {
        match self {
            Self::Token | Self::Batch | Self::Unlock => *method == Method::POST,
            Self::Streams => *method == Method::DELETE,
            _ => *method == Method::GET || *method == Method::HEAD,
        }
    }

    /// Whether its successes are too many, or too dull, for a line each.
    pub const fn is_quiet(self) -> bool {
        !matches!(
            self,
            Self::Token | Self::Batch | Self::Unlock | Self::Streams | Self::Library | Self::Other
        )
    }
}

/// The routes of backends and operators. Methods and CORS are [`exchange`](super::exchange)'s business.
pub fn tree(app: &Arc<App>) -> BoxedFilter<(Response,)> {
    let token = warp::path!("api" / "token").and(call(app)).then(|call| handle(call, api::token));
    let batch = warp::path!("api" / "batch").and(call(app)).then(|call| handle(call, api::batch));
    let unlock =
        warp::path!("api" / "unlock").and(call(app)).then(|call| handle(call, api::unlock));
    let streams = warp::path!("api" / "streams" / String)
        .and(state(app))
        .and(warp::ext::get::<api::Peer>())
        .and(warp::header::headers_cloned())
        .then(|rid: String, app, peer, headers: HeaderMap| async move {
            answer(api::revoke(app, peer, &headers, &rid).await)
        });
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let library = warp::path!("api" / "library")
        .and(state(app))
        .and(warp::ext::get::<api::Peer>())
        .and(warp::header::headers_cloned())
        .and(query)
        .then(|app, peer, headers: HeaderMap, query: String| async move {
            answer(api::library(app, peer, &headers, &query).await)
        });
    let health = warp::path!("api" / "health").map(|| answer(Ok(api::health())));
    let ready = warp::path!("api" / "ready")
        .and(state(app))
        .map(|app: Arc<App>| answer(Ok(api::ready(&app))));
    let metrics =
        warp::path!("metrics").and(state(app)).map(|app: Arc<App>| answer(Ok(api::metrics(&app))));

    let routes = token.or(batch).unify().or(unlock).unify().or(streams).unify().or(library).unify();
    let routes = routes.or(health).unify().or(ready).unify().or(metrics).unify();
    let lost = |_: Rejection| async {
        Ok::<_, std::convert::Infallible>(answer(Err(Error::new(
            Code::NotFound,
            "there is no such route",
        ))))
    };
    routes.recover(lost).unify().boxed()
}

fn state(
    app: &Arc<App>,
) -> impl Filter<Extract = (Arc<App>,), Error = std::convert::Infallible> + Clone + use<> {
    let app = Arc::clone(app);
    warp::any().map(move || Arc::clone(&app))
}

/// A backend's call, read and authorized.
fn call(
    app: &Arc<App>,
) -> impl Filter<Extract = (Result<Call>,), Error = Rejection> + Clone + use<> {
    state(app)
        .and(warp::ext::get::<api::Peer>())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(Call::read)
}

async fn handle<F: Future<Output = Result<Reply>>>(
    call: Result<Call>,
    handler: impl FnOnce(Call) -> F,
) -> Response {
    match call {
        Ok(call) => answer(handler(call).await),
        Err(error) => answer(Err(error)),
    }
}

fn answer(result: Result<Reply>) -> Response {
    result.unwrap_or_else(|error| refuse(&error)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let cases = [
            ("/api/token", Route::Token),
            ("/api/batch", Route::Batch),
            ("/api/unlock", Route::Unlock),
            ("/api/streams/x", Route::Streams),
            ("/api/library", Route::Library),
            ("/api/health", Route::Health),
            ("/api/ready", Route::Ready),
            ("/metrics", Route::Metrics),
        ];
        for (path, route) in cases {
            assert_eq!(Route::of(path), route, "{path}");
        }
        for other in [
            "",
            "/",
            "*",
            "/api",
            "/api/token/",
            "/api//token",
            "/API/token",
            "/api/streams/",
            "/api/streams/a/b",
        ] {
            assert_eq!(Route::of(other), Route::Other, "{other}");
        }
    }

    #[test]
    fn what_is_allowed_is_what_is_told() {
        let methods =
            [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::PATCH];
        for route in Route::ALL {
            for method in &methods {
                let told = route.methods().split(", ").any(|told| told == method.as_str());
                assert_eq!(route.allows(method), told, "{method} {}", route.as_str());
            }
        }
    }

    #[test]
    fn every_route_has_its_number() {
        for (n, route) in Route::ALL.into_iter().enumerate() {
            assert_eq!(route as usize, n, "{}", route.as_str());
        }
    }
}
