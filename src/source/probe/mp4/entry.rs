//! Audio sample entries of MP4 (ISO/IEC 14496-12 section 12.2, 14496-14 section 5.6): codec, rate, channels.

use super::{
    super::{
        Codec, Container, Stop, aac, flac,
        input::{be16, be32, bits},
        media::Form,
        mpeg, opus, unsupported,
    },
    boxes::{boxes, child, descend},
};

/// What `stsd` says of the codec.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) codec: Codec,
    pub(super) rate: u32,
    pub(super) channels: u16,
    pub(super) packet: Packet,
    /// What can be copied of it, and the samples that it says to throw away at the start.
    pub(super) form: Option<(Form, u64)>,
}

/// How many samples come out of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// This many, whatever the table says.
    Fixed(u64),
    /// As many as the table's usual duration, the last packet included.
    Usual,
    /// As many as the table says.
    Told,
    /// PCM of this many bytes a sample of all channels.
    Pcm(u64),
}

impl Entry {
    /// The codec of an `stsd` with one entry.
    pub(super) fn read(stsd: &[u8]) -> Result<Self, Stop> {
        let undetermined = Stop::Undetermined(Container::Mp4);
        let mut entries = boxes(stsd.get(8..).unwrap_or_default());
        match (entries.next(), entries.next()) {
            (Some((kind, body)), None) => Self::audio(kind, body),
            _ => Err(undetermined),
        }
    }

    /// The codec of an audio sample entry.
    fn audio(kind: [u8; 4], body: &[u8]) -> Result<Self, Stop> {
        let undetermined = Stop::Undetermined(Container::Mp4);
        let fixed = |at| be16(body, at);
        let (Some(version), Some(channels), Some(depth), Some(rate)) =
            (fixed(8), fixed(16), fixed(18), fixed(24))
        else {
            return Err(undetermined);
        };
        let rate = u32::from(rate);
        let children = match version {
            0 => body.get(28..),
            1 => body.get(44..),
            _ => return Err(undetermined),
        };
        let children = children.unwrap_or_default();
        let plain_of =
            |codec, channels, packet| Some(Self { codec, rate, channels, packet, form: None });
        let plain = |codec, packet| plain_of(codec, channels, packet);
        let pcm = |codec, bytes| plain(codec, Packet::Pcm(bytes * u64::from(channels)));
        let entry = match &kind {
            b"mp4a" => esds(children).and_then(|esds| Self::elementary(esds, rate, channels)),
            b"alac" => child(children, *b"alac").and_then(|config| {
                let (rate, channels) = (be32(config, 24)?, u16::from(*config.get(13)?));
                let packet = Packet::Told;
                Some(Self { codec: Codec::Alac, rate, channels, packet, form: None })
            }),
            b"fLaC" => child(children, *b"dfLa").and_then(|config| {
                let info = flac::StreamInfo::read(config.get(8..)?)?;
                Some(Self {
                    codec: Codec::Flac,
                    rate: info.rate,
                    channels: info.channels,
                    packet: Packet::Told,
                    form: info.fixed.then_some((info.form(), 0)),
                })
            }),
            b"Opus" => child(children, *b"dOps").and_then(|config| {
                let channels = *config.get(1)?;
                let head =
                    opus::Head { skip: be16(config, 2)?, gain: be16(config, 8)?.cast_signed() };
                let head = head.checked(channels, *config.get(10)?);
                Some(Self {
                    codec: Codec::Opus,
                    rate: opus::RATE,
                    channels: channels.into(),
                    packet: Packet::Usual,
                    form: head.map(|head| (Form::Opus { gain: head.gain }, head.skip.into())),
                })
            }),
            b".mp3" | b"ms\0\x55" => {
                plain(Codec::Mp3, Packet::Fixed(if rate < 32_000 { 576 } else { 1_152 }))
            }
            b"ac-3" => child(children, *b"dac3").and_then(|config| {
                let channels = ac3_channels(*config.get(1)?);
                plain_of(Codec::Ac3, channels, Packet::Fixed(1_536))
            }),
            b"ec-3" => child(children, *b"dec3").and_then(|config| {
                // One independent substream and no dependent one: what ffmpeg decodes is what this says.
                let alone = bits(config, 13, 3)? == 0 && bits(config, 35, 4)? == 0;
                let channels = ac3_channels((bits(config, 28, 4)? << 2) as u8);
                plain_of(Codec::Eac3, channels, Packet::Usual).filter(|_| alone)
            }),
            b"sowt" | b"twos" if matches!(depth, 8 | 16) => pcm(Codec::Pcm, u64::from(depth / 8)),
            b"in24" => pcm(Codec::Pcm, 3),
            b"in32" => pcm(Codec::Pcm, 4),
            b"fl32" => pcm(Codec::Float, 4),
            b"fl64" => pcm(Codec::Float, 8),
            b"alaw" => pcm(Codec::ALaw, 1),
            b"ulaw" => pcm(Codec::MuLaw, 1),
            b"lpcm" | b"raw " | b"ipcm" | b"fpcm" | b"NONE" | b"ima4" | b"samr" | b"sawb" => None,
            _ => {
                return Err(unsupported(format!("MP4 with codec '{}'", kind.escape_ascii())));
            }
        };
        entry.ok_or(undetermined)
    }

