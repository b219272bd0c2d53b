//! The demuxer: segments of what is copied, straight out of an MP4, with no process in between.
//!
//! Samples lie in the file as its index says, so a segment in the middle is made as fast as the first, of the same bytes.
//! What the index does not tell to the last sample is left to ffmpeg.

use std::os::unix::fs::FileExt;

use bytes::Bytes;

use super::{
    Part,
    adts::{AudioConfig, Corrupt, Frames, MAX_FRAME},
    audio::Audio,
    copy::Copied,
    fmp4::{
        audio,
        samples::{Sample, Samples},
        video,
    },
    nal::Units,
    video::Rung,
};
use crate::{
    error::{Error, Result},
    source::{
        probe::{Cursor, Index, Input, Place},
        spool::Spool,
    },
};

/// Bytes between two samples up to which both are read at once.
const NEAR: u64 = 64 * 1024;

/// The most bytes of the samples of one segment.
const MOST: u64 = 1 << 28;

/// Cuts one track of one source.
#[derive(Debug)]
pub struct Demuxer {
    part: Part,
    index: Index,
    /// Before the first sample of each segment, and behind the last one of all.
    cuts: Vec<Cursor>,
    /// The composition offset of the first sample: all others are too large by it.
    first: i32,
}

/// What is cut.
enum What<'a> {
    Sound(&'a Audio, AudioConfig),
    Picture(&'a Rung, &'a Copied),
}

impl<'a> What<'a> {
    /// None where a rendition is not a copy out of an MP4.
    fn of(Part { package, rendition }: &'a Part) -> Option<Self> {
        if let Some(audio) = package.plan.audio(rendition.track) {
            let config = audio.codec.aac().filter(|_| audio.is_copied())?;
            return audio.container.is_mp4().then_some(Self::Sound(audio, config));
        }
        let rung = package.plan.rung(rendition.track)?;
        let copied = rung.copied.as_ref().filter(|_| rung.container.is_mp4())?;
        Some(Self::Picture(rung, copied))
    }

    fn index(&self, input: &Input<'_>) -> Option<Index> {
        let index = match self {
            Self::Sound(audio, _) => Index::sound(input, audio.index),
            Self::Picture(rung, _) => Index::picture(input, rung.index),
        };
        index.ok().flatten()
    }

    fn cuts(&self, index: &Index, first: i32) -> Option<Vec<Cursor>> {
        match self {
            Self::Sound(audio, _) => frames(audio, index),
            Self::Picture(_, copied) => keyframes(copied, index, first),
        }
    }
}

impl Demuxer {
    /// The demuxer of a rendition; None where it is not a copy out of an MP4 whose index tells everything. Blocks while the
    /// header is read.
    pub fn open(part: &Part, source: &Spool) -> Option<Self> {
        let what = What::of(part)?;
        let (have, total) = (source.available(), source.total());
        let index = what.index(&Input::file(source.file(), have, total, source.is_whole()))?;
        let first = index.walk(Cursor::default())?.next()?.offset;
        let cuts = what.cuts(&index, first)?;
        Some(Self { part: part.clone(), index, cuts, first })
    }

    /// The initialization segment, where the plan does not tell it.
    pub fn init(&self) -> Option<Bytes> {
        let What::Picture(rung, copied) = What::of(&self.part)? else {
            return None;
        };
        let (width, height) = (rung.width, rung.height);
        let entry = video::entry(self.index.kind, [width, height], &self.index.config);
        Some(video::init(video::Track {
            timescale: copied.timescale,
            duration: u32::try_from(copied.frame(rung.rate)).unwrap_or(0),
            width,
            height,
            entry: &entry,
        }))
    }

    /// Bytes of the source that have to be there for segment `n`, from its beginning on.
    pub fn needs(&self, n: u32) -> u64 {
        self.places(n).map(|place| place.at + u64::from(place.size)).max().unwrap_or(0)
    }

    /// Segment `n`, and how many of its pictures are none: the one before them stands still. Blocks while its samples are read.
    ///
    /// # Errors
    /// When they cannot be read, or nobody could play them.
    pub fn segment(&self, source: &Spool, n: u32) -> Result<(Bytes, u64)> {
        let places: Vec<_> = self.places(n).collect();
        let bytes: u64 = places.iter().map(|place| u64::from(place.size)).sum();
        if bytes > MOST {
            return Err(unfit(Corrupt("more of it in one segment than anybody plays")));
        }
        match What::of(&self.part) {
            None => Err(Error::encode_failed("nothing is planned for this rendition")),
            Some(What::Sound(audio, config)) => {
                let cut = audio.packets(n).unwrap_or_default();
                let mut frames = Frames::default();
                each(source, &places, |_, data| frames.push(data))?;
                let missing = (cut.end - cut.start).saturating_sub(frames.len() as u64);
                frames.push_silence(config, missing as usize).map_err(unfit)?;
                Ok((audio::segment(n + 1, cut.start, &frames), 0))
            }
            Some(What::Picture(_, copied)) => {
                let begin = copied.times.first().copied().unwrap_or(0);
                let finer = finer(copied, &self.index).unwrap_or(1);
                let time = |place: &Place| begin + place.time * u64::from(finer);
                let start = places.first().map_or(begin, time);
                let (mut samples, missing) = self.pictures(source, &places, (copied, finer))?;
                if samples.is_empty() {
                    let still = self.still(source, n, copied)?;
                    return Ok((video::segment(n + 1, start, &still), missing));
                }
                let start = samples.settle(start, copied.reorder);
                Ok((video::segment(n + 1, start, &samples), missing))
            }
        }
    }

