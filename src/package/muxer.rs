//! From what a head's ffmpeg writes to the segments of its rendition.
//!
//! Bytes go in as they come; a segment comes out as soon as it has what the plan gives it. Nothing here waits or fails
//! because of the machine: what is wrong is what ffmpeg wrote.

use bytes::Bytes;

use super::{
    adts::{self, AudioConfig, Corrupt, Frames},
    audio::Audio,
    codec::Codec,
    copier::Copier,
    cutter::Cutter,
    fmp4::audio as fmp4,
    packets::Packets,
    video::Rung,
};

/// Makes the segments of one rendition.
pub enum Muxer<'a> {
    /// Out of ADTS.
    Audio(Sound<'a>),
    /// Out of fragmented MP4 of audio that ffmpeg has copied.
    Packets(Packets<'a>),
    /// Out of fragmented MP4 that ffmpeg has encoded.
    Video(Cutter<'a>),
    /// Out of fragmented MP4 that ffmpeg has copied.
    Copy(Copier<'a>),
}

/// What a source did not have of what it promised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gap {
    /// Frames, of audio or of video.
    pub frames: u64,
    /// The same in seconds.
    pub seconds: f64,
    /// Whether nothing came of the segment that is being made.
    pub blank: bool,
}

impl Gap {
    /// So many packets of audio.
    fn of_sound(frames: u64, audio: &Audio, blank: bool) -> Self {
        let samples = frames * audio.codec.packet();
        Self { frames, seconds: samples as f64 / f64::from(audio.codec.rate()), blank }
    }

    /// So many pictures of a rung, behind some that came.
    fn of(frames: u64, rung: &Rung) -> Self {
        Self { frames, seconds: frames as f64 / rung.frame_rate(), blank: false }
    }
}

impl<'a> Muxer<'a> {
    /// For segment `n` of an audio rendition and those behind it, from an ffmpeg that begins `skip` packets before it.
    pub fn audio(audio: &'a Audio, n: u32, skip: u64) -> Self {
        match audio.codec {
            Codec::Aac(config) => Self::Audio(Sound::new(audio, config, n, skip)),
            Codec::Opus(_) | Codec::Flac(_) => Self::Packets(Packets::new(audio, n, skip)),
        }
    }

    /// For segment `n` of a video rendition and those behind it, from an ffmpeg that may have `sought` it.
    pub fn video(rung: &'a Rung, n: u32, sought: bool) -> Self {
        match &rung.copied {
            Some(copied) => Self::Copy(Copier::new(rung, copied, n, sought)),
            None => Self::Video(Cutter::new(rung, n)),
        }
    }

    /// Takes what ffmpeg wrote.
    pub fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Audio(sound) => sound.cutter.push(bytes),
            Self::Packets(packets) => packets.push(bytes),
            Self::Video(cutter) => cutter.push(bytes),
            Self::Copy(copier) => copier.push(bytes),
        }
    }

    /// The initialization segment, where it is not known before there is a segment.
    pub fn init(&self) -> Option<&Bytes> {
        match self {
            Self::Audio(_) | Self::Packets(_) => None,
            Self::Video(cutter) => cutter.init(),
            Self::Copy(copier) => copier.init(),
        }
    }

    /// The next segment and its number, if it is whole; None past the end of the table, too.
    ///
    /// # Errors
    /// When ffmpeg wrote something else than it was told to.
    pub fn segment(&mut self) -> Result<Option<(u32, Bytes)>, Corrupt> {
        match self {
            Self::Audio(sound) => sound.segment(),
            Self::Packets(packets) => packets.segment(),
            Self::Video(cutter) => Ok(cutter.segment()?.map(|bytes| (cutter.next() - 1, bytes))),
            Self::Copy(copier) => copier.segment(),
        }
    }

    /// How many pictures of what is copied are damaged, of all so far.
    pub fn damaged(&self) -> u64 {
        match self {
            Self::Audio(_) | Self::Packets(_) | Self::Video(_) => 0,
            Self::Copy(copier) => copier.damaged(),
        }
    }

    /// Says that ffmpeg has ended, and what is missing. From then on every segment to the end of the table is whole: with
    /// silence, or with a picture that stands still.
    ///
    /// # Errors
    /// When there is no picture that could.
    pub fn end(&mut self) -> Result<Gap, Corrupt> {
        match self {
            Self::Audio(sound) => {
                sound.ended = true;
                let frames = sound.missing();
                Ok(Gap::of_sound(frames, sound.audio, sound.frames.is_empty()))
            }
            Self::Packets(packets) => {
                Ok(Gap::of_sound(packets.end(), packets.audio(), packets.is_blank()))
            }
            Self::Video(cutter) => Ok(Gap::of(cutter.fill()?, cutter.rung())),
            Self::Copy(copier) => Ok(Gap::of(copier.end()?, copier.rung())),
        }
    }
}

