//! The server: sockets, connections, and the end of both. It knows HTTP/1.1 (RFC 9112) and nothing of media.
//!
//! A connection is accepted here, waits in [`connection`], and hands each request to [`exchange`], which asks [`player`]
//! for files and the tree of [`routes`] for everything else. Replies are made in [`asset`] and [`reply`].
//!
//! hyper serves connections and warp the routes; warp's own server has no bounds on time or number.

mod api;
mod asset;
mod caller;
mod connection;
mod cors;
mod exchange;
mod figures;
mod player;
mod query;
mod reply;
mod routes;

use std::{
    convert::Infallible,
    future::pending,
    io::Write as _,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{debug, info, warn};
use warp::{filters::BoxedFilter, http::StatusCode, reply::Response};

use crate::{
    broker::Broker,
    config::Settings,
    error::{Code, Error},
    metrics::{self, Metrics},
};

use self::{
    connection::{Guard, Link, Patience, Refusals},
    cors::Cors,
    exchange::{Ids, exchange},
    figures::Figures,
    player::Target,
    reply::{refuse_as, wire},
    routes::Route,
};

/// hyper's bound on a head: above ours, which answers by the rules of every reply, below what hurts.
const HYPER_BUFFER: usize = 32 * 1024;

/// Connections over the cap that are seen off politely at once; beyond that number they are just closed.
const POLITE_REFUSALS: usize = 64;

/// How long a peer that was refused may take to read why.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// Sockets to serve on, bound by the caller.
pub struct Listeners {
    /// Players, and all that has no listener of its own.
    pub main: TcpListener,
    /// `/api`, which is then served nowhere else.
    pub api: Option<TcpListener>,
    /// `/metrics`, likewise.
    pub metrics: Option<TcpListener>,
}

/// What all listeners share.
struct App {
    broker: Arc<Broker>,
    metrics: Arc<Metrics>,
    figures: Figures,
    settings: watch::Receiver<Arc<Settings>>,
    cors: Cors,
    ids: Ids,
    refusals: Arc<Refusals>,
    refusing: AtomicUsize,
}

impl App {
    /// The settings as they are now.
    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }
}

/// What one listener serves.
struct Door {
    app: Arc<App>,
    tree: BoxedFilter<(Response,)>,
    players: bool,
    api: bool,
    metrics: bool,
    players_elsewhere: Option<u16>,
    open: AtomicUsize,
}

impl Door {
    fn target(&self, path: &str) -> Option<Target> {
        if self.players { Target::parse(path) } else { None }
    }

    fn route(&self, path: &str) -> Route {
        let route = Route::of(path);
        let here = if route == Route::Metrics { self.metrics } else { self.api };
        if here { route } else { Route::Other }
    }
}

/// One of the connections that count.
struct Slot(Arc<Door>);

impl Slot {
    fn take(door: &Arc<Door>) -> Option<Self> {
        let slot = Self(Arc::clone(door));
        door.app.metrics.connections.inc();
        let others = door.open.fetch_add(1, Relaxed);
        (others < door.app.settings.borrow().limits.connections).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
        self.0.app.metrics.connections.dec();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Draining,
    Cut,
}

/// Serves until `shutdown`, then drains: the broker takes no new work, idle connections are closed, busy ones end with
/// their reply, new ones get one reply each; after two thirds of `limits.drain` nobody new is let in, and at its end what is
/// left is cut. Returns as soon as the last connection has ended.
///
/// Limits are read anew from `settings` for every connection and call; the rest of the settings is read once.
pub async fn run(
    listeners: Listeners,
    broker: Arc<Broker>,
    settings: watch::Receiver<Arc<Settings>>,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()>,
) {
    let cors = Cors::new(&settings.borrow().cors.origins);
    let app = Arc::new(App {
        refusals: Arc::new(refusals(&cors)),
        broker,
        figures: Figures::of(&metrics),
        metrics,
        settings,
        cors,
        ids: Ids::default(),
        refusing: AtomicUsize::new(0),
    });
    let (phase, _) = watch::channel(Phase::Open);
    {
        let mut accepting = pin!(accept_all(listeners, &app, &phase));
        tokio::select! {
            () = &mut accepting => {}
            () = shutdown => {}
        }
        let limit = app.settings().limits.drain;
        app.broker.drain();
        phase.send_replace(Phase::Draining);
        info!(target: "drain", connections = phase.receiver_count(), ?limit, "new work is refused, playback goes on");
        tokio::select! {
            () = &mut accepting => {}
            () = phase.closed() => {}
            () = sleep(limit * 2 / 3) => {}
        }
    }
    let rest = app.settings().limits.drain / 3;
    info!(target: "drain", connections = phase.receiver_count(), "listeners are closed");
    if timeout(rest, phase.closed()).await.is_ok() {
        info!(target: "drain", "all connections have ended");
        return;
    }
    let cut = phase.receiver_count();
    phase.send_replace(Phase::Cut);
    warn!(target: "drain", cut, "time is up, connections were cut");
    // Each has only to notice.
    let _ = timeout(REFUSAL_TIME, phase.closed()).await;
}

async fn accept_all(listeners: Listeners, app: &Arc<App>, phase: &watch::Sender<Phase>) {
    let port = listeners.main.local_addr().ok().map(|address| address.port());
    let door = |players, api, metrics| {
        Arc::new(Door {
            app: Arc::clone(app),
            tree: routes::tree(app),
            players,
            api,
            metrics,
            players_elsewhere: port.filter(|_| !players),
            open: AtomicUsize::new(0),
        })
    };
    let main = door(true, listeners.api.is_none(), listeners.metrics.is_none());
    tokio::join!(
        accept(Some(listeners.main), main, phase),
        accept(listeners.api, door(false, true, false), phase),
        accept(listeners.metrics, door(false, false, true), phase),
    );
}

async fn accept(listener: Option<TcpListener>, door: Arc<Door>, phase: &watch::Sender<Phase>) {
    const SHORTEST: Duration = Duration::from_millis(10);
    let Some(listener) = listener else {
        return pending().await;
    };
    let mut pause = SHORTEST;
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, mostly: those who leave make room.
                warn!(target: "connection", %error, "cannot accept");
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
                continue;
            }
        };
        pause = SHORTEST;
        // A reply's last packet must not wait for an acknowledgement; a socket that refuses is one that has gone.
        let _ = stream.set_nodelay(true);
        match Slot::take(&door) {
            Some(slot) => drop(tokio::spawn(serve(stream, peer, phase.subscribe(), slot))),
            None => turn_away(stream, &door.app),
        }
    }
}

