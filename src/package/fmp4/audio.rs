//! CMAF audio: the initialization segment, media segments of AAC frames, and reading those back.
//!
//! To have at hand: ISO/IEC 14496-14 (`esds`). The timescale is the sampling rate, so no time is ever rounded; media time 0
//! is the first sample of the priming, and the edit list moves it before time 0.

use bytes::{Buf, BufMut, Bytes};

use super::{CORRUPT, MDAT, Movie, TRACK, boxed, fields, mdat, put_box, words};
use crate::package::{
    adts::{AudioConfig, Corrupt, Frames},
    table::FRAME,
};

/// Bytes of a `moof` before its sample sizes.
const HEAD: usize = 88;

/// The initialization segment (`ftyp`, `moov`): the same bytes for the same config, always.
pub fn init(config: AudioConfig) -> Bytes {
    let depends_on_no_other = 0x0200_0000;
    let movie = Movie {
        timescale: config.rate(),
        handler: *b"soun",
        name: b"audio\0",
        volume: 0x0100,
        size: [0; 2],
        media_header: fields(*b"smhd", 0, &[0]),
        edit: Some(u32::from(config.priming())),
        entry: &mp4a(config),
        duration: FRAME as u32,
        flags: depends_on_no_other,
    };
    movie.init()
}

/// A media segment that begins with frame `first_frame` of the track, counted from the priming.
///
/// `sequence` counts segments from 1. A segment can be decoded alone.
pub fn segment(sequence: u32, first_frame: u64, frames: &Frames) -> Bytes {
    let mut out = Vec::with_capacity(size(frames.len(), frames.payload().len()));
    out.put_slice(&head(sequence, first_frame, frames.len()));
    for &size in frames.sizes() {
        out.put_u32(u32::from(size));
    }
    out.put_slice(&mdat(frames.payload().len()));
    out.put_slice(frames.payload());
    out.into()
}

/// Bytes of a segment of so many frames with so many bytes of payload.
pub const fn size(frames: usize, payload: usize) -> usize {
    HEAD + 4 * frames + MDAT + payload
}

/// The first frame's number and the frames of a segment that [`segment`] made; anything else is an error.
pub fn read(segment: &[u8]) -> Result<(u64, Frames), Corrupt> {
    let (first_frame, sizes, mut payload) = parts(segment)?;
    let mut frames = Frames::default();
    for size in sizes {
        let (frame, rest) = payload.split_at_checked(size).ok_or(CORRUPT)?;
        frames.push(frame)?;
        payload = rest;
    }
    if payload.is_empty() { Ok((first_frame, frames)) } else { Err(CORRUPT) }
}

/// The first frame's number and the number of frames of a segment that [`segment`] made, without copying: every box and
/// every size is checked against the length, which tells a whole file from one that a crash cut short.
pub fn frame_count(segment: &[u8]) -> Result<(u64, usize), Corrupt> {
    let (first_frame, sizes, payload) = parts(segment)?;
    let (mut count, mut total) = (0, 0usize);
    for size in sizes {
        count += 1;
        total = total.saturating_add(size);
    }
    if total == payload.len() { Ok((first_frame, count)) } else { Err(CORRUPT) }
}

/// First frame, sizes and payload of a segment whose boxes are exactly those that [`segment`] writes.
fn parts(segment: &[u8]) -> Result<(u64, impl Iterator<Item = usize>, &[u8]), Corrupt> {
    let (found, rest) = segment.split_first_chunk::<HEAD>().ok_or(CORRUPT)?;
    let sequence = (&found[20..24]).get_u32();
    let decode_time = (&found[60..68]).get_u64();
    let count = (&found[80..84]).get_u32() as usize;

    let (sizes, rest) = count
        .checked_mul(4)
        .and_then(|bytes| rest.split_at_checked(bytes))
        .filter(|(sizes, _)| !sizes.is_empty())
        .ok_or(CORRUPT)?;
    let (found_mdat, payload) = rest.split_first_chunk::<MDAT>().ok_or(CORRUPT)?;
    let first_frame = decode_time / FRAME;

    // Writing the same again and comparing is the strictest check there is, and the shortest.
    let same = *found == head(sequence, first_frame, count) && *found_mdat == mdat(payload.len());
    if !same {
        return Err(CORRUPT);
    }
    Ok((first_frame, sizes.chunks_exact(4).map(|mut size| size.get_u32() as usize), payload))
}

/// A `moof` up to its sample sizes. Durations and flags are those of `trex`.
fn head(sequence: u32, first_frame: u64, frames: usize) -> [u8; HEAD] {
    let sizes = 4 * frames as u32;
    let moof = HEAD as u32 + sizes;
    let mut head = [0; HEAD];
    let mut out = head.as_mut_slice();
    put_box(&mut out, moof, *b"moof");
    put_box(&mut out, 16, *b"mfhd");
    out.put_u32(0);
    out.put_u32(sequence);
    put_box(&mut out, moof - 24, *b"traf");
    put_box(&mut out, 16, *b"tfhd");
    out.put_u32(0x02_0000); // default-base-is-moof
    out.put_u32(TRACK);
    put_box(&mut out, 20, *b"tfdt");
    out.put_u32(1 << 24); // version 1: 64 bits
    out.put_u64(first_frame * FRAME);
    put_box(&mut out, 20 + sizes, *b"trun");
    out.put_u32(0x201); // data offset and sample sizes are present
    out.put_u32(frames as u32);
    out.put_u32(moof + MDAT as u32);
    head
}

fn mp4a(config: AudioConfig) -> Vec<u8> {
    let channels = u32::from(config.channels());
    // 16.16 bits; above 65535 Hz only the config below can say it.
    let rate = if config.rate() < 1 << 16 { config.rate() << 16 } else { 0 };
    let data_reference = 1;
    let entry = words(&[0, data_reference, 0, 0, channels << 16 | 16, 0, rate]);
    boxed(*b"mp4a", &[&entry, &esds(config)])
}

/// The elementary stream descriptor (ISO/IEC 14496-1, 7.2.6): MPEG-4 audio, bit rates unknown.
fn esds(config: AudioConfig) -> Vec<u8> {
    let specific = descriptor(5, &[&config.audio_specific_config()]);
    let decoder = descriptor(4, &[&[0x40, 0x15], &[0; 11], &specific]);
    let stream = descriptor(3, &[&[0; 3], &decoder, &descriptor(6, &[&[2]])]);
    boxed(*b"esds", &[&[0; 4], &stream])
}

/// A descriptor whose body is shorter than 128 bytes.
fn descriptor(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&[tag, body.len() as u8], body.as_slice()].concat()
}

#[cfg(test)]
mod tests;
