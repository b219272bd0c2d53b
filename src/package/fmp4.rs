//! CMAF: initialization segments, media segments of one `moof` and `mdat` each, and reading those back.
//!
//! To have at hand: ISO/IEC 14496-12 (boxes), 23000-19 (CMAF). Here and in [`samples`] is what [`audio`] and [`video`] share.

pub mod audio;
mod moof;
pub mod samples;
pub mod video;

use bytes::{BufMut, Bytes};

use super::adts::Corrupt;

/// The only track.
const TRACK: u32 = 1;

/// The identity matrix of `mvhd` and `tkhd`.
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

const CORRUPT: Corrupt = Corrupt("not a media segment of this packager");

/// What an initialization segment says of its track.
struct Movie<'a> {
    /// Ticks a second.
    timescale: u32,
    /// `soun` or `vide`.
    handler: [u8; 4],
    /// The handler's name, with its 0.
    name: &'a [u8],
    /// 8.8 bits.
    volume: u16,
    /// Pixels from left to right and from top to bottom, below 65,536.
    size: [u32; 2],
    /// `smhd` or `vmhd`.
    media_header: Vec<u8>,
    /// The media time that is shown at 0, where that is not 0.
    edit: Option<u32>,
    /// The sample entry, a whole box.
    entry: &'a [u8],
    /// Ticks of a sample of which nothing else is said.
    duration: u32,
    /// Flags of a sample of which nothing else is said.
    flags: u32,
}

impl Movie<'_> {
    fn init(&self) -> Bytes {
        let ftyp = boxed(*b"ftyp", &[b"cmfc", &[0; 4], b"iso6cmfc"]);
        let trex = fields(*b"trex", 0, &[TRACK, 1, self.duration, 0, self.flags]);
        let moov = boxed(*b"moov", &[&self.mvhd(), &self.trak(), &boxed(*b"mvex", &[&trex])]);
        [ftyp, moov].concat().into()
    }

    fn mvhd(&self) -> Vec<u8> {
        // No dates, timescale, no duration; rate and volume 1; the matrix; then the next track's number.
        let head = words(&[0, 0, 0, self.timescale, 0, 0x1_0000, 0x0100_0000, 0, 0]);
        boxed(*b"mvhd", &[&head, &words(&MATRIX), &[0; 24], &words(&[TRACK + 1])])
    }

    fn trak(&self) -> Vec<u8> {
        // Enabled, in movie, in preview; no dates, no duration; volume; the matrix; width and height in 16.16 bits.
        let volume = u32::from(self.volume) << 16;
        let tkhd = words(&[7, 0, 0, TRACK, 0, 0, 0, 0, 0, volume]);
        let size = self.size.map(|pixels| pixels << 16);
        let tkhd = boxed(*b"tkhd", &[&tkhd, &words(&MATRIX), &words(&size)]);
        // One edit of no length: in a fragmented file that is all there is.
        let edts = self.edit.map(|media_time| {
            let elst = fields(*b"elst", 0, &[1, 0, media_time, 0x1_0000]);
            boxed(*b"edts", &[&elst])
        });
        boxed(*b"trak", &[&tkhd, &edts.unwrap_or_default(), &self.mdia()])
    }

    fn mdia(&self) -> Vec<u8> {
        let language = 0x55c4_0000; // "und"
        let mdhd = fields(*b"mdhd", 0, &[0, 0, self.timescale, 0, language]);
        let hdlr = boxed(*b"hdlr", &[&[0; 8], &self.handler, &[0; 12], self.name]);
        boxed(*b"mdia", &[&mdhd, &hdlr, &self.minf()])
    }

    fn minf(&self) -> Vec<u8> {
        let dref = boxed(*b"dref", &[&words(&[0, 1]), &fields(*b"url ", 1, &[])]);
        let dinf = boxed(*b"dinf", &[&dref]);
        let stbl = [
            boxed(*b"stsd", &[&words(&[0, 1]), self.entry]),
            fields(*b"stts", 0, &[0]),
            fields(*b"stsc", 0, &[0]),
            fields(*b"stsz", 0, &[0, 0]),
            fields(*b"stco", 0, &[0]),
        ];
        let stbl = boxed(*b"stbl", &[&stbl.concat()]);
        boxed(*b"minf", &[&self.media_header, &dinf, &stbl])
    }
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
