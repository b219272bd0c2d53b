//! Reads `WebVTT` (the W3C's, sections 6.1 to 6.3): a file is blocks between empty lines, and a line with an arrow begins a
//! cue wherever it stands.

use std::iter::Peekable;

use super::{ARROW, Cue, Draft, clock::Clock};

/// Whether `text` begins with the `WebVTT` signature.
pub(super) fn is_signed(text: &str) -> bool {
    text.strip_prefix("WEBVTT")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\n']))
}

/// Reads signed text with line feeds only. Comments and the text of the header are left out.
pub(super) fn parse(text: &str) -> Draft {
    let mut lines = text.split('\n').skip(1).peekable();
    while lines.next_if(|line| !line.is_empty() && !line.contains(ARROW)).is_some() {}

    let mut draft = Draft::default();
    while let Some(block) = next_block(&mut lines) {
        match block.lines.as_slice() {
            [times, payload @ ..] if times.contains(ARROW) => draft.push(cue("", times, payload)),
            [id, times, payload @ ..] if times.contains(ARROW) => {
                draft.push(cue(id, times, payload));
            }
            [kind, _, ..] if block.is_whole && draft.cues.is_empty() && is_header(kind) => {
                draft.push_block(&block.lines);
            }
            _ => {}
        }
    }
    draft
}

/// Lines that belong together.
struct Block<'a> {
    /// At least one, none empty; an arrow only in the first or second, and only in one.
    lines: Vec<&'a str>,
    /// Whether an empty line or the end of the file ended it, and not an arrow.
    is_whole: bool,
}

fn next_block<'a>(lines: &mut Peekable<impl Iterator<Item = &'a str>>) -> Option<Block<'a>> {
    while lines.next_if(|line| line.is_empty()).is_some() {}
    let first = lines.next()?;
    let mut block = vec![first];
    let mut may_have_id = !first.contains(ARROW);
    while let Some(line) =
        lines.next_if(|line| !line.is_empty() && (may_have_id || !line.contains(ARROW)))
    {
        block.push(line);
        may_have_id = false;
    }
    let is_whole = lines.peek().is_none_or(|line| line.is_empty());
    Some(Block { lines: block, is_whole })
}

/// Whether a block that begins with this line belongs before the first cue, and into every segment.
fn is_header(line: &str) -> bool {
    matches!(line.trim_ascii_end(), "STYLE" | "REGION")
}

fn cue(id: &str, times: &str, payload: &[&str]) -> Option<Cue> {
    let (start_ms, rest) = timestamp(times)?;
    let (end_ms, rest) = timestamp(rest.trim_ascii_start().strip_prefix(ARROW)?)?;
    // Players with a simpler reader could take a second arrow for times.
    let settings = if rest.contains(ARROW) { "" } else { rest.trim_ascii() };
    Some(Cue {
        start_ms,
        end_ms,
        id: id.into(),
        settings: settings.into(),
        payload: payload.join("\n").into(),
    })
}

/// The milliseconds of the timestamp at the front of `text`, and what follows it: `hh:mm:ss.ttt` with at least one digit of
/// hours, or `mm:ss.ttt`.
fn timestamp(text: &str) -> Option<(u64, &str)> {
    let (clock, rest) = Clock::read(text.trim_ascii_start(), &['.'])?;
    let widths = [clock.minutes.len(), clock.seconds.len(), clock.fraction.len()];
    (widths == [2, 2, 3]).then_some(())?;
    Some((clock.millis()?, rest))
}
