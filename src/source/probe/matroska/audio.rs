//! Audio tracks: how the samples of a block are told, and how many there are (RFC 9559 section 5.1.4).

use super::{
    super::{
        Codec, Container, Splice, Stop, aac,
        flac::{self, StreamInfo},
        frames::Weights,
        input::bits,
        media::{Audio, Form, scale},
        mpeg, opus, unsupported, vorbis,
    },
    element::{elements, float, unsigned},
    track::Track,
};

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// What tells the samples of a frame.
#[derive(Clone, Debug)]
enum Length {
    Fixed(u64),
    /// Bytes a sample of all channels.
    Pcm(u64),
    Opus,
    Mpeg,
    Flac(StreamInfo),
    /// E-AC-3, by its header.
    Eac3,
    Vorbis(vorbis::Setup),
}

/// An audio track, and what has been met of it.
#[derive(Debug)]
pub(super) struct Sound {
    codec: Codec,
    rate: u32,
    channels: u16,
    /// Nanoseconds that the decoder's output starts early.
    delay: u64,
    length: Length,
    samples: u64,
    /// The window of the packet before (Vorbis).
    window: u64,
    /// Nanoseconds that are cut from the newest block.
    discard: u64,
    /// The sizes of its frames, if they are such as can be copied and none was laced.
    weights: Option<(Form, Weights)>,
}

impl Sound {
    /// The codec of a track, of which nothing has been met yet.
    pub(super) fn read(track: &Track<'_>) -> Result<Self, Stop> {
        let undetermined = || Stop::Undetermined(Container::Matroska);
        if track.encoded {
            return Err(undetermined());
        }
        let (mut rate, mut output, mut channels, mut bits) = (8_000.0, None, 1, 16);
        for (element, body) in elements(track.audio) {
            match element {
                0xb5 => rate = float(body).unwrap_or(rate),
                0x78b5 => output = float(body),
                0x9f => channels = unsigned(body) as u16,
                0x6264 => bits = unsigned(body),
                _ => {}
            }
        }
        let (id, private) = (track.codec.as_str(), track.private);
        let plain = rate.fract() == 0.0 && output.is_none_or(|output| (output - rate).abs() < 0.5);
        let mut rate = if plain { rate as u32 } else { 0 };
        let (codec, length) = match id {
            "A_OPUS" => {
                rate = opus::RATE;
                (Codec::Opus, Length::Opus)
            }
            "A_VORBIS" => {
                let setup = laced_setup(private).ok_or_else(undetermined)?;
                (rate, channels) = (setup.rate, setup.channels);
                (Codec::Vorbis, Length::Vorbis(setup))
            }
            "A_FLAC" => {
                let info = private.get(8..).and_then(StreamInfo::read).ok_or_else(undetermined)?;
                (rate, channels) = (info.rate, info.channels);
                (Codec::Flac, Length::Flac(info))
            }
            "A_AAC" => {
                let config = aac::Config::read(private).ok_or_else(undetermined)?;
                (rate, channels) = (config.rate, config.channels);
                (Codec::Aac { object: config.object }, Length::Fixed(config.frame))
            }
            "A_MPEG/L3" => (Codec::Mp3, Length::Mpeg),
            "A_MPEG/L2" => (Codec::Mp2, Length::Mpeg),
            "A_AC3" => (Codec::Ac3, Length::Fixed(1_536)),
            "A_EAC3" => (Codec::Eac3, Length::Eac3),
            "A_PCM/INT/LIT" | "A_PCM/INT/BIG" => {
                (Codec::Pcm, Length::Pcm(bits / 8 * u64::from(channels)))
            }
            "A_PCM/FLOAT/IEEE" => (Codec::Float, Length::Pcm(bits / 8 * u64::from(channels))),
            _ if id.starts_with("A_") => return Err(undetermined()),
            _ => {
                return Err(unsupported(format!("Matroska with codec '{}'", id.escape_default())));
            }
        };
        if rate == 0 || track.number == 0 || matches!(length, Length::Pcm(0)) {
            return Err(undetermined());
        }
        let form = match (&codec, &length) {
            (Codec::Aac { object: 2 }, _) => Some(Form::Aac),
            (Codec::Opus, _) => opus::Head::read(private)
                .filter(|head| scale(track.delay, rate.into(), SECOND) == u64::from(head.skip))
                .map(|head| Form::Opus { gain: head.gain }),
            (_, Length::Flac(info)) if info.fixed && track.delay == 0 => Some(info.form()),
            _ => None,
        };
        let weights = form.map(|form| (form, Weights::new(rate)));
        let (delay, samples, window, discard) = (track.delay, 0, 0, 0);
        Ok(Self { codec, rate, channels, delay, length, samples, window, discard, weights })
    }

