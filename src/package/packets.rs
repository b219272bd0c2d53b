//! Packets of Opus and FLAC as they are: taken out of fragmented MP4, which ffmpeg writes a source's packets to whatever it came
//! in, and cut into CMAF segments.
//!
//! ffmpeg's times are not asked for. Packets are counted from the source's first one, and each has to be as long as the plan
//! has it, which their own headers say.

use bytes::Bytes;

use super::{
    adts::Corrupt,
    audio::Audio,
    fmp4::{
        audio as fmp4,
        samples::{Sample, Samples},
    },
    fragments::Fragments,
};

/// Cuts one head's output. Holds one segment at most, and what was pushed and not yet cut.
#[derive(Debug)]
pub struct Packets<'a> {
    audio: &'a Audio,
    fragments: Fragments,
    /// Packets still to be dropped.
    skip: u64,
    /// The segment being made, its packets so far, and the sample with which the next one begins.
    n: u32,
    samples: Samples,
    at: u64,
    /// Whether no more packets come.
    ended: bool,
}

impl<'a> Packets<'a> {
    /// For segment `n` and those behind it, from an ffmpeg that begins `skip` packets before it.
    pub fn new(audio: &'a Audio, n: u32, skip: u64) -> Self {
        let at = audio.table.ticks(n).map_or(0, |ticks| ticks.start);
        let (fragments, samples) = (Fragments::default(), Samples::default());
        Self { audio, fragments, skip, n, samples, at, ended: false }
    }

    /// Takes the next bytes of ffmpeg's output.
    pub fn push(&mut self, bytes: &[u8]) {
        self.fragments.push(bytes);
    }

    /// The next segment and its number, if it is whole; None past the end of the table, too.
    ///
    /// # Errors
    /// When a packet is not the one that the plan has next.
    pub fn segment(&mut self) -> Result<Option<(u32, Bytes)>, Corrupt> {
        let codec = &self.audio.codec;
        while let Some(end) = self.end_of_segment() {
            if self.at == end {
                return Ok(Some(self.cut()));
            }
            let room = end - self.at;
            if let Some(packet) = self.fragments.sample()? {
                if self.skip > 0 {
                    self.skip -= 1;
                    continue;
                }
                let own = codec.samples(self.at, packet.data)?;
                let is_last = self.n + 1 == self.audio.table.len();
                if own > room && !is_last {
                    return Err(Corrupt("a packet that goes on where a segment ends"));
                }
                self.at += keep(&mut self.samples, packet.data, own.min(room))?;
            } else if self.ended {
                // Behind a packet that was shorter than the others, what is left of its place comes first.
                let whole = codec.packet() - self.at % codec.packet();
                let samples = whole.min(room);
                let silence = codec.silence(self.at, samples);
                self.at += keep(&mut self.samples, &silence, samples)?;
            } else {
                break;
            }
        }
        Ok(None)
    }

    /// Says that ffmpeg has ended, and how many of the source's packets are missing. Silence stands for them from then on.
    pub fn end(&mut self) -> u64 {
        self.ended = true;
        self.audio.frames.saturating_sub(self.at.div_ceil(self.audio.codec.packet()))
    }

    /// Whether nothing has come of the segment that is being made.
    pub fn is_blank(&self) -> bool {
        self.samples.is_empty()
    }

    /// What it copies.
    pub fn audio(&self) -> &'a Audio {
        self.audio
    }

    fn end_of_segment(&self) -> Option<u64> {
        self.audio.table.ticks(self.n).map(|ticks| ticks.end)
    }

    fn cut(&mut self) -> (u32, Bytes) {
        let samples = std::mem::take(&mut self.samples);
        let (n, start) = (self.n, self.at - samples.duration());
        self.n += 1;
        (n, fmp4::packets(self.n, start, &samples))
    }
}

