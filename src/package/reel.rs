//! The reel: what ffmpeg writes of one rung, sample by sample, and the segment that is made of it.
//!
//! Here is what the [`cutter`](super::cutter) and the [`copier`](super::copier) share; they say what a sample has to be, and
//! where a segment ends.

use bytes::Bytes;

use super::{
    adts::Corrupt,
    fmp4::{
        samples::Samples,
        video::{self, Track},
    },
    fragments::{self, Fragments},
    video::Rung,
};

/// Bytes of a visual sample entry before the boxes in it.
const ENTRY: usize = 86;

const NONE: Corrupt = Corrupt("no frame came");

/// What one head's ffmpeg writes of a rung. Holds one segment at most, its last keyframe, and what was pushed and not yet taken.
#[derive(Debug)]
pub(super) struct Reel<'a> {
    /// What is on it.
    pub(super) rung: &'a Rung,
    /// What was pushed and not yet taken.
    pub(super) fragments: Fragments,
    init: Option<Bytes>,
    /// The segment that is next.
    pub(super) n: u32,
    /// Its samples so far.
    pub(super) samples: Samples,
    /// The first sample of the last segment that had one.
    pub(super) keyframe: Vec<u8>,
    /// Whether no more samples come.
    pub(super) ended: bool,
}

/// A visual sample entry (ISO/IEC 14496-12 section 12.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    /// Its type.
    pub(super) kind: [u8; 4],
    /// Width and height of its pictures as they are coded.
    pub(super) size: [u32; 2],
    boxes: &'a [u8],
}

impl<'a> Reel<'a> {
    /// What a head for segment `first` and those behind it writes.
    pub(super) fn new(rung: &'a Rung, first: u32) -> Self {
        Self {
            rung,
            fragments: Fragments::default(),
            init: None,
            n: first,
            samples: Samples::default(),
            keyframe: Vec::new(),
            ended: false,
        }
    }

    /// Takes the next bytes of ffmpeg's output. Take all samples before pushing more.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.fragments.push(bytes);
    }

    /// The initialization segment, once it was [made](Self::begin).
    pub(super) fn init(&self) -> Option<&Bytes> {
        self.init.as_ref()
    }

    /// The sample entry, while there is no initialization segment and as soon as one can be made of it.
    pub(super) fn entry(&self) -> Result<Option<Entry<'_>>, Corrupt> {
        let entry = self.fragments.entry().filter(|_| self.init.is_none());
        entry.map(|entry| Entry::read(entry).ok_or(Corrupt("video without pictures"))).transpose()
    }

    /// Makes the initialization segment of a track of so many ticks a second, most of whose samples last `duration`.
    pub(super) fn begin(&mut self, timescale: u32, duration: u32) -> Result<(), Corrupt> {
        if self.fragments.timescale() != Some(timescale) {
            return Err(Corrupt("video of another timescale than it was asked for"));
        }
        let (width, height) = (self.rung.width, self.rung.height);
        let entry = self.fragments.entry().unwrap_or_default();
        let track = Track { timescale, duration, width, height, entry };
        self.init = Some(video::init(track));
        Ok(())
    }

    /// Makes a segment of the samples that are there, the first of which is decoded at `start`.
    pub(super) fn cut(&mut self, start: u64) -> Bytes {
        let samples = std::mem::take(&mut self.samples);
        self.n += 1;
        video::segment(self.n, start, &samples)
    }

    /// Makes a segment of the last keyframe alone: a picture that stands still for so many ticks.
    pub(super) fn still(&mut self, start: u64, duration: u64) -> Result<Bytes, Corrupt> {
        if self.keyframe.is_empty() {
            return Err(NONE);
        }
        self.samples = Samples::still(&self.keyframe, duration)?;
        Ok(self.cut(start))
    }

    /// What `missing` frames come to at the end: an error where none ever came that could stand still.
    pub(super) fn filled(&self, missing: u64) -> Result<u64, Corrupt> {
        let has_any = !self.samples.is_empty() || !self.keyframe.is_empty();
        if missing > 0 && !has_any { Err(NONE) } else { Ok(missing) }
    }
}

impl<'a> Entry<'a> {
    /// Reads a whole box.
    fn read(whole: &'a [u8]) -> Option<Self> {
        let (head, boxes) = whole.split_first_chunk::<ENTRY>()?;
        let side = |at: usize| u32::from(u16::from_be_bytes([head[at], head[at + 1]]));
        let kind = [head[4], head[5], head[6], head[7]];
        Some(Self { kind, size: [side(32), side(34)], boxes })
    }

    /// The body of the first box of this type in it.
    pub(super) fn child(&self, kind: [u8; 4]) -> Option<&'a [u8]> {
        fragments::boxes(self.boxes)
            .map_while(Result::ok)
            .find(|(found, _)| *found == kind)
            .map(|(_, body)| body)
    }
}
