//! Fragments: the samples of a fragmented MP4 of one track as ffmpeg writes it to a pipe.
//!
//! To have at hand: ISO/IEC 14496-12 (`moof` 8.8.4 to 8.8.12). Strict: what ffmpeg does not write is not taken, whatever a
//! player would make of it.

use std::collections::VecDeque;

use bytes::Buf;

use super::adts::Corrupt;

/// The most bytes of a box that is not media data.
const MAX_BOX: usize = 1 << 20;

/// The most bytes of the media data of one fragment.
const MAX_DATA: u64 = 1 << 28;

/// The most bytes of one sample.
const MAX_SAMPLE: u32 = 1 << 25;

/// The most samples of one fragment.
const MAX_SAMPLES: usize = 1 << 16;

/// A sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample<'a> {
    /// Its decoding time in ticks.
    pub time: u64,
    /// Ticks that it lasts, as ffmpeg has it.
    pub duration: u32,
    /// Ticks from its decoding time to when it is shown.
    pub offset: i32,
    /// Whether it is a keyframe.
    pub sync: bool,
    /// Its bytes.
    pub data: &'a [u8],
}

/// What a fragment says of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    time: u64,
    duration: u32,
    size: u32,
    flags: u32,
    offset: i32,
}

/// The track, once its `moov` has been read.
#[derive(Debug)]
struct Track {
    timescale: u32,
    entry: Vec<u8>,
    usual: Told,
}

/// Reads a stream that arrives in arbitrary chunks.
///
/// Holds what was pushed and not yet taken, and never more than twice that, beside a list of the current fragment's samples.
#[derive(Debug, Default)]
pub struct Fragments {
    buffer: Vec<u8>,
    /// Bytes at the front of the buffer that are taken already.
    done: usize,
    track: Option<Track>,
    /// Samples whose data comes next.
    told: VecDeque<Told>,
    /// Whether the box of their data has begun.
    open: bool,
}

impl Fragments {
    /// Takes the next bytes of the stream. Call [`Fragments::sample`] until it has none left before pushing more.
    pub fn push(&mut self, bytes: &[u8]) {
        // Moving only when no more is kept than goes makes all moves together linear, even if nobody reads for a while.
        if self.done * 2 >= self.buffer.len() {
            self.buffer.drain(..self.done);
            self.done = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The track's sample entry, a whole box, once [`Fragments::sample`] has come by it.
    pub fn entry(&self) -> Option<&[u8]> {
        self.track.as_ref().map(|track| track.entry.as_slice())
    }

    /// The track's ticks a second, likewise.
    pub fn timescale(&self) -> Option<u32> {
        self.track.as_ref().map(|track| track.timescale)
    }

    /// Bytes that have come and belong to nothing whole; anything but 0 at the stream's end means that it broke off.
    pub fn rest(&self) -> usize {
        self.pending().len()
    }

    /// The next sample, or None until more is pushed. An error stays.
    ///
    /// # Errors
    /// For anything that is not a `moov` of one track and then pairs of `moof` and `mdat`.
    pub fn sample(&mut self) -> Result<Option<Sample<'_>>, Corrupt> {
        while !self.open {
            if !self.advance()? {
                return Ok(None);
            }
        }
        let Some(&told) = self.told.front() else {
            return Ok(None);
        };
        let (start, size) = (self.done, told.size as usize);
        if self.pending().len() < size {
            return Ok(None);
        }
        self.told.pop_front();
        self.open = !self.told.is_empty();
        self.done += size;
        let data = self.buffer.get(start..start + size).unwrap_or_default();
        let sync = told.flags & NOT_SYNC == 0;
        let Told { time, duration, offset, .. } = told;
        Ok(Some(Sample { time, duration, offset, sync, data }))
    }

    /// Takes one box, or the header of the media data; false until more is pushed.
    fn advance(&mut self) -> Result<bool, Corrupt> {
        let Some(header) = self.pending().first_chunk::<8>() else {
            return Ok(false);
        };
        let (size, kind) = split(*header);
        if &kind == b"mdat" {
            return self.open(size).map(|()| true);
        }
        if !(8..=MAX_BOX).contains(&(size as usize)) {
            return Err(Corrupt("a box of an impossible size"));
        }
        let Some(body) = self.pending().get(8..size as usize) else {
            return Ok(false);
        };
        match &kind {
            b"moov" if self.track.is_none() => self.track = Some(moov(body)?),
            b"moof" if self.told.is_empty() => {
                let track = self.track.as_ref().ok_or(Corrupt("a moof before the moov"))?;
                self.told = moof(body, track.usual)?;
            }
            b"ftyp" | b"styp" | b"free" | b"sidx" | b"prft" | b"mfra" => {}
            _ => return Err(Corrupt("a box that does not belong where it is")),
        }
        self.done += size as usize;
        Ok(true)
    }

    /// Enters the media data, which has to be that of the samples told of.
    fn open(&mut self, size: u32) -> Result<(), Corrupt> {
        let told: u64 = self.told.iter().map(|told| u64::from(told.size)).sum();
        if self.told.is_empty() || told + 8 != u64::from(size) {
            return Err(Corrupt("an mdat that is not its moof's"));
        }
        self.open = true;
        self.done += 8;
        Ok(())
    }

    fn pending(&self) -> &[u8] {
        self.buffer.get(self.done..).unwrap_or_default()
    }
}

/// `sample_is_non_sync_sample`.
const NOT_SYNC: u32 = 0x1_0000;

fn split(header: [u8; 8]) -> (u32, [u8; 4]) {
    let [a, b, c, d, kind @ ..] = header;
    (u32::from_be_bytes([a, b, c, d]), kind)
}

/// The bodies of the boxes that lie one after the other in `bytes`, with their types; an error ends it.
pub(super) fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = Result<([u8; 4], &[u8]), Corrupt>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let found = bytes.first_chunk().map(|header| split(*header)).and_then(|(size, kind)| {
            let (whole, rest) = bytes.split_at_checked(size as usize)?;
            Some((kind, whole.get(8..)?, rest))
        });
        let Some((kind, body, rest)) = found else {
            bytes = &[];
            return Some(Err(Corrupt("a box that is longer than what holds it")));
        };
        bytes = rest;
        Some(Ok((kind, body)))
    })
}

