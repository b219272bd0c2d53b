//! The cutter: what ffmpeg encodes of one rung, cut into the CMAF segments that its table promises.
//!
//! ffmpeg's word counts for nothing: each sample has to be the next frame of the table by its time and to be shown at that very
//! time, each segment has to begin with a keyframe, and codec and size have to be those that the playlist says.

use bytes::Bytes;

use super::{
    adts::Corrupt,
    avc,
    fmp4::video::{self, Sample, Samples, Track},
    fragments::{self, Fragments},
    video::Rung,
};

/// Bytes of an `avc1` box before the boxes in it.
const ENTRY: usize = 86;

/// A frame that is not the next one: at the beginning, ffmpeg sought and came out behind what it was asked for.
pub const OUT_OF_STEP: Corrupt = Corrupt("a frame at another time than that of the next one");

/// Cuts one head's output. Holds one segment at most, its last keyframe, and what was pushed and not yet cut.
#[derive(Debug)]
pub struct Cutter<'a> {
    rung: &'a Rung,
    codecs: String,
    fragments: Fragments,
    init: Option<Bytes>,
    /// The segment that is next, and its samples so far.
    n: u32,
    samples: Samples,
    /// The first sample of the last segment that had one.
    keyframe: Vec<u8>,
    /// Whether no more samples come.
    ended: bool,
}

impl<'a> Cutter<'a> {
    /// A cutter of what a head for segment `first` and those behind it writes.
    pub fn new(rung: &'a Rung, first: u32) -> Self {
        Self {
            rung,
            codecs: rung.codecs(),
            fragments: Fragments::default(),
            init: None,
            n: first,
            samples: Samples::default(),
            keyframe: Vec::new(),
            ended: false,
        }
    }

