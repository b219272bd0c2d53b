//! The media server that a backend's ids refer to: one request, with a bound on everything.
//!
//! No redirects unless allowed, no Referer, no proxy from the environment, no transparent
//! decompression. Errors say what the upstream did, never its address: that may hold secrets.

use std::{
    error::Error as _,
    time::{Duration, Instant},
};

use bytes::Bytes;
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{self, HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use serde::{Deserialize, Serialize};

use crate::{
    config,
    error::{Code, Error, Result},
};

/// Over how long the rate of a download is averaged before it is called too slow.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// The client. Cheap to share.
#[derive(Debug)]
pub struct Upstream {
    client: Client,
    first_byte: Duration,
    limits: Limits,
}

/// What bounds a body.
#[derive(Clone, Copy, Debug)]
struct Limits {
    max_size: u64,
    gap: Duration,
    min_rate: u64,
}

/// What an upstream said of one version of a file; tells it from the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// `ETag`, as sent.
    pub etag: Option<String>,
    /// `Last-Modified`, as sent.
    pub last_modified: Option<String>,
    /// `Content-Length` in bytes.
    pub length: Option<u64>,
}

impl Validators {
    fn of(response: &Response) -> Self {
        let text = |name| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        Self {
            etag: text(header::ETAG),
            last_modified: text(header::LAST_MODIFIED),
            length: response.content_length(),
        }
    }

    /// Whether the upstream gave something better than a length to tell versions apart.
    pub fn are_strong(&self) -> bool {
        self.etag.is_some() || self.last_modified.is_some()
    }

    /// Whether both speak of the same version, by the best that both have.
    fn match_with(&self, other: &Self) -> bool {
        match (&self.etag, &other.etag, &self.last_modified, &other.last_modified) {
            (Some(a), Some(b), _, _) | (_, _, Some(a), Some(b)) => {
                a == b && self.length == other.length
            }
            _ => self.length.is_some() && self.length == other.length,
        }
    }
}

/// The answer to a conditional request.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once")]
pub enum Answer {
    /// It is what the caller knows.
    Unchanged,
    /// It is this.
    Body(Body),
}

impl Upstream {
    /// A client with the limits of `settings`.
    pub fn new(settings: &config::Upstream) -> Result<Self> {
        let refuse =
            |e: &dyn std::fmt::Display| Error::new(Code::Config, format!("upstream.headers: {e}"));
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| refuse(&e))?;
            let mut value = HeaderValue::from_str(value.expose()).map_err(|e| refuse(&e))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let redirects = match settings.redirects {
            0 => redirect::Policy::none(),
            n => redirect::Policy::limited(n),
        };
        let client = Client::builder()
            .user_agent(concat!("hls-broker/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(settings.connect_timeout)
            .redirect(redirects)
            .referer(false)
            .no_proxy()
            .http1_only()
            .build()
            .map_err(|e| Error::new(Code::Unavailable, format!("the HTTP client: {e}")))?;
        let limits = Limits {
            max_size: settings.max_size,
            gap: settings.read_timeout,
            min_rate: settings.min_rate,
        };
        Ok(Self { client, first_byte: settings.first_byte_timeout, limits })
    }

    /// Asks for `url`; with `known`, only if it is another version than that. At most `max_size` bytes are taken, or
    /// what the settings allow if that is less.
    ///
    /// # Errors
    /// [`Code::MediaNotFound`], [`Code::UpstreamFailed`], [`Code::UpstreamTimeout`], [`Code::UpstreamTooLarge`].
    pub async fn get(&self, url: Url, known: Option<&Validators>, max_size: u64) -> Result<Answer> {
        let mut request = self.client.get(url);
        if let Some(known) = known {
            if let Some(etag) = &known.etag {
                request = request.header(header::IF_NONE_MATCH, etag);
            }
            if let Some(date) = &known.last_modified {
                request = request.header(header::IF_MODIFIED_SINCE, date);
            }
        }
        let waited = |_| {
            let text = format!("the upstream did not answer within {}", humantime(self.first_byte));
            Error::new(Code::UpstreamTimeout, text)
        };
        let response =
            tokio::time::timeout(self.first_byte, request.send()).await.map_err(waited)?;
        let response = response.map_err(|e| failed(&e))?;
        if known.is_some() && response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Answer::Unchanged);
        }
        check(&response)?;
        let validators = Validators::of(&response);
        if known.is_some_and(|known| known.match_with(&validators)) {
            return Ok(Answer::Unchanged);
        }
        let limits = Limits { max_size: max_size.min(self.limits.max_size), ..self.limits };
        if validators.length.is_some_and(|length| length > limits.max_size) {
            return Err(too_large(limits.max_size));
        }
        Ok(Answer::Body(Body { response, validators, limits, received: 0, window: None }))
    }
}

