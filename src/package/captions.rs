//! Captions: a tolerant reader of `WebVTT` and SRT, and the caption segments of HLS made from what it read.
//!
//! At hand: the parsing rules of W3C `WebVTT` (section 6), RFC 8216 section 3.5. One bad cue never costs the others; nothing
//! that comes in costs more than linear time. The text of a `WebVTT` cue
//! is carried as it came.
//!
//! An X-TIMESTAMP-MAP of the upstream is ignored, like all header text: it relates cues to the clock of a transport stream
//! that is not here. Times count from the start of the media, as they do for any other file of captions.

mod ass;
mod clock;
mod embedded;
mod segment;
mod srt;
mod vtt;

#[cfg(test)]
mod tests;

use std::{collections::HashSet, error, fmt, mem};

pub(super) use self::{clock::Timestamp, embedded::Script};

/// What separates start and end of a cue, and what no payload may contain.
const ARROW: &str = "-->";

/// Cues kept of one source; those after are counted as skipped. A film has 1,000 to 2,000.
const MAX_CUES: usize = 100_000;

/// Bytes of STYLE and REGION blocks kept, since every segment repeats them; blocks beyond are left out.
const MAX_HEADER: usize = 64 * 1024;

/// One cue. Made by [`Captions::parse`] only, which sees to it that no field contains `-->` or an empty line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cue {
    /// When it appears: milliseconds from the start of the media.
    pub start_ms: u64,
    /// When it goes, after `start_ms`.
    pub end_ms: u64,
    /// The identifier, unique among the cues, or empty.
    pub id: Box<str>,
    /// The settings as they came; empty if there are none, or with an arrow among them.
    pub settings: Box<str>,
    /// The `WebVTT` text without a last line feed; may be empty.
    pub payload: Box<str>,
}

/// The captions of one source: STYLE and REGION blocks, and cues in the order of their start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captions {
    /// The blocks, each with the empty line after it.
    header: Box<str>,
    cues: Vec<Cue>,
    /// The latest end in each run of [`segment::RUN`] cues: what makes looking up a period cheap.
    latest_ends: Vec<u64>,
}

/// What [`Captions::parse`] made of its input.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// What could be read; may be without a single cue.
    pub captions: Captions,
    /// Cues left out: unreadable times, an end that is not after the start, SRT without text, too many cues.
    pub skipped: usize,
}

/// Why bytes are not captions, as a sentence for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCaptions {
    /// Nothing but white space.
    Empty,
    /// HTML (often an error page) or XML (TTML).
    Markup,
    /// No `WebVTT` signature, and not one cue of SRT.
    Unrecognised,
}

impl fmt::Display for NotCaptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the captions are empty",
            Self::Markup => "the captions are HTML or XML; WebVTT or SRT is needed",
            Self::Unrecognised => {
                "the captions are neither WebVTT (the first line must be WEBVTT) nor SRT (not one cue could be read)"
            }
        })
    }
}

impl error::Error for NotCaptions {}

impl Captions {
    /// Reads `WebVTT` if the signature is there, else SRT if at least one cue of it can be read.
    ///
    /// The text is UTF-8, or UTF-16 with a byte order mark; what is neither becomes U+FFFD. Limiting the size of `bytes` is
    /// the caller's part: memory and time are linear in it.
    pub fn parse(bytes: &[u8]) -> Result<Parsed, NotCaptions> {
        let text = decode(bytes);
        if vtt::is_signed(&text) {
            return Ok(vtt::parse(&text).finish());
        }
        let draft = srt::parse(&text, srt::payload);
        if !draft.cues.is_empty() {
            return Ok(draft.finish());
        }
        Err(match text.trim_start().chars().next() {
            None => NotCaptions::Empty,
            Some('<') => NotCaptions::Markup,
            Some(_) => NotCaptions::Unrecognised,
        })
    }

    /// Whether [`Captions::parse`] would read `bytes`, else why not, as a sentence.
    pub fn check(bytes: &[u8]) -> Result<(), String> {
        Self::parse(bytes).map(drop).map_err(|why| why.to_string())
    }

    /// Number of cues.
    pub fn len(&self) -> usize {
        self.cues.len()
    }

    /// Whether there is not one cue.
    pub fn is_empty(&self) -> bool {
        self.cues.is_empty()
    }

    /// The cues by start; those with the same start in the order of the source.
    pub fn cues(&self) -> impl ExactSizeIterator<Item = &Cue> {
        self.cues.iter()
    }

    /// Bytes of memory in use, approximately.
    pub fn bytes(&self) -> usize {
        let text = |cue: &Cue| cue.id.len() + cue.settings.len() + cue.payload.len();
        self.header.len()
            + self.cues.len() * mem::size_of::<Cue>()
            + self.cues.iter().map(text).sum::<usize>()
    }
}

/// What a parser gathers, in the order of the source.
#[derive(Default)]
struct Draft {
    header: String,
    cues: Vec<Cue>,
    skipped: usize,
}

impl Draft {
    /// Keeps a cue, or counts one that could not be kept.
    fn push(&mut self, cue: Option<Cue>) {
        match cue.filter(|cue| cue.start_ms < cue.end_ms && self.cues.len() < MAX_CUES) {
            Some(cue) => self.cues.push(cue),
            None => self.skipped += 1,
        }
    }

    /// Keeps a STYLE or REGION block, unless there is too much of them.
    fn push_block(&mut self, lines: &[&str]) {
        let block = lines.join("\n") + "\n\n";
        if self.header.len() + block.len() <= MAX_HEADER {
            self.header += &block;
        }
    }

    fn finish(self) -> Parsed {
        let Self { header, mut cues, skipped } = self;
        cues.sort_by_key(|cue| cue.start_ms);
        forget_repeated_ids(&mut cues);
        let latest_ends = segment::latest_ends(&cues);
        Parsed { captions: Captions { header: header.into(), cues, latest_ends }, skipped }
    }
}

/// Takes the identifier from every cue that shares it with an earlier one.
///
/// Players tell the copies of a cue in several segments by its identifier, and hls.js drops a second cue that has the same
/// (its issue 4563): files joined from parts that each count from 1 would lose most of their cues.
fn forget_repeated_ids(cues: &mut [Cue]) {
    let mut seen = HashSet::new();
    for cue in cues {
        if !seen.insert(cue.id.clone()) {
            cue.id = Box::default();
        }
    }
}

/// Text with line feeds only, without a byte order mark and without NUL (`WebVTT` section 6.1, step 1).
fn decode(bytes: &[u8]) -> String {
    let text = match bytes {
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes).into(),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes).into(),
        [0xEF, 0xBB, 0xBF, rest @ ..] | rest => String::from_utf8_lossy(rest),
    };
    text.replace('\0', "\u{FFFD}").replace("\r\n", "\n").replace('\r', "\n")
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let (units, _) = bytes.as_chunks();
    let units = units.iter().map(|&pair| unit(pair));
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}
