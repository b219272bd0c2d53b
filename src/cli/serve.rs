//! `serve`: the broker as a process, from its sockets to its signals.

use std::{future::pending, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use super::{house::House, logging, runtime, token::keys};
use crate::{
    config::{self, Settings, Sources},
    error::{Code, Error, Result},
    server::{self, Listeners},
};

/// How often streams that have ended are forgotten.
const SWEEP: Duration = Duration::from_secs(1);

/// Connections that may wait to be accepted. tokio's own 128 made a crowd of 500 lose SYNs, and come back a second later.
const BACKLOG: u32 = 4096;

/// How long blocking work may take to end after everything else has.
const FAREWELL: Duration = Duration::from_secs(2);

/// Serves until a signal or the watchdog ends it.
pub fn run(sources: &Sources) -> Result<ExitCode> {
    run_with(sources, async |_, _| pending().await)
}

/// [`run`] with `companion` beside it, whose error ends the broker, too. It gets the settings and the address of the API.
pub fn run_with(
    sources: &Sources,
    companion: impl AsyncFnOnce(Arc<Settings>, SocketAddr) -> Error,
) -> Result<ExitCode> {
    let settings = sources.load()?;
    logging::start(&settings.log);
    for warning in config::warnings(&settings) {
        tracing::warn!("{warning}");
    }
    raise_descriptors();
    let runtime = runtime()?;
    let ended = runtime.block_on(serve(sources, settings, companion));
    // Heads are tasks: dropping them kills and reaps their ffmpeg.
    runtime.shutdown_timeout(FAREWELL);
    ended
}

async fn serve(
    sources: &Sources,
    settings: Settings,
    companion: impl AsyncFnOnce(Arc<Settings>, SocketAddr) -> Error,
) -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let listeners = bind(&settings)?;
    let api = listeners.api.as_ref().unwrap_or(&listeners.main);
    let api = api.local_addr().map_err(|e| Error::io("asking a socket for its address", &e))?;
    let (house, watchdog) = House::open(&settings).await?;
    announce(&listeners);
    let settings = Arc::new(settings);
    let companion = companion(settings.clone(), api);
    let (current, settings) = watch::channel(settings);

    let sweeping = tokio::spawn(sweep(house.streams.clone()));
    let (end, mut asked_to_end) = watch::channel(false);
    let (broker, metrics) = (house.broker.clone(), house.metrics.clone());
    let shutdown = async {
        // The sender lives as long as this does.
        let _ = asked_to_end.wait_for(|&asked| asked).await;
    };
    let serving = server::run(listeners, broker, settings, metrics, shutdown);
    let obeying = async {
        loop {
            match signals.next().await {
                "SIGHUP" => reload(sources, &house, &current),
                name if end.send_replace(true) => {
                    tracing::warn!("{name}: a second signal ends at once");
                    return;
                }
                name => tracing::info!("{name}: ending gracefully; a second signal ends at once"),
            }
        }
    };
    let outcome = tokio::select! {
        () = serving => Ok(()),
        () = obeying => Ok(()),
        error = watchdog.watch() => Err(error),
        error = companion => Err(error),
    };
    sweeping.abort();
    house.packager.close().await;
    house.streams.close();
    // Told by the log, and not again by main: one line says why it ended.
    let told = |error: Error| {
        tracing::error!("{error}");
        error.code().exit().into()
    };
    Ok(outcome.map_or_else(told, |()| ExitCode::SUCCESS))
}

/// Sockets first: a port that is taken is told before anything on disk is touched.
fn bind(settings: &Settings) -> Result<Listeners> {
    let main = listen(SocketAddr::new(settings.host, settings.port))?;
    let api = settings.listen.api.map(listen).transpose()?;
    let metrics = settings.listen.metrics.map(listen).transpose()?;
    Ok(Listeners { main, api, metrics })
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    let open = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // As TcpListener::bind does: a restart must not wait for the connections of the last run to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    let taken = |e| Error::new(Code::Unavailable, format!("cannot listen on {address}: {e}"));
    open().map_err(taken)
}

fn announce(listeners: &Listeners) {
    let named = [
        ("main", Some(&listeners.main)),
        ("api", listeners.api.as_ref()),
        ("metrics", listeners.metrics.as_ref()),
    ];
    for (listener, socket) in named {
        if let Some(addr) = socket.and_then(|socket| socket.local_addr().ok()) {
            tracing::info!(listener, %addr, "listening");
        }
    }
}

async fn sweep(streams: Arc<crate::stream::Streams>) {
    let mut ticks = tokio::time::interval(SWEEP);
    loop {
        ticks.tick().await;
        if let Err(error) = streams.sweep().await {
            tracing::warn!(%error, "ended streams stay in the state");
        }
    }
}

/// Handshakes, token secrets and limits are taken over; a bad file changes nothing.
fn reload(sources: &Sources, house: &House, current: &watch::Sender<Arc<Settings>>) {
    let take = || {
        // Another directory takes effect with a restart, and so does the signing key in it.
        let state = current.borrow().state.clone();
        let fresh = Settings { state, ..sources.load()? };
        let bad_handshakes = fresh.limits.bad_handshakes;
        house.access.replace(&fresh.handshake, keys(&fresh)?, bad_handshakes);
        house.packager.set_wait(fresh.limits.segment_wait);
        current.send_modify(|settings| {
            let limits = fresh.limits;
            *settings = Arc::new(Settings { limits, ..Settings::clone(settings) });
        });
        Ok::<_, Error>(())
    };
    match take() {
        Ok(()) => tracing::info!("handshake, token secrets and limits were read again"),
        Err(error) => {
            tracing::error!(%error, "the settings were not read again; the old ones stay");
        }
    }
}

/// As many connections as `limits.connections` allows need descriptors; the system's soft limit is often 1024.
fn raise_descriptors() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(%error, "the limit of open files stays at {soft}");
    }
}

struct Signals {
    term: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        let on = |kind| signal(kind).map_err(|e| Error::io("listening for signals", &e));
        Ok(Self {
            term: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    /// The name of the next signal.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hangup.recv() => "SIGHUP",
        }
    }
}