    /// Takes the next bytes of ffmpeg's output. Call [`Cutter::segment`] until it has none left before pushing more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.fragments.push(bytes);
    }

    /// The initialization segment, once [`Cutter::segment`] has come by what it is made of. The same for every head.
    pub fn init(&self) -> Option<&Bytes> {
        self.init.as_ref()
    }

    /// What it cuts.
    pub fn rung(&self) -> &'a Rung {
        self.rung
    }

    /// The number of the segment that comes next; that of all segments once all are cut.
    pub fn next(&self) -> u32 {
        self.n
    }

    /// The next segment, as soon as its last frame is there; None until more is pushed, and past the table's end.
    ///
    /// # Errors
    /// When ffmpeg did not do what it was told: [`OUT_OF_STEP`], another codec or size, a segment without a keyframe at its beginning, or
    /// frames out of order. An error stays.
    pub fn segment(&mut self) -> Result<Option<Bytes>, Corrupt> {
        loop {
            let Some(frames) = self.rung.frames(self.n) else {
                return Ok(None);
            };
            let wanted = (frames.end - frames.start) as usize;
            if self.samples.len() < wanted && self.take()? {
                continue;
            }
            return if self.samples.len() == wanted || (self.ended && !self.samples.is_empty()) {
                Ok(Some(self.cut()))
            } else if self.ended {
                self.still(wanted as u64).map(Some)
            } else {
                Ok(None)
            };
        }
    }

    /// Tells that ffmpeg has ended, and answers how many frames were promised and did not come. From then on
    /// [`Cutter::segment`] gives all segments up to the table's end: the last frame that came is shown to the end of its
    /// segment, and each one behind it shows the last keyframe.
    ///
    /// # Errors
    /// When frames are missing and none ever came, or ffmpeg broke off amid one.
    pub fn fill(&mut self) -> Result<u64, Corrupt> {
        self.ended = true;
        let end = self.rung.table.total() / u64::from(self.rung.duration());
        let start = self.rung.frames(self.n).map_or(end, |frames| frames.start);
        let missing = (end - start).saturating_sub(self.samples.len() as u64);
        if missing > 0 && self.samples.is_empty() && self.keyframe.is_empty() {
            return Err(Corrupt("no frame came"));
        }
        if missing > 0 && self.fragments.rest() > 0 {
            return Err(Corrupt("the last frame is not whole"));
        }
        Ok(missing)
    }

    /// Moves one sample over; false when there is none yet.
    fn take(&mut self) -> Result<bool, Corrupt> {
        let found = self.fragments.sample()?;
        let Some(fragments::Sample { time, offset, sync, data, .. }) = found else {
            return self.note_track().map(|()| false);
        };
        let start = self.rung.table.ticks(self.n).unwrap_or_default().start;
        let due = start + self.samples.len() as u64 * u64::from(self.rung.duration());
        if time != due {
            return Err(OUT_OF_STEP);
        }
        if self.samples.is_empty() {
            if !sync {
                return Err(Corrupt("a segment that does not begin with a keyframe"));
            }
            self.keyframe.clear();
            self.keyframe.extend_from_slice(data);
        }
        if offset != 0 {
            return Err(Corrupt("a frame that is shown at another time than it is decoded"));
        }
        let sample = Sample { size: 0, duration: self.rung.duration(), offset, sync };
        self.samples.push(data, sample)?;
        self.note_track().map(|()| true)
    }

    /// Makes the initialization segment, if that can be and has not been done.
    fn note_track(&mut self) -> Result<(), Corrupt> {
        let (Some(entry), None) = (self.fragments.entry(), &self.init) else {
            return Ok(());
        };
        let rung = self.rung;
        if self.fragments.timescale() != Some(rung.table.timescale()) {
            return Err(Corrupt("video of another timescale than it was asked for"));
        }
        if codecs_and_size(entry)? != (self.codecs.clone(), [rung.width, rung.height]) {
            return Err(Corrupt("H.264 of another profile, level or size than it was asked for"));
        }
        let track = Track {
            timescale: rung.table.timescale(),
            duration: rung.duration(),
            width: rung.width,
            height: rung.height,
            entry,
        };
        self.init = Some(video::init(track));
        Ok(())
    }

    /// Makes a segment of the samples that are there, the last one stretched to its end.
    fn cut(&mut self) -> Bytes {
        let mut samples = std::mem::take(&mut self.samples);
        let ticks = self.rung.table.ticks(self.n).unwrap_or_default();
        samples.stretch((ticks.end - ticks.start).saturating_sub(samples.duration()));
        self.n += 1;
        video::segment(self.n, ticks.start, &samples)
    }

    /// Makes a segment of the last keyframe alone.
    fn still(&mut self, frames: u64) -> Result<Bytes, Corrupt> {
        if self.keyframe.is_empty() {
            return Err(Corrupt("no frame came"));
        }
        let duration = u64::from(self.rung.duration()) * frames;
        let duration = u32::try_from(duration).unwrap_or(u32::MAX);
        let keyframe = Sample { size: 0, duration, offset: 0, sync: true };
        self.samples.push(&self.keyframe, keyframe)?;
        Ok(self.cut())
    }
}

/// CODECS and the coded size of a sample entry of H.264 (`avc1`, a whole box).
fn codecs_and_size(entry: &[u8]) -> Result<(String, [u32; 2]), Corrupt> {
    const NONE: Corrupt = Corrupt("video that is not H.264 in avc1");
    let (head, mut rest) = entry.split_first_chunk::<ENTRY>().ok_or(NONE)?;
    if &head[4..8] != b"avc1" {
        return Err(NONE);
    }
    let side = |at: usize| u32::from(u16::from_be_bytes([head[at], head[at + 1]]));
    loop {
        let (size, after) = rest.split_first_chunk().ok_or(NONE)?;
        let size = (u32::from_be_bytes(*size) as usize).checked_sub(4).ok_or(NONE)?;
        let (body, after) = after.split_at_checked(size).ok_or(NONE)?;
        if let Some(record) = body.strip_prefix(b"avcC") {
            return Ok((avc::read(record)?, [side(32), side(34)]));
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests;
