//! The copier: what ffmpeg takes out of a source as it is, cut into CMAF segments at the planned keyframes.
//!
//! Pictures that are damaged are left out, and the one before each stands still. Where a keyframe is, so do all behind it up to
//! the next one that a segment begins with: without it they would show nothing that anybody has filmed.

use bytes::Bytes;

use super::{
    adts::Corrupt,
    copy::Copied,
    cutter::OUT_OF_STEP,
    fmp4::samples::Sample,
    fragments,
    nal::Units,
    reel::{Entry, Reel},
    video::Rung,
};
use crate::source::probe;

/// Cuts one head's output. Holds one segment at most, and what was pushed and not yet cut.
#[derive(Debug)]
pub struct Copier<'a> {
    copied: &'a Copied,
    reel: Reel<'a>,
    /// Whether ffmpeg was asked to seek: then a keyframe that does not come may only have been passed by.
    sought: bool,
    /// How its samples are taken apart, once the first has come.
    units: Units,
    /// When the first sample of the segment is decoded.
    start: u64,
    /// The sample that came last: how long it lasts only the next one tells.
    held: Option<Held>,
    /// The samples of the segment before the first that is shown when the next segment should have begun.
    within: Option<usize>,
    /// A keyframe that came in the place of another.
    late: Option<Held>,
    /// Pictures that were left out.
    damaged: u64,
}

#[derive(Debug)]
struct Held {
    time: u64,
    duration: u32,
    offset: i32,
    sync: bool,
    /// Whether it can be a picture at all.
    fit: bool,
    data: Vec<u8>,
}

impl<'a> Copier<'a> {
    /// A copier of what a head for segment `first` and those behind it writes, which may have `sought` it.
    pub fn new(rung: &'a Rung, copied: &'a Copied, first: u32, sought: bool) -> Self {
        let (reel, units) = (Reel::new(rung, first), Units::Other);
        let (start, damaged) = (0, 0);
        Self { copied, reel, sought, units, start, held: None, within: None, late: None, damaged }
    }

    /// Takes the next bytes of ffmpeg's output.
    pub fn push(&mut self, bytes: &[u8]) {
        self.reel.push(bytes);
    }

    /// The initialization segment, once a sample has come. The same for every head.
    pub fn init(&self) -> Option<&Bytes> {
        self.reel.init()
    }