/// Makes the segments of an audio rendition in AAC.
pub struct Sound<'a> {
    audio: &'a Audio,
    config: AudioConfig,
    cutter: adts::Cutter,
    /// Pre-roll frames still to be dropped.
    skip: u64,
    /// The segment being made, and its frames so far.
    n: u32,
    frames: Frames,
    /// Whether no more frames come.
    ended: bool,
}

impl<'a> Sound<'a> {
    fn new(audio: &'a Audio, config: AudioConfig, n: u32, skip: u64) -> Self {
        let cutter = adts::Cutter::new(config);
        Self { audio, config, cutter, skip, n, frames: Frames::default(), ended: false }
    }

    fn segment(&mut self) -> Result<Option<(u32, Bytes)>, Corrupt> {
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
        if self.ended
            && let Some(frames) = self.audio.table.frames(self.n)
        {
            let missing = (frames.end - frames.start).saturating_sub(self.frames.len() as u64);
            self.frames.push_silence(self.config, missing as usize)?;
        }
        Ok(self.take())
    }

    /// Frames of the source from here to its end.
    fn missing(&self) -> u64 {
        let end = self.audio.frames;
        let start = self.audio.table.frames(self.n).map_or(end, |frames| frames.start);
        end.saturating_sub(start + self.frames.len() as u64)
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
    use crate::package::{
        choices::Choices,
        plan::{Plan, tests::media},
        table::FRAME,
    };

    fn audio() -> Audio {
        let media = media(44_100, 2, 44_100 * 20);
        Plan::new(&media, &Choices::default()).unwrap().audio.remove(0)
    }

    /// `count` frames as ffmpeg would write them.
    fn adts(audio: &Audio, count: usize) -> Vec<u8> {
        let mut frames = Frames::default();
        let config = audio.codec.aac().unwrap();
        frames.push_silence(config, count).unwrap();
        frames.iter().flat_map(|f| [&config.header(f.len() as u16), f].concat()).collect()
    }

    #[test]
    fn segments_come_when_their_frames_are_there() {
        let audio = audio();
        let mut muxer = Muxer::audio(&audio, 1, 16);
        let length = audio.table.frames(1).unwrap();
        let count = 16 + (length.end - length.start) as usize;
        muxer.push(&adts(&audio, count - 1));
        assert!(muxer.segment().unwrap().is_none());
        muxer.push(&adts(&audio, 1));
        let (n, bytes) = muxer.segment().unwrap().unwrap();
        assert_eq!((n, fmp4::frame_count(&bytes).unwrap().0), (1, length.start));
        assert!(muxer.segment().unwrap().is_none());
    }

    #[test]
    fn what_is_missing_is_filled_to_the_end_of_the_table() {
        let audio = audio();
        let mut muxer = Muxer::audio(&audio, 0, 0);
        muxer.push(&adts(&audio, 50));
        assert_eq!(muxer.segment().unwrap().unwrap().0, 0);
        assert!(muxer.segment().unwrap().is_none());
        assert_eq!(muxer.end().unwrap().frames, audio.table.total() / FRAME - 50);
        let filled: Vec<_> =
            std::iter::from_fn(|| muxer.segment().unwrap()).map(|(n, _)| n).collect();
        assert_eq!(filled, (1..audio.table.len()).collect::<Vec<_>>());
        assert_eq!(muxer.end().unwrap().frames, 0);
    }

    #[test]
    fn silence_that_was_planned_is_not_missing() {
        let track = media(44_100, 2, 44_100).audio.remove(0);
        let container = crate::source::probe::Container::Wav;
        let audio = Audio::of(&track, container, &Choices::default(), 20_000).unwrap();
        let mut muxer = Muxer::audio(&audio, 0, 0);
        muxer.push(&adts(&audio, audio.frames as usize));
        while muxer.segment().unwrap().is_some() {}
        assert_eq!(muxer.end().unwrap().frames, 0);
        let filled = std::iter::from_fn(|| muxer.segment().unwrap()).count();
        assert!(filled > 3, "{filled}");
    }
}
