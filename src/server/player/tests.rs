use proptest::prelude::*;

use super::*;

const RID: &str = "6f1d2c1a-8a52-4c1e-9a57-0d7d5a0a1b2c";

type Field = (&'static str, &'static str);
type Found = std::result::Result<Option<&'static str>, ()>;

fn headers(list: &[Field]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in list {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

#[test]
fn paths() {
    let rid: Uuid = RID.parse().unwrap();
    let cases = [
        (format!("/hls/{RID}"), Target::Stream(rid, false), Route::Playlist),
        (format!("/hls/{RID}/"), Target::Stream(rid, true), Route::Playlist),
        (format!("/hls/{RID}/index.m3u8"), Target::File(rid, File::Index), Route::Playlist),
        (
            format!("/hls/{RID}/s0.m3u8"),
            Target::File(rid, "s0.m3u8".parse().unwrap()),
            Route::Playlist,
        ),
        (
            format!("/hls/{RID}/a0-init.mp4"),
            Target::File(rid, "a0-init.mp4".parse().unwrap()),
            Route::Init,
        ),
        (
            format!("/hls/{RID}/a0-7.ts"),
            Target::File(rid, "a0-7.ts".parse().unwrap()),
            Route::Segment,
        ),
        (
            format!("/hls/{RID}/s0-7.vtt"),
            Target::File(rid, "s0-7.vtt".parse().unwrap()),
            Route::Captions,
        ),
    ];
    for (path, target, route) in cases {
        assert_eq!(Target::parse(&path), Some(target), "{path}");
        assert_eq!((target.route(), target.rid()), (route, rid), "{path}");
    }
    let upper = RID.to_uppercase();
    let simple = RID.replace('-', "");
    let wrong = [
        "",
        "/",
        "/hls",
        "/hls/",
        "/hls//",
        "/hls/x/index.m3u8",
        &format!("/hls/{upper}/index.m3u8"),
        &format!("/hls/{simple}/index.m3u8"),
        &format!("/hls/{{{RID}}}"),
        &format!("/hls/{RID}/index.m3u8/"),
        &format!("/hls/{RID}//index.m3u8"),
        &format!("/hls/{RID}/../index.m3u8"),
        &format!("/hls/{RID}/index%2em3u8"),
        &format!("/hls/{RID}%2findex.m3u8"),
        &format!("//hls/{RID}/index.m3u8"),
        &format!("/HLS/{RID}/index.m3u8"),
        &format!("/hls/{RID}/index.m3u8\u{0}"),
    ];
    for path in wrong {
        assert_eq!(Target::parse(path), None, "{path}");
    }
}

#[test]
fn tokens_in_headers() {
    let cases: [(&[Field], Found); 15] = [
        (&[], Ok(None)),
        (&[("x-gostreamer-token", "a.b.c")], Ok(Some("a.b.c"))),
        (&[("x-gostreamer-token", "a, a,a")], Ok(Some("a"))),
        (&[("x-gostreamer-token", "a"), ("x-gostreamer-token", "a")], Ok(Some("a"))),
        (&[("x-gostreamer-token", "a, b")], Err(())),
        (&[("x-gostreamer-token", "a"), ("x-gostreamer-token", "b")], Err(())),
        (&[("x-gostreamer-token", "")], Ok(Some(""))),
        (&[("x-gostreamer-token", ""), ("authorization", "Bearer a")], Ok(Some(""))),
        (&[("x-gostreamer-token", ", a")], Ok(Some("a"))),
        (&[("x-gostreamer-token", "\u{e4}")], Err(())),
        (&[("x-gostreamer-token", "a"), ("authorization", "Bearer b")], Ok(Some("a"))),
        (&[("authorization", "bearer  b ")], Ok(Some("b"))),
        (&[("authorization", "Basic b")], Ok(None)),
        (&[("authorization", "Bearer")], Ok(Some(""))),
        (&[("authorization", "Bearerb")], Ok(None)),
    ];
    for (list, expected) in cases {
        let headers = headers(list);
        let found =
            header_token(&headers).map_err(|error| assert_eq!(error.code(), Code::TokenInvalid));
        assert_eq!(found, expected, "{list:?}");
    }
}

#[test]
fn redirects_are_relative_to_what_was_asked_for() {
    let rid = RID.parse().unwrap();
    let location = |slash, uri: &'static str| {
        let reply = redirect(rid, slash, &Uri::from_static(uri));
        assert_eq!(reply.status(), 308);
        reply.headers()[LOCATION].to_str().unwrap().to_owned()
    };
    assert_eq!(location(false, "/hls/x?token=t&a=%20"), format!("{RID}/index.m3u8?token=t&a=%20"));
    assert_eq!(location(true, "/hls/x/"), "index.m3u8");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn a_path_has_one_spelling_or_no_target(path in "/hls/[-%./0-9a-fA-F]{0,40}(/[-a-z0-9.%]{0,12})?") {
        let spelled = match Target::parse(&path) {
            Some(Target::File(rid, file)) => format!("/hls/{rid}/{file}"),
            Some(Target::Stream(rid, slash)) => format!("/hls/{rid}{}", if slash { "/" } else { "" }),
            None => path.clone(),
        };
        prop_assert_eq!(spelled, path);
    }
}
