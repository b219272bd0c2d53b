//! A query string, as it was sent: its values, and what their percent signs stand for.

use std::borrow::Cow;

/// The first value of `key`, as it was sent.
pub(super) fn find<'q>(query: &'q str, key: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
}

/// Percent-decodes; what is no UTF-8 then becomes U+FFFD, which no token has.
pub(super) fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let escaped = match (byte, tail) {
            (b'%', [high, low, tail @ ..]) => {
                digit(*high).zip(digit(*low)).map(|(h, l)| (h << 4 | l, tail))
            }
            _ => None,
        };
        let (byte, tail) = escaped.unwrap_or((*byte, tail));
        decoded.push(byte);
        rest = tail;
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

fn digit(hex: u8) -> Option<u8> {
    char::from(hex).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn queries() {
        assert_eq!(find("a=1&token=x%2e&token=y", "token"), Some("x%2e"));
        assert_eq!(find("tokens=1&xtoken=2&token", "token"), None);
        assert_eq!(find("token=", "token"), Some(""));
    }

    #[test]
    fn percent() {
        let cases = [
            ("a.b", "a.b"),
            ("%61%2E", "a."),
            ("%", "%"),
            ("%6", "%6"),
            ("%zz", "%zz"),
            ("%25%32", "%2"),
            ("%ff", "\u{fffd}"),
        ];
        for (text, decoded) in cases {
            assert_eq!(decode(text), decoded);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn any_text_is_decoded(text in ".{0,40}") {
            decode(&text);
        }
    }
}
