//! The samples of fragments (ISO/IEC 14496-12 section 8.8).

use std::borrow::Cow;

use super::{
    super::input::{be32, be64},
    boxes::{boxes, child},
    track::Track,
};

/// The content of a `moof`.
pub(super) type Moof<'a> = Cow<'a, [u8]>;

/// Samples of all fragments that are looked at: a run can claim any number of them without a byte.
const MOST: u64 = 16_000_000;

/// The numbers of the tracks that a fragment has samples of.
pub(super) fn tracks(moof: &[u8]) -> impl Iterator<Item = u32> {
    let trafs = boxes(moof).filter(|(kind, _)| kind == b"traf");
    trafs.map(|(_, traf)| child(traf, *b"tfhd").and_then(|tfhd| be32(tfhd, 4)).unwrap_or(0))
}

/// One sample of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// When it is decoded, in ticks of the track.
    pub(super) decoded: u64,
    /// How long it lasts.
    pub(super) duration: u32,
    /// Bytes.
    pub(super) size: u32,
    /// Whether decoding can begin with it.
    pub(super) key: bool,
    /// How much later than decoded it is shown.
    pub(super) offset: i32,
}

/// How the runs of a track are read: `trex`, and what has been met.
pub(super) struct Runs {
    id: u32,
    defaults: Defaults,
    clock: u64,
    left: u64,
}

#[derive(Clone, Copy, Default)]
struct Defaults {
    duration: u32,
    size: u32,
    flags: u32,
}

impl Runs {
    /// The runs of a track; None if it has no number.
    pub(super) fn of(track: &Track<'_>) -> Option<Self> {
        let id = track.id()?;
        let extends = child(track.movie.moov, *b"mvex").unwrap_or_default();
        let trex = boxes(extends).find(|(kind, body)| kind == b"trex" && be32(body, 4) == Some(id));
        let field = |at| trex.and_then(|(_, body)| be32(body, at)).unwrap_or(0);
        let defaults = Defaults { duration: field(12), size: field(16), flags: field(20) };
        Some(Self { id, defaults, clock: 0, left: MOST })
    }

    /// Shows every sample of the track; None where a fragment is broken, or holds more than anybody needs.
    pub(super) fn walk(
        mut self,
        fragments: &[Moof<'_>],
        mut each: impl FnMut(Sample),
    ) -> Option<()> {
        for moof in fragments {
            for (_, traf) in boxes(moof).filter(|(kind, _)| kind == b"traf") {
                let tfhd = child(traf, *b"tfhd")?;
                if be32(tfhd, 4)? != self.id {
                    continue;
                }
                let defaults = self.defaults.overridden(tfhd)?;
                if let Some(tfdt) = child(traf, *b"tfdt") {
                    self.clock = match tfdt.first()? {
                        1 => be64(tfdt, 4)?,
                        _ => u64::from(be32(tfdt, 4)?),
                    };
                }
                for (_, trun) in boxes(traf).filter(|(kind, _)| kind == b"trun") {
                    self.run(trun, defaults, &mut each)?;
                }
            }
        }
        Some(())
    }

    fn run(
        &mut self,
        trun: &[u8],
        defaults: Defaults,
        each: &mut impl FnMut(Sample),
    ) -> Option<()> {
        let flags = be32(trun, 0)?;
        let count = u64::from(be32(trun, 4)?);
        self.left = self.left.checked_sub(count)?;
        let mut at = 8 + if flags & 1 == 0 { 0 } else { 4 };
        let first = if flags & 4 == 0 { None } else { Some(be32(trun, at)?) };
        at += if first.is_some() { 4 } else { 0 };
        let mut field = |bit: u32, usual: u32| -> Option<u32> {
            if flags & bit == 0 {
                return Some(usual);
            }
            at += 4;
            be32(trun, at - 4)
        };
        for n in 0..count {
            let duration = field(0x100, defaults.duration)?;
            let size = field(0x200, defaults.size)?;
            let usual = first.filter(|_| n == 0).unwrap_or(defaults.flags);
            let key = field(0x400, usual)? & 0x1_0000 == 0;
            let offset = field(0x800, 0)?.cast_signed();
            each(Sample { decoded: self.clock, duration, size, key, offset });
            self.clock = self.clock.checked_add(u64::from(duration))?;
        }
        Some(())
    }
}

impl Defaults {
    /// What a `tfhd` says instead.
    fn overridden(self, tfhd: &[u8]) -> Option<Self> {
        let flags = be32(tfhd, 0)?;
        let mut at = 8 + if flags & 1 == 0 { 0 } else { 8 } + if flags & 2 == 0 { 0 } else { 4 };
        let mut field = |bit: u32, usual: u32| -> Option<u32> {
            if flags & bit == 0 {
                return Some(usual);
            }
            at += 4;
            be32(tfhd, at - 4)
        };
        Some(Self {
            duration: field(8, self.duration)?,
            size: field(0x10, self.size)?,
            flags: field(0x20, self.flags)?,
        })
    }
}
