//! The plan: what is done to a source. A pure function of the probe and a few settings.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    adts::AudioConfig,
    fmp4, packed,
    table::{FRAME, SegmentTable},
    ts,
};
use crate::{
    config,
    error::{Code, Error, Result},
    source::probe::{Container, Facts, Splice},
};

/// Counts up whenever the same source and settings would give another package: other bytes, other cuts.
pub const VERSION: u32 = 2;

/// Sampling rates that AAC players know; anything else is resampled.
const RATES: [u32; 9] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

/// The most bits that one sample of one channel gets: ffmpeg's encoder clamps at 6 (ISO/IEC 14496-3 allows 6144 bits a
/// frame and channel), and close to that it has no room to choose.
const BITS_PER_SAMPLE: u32 = 4;

/// The most bytes of one frame and channel that ffmpeg's AAC encoder makes.
///
/// It encodes a frame anew until that has fewer than 6144 bits a channel, with one way out (libavcodec/aacenc.c): a frame
/// within half again of what its rate control aims at, and at most 1 / 0.9^4 = 1.5242 times what the bit rate gives it, is
/// taken. At [`BITS_PER_SAMPLE`] that makes 6243 bits, then the end mark and up to a whole byte. No lower bound holds: of
/// 12 sounds at 5 rates and 4 bit rates, silence and noise in turn had single frames of 6144 bits at a nominal 2048 and of
/// 6248 at 4096, and whole seconds of mono at 70 to 93 % of the cap: 5.8 times the bit rate asked for at 44.1 kHz and
/// 32 kbit/s, 3.3 times at 64 kbit/s. (Stereo stays below 1.5 times over any second; a jingle is shorter than that.)
const MOST_BYTES: u64 = 782;

/// The settings that change a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choices {
    /// Bits a second for stereo; mono gets half.
    pub bitrate: u32,
    /// Length of a segment after the first three.
    pub segment: Duration,
}

impl From<&config::Packager> for Choices {
    fn from(packager: &config::Packager) -> Self {
        Self { bitrate: packager.bitrate, segment: packager.segment }
    }
}

/// What is done to one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its audio rendition.
    pub audio: Audio,
}

/// One audio rendition: encoded to AAC-LC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audio {
    /// The container that ffmpeg is told to expect.
    pub container: Container,
    /// Whether the source can be decoded while it arrives.
    pub pipe: bool,
    /// How a head reaches a sample in the middle.
    pub splice: Splice,
    /// Whether ffmpeg has to resample.
    pub resample: bool,
    /// Whether ffmpeg has to mix more than two channels down.
    pub downmix: bool,
    /// What comes out.
    pub config: AudioConfig,
    /// Bits a second.
    pub bitrate: u32,
    /// The cuts.
    pub table: SegmentTable,
}

impl Plan {
    /// What to do to a source of these facts.
    ///
    /// # Errors
    /// [`Code::UnsupportedMedia`] when there is nothing to play in it.
    pub fn new(facts: &Facts, choices: Choices) -> Result<Self> {
        let useless =
            |what: &str| Error::new(Code::UnsupportedMedia, format!("the media has {what}"));
        if facts.samples == 0 {
            return Err(useless("no audio samples"));
        }
        let rate = output_rate(facts.rate);
        let channels = facts.channels.min(2) as u8;
        let config = AudioConfig::new(rate, channels).ok_or_else(|| useless("no channels"))?;
        // ffmpeg's resampler gives ceil(samples * out / in); its AAC encoder adds one frame of
        // priming to the frames that hold them (packaging measurements, section 1).
        let samples = u128::from(facts.samples) * u128::from(rate);
        let samples = samples.div_ceil(u128::from(facts.rate.max(1))) as u64;
        let frames = samples.div_ceil(FRAME) + 1;
        let audio = Audio {
            container: facts.container,
            pipe: facts.pipe,
            splice: facts.splice,
            resample: rate != facts.rate,
            downmix: facts.channels > 2,
            config,
            bitrate: bitrate(choices.bitrate, config),
            table: SegmentTable::audio(frames, rate, choices.segment),
        };
        Ok(Self { audio })
    }

    /// Bytes that the package will take on disk, by the bit rates.
    pub fn estimate(&self) -> u64 {
        let audio = &self.audio;
        let seconds = audio.table.total() as f64 / f64::from(audio.config.rate());
        let headers = u64::from(audio.table.len()) * 4096;
        (seconds * f64::from(audio.bitrate) / 8.0 * 1.05) as u64 + headers + 16 * 1024
    }
}

impl Audio {
    /// BANDWIDTH and AVERAGE-BANDWIDTH in bits a second when wrapped in `container`, whose overhead is in both.
    ///
    /// The first is what the encoder cannot exceed in any segment ([`MOST_BYTES`]). The second takes the bit rate at its
    /// word. Measured: noise, music and stereo speech come within 8 % of it at 128 kbit/s, mono speech up to 15 % above it,
    /// silence far below.
    pub fn bandwidth(&self, container: config::Container) -> (u64, u64) {
        let rate = u64::from(self.config.rate());
        let most = MOST_BYTES * u64::from(self.config.channels());
        let lengths =
            (0..).map_while(|n| self.table.frames(n)).map(|frames| frames.end - frames.start);
        let per_second = |bytes: u64, frames: u64| (bytes * 8 * rate).div_ceil(frames * FRAME);

        let (mut peak, mut all, mut bytes) = (0, 0, 0);
        for frames in lengths {
            peak = peak.max(per_second(self.size(container, frames, frames * most), frames));
            all += frames;
            bytes +=
                self.size(container, frames, frames * FRAME * u64::from(self.bitrate) / (8 * rate));
        }
        (peak, per_second(bytes, all.max(1)).min(peak))
    }

