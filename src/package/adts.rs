//! AAC frames: what they are configured as, a run of them, and the cutter that takes them out of an ADTS stream.
//!
//! To have at hand: ISO/IEC 14496-3 (`AudioSpecificConfig` 1.6.2.1, syntax of a frame 4.4.2, ADTS 1.A.3) or ISO/IEC 13818-7.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The sampling rates that AAC names, by their `samplingFrequencyIndex` (ISO/IEC 14496-3 table 1.18).
const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// Bytes of an ADTS header without its checksum.
pub const HEADER: usize = 7;

/// The most bytes that one frame can have: what the 13 bits of an ADTS frame length leave beside the header.
pub const MAX_FRAME: usize = (1 << 13) - 1 - HEADER;

/// The most payload bytes in one [`Frames`], so that box sizes and offsets of 32 bits always hold.
const MAX_PAYLOAD: usize = 1 << 30;

/// Samples before the first audible one, as ffmpeg's encoder makes them.
const PRIMING: u16 = 1024;

/// Bytes that are not what they have to be, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt(pub &'static str);

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Corrupt {}

/// What an AAC-LC track is: a sampling rate that AAC names, one or two channels, and its priming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct AudioConfig {
    rate: u32,
    channels: u8,
    priming: u16,
}

/// An [`AudioConfig`] as it stands in a file.
#[derive(Deserialize)]
struct Unchecked {
    rate: u32,
    channels: u8,
    priming: u16,
}

impl TryFrom<Unchecked> for AudioConfig {
    type Error = Corrupt;

    fn try_from(read: Unchecked) -> Result<Self, Corrupt> {
        Self::new(read.rate, read.channels)
            .map(|config| config.with_priming(read.priming))
            .ok_or(Corrupt("no such AAC sampling rate or channel count"))
    }
}

impl AudioConfig {
    /// Sampling rates that players know; anything else is resampled.
    pub const PLAYED: [u32; 9] =
        [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

    /// What ffmpeg's encoder makes of `rate` samples a second and `channels`, with its priming of one frame; None for a
    /// rate that AAC does not name or anything but mono and stereo.
    pub fn new(rate: u32, channels: u8) -> Option<Self> {
        let known = RATES.contains(&rate) && matches!(channels, 1 | 2);
        known.then_some(Self { rate, channels, priming: PRIMING })
    }

    /// The same with another number of samples before the first audible one, as copied tracks have it (often 2112).
    #[must_use]
    pub const fn with_priming(self, priming: u16) -> Self {
        Self { priming, ..self }
    }

    /// Samples a second.
    pub const fn rate(self) -> u32 {
        self.rate
    }

    /// 1 or 2.
    pub const fn channels(self) -> u8 {
        self.channels
    }

    /// Samples, a channel, before the first audible one.
    pub const fn priming(self) -> u16 {
        self.priming
    }

    /// `samplingFrequencyIndex`, 0 to 12.
    pub fn frequency_index(self) -> u8 {
        // `new` has seen to it that the rate is there.
        RATES.iter().take_while(|&&rate| rate != self.rate).count() as u8
    }

    /// The `AudioSpecificConfig`, saying that there is no SBR: without that, decoders may take low rates for HE-AAC.
    pub fn audio_specific_config(self) -> [u8; 5] {
        let object_type = 2;
        let core = object_type << 11
            | u16::from(self.frequency_index()) << 7
            | u16::from(self.channels) << 3;
        let [high, low] = core.to_be_bytes();
        // syncExtensionType 0x2b7 in 11 bits, object type 5 (SBR) in 5 bits, sbrPresentFlag 0.
        [high, low, 0x56, 0xe5, 0x00]
    }

    /// The ADTS header of a frame of `payload` bytes, at most [`MAX_FRAME`].
    pub fn header(self, payload: u16) -> [u8; HEADER] {
        let length = payload + HEADER as u16;
        let (index, channels) = (self.frequency_index(), self.channels);
        [
            0xff,
            0xf1,
            1 << 6 | index << 2 | channels >> 2,
            (channels & 3) << 6 | (length >> 11) as u8,
            (length >> 3) as u8,
            (length << 5) as u8 | 0x1f,
            0xfc,
        ]
    }

    /// The shortest frame of digital silence: one element, a long sine window, no scale factor bands.
    pub(super) const fn silence(self) -> &'static [u8] {
        match self.channels {
            1 => &[0x00, 0x00, 0x00, 0x07],
            _ => &[0x21, 0x00, 0x00, 0x00, 0x00, 0x1c],
        }
    }
}

