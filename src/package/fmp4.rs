//! CMAF audio: the initialization segment, media segments of one `moof` and `mdat` each, and reading those back.
//!
//! To have at hand: ISO/IEC 14496-12 (boxes), 14496-14 (`esds`), 23000-19 (CMAF). The timescale is the sampling rate, so no
//! time is ever rounded; media time 0 is the first sample of the priming, and the edit list moves it before time 0.

use bytes::{Buf, BufMut, Bytes};

use super::{
    adts::{AudioConfig, Corrupt, Frames},
    table::FRAME,
};

/// Bytes of a `moof` before its sample sizes.
const HEAD: usize = 88;

/// Bytes of the header of the `mdat`.
const MDAT: usize = 8;

/// The only track.
const TRACK: u32 = 1;

/// The identity matrix of `mvhd` and `tkhd`.
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// The initialization segment (`ftyp`, `moov`): the same bytes for the same config, always.
pub fn init(config: AudioConfig) -> Bytes {
    let ftyp = boxed(*b"ftyp", &[b"cmfc", &[0; 4], b"iso6cmfc"]);
    let moov = boxed(*b"moov", &[&mvhd(config), &trak(config), &boxed(*b"mvex", &[&trex()])]);
    [ftyp, moov].concat().into()
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

const CORRUPT: Corrupt = Corrupt("not a media segment of this packager");

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

/// The header of an `mdat` of `payload` bytes.
fn mdat(payload: usize) -> [u8; MDAT] {
    let mut header = [0; MDAT];
    put_box(&mut header.as_mut_slice(), (MDAT + payload) as u32, *b"mdat");
    header
}

/// The size and type that begin a box.
fn put_box(out: &mut impl BufMut, size: u32, kind: [u8; 4]) {
    out.put_u32(size);
    out.put_slice(&kind);
}

/// A whole box.
fn boxed(kind: [u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut out = Vec::with_capacity(8 + body.len());
    put_box(&mut out, 8 + body.len() as u32, kind);
    out.put_slice(&body);
    out
}

/// A whole box of 32-bit fields that begins with version 0 and these flags.
fn fields(kind: [u8; 4], flags: u32, fields: &[u32]) -> Vec<u8> {
    boxed(kind, &[&flags.to_be_bytes(), &words(fields)])
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn mvhd(config: AudioConfig) -> Vec<u8> {
    // No dates, timescale, no duration; rate and volume 1; the matrix; then the next track's number.
    let head = words(&[0, 0, 0, config.rate(), 0, 0x1_0000, 0x0100_0000, 0, 0]);
    boxed(*b"mvhd", &[&head, &words(&MATRIX), &[0; 24], &words(&[TRACK + 1])])
}

fn trak(config: AudioConfig) -> Vec<u8> {
    // Enabled, in movie, in preview; no dates, no duration; volume 1; the matrix; no width and height.
    let tkhd = words(&[7, 0, 0, TRACK, 0, 0, 0, 0, 0, 0x0100_0000]);
    let tkhd = boxed(*b"tkhd", &[&tkhd, &words(&MATRIX), &[0; 8]]);
    // One edit from the end of the priming on, of no length: in a fragmented file that is all there is.
    let elst = fields(*b"elst", 0, &[1, 0, u32::from(config.priming()), 0x1_0000]);
    boxed(*b"trak", &[&tkhd, &boxed(*b"edts", &[&elst]), &mdia(config)])
}

fn mdia(config: AudioConfig) -> Vec<u8> {
    let language = 0x55c4_0000; // "und"
    let mdhd = fields(*b"mdhd", 0, &[0, 0, config.rate(), 0, language]);
    let hdlr = boxed(*b"hdlr", &[&[0; 8], b"soun", &[0; 12], b"audio\0"]);
    boxed(*b"mdia", &[&mdhd, &hdlr, &minf(config)])
}

fn minf(config: AudioConfig) -> Vec<u8> {
    let smhd = fields(*b"smhd", 0, &[0]);
    let dref = boxed(*b"dref", &[&words(&[0, 1]), &fields(*b"url ", 1, &[])]);
    let stsd = boxed(*b"stsd", &[&words(&[0, 1]), &mp4a(config)]);
    let stbl = [
        stsd,
        fields(*b"stts", 0, &[0]),
        fields(*b"stsc", 0, &[0]),
        fields(*b"stsz", 0, &[0, 0]),
        fields(*b"stco", 0, &[0]),
    ];
    boxed(*b"minf", &[&smhd, &boxed(*b"dinf", &[&dref]), &boxed(*b"stbl", &[&stbl.concat()])])
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

fn trex() -> Vec<u8> {
    let depends_on_no_other = 0x0200_0000;
    fields(*b"trex", 0, &[TRACK, 1, FRAME as u32, 0, depends_on_no_other])
}

#[cfg(test)]
mod tests;
