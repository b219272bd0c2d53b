//! MP4, M4A and `QuickTime` (ISO/IEC 14496-12, 14496-14; Apple's `QuickTime` File Format).
//!
//! Told by the header if `moov` comes first and holds all samples, else by the end. Edit lists are applied as
//! ffmpeg 5.1's mov demuxer does: whole packets at the end, single samples at the start, none in fragments.

use super::{
    Codec, Container, Facts, Input, Splice, Stop,
    boxes::{boxes, child, descend},
    entry::{Entry, Packet},
    input::{array, be32, be64},
    samples::{Durations, Edit, Edits, Layout},
    unsupported,
};

/// The largest `moov` that is read, in bytes.
const MOOV: u64 = 64 * 1024 * 1024;

/// Boxes on the top level; the fragments of a day in pieces of a second.
const BOXES: usize = 200_000;

/// Bytes of one `moof` that are read.
const MOOF: u64 = 4 * 1024 * 1024;

/// Whether a file starts with a box that MP4 starts with.
pub(super) fn begins(head: &[u8]) -> bool {
    let size = be32(head, 0).unwrap_or(0);
    match head.get(4..8) {
        Some(b"ftyp" | b"moov" | b"styp" | b"pnot") => size >= 8 || size == 1,
        Some(b"mdat" | b"free" | b"wide" | b"skip") => size >= 8 || size <= 1,
        _ => false,
    }
}

/// The facts of the first audio track.
pub(super) fn facts(input: &Input<'_>) -> Result<Facts, Stop> {
    let total = input.total().ok_or(Stop::Whole)?;
    let mut movie = None;
    let mut data = false;
    let mut fragments = Vec::new();
    let mut at = 0;
    for _ in 0..BOXES {
        let Some((kind, body, end)) = top(input, at, total)? else {
            break;
        };
        match &kind {
            b"moov" if end - at > MOOV => {
                return Err(unsupported("MP4 with a header that is too large"));
            }
            b"moov" if end > total => return Err(unsupported("MP4 that ends inside its header")),
            b"moov" => {
                let moov = input.bytes(body, (end - body) as usize)?.into_owned();
                let mut track = Track::read(&moov, total)?;
                if !track.fragmented {
                    if track.entry.codec == Codec::Mp3 {
                        // Half a frame of MP3 decodes, half a packet of others does not.
                        if track.layout.cut {
                            return Err(Stop::Undetermined(Container::Mp4));
                        }
                        track.entry.look(&input.some(track.layout.first, 4)?)?;
                    }
                    return track.facts(!data && track.layout.first >= end);
                }
                input.end()?;
                movie = Some(track);
            }
            // What ffmpeg makes of half a fragment only ffmpeg knows.
            b"mdat" if !fragments.is_empty() && end > total => {
                return Err(Stop::Undetermined(Container::Mp4));
            }
            b"mdat" if movie.is_none() => {
                // What tells stands behind the media: no use in asking for it piece by piece.
                input.end()?;
                data = true;
            }
            b"moof" if end - body <= MOOF && end <= total => fragments.push((body, end)),
            _ => {}
        }
        if end >= total {
            break;
        }
        at = end;
    }
    let track = movie.ok_or_else(|| unsupported("MP4 without a header (moov)"))?;
    let mut count = 0u64;
    let mut length = 0u64;
    for (body, end) in fragments {
        let moof = input.bytes(body, (end - body) as usize)?;
        let (samples, ticks) = track.fragment(&moof).ok_or(Stop::Undetermined(Container::Mp4))?;
        count = count.saturating_add(samples);
        length = length.saturating_add(ticks);
    }
    track.fragmented_facts(count, length, total)
}

/// Type, start of the content and end of the box at `at`; None at the end of the file.
fn top(input: &Input<'_>, at: u64, total: u64) -> Result<Option<([u8; 4], u64, u64)>, Stop> {
    let head = input.some(at, 16)?;
    let (Some(size), Some(kind)) = (be32(&head, 0), array(&head, 4)) else {
        return Ok(None);
    };
    let (header, size) = match size {
        0 => (8, total.saturating_sub(at)),
        1 => (16, be64(&head, 8).unwrap_or(0)),
        size => (8, u64::from(size)),
    };
    if size < header {
        return Err(unsupported("MP4 with a broken box"));
    }
    Ok(Some((kind, at + header, at.saturating_add(size))))
}