    /// Cuts so many nanoseconds from the newest block, if it stays the last.
    pub(super) fn cut(&mut self, nanoseconds: u64) {
        self.discard = nanoseconds;
    }

    /// Counts one block by its first bytes behind the head, of `size` bytes and so many frames; None if its length cannot be told.
    pub(super) fn block(
        &mut self,
        frame: &[u8],
        size: u64,
        frames: u64,
        laced: bool,
    ) -> Option<()> {
        self.discard = 0;
        if laced {
            self.weights = None;
        }
        let samples = match &self.length {
            Length::Fixed(samples) => frames * samples,
            _ if laced => return None,
            Length::Pcm(bytes) => size / bytes,
            Length::Opus => opus::samples(frame)?,
            Length::Mpeg => mpeg::Header::read(frame)?.samples(),
            Length::Eac3 => eac3(frame)?,
            Length::Flac(info) => {
                let (start, samples) = flac::frame(frame, info.block)?;
                if start != self.samples {
                    self.weights = None;
                }
                samples
            }
            Length::Vorbis(setup) => {
                let window = setup.window(*frame.first()?)?;
                let samples = if self.window == 0 { 0 } else { (self.window + window) / 4 };
                self.window = window;
                samples
            }
        };
        self.samples = self.samples.checked_add(samples)?;
        if let Some((_, weights)) = &mut self.weights {
            weights.push(size, samples);
        }
        Some(())
    }

    /// The track that is `index` among the audio tracks; None where only decoding can tell.
    pub(super) fn told(self, track: &Track<'_>, index: u32) -> Option<Audio> {
        let cut = |nanoseconds| scale(nanoseconds, u64::from(self.rate), SECOND);
        let samples =
            self.samples.checked_sub(cut(self.delay).saturating_add(cut(self.discard)))?;
        let priming = cut(self.delay);
        let frames =
            self.weights.as_ref().and_then(|(form, weights)| weights.frames(*form, priming));
        let audio = Audio::new(self.codec, self.rate, self.channels, samples, Splice::Decode);
        Some(Audio { index, frames, label: track.label.clone(), ..audio })
    }
}

/// Samples of the first frame of E-AC-3 (ETSI TS 102 366 section E.1.2.2).
fn eac3(frame: &[u8]) -> Option<u64> {
    if !frame.starts_with(&[0x0b, 0x77]) {
        return None;
    }
    let (rate, blocks) = (bits(frame, 32, 2)?, bits(frame, 34, 2)?);
    Some(256 * if rate == 3 { 6 } else { [1, 2, 3, 6][blocks as usize] })
}

/// The Vorbis setup from a `CodecPrivate` of three headers with Xiph lacing.
fn laced_setup(private: &[u8]) -> Option<vorbis::Setup> {
    let mut rest = private.strip_prefix(&[2])?;
    let mut size = || {
        let full = rest.iter().take_while(|&&byte| byte == 255).count();
        let size = full * 255 + usize::from(*rest.get(full)?);
        rest = rest.get(full + 1..)?;
        Some(size)
    };
    let (first, second) = (size()?, size()?);
    let identification = rest.get(..first)?;
    vorbis::Setup::read(identification, rest.get(first.checked_add(second)?..)?)
}
