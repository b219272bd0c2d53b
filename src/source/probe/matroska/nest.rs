//! Which elements may stand where (RFC 9559 section 5): damage shows in one that may not, or that is longer than what it is in.

use super::{
    BLOCK, CLUSTER, DISCARD, DURATION, GROUP, REFERENCE, SIMPLE, TIMESTAMP, element::Element,
};

/// What stands in a segment beside clusters: `SeekHead`, Info, Tracks, Cues, Attachments, Chapters and Tags.
const TOP: [u32; 7] =
    [0x114d_9b74, super::INFO, super::TRACKS, 0x1c53_bb6b, 0x1941_a469, 0x1043_a770, 0x1254_c367];

/// In a cluster: beside blocks `SilentTracks`, Position, `PrevSize` and `EncryptedBlock`.
const CLUSTERED: [u32; 7] = [TIMESTAMP, SIMPLE, GROUP, 0x5854, 0xa7, 0xab, 0xaf];

/// In a group: beside the block `BlockAdditions`, `ReferencePriority`, `CodecState`, Slices and what is not used any more.
const GROUPED: [u32; 11] =
    [BLOCK, DURATION, REFERENCE, DISCARD, 0x75a1, 0xfa, 0xa4, 0x8e, 0xa2, 0xfd, 0xc8];

/// Everywhere: Void and CRC-32.
const ANYWHERE: [u32; 2] = [0xec, 0xbf];

/// Another file behind this one: its EBML header, and its segment.
const CHAINED: [u32; 2] = [0x1a45_dfa3, super::SEGMENT];

/// An element that others stand in, and where it ends; None inside where it does not say.
type Level = Option<Option<u64>>;

/// What a walk over the clusters of a segment is in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Nest {
    /// Where the segment ends, if it says.
    segment: Option<u64>,
    cluster: Level,
    group: Level,
}

impl Nest {
    /// In a segment, and in nothing else.
    pub(super) fn within(segment: Element) -> Self {
        Self { segment: end(&segment), ..Self::default() }
    }

    /// Whether what stands at `at` comes behind the segment.
    pub(super) fn is_over(&self, at: u64) -> bool {
        self.segment.is_some_and(|end| at >= end)
    }

    /// Whether `element` may stand at `at`, in a file of `length` bytes; notes if others stand in it. It may be longer than the
    /// file where that is shorter than its segment.
    pub(super) fn enter(&mut self, at: u64, element: &Element, length: u64) -> bool {
        let is_over = |level: Level| level.flatten().is_some_and(|end| at >= end);
        if is_over(self.cluster) {
            (self.cluster, self.group) = (None, None);
        }
        if is_over(self.group) {
            self.group = None;
        }
        let id = element.id;
        if id == CLUSTER || TOP.contains(&id) {
            // Clusters of unknown size end where others begin.
            let is_free = !matches!(self.cluster, Some(Some(_)));
            (self.cluster, self.group) = ((id == CLUSTER).then_some(end(element)), None);
            return is_free && self.holds(element, length);
        }
        let is_grouped = self.group.is_some() && GROUPED.contains(&id);
        let is_free = !matches!(self.group, Some(Some(_))) && self.cluster.is_some();
        let may = is_grouped || is_free && CLUSTERED.contains(&id) || ANYWHERE.contains(&id);
        let fits = may && self.holds(element, length) || CHAINED.contains(&id);
        if id == GROUP {
            self.group = Some(end(element));
        }
        fits
    }

    /// Whether an element ends within what it stands in.
    fn holds(&self, element: &Element, length: u64) -> bool {
        let is_cut = self.segment.is_none_or(|end| end > length);
        let around = match (self.group, self.cluster) {
            _ if element.id == CLUSTER => None,
            (Some(Some(end)), _) | (None, Some(Some(end))) => Some(end),
            _ => None,
        };
        let bound = around.or((!is_cut).then_some(length));
        bound.is_none_or(|bound| element.end() <= bound)
    }
}

/// Where an element ends, if it says.
fn end(element: &Element) -> Option<u64> {
    element.size.map(|_| element.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOID: u32 = 0xec;

    /// Whether elements of these ids may follow each other: where each begins, and where it ends, if it says.
    fn fits(segment: Option<u64>, length: u64, elements: &[(u32, u64, Option<u64>)]) -> bool {
        let mut nest = Nest { segment, ..Nest::default() };
        elements.iter().all(|&(id, at, end)| {
            let body = at + 2;
            nest.enter(at, &Element { id, body, size: end.map(|end| end - body) }, length)
        })
    }

    #[test]
    fn what_stands_where_it_may_is_entered() {
        let whole = [
            (CLUSTER, 10, Some(40)),
            (TIMESTAMP, 12, Some(15)),
            (SIMPLE, 15, Some(20)),
            (GROUP, 20, Some(40)),
            (BLOCK, 22, Some(30)),
            (DURATION, 30, Some(40)),
            (CLUSTER, 40, None),
            (TIMESTAMP, 42, Some(45)),
            (VOID, 45, Some(50)),
            (SIMPLE, 50, Some(60)),
            (CLUSTER, 60, None),
            (SIMPLE, 62, Some(70)),
            (TOP[3], 70, Some(100)),
        ];
        assert!(fits(Some(100), 100, &whole) && fits(None, 100, &whole));
        // Of a file that is cut short, the last ones are longer than it is.
        assert!(fits(Some(100), 80, &whole) && fits(None, 80, &whole));
        assert!(!fits(Some(90), 90, &whole), "longer than a file that is whole");
    }

    #[test]
    fn what_may_not_stand_there_is_damage() {
        let begun = (CLUSTER, 10, Some(40));
        for element in [
            (SIMPLE, 12, Some(41)),
            (BLOCK, 12, Some(20)),
            (CLUSTER, 12, Some(30)),
            (TOP[3], 12, Some(30)),
            (SIMPLE, 40, Some(50)),
            (0x4123, 12, Some(20)),
            (0x4123, 40, Some(50)),
        ] {
            assert!(!fits(Some(100), 100, &[begun, element]), "{element:?}");
        }
        let group = [begun, (GROUP, 12, Some(30)), (SIMPLE, 14, Some(20))];
        assert!(!fits(Some(100), 100, &group), "a block of a cluster in a group");
        let long = [begun, (GROUP, 12, Some(30)), (BLOCK, 14, Some(35))];
        assert!(!fits(Some(100), 100, &long), "longer than its group");
    }
}
