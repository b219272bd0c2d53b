//! Reads the text of `SubStation` Alpha (SSA and ASS) events, as Matroska holds them: fields between commas, the text last.
//!
//! No standard describes it either: what stands here is what libass does. Nothing is left of override codes; what is
//! drawn and not written goes with them.

use super::srt::{enclosed, without_empty_lines};

/// The field that is the text: before it come order, layer, style, name, three margins and effect.
const TEXT: usize = 8;

/// The `WebVTT` text of an event; empty if there is nothing to read in it.
pub(super) fn payload(lines: &[&str]) -> String {
    let event = lines.join("\n");
    let mut rest = event.splitn(TEXT + 1, ',').nth(TEXT).unwrap_or_default();
    let mut written = String::with_capacity(rest.len());
    let mut draws = false;
    while let Some(first) = rest.chars().next() {
        if let Some((codes, after)) = enclosed(rest, '{', '}') {
            draws = drawing(codes).unwrap_or(draws);
            rest = after;
            continue;
        }
        let (text, after) = match rest.split_at_checked(2) {
            Some((r"\N", after)) => ("\n", after),
            // Only a script that breaks no lines by itself takes it for a break.
            Some((r"\n", after)) => (" ", after),
            Some((r"\h", after)) => ("\u{a0}", after),
            _ => {
                let (letter, after) = rest.split_at(first.len_utf8());
                (escaped(letter), after)
            }
        };
        if !draws {
            written.push_str(text);
        }
        rest = after;
    }
    without_empty_lines(&written)
}

fn escaped(letter: &str) -> &str {
    match letter {
        "<" => "&lt;",
        ">" => "&gt;",
        "&" => "&amp;",
        other => other,
    }
}

/// Whether what follows these override codes is drawn; None where they do not say.
fn drawing(codes: &str) -> Option<bool> {
    let scale = |code: &str| code.strip_prefix('p')?.trim().parse::<u32>().ok();
    codes.split('\\').filter_map(scale).next_back().map(|scale| scale > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_markup() {
        let cases = [
            (r"Hello, {\i1}you{\i0}\Nthere", "Hello, you\nthere"),
            (r"{\pos(1,2)\c&HFF&}1 < 2 & 3 --> 4", "1 &lt; 2 &amp; 3 --&gt; 4"),
            (r"soft\nbreak, hard\hspace", "soft break, hard\u{a0}space"),
            (r"{\k20}ka{\k30}ra{a comment}", "kara"),
            (r"{\an7\p1}m 0 0 l 100 0{\p0}", ""),
            (r"{\p1}m 0 0 l 9 9{\p0}{\pos(3,4)}after", "after"),
            (r"{\pos(1,2)\pbo3}not drawn", "not drawn"),
            (r"open { brace \ and {\i1", r"open { brace \ and {\i1"),
            (r"\N\N  a  \N\N b\N", "a\nb"),
            ("å字", "å字"),
        ];
        for (text, expected) in cases {
            let event = format!("12,0,Default,Name,0,0,0,,{text}");
            assert_eq!(payload(&[&event]), expected, "{text}");
        }
        assert_eq!(payload(&["0,0,Default,too,few"]), "");
        assert_eq!(payload(&[]), "");
    }
}
