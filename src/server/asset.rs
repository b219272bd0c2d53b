//! A file on its way to a player: conditional, partial, compressed (RFC 9110, sections 8.8, 13 and 14).

use std::io::{Cursor, Write as _};

use warp::http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_RANGE,
        CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE, VARY,
    },
};

use crate::{
    broker::{Asset, Keep},
    error::{Code, Error},
};

use super::reply::{Reply, refuse};

/// The reply to GET or HEAD with these headers.
///
/// Reading a file costs no copy of it. HEAD has the body of GET, which the connection leaves out.
pub fn send(asset: Asset, method: &Method, request: HeaderMap) -> Reply {
    let varies = asset.gzip.is_some();
    let (body, etag, zipped) = match asset.gzip {
        Some(gzip) if accepts_gzip(&request) => (gzip, zipped(&asset.etag), true),
        _ => (asset.bytes, asset.etag, false),
    };
    let length = body.len();
    let is_known = matches_any(&request, &etag);
    let range = match request.get(RANGE) {
        Some(range) if *method == Method::GET && !zipped && still(&request, &etag) => {
            part(range, length)
        }
        _ => Part::Whole,
    };

    let mut reply = Reply::default();
    // The request's own table: hyper takes it back for the connection's next request, so that none allocates its own.
    let mut headers = request;
    headers.clear();
    headers.insert(CACHE_CONTROL, policy(&asset.keep));
    if varies {
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    if is_known {
        headers.insert(ETAG, etag);
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
        *reply.headers_mut() = headers;
        return reply;
    }
    headers.insert(ETAG, etag);
    let body = match range {
        Part::Whole => body,
        Part::None => return unsatisfiable(length),
        Part::Bytes { first, last } => {
            *reply.status_mut() = StatusCode::PARTIAL_CONTENT;
            headers.insert(CONTENT_RANGE, value(format_args!("bytes {first}-{last}/{length}")));
            body.slice(first..=last)
        }
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if zipped {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    *reply.headers_mut() = headers;
    *reply.body_mut() = body;
    reply
}

fn unsatisfiable(length: usize) -> Reply {
    let mut reply = refuse(&Error::new(Code::RangeNotSatisfiable, "the file has no such bytes"));
    reply.headers_mut().insert(CONTENT_RANGE, value(format_args!("bytes */{length}")));
    reply
}

fn policy(keep: &Keep) -> HeaderValue {
    match keep {
        Keep::Revalidate => HeaderValue::from_static("private, no-cache"),
        Keep::Immutable(age) => {
            value(format_args!("private, immutable, max-age={}", age.as_secs()))
        }
    }
}

/// A short header value, formatted on the stack.
fn value(text: std::fmt::Arguments<'_>) -> HeaderValue {
    let mut room = Cursor::new([0_u8; 80]);
    // Three numbers and a few words fit; what did not would be cut, not lost.
    let _ = room.write_fmt(text);
    let length = usize::try_from(room.position()).unwrap_or_default();
    HeaderValue::from_bytes(room.get_ref().get(..length).unwrap_or_default())
        .unwrap_or(HeaderValue::from_static(""))
}

/// The validator of the gzipped variant: another representation, so another tag.
fn zipped(etag: &HeaderValue) -> HeaderValue {
    let tag = etag.as_bytes();
    let zipped = [tag.strip_suffix(b"\"").unwrap_or(tag), b"-gzip\""].concat();
    HeaderValue::from_bytes(&zipped).unwrap_or_else(|_| etag.clone())
}

/// Whether `Accept-Encoding` takes gzip, by name or by `*`, with a weight above 0.
fn accepts_gzip(request: &HeaderMap) -> bool {
    let mut any = false;
    for list in request.get_all(ACCEPT_ENCODING).iter().filter_map(|list| list.to_str().ok()) {
        for item in list.split(',') {
            let mut words = item.split(';').map(str::trim);
            let coding = words.next().unwrap_or_default();
            let weight =
                words.find_map(|word| word.strip_prefix("q=").or_else(|| word.strip_prefix("Q=")));
            let wanted =
                weight.is_none_or(|weight| weight.trim().parse::<f32>().is_ok_and(|q| q > 0.0));
            if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
                return wanted;
            }
            any |= coding == "*" && wanted;
        }
    }
    any
}

/// Whether `If-None-Match` names this tag (weak comparison) or `*`.
fn matches_any(request: &HeaderMap, etag: &HeaderValue) -> bool {
    request.get_all(IF_NONE_MATCH).iter().any(|list| {
        let mut rest = list.as_bytes().trim_ascii();
        if rest == b"*" {
            return true;
        }
        // A tag may hold commas, so the list is walked by its quotes.
        while let Some(open) = rest.iter().position(|byte| *byte == b'"') {
            let Some(tag) = rest.get(open + 1..) else {
                return false;
            };
            let Some(length) = tag.iter().position(|byte| *byte == b'"') else {
                return false;
            };
            if rest.get(open..open + length + 2) == Some(etag.as_bytes()) {
                return true;
            }
            rest = tag.get(length + 1..).unwrap_or_default();
        }
        false
    })
}

/// Whether `If-Range` lets a range be served: absent, or this very tag (strong comparison). Dates name none of our files.
fn still(request: &HeaderMap, etag: &HeaderValue) -> bool {
    request.get(IF_RANGE).is_none_or(|tag| tag.as_bytes().trim_ascii() == etag.as_bytes())
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Whole,
    None,
    Bytes { first: usize, last: usize },
}

/// What a Range header asks of `length` bytes. Several ranges, other units and nonsense are as good as no header.
fn part(range: &HeaderValue, length: usize) -> Part {
    let Some((first, last)) = range.to_str().ok().and_then(bounds) else {
        return Part::Whole;
    };
    let end = length.saturating_sub(1);
    let (first, last) = match (first, last) {
        (Some(first), Some(last)) if first > last => return Part::Whole,
        (Some(first), last) => (first, last.unwrap_or(end).min(end)),
        (None, Some(0)) => return Part::None,
        (None, Some(suffix)) => (length.saturating_sub(suffix), end),
        (None, None) => return Part::Whole,
    };
    if first < length { Part::Bytes { first, last } } else { Part::None }
}

fn bounds(range: &str) -> Option<(Option<usize>, Option<usize>)> {
    let (unit, spec) = range.split_once('=')?;
    let (first, last) = spec.trim().split_once('-')?;
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(first) || !is_number(last) || !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    Some((number(first), number(last)))
}

/// Digits as a number, however many there are.
fn number(digits: &str) -> Option<usize> {
    (!digits.is_empty()).then(|| digits.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests;
