//! The backend's media server, on port 0, doing what each test tells it to: well-behaved, slow, broken or hostile.
//!
//! Written on bare sockets, because what it must do to HTTP no HTTP library does. It remembers every request.

mod answer;
mod exchange;

use std::{
    collections::HashMap,
    fmt,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use nix::sys::socket::{Backlog, listen};
use tokio::net::TcpSocket;

pub use answer::{Answer, File, Gate};

use super::PATIENCE;

/// A media server that runs until it is dropped. Paths are percent-decoded: `/audio/` and the media id.
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// What each path answers, in turn; the last answer stays.
    answers: Mutex<HashMap<String, Vec<Answer>>>,
    requests: Mutex<Vec<Request>>,
    arrived: Condvar,
    down: AtomicBool,
    closed: AtomicBool,
}

/// A request as it arrived, and what became of it.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// The target, as sent.
    pub target: String,
    /// The target's path, percent-decoded as a whole.
    pub path: String,
    /// The target's query, as sent.
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Bytes of body that the client's machine has taken so far.
    pub sent: u64,
    /// Whether the client hung up before the answer was over.
    pub abandoned: bool,
    /// Whether the exchange is over, either way.
    pub over: bool,
}

impl Request {
    /// The first header line of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

impl Upstream {
    /// A server that answers 404 until it is told more.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::<Shared>::default();
        let accepting = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.closed.load(Ordering::SeqCst) {
                    return;
                }
                let shared = accepting.clone();
                thread::spawn(move || exchange::serve(stream, &shared));
            }
        });
        Self { address, shared }
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Says what `/audio/<id>` answers from now on: bytes, a [`File`] or an [`Answer`].
    pub fn audio(&self, id: &str, answer: impl Into<Answer>) -> &Self {
        self.at(&format!("/audio/{id}"), [answer.into()])
    }

    /// Says what `/vtt/<id>` answers from now on.
    pub fn vtt(&self, id: &str, answer: impl Into<Answer>) -> &Self {
        self.at(&format!("/vtt/{id}"), [answer.into()])
    }

    /// Says what any path answers: each answer once, then the last one for ever.
    pub fn at(&self, path: &str, answers: impl IntoIterator<Item = Answer>) -> &Self {
        let mut answers: Vec<Answer> = answers.into_iter().collect();
        answers.reverse();
        self.shared.answers.lock().expect("answers").insert(path.to_owned(), answers);
        self
    }

    /// While down, every connection is reset.
    pub fn set_down(&self, down: bool) {
        self.shared.down.store(down, Ordering::SeqCst);
    }

    /// Every request so far, in order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().expect("requests").clone()
    }

    /// The requests for this decoded path so far.
    pub fn requests_for(&self, path: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.path == path).collect()
    }

    /// How many requests for this decoded path have come so far.
    pub fn hits(&self, path: &str) -> usize {
        self.requests_for(path).len()
    }

    /// Waits until a request for this path holds to the condition: `|request| request.sent >= 1000`.
    #[track_caller]
    pub fn wait_for(&self, path: &str, condition: impl Fn(&Request) -> bool) -> Request {
        let mut found = None;
        let requests = self.shared.requests.lock().expect("requests");
        let waited = self.shared.arrived.wait_timeout_while(requests, PATIENCE, |requests| {
            found =
                requests.iter().find(|request| request.path == path && condition(request)).cloned();
            found.is_none()
        });
        drop(waited);
        found.unwrap_or_else(|| panic!("no such request for {path} in {:#?}", self.requests()))
    }
}

impl Shared {
    /// The answer whose turn it is.
    fn answer(&self, path: &str) -> Answer {
        let mut answers = self.answers.lock().expect("answers");
        match answers.get_mut(path) {
            Some(left) if left.len() > 1 => left.pop().expect("more than one"),
            Some(left) => left.first().cloned().unwrap_or(Answer::Status(404)),
            None => Answer::Status(404),
        }
    }

    /// Remembers a request; its number is for [`Shared::update`].
    fn remember(&self, request: Request) -> usize {
        let mut requests = self.requests.lock().expect("requests");
        requests.push(request);
        self.arrived.notify_all();
        requests.len() - 1
    }

    fn update(&self, number: usize, update: impl FnOnce(&mut Request)) {
        update(&mut self.requests.lock().expect("requests")[number]);
        self.arrived.notify_all();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // Wakes the accept loop, which then lets go of the port.
        TcpStream::connect(self.address).ok();
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("address", &self.address).finish_non_exhaustive()
    }
}

/// An address where every connection is refused: bound, so that nobody else takes it, and never listening.
pub struct Nowhere(TcpSocket);

impl Nowhere {
    /// Takes a free port.
    pub fn bind() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        Self(socket)
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().expect("an address"))
    }
}

/// An address that answers no knock: its queue of connections is full, and nobody takes one from it.
pub struct Deaf {
    listener: TcpListener,
    _queued: TcpStream,
}

impl Deaf {
    /// Takes a free port, and its queue.
    pub fn bind() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        // A queue of nothing takes one all the same (listen(2)).
        listen(&listener, Backlog::new(0).expect("a length")).expect("a listener");
        let address = listener.local_addr().expect("an address");
        let queued = TcpStream::connect(address).expect("room for one");
        Self { listener, _queued: queued }
    }

    /// `http://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().expect("an address"))
    }
}
