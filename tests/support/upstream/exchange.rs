//! One connection of the upstream: requests in, answers out, faults included.

use std::{
    fmt::Write as _,
    io::{self, BufReader, Write},
    net::TcpStream,
    ops::Range,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use tokio::net::TcpSocket;

use super::{
    super::http::{read_fields, read_line},
    Request, Shared,
    answer::{Answer, Cut, File},
};

/// How the connection goes on after an answer.
#[derive(PartialEq, Eq)]
enum Next {
    KeepAlive,
    Close,
    Reset,
}

/// Answers requests until one of both sides ends the connection.
pub(super) fn serve(stream: TcpStream, shared: &Shared) {
    stream.set_nodelay(true).ok();
    let Ok(output) = stream.try_clone() else {
        return;
    };
    let mut input = BufReader::new(stream);
    loop {
        if shared.down.load(Ordering::SeqCst) {
            return reset(&output);
        }
        let Ok(request) = read_request(&mut input) else {
            return;
        };
        if shared.down.load(Ordering::SeqCst) {
            return reset(&output);
        }
        let answer = shared.answer(&request.path);
        let number = shared.remember(request.clone());
        let mut exchange = Exchange { output: &output, shared, number, request };
        let next = exchange.answer(&answer);
        shared.update(number, |request| {
            request.abandoned = next.is_err();
            request.over = true;
        });
        match next {
            Ok(Next::KeepAlive) => {}
            Ok(Next::Reset) => return reset(&output),
            Ok(Next::Close) | Err(_) => return,
        }
    }
}

/// One request and its answer. An error is the client hanging up.
struct Exchange<'a> {
    output: &'a TcpStream,
    shared: &'a Shared,
    number: usize,
    request: Request,
}

