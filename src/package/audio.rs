//! Audio renditions: what one is, known to the last frame before anything is encoded.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{
    adts::{AudioConfig, MAX_FRAME},
    choices::Choices,
    codec::Codec,
    fmp4, packed,
    table::{FRAME, SegmentTable},
    ts,
};
use crate::{
    config::{self, Copied},
    source::probe::{
        Container, Splice,
        media::{self, Label},
    },
};

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

/// One audio rendition: AAC-LC, or what the source has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audio {
    /// The container that ffmpeg is told to expect.
    pub container: Container,
    /// The track's number, ffmpeg's `0:a:<index>`.
    pub index: u32,
    /// Its language and name.
    pub label: Label,
    /// What is done to it.
    pub coding: Coding,
    /// What comes out.
    pub codec: Codec,
    /// Bits a second, on average.
    pub bitrate: u32,
    /// Packets that the source has: what the table has beyond them is silence.
    pub frames: u64,
    /// The cuts.
    pub table: SegmentTable,
}

/// What is done to an audio track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Coding {
    /// Its packets are taken as they are.
    Copy {
        /// Payload bytes, or more, of the densest second: of `rate / packet` packets in a row, rounded down, but of one at least.
        densest: u64,
        /// Payload bytes of the largest packet, or more.
        largest: u64,
    },
    /// It is decoded and encoded anew.
    Encode {
        /// How a head reaches a sample in the middle.
        splice: Splice,
        /// Samples of silence in front of it, at the rate of what comes out.
        delay: u64,
        /// Whether ffmpeg has to resample.
        resample: bool,
        /// Whether ffmpeg has to mix more than two channels down.
        downmix: bool,
    },
}

impl Audio {
    /// The rendition of a track that lasts to `end`, in milliseconds, if that is later than its own; None where the track
    /// has nothing to play.
    pub fn of(
        track: &media::Audio,
        container: Container,
        choices: &Choices,
        end: u64,
    ) -> Option<Self> {
        if track.samples == 0 {
            return None;
        }
        let made = copied(track, choices).or_else(|| encoded(track, choices.bitrate))?;
        let Made { codec, coding, bitrate, frames, length } = made;
        let (rate, packet) = (codec.rate(), codec.packet());
        // Silence to the end of the video: players stop where one of the two does.
        let whole =
            (end.saturating_mul(u64::from(rate)) / 1000).saturating_add(codec.priming().into());
        let total = if whole / packet > frames { whole / packet * packet } else { length };
        let table = SegmentTable::packets(total, packet, rate, choices.segment);
        let table = table.primed(codec.priming().into());
        let (index, label) = (track.index, track.label.clone());
        Some(Self { container, index, label, coding, codec, bitrate, frames, table })
    }

    /// Whether its packets are taken as they are.
    pub fn is_copied(&self) -> bool {
        matches!(self.coding, Coding::Copy { .. })
    }

    /// The packets that segment `n` covers, or None past the end.
    pub fn packets(&self, n: u32) -> Option<Range<u64>> {
        let packet = self.codec.packet();
        self.table.ticks(n).map(|ticks| ticks.start / packet..ticks.end.div_ceil(packet))
    }

    /// Whether these bytes are all of segment `n`.
    pub fn is_whole(&self, n: u32, bytes: &[u8]) -> bool {
        match self.packets(n) {
            None => false,
            Some(packets) if self.codec.aac().is_some() => {
                let count = (packets.end - packets.start) as usize;
                fmp4::audio::frame_count(bytes) == Ok((packets.start, count))
            }
            Some(_) => fmp4::audio::ticks(bytes).ok() == self.table.ticks(n),
        }
    }

    /// BANDWIDTH and AVERAGE-BANDWIDTH in bits a second when wrapped in `container`, whose overhead is in both.
    ///
    /// The first is what the encoder cannot exceed in any segment ([`MOST_BYTES`]), or what copied frames do not. The second takes the bit rate at its
    /// word. Measured: noise, music and stereo speech come within 8 % of it at 128 kbit/s, mono speech up to 15 % above it,
    /// silence far below.
    pub fn bandwidth(&self, container: config::Container) -> (u64, u64) {
        let rate = u64::from(self.codec.rate());
        let segments = (0..).map_while(|n| Some((self.packets(n)?, self.table.presentation(n)?)));
        let per_second = |bytes: u64, samples: u64| (bytes * 8 * rate).div_ceil(samples);

        let (mut peak, mut bytes, mut length) = (0, 0, 0);
        for (packets, ticks) in segments {
            let (packets, samples) = (packets.end - packets.start, ticks.end - ticks.start);
            let most = self.size(container, packets, self.most(packets));
            peak = peak.max(per_second(most, samples));
            let payload = packets * self.codec.packet() * u64::from(self.bitrate) / (8 * rate);
            bytes += self.size(container, packets, payload);
            length += samples;
        }
        (peak, per_second(bytes, length).min(peak))
    }