/// Anything but a plain 200 is an error.
fn check(response: &Response) -> Result<()> {
    let failed = |text: String| Err(Error::new(Code::UpstreamFailed, text));
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            let text = "the upstream does not have this media";
            return Err(Error::new(Code::MediaNotFound, text));
        }
        status if status.is_redirection() => {
            return failed(format!(
                "the upstream redirects ({}); allow that with upstream.redirects",
                status.as_u16()
            ));
        }
        status => {
            return failed(format!("the upstream answered with status {}", status.as_u16()));
        }
    }
    match response.headers().get(header::CONTENT_ENCODING) {
        Some(coding) if coding != "identity" => {
            failed("the upstream compressed its answer, which was not asked for".into())
        }
        _ => Ok(()),
    }
}

/// A body on its way, counted as it comes.
#[derive(Debug)]
pub struct Body {
    response: Response,
    /// What its head said.
    pub validators: Validators,
    limits: Limits,
    received: u64,
    /// Since when, and how many bytes. It opens when somebody begins to read: until then it is not the upstream that is slow.
    window: Option<(Instant, u64)>,
}

impl Body {
    /// The next bytes, or None at the end; then the announced length, if any, has been received.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let waited = |_| {
            let text = format!("the upstream sent nothing for {}", humantime(self.limits.gap));
            Error::new(Code::UpstreamTimeout, text)
        };
        self.window.get_or_insert_with(|| (Instant::now(), 0));
        let chunk = tokio::time::timeout(self.limits.gap, self.response.chunk()).await;
        let Some(chunk) = chunk.map_err(waited)?.map_err(|e| failed(&e))? else {
            return Ok(None);
        };
        self.received += chunk.len() as u64;
        if self.received > self.limits.max_size {
            return Err(too_large(self.limits.max_size));
        }
        self.check_rate(chunk.len() as u64)?;
        Ok(Some(chunk))
    }

    /// All of it, for small files.
    pub async fn bytes(mut self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    fn check_rate(&mut self, bytes: u64) -> Result<()> {
        let (since, sum) = self.window.get_or_insert_with(|| (Instant::now(), 0));
        *sum += bytes;
        let elapsed = since.elapsed();
        if elapsed < RATE_WINDOW {
            return Ok(());
        }
        let rate = (*sum as f64 / elapsed.as_secs_f64()) as u64;
        self.window = Some((Instant::now(), 0));
        if rate < self.limits.min_rate {
            let text = format!("the upstream sends {rate} bytes a second, below upstream.min_rate");
            return Err(Error::new(Code::UpstreamTimeout, text));
        }
        Ok(())
    }
}

fn too_large(limit: u64) -> Error {
    let text =
        format!("the upstream's file is larger than {}", bytesize::ByteSize(limit).display().si());
    Error::new(Code::UpstreamTooLarge, text)
}

fn humantime(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(duration)
}

/// What the client says, in one sentence, with its innermost cause but without the address.
fn failed(error: &reqwest::Error) -> Error {
    if error.is_timeout() {
        return Error::new(
            Code::UpstreamTimeout,
            "the upstream did not accept a connection in time",
        );
    }
    let mut cause = error.source();
    while let Some(inner) = cause.and_then(|c| c.source()) {
        cause = Some(inner);
    }
    let what = if error.is_connect() { "cannot be reached" } else { "broke off" };
    let text = match cause {
        Some(cause) => format!("the upstream {what}: {cause}"),
        None => format!("the upstream {what}"),
    };
    Error::new(Code::UpstreamFailed, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validators(etag: Option<&str>, date: Option<&str>, length: Option<u64>) -> Validators {
        Validators { etag: etag.map(Into::into), last_modified: date.map(Into::into), length }
    }

    #[test]
    fn versions_are_told_apart_by_the_best_that_both_have() {
        let known = validators(Some("\"a\""), Some("Mon"), Some(5));
        let cases = [
            (validators(Some("\"a\""), Some("Tue"), Some(5)), true),
            (validators(Some("\"b\""), Some("Mon"), Some(5)), false),
            (validators(None, Some("Mon"), Some(5)), true),
            (validators(None, Some("Tue"), Some(5)), false),
            (validators(None, None, Some(5)), true),
            (validators(None, None, Some(6)), false),
            (validators(None, None, None), false),
        ];
        for (now, same) in cases {
            assert_eq!(known.match_with(&now), same, "{now:?}");
        }
    }
}