impl Exchange<'_> {
    fn answer(&mut self, answer: &Answer) -> io::Result<Next> {
        match answer {
            Answer::File(file) => return self.file(file),
            Answer::Late(gate, answer) => {
                gate.pass();
                return self.answer(answer);
            }
            Answer::Status(status) => {
                self.head(*status, &[("content-length", "0")])?;
                return Ok(Next::KeepAlive);
            }
            Answer::Redirect(url) => {
                self.head(302, &[("location", url), ("content-length", "0")])?;
                return Ok(Next::KeepAlive);
            }
            Answer::Raw(bytes) => self.write(bytes)?,
            Answer::Endless => self.endless()?,
            Answer::Reset => return Ok(Next::Reset),
            Answer::Close => {}
        }
        Ok(Next::Close)
    }

    fn head(&mut self, status: u16, headers: &[(&str, &str)]) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {status} Upstream\r\n");
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").expect("a String takes everything");
        }
        head.push_str("\r\n");
        self.write(head.as_bytes())
    }

    fn file(&mut self, file: &File) -> io::Result<Next> {
        let mut headers: Vec<(&str, &str)> =
            file.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        headers.extend(file.etag.iter().map(|etag| ("etag", etag.as_str())));
        headers.extend(file.last_modified.iter().map(|date| ("last-modified", date.as_str())));
        if self.is_unchanged(file) {
            self.head(304, &headers)?;
            return Ok(Next::KeepAlive);
        }
        if file.ranges {
            headers.push(("accept-ranges", "bytes"));
        }
        let size = file.body.len();
        let (status, range) = match self.range(file) {
            Some(range) if range.start >= size => (416, 0..0),
            Some(range) => (206, range),
            None => (200, 0..size),
        };
        let content_range = match status {
            206 => format!("bytes {}-{}/{size}", range.start, range.end - 1),
            _ => format!("bytes */{size}"),
        };
        if status != 200 {
            headers.push(("content-range", &content_range));
        }
        let length = file.length.unwrap_or(range.len()).to_string();
        headers.push(if file.chunked {
            ("transfer-encoding", "chunked")
        } else {
            ("content-length", &length)
        });
        self.head(status, &headers)?;
        if self.request.method == "HEAD" {
            return Ok(Next::KeepAlive);
        }
        self.body(file, range)
    }

    fn is_unchanged(&self, file: &File) -> bool {
        let same = |name, own: &Option<String>| {
            own.is_some() && self.request.header(name) == own.as_deref()
        };
        match self.request.header("if-none-match") {
            Some(_) => same("if-none-match", &file.etag),
            None => same("if-modified-since", &file.last_modified),
        }
    }

    /// The range asked for (RFC 9110, 14.1.2), if this file does ranges and is still the one asked for.
    fn range(&self, file: &File) -> Option<Range<usize>> {
        let is_other = |expected| {
            file.etag.as_deref() != Some(expected)
                && file.last_modified.as_deref() != Some(expected)
        };
        if !file.ranges || self.request.header("if-range").is_some_and(is_other) {
            return None;
        }
        let size = file.body.len();
        let (first, last) =
            self.request.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) => Some(first..size.min(last.saturating_add(1))),
            (Ok(first), Err(_)) => Some(first..size),
            (Err(_), Ok(count)) => Some(size.saturating_sub(count)..size),
            (Err(_), Err(_)) => None,
        }
    }

    fn body(&mut self, file: &File, range: Range<usize>) -> io::Result<Next> {
        let body = &file.body[range];
        let end = file.cut.map_or(body.len(), |(after, _)| after.min(body.len()));
        // Where something happens; between two of these marks the body flows.
        let mut marks: Vec<usize> = file.stalls.iter().map(|(after, _)| *after).collect();
        marks.push(end);
        marks.sort_unstable();
        let (start, mut sent) = (Instant::now(), 0);
        for mark in marks.into_iter().filter(|mark| *mark <= end) {
            for piece in body[sent..mark]
                .chunks(file.rate.map_or(64 * 1024, |rate| (rate as usize / 20).max(1)))
            {
                if let Some(rate) = file.rate {
                    let due = Duration::from_secs_f64(sent as f64 / rate as f64);
                    thread::sleep(due.saturating_sub(start.elapsed()));
                }
                self.piece(piece, file.chunked)?;
                sent += piece.len();
            }
            let stalled = file.stalls.iter().filter(|(after, _)| *after == mark);
            stalled.for_each(|(_, gate)| gate.pass());
        }
        match file.cut {
            Some((_, Cut::Reset)) => return Ok(Next::Reset),
            Some((_, Cut::Close)) => return Ok(Next::Close),
            None => {}
        }
        if file.chunked {
            self.write(b"0\r\n\r\n")?;
        }
        Ok(if file.length.is_some() { Next::Close } else { Next::KeepAlive })
    }

    fn endless(&mut self) -> io::Result<()> {
        self.head(200, &[("content-type", "audio/wav"), ("transfer-encoding", "chunked")])?;
        // The header of a WAV that nobody knows the end of, so that it is the size that is wrong, not the kind.
        let mut piece = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x02\0\x44\xac\0\0\x10\xb1\x02\0\x04\0\x10\0data\xff\xff\xff\xff".to_vec();
        loop {
            self.piece(&piece, true)?;
            piece = vec![0; 64 * 1024];
        }
    }

    fn piece(&mut self, piece: &[u8], chunked: bool) -> io::Result<()> {
        if chunked {
            let size = format!("{:x}\r\n", piece.len());
            self.write(&[size.as_bytes(), piece, b"\r\n"].concat())?;
        } else {
            self.write(piece)?;
        }
        self.shared.update(self.number, |request| request.sent += piece.len() as u64);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)
    }
}

fn read_request(input: &mut BufReader<TcpStream>) -> io::Result<Request> {
    let line = read_line(input)?;
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok(Request {
        method: method.to_owned(),
        target: target.to_owned(),
        path: percent_decode(path),
        query: query.to_owned(),
        headers: read_fields(input)?,
        sent: 0,
        abandoned: false,
        over: false,
    })
}

fn percent_decode(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Makes the coming close of the socket a reset.
fn reset(stream: &TcpStream) {
    if let Ok(stream) = stream.try_clone() {
        TcpSocket::from_std_stream(stream).set_zero_linger().ok();
    }
}