    /// Takes rate and channels of MP3 from its first frame: `stsd` says two channels of mono, too.
    pub(super) fn look(&mut self, frame: &[u8]) -> Result<(), Stop> {
        let header = mpeg::Header::read(frame).ok_or(Stop::Undetermined(Container::Mp4))?;
        (self.rate, self.channels) = (header.rate, header.channels);
        self.packet = Packet::Fixed(header.samples());
        Ok(())
    }

    /// The codec of an `mp4a` entry by its elementary stream descriptor (ISO/IEC 14496-1 section 7.2.6).
    fn elementary(esds: &[u8], rate: u32, channels: u16) -> Option<Self> {
        let (object, config) = decoder_config(esds)?;
        match object {
            0x40 | 0x67 => {
                let aac::Config { object, rate, channels, frame } = aac::Config::read(config?)?;
                Some(Self {
                    codec: Codec::Aac { object },
                    rate,
                    channels,
                    packet: Packet::Fixed(frame),
                    // Priming is told by the edit list alone.
                    form: (object == 2).then_some((Form::Aac, 0)),
                })
            }
            0x69 | 0x6b => {
                let samples = if rate < 32_000 { 576 } else { 1_152 };
                let packet = Packet::Fixed(samples);
                Some(Self { codec: Codec::Mp3, rate, channels, packet, form: None })
            }
            _ => None,
        }
    }
}

/// The object type indication of an elementary stream descriptor.
pub(super) fn object(descriptors: &[u8]) -> Option<u8> {
    decoder_config(descriptors).map(|(object, _)| object)
}

/// The channels by `acmod` and `lfeon` in bits 5 to 2, where a `dac3` box has them (ETSI TS 102 366 annex F.4).
fn ac3_channels(second: u8) -> u16 {
    let modes = [2, 1, 2, 3, 3, 4, 4, 5];
    modes[usize::from(second >> 3 & 7)] + u16::from(second >> 2 & 1)
}

/// The `esds` box, directly in the entry or in Apple's `wave`.
fn esds(children: &[u8]) -> Option<&[u8]> {
    child(children, *b"esds").or_else(|| descend(children, &[*b"wave", *b"esds"]))?.get(4..)
}

/// Object type indication and decoder specific info of an elementary stream descriptor.
fn decoder_config(descriptors: &[u8]) -> Option<(u8, Option<&[u8]>)> {
    let (3, stream) = descriptor(descriptors)? else {
        return None;
    };
    let flags = *stream.get(2)?;
    let mut at = 3 + if flags & 0x80 != 0 { 2 } else { 0 };
    if flags & 0x40 != 0 {
        at += 1 + usize::from(*stream.get(at)?);
    }
    at += if flags & 0x20 != 0 { 2 } else { 0 };
    let (4, config) = descriptor(stream.get(at..)?)? else {
        return None;
    };
    let info = config.get(13..).and_then(descriptor).filter(|(tag, _)| *tag == 5);
    Some((*config.first()?, info.map(|(_, body)| body)))
}

/// Tag and content of the first descriptor.
fn descriptor(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (&tag, mut rest) = bytes.split_first()?;
    let mut size = 0;
    for _ in 0..4 {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        size = size << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some((tag, rest.get(..size)?))
}
