//! The packets of a transport stream, and the times in them.
//!
//! To have at hand: ITU-T H.222.0 sections 2.4.3.2 (packets), 2.4.3.6 and 2.4.3.7 (PES, PTS and DTS).

use std::{mem, ops::Range};

/// Bytes of a packet.
pub(super) const PACKET: usize = 188;

/// Bytes before each packet on a Blu-ray disc.
pub(super) const EXTRA: usize = 4;

/// A time counts 90 kHz in so many bits.
const BITS: u32 = 33;

/// Every packet begins with it.
const SYNC: u8 = 0x47;

/// A time as packets have it, without what they have no bits for.
pub(super) const fn wound(time: i64) -> u64 {
    time.cast_unsigned() & ((1 << BITS) - 1)
}

/// Ticks from one time to another, forward or backward, whichever is nearer.
pub(super) const fn distance(from: u64, to: u64) -> i64 {
    let rest = i64::BITS - BITS;
    (to.wrapping_sub(from) << rest).cast_signed() >> rest
}

/// Packets out of bytes that come in pieces of any size, wherever they begin: what is joined may be cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Packets {
    /// Bytes before each packet, once one has come.
    extra: Option<usize>,
    /// Where `rest` begins.
    at: u64,
    rest: Vec<u8>,
}

impl Packets {
    /// Takes the next bytes, and hands over each packet that is whole by now with its place in the stream; returns all bytes
    /// up to there.
    pub(super) fn push(&mut self, bytes: &[u8], each: impl FnMut(u64, &mut [u8])) -> Vec<u8> {
        self.rest.extend_from_slice(bytes);
        self.take(false, each)
    }

    /// The same at the end of the stream: nothing is left.
    pub(super) fn end(mut self, each: impl FnMut(u64, &mut [u8])) -> Vec<u8> {
        let mut bytes = self.take(true, each);
        bytes.append(&mut self.rest);
        bytes
    }

    /// Those from byte `at` on, where one begins.
    pub(super) fn leap(&self, at: u64) -> Self {
        Self { extra: self.extra, at, rest: Vec::new() }
    }

    fn take(&mut self, ended: bool, mut each: impl FnMut(u64, &mut [u8])) -> Vec<u8> {
        let Some(&first) = self.rest.first() else {
            return Vec::new();
        };
        let extra = *self.extra.get_or_insert(if first == SYNC { 0 } else { EXTRA });
        let size = extra + PACKET;
        let mut done = 0;
        while self.rest.len() - done >= size {
            // What no packet follows is none, or is cut.
            let follows = match self.rest.get(done + size + extra) {
                Some(&next) => next == SYNC,
                None if ended => true,
                None => break,
            };
            match self.rest.get_mut(done + extra..done + size) {
                Some(packet) if follows && packet.first() == Some(&SYNC) => {
                    each(self.at + done as u64, packet);
                    done += size;
                }
                _ => done += 1,
            }
        }
        self.at += done as u64;
        let rest = self.rest.split_off(done);
        mem::replace(&mut self.rest, rest)
    }
}

/// The stream that a packet belongs to.
pub(super) fn pid(packet: &[u8]) -> Option<u16> {
    let &[_, high, low, ..] = packet else {
        return None;
    };
    Some(u16::from_be_bytes([high & 0x1f, low]))
}

/// Whether a packet begins a PES packet, and where what it carries begins; None where it carries nothing that can be read.
pub(super) fn payload(packet: &[u8]) -> Option<(bool, usize)> {
    let &[_, high, _, flags, length, ..] = packet else {
        return None;
    };
    let (adapts, carries) = (flags & 0x20 != 0, flags & 0x10 != 0);
    if high & 0x80 != 0 || flags & 0xc0 != 0 || !carries {
        return None;
    }
    let at = if adapts { 5 + usize::from(length) } else { 4 };
    (at < packet.len()).then_some((high & 0x40 != 0, at))
}

/// Where a packet has the times of the audio or video that begins in it.
#[derive(Clone, Debug)]
pub(super) struct Times {
    /// When it is shown.
    pub(super) shown: Range<usize>,
    /// When it is decoded, where that is said apart.
    pub(super) decoded: Option<Range<usize>>,
    /// Where the media begins.
    pub(super) media: usize,
}

