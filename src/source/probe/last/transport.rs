//! The H.264 of a transport stream, picture by picture: which of them are IDR pictures, and by what parameter sets.
//!
//! To have at hand: ITU-T H.222.0 sections 2.4.3 (packets, PES) and 2.4.4 (PAT, PMT), H.264 section 7.4.1. A whitelist: one
//! program with one video stream, nothing lost, nothing scrambled, a time in front of every picture, the same parameter sets
//! throughout. ffprobe's list of packets has the times unwound and says how many pictures there are; here is what it does not
//! say, for it calls a recovery point a keyframe, too.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::FileExt,
    time::Instant,
};

use super::super::{
    input::be16,
    pes::{self, EXTRA, PACKET},
};

/// Packets after which the clock is looked at.
const PAUSE: u64 = 4_096;

/// Bytes that are read at once.
const BLOCK: usize = 256 * 1024;

/// IDR pictures of a track: two a second for a day.
const MOST_KEYS: usize = 200_000;

/// Bytes of a picture before its first slice.
const HEADERS: usize = 16 * 1024;

/// What a walk over a transport stream has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    /// The times at which IDR pictures are shown, in the order of the file; see [`pes::wound`].
    pub(super) keys: Vec<u64>,
    /// How many pictures there are.
    pub(super) pictures: u64,
    /// The sequence parameter set, a NAL unit.
    pub(super) sequence: Vec<u8>,
}

/// Walks over a file, until `deadline`; None where anything is not as it is told above.
pub(super) fn walk(file: &File, deadline: Instant) -> io::Result<Option<Walk>> {
    let length = file.metadata()?.len();
    let mut first = [0];
    file.read_exact_at(&mut first, 0)?;
    let extra = if first == [0x47] { 0 } else { EXTRA };
    let size = extra + PACKET;
    if !length.is_multiple_of(size as u64) {
        return Ok(None);
    }
    let mut input = BufReader::with_capacity(BLOCK, file);
    let mut stream = Stream::default();
    let mut bytes = [0; EXTRA + PACKET];
    let bytes = &mut bytes[..size];
    for n in 0..length / size as u64 {
        let late = n % PAUSE == 0 && Instant::now() > deadline;
        input.read_exact(bytes)?;
        if late || stream.packet(&bytes[extra..]).is_none() {
            return Ok(None);
        }
    }
    Ok(stream.end())
}

/// A transport stream as far as it was read.
#[derive(Debug, Default)]
struct Stream {
    /// Where the map of the only program is, once that is known.
    map: Option<u16>,
    /// Where the video is, once that is known.
    video: Option<u16>,
    /// The number of the video's newest packet.
    counter: Option<u8>,
    /// What was read of a picture, up to its first slice; None behind that.
    picture: Option<Picture>,
    keys: Vec<u64>,
    pictures: u64,
    sequence: Vec<u8>,
    /// All picture parameter sets.
    sets: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Picture {
    /// When it is shown.
    time: u64,
    headers: Vec<u8>,
}

impl Stream {
    /// Takes a packet; None where it is not as it should be.
    fn packet(&mut self, packet: &[u8]) -> Option<()> {
        let (&[sync, high, low, flags], mut rest) = packet.split_first_chunk()?;
        let (begins, pid) = (high & 0x40 != 0, u16::from_be_bytes([high & 0x1f, low]));
        let is_ours = pid == 0 || Some(pid) == self.map || Some(pid) == self.video;
        if sync != 0x47 {
            return None;
        }
        if !is_ours {
            return Some(());
        }
        if high & 0x80 != 0 || flags & 0xc0 != 0 {
            return None;
        }
        let (adapts, carries) = (flags & 0x20 != 0, flags & 0x10 != 0);
        let mut discontinuous = false;
        if adapts {
            let (&length, after) = rest.split_first()?;
            discontinuous = length > 0 && after.first()? & 0x80 != 0;
            rest = after.get(usize::from(length)..)?;
        }
        if !carries {
            return (!discontinuous).then_some(());
        }
        match pid {
            0 if begins => same(&mut self.map, program(section(rest, 0)?)?),
            0 => None,
            _ if Some(pid) == self.map && begins => {
                same(&mut self.video, video(section(rest, 2)?)?)
            }
            _ if Some(pid) == self.map || discontinuous => None,
            _ => {
                let counter = flags & 0x0f;
                let is_next = self.counter.is_none_or(|last| (last + 1) & 0x0f == counter);
                self.counter = Some(counter);
                is_next.then_some(())?;
                self.video(begins, rest)
            }
        }
    }

