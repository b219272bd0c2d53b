//! CMAF video: the initialization segment, media segments of samples, and reading those back.
//!
//! To have at hand: ISO/IEC 14496-12 (`trun`, 8.8.8), 14496-15 (`avc1`). Where pictures are shown in another order than they
//! are decoded in, [`Samples::settle`] finds decoding times for which no player needs to be told of a delay. There is no edit
//! list, and no negative composition offset: hls.js 1.7 and VLC 3.0 pass over the list, and show or look for everything too
//! late by the delay; libavformat 5.1 adds the most negative offset to all others.

use std::ops::Range;

use bytes::{Buf, BufMut, Bytes};

use super::{CORRUPT, MDAT, Movie, TRACK, boxed, mdat, put_box};
use crate::package::adts::Corrupt;

/// Flags of a sample that depends on no other: a keyframe.
const SYNC: u32 = 0x0200_0000;

/// Flags of a sample that depends on others and cannot be started from.
const DEPENDENT: u32 = 0x0101_0000;

/// The most payload bytes in one [`Samples`], so that box sizes and offsets of 32 bits always hold.
const MAX_PAYLOAD: usize = 1 << 30;

/// The most samples in one [`Samples`], for the same reason.
const MAX_SAMPLES: usize = 1 << 20;

/// Bytes of a `moof` before what it says of each sample.
const HEAD: usize = 92;

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

/// What is said of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Payload bytes.
    pub size: u32,
    /// Ticks that it lasts in decoding order.
    pub duration: u32,
    /// Ticks from its decoding time to when it is shown.
    pub offset: i32,
    /// Whether it is a keyframe.
    pub sync: bool,
}

/// A run of samples in decoding order: one payload, and what is said of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    payload: Vec<u8>,
    samples: Vec<Sample>,
}

impl Samples {
    /// Appends a sample; its size is that of `payload`.
    ///
    /// # Errors
    /// When a gigabyte or a million samples are full.
    pub fn push(&mut self, payload: &[u8], sample: Sample) -> Result<(), Corrupt> {
        let full = self.payload.len() + payload.len() > MAX_PAYLOAD;
        if full || self.samples.len() == MAX_SAMPLES {
            return Err(Corrupt("more video than one segment holds"));
        }
        self.payload.extend_from_slice(payload);
        self.samples.push(Sample { size: payload.len() as u32, ..sample });
        Ok(())
    }

    /// Makes the last sample last so many ticks longer.
    pub fn stretch(&mut self, ticks: u64) {
        if let Some(last) = self.samples.last_mut() {
            let duration = u64::from(last.duration).saturating_add(ticks);
            last.duration = u32::try_from(duration).unwrap_or(u32::MAX);
        }
    }