    /// The most payload bytes of so many packets in a row.
    fn most(&self, packets: u64) -> u64 {
        match self.coding {
            Coding::Copy { densest, largest } => {
                let second = (u64::from(self.codec.rate()) / self.codec.packet()).max(1);
                let rest = (packets % second * largest).min(densest);
                packets / second * densest + rest
            }
            Coding::Encode { .. } => packets * MOST_BYTES * u64::from(self.codec.channels()),
        }
    }

    /// Bytes of a segment of so many packets with so many bytes of payload, or a little more.
    fn size(&self, container: config::Container, packets: u64, payload: u64) -> u64 {
        let (packets, payload) = (packets as usize, payload as usize);
        let size = match (container, self.codec.aac()) {
            (_, None) => fmp4::audio::packets_size(packets, payload),
            (config::Container::Cmaf, Some(_)) => fmp4::audio::size(packets, payload),
            (config::Container::Aac, Some(_)) => packed::size(packets, payload),
            (config::Container::Ts, Some(aac)) => ts::most(aac, packets, payload),
        };
        size as u64
    }

    /// Bytes that it will take on disk, by its bit rate.
    pub fn estimate(&self) -> u64 {
        let headers = u64::from(self.table.len()) * 4096;
        (self.table.length() * f64::from(self.bitrate) / 8.0 * 1.05) as u64 + headers
    }
}

/// The rate to encode at: the source's own where AAC has it, up to 48 kHz; else 44.1 kHz for its multiples and 48 kHz for
/// the rest.
fn output_rate(rate: u32) -> u32 {
    match rate {
        _ if AudioConfig::PLAYED.contains(&rate) => rate,
        _ if rate.is_multiple_of(11_025) => 44_100,
        _ => 48_000,
    }
}

fn bitrate(stereo: u32, config: AudioConfig) -> u32 {
    let channels = u32::from(config.channels());
    let wanted = if channels == 1 { stereo / 2 } else { stereo };
    wanted.min(BITS_PER_SAMPLE * config.rate() * channels)
}

/// How a track becomes a rendition.
struct Made {
    codec: Codec,
    coding: Coding,
    /// Bits a second.
    bitrate: u32,
    /// Packets.
    frames: u64,
    /// Samples of all packets, priming included.
    length: u64,
}

/// A track whose frames can be taken as they are: of a codec that players know and that is to be copied, of no more bits than
/// are allowed, that begins with the others.
fn copied(track: &media::Audio, choices: &Choices) -> Option<Made> {
    let frames = track.frames?;
    let codec = Codec::of(track, &frames)?;
    let whole = frames.count.checked_mul(codec.packet()).filter(|&whole| whole > 0)?;
    let bitrate = u128::from(frames.bytes) * 8 * u128::from(codec.rate()) / u128::from(whole);
    let bitrate = u32::try_from(bitrate).ok()?;
    // Who wants FLAC wants it for what it is: there is no bit rate at which it would be small.
    let bounded = codec.copied() != Copied::Flac;
    let may = choices.copy.contains(&codec.copied());
    // In ADTS, 13 bits count a frame's bytes: what has more is damaged.
    let is_frame = codec.aac().is_none() || frames.largest <= MAX_FRAME as u64;
    if !may || !is_frame || track.delay > 0 || bounded && bitrate > choices.copy_bitrate {
        return None;
    }
    // Where the sound ends is within the last packet, if it is known.
    let own = track.samples.saturating_add(codec.priming().into());
    let is_known = codec.aac().is_none() && own.div_ceil(codec.packet()) == frames.count;
    let length = if is_known { own } else { whole };
    let coding = Coding::Copy { densest: frames.densest, largest: frames.largest };
    Some(Made { codec, coding, bitrate, frames: frames.count, length })
}

