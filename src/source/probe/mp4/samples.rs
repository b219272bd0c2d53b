//! The sample table of an MP4 track (ISO/IEC 14496-12 sections 8.6 and 8.7).

use super::{
    super::input::{be32, bits},
    boxes::child,
};

/// The most sample descriptions of a track that ffmpeg reads.
const DESCRIPTIONS: usize = 1024;

/// Runs of samples of one duration: `stts`; or of one offset: `ctts`.
#[derive(Clone, Debug, Default)]
pub(super) struct Durations(Vec<(u32, u32)>);

impl Durations {
    /// The runs of an `stts` box; None if it is cut short.
    pub(super) fn read(stbl: &[u8]) -> Option<Self> {
        Self::of(stbl, *b"stts")
    }

    /// The runs of another box of the same form.
    pub(super) fn of(stbl: &[u8], kind: [u8; 4]) -> Option<Self> {
        let runs = table(child(stbl, kind)?)?.iter();
        Some(Self(runs.map(|&[count, value]| (word(count), word(value))).collect()))
    }

    /// The number of each sample, one after another.
    pub(super) fn each(&self) -> impl Iterator<Item = u32> {
        self.0.iter().flat_map(|&(count, value)| std::iter::repeat_n(value, count as usize))
    }

    /// The duration of all samples but the last, if it is one.
    pub(super) fn usual(&self) -> Option<u64> {
        let mut runs = self.0.iter().filter(|(count, _)| *count > 0);
        let &(count, usual) = runs.next()?;
        match (runs.next(), runs.next()) {
            (None, _) => Some(u64::from(usual)),
            (Some((1, _)), None) if count > 0 => Some(u64::from(usual)),
            _ => None,
        }
    }

    /// The duration of the first `count` samples.
    pub(super) fn sum(&self, mut count: u64) -> u64 {
        self.0.iter().fold(0, |sum: u64, &(run, duration)| {
            let taken = count.min(u64::from(run));
            count -= taken;
            sum.saturating_add(taken.saturating_mul(u64::from(duration)))
        })
    }

    /// The sample that is shown at `time`, and the time at which it starts; None past the end.
    pub(super) fn at(&self, time: u64) -> Option<(u64, u64)> {
        let (mut sample, mut start) = (0u64, 0u64);
        for &(run, duration) in &self.0 {
            let length = u64::from(run).checked_mul(u64::from(duration))?;
            if time < start.checked_add(length)? {
                let skip = (time - start) / u64::from(duration);
                return Some((sample + skip, start + skip * u64::from(duration)));
            }
            sample += u64::from(run);
            start = start.checked_add(length)?;
        }
        None
    }
}

/// The 32 bits that a table has a number in.
type Word = [u8; 4];

pub(super) fn word(bytes: Word) -> u32 {
    u32::from_be_bytes(bytes)
}

fn wide([high, low]: [Word; 2]) -> u64 {
    u64::from(word(high)) << 32 | u64::from(word(low))
}

/// The entries of one table, of so many words each.
pub(super) type Table<'a, const WORDS: usize> = &'a [[Word; WORDS]];

/// The entries behind version, flags and count of a full box; None if some are missing.
pub(super) fn table<const WORDS: usize>(full: &[u8]) -> Option<Table<'_, WORDS>> {
    let count = usize::try_from(be32(full, 4)?).ok()?;
    let words = full.get(8..)?.as_chunks().0;
    words.as_chunks().0.get(..count)
}

/// Where chunks begin, by `stco` or `co64`.
pub(super) enum Chunks<'a> {
    Narrow(Table<'a, 1>),
    Wide(Table<'a, 2>),
}

impl<'a> Chunks<'a> {
    /// None if they are missing or cut short.
    pub(super) fn read(stbl: &'a [u8]) -> Option<Self> {
        Some(match child(stbl, *b"co64") {
            Some(wide) => Self::Wide(table(wide)?),
            None => Self::Narrow(table(child(stbl, *b"stco")?)?),
        })
    }

    /// Where a chunk begins.
    pub(super) fn get(&self, n: usize) -> Option<u64> {
        match self {
            Self::Narrow(chunks) => chunks.get(n).map(|&[at]| u64::from(word(at))),
            Self::Wide(chunks) => chunks.get(n).copied().map(wide),
        }
    }

    /// Whether they come in the order of their offsets.
    fn is_ordered(&self) -> bool {
        match self {
            Self::Narrow(chunks) => chunks.is_sorted_by_key(|&[at]| word(at)),
            Self::Wide(chunks) => chunks.is_sorted_by_key(|&at| wide(at)),
        }
    }
}

/// Where the samples of a track lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Samples that lie in the file as a whole, from the first on.
    pub(super) held: u64,
    /// Whether the file ends before the last of them.
    pub(super) cut: bool,
    /// The offset of the first chunk in bytes.
    pub(super) first: u64,
    /// Whether all chunks come in the order of their offsets.
    pub(super) ordered: bool,
}

