//! One connection's patience: a socket that ends when its peer is slower than the limits allow.
//!
//! hyper's only clock bounds the wait for a request *and* its head with one figure. Here each wait has its own:
//!
//! | waiting for | bound | then |
//! | --- | --- | --- |
//! | the first byte of a request | `limits.idle` since the last reply left | closed without a word |
//! | the rest of a request's head | `limits.header` since its first byte | 408, closed |
//! | the peer to read | `limits.write` since the last byte went out | dropped |
//!
//! Bodies of requests are the routes' business, replies in the making nobody's. What hyper refuses by itself, such as
//! a malformed head, goes out with a body and headers like all other errors.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU16, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use crate::config::Limits;

/// How long, and how many bytes, a peer may still send after our side has closed: closing a socket with unread
/// bytes resets it, which can destroy a reply that the peer has not read yet.
const LINGER: (Duration, usize) = (Duration::from_secs(1), 1 << 20);

/// Bounds of one connection's waits.
#[derive(Clone, Copy)]
pub struct Patience {
    /// From a request's first byte to the end of its head.
    pub header: Duration,
    /// From the last reply to the next request.
    pub idle: Duration,
    /// Without a byte leaving while there is something to send.
    pub write: Duration,
}

impl From<&Limits> for Patience {
    fn from(limits: &Limits) -> Self {
        Self { header: limits.header, idle: limits.idle, write: limits.write }
    }
}

/// Whole replies for peers that no route ever hears of.
pub struct Refusals {
    /// 408, a head that dribbles.
    pub timeout: Bytes,
    /// 400, a head that is not HTTP.
    pub malformed: Bytes,
    /// 431, a head beyond all bounds.
    pub large: Bytes,
    /// 503, one connection too many.
    pub full: Bytes,
}

const WAITING: u8 = 0;
const SERVING: u8 = 1;
const ANSWERED: u8 = 2;
const SENDING: u8 = 3;

/// What the service tells the socket below it, and the socket its task. One task owns all ends.
#[derive(Default)]
pub struct Link {
    stage: AtomicU8,
    abandoned: AtomicBool,
    refused: AtomicU16,
}

impl Link {
    /// Notes that a request is with the service.
    pub fn serve(&self) {
        self.stage.store(SERVING, Relaxed);
        self.abandoned.store(false, Relaxed);
    }

    /// Notes that its reply is ready; `abandoned` if parts of the request may still be under way.
    pub fn answer(&self, abandoned: bool) {
        self.stage.store(ANSWERED, Relaxed);
        self.abandoned.store(abandoned, Relaxed);
    }

    /// The status with which the connection was refused below the service.
    pub fn refused(&self) -> Option<u16> {
        Some(self.refused.load(Relaxed)).filter(|status| *status != 0)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Request,
    Head,
    Reader,
}

/// A socket with [`Patience`].
pub struct Guard<S> {
    socket: S,
    patience: Patience,
    refusals: Arc<Refusals>,
    link: Arc<Link>,
    wait: Wait,
    // None until the wait is first found to be one, so that the hot path reads no clock.
    since: Option<Instant>,
    // Fires at or before the deadline and is then set anew: no packet moves it.
    timer: Pin<Box<Sleep>>,
    refusal: Bytes,
    ended: bool,
    closed: bool,
    spilled: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    /// Guards `socket`; a peer that never speaks counts as idle from now on.
    pub fn new(socket: S, patience: Patience, refusals: Arc<Refusals>, link: Arc<Link>) -> Self {
        Self {
            socket,
            patience,
            refusals,
            link,
            wait: Wait::Request,
            since: None,
            timer: Box::pin(sleep(patience.idle)),
            refusal: Bytes::new(),
            ended: false,
            closed: false,
            spilled: 0,
        }
    }

    fn wait(&mut self, wait: Wait) {
        self.wait = wait;
        self.since = None;
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = match self.wait {
            Wait::Request => self.patience.idle,
            Wait::Head => self.patience.header,
            Wait::Reader => self.patience.write,
        };
        self.poll_limit(cx, limit)
    }

    fn poll_limit(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<()> {
        let deadline = *self.since.get_or_insert_with(Instant::now) + limit;
        if deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if self.timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(deadline);
        }
    }

