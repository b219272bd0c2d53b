//! Reads SRT, which no standard describes: what stands here is what libavformat and most players agree on.
//!
//! A line of times begins a cue; its text goes on to the next one, empty lines or not. The numbers above the cues are left
//! out: they often repeat, and players name a cue by its content when it has no identifier. The text becomes `WebVTT`.

use super::{ARROW, Cue, Draft, clock::Clock};

/// Tags that mean the same in `WebVTT`: their names in SRT, where case does not matter, and what is written.
const KEPT_TAGS: [(&str, &str); 6] =
    [("b", "<b>"), ("/b", "</b>"), ("i", "<i>"), ("/i", "</i>"), ("u", "<u>"), ("/u", "</u>")];

/// Reads text with line feeds only; without a line of times there are no cues. `payload` makes the text of a cue from its
/// lines.
pub(super) fn parse(text: &str, payload: fn(&[&str]) -> String) -> Draft {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut draft = Draft::default();
    let mut chunks = lines.chunk_by(|_, next| !is_times(next)).peekable();
    while let Some(chunk) = chunks.next() {
        let Some((times, text)) = chunk.split_first().filter(|(times, _)| is_times(times)) else {
            continue;
        };
        let text = match text {
            [text @ .., number] if chunks.peek().is_some() && is_number(number) => text,
            text => text,
        };
        draft.push(cue(times, payload(text)));
    }
    draft
}

/// Whether the line is meant to be times: an arrow, and before it nothing but what times are written with.
fn is_times(line: &str) -> bool {
    let is_clock = |byte| matches!(byte, b'0'..=b'9' | b':' | b',' | b'.' | b' ' | b'\t');
    line.split_once(ARROW).is_some_and(|(before, _)| before.bytes().all(is_clock))
}

fn is_number(line: &str) -> bool {
    !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit())
}

/// What follows the times (coordinates, mostly) is ignored. None without readable times or without text.
fn cue(times: &str, payload: String) -> Option<Cue> {
    let (start, end) = times.split_once(ARROW)?;
    if payload.is_empty() {
        return None;
    }
    Some(Cue {
        start_ms: millis(start)?,
        end_ms: millis(end)?,
        id: Box::default(),
        settings: Box::default(),
        payload: payload.into(),
    })
}

/// Comma or point, or no fraction. A short fraction is a count of milliseconds: libavformat reads `1,5` as 1.005 s.
fn millis(text: &str) -> Option<u64> {
    let (clock, _) = Clock::read(text.trim_start(), &[',', '.'])?;
    (clock.fraction.len() <= 3).then(|| clock.millis())?
}

/// `WebVTT` text: tags and escapes translated, lines without text left out.
pub(super) fn payload(lines: &[&str]) -> String {
    let text = lines.join("\n");
    let mut marked = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find(['<', '>', '&', '{']) {
        let (plain, markup) = rest.split_at(at);
        let (written, after) = translate(markup);
        marked.push_str(plain);
        marked.push_str(written);
        rest = after;
    }
    marked.push_str(rest);
    without_empty_lines(&marked)
}

pub(super) fn without_empty_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}

/// What is written for the markup that `text` begins with, and the text after it.
fn translate(text: &str) -> (&'static str, &str) {
    if let Some((tag, after)) = enclosed(text, '<', '>') {
        if let Some((_, kept)) = KEPT_TAGS.iter().find(|(name, _)| name.eq_ignore_ascii_case(tag)) {
            return (kept, after);
        }
        if is_font(tag) {
            return ("", after);
        }
    }
    // Override codes of SubStation, which many tools leave in SRT: {\an8}, {\pos(10,20)}.
    if let Some((code, after)) = enclosed(text, '{', '}')
        && code.starts_with('\\')
    {
        return ("", after);
    }
    let mut chars = text.chars();
    let written = match chars.next() {
        Some('<') => "&lt;",
        Some('>') => "&gt;",
        Some('&') => "&amp;",
        Some(_) => "{",
        None => "",
    };
    (written, chars.as_str())
}

fn is_font(tag: &str) -> bool {
    let name = tag.strip_prefix('/').unwrap_or(tag).split_ascii_whitespace().next();
    name.is_some_and(|name| name.eq_ignore_ascii_case("font"))
}

/// What stands between `open` at the front of `text` and the next `close`, if no other `open` comes before that, which also
/// keeps the search linear; and what follows.
pub(super) fn enclosed(text: &str, open: char, close: char) -> Option<(&str, &str)> {
    let inner = text.strip_prefix(open)?;
    let (inside, after) = inner.split_at(inner.find([open, close])?);
    Some((inside, after.strip_prefix(close)?))
}
