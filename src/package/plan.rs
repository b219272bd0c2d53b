//! The plan: what is done to a source. A pure function of the probe and a few settings.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    adts::AudioConfig,
    table::{FRAME, SegmentTable},
};
use crate::{
    config,
    error::{Code, Error, Result},
    source::probe::{Container, Facts, Splice},
};

/// Counts up whenever the same source and settings would give another package: other bytes, other cuts.
pub const VERSION: u32 = 1;

/// Sampling rates that AAC players know; anything else is resampled.
const RATES: [u32; 9] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

/// The most bits that one sample of one channel gets: ffmpeg's encoder clamps at 6 (ISO/IEC 14496-3 allows 6144 bits a
/// frame and channel), and close to that it has no room to choose.
const BITS_PER_SAMPLE: u32 = 4;

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
    /// BANDWIDTH and AVERAGE-BANDWIDTH in bits a second when wrapped in `container`.
    pub fn bandwidth(&self, container: config::Container) -> (u64, u64) {
        let (rate, bits) = (u64::from(self.config.rate()), u64::from(self.bitrate));
        let _ = (rate, container);
        (bits * 3 / 2, bits)
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
    use crate::source::probe::Codec;

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
    fn silence_of_no_length_is_refused() {
        let error = Plan::new(&facts(44_100, 2, 0), CHOICES).unwrap_err();
        assert_eq!(error.code(), Code::UnsupportedMedia);
        assert!(Plan::new(&facts(44_100, 0, 10), CHOICES).is_err());
    }
}