/// The first audio track of a movie.
struct Track {
    id: u32,
    scale: u32,
    entry: Entry,
    durations: Durations,
    edits: Edits,
    layout: Layout,
    /// Default duration of samples in fragments (`trex`).
    default: u32,
    fragmented: bool,
    /// Whether it is the only track, cover art and chapter text apart.
    alone: bool,
}

impl Track {
    fn read(moov: &[u8], total: u64) -> Result<Self, Stop> {
        let undetermined = || Stop::Undetermined(Container::Mp4);
        let traks = || boxes(moov).filter(|(kind, _)| kind == b"trak").map(|(_, trak)| trak);
        let count = |wanted: [u8; 4]| traks().filter(|trak| handler(trak) == Some(wanted)).count();
        let videos = count(*b"vide");
        let Some(trak) = traks().find(|trak| handler(trak) == Some(*b"soun")) else {
            let found = if videos > 0 {
                "video without an audio track"
            } else {
                "MP4 without an audio track"
            };
            return Err(unsupported(found));
        };
        let mdhd = descend(trak, &[*b"mdia", *b"mdhd"]).ok_or_else(undetermined)?;
        let stbl = descend(trak, &[*b"mdia", *b"minf", *b"stbl"]).ok_or_else(undetermined)?;
        let entry = Entry::read(child(stbl, *b"stsd").ok_or_else(undetermined)?)?;
        let scale = ticks(mdhd).filter(|&scale| scale > 0).ok_or_else(undetermined)?;
        let movie = child(moov, *b"mvhd").and_then(ticks).ok_or_else(undetermined)?;
        let id = child(trak, *b"tkhd")
            .and_then(|tkhd| be32(tkhd, if tkhd.first()? == &1 { 20 } else { 12 }));
        let id = id.ok_or_else(undetermined)?;
        let extends = child(moov, *b"mvex");
        let trex = extends
            .into_iter()
            .flat_map(boxes)
            .find(|(kind, body)| kind == b"trex" && be32(body, 4) == Some(id));
        let edits = Edits::read(trak, (movie, scale));
        // Old files of iTunes tell their priming in a tag instead.
        if edits == Edits::Absent && moov.windows(8).any(|tag| tag == b"iTunSMPB") {
            return Err(undetermined());
        }
        let pcm = if let Packet::Pcm(size) = entry.packet { Some(size) } else { None };
        let durations = Durations::read(stbl).ok_or_else(undetermined)?;
        let layout = Layout::read(stbl, total, pcm).ok_or_else(undetermined)?;
        Ok(Self {
            id,
            scale,
            entry,
            durations,
            edits,
            layout,
            default: trex.and_then(|(_, body)| be32(body, 12)).unwrap_or(0),
            fragmented: extends.is_some(),
            alone: videos == 0 && count(*b"soun") == 1,
        })
    }

    /// The facts of a movie without fragments.
    fn facts(&self, ahead: bool) -> Result<Facts, Stop> {
        let samples = self.samples().ok_or(Stop::Undetermined(Container::Mp4))?;
        let late = matches!(self.edits, Edits::One(Edit { late: true, .. }));
        let seekable = matches!(self.entry.codec, Codec::Aac { object: 2 } | Codec::Alac);
        let splice = if seekable && self.alone && !late { Splice::Seek } else { Splice::Decode };
        Ok(self.told(samples, ahead && self.layout.ordered, splice))
    }

