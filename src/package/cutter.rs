//! The cutter: what ffmpeg encodes of one rung, cut into the CMAF segments that its table promises.
//!
//! ffmpeg's word counts for nothing: each sample has to be the next frame of the table by its time and to be shown at that very
//! time, each segment has to begin with a keyframe, and codec and size have to be those that the playlist says.

use bytes::Bytes;

use super::{adts::Corrupt, avc, fmp4::samples::Sample, fragments, reel::Reel, video::Rung};

/// A frame that is not the next one: at the beginning, ffmpeg sought and came out behind what it was asked for.
pub const OUT_OF_STEP: Corrupt = Corrupt("a frame at another time than that of the next one");

/// Cuts one head's output. Holds one segment at most, its last keyframe, and what was pushed and not yet cut.
#[derive(Debug)]
pub struct Cutter<'a> {
    reel: Reel<'a>,
}

impl<'a> Cutter<'a> {
    /// A cutter of what a head for segment `first` and those behind it writes.
    pub fn new(rung: &'a Rung, first: u32) -> Self {
        Self { reel: Reel::new(rung, first) }
    }

    /// Takes the next bytes of ffmpeg's output. Call [`Cutter::segment`] until it has none left before pushing more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.reel.push(bytes);
    }

    /// The initialization segment, once [`Cutter::segment`] has come by what it is made of. The same for every head.
    pub fn init(&self) -> Option<&Bytes> {
        self.reel.init()
    }

    /// What it cuts.
    pub fn rung(&self) -> &'a Rung {
        self.reel.rung
    }

    /// The number of the segment that comes next; that of all segments once all are cut.
    pub fn next(&self) -> u32 {
        self.reel.n
    }

    /// The next segment, as soon as its last frame is there; None until more is pushed, and past the table's end.
    ///
    /// # Errors
    /// When ffmpeg did not do what it was told: [`OUT_OF_STEP`], another codec or size, a segment without a keyframe at its beginning, or
    /// frames out of order. An error stays.
    pub fn segment(&mut self) -> Result<Option<Bytes>, Corrupt> {
        loop {
            let Some(frames) = self.rung().frames(self.reel.n) else {
                return Ok(None);
            };
            let wanted = (frames.end - frames.start) as usize;
            let there = self.reel.samples.len();
            if there < wanted && self.take()? {
                continue;
            }
            return if there == wanted || (self.reel.ended && there > 0) {
                Ok(Some(self.cut()))
            } else if self.reel.ended {
                let ticks = self.rung().table.ticks(self.reel.n).unwrap_or_default();
                self.reel.still(ticks.start, ticks.end - ticks.start).map(Some)
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
        let reel = &mut self.reel;
        reel.ended = true;
        let end = reel.rung.table.total() / u64::from(reel.rung.duration());
        let start = reel.rung.frames(reel.n).map_or(end, |frames| frames.start);
        let missing = reel.filled((end - start).saturating_sub(reel.samples.len() as u64))?;
        if missing > 0 && reel.fragments.rest() > 0 {
            return Err(Corrupt("the last frame is not whole"));
        }
        Ok(missing)
    }

    /// Moves one sample over; false when there is none yet.
    fn take(&mut self) -> Result<bool, Corrupt> {
        let rung = self.rung();
        let start = rung.table.ticks(self.reel.n).unwrap_or_default().start;
        let there = self.reel.samples.len() as u64;
        let due = start + there * u64::from(rung.duration());
        let Some(found) = self.reel.fragments.sample()? else {
            return self.note_track().map(|()| false);
        };
        let fragments::Sample { time, offset, sync, data, .. } = found;
        if time != due {
            return Err(OUT_OF_STEP);
        }
        if there == 0 && !sync {
            return Err(Corrupt("a segment that does not begin with a keyframe"));
        }
        if offset != 0 {
            return Err(Corrupt("a frame that is shown at another time than it is decoded"));
        }
        if there == 0 {
            data.clone_into(&mut self.reel.keyframe);
        }
        let sample = Sample { size: 0, duration: rung.duration(), offset, sync };
        self.reel.samples.push(data, sample)?;
        self.note_track().map(|()| true)
    }

    /// Makes the initialization segment, if that can be and has not been done.
    fn note_track(&mut self) -> Result<(), Corrupt> {
        const NONE: Corrupt = Corrupt("video that is not H.264 in avc1");
        let rung = self.rung();
        let Some(entry) = self.reel.entry()? else {
            return Ok(());
        };
        let record = entry.child(*b"avcC").filter(|_| entry.kind == *b"avc1").ok_or(NONE)?;
        if avc::read(record)? != rung.codecs() || entry.size != [rung.width, rung.height] {
            return Err(Corrupt("H.264 of another profile, level or size than it was asked for"));
        }
        self.reel.begin(rung.table.timescale(), rung.duration())
    }

    /// Makes a segment of the samples that are there, the last one stretched to its end.
    fn cut(&mut self) -> Bytes {
        let ticks = self.rung().table.ticks(self.reel.n).unwrap_or_default();
        let samples = &mut self.reel.samples;
        samples.stretch((ticks.end - ticks.start).saturating_sub(samples.duration()));
        self.reel.cut(ticks.start)
    }
}

#[cfg(test)]
mod tests;