    /// Bytes of a segment of so many frames with so many bytes of payload, or a little more.
    fn size(&self, container: config::Container, frames: u64, payload: u64) -> u64 {
        let (frames, payload) = (frames as usize, payload as usize);
        let size = match container {
            config::Container::Cmaf => fmp4::size(frames, payload),
            config::Container::Aac => packed::size(frames, payload),
            config::Container::Ts => ts::most(self.config, frames, payload),
        };
        size as u64
    }

    /// Seconds of the whole.
    pub fn seconds(&self) -> f64 {
        self.table.total() as f64 / f64::from(self.table.timescale())
    }
}

/// The rate to encode at: the source's own where AAC has it, up to 48 kHz; else 44.1 kHz for its multiples and 48 kHz for
/// the rest.
fn output_rate(rate: u32) -> u32 {
    match rate {
        _ if RATES.contains(&rate) => rate,
        _ if rate.is_multiple_of(11_025) => 44_100,
        _ => 48_000,
    }
}

fn bitrate(stereo: u32, config: AudioConfig) -> u32 {
    let channels = u32::from(config.channels());
    let wanted = if channels == 1 { stereo / 2 } else { stereo };
    wanted.min(BITS_PER_SAMPLE * config.rate() * channels)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{package::adts::Frames, source::probe::Codec};

    pub fn facts(rate: u32, channels: u16, samples: u64) -> Facts {
        let (container, codec) = (Container::Wav, Codec::Pcm);
        Facts { container, codec, rate, channels, samples, pipe: true, splice: Splice::Seek }
    }

    const CHOICES: Choices = Choices { bitrate: 128_000, segment: Duration::from_secs(5) };

    #[test]
    fn rates_and_channels_become_what_aac_has() {
        let cases = [
            ((44_100, 2), (44_100, 2, 128_000, false, false)),
            ((48_000, 1), (48_000, 1, 64_000, false, false)),
            ((8_000, 1), (8_000, 1, 32_000, false, false)),
            ((88_200, 2), (44_100, 2, 128_000, true, false)),
            ((176_400, 2), (44_100, 2, 128_000, true, false)),
            ((96_000, 6), (48_000, 2, 128_000, true, true)),
            ((192_000, 8), (48_000, 2, 128_000, true, true)),
            ((37_800, 2), (48_000, 2, 128_000, true, false)),
            ((7_350, 1), (48_000, 1, 64_000, true, false)),
        ];
        for ((rate, channels), expected) in cases {
            let audio = Plan::new(&facts(rate, channels, 1000), CHOICES).unwrap().audio;
            let got = (
                audio.config.rate(),
                u16::from(audio.config.channels()),
                audio.bitrate,
                audio.resample,
                audio.downmix,
            );
            assert_eq!(got, expected, "{rate} Hz, {channels} channels");
        }
    }

    #[test]
    fn frames_are_those_that_the_encoder_makes() {
        for (rate, samples, frames) in [
            (44_100, 1, 2),
            (44_100, 1024, 2),
            (44_100, 1025, 3),
            (44_100, 44_100 * 600, 25_841),
            (96_000, 96_000 * 10, 470),
        ] {
            let plan = Plan::new(&facts(rate, 2, samples), CHOICES).unwrap();
            assert_eq!(plan.audio.table.total(), frames * FRAME, "{samples} at {rate}");
        }
    }

    #[test]
    fn no_segment_exceeds_its_bandwidth() {
        for (rate, channels, samples, bitrate) in [
            (8_000, 1, 100, 16_000),
            (44_100, 2, 3_000_000, 128_000),
            (48_000, 1, 500_000, 512_000),
        ] {
            let choices = Choices { bitrate, ..CHOICES };
            let audio = Plan::new(&facts(rate, channels, samples), choices).unwrap().audio;
            for container in
                [config::Container::Cmaf, config::Container::Aac, config::Container::Ts]
            {
                let (peak, average) = audio.bandwidth(container);
                assert!(average <= peak && average > u64::from(audio.bitrate), "{average}, {peak}");
                for n in 0..audio.table.len() {
                    let bytes = fullest_segment(&audio, container, n);
                    let ticks = audio.table.ticks(n).unwrap();
                    let bits = bytes as u64 * 8 * u64::from(rate) / (ticks.end - ticks.start);
                    assert!(
                        bits <= peak,
                        "{container}: {bits} in segment {n}, BANDWIDTH is {peak}"
                    );
                }
            }
        }
    }

    fn fullest_segment(audio: &Audio, container: config::Container, n: u32) -> usize {
        let range = audio.table.frames(n).unwrap();
        let frame = vec![1; MOST_BYTES as usize * usize::from(audio.config.channels())];
        let mut frames = Frames::default();
        range.clone().for_each(|_| frames.push(&frame).unwrap());
        match container {
            config::Container::Cmaf => fmp4::segment(n + 1, range.start, &frames).len(),
            config::Container::Aac => packed::segment(audio.config, range.start, &frames).len(),
            config::Container::Ts => ts::segment(audio.config, n, range.start, &frames).len(),
        }
    }

    #[test]
    fn silence_of_no_length_is_refused() {
        let error = Plan::new(&facts(44_100, 2, 0), CHOICES).unwrap_err();
        assert_eq!(error.code(), Code::UnsupportedMedia);
        assert!(Plan::new(&facts(44_100, 0, 10), CHOICES).is_err());
    }
}