impl Layout {
    /// The layout by `stsz`, `stsc` and `stco`, in a file of `length` bytes; None if a box is missing or cut short.
    ///
    /// `constant` is the size of a sample of PCM in bytes, whose `stsz` cannot be relied on.
    pub(super) fn read(stbl: &[u8], length: u64, constant: Option<u64>) -> Option<Self> {
        let sizes = Sizes::read(stbl, constant)?;
        let chunks = Chunks::read(stbl)?;
        let mut runs = table(child(stbl, *b"stsc")?)?;
        let (mut held, mut per_chunk, mut cut) = (0, 0, false);
        for chunk in 0.. {
            let Some(offset) = chunks.get(chunk) else {
                break;
            };
            while let Some((&[from, samples, _], later)) = runs.split_first()
                && word(from) as usize <= chunk + 1
            {
                (per_chunk, runs) = (u64::from(word(samples)), later);
            }
            let wanted = per_chunk.min(sizes.count().saturating_sub(held));
            let fit = sizes.fit(held, wanted, length.saturating_sub(offset));
            held += fit;
            if fit < wanted {
                cut = true;
                break;
            }
        }
        let (first, ordered) = (chunks.get(0).unwrap_or(0), chunks.is_ordered());
        Some(Self { held, cut, first, ordered })
    }
}

/// The sizes of samples in bytes.
pub(super) enum Sizes<'a> {
    Constant(u64, u64),
    Table(&'a [Word], u64),
    Compact(&'a [u8], u64, usize),
}

impl<'a> Sizes<'a> {
    /// The sizes by `stsz` or `stz2`; `constant` as in [`Layout::read`].
    pub(super) fn read(stbl: &'a [u8], constant: Option<u64>) -> Option<Self> {
        if let Some(stsz) = child(stbl, *b"stsz") {
            let (size, count) = (u64::from(be32(stsz, 4)?), u64::from(be32(stsz, 8)?));
            return Some(match (constant, size) {
                (Some(size), _) | (None, size @ 1..) => Self::Constant(size, count),
                (None, 0) => Self::Table(stsz.get(12..)?.as_chunks().0, count),
            });
        }
        let stz2 = child(stbl, *b"stz2")?;
        let width = usize::try_from(be32(stz2, 4)? & 0xff).ok()?;
        matches!(width, 4 | 8 | 16).then_some(Self::Compact(
            stz2.get(12..)?,
            u64::from(be32(stz2, 8)?),
            width,
        ))
    }

    /// How many samples there are said to be.
    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Constant(_, count) | Self::Table(_, count) | Self::Compact(_, count, _) => *count,
        }
    }

    /// How many of `wanted` samples from `first` on lie within `room` bytes.
    fn fit(&self, first: u64, wanted: u64, mut room: u64) -> u64 {
        if let Self::Constant(size, _) = self {
            return wanted.min(room / size.max(&1));
        }
        if self.sum(first, wanted).is_some_and(|sum| sum <= room) {
            return wanted;
        }
        for n in 0..wanted {
            match self.size(first + n) {
                Some(size) if size <= room => room -= size,
                _ => return n,
            }
        }
        wanted
    }

    /// Bytes of so many samples of a plain table; None past its end, and of others.
    fn sum(&self, first: u64, count: u64) -> Option<u64> {
        let Self::Table(sizes, _) = self else { return None };
        let first = usize::try_from(first).ok()?;
        let sizes = sizes.get(first..first.checked_add(usize::try_from(count).ok()?)?)?;
        Some(sizes.iter().map(|&size| u64::from(word(size))).sum())
    }

    /// The size of one sample; None past the table.
    pub(super) fn size(&self, sample: u64) -> Option<u64> {
        let sample = usize::try_from(sample).ok()?;
        match *self {
            Self::Constant(size, _) => Some(size),
            Self::Table(sizes, _) => sizes.get(sample).map(|&size| u64::from(word(size))),
            Self::Compact(table, _, width) => {
                bits(table, sample.checked_mul(width)?, width).map(u64::from)
            }
        }
    }
}

/// Whether a sample table holds together as far as ffmpeg's reader looks at it: where not, it refuses the whole file.
pub(super) fn holds_together(stbl: &[u8]) -> bool {
    let described = child(stbl, *b"stsd").is_none_or(|stsd| {
        let most = (stsd.len() / 8).min(DESCRIPTIONS) as u32;
        be32(stsd, 4).is_some_and(|count| (1..=most).contains(&count))
    });
    let sized = child(stbl, *b"stsz").is_none_or(|stsz| {
        let count = be32(stsz, 8).and_then(|count| usize::try_from(count).ok());
        let table: Option<&[Word]> =
            count.and_then(|count| stsz.get(12..)?.as_chunks().0.get(..count));
        let is_constant = be32(stsz, 4).is_some_and(|size| size > 0);
        // One that is negative shows in all of them together.
        let all = |table: &[Word]| table.iter().fold(0, |all, &size| all | word(size));
        is_constant || table.is_some_and(|table| all(table).cast_signed() >= 0)
    });
    let chunks = child(stbl, *b"co64").or_else(|| child(stbl, *b"stco"));
    let chunks = chunks.and_then(|full| be32(full, 4)).unwrap_or(0);
    let runs = child(stbl, *b"stsc").and_then(|stsc| table::<3>(stsc)?.last());
    let placed = runs.is_none_or(|&[first, ..]| word(first) <= chunks);
    described && sized && placed
}
