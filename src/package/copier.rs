//! The copier: what ffmpeg takes out of a source as it is, cut into CMAF segments at the planned keyframes.

use bytes::Bytes;

use super::{
    adts::Corrupt,
    copy::Copied,
    cutter::OUT_OF_STEP,
    fmp4::video::{self, Sample, Samples, Track},
    fragments::{self, Fragments},
    video::Rung,
};

/// Cuts one head's output. Holds one segment at most, and what was pushed and not yet cut.
#[derive(Debug)]
pub struct Copier<'a> {
    rung: &'a Rung,
    copied: &'a Copied,
    fragments: Fragments,
    init: Option<Bytes>,
    /// The segment that is next, when its first sample is decoded, and its samples so far.
    n: u32,
    start: u64,
    samples: Samples,
    /// The sample that came last: how long it lasts only the next one tells.
    held: Option<Held>,
    /// The first sample of the last segment that had one.
    keyframe: Vec<u8>,
    ended: bool,
}

#[derive(Debug)]
struct Held {
    time: u64,
    duration: u32,
    offset: i32,
    sync: bool,
    data: Vec<u8>,
}

impl<'a> Copier<'a> {
    /// A copier of what a head for segment `first` and those behind it writes.
    pub fn new(rung: &'a Rung, copied: &'a Copied, first: u32) -> Self {
        Self {
            rung,
            copied,
            fragments: Fragments::default(),
            init: None,
            n: first,
            start: 0,
            samples: Samples::default(),
            held: None,
            keyframe: Vec::new(),
            ended: false,
        }
    }

    /// Takes the next bytes of ffmpeg's output.
    pub fn push(&mut self, bytes: &[u8]) {
        self.fragments.push(bytes);
    }

    /// The initialization segment, once a sample has come. The same for every head.
    pub fn init(&self) -> Option<&Bytes> {
        self.init.as_ref()
    }

    /// The next segment and its number, once the keyframe behind it has come; None until more is pushed, and past the end.
    ///
    /// # Errors
    /// [`OUT_OF_STEP`] when a planned keyframe does not come; anything that no player could show.
    pub fn segment(&mut self) -> Result<Option<(u32, Bytes)>, Corrupt> {
        loop {
            if self.n >= self.rung.table.len() {
                return Ok(None);
            }
            let Some(next) = self.take()? else {
                break;
            };
            if let Some(whole) = self.place(next)? {
                return Ok(Some(whole));
            }
        }
        if !self.ended {
            return Ok(None);
        }
        if let Some(held) = self.held.take() {
            let duration = held.duration;
            self.keep(&held, duration)?;
        }
        if self.samples.is_empty() {
            return self.still().map(Some);
        }
        Ok(Some(self.cut()))
    }

    /// Says that ffmpeg has ended, and how many frames, by the average, are missing to the end of the track.
    ///
    /// # Errors
    /// When frames are missing and none ever came.
    pub fn end(&mut self) -> Result<u64, Corrupt> {
        self.ended = true;
        let end = self.copied.times.last().copied().unwrap_or(0);
        let held = self.held.as_ref().map(|held| held.time + u64::from(held.duration));
        let begins = self.copied.times.get(self.n as usize).copied().unwrap_or(end);
        let missing = end.saturating_sub(held.unwrap_or(begins)) / self.frame().max(1);
        if missing > 0 && held.is_none() && self.keyframe.is_empty() {
            return Err(Corrupt("no frame came"));
        }
        Ok(missing)
    }