    fn give_up(&mut self, cx: &mut Context<'_>) -> io::Error {
        if self.wait == Wait::Head {
            self.link.refused.store(408, Relaxed);
            // The reply is worth one try: who dribbles may not read either.
            let reply = self.refusals.timeout.clone();
            let _ = Pin::new(&mut self.socket).poll_write(cx, &reply);
            let _ = Pin::new(&mut self.socket).poll_shutdown(cx);
        }
        io::ErrorKind::TimedOut.into()
    }

    /// Whether hyper writes on its own account: no request has reached the service since bytes came in.
    fn refuses(&self) -> bool {
        !self.refusal.is_empty() || self.link.stage.load(Relaxed) == WAITING
    }

    /// Sends our words for hyper's, and says that hyper's `length` bytes are gone.
    fn poll_refusal(
        &mut self,
        cx: &mut Context<'_>,
        theirs: &[u8],
        length: usize,
    ) -> Poll<io::Result<usize>> {
        if self.refusal.is_empty() {
            let (status, reply) = match theirs.get(9..12) {
                Some(b"431" | b"414") => (431, &self.refusals.large),
                _ => (400, &self.refusals.malformed),
            };
            self.refusal = reply.clone();
            self.link.refused.store(status, Relaxed);
        }
        while !self.refusal.is_empty() {
            let sent = Pin::new(&mut self.socket).poll_write(cx, &self.refusal);
            match ready!(self.sent(cx, sent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.refusal.advance(sent),
            }
        }
        self.link.answer(true);
        Poll::Ready(Ok(length))
    }

    fn sent(
        &mut self,
        cx: &mut Context<'_>,
        sent: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if sent.is_ready() {
            if self.link.stage.load(Relaxed) == ANSWERED {
                self.link.stage.store(SENDING, Relaxed);
            }
            self.wait(Wait::Request);
            return sent;
        }
        if self.wait != Wait::Reader {
            self.wait(Wait::Reader);
        }
        ready!(self.poll_patience(cx));
        Poll::Ready(Err(self.give_up(cx)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.socket).poll_read(cx, buf);
        let stage = this.link.stage.load(Relaxed);
        if read.is_ready() {
            this.ended |= buf.filled().len() == before;
            // Until a reply is on its way, what comes in belongs to its request.
            if matches!(stage, WAITING | SENDING) && this.wait == Wait::Request {
                this.link.stage.store(WAITING, Relaxed);
                this.wait(Wait::Head);
            }
            return read;
        }
        if stage == SERVING {
            this.wait(Wait::Request);
            return Poll::Pending;
        }
        ready!(this.poll_patience(cx));
        Poll::Ready(Err(this.give_up(cx)))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.refuses() {
            return this.poll_refusal(cx, buf, buf.len());
        }
        let sent = Pin::new(&mut this.socket).poll_write(cx, buf);
        this.sent(cx, sent)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.refuses() {
            let length = bufs.iter().map(|buf| buf.len()).sum();
            return this.poll_refusal(cx, bufs.first().map_or(&[], |buf| buf), length);
        }
        let sent = Pin::new(&mut this.socket).poll_write_vectored(cx, bufs);
        this.sent(cx, sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.socket).poll_flush(cx))?;
        // hyper may have asked for the next request before it sent this reply, and then does not ask again.
        if this.wait == Wait::Request && this.since.is_none() && this.poll_patience(cx).is_ready() {
            return Poll::Ready(Err(this.give_up(cx)));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.closed {
            ready!(Pin::new(&mut this.socket).poll_shutdown(cx))?;
            this.closed = true;
            this.since = None;
        }
        if !this.link.abandoned.load(Relaxed) {
            return Poll::Ready(Ok(()));
        }
        while !this.ended && this.spilled < LINGER.1 {
            let mut room = [0; 4096];
            let mut spill = ReadBuf::new(&mut room);
            match Pin::new(&mut this.socket).poll_read(cx, &mut spill) {
                Poll::Ready(read) => {
                    this.ended = read.is_err() || spill.filled().is_empty();
                    this.spilled += spill.filled().len();
                }
                Poll::Pending => {
                    ready!(this.poll_limit(cx, LINGER.0));
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
