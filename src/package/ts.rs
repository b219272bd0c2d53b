//! MPEG transport stream: one programme of one AAC track.
//!
//! To have at hand: ISO/IEC 13818-1 (packets 2.4.3.2, adaptation field 2.4.3.4, PES 2.4.3.6, PAT and PMT 2.4.4), RFC 8216 3.2.
//!
//! Every segment is made alone, and yet the continuity counters of all of them in a row are those of one stream: PAT and PMT
//! come once in each segment and count segments, and the track has a multiple of 16 packets in each, so that it starts at 0.

use bytes::{BufMut, Bytes};

use super::{
    adts::{AudioConfig, Frames, HEADER, MAX_FRAME},
    packed::{pts, put_frames},
    table::FRAME,
};

/// Ticks of 90 kHz in about one PES packet, and how much earlier than to be played its first byte arrives: 0.7 s.
const PES_TICKS: u64 = 63_000;

/// The most bytes of frames in one PES packet, whose length has 16 bits and counts 8 bytes of header.
const MAX_PES: usize = u16::MAX as usize - 8;

const PACKET: usize = 188;

/// Payload bytes of a packet without, and of one with, a clock reference.
const ROOM: usize = PACKET - 4;
const ROOM_WITH_PCR: usize = ROOM - 8;

const PROGRAM: u16 = 0x1000;
const AUDIO: u16 = 0x100;

/// The association table: programme 1 is at [`PROGRAM`].
const PAT: [u8; 16] =
    section([0x00, 0xb0, 13, 0, 1, 0xc1, 0, 0, 0, 1, 0xe0 | 0x10, 0x00, 0, 0, 0, 0]);

/// The map table: ADTS (stream type 0x0f) at [`AUDIO`], which has the clock as well.
const PMT: [u8; 21] = section([
    0x02,
    0xb0,
    18,
    0,
    1,
    0xc1,
    0,
    0,
    0xe0 | 0x01,
    0x00,
    0xf0,
    0,
    0x0f,
    0xe0 | 0x01,
    0x00,
    0xf0,
    0,
    0,
    0,
    0,
    0,
]);

/// Segment `n`, counted from 0, that begins with frame `first_frame` of the track, counted from the priming.
///
/// It can be decoded alone, and joined to the one before it without a gap in any counter.
pub fn segment(config: AudioConfig, n: u32, first_frame: u64, frames: &Frames) -> Bytes {
    let all = pes(config, first_frame, frames);
    let packets: usize = all.iter().map(Pes::packets).sum();
    // The first PES is the longest: its bytes can always be spread over 15 packets more.
    let mut extra = packets.next_multiple_of(16) - packets;

    let mut out = Vec::with_capacity(PACKET * (2 + packets + extra));
    let mut counter = n as u8;
    put_section(&mut out, 0, counter, &PAT);
    put_section(&mut out, PROGRAM, counter, &PMT);
    counter = 0;
    for pes in &all {
        pes.put(&mut out, pes.packets() + extra, &mut counter);
        extra = 0;
    }
    out.into()
}

/// At most so many bytes has a segment of so many frames with so many bytes of payload, however they are spread.
pub fn most(config: AudioConfig, frames: usize, payload: usize) -> usize {
    let bytes = payload + HEADER * frames;
    // A PES packet ends for its length in time, or because the next frame does not fit any more.
    let pes = frames.div_ceil(pes_frames(config)) + bytes / (MAX_PES - MAX_FRAME - HEADER);
    let headers = 14 + ROOM - ROOM_WITH_PCR;
    let packets = (bytes + headers * pes).div_ceil(ROOM) + pes;
    PACKET * (2 + packets.next_multiple_of(16))
}

/// Frames in about [`PES_TICKS`].
fn pes_frames(config: AudioConfig) -> usize {
    (u64::from(config.rate()) * PES_TICKS / (90_000 * FRAME)).max(1) as usize
}

/// A PES packet with its header, and its timestamp.
struct Pes {
    pts: u64,
    bytes: Vec<u8>,
}

