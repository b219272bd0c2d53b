//! What a path of the upstream answers.

use std::{
    io::Write,
    sync::{Arc, Condvar, Mutex},
};

use flate2::{Compression, write::GzEncoder};

/// One answer. Bytes and texts turn into a well-behaved [`File`].
#[derive(Clone, Debug)]
pub enum Answer {
    /// A file, with whatever faults it was given.
    File(File),
    /// An empty reply of that status.
    Status(u16),
    /// 302 to that URL.
    Redirect(String),
    /// These bytes instead of a reply, then the end of the connection: garbage, giant headers.
    Raw(Vec<u8>),
    /// 200 and a chunked body that never ends, in pieces of 64 KiB.
    Endless,
    /// The connection ends (FIN) before a reply.
    Close,
    /// The connection is reset (RST) before a reply.
    Reset,
    /// Not a byte until the gate opens, then this answer.
    Late(Gate, Box<Answer>),
}

/// A file as a static server sends it: Content-Length, `ETag`, byte ranges, conditional requests.
///
/// Each method takes one virtue away or adds one fault.
#[derive(Clone, Debug)]
pub struct File {
    pub(super) body: Arc<[u8]>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
    pub(super) ranges: bool,
    pub(super) chunked: bool,
    pub(super) rate: Option<u64>,
    pub(super) stalls: Vec<(usize, Gate)>,
    pub(super) cut: Option<(usize, Cut)>,
    pub(super) length: Option<usize>,
}

/// How a connection ends in the middle of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// FIN.
    Close,
    /// RST.
    Reset,
}

impl File {
    /// A well-behaved file of audio.
    pub fn new(body: impl AsRef<[u8]>) -> Self {
        Self {
            body: body.as_ref().into(),
            headers: Vec::new(),
            etag: None,
            last_modified: None,
            ranges: true,
            chunked: false,
            rate: None,
            stalls: Vec::new(),
            cut: None,
            length: None,
        }
        .etag("\"1\"")
        .header("content-type", "application/octet-stream")
    }

    /// Its strong or weak `ETag`, quotes included; `""` for none.
    pub fn etag(mut self, etag: &str) -> Self {
        self.etag = (!etag.is_empty()).then(|| etag.to_owned());
        self
    }

    /// Its Last-Modified, an HTTP date; answers If-Modified-Since with the same date by 304.
    pub fn last_modified(mut self, date: &str) -> Self {
        self.last_modified = Some(date.to_owned());
        self
    }

    /// Another header line, in place of one of that name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(old, _)| old != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Answers every Range with the whole file.
    pub fn without_ranges(mut self) -> Self {
        self.ranges = false;
        self
    }

    /// Sends chunks, and so no length; no ranges either.
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self.without_ranges()
    }

    /// Sends at most that many bytes a second.
    pub fn rate(mut self, bytes_per_second: u64) -> Self {
        self.rate = Some(bytes_per_second);
        self
    }

    /// Stops after that many bytes of body until the gate opens. 0 holds the body after the reply's head.
    pub fn stall(mut self, after: usize, gate: &Gate) -> Self {
        self.stalls.push((after, gate.clone()));
        self
    }

    /// Closes the connection after that many bytes of body, though more were promised.
    pub fn cut(mut self, after: usize) -> Self {
        self.cut = Some((after, Cut::Close));
        self
    }

    /// Resets the connection after that many bytes of body.
    pub fn reset(mut self, after: usize) -> Self {
        self.cut = Some((after, Cut::Reset));
        self
    }

    /// Promises that Content-Length, whatever the body's is, and closes after the body.
    pub fn length(mut self, length: usize) -> Self {
        self.length = Some(length);
        self
    }

    /// Compresses the body and says so, asked or not; a bomb is a small File of many zeros.
    pub fn gzip(mut self) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&self.body).expect("a Vec takes everything");
        self.body = encoder.finish().expect("a Vec takes everything").into();
        self.header("content-encoding", "gzip")
    }
}

impl From<File> for Answer {
    fn from(file: File) -> Self {
        Self::File(file)
    }
}

impl From<&[u8]> for Answer {
    fn from(body: &[u8]) -> Self {
        Self::File(File::new(body))
    }
}

impl From<Vec<u8>> for Answer {
    fn from(body: Vec<u8>) -> Self {
        Self::File(File::new(body))
    }
}

impl From<&Vec<u8>> for Answer {
    fn from(body: &Vec<u8>) -> Self {
        Self::File(File::new(body))
    }
}

impl From<&str> for Answer {
    fn from(body: &str) -> Self {
        Self::File(File::new(body))
    }
}

impl From<String> for Answer {
    fn from(body: String) -> Self {
        Self::File(File::new(body))
    }
}

impl Answer {
    /// This answer, once the gate opens.
    pub fn late(gate: &Gate, answer: impl Into<Self>) -> Self {
        Self::Late(gate.clone(), Box::new(answer.into()))
    }

    /// No answer at all; the connection ends when the gate opens.
    pub fn silence(gate: &Gate) -> Self {
        Self::late(gate, Self::Close)
    }

    /// A web page, as a login wall would send it for any id.
    pub fn html() -> Self {
        File::new("<!doctype html><title>Sign in</title><p>Who are you?")
            .header("content-type", "text/html")
            .into()
    }

    /// A reply with a header line of that many bytes.
    pub fn huge_header(bytes: usize) -> Self {
        let line = "a".repeat(bytes);
        Self::Raw(format!("HTTP/1.1 200 OK\r\nx-bomb: {line}\r\ncontent-length: 0\r\n\r\n").into())
    }

    /// Bytes that are not HTTP.
    pub fn garbage() -> Self {
        Self::Raw(b"\x00\xff\x13SSH-2.0-not-http\r\n\r\n\x01\x02".to_vec())
    }
}

/// Holds something up until the test opens it. Clones are the same gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    open: bool,
    waiting: usize,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets all through who wait, and all who come.
    pub fn open(&self) {
        self.0.0.lock().expect("gate").open = true;
        self.0.1.notify_all();
    }

    /// Waits until somebody stands before the gate: the download hangs now.
    pub fn wait_reached(&self) {
        let (state, changed) = &*self.0;
        let state = state.lock().expect("gate");
        let (state, _) = changed
            .wait_timeout_while(state, super::PATIENCE, |state| state.waiting == 0 && !state.open)
            .expect("gate");
        assert!(state.waiting > 0 || state.open, "nobody came to the gate");
    }

    /// Stands before it until it opens.
    pub fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().expect("gate");
        state.waiting += 1;
        changed.notify_all();
        let mut state = changed.wait_while(state, |state| !state.open).expect("gate");
        state.waiting -= 1;
    }
}
