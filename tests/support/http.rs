//! HTTP/1.1 as RFC 9112 has it, from the client's side, with every byte in the test's hand.
//!
//! [`request`] is a whole exchange on a connection of its own; a [`Connection`] sends what it is told, well-formed or
//! not, and reads replies one at a time: half heads, pipelining, slow readers.

use std::{
    fmt::{self, Write as _},
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
};

use serde_json::Value;

use super::PATIENCE;

/// Header lines of a request.
pub type Headers<'a> = &'a [(&'a str, &'a str)];

/// One request on its own connection. An error is one of the connection: refused, reset, ended within the reply.
pub fn request(
    to: SocketAddr,
    method: &str,
    target: &str,
    headers: Headers,
    body: Option<&[u8]>,
) -> io::Result<Reply> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").expect("a String takes everything");
    }
    if let Some(body) = body {
        write!(head, "content-length: {}\r\n", body.len()).expect("a String takes everything");
    }
    let mut connection = Connection::open(to)?;
    // A server may answer, and close, before it has read a body that it does not want: what it said still counts.
    let sent = connection.try_send([head.as_bytes(), b"\r\n", body.unwrap_or_default()].concat());
    connection.try_reply(method).map_err(|error| sent.err().unwrap_or(error))
}

/// A connection that sends raw bytes and reads replies.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    pub fn open(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends these bytes as they are.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes).expect("the server takes the bytes");
        self
    }

    /// [`Connection::send`] for a server that may have hung up.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    /// Ends our direction; the server's stays open.
    pub fn finish(&mut self) -> &mut Self {
        self.stream.get_mut().shutdown(Shutdown::Write).ok();
        self
    }

    /// The next reply to a request other than HEAD.
    #[track_caller]
    pub fn reply(&mut self) -> Reply {
        self.try_reply("GET").expect("a whole reply")
    }

    /// The next reply; `method` decides whether it has a body.
    pub fn try_reply(&mut self, method: &str) -> io::Result<Reply> {
        loop {
            let (status, headers) = read_head(&mut self.stream)?;
            if (100..200).contains(&status) {
                continue;
            }
            let bodiless = method == "HEAD" || status == 204 || status == 304;
            let mut reply = Reply { status, headers, body: Vec::new() };
            if !bodiless {
                reply.body = self.read_body(&reply)?;
            }
            return Ok(reply);
        }
    }

    /// Everything until the server closes; a reset counts as closing.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => {
                panic!("the server neither spoke nor closed: {error}; so far {} bytes", bytes.len())
            }
            _ => bytes,
        }
    }

    /// Exactly `count` bytes: for readers who stop in the middle.
    #[track_caller]
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).expect("that many bytes");
        bytes
    }

    fn read_body(&mut self, reply: &Reply) -> io::Result<Vec<u8>> {
        if reply.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            return self.read_chunks();
        }
        let mut body = Vec::new();
        match reply.header("content-length") {
            None => self.stream.read_to_end(&mut body)?,
            Some(length) => {
                body.resize(length.parse().map_err(io::Error::other)?, 0);
                self.stream.read_exact(&mut body)?;
                body.len()
            }
        };
        Ok(body)
    }

    fn read_chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = read_line(&mut self.stream)?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(digits, 16).map_err(io::Error::other)?;
            if size == 0 {
                while !read_line(&mut self.stream)?.is_empty() {}
                return Ok(body);
            }
            let start = body.len();
            body.resize(start + size, 0);
            self.stream.read_exact(&mut body[start..])?;
            read_line(&mut self.stream)?;
        }
    }
}

/// What a server answered. Header names are in lower case, in the order they came.
#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// The first header line of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The body as UTF-8.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body in UTF-8")
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// This reply, if it has that status; else the test ends with the whole reply.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// This reply, if it is the broker's error of that status and code, in the shape that api.md gives all errors.
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> Self {
        let reply = self.expect(status);
        let json = reply.json();
        assert_eq!(json["code"], code, "{reply:?}");
        assert!(json["error"].as_str().is_some_and(|sentence| !sentence.is_empty()), "{reply:?}");
        assert!(reply.header("access-control-allow-origin").is_some(), "no CORS: {reply:?}");
        reply
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} with {} bytes", self.status, self.body.len())?;
        for (name, value) in &self.headers {
            writeln!(f, "{name}: {value}")?;
        }
        let start = &self.body[..self.body.len().min(1000)];
        writeln!(f, "\n{}", String::from_utf8_lossy(start).escape_debug())
    }
}

/// A status line's number, and the header fields below it.
fn read_head(from: &mut impl BufRead) -> io::Result<(u16, Vec<(String, String)>)> {
    let line = read_line(from)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status line: {line:?}")))?;
    Ok((status, read_fields(from)?))
}

/// Header fields up to the empty line.
pub fn read_fields(from: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = read_line(from)?;
        if line.is_empty() {
            return Ok(fields);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| io::Error::other("no colon"))?;
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// One line without its CRLF; the end of the stream is an error.
pub fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map_err(io::Error::other)
}