/// The PES packets of a segment, about 0.7 s each: fewer cost less, and players wait for whole ones.
fn pes(config: AudioConfig, first_frame: u64, frames: &Frames) -> Vec<Pes> {
    let most = pes_frames(config);
    let mut all = Vec::with_capacity(frames.len() / most + 1);
    let mut iter = frames.iter();
    let mut at = 0;
    while at < frames.len() {
        let mut length = 0;
        let count = frames.sizes()[at..]
            .iter()
            .take(most)
            .take_while(|&&size| {
                length += HEADER + usize::from(size);
                length <= MAX_PES
            })
            .count();
        let pts = pts(config, first_frame + at as u64);
        let mut bytes = Vec::with_capacity(14 + length);
        bytes.put_slice(&[0, 0, 1, 0xc0, 0, 0, 0x84, 0x80, 5]);
        bytes.put_slice(&stamp(pts));
        put_frames(&mut bytes, config, iter.by_ref().take(count));
        let after_length = (bytes.len() - 6) as u16;
        bytes[4..6].copy_from_slice(&after_length.to_be_bytes());
        all.push(Pes { pts, bytes });
        at += count;
    }
    all
}

impl Pes {
    /// The fewest packets that hold it.
    fn packets(&self) -> usize {
        1 + self.bytes.len().saturating_sub(ROOM_WITH_PCR).div_ceil(ROOM)
    }

    /// Writes it into this many packets, at least one byte in each.
    fn put(&self, out: &mut Vec<u8>, packets: usize, counter: &mut u8) {
        let mut rest = self.bytes.as_slice();
        for to_come in (0..packets).rev() {
            let first = to_come + 1 == packets;
            let room = if first { ROOM_WITH_PCR } else { ROOM };
            let (payload, after) = rest.split_at(room.min(rest.len() - to_come));
            rest = after;

            let adaptation = ROOM - payload.len();
            put_header(out, AUDIO, first, adaptation > 0, *counter);
            *counter = counter.wrapping_add(1);
            if first {
                let clock = self.pts.wrapping_sub(PES_TICKS) & ((1 << 33) - 1);
                put_clock(out, adaptation, clock);
            } else {
                put_stuffing(out, adaptation);
            }
            out.put_slice(payload);
        }
    }
}

/// A presentation timestamp as a PES header has it.
fn stamp(pts: u64) -> [u8; 5] {
    [
        0x21 | (pts >> 29) as u8 & 0x0e,
        (pts >> 22) as u8,
        (pts >> 14) as u8 | 1,
        (pts >> 7) as u8,
        (pts << 1) as u8 | 1,
    ]
}

fn put_header(out: &mut Vec<u8>, pid: u16, starts: bool, adaptation: bool, counter: u8) {
    let [high, low] = pid.to_be_bytes();
    let control = if adaptation { 0x30 } else { 0x10 };
    out.put_slice(&[0x47, u8::from(starts) << 6 | high, low, control | counter & 0x0f]);
}

/// An adaptation field of `size` bytes, at least 8, with a clock reference and the mark of a random access point.
fn put_clock(out: &mut Vec<u8>, size: usize, clock: u64) {
    out.put_slice(&[size as u8 - 1, 0x50]);
    // 33 bits of 90 kHz, 6 reserved bits, 9 bits of 27 MHz that are 0.
    out.put_slice(&(clock << 15 | 0x7e00).to_be_bytes()[2..]);
    out.put_bytes(0xff, size - 8);
}

/// An adaptation field of `size` bytes that says nothing; none if `size` is 0.
fn put_stuffing(out: &mut Vec<u8>, size: usize) {
    match size {
        0 => {}
        1 => out.put_u8(0),
        _ => {
            out.put_slice(&[size as u8 - 1, 0]);
            out.put_bytes(0xff, size - 2);
        }
    }
}

fn put_section(out: &mut Vec<u8>, pid: u16, counter: u8, section: &[u8]) {
    put_header(out, pid, true, false, counter);
    out.put_u8(0);
    out.put_slice(section);
    out.put_bytes(0xff, ROOM - 1 - section.len());
}

/// A table section with its CRC (MPEG-2's CRC-32) in the last four bytes.
const fn section<const N: usize>(mut bytes: [u8; N]) -> [u8; N] {
    let mut crc = u32::MAX;
    let mut at = 0;
    while at < N - 4 {
        crc ^= (bytes[at] as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc >> 31 == 1 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 };
            bit += 1;
        }
        at += 1;
    }
    let sum = crc.to_be_bytes();
    let mut byte = 0;
    while byte < 4 {
        bytes[N - 4 + byte] = sum[byte];
        byte += 1;
    }
    bytes
}

#[cfg(test)]
mod tests;