    /// How many pictures were none, or came to nothing for want of their keyframe.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// What it copies.
    pub fn rung(&self) -> &'a Rung {
        self.reel.rung
    }

    /// The next segment and its number, once the keyframe behind it has come; None until more is pushed, and past the end.
    ///
    /// # Errors
    /// [`OUT_OF_STEP`] when a planned keyframe does not come behind a seek; another codec than was told; anything that no player
    /// could show.
    pub fn segment(&mut self) -> Result<Option<(u32, Bytes)>, Corrupt> {
        loop {
            if self.reel.n >= self.rung().table.len() {
                return Ok(None);
            }
            let next = self.late.take();
            let Some(next) = next.map_or_else(|| self.take(), |late| Ok(Some(late)))? else {
                break;
            };
            if let Some(whole) = self.place(next)? {
                return Ok(Some(whole));
            }
        }
        if !self.reel.ended {
            return Ok(None);
        }
        if let Some(held) = self.held.take() {
            let duration = held.duration;
            self.keep(&held, duration)?;
        }
        if self.reel.samples.is_empty() {
            return self.still().map(Some);
        }
        Ok(Some(self.cut()))
    }

    /// Says that ffmpeg has ended, and how many frames, by the average, are missing to the end of the track.
    ///
    /// # Errors
    /// When frames are missing and none ever came.
    pub fn end(&mut self) -> Result<u64, Corrupt> {
        self.reel.ended = true;
        let end = self.copied.times.last().copied().unwrap_or(0);
        let held = self.held.as_ref().map(|held| held.time + u64::from(held.duration));
        let begins = self.at(self.reel.n).unwrap_or(end);
        let missing = end.saturating_sub(held.unwrap_or(begins)) / self.frame().max(1);
        self.reel.filled(missing)
    }

    /// When segment `n` begins by the track's own times; behind the last one, when that ends.
    fn at(&self, n: u32) -> Option<u64> {
        self.copied.times.get(n as usize).copied()
    }

    /// Ticks of one frame, on average.
    fn frame(&self) -> u64 {
        self.copied.frame(self.rung().rate)
    }

    /// The next sample of ffmpeg's.
    fn take(&mut self) -> Result<Option<Held>, Corrupt> {
        let found = self.reel.fragments.sample()?;
        let shift = self.copied.shift;
        let next = found.map(|fragments::Sample { time, duration, offset, sync, data }| Held {
            time: time.saturating_add(shift),
            duration,
            offset,
            sync,
            fit: true,
            data: data.to_vec(),
        });
        if next.is_some() {
            self.note_track()?;
        }
        let units = self.units;
        Ok(next.map(|next| Held { fit: units.fit(&next.data), ..next }))
    }

    /// Puts a sample where it belongs; gives the segment that it ends.
    fn place(&mut self, next: Held) -> Result<Option<(u32, Bytes)>, Corrupt> {
        let shown = next.time.saturating_add_signed(i64::from(next.offset));
        let (begun, n) = (self.held.is_some(), self.reel.n);
        let bound = self.at(if begun { n + 1 } else { n }).unwrap_or(u64::MAX);
        let tolerance = self.frame() / 2;
        let is_last = begun && n + 1 == self.rung().table.len();
        let is_key = next.sync && next.fit;
        let is_bound = is_key && !is_last && shown + tolerance >= bound;
        if is_bound && shown > bound + tolerance {
            return self.pass(next).map(Some);
        }
        if !begun {
            // After a seek, what comes before the keyframe that was sought. If that never comes, the last one is shown.
            if is_bound {
                self.begin(next);
            } else if is_key {
                self.reel.keyframe = next.data;
            } else if shown >= bound {
                self.damaged += 1;
            }
            return Ok(None);
        }
        if let Some(held) = self.held.take() {
            let duration = next.time.saturating_sub(held.time);
            self.keep(&held, u32::try_from(duration).unwrap_or(u32::MAX))?;
        }
        if !is_bound {
            if !is_last && shown >= bound && self.within.is_none() {
                self.within = Some(self.reel.samples.len());
            }
            self.held = Some(next);
            return Ok(None);
        }
        self.within = None;
        let whole = self.cut();
        self.begin(next);
        Ok(Some(whole))
    }

    /// A keyframe has come, and one that was planned before it has not: the picture before that stands still, or the first that
    /// there is.
    fn pass(&mut self, late: Held) -> Result<(u32, Bytes), Corrupt> {
        if self.sought {
            return Err(OUT_OF_STEP);
        }
        // ffmpeg hands on nothing before the first keyframe that it takes for one.
        self.damaged = self.damaged.max(1);
        if self.reel.keyframe.is_empty() {
            self.reel.keyframe.clone_from(&late.data);
        }
        let whole = match self.held.take() {
            Some(held) => {
                let duration = late.time.saturating_sub(held.time);
                self.keep(&held, u32::try_from(duration).unwrap_or(u32::MAX))?;
                self.cut()
            }
            None => self.still()?,
        };
        self.late = Some(late);
        Ok(whole)
    }

    fn begin(&mut self, keyframe: Held) {
        self.start = keyframe.time;
        self.reel.keyframe.clone_from(&keyframe.data);
        self.held = Some(keyframe);
    }

    fn keep(&mut self, held: &Held, duration: u32) -> Result<(), Corrupt> {
        if !held.fit {
            self.damaged += 1;
            self.reel.samples.stretch(duration.into());
            return Ok(());
        }
        let offset = i64::from(held.offset) + i64::from(self.copied.reorder);
        let offset = u32::try_from(offset).ok().and_then(|offset| i32::try_from(offset).ok());
        let offset = offset.ok_or(Corrupt("frames further out of order than was told"))?;
        let sample = Sample { size: 0, duration, offset, sync: held.sync };
        self.reel.samples.push(&held.data, sample)
    }

    fn cut(&mut self) -> (u32, Bytes) {
        if let Some(within) = self.within.take() {
            let begin = self.at(self.reel.n).unwrap_or(self.start);
            let end = self.at(self.reel.n + 1).unwrap_or(begin);
            let samples = &mut self.reel.samples;
            self.damaged += samples.len().saturating_sub(within) as u64;
            samples.end(within, end.saturating_sub(begin));
        }
        let start = self.reel.samples.settle(self.start, self.copied.reorder);
        (self.reel.n, self.reel.cut(start))
    }

    /// A segment of the last keyframe alone.
    fn still(&mut self) -> Result<(u32, Bytes), Corrupt> {
        let n = self.reel.n;
        let times = self.at(n).zip(self.at(n + 1));
        let (from, to) = times.ok_or(Corrupt("more segments than were planned"))?;
        let picture = self.reel.still(from, to.saturating_sub(from))?;
        Ok((n, picture))
    }

    /// Makes the initialization segment, if that can be and has not been done.
    fn note_track(&mut self) -> Result<(), Corrupt> {
        let Some(entry) = self.reel.entry()? else {
            return Ok(());
        };
        if codecs(entry).as_ref() != Some(&self.copied.codecs) {
            return Err(Corrupt("video of another codec, profile or level than was told"));
        }
        self.units = units(entry);
        let duration = u32::try_from(self.frame()).unwrap_or(0);
        self.reel.begin(self.copied.timescale, duration)
    }
}

/// CODECS of a sample entry that is copied.
fn codecs(entry: Entry<'_>) -> Option<String> {
    let (kind, record) = configuration(entry)?;
    probe::codecs(kind, record)
}

/// How samples under this entry are taken apart.
fn units(entry: Entry<'_>) -> Units {
    configuration(entry).map_or(Units::Other, |(kind, record)| Units::of(kind, record))
}

/// The decoder configuration of a sample entry, and its type.
fn configuration(entry: Entry<'_>) -> Option<([u8; 4], &[u8])> {
    let kind = match &entry.kind {
        b"avc1" => *b"avcC",
        b"hvc1" => *b"hvcC",
        b"av01" => *b"av1C",
        _ => return None,
    };
    Some((kind, entry.child(kind)?))
}