/// The body of the only box of this type.
fn only(bytes: &[u8], kind: [u8; 4]) -> Result<&[u8], Corrupt> {
    let mut only = None;
    for found in boxes(bytes) {
        let (found, body) = found?;
        if found == kind && only.replace(body).is_some() {
            return Err(Corrupt("two boxes where one belongs"));
        }
    }
    only.ok_or(Corrupt("a box is missing"))
}

const SHORT: Corrupt = Corrupt("a box that is too short");

/// 32 bits, at most of a version and flags: what comes next.
fn word(bytes: &mut &[u8]) -> Result<u32, Corrupt> {
    bytes.try_get_u32().map_err(|_| SHORT)
}

fn moov(body: &[u8]) -> Result<Track, Corrupt> {
    let mdia = only(only(body, *b"trak")?, *b"mdia")?;
    let mut mdhd = only(mdia, *b"mdhd")?;
    let dates = if word(&mut mdhd)? >> 24 == 1 { 16 } else { 8 };
    let mut mdhd = mdhd.get(dates..).ok_or(SHORT)?;
    let timescale = word(&mut mdhd)?;
    let stsd = only(only(only(mdia, *b"minf")?, *b"stbl")?, *b"stsd")?;
    let (mut count, entry) = stsd.split_at_checked(8).ok_or(SHORT)?;
    count.advance(4);
    let is_one = word(&mut count)? == 1 && boxes(entry).count() == 1;
    if timescale == 0 || !is_one || boxes(entry).any(|entry| entry.is_err()) {
        return Err(Corrupt("a track without ticks or with more than one sample entry"));
    }
    let mut trex = only(only(body, *b"mvex")?, *b"trex")?;
    let [_, _track, _entry, duration, size, flags] = words(&mut trex)?;
    let usual = Told { time: 0, duration, size, flags, offset: 0 };
    Ok(Track { timescale, entry: entry.to_vec(), usual })
}

fn words<const N: usize>(bytes: &mut &[u8]) -> Result<[u32; N], Corrupt> {
    let mut words = [0; N];
    for slot in &mut words {
        *slot = word(bytes)?;
    }
    Ok(words)
}

/// What a `moof` says of its samples; `usual` holds where it says nothing.
fn moof(body: &[u8], mut usual: Told) -> Result<VecDeque<Told>, Corrupt> {
    let traf = only(body, *b"traf")?;
    let mut tfhd = only(traf, *b"tfhd")?;
    let [flags, _track] = words(&mut tfhd)?;
    // default-base-is-moof, and no base data offset.
    if flags & 0x02_0001 != 0x02_0000 {
        return Err(Corrupt("a moof whose data is not told from its beginning"));
    }
    if flags & 0x02 != 0 {
        word(&mut tfhd)?;
    }
    let fields = [(0x08, &mut usual.duration), (0x10, &mut usual.size), (0x20, &mut usual.flags)];
    for (flag, field) in fields {
        if flags & flag != 0 {
            *field = word(&mut tfhd)?;
        }
    }
    let mut tfdt = only(traf, *b"tfdt")?;
    usual.time = match word(&mut tfdt)? >> 24 {
        0 => u64::from(word(&mut tfdt)?),
        _ => tfdt.try_get_u64().map_err(|_| SHORT)?,
    };
    let mut told = VecDeque::new();
    // The data of the first sample comes right behind the moof and the header of the mdat; that of others behind it.
    let mut at = body.len() as u64 + 16;
    for found in boxes(traf) {
        let (kind, body) = found?;
        if kind == *b"trun" {
            at = trun(body, &mut usual, at, &mut told)?;
        }
    }
    if told.is_empty() { Err(Corrupt("a moof without samples")) } else { Ok(told) }
}

/// Adds the samples of one `trun`, whose data begins at byte `at`; returns where it ends.
fn trun(
    mut body: &[u8],
    usual: &mut Told,
    mut at: u64,
    told: &mut VecDeque<Told>,
) -> Result<u64, Corrupt> {
    let [flags, count] = words(&mut body)?;
    if flags & 1 != 0 && u64::from(word(&mut body)?) != at {
        return Err(Corrupt("samples that do not lie one after the other"));
    }
    let mut first = if flags & 4 != 0 { Some(word(&mut body)?) } else { None };
    if told.len().saturating_add(count as usize) > MAX_SAMPLES {
        return Err(Corrupt("too many samples in one moof"));
    }
    for _ in 0..count {
        let mut sample = *usual;
        sample.flags = first.take().unwrap_or(usual.flags);
        let fields =
            [(0x100, &mut sample.duration), (0x200, &mut sample.size), (0x400, &mut sample.flags)];
        for (flag, field) in fields {
            if flags & flag != 0 {
                *field = word(&mut body)?;
            }
        }
        if flags & 0x800 != 0 {
            sample.offset = word(&mut body)?.cast_signed();
        }
        at += u64::from(sample.size);
        if !(1..=MAX_SAMPLE).contains(&sample.size) || at > MAX_DATA {
            return Err(Corrupt("a sample that is empty or too large"));
        }
        usual.time = usual.time.saturating_add(u64::from(sample.duration));
        told.push_back(sample);
    }
    Ok(at)
}

#[cfg(test)]
mod tests;
