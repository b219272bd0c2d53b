//! Where in the source is what we hear? Cross-correlation of short excerpts, for gaps, overlaps and offsets.
//!
//! Needs a source that sounds different everywhere: [`super::Clip::noise`].

use super::decode::Pcm;

/// Samples of an excerpt: long enough to be found behind a lossy codec, shorter than two AAC frames are apart.
const EXCERPT: usize = 2048;

/// How alike an excerpt and its place in the source must be: noise behind AAC at 64 kbit/s a channel has above 0.8.
const ALIKE: f64 = 0.5;

/// How much later the sound at `at` (samples of one channel) is heard than it stands in the source, searched within
/// `reach` samples both ways. None if it is nowhere there.
pub fn lag(source: &Pcm, heard: &Pcm, at: usize, reach: usize) -> Option<isize> {
    let (source, heard) = (source.mono(), heard.mono());
    search(&source, heard.get(at..at + EXCERPT)?, at, 0, reach)
}

/// The lag at places `every` samples apart over all that is heard, with 8192 samples of reach around the last one found.
///
/// One lag throughout is a seamless stream; 1024 less from some place on is a lost AAC frame. The lag itself is the
/// decoder's: ffmpeg 5.1 trims the priming frame of a plain MP4, but not of packed AAC, TS or fragmented MP4 (1024 there).
pub fn lags(source: &Pcm, heard: &Pcm, every: usize) -> Vec<Option<isize>> {
    assert_eq!(source.rate, heard.rate, "resample the source first: decode::pcm_as");
    let (source, heard) = (source.mono(), heard.mono());
    let end = heard.len().min(source.len()).saturating_sub(EXCERPT);
    let mut last = 0;
    let at = (every..end).step_by(every);
    at.map(|at| {
        let excerpt = &heard[at..at + EXCERPT];
        let found = search(&source, excerpt, at, last, 1)
            .or_else(|| search(&source, excerpt, at, last, 8192));
        last = found.unwrap_or(last);
        found
    })
    .collect()
}

/// The lag at each of these places, searched within one sample of `near`: what lies elsewhere is None.
pub fn lags_at(source: &Pcm, heard: &Pcm, places: &[usize], near: isize) -> Vec<Option<isize>> {
    assert_eq!(source.rate, heard.rate, "resample the source first: decode::pcm_as");
    let (source, heard) = (source.mono(), heard.mono());
    let lag = |&at: &usize| search(&source, heard.get(at..at + EXCERPT)?, at, near, 2);
    places.iter().map(lag).collect()
}

/// The best lag within `reach` around `near`, if it is good and not merely on the way to a better one outside.
fn search(source: &[i16], excerpt: &[i16], at: usize, near: isize, reach: usize) -> Option<isize> {
    let reach = reach.cast_signed();
    let scored = (near - reach..=near + reach).filter_map(|lag| {
        let start = at.checked_add_signed(-lag)?;
        Some((lag, likeness(source.get(start..start + excerpt.len())?, excerpt)))
    });
    let (lag, score) = scored.max_by(|a, b| a.1.total_cmp(&b.1))?;
    let is_edge = (lag - near).abs() == reach && reach > 0;
    (score > ALIKE && !is_edge).then_some(lag)
}

/// Normalised cross-correlation: 1 for the same up to loudness, about 0 for strangers.
fn likeness(a: &[i16], b: &[i16]) -> f64 {
    let (mut ab, mut aa, mut bb) = (0_i64, 0_i64, 0_i64);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (i64::from(*a), i64::from(*b));
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    ab as f64 / (aa as f64 * bb as f64).sqrt().max(1.0)
}