impl Times {
    /// Those of a packet that begins a PES packet, which begins at byte `at` of it.
    pub(super) fn of(packet: &[u8], at: usize) -> Option<Self> {
        let &[0, 0, 1, 0xbd | 0xc0..=0xef | 0xfd, _, _, mark, flags, length, ..] =
            packet.get(at..)?
        else {
            return None;
        };
        let (shown, media) = (at + 9..at + 14, at + 9 + usize::from(length));
        let decoded = at + 14..at + 19;
        if mark & 0xc0 != 0x80 || flags & 0x80 == 0 || shown.end > media.min(packet.len()) {
            return None;
        }
        let has_both = flags & 0x40 != 0 && decoded.end <= media.min(packet.len());
        Some(Self { shown, decoded: has_both.then_some(decoded), media })
    }
}

/// The time in five bytes: three, 15 and 15 bits, each with a bit behind them.
pub(super) fn read(bytes: &[u8]) -> Option<u64> {
    let told = bytes.first_chunk::<5>()?.iter().fold(0, |told, &byte| told << 8 | u64::from(byte));
    Some((told >> 33 & 7) << 30 | (told >> 17 & 0x7fff) << 15 | told >> 1 & 0x7fff)
}

/// Has five bytes say a time that is so much later; the mark before it stays.
pub(super) fn delay(bytes: &mut [u8], later: u64) {
    let (Some(time), Some(bytes)) = (read(bytes), bytes.first_chunk_mut::<5>()) else {
        return;
    };
    let time = wound(time.wrapping_add(later).cast_signed());
    let mark = u64::from(bytes[0] & 0xf0) << 32;
    let told = (time >> 30) << 33 | (time >> 15 & 0x7fff) << 17 | (time & 0x7fff) << 1;
    let [_, _, _, told @ ..] = (mark | told | 0x1_0001_0001).to_be_bytes();
    *bytes = told;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn distances_take_the_nearer_way() {
        let end = (1 << BITS) - 1;
        assert_eq!((distance(end, 0), distance(0, end), distance(5, 3)), (1, -1, -2));
        assert_eq!(wound(-1), end);
    }

    #[test]
    fn packets_are_found_behind_what_is_cut() {
        let packet = |n: u8| [&[SYNC, n][..], &[0; PACKET - 2]].concat();
        let bytes = [packet(1), packet(2), vec![SYNC, 3, 0], packet(4), packet(5)].concat();
        let disc = bytes.chunks(PACKET).take(2).flat_map(|packet| [&[9, 9, 9, 9], packet].concat());
        for (bytes, found) in [
            (bytes.clone(), vec![(0, 1), (188, 2), (379, 4), (567, 5)]),
            (disc.collect(), vec![(0, 1), (192, 2)]),
            (vec![7; 900], Vec::new()),
        ] {
            for step in [1, 100, 1_000] {
                let (mut packets, mut met, mut out) = (Packets::default(), Vec::new(), Vec::new());
                let mut each = |at, packet: &mut [u8]| met.push((at, packet[1]));
                for bytes in bytes.chunks(step) {
                    out.extend(packets.push(bytes, &mut each));
                }
                out.extend(packets.end(&mut each));
                assert_eq!((met, out), (found.clone(), bytes.clone()), "{step}");
            }
        }
    }

    proptest! {
        #[test]
        fn times_are_read_as_they_were_written(time in 0u64..1 << 33, later in any::<u64>(), mark in 0u8..16) {
            let mut bytes = [mark << 4 | 1, 0, 1, 0, 1];
            delay(&mut bytes, time);
            prop_assert_eq!((read(&bytes), bytes[0] >> 4), (Some(time), mark));
            prop_assert!(bytes[0] & bytes[2] & bytes[4] & 1 == 1);
            delay(&mut bytes, later);
            prop_assert_eq!(read(&bytes), Some(time.wrapping_add(later) & ((1 << 33) - 1)));
        }

        #[test]
        fn wild_packets_are_survived(mut packet in prop::collection::vec(any::<u8>(), 0..PACKET), pes in any::<bool>()) {
            if let Some((_, at)) = payload(&packet) {
                if pes {
                    packet.splice(at.min(packet.len()).., [0, 0, 1, 0xe0, 0, 0, 0x80, 0xc0]);
                }
                if let Some(Times { shown, decoded, media }) = Times::of(&packet, at) {
                    prop_assert!(shown.end <= packet.len() && decoded.is_none_or(|at| at.end <= packet.len()));
                    prop_assert!(media >= shown.end);
                }
            }
        }
    }
}
