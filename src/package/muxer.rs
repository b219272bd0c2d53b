//! From what a head's ffmpeg writes to the segments of its rendition.
//!
//! Bytes go in as they come; a segment comes out as soon as it has what the plan gives it. Nothing here waits or fails
//! because of the machine: what is wrong is what ffmpeg wrote.

use bytes::Bytes;

use super::{
    adts::{Corrupt, Cutter, Frames},
    fmp4,
    plan::Audio,
    table::FRAME,
};

/// Makes the segments of an audio rendition out of ADTS.
pub struct Muxer {
    audio: Audio,
    cutter: Cutter,
    /// Pre-roll frames still to be dropped.
    skip: u64,
    /// The segment being made, and its frames so far.
    n: u32,
    frames: Frames,
}

impl Muxer {
    /// For segment `n` and those behind it, from an ffmpeg that begins `skip` frames before it.
    pub fn new(audio: &Audio, n: u32, skip: u64) -> Self {
        let cutter = Cutter::new(audio.config);
        Self { audio: audio.clone(), cutter, skip, n, frames: Frames::default() }
    }

    /// Takes what ffmpeg wrote.
    pub fn push(&mut self, bytes: &[u8]) {
        self.cutter.push(bytes);
    }

    /// The next segment and its number, if it is whole; None past the end of the table, too.
    ///
    /// # Errors
    /// When ffmpeg wrote something else than it was told to.
    pub fn segment(&mut self) -> Result<Option<(u32, Bytes)>, Corrupt> {
        while let Some(frame) = self.cutter.cut()? {
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            self.frames.push(frame)?;
            if let Some(whole) = self.take() {
                return Ok(Some(whole));
            }
        }
        Ok(None)
    }

    /// Frames from here to the end of the table.
    pub fn missing(&self) -> u64 {
        let table = &self.audio.table;
        let end = table.total() / FRAME;
        let start = table.frames(self.n).map_or(end, |frames| frames.start);
        end.saturating_sub(start + self.frames.len() as u64)
    }

    /// Whether nothing of the segment being made is there.
    pub fn is_blank(&self) -> bool {
        self.frames.is_empty()
    }

    /// The next segment, with silence for what is missing; None past the end of the table.
    pub fn fill(&mut self) -> Result<Option<(u32, Bytes)>, Corrupt> {
        let Some(frames) = self.audio.table.frames(self.n) else {
            return Ok(None);
        };
        let missing = (frames.end - frames.start).saturating_sub(self.frames.len() as u64);
        self.frames.push_silence(self.audio.config, missing as usize)?;
        Ok(self.take())
    }

    /// The segment being made, if it has all its frames.
    fn take(&mut self) -> Option<(u32, Bytes)> {
        let frames = self.audio.table.frames(self.n)?;
        if (self.frames.len() as u64) < frames.end - frames.start {
            return None;
        }
        let n = self.n;
        let bytes = fmp4::segment(n + 1, frames.start, &std::mem::take(&mut self.frames));
        self.n += 1;
        Some((n, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::plan::{Choices, Plan, tests::facts};
    use std::time::Duration;

    fn audio() -> Audio {
        let choices = Choices { bitrate: 128_000, segment: Duration::from_secs(5) };
        let mut plan = Plan::new(&facts(44_100, 2, 44_100 * 20), choices).unwrap();
        plan.audio.remove(0)
    }

    /// `count` frames as ffmpeg would write them.
    fn adts(audio: &Audio, count: usize) -> Vec<u8> {
        let mut frames = Frames::default();
        frames.push_silence(audio.config, count).unwrap();
        frames.iter().flat_map(|f| [&audio.config.header(f.len() as u16), f].concat()).collect()
    }

    #[test]
    fn segments_come_when_their_frames_are_there() {
        let audio = audio();
        let mut muxer = Muxer::new(&audio, 1, 16);
        let length = audio.table.frames(1).unwrap();
        let count = 16 + (length.end - length.start) as usize;
        muxer.push(&adts(&audio, count - 1));
        assert!(muxer.segment().unwrap().is_none() && !muxer.is_blank());
        muxer.push(&adts(&audio, 1));
        let (n, bytes) = muxer.segment().unwrap().unwrap();
        assert_eq!((n, fmp4::frame_count(&bytes).unwrap().0), (1, length.start));
        assert!(muxer.segment().unwrap().is_none() && muxer.is_blank());
    }

    #[test]
    fn what_is_missing_is_filled_to_the_end_of_the_table() {
        let audio = audio();
        let mut muxer = Muxer::new(&audio, 0, 0);
        muxer.push(&adts(&audio, 50));
        assert_eq!(muxer.segment().unwrap().unwrap().0, 0);
        assert!(muxer.segment().unwrap().is_none());
        let all = audio.table.total() / FRAME;
        assert_eq!(muxer.missing(), all - 50);
        let filled: Vec<_> = std::iter::from_fn(|| muxer.fill().unwrap()).map(|(n, _)| n).collect();
        assert_eq!(filled, (1..audio.table.len()).collect::<Vec<_>>());
        assert_eq!(muxer.missing(), 0);
    }
}
