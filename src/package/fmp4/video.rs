//! CMAF video: the initialization segment, media segments of samples, and reading those back.
//!
//! To have at hand: ISO/IEC 14496-12 (`trun`, 8.8.8), 14496-15 (`avc1`). Where pictures are shown in another order than they
//! are decoded in, [`Samples::settle`] finds decoding times for which no player needs to be told of a delay. There is no edit
//! list, and no negative composition offset: hls.js 1.7 and VLC 3.0 pass over the list, and show or look for everything too
//! late by the delay; libavformat 5.1 adds the most negative offset to all others.

use std::ops::Range;

use bytes::Bytes;

use super::{
    Movie, boxed,
    moof::{FLAGS, OFFSET, SIZE},
    samples::{self, DEPENDENT, Samples},
};
use crate::package::adts::Corrupt;

/// What a segment says of each sample.
const SAID: u32 = SIZE | FLAGS | OFFSET;

/// What is fixed about a video track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Track<'a> {
    /// Ticks a second.
    pub timescale: u32,
    /// Ticks that most samples last.
    pub duration: u32,
    /// Pixels from left to right as it is shown, below 65,536.
    pub width: u32,
    /// Pixels from top to bottom as it is shown, below 65,536.
    pub height: u32,
    /// The sample entry, a whole box.
    pub entry: &'a [u8],
}

/// A visual sample entry (ISO/IEC 14496-12 section 12.1.3) for square pixels of this `size`, with its decoder configuration, a
/// whole box.
pub fn entry(kind: [u8; 4], [width, height]: [u32; 2], config: &[u8]) -> Vec<u8> {
    let side = |pixels: u32| u16::try_from(pixels).unwrap_or(u16::MAX).to_be_bytes();
    let size = [side(width), side(height)].concat();
    // Data reference 1; 72 dots an inch, one frame a sample; no name of a compressor, 24 bits, no colour table.
    let resolution = [0x48_0000u32.to_be_bytes(), 0x48_0000u32.to_be_bytes()].concat();
    let rest = [&[0; 4], &[0, 1][..], &[0; 32], &[0, 24, 0xff, 0xff]].concat();
    boxed(kind, &[&[0, 0, 0, 0, 0, 0, 0, 1], &[0; 16], &size, &resolution, &rest, config])
}

/// The initialization segment (`ftyp`, `moov`): the same bytes for the same track, always.
pub fn init(track: Track) -> Bytes {
    let movie = Movie {
        timescale: track.timescale,
        handler: *b"vide",
        name: b"video\0",
        volume: 0,
        size: [track.width, track.height],
        media_header: boxed(*b"vmhd", &[&[0, 0, 0, 1], &[0; 8]]),
        edit: None,
        entry: track.entry,
        duration: track.duration,
        flags: DEPENDENT,
    };
    movie.init()
}

/// A media segment whose first sample is decoded at tick `start`.
///
/// `sequence` counts segments from 1.
pub fn segment(sequence: u32, start: u64, samples: &Samples) -> Bytes {
    samples::segment(sequence, start, samples, SAID)
}

/// Bytes of a segment of so many samples with so many bytes of payload, or a little more.
pub const fn size(samples: usize, payload: usize) -> usize {
    samples::size(samples, payload, SAID)
}

/// The ticks that a segment covers that [`segment`] made, without copying: every box and every size is checked against
/// the length, which tells a whole file from one that a crash cut short, and its first sample has to be a keyframe.
///
/// # Errors
/// For anything else.
pub fn ticks(segment: &[u8]) -> Result<Range<u64>, Corrupt> {
    samples::ticks(segment, SAID)
}

#[cfg(test)]
mod tests;