// The slot comes last, to be given back before the drain sees the connection gone.
async fn serve(stream: TcpStream, peer: SocketAddr, mut phase: watch::Receiver<Phase>, slot: Slot) {
    let door = &slot.0;
    let app = &door.app;
    let link = Arc::new(Link::default());
    let patience = Patience::from(&app.settings.borrow().limits);
    let guard = Guard::new(stream, patience, Arc::clone(&app.refusals), Arc::clone(&link));
    let service = service_fn(|request| {
        // At once, not when the future is first polled: hyper reads in between.
        link.serve();
        async { Ok::<_, Infallible>(exchange(door, peer.ip(), &link, request).await) }
    });
    let keep_alive = *phase.borrow_and_update() == Phase::Open;
    let mut connection = pin!(
        http1::Builder::new()
            .keep_alive(keep_alive)
            .max_buf_size(HYPER_BUFFER)
            .serve_connection(TokioIo::new(guard), service)
    );
    let ended = loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => break ended,
            changed = phase.changed() => {
                if changed.is_err() || *phase.borrow_and_update() == Phase::Cut {
                    return;
                }
                connection.as_mut().graceful_shutdown();
            }
        }
    };
    if let Err(error) = ended {
        debug!(target: "connection", %error, "ended early");
    }
    if let Some(status) = link.refused() {
        let route = Route::Other.as_str();
        app.metrics.requests.get_or_create(&metrics::Request { route, status }).inc();
        info!(target: "request", route, status, "refused before it was a request");
    }
}

/// Tells a connection over the cap to come back, without making the listener wait.
fn turn_away(stream: TcpStream, app: &Arc<App>) {
    app.metrics.connections_refused.inc();
    let Ok(mut stream) = stream.into_std() else {
        return;
    };
    // A new socket's buffer has room for this.
    if stream.write_all(&app.refusals.full).is_err() {
        return;
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
    if app.refusing.fetch_add(1, Relaxed) >= POLITE_REFUSALS {
        app.refusing.fetch_sub(1, Relaxed);
        return;
    }
    let app = Arc::clone(app);
    tokio::spawn(async move {
        // Closing while the request is unread would reset the connection under the reply.
        if let Ok(mut stream) = TcpStream::from_std(stream) {
            let mut room = [0; 1024];
            let spill = async { while stream.read(&mut room).await.is_ok_and(|read| read > 0) {} };
            let _ = timeout(REFUSAL_TIME, spill).await;
        }
        app.refusing.fetch_sub(1, Relaxed);
    });
}

fn refusals(cors: &Cors) -> Refusals {
    let full = Error::busy("too many connections; try again later", Duration::from_secs(1));
    let timeout = Error::new(Code::RequestTimeout, "the request's head did not arrive in time");
    let malformed = exchange::bad_head("this is not an HTTP/1.1 request");
    let refusal = |status: StatusCode, error: &Error| {
        let mut reply = refuse_as(status, error);
        // Without a head there is no origin to compare: only those who allow all can be told.
        let allowed = cors.allowed(&warp::http::HeaderMap::new());
        cors.mark(reply.headers_mut(), allowed);
        wire(&reply)
    };
    Refusals {
        timeout: refusal(StatusCode::REQUEST_TIMEOUT, &timeout),
        malformed: refusal(StatusCode::BAD_REQUEST, &malformed),
        large: refusal(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, &exchange::too_large_head()),
        full: refusal(StatusCode::SERVICE_UNAVAILABLE, &full),
    }
}
