//! One error for the whole house: a stable code, a sentence for a person, and what each means to HTTP and to a shell.

use std::{fmt, io, time::Duration};

use warp::http::StatusCode;

/// What went wrong, as a program sees it.
///
/// The snake-case name of [`Code::as_str`] is part of the wire contract and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The body is not JSON, or a field is missing or malformed.
    BadRequest,
    /// The handshake is wrong or missing.
    BadHandshake,
    /// A media id that must not go upstream.
    BadQid,
    /// A path that no file of the library can have.
    BadPath,
    /// More items in a batch than are allowed.
    TooMany,
    /// The request body is larger than allowed.
    TooLarge,
    /// No such route or file.
    NotFound,
    /// The route exists, the method does not.
    MethodNotAllowed,
    /// A player's request without a token.
    TokenMissing,
    /// A token whose signature does not hold for this stream.
    TokenInvalid,
    /// A genuine token for this stream, past its expiry.
    TokenExpired,
    /// The stream has ended, was revoked or never was.
    StreamGone,
    /// The upstream does not have this media.
    MediaNotFound,
    /// The upstream refused, broke off or answered nonsense.
    UpstreamFailed,
    /// The upstream was too slow.
    UpstreamTimeout,
    /// The upstream sent more than `upstream.max_size`.
    UpstreamTooLarge,
    /// Not media, or no codec that can be decoded.
    UnsupportedMedia,
    /// Nothing of a batch, or not all of a strict one, could be prepared.
    BatchFailed,
    /// A queue, the disk or the process is full; try again later.
    Busy,
    /// ffmpeg produced nothing usable for a segment.
    EncodeFailed,
    /// Too many wrong handshakes from one address.
    TooManyAttempts,
    /// The request did not arrive in time.
    RequestTimeout,
    /// The request head is larger than allowed.
    HeadersTooLarge,
    /// The Range header names nothing in the file.
    RangeNotSatisfiable,
    /// The command line makes no sense.
    Usage,
    /// The configuration makes no sense.
    Config,
    /// Something that the process needs is missing or taken.
    Unavailable,
    /// A file or directory could not be read or written.
    Io,
    /// The watchdog ended the process.
    Watchdog,
    /// A bug of ours.
    Internal,
}

impl Code {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::BadHandshake => "bad_handshake",
            Self::BadQid => "bad_qid",
            Self::BadPath => "bad_path",
            Self::TooMany => "too_many",
            Self::TooLarge => "too_large",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::TokenMissing => "token_missing",
            Self::TokenInvalid => "token_invalid",
            Self::TokenExpired => "token_expired",
            Self::StreamGone => "stream_gone",
            Self::MediaNotFound => "media_not_found",
            Self::UpstreamFailed => "upstream_failed",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamTooLarge => "upstream_too_large",
            Self::UnsupportedMedia => "unsupported_media",
            Self::BatchFailed => "batch_failed",
            Self::Busy => "busy",
            Self::EncodeFailed => "encode_failed",
            Self::TooManyAttempts => "too_many_attempts",
            Self::RequestTimeout => "request_timeout",
            Self::HeadersTooLarge => "headers_too_large",
            Self::RangeNotSatisfiable => "range_not_satisfiable",
            Self::Usage => "usage",
            Self::Config => "config",
            Self::Unavailable => "unavailable",
            Self::Io => "io",
            Self::Watchdog => "watchdog",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status of a reply that carries this code.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest | Self::BadQid | Self::BadPath | Self::TooMany => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::BadHandshake | Self::TokenMissing | Self::TokenInvalid | Self::TokenExpired => {
                StatusCode::UNAUTHORIZED
            }
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotFound | Self::MediaNotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::StreamGone => StatusCode::GONE,
            Self::UpstreamFailed
            | Self::UpstreamTooLarge
            | Self::BatchFailed
            | Self::EncodeFailed => StatusCode::BAD_GATEWAY,
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Usage
            | Self::Config
            | Self::Unavailable
            | Self::Io
            | Self::Watchdog
            | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The process's exit code when this ends it (sysexits.h, and 75 for the watchdog).
    pub const fn exit(self) -> u8 {
        match self {
            Self::Usage => 64,
            Self::Config => 78,
            Self::Io => 74,
            Self::Watchdog => 75,
            Self::Internal => 70,
            _ => 69,
        }
    }
}

/// An error that can be told to a caller.
///
/// The message is one sentence that names what is wrong and what to do, and never a path of the server, a handshake
/// or a token; startup errors (`Config`, `Unavailable`, `Io`), which only the operator sees, do name paths.
#[derive(Clone, Debug)]
pub struct Error {
    code: Code,
    message: String,
    retry_after: Option<Duration>,
    details: Option<Box<(&'static str, serde_json::Value)>>,
}

/// What everything in the house returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with its sentence.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None, details: None }
    }

    /// The same error with one more field in its wire form (a failed batch lists its `errors`).
    #[must_use]
    pub fn with(mut self, field: &'static str, value: serde_json::Value) -> Self {
        self.details = Some(Box::new((field, value)));
        self
    }

    /// [`Code::Busy`], with the time after which trying again makes sense.
    pub fn busy(message: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(Code::Busy, message) }
    }

    /// [`Code::EncodeFailed`], and why.
    pub fn encode_failed(why: impl Into<String>) -> Self {
        Self::new(Code::EncodeFailed, why)
    }

    /// [`Code::Io`]: what was being done, and what the system said.
    pub fn io(doing: impl fmt::Display, error: &io::Error) -> Self {
        Self::new(Code::Io, format!("{doing}: {error}"))
    }

    /// The stable code.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// When to try again, for `Retry-After`.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The wire form: `{"error": "<sentence>", "code": "<code>"}`.
    ///
    /// Errors of the machine (I/O, bugs) are told to the log only: their sentence may name a path.
    pub fn json(&self) -> serde_json::Value {
        let message = match self.code {
            Code::Io | Code::Internal | Code::Config | Code::Unavailable => {
                "the broker could not do this; its log says why"
            }
            _ => &self.message,
        };
        let mut json = serde_json::json!({ "error": message, "code": self.code.as_str() });
        if let Some((field, value)) = self.details.as_deref() {
            json[*field] = value.clone();
        }
        json
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
