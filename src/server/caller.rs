//! Who calls, with what credential, and by what name we are called, seen through the proxies that are trusted.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use warp::http::{
    HeaderMap,
    header::{AUTHORIZATION, HOST, HeaderName},
    uri::Authority,
};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The address that a request comes from: the peer's, or if that is a trusted proxy, the right-most address in
/// `X-Forwarded-For` that is none. What stands to the left of it anybody can have written.
pub fn address(peer: IpAddr, request: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut address = peer.to_canonical();
    let lists: Vec<_> = request.get_all(FORWARDED_FOR).iter().collect();
    let hops =
        lists.iter().rev().filter_map(|list| list.to_str().ok()).flat_map(|list| list.rsplit(','));
    for hop in hops {
        if !is_trusted(address, trusted) {
            break;
        }
        let Some(next) = parse(hop.trim()) else { break };
        address = next;
    }
    address
}

/// The credential of `Authorization: Bearer`; other schemes are somebody else's.
///
/// An error is a bearer credential that is not text.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, ()> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Ok(None);
    };
    let is_bearer = value.as_bytes().split_at_checked(6).is_some_and(|(scheme, rest)| {
        scheme.eq_ignore_ascii_case(b"bearer") && matches!(rest.first(), None | Some(b' '))
    });
    if !is_bearer {
        return Ok(None);
    }
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| ())?;
    Ok(Some(text.get(6..).unwrap_or_default().trim()))
}

/// `scheme://host[:port]` as the request named us; `port` replaces the port where players are served on another one.
///
/// `None` if the request names no host.
pub fn origin(
    peer: IpAddr,
    request: &HeaderMap,
    trusted: &[IpNet],
    port: Option<u16>,
) -> Option<String> {
    let proto = request.get(FORWARDED_PROTO).filter(|_| is_trusted(peer.to_canonical(), trusted));
    let https =
        proto.is_some_and(|proto| proto.as_bytes().to_ascii_lowercase().starts_with(b"https"));
    let scheme = if https { "https" } else { "http" };
    let host: Authority = request.get(HOST)?.to_str().ok()?.parse().ok()?;
    if host.as_str().contains('@') {
        return None;
    }
    Some(match port {
        Some(port) => format!("{scheme}://{}:{port}", host.host()),
        None => format!("{scheme}://{host}"),
    })
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&address))
}

/// An address as proxies write it, with or without a port and brackets.
fn parse(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse().or_else(|_| hop.parse::<SocketAddr>().map(|socket| socket.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        let cases: [(&str, &[&str], &str); 9] = [
            ("8.8.8.8", &[], "8.8.8.8"),
            ("8.8.8.8", &["1.1.1.1"], "8.8.8.8"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["1.1.1.1"], "1.1.1.1"),
            ("::ffff:10.0.0.1", &["6.6.6.6, 1.1.1.1, 10.2.3.4"], "1.1.1.1"),
            ("10.0.0.1", &["6.6.6.6", "1.1.1.1:4711"], "1.1.1.1"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1", &["6.6.6.6, unknown"], "10.0.0.1"),
            ("::1", &["10.0.0.9, 10.0.0.8"], "10.0.0.9"),
        ];
        for (peer, lists, expected) in cases {
            let mut headers = HeaderMap::new();
            for list in lists {
                headers.append(FORWARDED_FOR, list.parse().unwrap());
            }
            let found = address(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {lists:?}");
        }
    }

    #[test]
    fn origins() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let cases = [
            ("10.0.0.1", "media.test:7000", "https", None, Some("https://media.test:7000")),
            ("8.8.8.8", "media.test:7000", "https", None, Some("http://media.test:7000")),
            ("8.8.8.8", "media.test:7001", "", Some(7000), Some("http://media.test:7000")),
            ("8.8.8.8", "[::1]", "", Some(7000), Some("http://[::1]:7000")),
            ("8.8.8.8", "a b", "", None, None),
            ("8.8.8.8", "me@evil.test", "", None, None),
        ];
        for (peer, host, proto, port, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            headers.insert(FORWARDED_PROTO, proto.parse().unwrap());
            let found = origin(peer.parse().unwrap(), &headers, &trusted, port);
            assert_eq!(found.as_deref(), expected, "{host}");
        }
    }
}