    /// What it copies.
    pub fn rung(&self) -> &'a Rung {
        self.rung
    }

    /// Ticks of one frame, on average.
    fn frame(&self) -> u64 {
        let rate = self.rung.rate;
        u64::from(self.copied.timescale) * u64::from(rate.denominator)
            / u64::from(rate.numerator.max(1))
    }

    /// The next sample of ffmpeg's.
    fn take(&mut self) -> Result<Option<Held>, Corrupt> {
        let found = self.fragments.sample()?;
        let next = found.map(|fragments::Sample { time, duration, offset, sync, data }| Held {
            time,
            duration,
            offset,
            sync,
            data: data.to_vec(),
        });
        if next.is_some() && self.init.is_none() {
            self.note_track()?;
        }
        Ok(next)
    }

    /// Puts a sample where it belongs; gives the segment that it ends.
    fn place(&mut self, next: Held) -> Result<Option<(u32, Bytes)>, Corrupt> {
        let shown = next.time.saturating_add_signed(i64::from(next.offset));
        let at = |n: u32| self.copied.times.get(n as usize).copied();
        let begun = self.held.is_some();
        let bound = at(if begun { self.n + 1 } else { self.n }).unwrap_or(u64::MAX);
        let tolerance = self.frame() / 2;
        let is_last = begun && self.n + 1 == self.rung.table.len();
        let is_bound = next.sync && !is_last && shown + tolerance >= bound;
        if is_bound && shown > bound + tolerance {
            return Err(OUT_OF_STEP);
        }
        if !begun {
            // After a seek, what comes before the keyframe that was sought.
            if is_bound {
                self.begin(next);
            }
            return Ok(None);
        }
        if let Some(held) = self.held.take() {
            let duration = next.time.saturating_sub(held.time);
            self.keep(&held, u32::try_from(duration).unwrap_or(u32::MAX))?;
        }
        if !is_bound {
            self.held = Some(next);
            return Ok(None);
        }
        let whole = self.cut();
        self.begin(next);
        Ok(Some(whole))
    }

    fn begin(&mut self, keyframe: Held) {
        self.start = keyframe.time;
        self.keyframe.clone_from(&keyframe.data);
        self.held = Some(keyframe);
    }

    fn keep(&mut self, held: &Held, duration: u32) -> Result<(), Corrupt> {
        let offset = i64::from(held.offset) + i64::from(self.copied.reorder);
        let offset = u32::try_from(offset).ok().and_then(|offset| i32::try_from(offset).ok());
        let offset = offset.ok_or(Corrupt("frames further out of order than was told"))?;
        let sample = Sample { size: 0, duration, offset, sync: held.sync };
        self.samples.push(&held.data, sample)
    }

    fn cut(&mut self) -> (u32, Bytes) {
        let mut samples = std::mem::take(&mut self.samples);
        let start = samples.settle(self.start, self.copied.reorder);
        let n = self.n;
        self.n += 1;
        (n, video::segment(self.n, start, &samples))
    }

    /// A segment of the last keyframe alone.
    fn still(&mut self) -> Result<(u32, Bytes), Corrupt> {
        let n = self.n as usize;
        let (Some(&from), Some(&to)) = (self.copied.times.get(n), self.copied.times.get(n + 1))
        else {
            return Err(Corrupt("no frame came"));
        };
        if self.keyframe.is_empty() {
            return Err(Corrupt("no frame came"));
        }
        self.start = from;
        let duration = u32::try_from(to.saturating_sub(from)).unwrap_or(u32::MAX);
        let offset = i32::try_from(self.copied.reorder).unwrap_or(0);
        let sample = Sample { size: 0, duration, offset, sync: true };
        let keyframe = std::mem::take(&mut self.keyframe);
        let pushed = self.samples.push(&keyframe, sample);
        self.keyframe = keyframe;
        pushed?;
        Ok(self.cut())
    }

    /// Makes the initialization segment.
    fn note_track(&mut self) -> Result<(), Corrupt> {
        let Some(entry) = self.fragments.entry() else {
            return Ok(());
        };
        if self.fragments.timescale() != Some(self.copied.timescale) {
            return Err(Corrupt("video of another timescale than it was asked for"));
        }
        self.init = Some(video::init(Track {
            timescale: self.copied.timescale,
            duration: u32::try_from(self.frame()).unwrap_or(0),
            width: self.rung.width,
            height: self.rung.height,
            entry,
        }));
        Ok(())
    }
}