    /// Takes a packet's worth of video.
    fn video(&mut self, begins: bool, bytes: &[u8]) -> Option<()> {
        if begins {
            // A picture without a slice is none.
            if self.picture.is_some() {
                return None;
            }
            let (time, bytes) = begun(bytes)?;
            self.picture = Some(Picture { time, headers: bytes.to_vec() });
        } else if let Some(picture) = &mut self.picture {
            picture.headers.extend_from_slice(bytes);
        } else if self.pictures == 0 {
            // It begins amid one.
            return None;
        }
        let Some(picture) = &self.picture else {
            return Some(());
        };
        match slice(&picture.headers) {
            Some(is_key) => self.shown(is_key),
            None => (picture.headers.len() < HEADERS).then_some(()),
        }
    }

    /// Counts a picture whose first slice has come.
    fn shown(&mut self, is_key: bool) -> Option<()> {
        let Picture { time, headers } = self.picture.take()?;
        self.pictures += 1;
        for unit in units(&headers) {
            match unit.first()? & 0x1f {
                7 if self.sequence.is_empty() => self.sequence = unit.to_vec(),
                7 if self.sequence != unit => return None,
                8 if self.pictures == 1 => self.sets.push(unit.to_vec()),
                8 if !self.sets.iter().any(|set| set == unit) => return None,
                _ => {}
            }
        }
        let has_sets = !self.sequence.is_empty() && !self.sets.is_empty();
        if !has_sets || (self.pictures == 1 && !is_key) || self.keys.len() > MOST_KEYS {
            return None;
        }
        if is_key {
            self.keys.push(time);
        }
        Some(())
    }

    /// What was found.
    fn end(self) -> Option<Walk> {
        let whole = self.picture.is_none() && self.pictures > 0;
        let Self { keys, pictures, sequence, .. } = self;
        whole.then_some(Walk { keys, pictures, sequence })
    }
}

/// Keeps the first value, and takes no other.
fn same(known: &mut Option<u16>, value: u16) -> Option<()> {
    (*known.get_or_insert(value) == value).then_some(())
}

/// The body of the section of this table that begins and ends in a packet, behind its number and version, without its checksum.
fn section(bytes: &[u8], table: u8) -> Option<&[u8]> {
    let (&pointer, bytes) = bytes.split_first()?;
    let bytes = bytes.get(usize::from(pointer)..)?;
    let length = usize::from(be16(bytes, 1)? & 0x0fff);
    let body = bytes.get(3..3 + length)?;
    // The only one of its table, and valid now.
    let is_whole = *bytes.first()? == table && body.get(2)? & 1 == 1 && *body.get(3..5)? == [0, 0];
    body.get(5..length.checked_sub(4)?).filter(|_| is_whole)
}

/// Where the map of the only program is.
fn program(section: &[u8]) -> Option<u16> {
    let mut programs = section.chunks_exact(4).filter(|program| be16(program, 0) != Some(0));
    let map = be16(programs.next()?, 2)? & 0x1fff;
    programs.next().is_none().then_some(map)
}

/// Where the only video of a program is, if it is H.264.
fn video(section: &[u8]) -> Option<u16> {
    let mut at = 4 + usize::from(be16(section, 2)? & 0x0fff);
    let mut found = None;
    while let Some(&kind) = section.get(at) {
        let pid = be16(section, at + 1)? & 0x1fff;
        at += 5 + usize::from(be16(section, at + 3)? & 0x0fff);
        // MPEG-1, -2 and -4, H.264 and its additions, JPEG 2000, HEVC and what came later.
        match kind {
            0x1b if found.is_none() => found = Some(pid),
            0x01 | 0x02 | 0x10 | 0x1b | 0x1e..=0x2a | 0x31..=0x35 | 0x42 | 0xd1 | 0xea => {
                return None;
            }
            _ => {}
        }
    }
    found
}

/// When the picture in a PES packet is shown, and what of it is there.
fn begun(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (&[0, 0, 1, 0xe0..=0xef, _, _, flags, times, length], rest) = bytes.split_first_chunk()?
    else {
        return None;
    };
    if flags & 0xf0 != 0x80 || times & 0x80 == 0 {
        return None;
    }
    Some((pes::read(rest)?, rest.get(usize::from(length)..)?))
}

/// The bytes behind each start code, to the next.
fn units(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let code = |bytes: &[u8]| bytes.windows(3).position(|code| code == [0, 0, 1]);
    let mut rest = code(bytes).and_then(|at| bytes.get(at + 3..));
    std::iter::from_fn(move || {
        let bytes = rest?;
        let next = code(bytes);
        rest = next.and_then(|at| bytes.get(at + 3..));
        let unit = bytes.get(..next.unwrap_or(bytes.len()))?;
        let zeros = unit.iter().rev().take_while(|&&byte| byte == 0).count();
        unit.get(..unit.len() - zeros)
    })
}

/// Whether the first slice of a picture is one of an IDR picture; None until it has come.
fn slice(bytes: &[u8]) -> Option<bool> {
    units(bytes).find_map(|unit| match unit.first()? & 0x1f {
        1..=4 => Some(false),
        5 => Some(true),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