/// A run of AAC frames without their ADTS headers: one payload, one size for each frame (1 to [`MAX_FRAME`] bytes).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Frames {
    payload: Vec<u8>,
    sizes: Vec<u16>,
}

impl Frames {
    /// Appends a frame; an error if it is empty or longer than [`MAX_FRAME`], or if a gigabyte is full.
    pub fn push(&mut self, frame: &[u8]) -> Result<(), Corrupt> {
        if frame.is_empty() || frame.len() > MAX_FRAME {
            return Err(Corrupt("an AAC frame is empty or too long"));
        }
        if self.payload.len() + frame.len() > MAX_PAYLOAD {
            return Err(Corrupt("more AAC frames than one run holds"));
        }
        self.payload.extend_from_slice(frame);
        self.sizes.push(frame.len() as u16);
        Ok(())
    }

    /// Appends `n` frames of digital silence.
    pub fn push_silence(&mut self, config: AudioConfig, n: usize) -> Result<(), Corrupt> {
        (0..n).try_for_each(|_| self.push(config.silence()))
    }

    /// Number of frames.
    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// Whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty()
    }

    /// The bytes of all frames, one after the other.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The size of each frame in bytes.
    pub fn sizes(&self) -> &[u16] {
        &self.sizes
    }

    /// The frames, one by one.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.payload.as_slice();
        self.sizes.iter().map(move |&size| {
            let (frame, after) = rest.split_at(usize::from(size));
            rest = after;
            frame
        })
    }
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frames({} frames, {} bytes)", self.len(), self.payload.len())
    }
}

/// Cuts an ADTS stream that arrives in arbitrary chunks into its frames.
///
/// Holds what was pushed and not yet cut, and never more than twice that; every byte is moved at most twice.
pub struct Cutter {
    expect: AudioConfig,
    buffer: Vec<u8>,
    /// Bytes at the front of the buffer that are cut already.
    done: usize,
}

impl Cutter {
    /// A cutter that takes nothing but AAC-LC of this rate and channel count.
    pub fn new(expect: AudioConfig) -> Self {
        Self { expect, buffer: Vec::new(), done: 0 }
    }

    /// Takes the next bytes of the stream. Call [`Cutter::cut`] until it has no frame left before pushing more.
    pub fn push(&mut self, bytes: &[u8]) {
        // Moving only when no more is kept than goes makes all moves together linear, even if nobody cuts for a while.
        if self.done * 2 >= self.buffer.len() {
            self.buffer.drain(..self.done);
            self.done = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The payload of the next frame, or None until more is pushed. An error stays: ffmpeg's own stream needs no search
    /// for the next sync word, so whatever else comes is not to be played.
    pub fn cut(&mut self) -> Result<Option<&[u8]>, Corrupt> {
        let pending = &self.buffer[self.done..];
        let Some(header) = pending.first_chunk() else {
            return Ok(None);
        };
        let (skip, length) = self.measure(*header)?;
        if pending.len() < length {
            return Ok(None);
        }
        let start = self.done;
        self.done += length;
        Ok(Some(&self.buffer[start + skip..start + length]))
    }

    /// Bytes of a frame that has begun and is not whole; anything but 0 at the stream's end means that it broke off.
    pub fn rest(&self) -> usize {
        self.buffer.len() - self.done
    }

    /// Bytes of this header with its checksum, and of the whole frame.
    fn measure(&self, header: [u8; HEADER]) -> Result<(usize, usize), Corrupt> {
        let [sync, flags, profile, high, middle, low, blocks] = header;
        // 12 bits of sync, one for MPEG-2 or 4, two of layer, one for "no checksum".
        if sync != 0xff || flags & 0xf6 != 0xf0 {
            return Err(Corrupt("no ADTS header where a frame should begin"));
        }
        // Profile, rate, the private bit and channels; the private bit says nothing.
        let [_, _, expect, expect_high, ..] = self.expect.header(0);
        if profile & !2 != expect || high & 0xc0 != expect_high & 0xc0 {
            return Err(Corrupt("ADTS of another profile, rate or channel count"));
        }
        if blocks & 3 != 0 {
            return Err(Corrupt("several AAC frames under one ADTS header"));
        }
        let skip = if flags & 1 == 1 { HEADER } else { HEADER + 2 };
        let length = usize::from(high & 3) << 11 | usize::from(middle) << 3 | usize::from(low >> 5);
        if length <= skip {
            return Err(Corrupt("an ADTS frame without a payload"));
        }
        Ok((skip, length))
    }
}

#[cfg(test)]
mod tests;
