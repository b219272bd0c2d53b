//! MPEG audio, layers I to III (ISO/IEC 11172-3, 13818-3), with the Xing, Info, LAME and VBRI frames of common encoders.

use super::{
    Codec, Container, Input, Splice, Stop,
    input::{Scan, array, be16, be32},
    media::{Audio, Media},
};

/// Bytes behind the tags in which ffmpeg looks for the first frame.
const JUNK: u64 = 64 * 1024;

/// Frames in a row that make audio of what could be noise.
const CHAIN: usize = 3;

/// Samples that the decoder itself delays (LAME's constant, as ffmpeg applies it).
const DECODER_DELAY: u64 = 528 + 1;

/// Bytes of the smallest frame: layer III, 8 kbit/s at 24 kHz.
const SMALLEST: u64 = 24;

const RATES: [u32; 3] = [44_100, 48_000, 32_000];

const V1_L1: [u16; 14] = [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448];
const V1_L2: [u16; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
const V1_L3: [u16; 14] = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
const V2_L1: [u16; 14] = [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256];
const V2_L23: [u16; 14] = [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];

/// One frame header. Free format is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Half-rate frames: MPEG-2 and MPEG-2.5.
    low: bool,
    /// 1 to 3.
    layer: u8,
    /// Samples a second.
    pub(super) rate: u32,
    /// 1 or 2.
    pub(super) channels: u16,
    /// Bytes of the frame, header included.
    pub(super) size: u64,
}

impl Header {
    /// The header in the first four bytes.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let [0xff, b1, b2, b3] = array(bytes, 0)? else {
            return None;
        };
        let (version, layer) = (b1 >> 3 & 3, 4 - (b1 >> 1 & 3));
        if b1 & 0xe0 != 0xe0 || version == 1 || layer == 4 {
            return None;
        }
        let low = version != 3;
        let kilobits = match (low, layer) {
            (false, 1) => &V1_L1,
            (false, 2) => &V1_L2,
            (false, _) => &V1_L3,
            (true, 1) => &V2_L1,
            (true, _) => &V2_L23,
        };
        let rate =
            u32::from(b2 >> 4).checked_sub(1).and_then(|index| kilobits.get(index as usize))?;
        let bits = u64::from(*rate) * 1_000;
        let rate =
            RATES.get(usize::from(b2 >> 2 & 3))? >> if version == 0 { 2 } else { u32::from(low) };
        let padding = u64::from(b2 >> 1 & 1);
        let size = match layer {
            1 => (12 * bits / u64::from(rate) + padding) * 4,
            3 if low => 72 * bits / u64::from(rate) + padding,
            _ => 144 * bits / u64::from(rate) + padding,
        };
        let channels = if b3 >> 6 == 3 { 1 } else { 2 };
        Some(Self { low, layer, rate, channels, size })
    }

    /// Samples per channel in one frame.
    pub(super) fn samples(&self) -> u64 {
        match self.layer {
            1 => 384,
            3 if self.low => 576,
            _ => 1_152,
        }
    }

    /// The codec.
    pub(super) fn codec(&self) -> Codec {
        match self.layer {
            1 => Codec::Mp1,
            2 => Codec::Mp2,
            _ => Codec::Mp3,
        }
    }

    /// Whether both can stand in one stream.
    fn agrees(&self, other: &Self) -> bool {
        (self.low, self.layer, self.rate) == (other.low, other.layer, other.rate)
    }
}

