//! Matroska and `WebM` (RFC 8794, RFC 9559).
//!
//! Told by the end, by a walk over all blocks of the first audio track: a Duration counts what its muxer liked to count, and
//! was measured to be more than 1024 samples beside what is decoded.

use super::{
    Codec, Container, Facts, Input, Splice, Stop, aac,
    flac::{self, StreamInfo},
    input::{Scan, array},
    mpeg, opus, unsupported, vorbis,
};

/// Elements that are looked at before the first cluster.
const ELEMENTS: usize = 10_000;

/// The largest Tracks or Info element that is read, in bytes.
const HEADER: u64 = 16 * 1024 * 1024;

/// Bytes of a block that tell its length.
const BLOCK_HEAD: usize = 64;

const SEGMENT: u32 = 0x1853_8067;
const TRACKS: u32 = 0x1654_ae6b;
const CLUSTER: u32 = 0x1f43_b675;
const GROUP: u32 = 0xa0;
const BLOCK: u32 = 0xa1;
const SIMPLE: u32 = 0xa3;
const DISCARD: u32 = 0x75a2;

/// The facts of the first audio track.
pub(super) fn facts(input: &Input<'_>) -> Result<Facts, Stop> {
    let undetermined = Stop::Undetermined(Container::Matroska);
    let mut scan = Scan::new(*input);
    let mut at = 0;
    let mut track = None;
    for _ in 0..ELEMENTS {
        let Some(element) = Element::at(&mut scan, at)? else {
            break;
        };
        at = match element.id {
            SEGMENT => element.body,
            CLUSTER => break,
            TRACKS if element.size.is_none_or(|size| size > HEADER) => {
                return Err(undetermined);
            }
            TRACKS => {
                track = Some(Track::first(&input.bytes(element.body, element.length())?)?);
                element.end()
            }
            _ if element.size.is_none() => return Err(undetermined),
            _ => element.end(),
        };
    }
    // The tracks may stand behind the clusters.
    input.end()?;
    let track = track.ok_or_else(|| undetermined.clone())?;
    let samples = Blocks::default().count(input, at, &track)?.ok_or(undetermined)?;
    Ok(Facts {
        container: Container::Matroska,
        codec: track.codec.clone(),
        rate: track.rate,
        channels: track.channels,
        samples,
        pipe: true,
        splice: Splice::Decode,
    })
}

/// The head of an element.
#[derive(Clone, Copy, Debug)]
struct Element {
    id: u32,
    body: u64,
    /// None where the size is not known.
    size: Option<u64>,
}

impl Element {
    /// The element at `at`; None where the file ends or what is there is none.
    fn at(scan: &mut Scan<'_>, at: u64) -> Result<Option<Self>, Stop> {
        Ok(Self::read(scan.some(at, 12)?).map(|(id, head, size)| Self {
            id,
            body: at.saturating_add(head),
            size,
        }))
    }

    /// Id, length of the head and size of an element.
    fn read(bytes: &[u8]) -> Option<(u32, u64, Option<u64>)> {
        let length = bytes.first()?.leading_zeros() as usize + 1;
        if length > 4 {
            return None;
        }
        let id = bytes.get(..length)?.iter().fold(0, |id, &byte| id << 8 | u32::from(byte));
        let (size, width) = vint(bytes.get(length..)?)?;
        Some((id, (length + width) as u64, size))
    }

    fn end(&self) -> u64 {
        self.body.saturating_add(self.size.unwrap_or(0))
    }

    fn length(&self) -> usize {
        self.size.unwrap_or(0) as usize
    }
}

/// A variable-size integer and its width in bytes; None inside where all its bits are set.
fn vint(bytes: &[u8]) -> Option<(Option<u64>, usize)> {
    let first = *bytes.first()?;
    let width = first.leading_zeros() as usize + 1;
    if width > 8 {
        return None;
    }
    let mask = (1u64 << (7 * width)) - 1;
    let value =
        bytes.get(..width)?.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)) & mask;
    Some((Some(value).filter(|&value| value != mask), width))
}

/// The elements in `bytes`, one level deep; ends at the first that is broken.
fn elements(bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (id, head, size) = Element::read(rest)?;
        let head = usize::try_from(head).ok()?;
        let body = rest.get(head..head.checked_add(usize::try_from(size?).ok()?)?)?;
        rest = rest.get(head + body.len()..)?;
        Some((id, body))
    })
}