    /// Moves decoding times so that each picture is shown when it was, nothing is decoded after it is shown, and the first is
    /// decoded when it is shown: offsets were too large by `delay`, the ticks by which decoding runs ahead. The run's first
    /// samples are decoded a tick after one another until they are ahead, its last ones as late as they may be, so that it
    /// still ends where it did and no picture reaches beyond that. Gives when the first is decoded: `start`, or earlier where
    /// pictures are shown before the first.
    pub fn settle(&mut self, start: u64, delay: u32) -> u64 {
        let delay = i64::from(delay);
        let mut end = 0;
        let show = |sample: &Sample| {
            let shown = end + i64::from(sample.offset) - delay;
            end += i64::from(sample.duration);
            shown
        };
        let shown: Vec<i64> = self.samples.iter().map(show).collect();
        let earliest = i64::try_from(start).map_or(i64::MIN, |start| -start);
        let first = (0..).zip(&shown).map(|(n, shown)| shown - n).min().unwrap_or(0);
        let first = first.min(0).max(earliest);

        let mut ahead = -delay;
        let decode = |(soonest, sample): (i64, &Sample)| {
            let decoded = ahead.max(soonest);
            ahead += i64::from(sample.duration);
            decoded
        };
        let mut decoded: Vec<i64> = (first..).zip(&self.samples).map(decode).collect();
        let (mut next, mut latest) = (end, i64::MAX);
        for (decoded, &shown) in decoded.iter_mut().zip(&shown).rev() {
            if next - *decoded <= end - shown {
                break;
            }
            latest = latest.min(shown);
            *decoded = latest.min(next - 1).max(*decoded);
            next = *decoded;
        }

        let ends = decoded.iter().skip(1).copied().chain([end]);
        let times = decoded.iter().zip(ends).zip(&shown);
        for (sample, ((&decoded, next), &shown)) in self.samples.iter_mut().zip(times) {
            sample.duration = u32::try_from((next - decoded).max(0)).unwrap_or(u32::MAX);
            sample.offset = i32::try_from(shown - decoded).unwrap_or(i32::MAX);
        }
        start.saturating_add_signed(decoded.first().copied().unwrap_or(0))
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The bytes of all samples, one after the other.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// What is said of each sample.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Ticks of all samples.
    pub fn duration(&self) -> u64 {
        self.samples.iter().map(|sample| u64::from(sample.duration)).sum()
    }
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
    let shape = Shape::of(samples);
    let mut out = Vec::with_capacity(size(samples.len(), samples.payload.len()));
    out.put_slice(&shape.head(sequence, start, samples.len()));
    for sample in &samples.samples {
        if shape.uneven {
            out.put_u32(sample.duration);
        }
        out.put_u32(sample.size);
        out.put_u32(if sample.sync { SYNC } else { DEPENDENT });
        out.put_i32(sample.offset);
    }
    out.put_slice(&mdat(samples.payload.len()));
    out.put_slice(&samples.payload);
    out.into()
}

/// Bytes of a segment of so many samples with so many bytes of payload, or a little more.
pub const fn size(samples: usize, payload: usize) -> usize {
    HEAD + 16 * samples + MDAT + payload
}

/// The ticks that a segment covers that [`segment`] made, without copying: every box and every size is checked against
/// the length, which tells a whole file from one that a crash cut short, and its first sample has to be a keyframe.
///
/// # Errors
/// For anything else.
pub fn ticks(segment: &[u8]) -> Result<Range<u64>, Corrupt> {
    let (found, rest) = segment.split_first_chunk::<HEAD>().ok_or(CORRUPT)?;
    let sequence = (&found[20..24]).get_u32();
    let usual = (&found[48..52]).get_u32();
    let start = (&found[64..72]).get_u64();
    let uneven = (&found[80..84]).get_u32() == Shape { uneven: true, usual }.flags();
    let count = (&found[84..88]).get_u32() as usize;
    let shape = Shape { uneven, usual };

    let (table, rest) = count
        .checked_mul(shape.width())
        .filter(|_| (1..=MAX_SAMPLES).contains(&count))
        .and_then(|bytes| rest.split_at_checked(bytes))
        .ok_or(CORRUPT)?;
    let (found_mdat, payload) = rest.split_first_chunk::<MDAT>().ok_or(CORRUPT)?;
    if payload.len() > MAX_PAYLOAD {
        return Err(CORRUPT);
    }
    // Writing the same again and comparing is the strictest check there is, and the shortest.
    let same = *found == shape.head(sequence, start, count) && *found_mdat == mdat(payload.len());
    let (mut bytes, mut end, mut begins) = (0, start, false);
    for (n, mut sample) in table.chunks_exact(shape.width()).enumerate() {
        let duration = if uneven { sample.get_u32() } else { usual };
        end = end.checked_add(u64::from(duration)).ok_or(CORRUPT)?;
        bytes += u64::from(sample.get_u32());
        begins |= n == 0 && sample.get_u32() == SYNC;
    }
    if same && begins && bytes == payload.len() as u64 { Ok(start..end) } else { Err(CORRUPT) }
}

/// What is said once of all samples.
#[derive(Clone, Copy)]
struct Shape {
    /// Whether each sample says how long it lasts.
    uneven: bool,
    /// How long they last otherwise.
    usual: u32,
}

impl Shape {
    fn of(samples: &Samples) -> Self {
        let mut durations = samples.samples.iter().map(|sample| sample.duration);
        let usual = durations.next().unwrap_or(0);
        Self { uneven: durations.any(|duration| duration != usual), usual }
    }

    /// Bytes that are said of each sample.
    const fn width(self) -> usize {
        if self.uneven { 16 } else { 12 }
    }

    /// Version 1, in which offsets are signed; data offset, then of each sample its duration where that is not the usual one, its
    /// size, flags and composition offset.
    const fn flags(self) -> u32 {
        if self.uneven { 0x0100_0f01 } else { 0x0100_0e01 }
    }

    /// A `moof` up to what it says of each sample.
    fn head(self, sequence: u32, start: u64, samples: usize) -> [u8; HEAD] {
        let table = (self.width() * samples) as u32;
        let moof = HEAD as u32 + table;
        let mut head = [0; HEAD];
        let mut out = head.as_mut_slice();
        put_box(&mut out, moof, *b"moof");
        put_box(&mut out, 16, *b"mfhd");
        out.put_u32(0);
        out.put_u32(sequence);
        put_box(&mut out, moof - 24, *b"traf");
        put_box(&mut out, 20, *b"tfhd");
        out.put_u32(0x02_0008); // default-base-is-moof, and the usual duration
        out.put_u32(TRACK);
        out.put_u32(self.usual);
        put_box(&mut out, 20, *b"tfdt");
        out.put_u32(1 << 24); // version 1: 64 bits
        out.put_u64(start);
        put_box(&mut out, 20 + table, *b"trun");
        out.put_u32(self.flags());
        out.put_u32(samples as u32);
        out.put_u32(moof + MDAT as u32);
        head
    }
}

#[cfg(test)]
mod tests;
