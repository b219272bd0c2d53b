//! Video renditions: what one rung of the ladder is, known to the last tick and bit before anything is encoded.
//!
//! To have at hand: RFC 8216 section 4.3.4.2 (the attributes of a variant stream).

pub mod file;

use serde::{Deserialize, Serialize};

use super::{
    avc::{Demand, Level},
    choices::{Choices, Encoder},
    copy::Copied,
    fmp4,
    ladder::{self, Size},
    table::SegmentTable,
    tone::Tone,
};
use crate::{
    config::Preset,
    source::probe::{
        Container,
        media::{FrameRate, Media, Video},
    },
};

/// Percent of the average bit rate that the encoder may take for longer than its buffer lasts.
const MAXRATE: u64 = 120;

/// Percent of a second's average bits that the buffer holds: what may come on top at once.
///
/// x264 keeps to both. Of noise without end, noise that begins and ends with or beside the cuts, black before noise, and
/// pictures that change altogether every 7, at 180 to 1080 lines, no run of frames took more than 0.78 of the buffer on top
/// of `maxrate`, and no segment more than 0.90 of what [`Rung::bandwidth`] allows.
const BUFFER: u64 = 60;

/// The most frames of a rendition, a week of 60 a second: what a damaged header promises must not fill the memory.
const MOST_FRAMES: u64 = 7 * 24 * 3600 * 60;

/// One video rendition: encoded to H.264 of High profile, of a constant frame rate, 8 bits and 4:2:0; or copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rung {
    /// The container that ffmpeg is told to expect.
    pub container: Container,
    /// The track's number, ffmpeg's `0:v:<index>`.
    pub index: u32,
    /// Whether the source is coded in fields.
    pub interlaced: bool,
    /// What is done to its colours.
    pub tone: Tone,
    /// Milliseconds by which the track starts later than the earliest of the source.
    pub delay: u64,
    /// Microseconds by which ffmpeg's clock begins before that of the source.
    pub lag: u64,
    /// What encodes.
    pub encoder: Encoder,
    /// How hard x264 tries.
    pub preset: Preset,
    /// Pixels from left to right; even.
    pub width: u32,
    /// Pixels from top to bottom; even.
    pub height: u32,
    /// Frames a second.
    pub rate: FrameRate,
    /// Bits a second on average, as the encoder is asked for.
    pub bitrate: u32,
    /// The cuts, in ticks of the numerator of the ladder's rate; the same for all rungs of a source, written once.
    #[serde(skip, default = "file::none")]
    pub table: SegmentTable,
    /// Where its samples are taken as they are: then nothing of the above is done to them.
    pub copied: Option<Copied>,
}

impl Rung {
    /// The rungs of a source, the smallest first: none without video, else at least one. One that is copied is the last.
    pub fn all(media: &Media, choices: &Choices) -> Vec<Self> {
        let Some(video) = &media.video else {
            return Vec::new();
        };
        let rate = ladder::rate(video);
        let encoded = || SegmentTable::video(frames(video, rate), rate, choices.segment);
        let (copied, table) = match Copied::of(media, choices, rate) {
            Some((copied, table)) => (Some(copied), table),
            None => (None, encoded()),
        };
        let rung = |size: Size| Self {
            container: media.container,
            index: video.index,
            interlaced: video.interlaced,
            tone: Tone::of(video, choices.maps_tones),
            delay: video.delay,
            lag: media.lag,
            encoder: choices.encoder,
            preset: choices.preset,
            width: size.width,
            height: size.height,
            rate,
            bitrate: size.bitrate,
            table: table.clone(),
            copied: None,
        };
        let sizes = ladder::rungs(video, &choices.ladder).into_iter();
        let Some(copied) = copied else {
            return sizes.map(rung).collect();
        };
        let lines = |width: u32, height: u32| width.min(height);
        let own = lines(video.width, video.height);
        let smaller = sizes.filter(|size| lines(size.width, size.height) < own);
        let mut rungs: Vec<_> = smaller.map(rung).collect();
        let bitrate = u32::try_from(video.bitrate).unwrap_or(u32::MAX);
        let size = Size { width: video.width, height: video.height, bitrate };
        rungs.push(Self { copied: Some(copied), rate: video.rate, ..rung(size) });
        rungs
    }

    /// Bits a second that are never exceeded for longer than the buffer lasts.
    pub fn maxrate(&self) -> u32 {
        percent(self.bitrate, MAXRATE)
    }

    /// Bits of the buffer.
    pub fn buffer(&self) -> u32 {
        percent(self.bitrate, BUFFER)
    }

    /// The level of H.264 that holds it.
    pub fn level(&self) -> Level {
        let (width, height, rate) = (self.width, self.height, self.rate);
        Level::of(Demand { width, height, rate, maxrate: self.maxrate(), buffer: self.buffer() })
    }

