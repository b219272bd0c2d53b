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
    samples: Vec<Sample>,
}

impl Samples {
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