    /// The pictures of a segment, and how many are none; without any where its keyframe is none.
    fn pictures(
        &self,
        source: &Spool,
        places: &[Place],
        (copied, finer): (&Copied, u32),
    ) -> Result<(Samples, u64)> {
        let units = Units::boxed(&self.index.config);
        let (mut samples, mut missing) = (Samples::default(), 0);
        each(source, places, |place, data| {
            let duration = place.duration.saturating_mul(finer);
            if !units.fit(data) || (samples.is_empty() && missing > 0) {
                missing += 1;
                samples.stretch(duration.into());
                return Ok(());
            }
            let offset = i64::from(copied.reorder) + lag(place, self.first, finer);
            let offset = i32::try_from(offset).unwrap_or(i32::MAX);
            samples.push(data, Sample { size: 0, duration, offset, sync: place.sync })
        })?;
        Ok((samples, missing))
    }

    /// The last keyframe before segment `n` that is one, else the first behind it, standing still for all of it.
    fn still(&self, source: &Spool, n: u32, copied: &Copied) -> Result<Samples> {
        let times = copied.times.get(n as usize).zip(copied.times.get(n as usize + 1));
        let ticks = times.map_or(0, |(from, to)| to.saturating_sub(*from));
        let units = Units::boxed(&self.index.config);
        let segments = self.cuts.len() as u32;
        for other in (0..n).rev().chain(n + 1..segments) {
            let keyframe: Vec<_> = self.places(other).take(1).collect();
            let mut still = None;
            each(source, &keyframe, |_, data| {
                still = units.fit(data).then(|| Samples::still(data, ticks)).transpose()?;
                Ok(())
            })?;
            if let Some(still) = still {
                return Ok(still);
            }
        }
        Err(unfit(Corrupt("no picture that could be shown")))
    }

    /// The samples of segment `n`.
    fn places(&self, n: u32) -> impl Iterator<Item = Place> {
        let cut = |n: usize| self.cuts.get(n).copied();
        let bounds = cut(n as usize).zip(cut(n as usize + 1));
        let walk = bounds.and_then(|(from, to)| Some(self.index.walk(from)?.take(to.since(from))));
        walk.into_iter().flatten()
    }
}

/// Where the segments of a track of sound begin, by the numbers of their frames, and its end.
fn frames(audio: &Audio, index: &Index) -> Option<Vec<Cursor>> {
    let segments = audio.table.len() as usize;
    let bounds = (0..audio.table.len()).map_while(|n| audio.packets(n));
    let mut bounds = bounds.map(|frames| frames.start).peekable();
    let mut cuts = Vec::with_capacity(segments + 1);
    let mut walk = index.walk(Cursor::default())?;
    for frame in 0..audio.frames {
        if bounds.next_if_eq(&frame).is_some() {
            cuts.push(walk.cursor());
        }
        walk.next().filter(|place| (1..=MAX_FRAME).contains(&(place.size as usize)))?;
    }
    // What the table has beyond the source is silence.
    cuts.resize(segments + 1, walk.cursor());
    Some(cuts)
}

/// Where the segments of a track of pictures begin, by when their keyframes are shown, and its end.
fn keyframes(copied: &Copied, index: &Index, first: i32) -> Option<Vec<Cursor>> {
    let (&end, bounds) = copied.times.split_last()?;
    let &begin = bounds.first()?;
    let finer = finer(copied, index)?;
    let mut bounds = bounds.iter().peekable();
    let mut cuts = Vec::with_capacity(copied.times.len());
    let mut latest = begin;
    let mut walk = index.walk(Cursor::default())?;
    loop {
        let cursor = walk.cursor();
        let Some(place) = walk.next() else {
            break;
        };
        let lag = lag(&place, first, finer);
        let offset = i64::from(copied.reorder) + lag;
        let time = place.time.checked_mul(finer.into())?;
        let shown = begin.checked_add(time)?.checked_add_signed(lag)?;
        latest = latest.max(shown);
        // Otherwise it would have to be shown before it is decoded.
        i32::try_from(offset).ok().filter(|&offset| offset >= 0)?;
        if place.sync && bounds.next_if_eq(&&shown).is_some() {
            cuts.push(cursor);
        }
    }
    cuts.push(walk.cursor());
    (bounds.next().is_none() && latest < end).then_some(cuts)
}

/// Ticks of what is served in one of the source's.
fn finer(copied: &Copied, index: &Index) -> Option<u32> {
    let finer = copied.timescale.checked_div(index.timescale)?;
    (finer.checked_mul(index.timescale) == Some(copied.timescale)).then_some(finer)
}

/// Ticks, `finer` than the source's, by which a sample is shown later than it is decoded, if the first, whose offset is
/// `first`, is shown at once.
fn lag(place: &Place, first: i32, finer: u32) -> i64 {
    (i64::from(place.offset) - i64::from(first)) * i64::from(finer)
}

/// Reads samples, those that lie close together at once.
fn each(
    source: &Spool,
    places: &[Place],
    mut push: impl FnMut(&Place, &[u8]) -> Result<(), Corrupt>,
) -> Result<()> {
    let end = |place: &Place| place.at + u64::from(place.size);
    let is_near = |a: &Place, b: &Place| b.at.checked_sub(end(a)).is_some_and(|gap| gap <= NEAR);
    for run in places.chunk_by(is_near) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else {
            continue;
        };
        let mut bytes = vec![0; (end(last) - first.at) as usize];
        let read = source.file().read_exact_at(&mut bytes, first.at);
        read.map_err(|e| Error::encode_failed(format!("reading a source: {e}")))?;
        for place in run {
            let from = (place.at - first.at) as usize;
            let data = bytes.get(from..from + place.size as usize).unwrap_or_default();
            push(place, data).map_err(unfit)?;
        }
    }
    Ok(())
}

fn unfit(what: Corrupt) -> Error {
    Error::encode_failed(format!("the source has {what}"))
}
