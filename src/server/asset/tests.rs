use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn segment() -> Asset {
    Asset {
        bytes: Bytes::from_static(b"0123456789"),
        gzip: None,
        etag: HeaderValue::from_static("\"a,b\""),
        media_type: "audio/mp4",
        keep: Keep::Immutable(Duration::from_millis(149_900)),
    }
}

fn playlist() -> Asset {
    Asset {
        gzip: Some(Bytes::from_static(b"zip")),
        media_type: "application/vnd.apple.mpegurl",
        keep: Keep::Revalidate,
        ..segment()
    }
}

fn get(asset: Asset, request: &[(&'static str, &str)]) -> Reply {
    let mut headers = HeaderMap::new();
    for (name, value) in request {
        headers.append(*name, value.parse().unwrap());
    }
    send(asset, &Method::GET, headers)
}

fn header<'r>(reply: &'r Reply, name: &str) -> &'r str {
    reply.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[test]
fn a_whole_file() {
    let reply = get(segment(), &[]);
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.body(), "0123456789");
    assert_eq!(header(&reply, "content-type"), "audio/mp4");
    assert_eq!(header(&reply, "etag"), "\"a,b\"");
    assert_eq!(header(&reply, "accept-ranges"), "bytes");
    assert_eq!(header(&reply, "cache-control"), "private, immutable, max-age=149");
    assert_eq!(header(&reply, "vary"), "");
}

#[test]
fn ranges() {
    let cases = [
        ("bytes=0-0", 206, "0", "bytes 0-0/10"),
        ("bytes=2-5", 206, "2345", "bytes 2-5/10"),
        ("bytes=7-", 206, "789", "bytes 7-9/10"),
        ("bytes=7-99999999999999999999999", 206, "789", "bytes 7-9/10"),
        ("bytes=-3", 206, "789", "bytes 7-9/10"),
        ("bytes=-99", 206, "0123456789", "bytes 0-9/10"),
        ("Bytes= 1-1", 206, "1", "bytes 1-1/10"),
        ("bytes=10-", 416, "", "bytes */10"),
        ("bytes=10-12", 416, "", "bytes */10"),
        ("bytes=99999999999999999999999-", 416, "", "bytes */10"),
        ("bytes=-0", 416, "", "bytes */10"),
        ("bytes=5-2", 200, "0123456789", ""),
        ("bytes=0-1,3-4", 200, "0123456789", ""),
        ("bytes=-", 200, "0123456789", ""),
        ("bytes=", 200, "0123456789", ""),
        ("bytes=a-b", 200, "0123456789", ""),
        ("bytes=+1-2", 200, "0123456789", ""),
        ("bytes=1--2", 200, "0123456789", ""),
        ("items=0-1", 200, "0123456789", ""),
        ("0-1", 200, "0123456789", ""),
    ];
    for (range, status, body, content_range) in cases {
        let reply = get(segment(), &[("range", range)]);
        assert_eq!(reply.status(), status, "{range}");
        assert_eq!(header(&reply, "content-range"), content_range, "{range}");
        if status == 416 {
            assert!(reply.body().starts_with(b"{"), "{range}");
        } else {
            assert_eq!(reply.body(), body, "{range}");
        }
    }
}

#[test]
fn no_range_of_nothing() {
    let empty = Asset { bytes: Bytes::new(), ..segment() };
    assert_eq!(get(empty, &[("range", "bytes=-1")]).status(), 416);
    let empty = Asset { bytes: Bytes::new(), ..segment() };
    assert_eq!(get(empty, &[("range", "bytes=0-0")]).status(), 416);
}

#[test]
fn head_has_no_ranges() {
    let mut headers = HeaderMap::new();
    headers.insert("range", HeaderValue::from_static("bytes=0-1"));
    let reply = send(segment(), &Method::HEAD, headers);
    assert_eq!((reply.status(), reply.body().len()), (StatusCode::OK, 10));
}

#[test]
fn a_range_only_of_what_is_known() {
    for (tag, status) in [
        ("\"a,b\"", 206),
        ("\"other\"", 200),
        ("W/\"a,b\"", 200),
        ("Fri, 20 Nov 2026 10:00:00 GMT", 200),
    ] {
        let reply = get(segment(), &[("range", "bytes=0-1"), ("if-range", tag)]);
        assert_eq!(reply.status(), status, "{tag}");
    }
}

#[test]
fn not_modified() {
    for list in ["\"a,b\"", "W/\"a,b\"", "*", "\"x\", W/\"a,b\"", "\"x\",\"y\" , \"a,b\""] {
        let reply = get(segment(), &[("if-none-match", list), ("range", "bytes=0-1")]);
        assert_eq!(reply.status(), 304, "{list}");
        assert_eq!(header(&reply, "etag"), "\"a,b\"");
        assert_eq!(header(&reply, "cache-control"), "private, immutable, max-age=149");
        assert!(reply.body().is_empty());
    }
    for list in ["\"x\"", "a,b", "\"a,b", "\"a\",\"b\"", "", "\"", "\"x\" *"] {
        assert_eq!(get(segment(), &[("if-none-match", list)]).status(), 200, "{list}");
    }
    let reply = get(segment(), &[("if-none-match", "\"x\""), ("if-none-match", "\"a,b\"")]);
    assert_eq!(reply.status(), 304);
}

#[test]
fn gzip_for_those_who_take_it() {
    for accepted in
        ["gzip", "GZIP", "br, gzip;q=0.5", "*", "identity;q=0.5, *;q=0.1", "x-gzip", "gzip; q=1"]
    {
        let reply = get(playlist(), &[("accept-encoding", accepted), ("range", "bytes=0-0")]);
        assert_eq!(
            (reply.status(), reply.body().as_ref()),
            (StatusCode::OK, &b"zip"[..]),
            "{accepted}"
        );
        assert_eq!(header(&reply, "content-encoding"), "gzip");
        assert_eq!(header(&reply, "etag"), "\"a,b-gzip\"");
        assert_eq!(header(&reply, "vary"), "Accept-Encoding");
        assert_eq!(header(&reply, "cache-control"), "private, no-cache");
    }
    for accepted in ["", "br", "gzip;q=0", "gzip;q=0.000, *", "*;q=0", "gzip;q=x", "identity"] {
        let reply = get(playlist(), &[("accept-encoding", accepted)]);
        assert_eq!(reply.body(), "0123456789", "{accepted}");
        assert_eq!(header(&reply, "content-encoding"), "");
        assert_eq!(header(&reply, "vary"), "Accept-Encoding");
    }
}

#[test]
fn each_variant_has_its_validator() {
    let zipped = [("accept-encoding", "gzip"), ("if-none-match", "\"a,b-gzip\"")];
    assert_eq!(get(playlist(), &zipped).status(), 304);
    assert_eq!(get(playlist(), &zipped[1..]).status(), 200);
}

proptest! {
    #[test]
    fn a_range_is_a_part_of_the_file(range in "(bytes=)?[-0-9, a]{0,12}", length in 0_usize..40) {
        match part(&range.parse().unwrap(), length) {
            Part::Bytes { first, last } => prop_assert!(first <= last && last < length),
            Part::Whole | Part::None => {}
        }
    }

    #[test]
    fn any_tags_are_read(list in "[ -~]{0,40}") {
        get(segment(), &[("if-none-match", &list), ("accept-encoding", &list), ("range", &list)]);
    }
}
