//! Native FLAC (RFC 9639): told by STREAMINFO if it holds a total, else by the last frame.

use super::{
    Codec, Container, DENSEST, Input, Splice, Stop,
    frames::span,
    input::{be16, be32, be64},
    media::{Audio, Form, Frames, Media},
    unsupported,
};

/// Bytes at the end of the file in which the last frame is looked for.
const TAIL: u64 = 256 * 1024;

/// Places there that may be tried: each costs a checksum to the end of the file.
const TRIES: usize = 32;

/// Metadata blocks that are looked at.
const BLOCKS: usize = 1_000;

/// The longest frame header in bytes.
pub(super) const HEAD: usize = 16;

/// The STREAMINFO block (RFC 9639 section 8.2).
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamInfo {
    /// The size of all blocks but the last, if it is fixed.
    pub(super) block: u16,
    /// Whether it is.
    pub(super) fixed: bool,
    /// Bytes of the largest frame; 0 where the encoder did not know.
    pub(super) largest: u32,
    /// Bits of a sample.
    pub(super) bits: u8,
    /// Samples a second.
    pub(super) rate: u32,
    /// Channels, 1 to 8.
    pub(super) channels: u16,
    /// Samples per channel; 0 where the encoder did not know.
    pub(super) total: u64,
}

impl StreamInfo {
    /// The block from its 34 bytes, without its header.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let packed = be64(body, 10)?;
        let blocks = be32(body, 0)?;
        let block = (blocks & 0xffff) as u16;
        Some(Self {
            block,
            fixed: blocks >> 16 == u32::from(block) && block > 0,
            largest: be32(body, 6)? & 0xff_ffff,
            bits: (packed >> 36 & 31) as u8 + 1,
            rate: (packed >> 44) as u32,
            channels: (packed >> 41 & 7) as u16 + 1,
            total: packed & 0xf_ffff_ffff,
        })
    }

    /// What can be copied of a stream with this header.
    pub(super) fn form(&self) -> Form {
        Form::Flac { bits: self.bits, block: self.block }
    }

    /// The frames of a stream of so many samples in a file of `length` bytes, by what the header says of the largest; None
    /// where it says nothing, or blocks are not of one size.
    fn frames(&self, samples: u64, length: u64) -> Option<Frames> {
        if !self.fixed || self.largest == 0 || samples == 0 {
            return None;
        }
        let (block, largest) = (u64::from(self.block), u64::from(self.largest));
        let count = samples.min(length.saturating_mul(DENSEST)).div_ceil(block);
        let densest = length.min(largest * span(self.rate, block));
        let form = self.form();
        Some(Frames { form, count, samples: block, priming: 0, bytes: length, densest, largest })
    }
}

/// What the FLAC stream whose `fLaC` is at `start` holds.
pub(super) fn media(input: &Input<'_>, start: u64) -> Result<Media, Stop> {
    let undetermined = Stop::Undetermined(Container::Flac);
    let head = input.bytes(start, 42)?;
    let info = match head.get(4..) {
        Some(block) if matches!(block.first(), Some(0 | 0x80)) => {
            StreamInfo::read(block.get(4..).unwrap_or_default())
        }
        _ => None,
    };
    let info = info.ok_or(undetermined.clone())?;
    if !has_frames(input, start)? {
        return Err(unsupported("FLAC without any samples"));
    }
    let samples = match info.total {
        0 => last_sample(input, &info)?.ok_or(undetermined)?,
        total => total,
    };
    let frames = input.total().and_then(|length| info.frames(samples, length));
    let audio = Audio::new(Codec::Flac, info.rate, info.channels, samples, Splice::Seek);
    Ok(Media::sound(Container::Flac, Audio { frames, ..audio }))
}

/// Whether anything comes behind the metadata blocks (RFC 9639 section 8).
fn has_frames(input: &Input<'_>, start: u64) -> Result<bool, Stop> {
    let mut at = start.saturating_add(4);
    for _ in 0..BLOCKS {
        let Some(head) = be32(&input.some(at, 4)?, 0) else {
            return Ok(false);
        };
        at = at.saturating_add(4 + u64::from(head & 0xff_ffff));
        if head >> 31 == 1 {
            break;
        }
    }
    Ok(input.total().is_none_or(|total| at < total))
}

/// The end of the last frame in samples; None if no frame ends the file.
fn last_sample(input: &Input<'_>, info: &StreamInfo) -> Result<Option<u64>, Stop> {
    let end = input.end()?;
    let tail = input.some(end.saturating_sub(TAIL), TAIL as usize)?;
    let frames = (0..tail.len()).rev().filter_map(|at| {
        let bytes = tail.get(at..)?;
        let (start, size) = frame(bytes, info.block)?;
        Some((bytes, start + size))
    });
    Ok(frames.take(TRIES).find(|(bytes, _)| crc16(bytes) == 0).map(|(_, samples)| samples))
}

/// Start and size in samples of the frame that starts here; None if none does (RFC 9639 section 9.1).
///
/// `block` is the size of all blocks but the last, where that is fixed. A header is at most [`HEAD`] bytes.
pub fn frame(frame: &[u8], block: u16) -> Option<(u64, u64)> {
    let &[0xff, b1 @ (0xf8 | 0xf9), b2, b3, ..] = frame else {
        return None;
    };
    let (number, length) = coded(frame.get(4..)?)?;
    let mut at = 4 + length;
    let size = match b2 >> 4 {
        0 => return None,
        1 => 192,
        n @ 2..=5 => 144 << n,
        6 => {
            at += 1;
            u64::from(*frame.get(at - 1)?) + 1
        }
        7 => {
            at += 2;
            u64::from(be16(frame, at - 2)?) + 1
        }
        n => 1 << n,
    };
    at += match b2 & 15 {
        12 => 1,
        13 | 14 => 2,
        15 => return None,
        _ => 0,
    };
    if b3 & 1 != 0 || crc8(frame.get(..=at)?) != 0 {
        return None;
    }
    let start = if b1 == 0xf9 { number } else { number * u64::from(block) };
    Some((start, size))
}

/// The coded number and its length in bytes (as UTF-8, but up to 36 bits).
fn coded(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = match first.leading_ones() as usize {
        0 => 1,
        n @ 2..=7 => n,
        _ => return None,
    };
    let head = u64::from(first) & (0x7f >> (length - usize::from(length == 1)));
    let rest = bytes.get(1..length)?.iter();
    Some((rest.fold(head, |number, byte| number << 6 | u64::from(byte & 0x3f)), length))
}

/// CRC-8 of a frame header; 0 over header and checksum.
pub fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| crc << 1 ^ if crc & 0x80 == 0 { 0 } else { 0x07 })
    })
}

/// CRC-16 of a frame; 0 over frame and checksum.
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            crc << 1 ^ if crc & 0x8000 == 0 { 0 } else { 0x8005 }
        })
    })
}
