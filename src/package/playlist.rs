//! Playlists: complete from the first answer on, and pure functions of the segment table.
//!
//! To have at hand: RFC 8216 (section 4 for the syntax, 7 for versions).

use std::fmt::{self, Write};

use super::{
    file::{File, Format, Kind, Track},
    table::SegmentTable,
};
use crate::config::Container;

/// Microseconds in a second: EXTINF is written with six decimals.
const MICROS: u128 = 1_000_000;

/// The group of all audio tracks beside video or each other.
const AUDIO: &str = "audio";

/// The group of all caption tracks.
const SUBTITLES: &str = "subs";

/// What a player's request carried and every URI of its playlists carries on. No `Debug`: the token is a secret.
#[derive(Clone, Copy, Default)]
pub struct Query<'a> {
    /// `container`, if the request named one.
    pub container: Option<Container>,
    /// `token`, decoded, if the request had it as a query.
    pub token: Option<&'a str>,
}

/// A variant stream of the multivariant playlist.
#[derive(Clone, Copy, Debug)]
pub struct Variant<'a> {
    /// The track whose media playlist it is.
    pub track: Track,
    /// BANDWIDTH: no segment needs more bits a second.
    pub bandwidth: u64,
    /// AVERAGE-BANDWIDTH: bits a second over the whole.
    pub average_bandwidth: u64,
    /// CODECS, as RFC 6381 writes them: `mp4a.40.2`.
    pub codecs: &'a str,
    /// RESOLUTION and FRAME-RATE.
    pub picture: Option<Picture>,
}

/// What a video track looks like.
#[derive(Clone, Copy, Debug)]
pub struct Picture {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
    /// Frames a second.
    pub rate: f64,
}

/// An audio or caption track beside the variants.
#[derive(Clone, Copy, Debug)]
pub struct Alternative<'a> {
    /// Its track.
    pub track: Track,
    /// NAME, for people; no other of its kind has the same.
    pub name: &'a str,
    /// LANGUAGE, a tag of RFC 5646.
    pub language: Option<&'a str>,
    /// Whether it is shown where nobody has chosen.
    pub default: bool,
    /// Whether players may choose it by themselves.
    pub autoselect: bool,
    /// Whether captions are for everybody.
    pub forced: bool,
    /// CHANNELS of an audio track.
    pub channels: Option<u8>,
}

/// The multivariant playlist: audio and caption tracks, if any, in one group each that every variant names.
pub fn index(variants: &[Variant], alternatives: &[Alternative], query: Query) -> String {
    let mut out = String::from("#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    for alternative in alternatives {
        let yes = |flag: bool| if flag { "YES" } else { "NO" };
        let (kind, group) = match alternative.track.kind {
            Kind::Audio => ("AUDIO", AUDIO),
            _ => ("SUBTITLES", SUBTITLES),
        };
        let name = Quoted(alternative.name);
        _ = write!(out, "#EXT-X-MEDIA:TYPE={kind},GROUP-ID=\"{group}\",NAME=\"{name}\"");
        if let Some(language) = alternative.language {
            _ = write!(out, ",LANGUAGE=\"{}\"", Quoted(language));
        }
        let autoselect = yes(alternative.autoselect);
        _ = write!(out, ",DEFAULT={},AUTOSELECT={autoselect}", yes(alternative.default));
        if kind == "SUBTITLES" {
            _ = write!(out, ",FORCED={}", yes(alternative.forced));
        }
        if let Some(channels) = alternative.channels {
            _ = write!(out, ",CHANNELS=\"{channels}\"");
        }
        // Without a URI it is what the variant has already.
        if !variants.iter().any(|variant| variant.track == alternative.track) {
            _ = write!(out, ",URI=\"{}{query}\"", File::Playlist(alternative.track));
        }
        out.push('\n');
    }
    let has = |kind| alternatives.iter().any(|alternative| alternative.track.kind == kind);
    for variant in variants {
        _ = write!(
            out,
            "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{}\"",
            variant.bandwidth,
            variant.average_bandwidth,
            Quoted(variant.codecs),
        );
        if let Some(Picture { width, height, rate }) = variant.picture {
            _ = write!(out, ",RESOLUTION={width}x{height},FRAME-RATE={rate:.3}");
        }
        if has(Kind::Audio) {
            _ = write!(out, ",AUDIO=\"{AUDIO}\"");
        }
        if has(Kind::Subtitles) {
            _ = write!(out, ",SUBTITLES=\"{SUBTITLES}\"");
        }
        _ = writeln!(out, "\n{}{query}", File::Playlist(variant.track));
    }
    out
}

/// The media playlist of a track whose segments come in `format`. Beside video, every track but captions has the same
/// EXT-X-TARGETDURATION (RFC 8216 section 6.2.4): `longest`, if that is more than its own.
///
/// Every EXTINF is the difference of two bounds, each rounded to a microsecond, so that any run of them sums up to the exact
/// time between its ends within one microsecond, and the first n to within half of one: nothing drifts.
pub fn media(
    table: &SegmentTable,
    track: Track,
    format: Format,
    longest: u64,
    query: Query,
) -> String {
    let version = if format == Format::M4s { 6 } else { 3 };
    let mut out = String::with_capacity(256 + 64 * table.len() as usize);
    _ = write!(
        out,
        "#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-TARGETDURATION:{}\n\
         #EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n",
        target_duration(table, version).max(longest),
    );
    if track.kind != Kind::Subtitles {
        out.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    if format == Format::M4s {
        _ = writeln!(out, "#EXT-X-MAP:URI=\"{}{query}\"", File::Init(track));
    }
    let micros = |ticks: u64| {
        let timescale = u128::from(table.timescale());
        (2 * MICROS * u128::from(ticks) + timescale) / (2 * timescale)
    };
    for (n, ticks) in (0..).map_while(|n| Some((n, table.presentation(n)?))) {
        let duration = micros(ticks.end) - micros(ticks.start);
        let file = File::Segment(track, n, format);
        let (seconds, fraction) = (duration / MICROS, duration % MICROS);
        _ = writeln!(out, "#EXTINF:{seconds}.{fraction:06},\n{file}{query}");
    }
    out.push_str("#EXT-X-ENDLIST\n");
    out
}

/// Before version 6 no segment may be longer than this; from then on none that is rounded (RFC 8216 section 7).
fn target_duration(table: &SegmentTable, version: u32) -> u64 {
    if version >= 6 {
        return table.target_duration();
    }
    let lengths = (0..).map_while(|n| table.presentation(n)).map(|ticks| ticks.end - ticks.start);
    lengths.max().unwrap_or(0).div_ceil(u64::from(table.timescale()))
}

impl fmt::Display for Query<'_> {
    /// With its `?`, or nothing at all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut mark = '?';
        if let Some(container) = self.container {
            write!(f, "{mark}container={container}")?;
            mark = '&';
        }
        if let Some(token) = self.token {
            write!(f, "{mark}token={}", Encoded(token))?;
        }
        Ok(())
    }
}

/// A quoted string's inside: what RFC 8216 section 4.2 forbids there, and every other control character, is left out.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let allowed = |c: &char| *c != '"' && !c.is_control();
        self.0.chars().filter(allowed).try_for_each(|c| f.write_char(c))
    }
}

/// A value in a query, percent-encoded but for the unreserved characters (RFC 3986 section 2.3).
struct Encoded<'a>(&'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.bytes().try_for_each(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                f.write_char(char::from(byte))
            }
            _ => write!(f, "%{byte:02X}"),
        })
    }
}

#[cfg(test)]
mod tests;
