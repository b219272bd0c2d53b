//! AAC in ADTS (ISO/IEC 13818-7 section 6.2): told by the end, by a walk over all headers.

use super::{
    Codec, Container, Input, Splice, Stop, aac,
    frames::Weights,
    input::{Scan, bits},
    media::{Audio, Form, Media},
};

/// Frames in a row that make audio of what could be noise.
const CHAIN: usize = 3;

/// What a header says, the length of its frame apart, has to stay the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    object: u8,
    rate: u32,
    channels: u16,
    blocks: u32,
}

/// The header in the first seven bytes, and the bytes of its frame.
fn header(bytes: &[u8]) -> Option<(Header, u64)> {
    let field = |at, count| bits(bytes, at, count);
    if field(0, 12)? != 0xfff || field(13, 2)? != 0 {
        return None;
    }
    let size = u64::from(field(30, 13)?);
    let header = Header {
        object: field(16, 2)? as u8 + 1,
        rate: aac::rate(field(18, 4)?)?,
        channels: aac::channels(field(23, 3)?)?,
        blocks: field(54, 2)? + 1,
    };
    (size >= 7).then_some((header, size))
}

/// Bytes, samples and rate of the frame that begins with these bytes.
pub(super) fn frame(bytes: &[u8]) -> Option<(u64, u64, u32)> {
    let (header, size) = header(bytes)?;
    Some((size, aac::FRAME * u64::from(header.blocks), header.rate))
}

/// Whether ADTS frames follow each other from `at` on: three, fewer where the file ends with them.
pub(super) fn begins(input: &Input<'_>, mut at: u64) -> Result<bool, Stop> {
    for n in 0..CHAIN {
        let head = input.some(at, 7)?;
        if n > 0 && input.total() == Some(at) {
            return Ok(true);
        }
        let Some((_, size)) = header(&head) else {
            return Ok(false);
        };
        at += size;
    }
    Ok(true)
}

/// What the ADTS stream at `start` holds.
pub(super) fn media(input: &Input<'_>, start: u64) -> Result<Media, Stop> {
    let undetermined = Stop::Undetermined(Container::Adts);
    let end = input.end()?;
    let mut scan = Scan::new(*input);
    let Some((first, _)) = header(scan.some(start, 7)?) else {
        return Err(undetermined);
    };
    // HE-AAC hides in streams of low rate, and only decoding finds it.
    if first.blocks != 1 || first.object != 2 || first.rate <= aac::IMPLICIT {
        return Err(undetermined);
    }
    let mut frames = 0;
    let mut weights = Weights::new(first.rate);
    let mut at = start;
    while at < end {
        let head = scan.some(at, 7)?;
        match header(head) {
            Some((header, size)) if header == first && at + size <= end => {
                // A checksum stands behind the header, and is not copied.
                let header = if bits(head, 15, 1) == Some(0) { 9 } else { 7 };
                weights.push(size.saturating_sub(header), aac::FRAME);
                at += size;
            }
            _ => return Err(undetermined),
        }
        frames += 1;
    }
    let (codec, samples) = (Codec::Aac { object: first.object }, frames * aac::FRAME);
    let audio = Audio::new(codec, first.rate, first.channels, samples, Splice::Seek);
    Ok(Media::sound(Container::Adts, Audio { frames: weights.frames(Form::Aac, 0), ..audio }))
}
