//! The clock of a transport stream that does not go evenly: where its times jump, and the stream as it would be if they did
//! not.
//!
//! What was recorded from the air is joined, cut and begun anew, and each part may have times of its own. ffmpeg takes them
//! as they are: it finds nothing at a time that comes twice, and waits through hours that are not there. So it never meets
//! them: it is given the stream through a pipe, its times written anew on the way.

use std::{io, ops::Range};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::pes::{self, Packets, Times};

/// Bytes by which ffmpeg knows a stream: it reads 1 MB of them (`-probesize`), and shows some.
const HEAD: u64 = 2 << 20;

/// Bytes that are handed on at once.
const CHUNK: usize = 256 * 1024;

/// By how much the times of a stream have to be later, for them to go on evenly. Of most streams they go on as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// In the order of the file.
    turns: Vec<Turn>,
    /// In the order of the file.
    marks: Vec<Mark>,
}

/// When a place of the file is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Milliseconds from the start, to within a second.
    pub(super) time: u64,
    /// The byte of the file, where a packet begins.
    pub(super) at: u64,
}

/// From a place on, the times of one track are another clock's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Turn {
    /// The track.
    pub(super) pid: u16,
    /// The byte of the file.
    pub(super) from: u64,
    /// Ticks of 90 kHz that are added, modulo 2^33.
    pub(super) later: u64,
}

impl Clock {
    /// The clock of these turns and marks, in any order.
    pub(super) fn new(mut turns: Vec<Turn>, mut marks: Vec<Mark>) -> Self {
        turns.sort_by_key(|turn| turn.from);
        marks.sort_by_key(|mark| mark.at);
        Self { turns, marks }
    }

    /// The bytes that nobody needs who has the first ones, and wants what is shown from `seconds` on. Behind them,
    /// a stream goes on before that.
    pub fn needless(&self, seconds: f64) -> Option<Range<u64>> {
        let is_before = |mark: &&Mark| mark.time as f64 / 1000.0 <= seconds;
        let mark = self.marks.iter().take_while(is_before).last()?;
        (mark.at > HEAD).then_some(HEAD..mark.at)
    }

    /// Whether the times are good as they are.
    pub fn is_even(&self) -> bool {
        self.turns.is_empty()
    }

    /// How often the times of the track jump that does so most often.
    pub fn jumps(&self) -> usize {
        let of = |turn: &Turn| self.turns.iter().filter(|other| other.pid == turn.pid).count();
        let first = self.turns.iter().take(16).map(of).max();
        first.unwrap_or(0).saturating_sub(1)
    }

    /// Bytes that it takes in memory.
    pub(super) fn weight(&self) -> usize {
        self.turns.len() * size_of::<Turn>() + self.marks.len() * size_of::<Mark>()
    }

    /// What writes the times anew; None where they are good as they are.
    pub fn winder(&self) -> Option<Winder<'_>> {
        (!self.is_even()).then(|| Winder {
            next: self.turns.iter().as_slice(),
            packets: Packets::default(),
            later: Later::default(),
        })
    }

    /// Hands a stream on from its first byte to its last, its times written anew. Done when it has ended, or nobody takes any more.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn pour(
        &self,
        mut from: impl AsyncRead + Unpin,
        mut into: impl AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let mut winder = self.winder();
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = from.read(&mut chunk).await?;
            let bytes = chunk.get(..read).unwrap_or_default();
            let wound = match &mut winder {
                Some(winder) if read > 0 => winder.push(bytes),
                winder => winder.take().map_or_else(|| bytes.to_vec(), Winder::end),
            };
            if into.write_all(&wound).await.is_err() || read == 0 {
                return Ok(());
            }
        }
    }
}

/// By how much the times of each track are later, at one place.
#[derive(Debug, Default)]
struct Later(Vec<(u16, u64)>);

impl Later {
    fn set(&mut self, Turn { pid, later, .. }: Turn) {
        match self.0.iter_mut().find(|(own, _)| *own == pid) {
            Some((_, known)) => *known = later,
            None => self.0.push((pid, later)),
        }
    }

