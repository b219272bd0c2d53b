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