/// An unsigned integer of up to eight bytes.
fn unsigned(body: &[u8]) -> u64 {
    body.iter().take(8).fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// A float of four or eight bytes.
fn float(body: &[u8]) -> Option<f64> {
    match body.len() {
        4 => array(body, 0).map(|bytes| f64::from(f32::from_be_bytes(bytes))),
        _ => array(body, 0).map(f64::from_be_bytes),
    }
}

/// The first audio track.
struct Track {
    number: u64,
    codec: Codec,
    rate: u32,
    channels: u16,
    /// Nanoseconds that the decoder's output starts early.
    delay: u64,
    length: Length,
}

/// What tells the samples of a frame.
#[derive(Clone, Debug)]
enum Length {
    Fixed(u64),
    /// Bytes a sample of all channels.
    Pcm(u64),
    Opus,
    Mpeg,
    /// FLAC, with its usual block size.
    Flac(u16),
    Vorbis(vorbis::Setup),
}

impl Track {
    /// The first audio track of a Tracks element.
    fn first(tracks: &[u8]) -> Result<Self, Stop> {
        let entries = || elements(tracks).filter(|(id, _)| *id == 0xae).map(|(_, entry)| entry);
        let kind = |entry| {
            elements(entry).find(|(id, _)| *id == 0x83).map_or(0, |(_, body)| unsigned(body))
        };
        if let Some(entry) = entries().find(|entry| kind(entry) == 2) {
            return Self::read(entry);
        }
        let video = entries().any(|entry| kind(entry) == 1);
        let found =
            if video { "video without an audio track" } else { "Matroska without an audio track" };
        Err(unsupported(found))
    }

    fn read(entry: &[u8]) -> Result<Self, Stop> {
        let (mut number, mut delay, mut id, mut private) = (0, 0, "", &[][..]);
        let (mut rate, mut output, mut channels, mut bits) = (8_000.0, None, 1, 16);
        for (element, body) in elements(entry) {
            match element {
                0xd7 => number = unsigned(body),
                0x86 => {
                    id = std::str::from_utf8(body).unwrap_or_default().trim_end_matches('\0');
                }
                0x63a2 => private = body,
                0x56aa => delay = unsigned(body),
                0x6d80 => return Err(Stop::Undetermined(Container::Matroska)),
                0xe1 => {
                    for (element, body) in elements(body) {
                        match element {
                            0xb5 => rate = float(body).unwrap_or(rate),
                            0x78b5 => output = float(body),
                            0x9f => channels = unsigned(body) as u16,
                            0x6264 => bits = unsigned(body),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        let undetermined = || Stop::Undetermined(Container::Matroska);
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
                (Codec::Flac, Length::Flac(info.block))
            }
            "A_AAC" => {
                let config = aac::Config::read(private).ok_or_else(undetermined)?;
                (rate, channels) = (config.rate, config.channels);
                (Codec::Aac { object: config.object }, Length::Fixed(config.frame))
            }
            "A_MPEG/L3" => (Codec::Mp3, Length::Mpeg),
            "A_MPEG/L2" => (Codec::Mp2, Length::Mpeg),
            "A_AC3" => (Codec::Ac3, Length::Fixed(1_536)),
            "A_PCM/INT/LIT" | "A_PCM/INT/BIG" => {
                (Codec::Pcm, Length::Pcm(bits / 8 * u64::from(channels)))
            }
            "A_PCM/FLOAT/IEEE" => (Codec::Float, Length::Pcm(bits / 8 * u64::from(channels))),
            _ if id.starts_with("A_") => return Err(undetermined()),
            _ => {
                return Err(unsupported(format!("Matroska with codec '{}'", id.escape_default())));
            }
        };
        if rate == 0 || number == 0 || matches!(length, Length::Pcm(0)) {
            return Err(undetermined());
        }
        Ok(Self { number, codec, rate, channels, delay, length })
    }
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

/// The count of all blocks of a track.
#[derive(Debug, Default)]
struct Blocks {
    samples: u64,
    /// The window of the packet before (Vorbis).
    window: u64,
    /// Nanoseconds that are cut from the newest block.
    discard: u64,
}

impl Blocks {
    /// Samples of `track` in the clusters from `at` on; None where only decoding can tell.
    fn count(mut self, input: &Input<'_>, mut at: u64, track: &Track) -> Result<Option<u64>, Stop> {
        let end = input.end()?;
        let mut scan = Scan::new(*input);
        while at < end {
            let Some(element) = Element::at(&mut scan, at)? else {
                break;
            };
            at = match element.id {
                SEGMENT | CLUSTER | GROUP => element.body,
                _ if element.size.is_none() => return Ok(None),
                _ => element.end(),
            };
            match element.id {
                SIMPLE | BLOCK if at <= end => {
                    let head = scan.some(element.body, element.length().min(BLOCK_HEAD))?;
                    if self.block(head, element.size.unwrap_or(0), track).is_none() {
                        return Ok(None);
                    }
                }
                DISCARD => {
                    self.discard = unsigned(scan.some(element.body, element.length().min(8))?);
                }
                // Chained segments are left to ffmpeg.
                SEGMENT => return Ok(None),
                _ => {}
            }
        }
        let cut = |nanoseconds: u64| {
            (u128::from(nanoseconds) * u128::from(track.rate) + 500_000_000) / 1_000_000_000
        };
        let trimmed = cut(track.delay) + cut(self.discard);
        Ok(self.samples.checked_sub(u64::try_from(trimmed).unwrap_or(u64::MAX)))
    }

    /// Counts one block of `size` bytes by its first bytes; None if its length cannot be told.
    fn block(&mut self, head: &[u8], size: u64, track: &Track) -> Option<()> {
        let (number, width) = vint(head)?;
        if number? != track.number {
            return Some(());
        }
        let flags = *head.get(width + 2)?;
        let laced = flags & 0x06 != 0;
        let frames = if laced { u64::from(*head.get(width + 3)?) + 1 } else { 1 };
        let frame = head.get(width + 3..)?;
        self.discard = 0;
        let samples = match &track.length {
            Length::Fixed(samples) => frames * samples,
            _ if laced => return None,
            Length::Pcm(bytes) => (size - width as u64 - 3) / bytes,
            Length::Opus => opus::samples(frame)?,
            Length::Mpeg => mpeg::Header::read(frame)?.samples(),
            Length::Flac(block) => flac::frame(frame, *block)?.1,
            Length::Vorbis(setup) => {
                let window = setup.window(*frame.first()?)?;
                let samples = if self.window == 0 { 0 } else { (self.window + window) / 4 };
                self.window = window;
                samples
            }
        };
        self.samples = self.samples.checked_add(samples)?;
        Some(())
    }
}
