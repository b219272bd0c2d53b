//! CMAF audio: the initialization segment, media segments, and reading those back.
//!
//! To have at hand: ISO/IEC 14496-14 (`esds`), "Encapsulation of Opus in ISO Base Media File Format" (`dOps`), "Encapsulation of
//! FLAC in ISO Base Media File Format" (`dfLa`). The timescale is the sampling rate, so no time is ever rounded; media time 0
//! is the first sample of the priming, and the edit list moves it before time 0.

use std::{iter, ops::Range};

use bytes::{Buf, BufMut, Bytes};

use super::{
    CORRUPT, Movie, boxed, fields,
    moof::{Moof, Parts, SIZE},
    samples::{self, SYNC, Samples},
    words,
};
use crate::package::{
    adts::{AudioConfig, Corrupt, Frames},
    codec::{Codec, Flac, Opus},
    table::FRAME,
};

/// The initialization segment (`ftyp`, `moov`): the same bytes for the same codec, always.
pub fn init(codec: impl Into<Codec>) -> Bytes {
    let codec = codec.into();
    let entry = match &codec {
        Codec::Aac(config) => mp4a(*config),
        Codec::Opus(opus) => opus_entry(opus),
        Codec::Flac(flac) => flac_entry(flac),
    };
    let has_priming = !matches!(codec, Codec::Flac(_));
    let movie = Movie {
        timescale: codec.rate(),
        handler: *b"soun",
        name: b"audio\0",
        volume: 0x0100,
        size: [0; 2],
        media_header: fields(*b"smhd", 0, &[0]),
        edit: has_priming.then(|| u32::from(codec.priming())),
        entry: &entry,
        duration: codec.packet() as u32,
        flags: SYNC,
    };
    movie.init()
}

/// A media segment of AAC that begins with frame `first_frame` of the track, counted from the priming.
///
/// `sequence` counts segments from 1. A segment can be decoded alone.
pub fn segment(sequence: u32, first_frame: u64, frames: &Frames) -> Bytes {
    let sizes = |out: &mut Vec<u8>| {
        for &size in frames.sizes() {
            out.put_u32(u32::from(size));
        }
    };
    moof(sequence, first_frame, frames.len()).segment(sizes, frames.payload())
}

/// Bytes of a segment of so many frames of AAC with so many bytes of payload.
pub const fn size(frames: usize, payload: usize) -> usize {
    moof(0, 0, frames).size(payload)
}

/// A media segment of packets of any codec, the first of which is decoded at tick `start`.
///
/// `sequence` counts segments from 1. A segment can be decoded alone.
pub fn packets(sequence: u32, start: u64, packets: &Samples) -> Bytes {
    samples::segment(sequence, start, packets, SIZE)
}

/// Bytes of a segment of so many packets with so many bytes of payload, or a little more.
pub const fn packets_size(packets: usize, payload: usize) -> usize {
    samples::size(packets, payload, SIZE)
}

/// The ticks that a segment covers that [`packets`] made, without copying: every box and every size is checked against the
/// length, which tells a whole file from one that a crash cut short.
///
/// # Errors
/// For anything else.
pub fn ticks(segment: &[u8]) -> Result<Range<u64>, Corrupt> {
    samples::ticks(segment, SIZE)
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
    let Parts { moof: found, table, payload } = Moof::split(segment)?;
    let first_frame = found.start / FRAME;
    if found != moof(found.sequence, first_frame, found.samples) {
        return Err(CORRUPT);
    }
    Ok((first_frame, table.chunks_exact(4).map(|mut size| size.get_u32() as usize), payload))
}

/// What begins a segment of AAC: durations and flags are those of `trex`.
const fn moof(sequence: u32, first_frame: u64, samples: usize) -> Moof {
    Moof { sequence, start: first_frame * FRAME, usual: None, said: SIZE, samples }
}

/// `OpusSampleEntry` and its `OpusSpecificBox`, big-endian unlike the header that it is made of.
fn opus_entry(opus: &Opus) -> Vec<u8> {
    let channels = opus.channels();
    let mut config = vec![0, channels];
    config.put_u16(opus.skip());
    config.put_u32(Opus::RATE);
    config.put_i16(opus.gain());
    config.put_u8(0); // channel mapping family
    boxed(*b"Opus", &[&entry(channels, 16, Opus::RATE), &boxed(*b"dOps", &[&config])])
}

/// `FLACSampleEntry` and its `FLACSpecificBox`.
fn flac_entry(flac: &Flac) -> Vec<u8> {
    let info = flac.stream_info();
    let last_block = 0x8000_0000;
    let config = boxed(*b"dfLa", &[&words(&[0, last_block | info.len() as u32]), &info]);
    // A rate that 16 bits do not hold stands for its half or quarter; the true one is in the box.
    let halves = iter::successors(Some(flac.rate()), |rate| Some(rate / 2));
    let rate = halves.into_iter().find(|&rate| rate < 1 << 16).unwrap_or(0);
    boxed(*b"fLaC", &[&entry(flac.channels(), flac.bits(), rate), &config])
}

/// What all audio sample entries begin with.
fn entry(channels: u8, bits: u8, rate: u32) -> Vec<u8> {
    // 16.16 bits; above 65535 Hz only the codec's own box can say it.
    let rate = if rate < 1 << 16 { rate << 16 } else { 0 };
    let data_reference = 1;
    let size = u32::from(channels) << 16 | u32::from(bits);
    words(&[0, data_reference, 0, 0, size, 0, rate])
}

fn mp4a(config: AudioConfig) -> Vec<u8> {
    boxed(*b"mp4a", &[&entry(config.channels(), 16, config.rate()), &esds(config)])
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
