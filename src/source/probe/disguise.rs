//! Files that are no media, and what they are: found before ffmpeg could be tempted to open them.

/// Magic numbers and what they stand for, in the words of [`super::Stop::Unsupported`].
const MAGICS: &[(&[u8], &str)] = &[
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "a zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"%PDF", "a PDF document"),
    (b"\x7fELF", "an executable"),
    (b"MZ", "an executable"),
    (b"SQLite format 3", "a database"),
    (b"#!AMR", "an AMR file"),
];

/// Beginnings of text files, in lower case.
const TEXTS: &[(&str, &str)] = &[
    ("#extm3u", "an HLS playlist"),
    ("ffconcat", "a concat script"),
    ("<!doctype html", "an HTML page"),
    ("<html", "an HTML page"),
    ("<mpd", "a DASH manifest"),
    ("<svg", "an SVG image"),
    ("<?xml", "an XML document"),
    ("<", "an HTML or XML document"),
    ("v=0", "an SDP description"),
    ("{", "JSON"),
    ("[", "JSON or a playlist"),
    ("webvtt", "WebVTT captions"),
    ("#!", "a script"),
];

/// What `head`, the first bytes of a file, is known to be; None if it may be media.
pub(super) fn name(head: &[u8]) -> Option<&'static str> {
    if head.starts_with(b"RIFF") {
        return Some(match head.get(8..12) {
            Some(b"WEBP") => "a WebP image",
            _ => "a RIFF file that is neither WAVE nor AVI",
        });
    }
    if let Some((_, found)) = MAGICS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Some(found);
    }
    text(head)
}

/// What kind of text `head` begins, if it is text.
fn text(head: &[u8]) -> Option<&'static str> {
    let body = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let start = String::from_utf8_lossy(body).to_ascii_lowercase();
    // A playlist is named as such even when what follows is not text: ffmpeg would read it as one.
    if let Some((magic, found)) = TEXTS.iter().find(|(magic, _)| start.starts_with(magic)) {
        let short = magic.len() < 4 && !printable(body);
        let manifest = *magic == "<?xml" && start.contains("<mpd");
        return (!short).then_some(if manifest { "a DASH manifest" } else { found });
    }
    (!head.is_empty() && printable(body)).then_some("text")
}

/// Whether all of this is printable text in UTF-8 (the cut at its end apart).
fn printable(bytes: &[u8]) -> bool {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(bytes.get(..error.valid_up_to()).unwrap_or_default())
                .unwrap_or_default()
        }
        Err(_) => return false,
    };
    text.chars().all(|c| !c.is_control() || matches!(c, '\t' | '\n' | '\r' | '\x0c'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disguises_are_named() {
        let cases: &[(&[u8], Option<&str>)] = &[
            (b"#EXTM3U\n#EXT-X-VERSION:3\n", Some("an HLS playlist")),
            (b"\xef\xbb\xbf\r\n#EXTM3U\xff\xfb\x90", Some("an HLS playlist")),
            (b"ffconcat version 1.0\nfile x", Some("a concat script")),
            (b"<?xml version='1.0'?><MPD xmlns=", Some("a DASH manifest")),
            (b"<?xml version='1.0'?><rss>", Some("an XML document")),
            (b"<!DOCTYPE HTML><title>", Some("an HTML page")),
            (b"v=0\r\no=- 0 0 IN IP4", Some("an SDP description")),
            (b"{\"error\": 1}", Some("JSON")),
            (b"just words, n\xc3\xa4mlich", Some("text")),
            (b"   \n ", Some("text")),
            (b"\x89PNG\r\n\x1a\n", Some("a PNG image")),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Some("a WebP image")),
            (b"\xff\xfb\x90\x64\0\0", None),
            (b"ID3\x04\0\0\0\0\x0f\x76", None),
            (b"\0\0\0\0", None),
        ];
        for (head, found) in cases {
            assert_eq!(name(head), *found, "{}", head.escape_ascii());
        }
    }
}