fn encoded(track: &media::Audio, stereo: u32) -> Option<Made> {
    let rate = output_rate(track.rate);
    let config = AudioConfig::new(rate, track.channels.min(2) as u8)?;
    // ffmpeg's resampler gives ceil(samples * out / in); its AAC encoder adds one frame of
    // priming to the frames that hold them (packaging measurements, section 1).
    let resampled = |samples: u64| {
        (u128::from(samples) * u128::from(rate)).div_ceil(u128::from(track.rate.max(1))) as u64
    };
    let delay = resampled(track.delay);
    let frames = (delay + resampled(track.samples)).div_ceil(FRAME) + 1;
    let coding = Coding::Encode {
        splice: track.splice,
        delay,
        resample: rate != track.rate,
        downmix: track.channels > 2,
    };
    let (codec, bitrate) = (config.into(), bitrate(stereo, config));
    Some(Made { codec, coding, bitrate, frames, length: frames * FRAME })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        package::{adts::Frames, plan::tests::media as media_of},
        source::probe::{Codec, media::Form},
    };

    fn audio(rate: u32, channels: u16, samples: u64, choices: &Choices) -> Audio {
        let media = media_of(rate, channels, samples);
        Audio::of(&media.audio[0], media.container, choices, 0).unwrap()
    }

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
            let audio = audio(rate, channels, 1000, &Choices::default());
            let Coding::Encode { resample, downmix, .. } = audio.coding else {
                panic!("PCM is encoded");
            };
            let channels_out = u16::from(audio.codec.channels());
            let got = (audio.codec.rate(), channels_out, audio.bitrate, resample, downmix);
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
            let audio = audio(rate, 2, samples, &Choices::default());
            assert_eq!(audio.table.total(), frames * FRAME, "{samples} at {rate}");
        }
    }

    #[test]
    fn no_segment_exceeds_its_bandwidth() {
        for (rate, channels, samples, bitrate) in [
            (8_000, 1, 100, 16_000),
            (44_100, 2, 3_000_000, 128_000),
            (48_000, 1, 500_000, 512_000),
        ] {
            let choices = Choices { bitrate, ..Choices::default() };
            let audio = audio(rate, channels, samples, &choices);
            for container in
                [config::Container::Cmaf, config::Container::Aac, config::Container::Ts]
            {
                let (peak, average) = audio.bandwidth(container);
                assert!(average <= peak && average > u64::from(audio.bitrate), "{average}, {peak}");
                for n in 0..audio.table.len() {
                    let bytes = fullest_segment(&audio, container, n);
                    let ticks = audio.table.presentation(n).unwrap();
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
        let frame = vec![1; MOST_BYTES as usize * usize::from(audio.codec.channels())];
        let mut frames = Frames::default();
        range.clone().for_each(|_| frames.push(&frame).unwrap());
        match container {
            config::Container::Cmaf => fmp4::audio::segment(n + 1, range.start, &frames).len(),
            config::Container::Aac => {
                packed::segment(audio.codec.aac().unwrap(), range.start, &frames).len()
            }
            config::Container::Ts => {
                ts::segment(audio.codec.aac().unwrap(), n, range.start, &frames).len()
            }
        }
    }

    #[test]
    fn frames_that_players_know_are_copied() {
        let mut track = media_of(44_100, 2, 441_000).audio.remove(0);
        track.codec = Codec::Aac { object: 2 };
        track.frames = Some(media::Frames {
            form: Form::Aac,
            count: 433,
            samples: FRAME,
            priming: 2112,
            bytes: 433 * 400,
            densest: 43 * 420,
            largest: 700,
        });
        let of = |track: &media::Audio, choices: &Choices| {
            let audio = Audio::of(track, Container::Mp4, choices, 0).unwrap();
            (matches!(audio.coding, Coding::Copy { .. }), audio)
        };
        let choices = Choices::default();
        let (is_copied, audio) = of(&track, &choices);
        assert!(is_copied && audio.frames == 433 && audio.codec.priming() == 2112);
        assert_eq!(audio.table.total(), 433 * FRAME);
        // 86 frames are two seconds of 43; 44 are one, and a frame of any size.
        assert_eq!((audio.most(86), audio.most(44)), (86 * 420, 43 * 420 + 700));
        let (peak, average) = audio.bandwidth(config::Container::Cmaf);
        assert!(average > 137_000 && average < peak && peak < 175_000, "{average} {peak}");

        let never = Choices { copy: vec![Copied::H264], ..Choices::default() };
        let less = Choices { copy_bitrate: 128_000, ..Choices::default() };
        assert!(!of(&track, &never).0 && !of(&track, &less).0);
        let late = media::Audio { delay: 1, ..track.clone() };
        let wide = media::Audio { channels: 6, ..track };
        assert!(!of(&late, &choices).0 && !of(&wide, &choices).0);
    }

    #[test]
    fn sound_lasts_as_long_as_the_picture() {
        let track = media_of(48_000, 2, 48_000).audio.remove(0);
        let audio = Audio::of(&track, Container::Mp4, &Choices::default(), 10_000).unwrap();
        assert_eq!((audio.frames, audio.table.total() / FRAME), (48, 469));
        let late = media::Audio { delay: 24_000, ..track };
        let audio = Audio::of(&late, Container::Mp4, &Choices::default(), 0).unwrap();
        assert_eq!(audio.frames, 72_u64);
    }
}