    /// Samples that ffmpeg decodes; None where only it can tell.
    fn samples(&self) -> Option<u64> {
        let held = self.layout.held;
        let (start, first, skip, last) = match self.edits {
            Edits::Absent => (0, 0, 0, held.checked_sub(1)?),
            Edits::Several => return None,
            Edits::One(edit) => {
                let (first, begin) = self.durations.at(edit.start)?;
                let ending = self.durations.at(edit.start.checked_add(edit.length)? - 1);
                let last = ending.map_or(held, |(last, _)| last).min(held.checked_sub(1)?);
                (edit.start, first, edit.start - begin, last)
            }
        };
        let packets = (last + 1).checked_sub(first)?;
        if packets == 0 {
            return None;
        }
        // ffmpeg skips ticks of the track as if they were samples, and packets that it drops count as skipped.
        let exact = self.scale == self.entry.rate;
        let decoded = match self.entry.packet {
            Packet::Fixed(samples) => {
                let skip = start.saturating_sub(first.checked_mul(samples)?);
                return packets.checked_mul(samples)?.checked_sub(skip);
            }
            Packet::Usual if exact => packets.checked_mul(self.durations.usual()?)?,
            Packet::Told if exact => self.durations.sum(last + 1) - self.durations.sum(first),
            // ffmpeg reads PCM in chunks, which edits do not cut.
            Packet::Pcm(_) if skip == 0 && first == 0 && last + 1 == held => held,
            _ => return None,
        };
        decoded.checked_sub(skip)
    }

    /// Samples and ticks of this track in a `moof`; None if it is broken.
    fn fragment(&self, moof: &[u8]) -> Option<(u64, u64)> {
        let (mut samples, mut length) = (0u64, 0u64);
        for (_, traf) in boxes(moof).filter(|(kind, _)| kind == b"traf") {
            let tfhd = child(traf, *b"tfhd")?;
            if be32(tfhd, 4)? != self.id {
                continue;
            }
            let flags = be32(tfhd, 0)?;
            let at = 8 + if flags & 1 != 0 { 8 } else { 0 } + if flags & 2 != 0 { 4 } else { 0 };
            let default = if flags & 8 != 0 { be32(tfhd, at)? } else { self.default };
            for (_, trun) in boxes(traf).filter(|(kind, _)| kind == b"trun") {
                let (count, ticks) = run(trun, default)?;
                samples = samples.checked_add(count)?;
                length = length.checked_add(ticks)?;
            }
        }
        Some((samples, length))
    }

    /// The facts of a movie of which fragments hold `count` samples of `length` ticks.
    fn fragmented_facts(&self, count: u64, length: u64, total: u64) -> Result<Facts, Stop> {
        let exact = self.scale == self.entry.rate;
        let samples = match self.entry.packet {
            // A run can claim any number of samples without a byte of them.
            _ if count > total
                || self.entry.codec == Codec::Mp3
                || self.layout.held > 0
                || self.edits == Edits::Several =>
            {
                None
            }
            Packet::Fixed(samples) => count.checked_mul(samples),
            Packet::Told if exact => Some(length),
            _ => None,
        };
        let samples = samples.ok_or(Stop::Undetermined(Container::Mp4))?;
        Ok(self.told(samples, true, Splice::Decode))
    }

    fn told(&self, samples: u64, pipe: bool, splice: Splice) -> Facts {
        let Entry { codec, rate, channels, .. } = self.entry.clone();
        Facts { container: Container::Mp4, codec, rate, channels, samples, pipe, splice }
    }
}

/// Samples and ticks of a `trun`.
fn run(trun: &[u8], default: u32) -> Option<(u64, u64)> {
    let flags = be32(trun, 0)?;
    let count = u64::from(be32(trun, 4)?);
    if flags & 0x100 == 0 {
        return Some((count, count * u64::from(default)));
    }
    let start = 8 + if flags & 1 != 0 { 4 } else { 0 } + if flags & 4 != 0 { 4 } else { 0 };
    let width = [0x100, 0x200, 0x400, 0x800].iter().filter(|&&bit| flags & bit != 0).count() * 4;
    let table = trun.get(start..)?.chunks_exact(width);
    if (table.len() as u64) < count {
        return None;
    }
    let length = table.take(count as usize).filter_map(|entry| be32(entry, 0)).map(u64::from).sum();
    Some((count, length))
}

/// The handler of a track.
fn handler(trak: &[u8]) -> Option<[u8; 4]> {
    array(descend(trak, &[*b"mdia", *b"hdlr"])?, 8)
}

/// The ticks a second of an `mvhd` or `mdhd`.
fn ticks(header: &[u8]) -> Option<u32> {
    be32(header, if *header.first()? == 1 { 20 } else { 12 })
}