    fn write(&self, packet: &mut [u8]) -> Option<()> {
        let pid = pes::pid(packet)?;
        let (_, later) = self.0.iter().find(|(own, _)| *own == pid)?;
        let (true, at) = pes::payload(packet)? else {
            return None;
        };
        let Times { shown, decoded, .. } = Times::of(packet, at)?;
        for place in [Some(shown), decoded].into_iter().flatten() {
            pes::delay(packet.get_mut(place)?, *later);
        }
        Some(())
    }
}

/// Writes the times of a stream anew, as its bytes come.
#[derive(Debug)]
pub struct Winder<'a> {
    next: &'a [Turn],
    packets: Packets,
    later: Later,
}

impl Winder<'_> {
    /// Takes the next bytes of the stream, and gives those that can go out by now.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let Self { next, packets, later } = self;
        packets.push(bytes, |at, packet| wind(next, later, at, packet))
    }

    /// The next bytes are those from byte `at` of the file on, where a packet begins.
    pub fn leap(&mut self, at: u64) {
        self.packets = self.packets.leap(at);
    }

    /// What is left at its end.
    pub fn end(self) -> Vec<u8> {
        let Self { mut next, packets, mut later } = self;
        packets.end(|at, packet| wind(&mut next, &mut later, at, packet))
    }
}

fn wind(next: &mut &[Turn], later: &mut Later, at: u64, packet: &mut [u8]) {
    while let Some((turn, behind)) = next.split_first()
        && turn.from <= at
    {
        later.set(*turn);
        *next = behind;
    }
    // What has no time in it stays as it is.
    let _ = later.write(packet);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet that begins a picture shown at `time` and decoded at half of that.
    fn packet(pid: u8, time: u64) -> Vec<u8> {
        let mut packet = vec![0x47, 0x41, pid, 0x10, 0, 0, 1, 0xe0, 0, 0, 0x80, 0xc0, 10];
        for (mark, time) in [(0x31, time), (0x11, time / 2)] {
            let mut bytes = [mark, 0, 1, 0, 1];
            pes::delay(&mut bytes, time);
            packet.extend(bytes);
        }
        packet.resize(pes::PACKET, 0xff);
        packet
    }

    fn times(bytes: &[u8]) -> Vec<(u64, u64)> {
        let time = |packet: &[u8]| {
            let Times { shown, decoded, media } = Times::of(packet, 4)?;
            assert_eq!(media, 23);
            Some((pes::read(&packet[shown])?, pes::read(&packet[decoded?])?))
        };
        bytes.chunks(pes::PACKET).map(|packet| time(packet).unwrap()).collect()
    }

    #[tokio::test]
    async fn times_are_written_anew_from_each_turn_on() {
        let stream = [packet(1, 10), packet(2, 20), packet(1, 8), packet(2, 30)].concat();
        let turn = |pid: u16, from, later| Turn { pid: 0x100 + pid, from, later };
        let clock = Clock::new(
            vec![turn(1, 300, 40), turn(1, 0, 2), turn(2, 300, (1 << 33) - 15)],
            Vec::new(),
        );
        assert_eq!((clock.is_even(), clock.jumps()), (false, 1));
        let mut out = Vec::new();
        clock.pour(&stream[..], &mut out).await.unwrap();
        assert_eq!(times(&out), [(12, 7), (20, 10), (48, 44), (15, 0)]);
        let mut winder = clock.winder().unwrap();
        assert_eq!(times(&winder.push(&stream[..200])), [(12, 7)]);
        winder.leap(376);
        assert_eq!(
            times(&[winder.push(&stream[376..]), winder.end()].concat()),
            [(48, 44), (15, 0)]
        );
        let mut same = Vec::new();
        Clock::default().pour(&stream[..], &mut same).await.unwrap();
        assert_eq!(same, stream);
    }

    #[test]
    fn bytes_before_a_mark_are_needless() {
        let mark = |time, at| Mark { time, at };
        let clock =
            Clock::new(Vec::new(), vec![mark(5_000, 9 << 20), mark(0, 0), mark(9_000, 1 << 30)]);
        assert_eq!(clock.needless(4.0), None);
        assert_eq!(clock.needless(8.9), Some(2 << 20..9 << 20));
        assert_eq!(clock.needless(f64::MAX), Some(2 << 20..1 << 30));
        assert_eq!(Clock::default().needless(9.0), None);
    }
}
