//! A run of samples, and media segments of such.

use std::ops::Range;

use bytes::{Buf, BufMut, Bytes};

use super::{
    CORRUPT,
    moof::{DURATION, FLAGS, Moof, OFFSET, Parts, SIZE},
};
use crate::package::adts::Corrupt;

/// Flags of a sample that depends on no other: a keyframe.
pub(super) const SYNC: u32 = 0x0200_0000;

/// Flags of a sample that depends on others and cannot be started from.
pub(super) const DEPENDENT: u32 = 0x0101_0000;

/// The most payload bytes in one [`Samples`], so that box sizes and offsets of 32 bits always hold.
const MAX_PAYLOAD: usize = 1 << 30;

/// The most samples in one [`Samples`], for the same reason.
const MAX_SAMPLES: usize = 1 << 20;

/// What is said of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Payload bytes.
    pub size: u32,
    /// Ticks that it lasts in decoding order.
    pub duration: u32,
    /// Ticks from its decoding time to when it is shown.
    pub offset: i32,
    /// Whether it is a keyframe.
    pub sync: bool,
}

/// A run of samples in decoding order: one payload, and what is said of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    payload: Vec<u8>,
    pub(super) samples: Vec<Sample>,
}

impl Samples {
    /// A keyframe alone: a picture that stands still for so many ticks, from when it is decoded on.
    ///
    /// # Errors
    /// As [`Samples::push`].
    pub fn still(keyframe: &[u8], ticks: u64) -> Result<Self, Corrupt> {
        let mut still = Self::default();
        let duration = u32::try_from(ticks).unwrap_or(u32::MAX);
        still.push(keyframe, Sample { size: 0, duration, offset: 0, sync: true })?;
        Ok(still)
    }

    /// Appends a sample; its size is that of `payload`.
    ///
    /// # Errors
    /// When a gigabyte or a million samples are full.
    pub fn push(&mut self, payload: &[u8], sample: Sample) -> Result<(), Corrupt> {
        let full = self.payload.len() + payload.len() > MAX_PAYLOAD;
        if full || self.samples.len() == MAX_SAMPLES {
            return Err(Corrupt("more samples than one segment holds"));
        }
        self.payload.extend_from_slice(payload);
        self.samples.push(Sample { size: payload.len() as u32, ..sample });
        Ok(())
    }

    /// Makes the last sample last so many ticks longer.
    pub fn stretch(&mut self, ticks: u64) {
        if let Some(last) = self.samples.last_mut() {
            let duration = u64::from(last.duration).saturating_add(ticks);
            last.duration = u32::try_from(duration).unwrap_or(u32::MAX);
        }
    }

    /// Leaves out all samples but the first `count`, and has the last of those last until `ticks` behind the first.
    pub fn end(&mut self, count: usize, ticks: u64) {
        self.samples.truncate(count);
        let bytes = self.samples.iter().map(|sample| sample.size as usize).sum();
        self.payload.truncate(bytes);
        let Some((last, others)) = self.samples.split_last_mut() else {
            return;
        };
        let before: u64 = others.iter().map(|sample| u64::from(sample.duration)).sum();
        let left = ticks.saturating_sub(before).max(1);
        last.duration = u32::try_from(left).unwrap_or(u32::MAX);
    }