    /// CODECS: `avc1.64001f`. What is encoded says the same, or is not taken.
    pub fn codecs(&self) -> String {
        self.copied.as_ref().map_or_else(|| self.level().codecs(), |copied| copied.codecs.clone())
    }

    /// The frames of segment `n`, counted from the first of the rendition, or None past the end.
    pub fn frames(&self, n: u32) -> Option<std::ops::Range<u64>> {
        let ticks = self.table.ticks(n)?;
        let duration = u64::from(self.duration());
        Some(ticks.start / duration..ticks.end / duration)
    }

    /// Ticks of one frame.
    pub fn duration(&self) -> u32 {
        self.rate.denominator.max(1)
    }

    /// Seconds by which the track is shown later than ffmpeg has it, or earlier if negative, so that its frames fall on those
    /// of the rendition.
    ///
    /// A track that begins between two of them would have each rounded up or down by the millisecond that Matroska rounds
    /// to: of 24 frames a second behind 21 ms of AAC's priming a third were lost, and others shown twice. And in MPEG-TS,
    /// where clocks may jump, ffmpeg begins with the first of the tracks that it decodes, not of all: the delay is lost.
    pub fn shift(&self) -> f64 {
        let begins = nearest(self.delay, self.rate) as f64 * f64::from(self.duration());
        let delay = match self.container {
            Container::MpegTs => 0.0,
            _ => self.delay as f64 / 1000.0,
        };
        begins / f64::from(self.table.timescale()) - delay
    }

    /// BANDWIDTH and AVERAGE-BANDWIDTH in bits a second, with what CMAF adds.
    ///
    /// The first is what the rate control cannot exceed in any segment; the second takes the bit rate at its word: still
    /// pictures take far less, what moves a lot comes within 5 % of it.
    pub fn bandwidth(&self) -> (u64, u64) {
        let duration = u64::from(self.duration());
        let timescale = u64::from(self.table.timescale());
        let copied = |n: usize| self.copied.as_ref()?.bytes.get(n).copied();
        let segments =
            (0..).map_while(|n| self.table.ticks(n)).map(|ticks| ticks.end - ticks.start);
        let bits = |ticks: u64, rate: u32| u64::from(rate) * ticks / timescale;
        let per_second = |bytes: u64, ticks: u64| (bytes * 8 * timescale).div_ceil(ticks.max(1));
        let size = |ticks: u64, bits: u64| {
            fmp4::video::size((ticks / duration) as usize, bits.div_ceil(8) as usize) as u64
        };

        let (mut peak, mut all, mut bytes) = (0, 0, 0);
        for (n, ticks) in segments.enumerate() {
            let (most, usual) = match copied(n) {
                // As many frames again as there are on average cost no more than this.
                Some(bytes) => (bytes * 8 + bytes / 8, bytes * 8),
                None => (
                    bits(ticks, self.maxrate()) + u64::from(self.buffer()),
                    bits(ticks, self.bitrate),
                ),
            };
            peak = peak.max(per_second(size(ticks, most), ticks));
            all += ticks;
            bytes += size(ticks, usual);
        }
        (peak, per_second(bytes, all).min(peak))
    }

    /// FRAME-RATE: frames a second with at most three decimals.
    pub fn frame_rate(&self) -> f64 {
        let hertz = f64::from(self.rate.numerator) / f64::from(self.duration());
        (hertz * 1000.0).round() / 1000.0
    }

    /// Pixels that are encoded a second, those counted for more that cost more: what the work of a rung grows with, beside
    /// decoding the source.
    pub fn pixels(&self) -> f64 {
        let picture = f64::from(self.width) * f64::from(self.height) * self.tone.cost();
        picture * f64::from(self.rate.numerator) / f64::from(self.duration())
    }
}

/// The frames of a rendition: those before the track begins, and the track's own, to the nearest one. At least 1, and at
/// most [`MOST_FRAMES`].
fn frames(video: &Video, rate: FrameRate) -> u64 {
    let frames = nearest(video.delay, rate).saturating_add(nearest(video.length, rate));
    frames.clamp(1, MOST_FRAMES)
}

/// So many milliseconds in frames.
fn nearest(milliseconds: u64, rate: FrameRate) -> u64 {
    let (numerator, denominator) = (u128::from(rate.numerator), u128::from(rate.denominator));
    let twice = 2 * u128::from(milliseconds) * numerator;
    let frames = (twice + 1000 * denominator) / (2000 * denominator).max(1);
    u64::try_from(frames).unwrap_or(u64::MAX)
}

fn percent(bitrate: u32, percent: u64) -> u32 {
    u32::try_from(u64::from(bitrate) * percent / 100).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
