//! WAV: RIFF, RF64 and BW64 (Multimedia Programming Interface 1.0; EBU Tech 3306; ITU-R BS.2088).

use super::{
    Codec, Container, Input, Splice, Stop,
    input::{le16, le32, le64},
    media::{Audio, Media},
    unsupported,
};

/// Chunks in front of the data; more is no recording.
const CHUNKS: usize = 1_000;

/// The part of a `fmt ` chunk that anybody needs.
const FORMAT: usize = 40;

/// What a WAV file holds, told by its header; a data size that is unknown or too large is cut to the file.
pub(super) fn media(input: &Input<'_>) -> Result<Media, Stop> {
    let wide = input.bytes(0, 4)?.as_ref() != b"RIFF";
    let mut format = None;
    let mut large = None;
    let mut at = 12;
    for _ in 0..CHUNKS {
        let head = input.bytes(at, 8)?;
        let size = u64::from(le32(&head, 4).unwrap_or(0));
        at += 8;
        match head.get(..4) {
            Some(b"fmt ") => {
                let body = input.bytes(at, (size as usize).min(FORMAT))?;
                format = Some(
                    Format::read(&body)
                        .ok_or_else(|| unsupported("WAV with a broken format chunk"))?,
                );
            }
            Some(b"ds64") => large = le64(&input.bytes(at, 16)?, 8),
            Some(b"data") => {
                let format = format.ok_or_else(|| unsupported("WAV without a format chunk"))?;
                let size =
                    if wide { large } else { Some(size).filter(|&s| s != 0 && s != 0xffff_ffff) };
                let rest = input.total().ok_or(Stop::Whole)?.saturating_sub(at);
                return format.media(size.map_or(rest, |size| size.min(rest)));
            }
            _ => {}
        }
        at += size + (size & 1);
    }
    Err(unsupported("WAV without data"))
}

/// `WAVEFORMATEX`, the extensible kind resolved to its sub-format.
struct Format {
    tag: u16,
    channels: u16,
    rate: u32,
    align: u16,
    bits: u16,
}

impl Format {
    fn read(body: &[u8]) -> Option<Self> {
        let tag = match le16(body, 0)? {
            0xfffe => le16(body, 24)?,
            tag => tag,
        };
        let bits = le16(body, 14).unwrap_or(8);
        Some(Self {
            tag,
            channels: le16(body, 2)?,
            rate: le32(body, 4)?,
            align: le16(body, 12)?,
            bits,
        })
    }

    /// What `bytes` bytes of audio are.
    fn media(&self, bytes: u64) -> Result<Media, Stop> {
        let undetermined = Stop::Undetermined(Container::Wav);
        let (channels, align) = (u64::from(self.channels), u64::from(self.align));
        if channels == 0 || align == 0 {
            return Err(unsupported("WAV with a broken format chunk"));
        }
        let codec = match (self.tag, self.bits) {
            (1, 8 | 16 | 24 | 32) => Codec::Pcm,
            (3, 32 | 64) => Codec::Float,
            (6, 8) => Codec::ALaw,
            (7, 8) => Codec::MuLaw,
            (2, 4) => Codec::AdpcmMs,
            (0x11, 4) => Codec::AdpcmIma,
            _ => return Err(undetermined),
        };
        let adpcm = |head: u64, extra: u64, block: u64| match block.checked_sub(head * channels) {
            Some(nibbles) if block > 0 => extra + nibbles * 2 / channels,
            _ => 0,
        };
        let samples = match codec {
            // ffmpeg reads whole blocks, and drops what is left of a block at the end.
            Codec::AdpcmMs => bytes / align * adpcm(6, 0, align) + adpcm(6, 0, bytes % align),
            Codec::AdpcmIma => bytes / align * adpcm(4, 1, align) + adpcm(4, 1, bytes % align),
            _ if align != channels * u64::from(self.bits / 8) => return Err(undetermined),
            _ => bytes / align,
        };
        let splice = match codec {
            Codec::AdpcmMs | Codec::AdpcmIma => Splice::Decode,
            _ => Splice::Seek,
        };
        let audio = Audio::new(codec, self.rate, self.channels, samples, splice);
        Ok(Media::sound(Container::Wav, audio))
    }
}