    /// Moves decoding times so that each picture is shown when it was, nothing is decoded after it is shown, and the first is
    /// decoded when it is shown: offsets were too large by `delay`, the ticks by which decoding runs ahead. The run's first
    /// samples are decoded a tick after one another until they are ahead, its last ones so late that it still ends where it
    /// did and none reaches beyond that, and no later: Chromium shows the last picture for as long as its sample lasts. Gives
    /// when the first is decoded: `start`, or earlier where pictures are shown before the first.
    pub fn settle(&mut self, start: u64, delay: u32) -> u64 {
        let delay = i64::from(delay);
        let mut end = 0;
        let show = |sample: &Sample| {
            let shown = end + i64::from(sample.offset) - delay;
            end += i64::from(sample.duration);
            shown
        };
        let shown: Vec<i64> = self.samples.iter().map(show).collect();
        let earliest = i64::try_from(start).map_or(i64::MIN, |start| -start);
        let first = (0..).zip(&shown).map(|(n, shown)| shown - n).min().unwrap_or(0);
        let first = first.min(0).max(earliest);

        let mut ahead = -delay;
        let decode = |(soonest, sample): (i64, &Sample)| {
            let decoded = ahead.max(soonest);
            ahead += i64::from(sample.duration);
            decoded
        };
        let mut decoded: Vec<i64> = (first..).zip(&self.samples).map(decode).collect();
        let (mut next, mut latest) = (end, i64::MAX);
        for (decoded, &shown) in decoded.iter_mut().zip(&shown).rev() {
            let inside = next - (end - shown);
            if *decoded >= inside {
                break;
            }
            latest = latest.min(shown);
            *decoded = inside.min(latest).min(next - 1).max(*decoded);
            next = *decoded;
        }

        let ends = decoded.iter().skip(1).copied().chain([end]);
        let times = decoded.iter().zip(ends).zip(&shown);
        for (sample, ((&decoded, next), &shown)) in self.samples.iter_mut().zip(times) {
            sample.duration = u32::try_from((next - decoded).max(0)).unwrap_or(u32::MAX);
            sample.offset = i32::try_from(shown - decoded).unwrap_or(i32::MAX);
        }
        start.saturating_add_signed(decoded.first().copied().unwrap_or(0))
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The bytes of all samples, one after the other.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// What is said of each sample.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// Ticks of all samples.
    pub fn duration(&self) -> u64 {
        self.samples.iter().map(|sample| u64::from(sample.duration)).sum()
    }
}

/// A media segment whose first sample is decoded at tick `start`, and that says `said` of each sample, and how long each lasts
/// where they differ.
pub(super) fn segment(sequence: u32, start: u64, samples: &Samples, said: u32) -> Bytes {
    let usual = samples.samples.first().map_or(0, |sample| sample.duration);
    let uneven = samples.samples.iter().any(|sample| sample.duration != usual);
    let said = if uneven { said | DURATION } else { said };
    let moof = Moof { sequence, start, usual: Some(usual), said, samples: samples.len() };
    let table = |out: &mut Vec<u8>| {
        for sample in &samples.samples {
            let flags = if sample.sync { SYNC } else { DEPENDENT };
            let fields = [
                (DURATION, sample.duration),
                (SIZE, sample.size),
                (FLAGS, flags),
                (OFFSET, sample.offset.cast_unsigned()),
            ];
            fields.iter().filter(|(flag, _)| said & flag != 0).for_each(|(_, v)| out.put_u32(*v));
        }
    };
    moof.segment(table, &samples.payload)
}

/// Bytes of a segment that says `said` of so many samples with so many bytes of payload, or a little more.
pub(super) const fn size(samples: usize, payload: usize, said: u32) -> usize {
    Moof { sequence: 0, start: 0, usual: Some(0), said: said | DURATION, samples }.size(payload)
}

/// The ticks that a segment covers that [`segment`] made, without copying. All of it is checked; where flags are said, the
/// first sample has to be a keyframe.
///
/// # Errors
/// For anything else.
pub(super) fn ticks(segment: &[u8], said: u32) -> Result<Range<u64>, Corrupt> {
    let Parts { moof, mut table, payload } = Moof::split(segment)?;
    let usual = moof.usual.filter(|_| moof.said & !DURATION == said).ok_or(CORRUPT)?;
    if moof.samples > MAX_SAMPLES || payload.len() > MAX_PAYLOAD {
        return Err(CORRUPT);
    }
    let (mut bytes, mut end, mut begins) = (0, moof.start, said & FLAGS == 0);
    for n in 0..moof.samples {
        let mut field = |flag| if moof.said & flag == 0 { None } else { Some(table.get_u32()) };
        let duration = field(DURATION).unwrap_or(usual);
        bytes += u64::from(field(SIZE).unwrap_or(0));
        begins |= field(FLAGS) == Some(SYNC) && n == 0;
        field(OFFSET);
        end = end.checked_add(u64::from(duration)).ok_or(CORRUPT)?;
    }
    if begins && bytes == payload.len() as u64 { Ok(moof.start..end) } else { Err(CORRUPT) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_run_lasts_as_long_as_it_is_told_to() {
        let mut run = Samples::default();
        for size in 1..=4 {
            let sample = Sample { size: 0, duration: 40, offset: 0, sync: size == 1 };
            run.push(&vec![7; size], sample).unwrap();
        }
        let ended = |count, ticks| {
            let mut run = run.clone();
            run.end(count, ticks);
            let durations: Vec<_> = run.samples().iter().map(|sample| sample.duration).collect();
            (durations, run.payload().len())
        };
        assert_eq!(ended(2, 160), (vec![40, 120], 3));
        assert_eq!(ended(3, 100), (vec![40, 40, 20], 6));
        assert_eq!(ended(2, 10), (vec![40, 1], 3));
        assert_eq!(ended(0, 10), (vec![], 0));
    }
}
