//! The `moof` of a segment: one track, one run of samples.
//!
//! To have at hand: ISO/IEC 14496-12 (8.8.4 to 8.8.12).

use bytes::{Buf, BufMut, Bytes};

use super::{CORRUPT, TRACK, put_box};
use crate::package::adts::Corrupt;

/// `trun`: each sample says how long it lasts.
pub(super) const DURATION: u32 = 0x100;

/// `trun`: each sample says its size.
pub(super) const SIZE: u32 = 0x200;

/// `trun`: each sample says its flags.
pub(super) const FLAGS: u32 = 0x400;

/// `trun`: each sample says how much later than decoded it is shown, which may be earlier.
pub(super) const OFFSET: u32 = 0x800;

/// Bytes of the header of the `mdat`.
const MDAT: usize = 8;

/// What a `moof` says, up to what it says of each sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moof {
    /// Its place among all, from 1.
    pub(super) sequence: u32,
    /// The tick at which the first sample is decoded.
    pub(super) start: u64,
    /// Ticks of a sample of which nothing else is said; None where they are those of the initialization segment.
    pub(super) usual: Option<u32>,
    /// What is said of each sample: [`DURATION`], [`SIZE`], [`FLAGS`], [`OFFSET`], in this order.
    pub(super) said: u32,
    /// How many samples.
    pub(super) samples: usize,
}

/// A segment taken apart: its `moof`, what that says of each sample, and the samples.
pub(super) struct Parts<'a> {
    pub(super) moof: Moof,
    pub(super) table: &'a [u8],
    pub(super) payload: &'a [u8],
}

impl Moof {
    /// The segment of these samples: `table` is what is said of each, one after the other.
    pub(super) fn segment(&self, table: impl FnOnce(&mut Vec<u8>), payload: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(self.size(payload.len()));
        self.put(&mut out);
        table(&mut out);
        put_box(&mut out, (MDAT + payload.len()) as u32, *b"mdat");
        out.put_slice(payload);
        out.into()
    }

    /// Bytes of a segment with so many bytes of payload.
    pub(super) const fn size(&self, payload: usize) -> usize {
        self.head() + self.width() * self.samples + MDAT + payload
    }

    /// Takes a segment apart that [`Moof::segment`] made of samples of which so much is said. Every box is checked, and the
    /// length of all: that tells a whole file from one that a crash cut short.
    ///
    /// # Errors
    /// For anything else.
    pub(super) fn split(segment: &[u8]) -> Result<Parts<'_>, Corrupt> {
        let moof = Self::read(segment).ok_or(CORRUPT)?;
        let (head, rest) = segment.split_at_checked(moof.head()).ok_or(CORRUPT)?;
        let (table, rest) = moof
            .width()
            .checked_mul(moof.samples)
            .filter(|&bytes| bytes > 0)
            .and_then(|bytes| rest.split_at_checked(bytes))
            .ok_or(CORRUPT)?;
        let (mdat, payload) = rest.split_at_checked(MDAT).ok_or(CORRUPT)?;
        // Writing the same again and comparing is the strictest check there is, and the shortest.
        let mut same = Vec::with_capacity(head.len() + MDAT);
        moof.put(&mut same);
        let mdat_size = u32::try_from(MDAT + payload.len()).map_err(|_| CORRUPT)?;
        put_box(&mut same, mdat_size, *b"mdat");
        if same.strip_prefix(head) != Some(mdat) {
            return Err(CORRUPT);
        }
        Ok(Parts { moof, table, payload })
    }

    /// The fields, wherever they would lie.
    fn read(segment: &[u8]) -> Option<Self> {
        let mut sequence = segment.get(20..)?;
        let mut tfhd = segment.get(40..)?;
        let has_usual = tfhd.try_get_u32().ok()? & 0x08 != 0;
        let mut usual = tfhd.get(4..)?;
        let after = if has_usual { 52 } else { 48 };
        let mut start = segment.get(after + 12..)?;
        let mut trun = segment.get(after + 28..)?;
        Some(Self {
            sequence: sequence.try_get_u32().ok()?,
            start: start.try_get_u64().ok()?,
            usual: if has_usual { Some(usual.try_get_u32().ok()?) } else { None },
            said: trun.try_get_u32().ok()? & (DURATION | SIZE | FLAGS | OFFSET),
            samples: trun.try_get_u32().ok()? as usize,
        })
    }

    /// Bytes that are said of each sample.
    const fn width(&self) -> usize {
        4 * self.said.count_ones() as usize
    }

    /// Bytes before that.
    const fn head(&self) -> usize {
        if self.usual.is_some() { 92 } else { 88 }
    }

    fn put(&self, out: &mut Vec<u8>) {
        let table = (self.width() * self.samples) as u32;
        let moof = self.head() as u32 + table;
        put_box(out, moof, *b"moof");
        put_box(out, 16, *b"mfhd");
        out.put_u32(0);
        out.put_u32(self.sequence);
        put_box(out, moof - 24, *b"traf");
        let default_base_is_moof = 0x02_0000;
        match self.usual {
            None => {
                put_box(out, 16, *b"tfhd");
                out.put_u32(default_base_is_moof);
                out.put_u32(TRACK);
            }
            Some(usual) => {
                put_box(out, 20, *b"tfhd");
                out.put_u32(default_base_is_moof | 0x08);
                out.put_u32(TRACK);
                out.put_u32(usual);
            }
        }
        put_box(out, 20, *b"tfdt");
        out.put_u32(1 << 24); // version 1: 64 bits
        out.put_u64(self.start);
        put_box(out, 20 + table, *b"trun");
        // Version 1, in which offsets are signed; the data offset is present.
        let version = if self.said & OFFSET == 0 { 0 } else { 1 << 24 };
        out.put_u32(version | self.said | 1);
        out.put_u32(self.samples as u32);
        out.put_u32(moof + MDAT as u32);
    }
}