/// The offset of the first frame at or behind `start`, if three agree in a row (fewer where the file ends with them).
pub(super) fn first_frame(input: &Input<'_>, start: u64) -> Result<Option<u64>, Stop> {
    let mut scan = Scan::new(*input);
    for at in start..start.saturating_add(JUNK) {
        match scan.some(at, 4)? {
            [0xff, b1, ..] if b1 & 0xe0 == 0xe0 => {}
            bytes if bytes.len() < 4 => return Ok(None),
            _ => continue,
        }
        if chain(input, at)? {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// Whether frames that agree follow each other from `at` on: three, or two that end the file (of one, ffmpeg
/// decodes nothing).
fn chain(input: &Input<'_>, mut at: u64) -> Result<bool, Stop> {
    let mut first: Option<Header> = None;
    for frames in 0..CHAIN {
        let head = input.some(at, 4)?;
        match (Header::read(&head), first) {
            (Some(header), None) => first = Some(header),
            (Some(header), Some(first)) if header.agrees(&first) => {}
            (None, Some(_)) => {
                return Ok(frames > 1 && (input.total() == Some(at) || head.starts_with(b"TAG")));
            }
            _ => return Ok(false),
        }
        at += Header::read(&head).map_or(0, |header| header.size);
    }
    Ok(true)
}

/// What MPEG audio whose tags end at `tags` holds.
pub(super) fn media(input: &Input<'_>, tags: u64) -> Result<Media, Stop> {
    let undetermined = Stop::Undetermined(Container::Mp3);
    let start = first_frame(input, tags)?.ok_or(undetermined.clone())?;
    let Some(header) = Header::read(&input.some(start, 4)?) else {
        return Err(undetermined);
    };
    let promise = Promise::read(&input.some(start, header.size as usize)?, &header);
    let left = input.total().ok_or(Stop::Whole)?.saturating_sub(start);
    // Behind junk, ffmpeg neither obeys the frame nor always plays it.
    if promise.is_some() && start != tags {
        return Err(undetermined);
    }
    // In a file that is much longer, it trusts no count.
    let promise = promise.map(|promise| promise.doubted(left));
    let second = Header::read(&input.some(start + header.size, 4)?).unwrap_or(header);
    let told = promise.filter(|promise| promise.holds(left, &header, &second));
    let frames = if let Some(promise) = told {
        promise.frames
    } else {
        let skip = promise.map_or(0, |_| header.size);
        walk(input, start + skip, &header)?.ok_or(undetermined)?
    };
    let samples =
        promise.map_or(frames * header.samples(), |promise| promise.trim(frames, header.samples()));
    let Header { rate, channels, .. } = header;
    let audio = Audio::new(header.codec(), rate, channels, samples, Splice::Seek);
    Ok(Media::sound(Container::Mp3, audio))
}

/// The frames from `at` to the end of the file; None if something stands between them or the last is cut short.
fn walk(input: &Input<'_>, mut at: u64, first: &Header) -> Result<Option<u64>, Stop> {
    let end = input.end()?;
    let mut scan = Scan::new(*input);
    let mut frames = 0;
    while at < end {
        let head = scan.some(at, 8)?;
        match Header::read(head) {
            Some(header) if header.agrees(first) && at + header.size <= end => {
                at += header.size;
                frames += 1;
            }
            _ => return Ok(tail(head, end - at).then_some(frames)),
        }
    }
    Ok(Some(frames))
}

/// Whether what is left, of which `head` is the beginning, is a tag that ffmpeg skips.
fn tail(head: &[u8], left: u64) -> bool {
    head.starts_with(b"TAG") && left == 128 || head.starts_with(b"APETAGEX")
}

/// What the Xing, Info or VBRI frame says.
#[derive(Clone, Copy, Debug, Default)]
struct Promise {
    /// Audio frames behind this one; 0 where it does not say.
    frames: u64,
    /// Bytes from this frame on; 0 where it does not say.
    bytes: u64,
    /// Frames of one size ("Info").
    constant: bool,
    /// Samples of encoder delay and padding (LAME, lavc).
    gap: Option<(u64, u64)>,
}

impl Promise {
    fn read(frame: &[u8], header: &Header) -> Option<Self> {
        if header.layer != 3 {
            return None;
        }
        let at = match (header.low, header.channels) {
            (false, 2) => 36,
            (true, 1) => 13,
            _ => 21,
        };
        let promise = match frame.get(at..at + 4) {
            Some(magic @ (b"Xing" | b"Info")) => {
                Self::xing(frame.get(at + 4..)?, magic == b"Info")?
            }
            _ if frame.get(36..40) == Some(b"VBRI") && be16(frame, 40) == Some(1) => Self {
                bytes: u64::from(be32(frame, 46)?),
                frames: u64::from(be32(frame, 50)?),
                ..Self::default()
            },
            _ => return None,
        };
        (promise.frames > 0 || promise.bytes > 0).then_some(promise)
    }

    fn xing(body: &[u8], constant: bool) -> Option<Self> {
        let flags = be32(body, 0)?;
        let mut at = 4;
        let mut field = |bit: u32, width: usize| {
            let present = flags & bit != 0;
            let value = present.then(|| be32(body, at)).flatten();
            at += if present { width } else { 0 };
            value.map_or(0, u64::from)
        };
        let (frames, bytes) = (field(1, 4), field(2, 4));
        field(4, 100);
        field(8, 4);
        let gap = body.get(at..).and_then(|lame| {
            let known = [b"LAME", b"Lavf", b"Lavc"].iter().any(|name| lame.starts_with(*name));
            let [a, b, c] = array(lame, 21)?;
            let (a, b, c) = (u64::from(a), u64::from(b), u64::from(c));
            known.then_some((a << 4 | b >> 4, (b & 15) << 8 | c))
        });
        Some(Self { frames, bytes, constant, gap })
    }

    /// The promise without its count, if the `left` bytes from this frame on are over a sixteenth more than it says.
    fn doubted(self, left: u64) -> Self {
        let longer = self.bytes > 0 && left.saturating_sub(self.bytes) > self.bytes / 16;
        Self { frames: if longer { 0 } else { self.frames }, ..self }
    }

    /// Whether the promise agrees with the `left` bytes of the file from this frame on, a tag at its end apart; `header`
    /// is that of its frame, `second` that of the first one with audio.
    fn holds(&self, left: u64, header: &Header, second: &Header) -> bool {
        let exact = |bytes| self.bytes == bytes || self.bytes + header.size == bytes;
        let fits = self.frames > 0
            && self.bytes / self.frames >= SMALLEST
            && (exact(left) || left > 128 && exact(left - 128));
        // An encoder that counts its own frame, or forgets some, shows itself where all frames have one size.
        let counted = self.bytes.saturating_sub(header.size) / second.size.max(1);
        fits && (!self.constant || counted.abs_diff(self.frames) <= self.frames / 50)
    }

    /// The samples that are left of `frames` frames of `size` samples, trimmed as ffmpeg's mp3 demuxer does.
    fn trim(&self, frames: u64, size: u64) -> u64 {
        let Some((delay, padding)) = self.gap else {
            return frames * size;
        };
        let promised = self.frames * size;
        let discard = (promised + DECODER_DELAY).saturating_sub(padding);
        let first = (discard / size).saturating_sub(1);
        let cut: u64 = if promised == 0 {
            0
        } else {
            (first..frames.min(self.frames))
                .map(|frame| ((frame + 1) * size).saturating_sub(discard).min(size))
                .sum()
        };
        (frames * size).saturating_sub(delay + DECODER_DELAY + cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_sizes() {
        type Told = Option<(u32, u16, u64, u64)>;
        let cases: &[([u8; 4], Told)] = &[
            ([0xff, 0xfb, 0x90, 0x64], Some((44_100, 2, 417, 1_152))),
            ([0xff, 0xfb, 0x92, 0xc4], Some((44_100, 1, 418, 1_152))),
            ([0xff, 0xf3, 0x84, 0xc4], Some((24_000, 1, 192, 576))),
            ([0xff, 0xe3, 0x18, 0xc4], Some((8_000, 1, 72, 576))),
            ([0xff, 0xfd, 0xa4, 0x00], Some((48_000, 2, 576, 1_152))),
            ([0xff, 0xfb, 0x00, 0x00], None),
            ([0xff, 0xfb, 0xf0, 0x00], None),
            ([0xff, 0xeb, 0x90, 0x00], None),
            ([0xff, 0xf9, 0x90, 0x00], None),
        ];
        for (bytes, told) in cases {
            let header = Header::read(bytes).map(|h| (h.rate, h.channels, h.size, h.samples()));
            assert_eq!(header, *told, "{bytes:02x?}");
        }
    }
}
