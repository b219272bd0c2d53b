//! Where the upstream keeps its media: a prefix, or a template with `{id}`.

use std::{fmt, str::FromStr};

use reqwest::Url;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{scalar, units::shown};

/// What stands for the media id.
const ID: &str = "{id}";

/// [`ID`] as the URL parser leaves it in a path.
const ID_IN_PATH: &str = "%7Bid%7D";

/// A rule that makes an upstream URL from a media id.
///
/// `http://media/audio` is a prefix and gives `http://media/audio/<id>?batch=true`, as Go-HLS-Streamer asks;
/// `http://media/{id}.mp3` or `http://media/get?file={id}` is a template, to which nothing is appended. Always http or
/// https, without user, password and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    /// The prefix form is kept as the template that it abbreviates.
    url: Url,
}

impl Template {
    /// The URL of `id`, which is percent-encoded and stays inside its one path segment or query value, whatever it is.
    pub fn url(&self, id: &str) -> Url {
        let id = encode(id);
        let mut url = self.url.clone();
        url.set_path(&self.url.path().replace(ID_IN_PATH, &id));
        url.set_query(self.url.query().map(|query| query.replace(ID, &id)).as_deref());
        url
    }
}

/// Everything but RFC 3986's unreserved characters as `%XX`.
///
/// Dot segments are refused long before; here their dots are encoded twice, because URL parsers take `%2E` for a dot and
/// would climb.
fn encode(id: &str) -> String {
    if matches!(id, "." | "..") {
        return id.replace('.', "%252E");
    }
    let mut text = String::with_capacity(id.len());
    for byte in id.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.extend(['%', hex(byte >> 4), hex(byte & 15)]);
        }
    }
    text
}

/// The digit of a number below 16.
fn hex(nibble: u8) -> char {
    char::from_digit(nibble.into(), 16).unwrap_or('0').to_ascii_uppercase()
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut url = web_url(text)?;
        let in_path = url.path().contains(ID_IN_PATH);
        let in_query = url.query().is_some_and(|query| query.contains(ID));
        if !in_path && !in_query {
            if text.contains(ID) {
                return Err("{id} may stand in the path or in the query only".into());
            }
            if let Ok(mut segments) = url.path_segments_mut() {
                segments.pop_if_empty().push(ID);
            }
            url.query_pairs_mut().append_pair("batch", "true");
        }
        Ok(Self { text: text.into(), url })
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        scalar::parsed(deserializer, str::parse)
    }
}

/// An http or https URL without user, password and fragment. The error is a sentence that repeats no credentials.
pub(super) fn web_url(text: &str) -> Result<Url, String> {
    const ALLOWED: &str = "write it like http://localhost:5000/audio";
    // What follows the `?` may be an API key, what stands before an `@` a password.
    let harmless = text.split('?').next().filter(|text| !text.contains('@'));
    let quoted = harmless.map_or_else(|| "this".into(), shown);
    let url =
        Url::parse(text).map_err(|error| format!("{quoted} is not a URL ({error}): {ALLOWED}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{quoted} is neither http nor https: {ALLOWED}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL must not hold a user or password; put them into upstream.headers".into());
    }
    if url.fragment().is_some() {
        return Err(format!("{quoted} has a fragment (#), which is never sent"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn made(template: &str, id: &str) -> String {
        template.parse::<Template>().unwrap().url(id).to_string()
    }

    #[test]
    fn a_prefix_gets_the_id_and_batch() {
        for (prefix, url) in [
            ("http://up:5000/audio", "http://up:5000/audio/song?batch=true"),
            ("http://up:5000/audio/", "http://up:5000/audio/song?batch=true"),
            ("http://up", "http://up/song?batch=true"),
            ("https://up/a/b?key=1", "https://up/a/b/song?key=1&batch=true"),
        ] {
            assert_eq!(made(prefix, "song"), url);
        }
    }

    #[test]
    fn a_template_gets_the_id_and_nothing_else() {
        for (template, url) in [
            ("http://up/{id}", "http://up/a%2Fb"),
            ("http://up/media/{id}.mp3", "http://up/media/a%2Fb.mp3"),
            ("http://up/{id}/audio?x=y", "http://up/a%2Fb/audio?x=y"),
            ("http://up/get?file={id}&x=y", "http://up/get?file=a%2Fb&x=y"),
            ("http://up/{id}?again={id}", "http://up/a%2Fb?again=a%2Fb"),
        ] {
            assert_eq!(made(template, "a/b"), url);
        }
    }

    #[test]
    fn every_id_stays_inside_its_segment() {
        for (id, segment) in [
            ("a/b", "a%2Fb"),
            ("a?b=c", "a%3Fb%3Dc"),
            ("a#b", "a%23b"),
            ("%2f", "%252f"),
            ("%2e%2e", "%252e%252e"),
            ("@evil", "%40evil"),
            ("two words", "two%20words"),
            ("a\\..\\b", "a%5C..%5Cb"),
            ("../../x", "..%2F..%2Fx"),
            ("//evil/", "%2F%2Fevil%2F"),
            ("тест", "%D1%82%D0%B5%D1%81%D1%82"),
            (".\t.", ".%09."),
            (".", "%252E"),
            ("..", "%252E%252E"),
            ("...", "..."),
            ("{id}", "%7Bid%7D"),
        ] {
            assert_eq!(made("http://up/p", id), format!("http://up/p/{segment}?batch=true"));
            assert_eq!(made("http://up/p/{id}", id), format!("http://up/p/{segment}"));
            assert_eq!(made("http://up/p?q={id}", id), format!("http://up/p?q={segment}"));
        }
        assert_eq!(made("http://up/a/.{id}", "."), "http://up/a/.%252E");
    }

    #[test]
    fn what_is_no_template() {
        for (text, why) in [
            ("", "not a URL"),
            ("localhost:5000/audio", "neither http nor https"),
            ("ftp://up/audio", "neither http nor https"),
            ("file:///etc/passwd", "neither http nor https"),
            ("/audio", "not a URL"),
            ("http://", "not a URL"),
            ("http://{id}.up/", "in the path or in the query only"),
            ("http://up/audio#top", "fragment"),
            ("http://up/#{id}", "fragment"),
        ] {
            let error = text.parse::<Template>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn errors_repeat_no_credentials() {
        for text in [
            "http://me:hunter2@up/",
            "ftp://me:hunter2@up/",
            "http://me:hunter2@",
            "ftp://up/?key=hunter2",
        ] {
            let error = text.parse::<Template>().unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn no_id_leaves_its_place(id in "[./\\\\%#?&@:{}a\t\n2eE]{1,8}|\\PC{1,20}|.{1,20}") {
            let home = Url::parse("http://up:5000/a/b").unwrap();
            for (template, segments) in [("http://up:5000/a/b", 3), ("http://up:5000/a/b/{id}", 3), ("http://up:5000/a/b?q={id}", 2)] {
                let url = template.parse::<Template>().unwrap().url(&id);
                prop_assert_eq!(url.origin(), home.origin());
                prop_assert!(url.path().starts_with("/a/b"));
                prop_assert_eq!(url.path_segments().unwrap().count(), segments);
                prop_assert_eq!(url.fragment(), None);
                prop_assert!(url.query_pairs().count() <= 1);
                prop_assert_eq!(&Url::parse(url.as_str()).unwrap(), &url);
            }
        }
    }
}