/// Appends a packet that lasts so many samples, and gives them back.
fn keep(samples: &mut Samples, packet: &[u8], duration: u64) -> Result<u64, Corrupt> {
    let ticks = u32::try_from(duration).map_err(|_| Corrupt("a packet that does not end"))?;
    samples.push(packet, Sample { size: 0, duration: ticks, offset: 0, sync: true })?;
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Copied,
        package::{choices::Choices, fmp4::video, plan::tests::media},
        source::probe::{
            Codec, Container,
            media::{Form, Frames},
        },
    };

    /// Four seconds of FLAC in 44 blocks, the last one of 2,112 samples, beside a picture that lasts to `end` (ms).
    fn flac(end: u64) -> Audio {
        let mut track = media(48_000, 2, 43 * 4_400 + 2_112).audio.remove(0);
        track.codec = Codec::Flac;
        track.frames = Some(Frames {
            form: Form::Flac { bits: 16, block: 4_400 },
            count: 44,
            samples: 4_400,
            priming: 0,
            bytes: 44 * 100,
            densest: 1_000,
            largest: 100,
        });
        let choices = Choices { copy: vec![Copied::Flac], ..Choices::default() };
        Audio::of(&track, Container::Flac, &choices, end).unwrap()
    }

    /// `blocks` of silence as ffmpeg would write them, in fragments of 7.
    fn fragments(audio: &Audio, blocks: std::ops::Range<u64>) -> Vec<u8> {
        let track = video::Track {
            timescale: 48_000,
            duration: 0,
            width: 0,
            height: 0,
            entry: &[0, 0, 0, 8, 0, 0, 0, 0],
        };
        let mut out = video::init(track).to_vec();
        let blocks: Vec<_> = blocks.collect();
        for run in blocks.chunks(7) {
            let mut samples = Samples::default();
            for block in run {
                let own = if *block == 43 { 2_112 } else { 4_400 };
                keep(&mut samples, &audio.codec.silence(block * 4_400, own), own).unwrap();
            }
            out.extend_from_slice(&fmp4::packets(1, 0, &samples));
        }
        out
    }

    fn segments(packets: &mut Packets<'_>) -> Vec<(u32, Bytes)> {
        std::iter::from_fn(|| packets.segment().unwrap()).collect()
    }

    #[test]
    fn every_head_makes_the_same() {
        let audio = flac(0);
        assert_eq!(audio.table.total(), 43 * 4_400 + 2_112);
        let bytes = fragments(&audio, 0..44);
        let mut first = Packets::new(&audio, 0, 0);
        bytes.chunks(100).for_each(|chunk| first.push(chunk));
        let all = segments(&mut first);
        assert_eq!((all.len() as u32, first.end()), (audio.table.len(), 0));
        for (n, whole) in &all {
            assert!(audio.is_whole(*n, whole) && !audio.is_whole(n + 1, whole));
            let skip = audio.packets(*n).unwrap().start;
            let mut later = Packets::new(&audio, *n, skip);
            later.push(&bytes);
            assert_eq!(segments(&mut later), all[*n as usize..]);
        }
    }

    #[test]
    fn what_is_missing_is_silence_on_the_same_grid() {
        // The source is whole, and shorter than the picture; or it breaks off, which counts.
        for (end, blocks, missing) in [(9_000, 44, 0), (0, 30, 14), (9_000, 1, 43)] {
            let audio = flac(end);
            let mut packets = Packets::new(&audio, 0, 0);
            packets.push(&fragments(&audio, 0..blocks));
            let mut all = segments(&mut packets);
            assert!(packets.segment().unwrap().is_none());
            assert_eq!(packets.end(), missing, "{end}");
            all.extend(segments(&mut packets));
            assert_eq!(all.len() as u32, audio.table.len(), "{end}");
            assert!(all.iter().all(|(n, bytes)| audio.is_whole(*n, bytes)), "{end}");
        }
    }

    #[test]
    fn another_packet_than_the_next_is_refused() {
        let audio = flac(0);
        let mut packets = Packets::new(&audio, 0, 0);
        packets.push(&fragments(&audio, 1..44));
        assert!(packets.segment().is_err());
    }
}
