//! Renders the caption segment of a period (RFC 8216 section 3.5).

use std::{
    fmt::{self, Write},
    ops::Range,
};

use bytes::Bytes;

use super::{ARROW, Captions, Cue, clock::Timestamp};

/// Cues that share an entry of the index: finding a period reads one number for each run, and each cue of the runs in
/// which something lasts long enough.
pub(super) const RUN: usize = 128;

impl Captions {
    /// The segment for `period`, in ticks of `timescale` a second as the segment table has them: STYLE and REGION, then
    /// every cue that is shown at any instant of the period, with its full, absolute times.
    ///
    /// A cue has the same bytes in every segment it is in. A segment without cues is a valid file of more than 10 bytes,
    /// as iOS wants. `mpegts` is the 90 kHz time (33 bits) of the media's first instant: 0 for CMAF, the base of TS and
    /// packed AAC.
    ///
    /// Bounds are compared exactly. Widen the period by one AAC frame on both sides: players place the audio of a segment
    /// up to one frame beside its place in the table, by what they make of the encoder's priming.
    pub fn segment(&self, period: Range<u64>, timescale: u32, mpegts: u64) -> Bytes {
        let mut text = format!(
            "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:{mpegts},LOCAL:00:00:00.000\n\n{}",
            self.header
        );
        let shown = millis(period, timescale);
        for cue in self.runs(&shown).flatten().filter(|cue| cue.end_ms > shown.start) {
            // Writing to a String cannot fail.
            let _ = write!(text, "{cue}");
        }
        text.into()
    }

    /// The runs that hold all cues shown during a period of milliseconds; every cue in them starts before its end.
    pub(super) fn runs(&self, shown: &Range<u64>) -> impl Iterator<Item = &[Cue]> {
        let started = self.cues.partition_point(|cue| cue.start_ms < shown.end);
        let (started, _) = self.cues.split_at(started);
        let after = shown.start;
        started
            .chunks(RUN)
            .zip(&self.latest_ends)
            .filter(move |&(_, &latest_end)| latest_end > after)
            .map(|(run, _)| run)
    }
}

/// The index of [`Captions`] over `cues` sorted by start.
pub(super) fn latest_ends(cues: &[Cue]) -> Vec<u64> {
    cues.chunks(RUN).filter_map(|run| run.iter().map(|cue| cue.end_ms).max()).collect()
}

/// The milliseconds that a period touches. Cues begin and end on whole milliseconds, so that rounding outwards compares
/// with them exactly as the fractions would.
fn millis(period: Range<u64>, timescale: u32) -> Range<u64> {
    let timescale = u128::from(timescale.max(1));
    let millis = |ticks: u64| u128::from(ticks) * 1000;
    let start = millis(period.start) / timescale;
    let end = millis(period.end).div_ceil(timescale);
    start.try_into().unwrap_or(u64::MAX)..end.try_into().unwrap_or(u64::MAX)
}

/// The cue as a block of `WebVTT`, with the empty line that ends it.
impl fmt::Display for Cue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.id.is_empty() {
            writeln!(f, "{}", self.id)?;
        }
        write!(f, "{} {ARROW} {}", Timestamp(self.start_ms), Timestamp(self.end_ms))?;
        if !self.settings.is_empty() {
            write!(f, " {}", self.settings)?;
        }
        if !self.payload.is_empty() {
            write!(f, "\n{}", self.payload)?;
        }
        f.write_str("\n\n")
    }
}
