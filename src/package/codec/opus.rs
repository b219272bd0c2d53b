//! Opus of one stream: mono or stereo, every packet as long as the others.
//!
//! To have at hand: RFC 6716 (packets, section 3), RFC 7845 (pre-skip and gain, section 5.1).

use std::num::NonZero;

use serde::{Deserialize, Serialize};

use crate::{package::adts::Corrupt, source::probe::opus};

/// Samples of a frame of CELT at full band, in the order of their numbers from [`FULL_BAND`] on.
const CELT: [u32; 4] = [120, 240, 480, 960];

/// The first configuration of CELT at full band (RFC 6716 table 2).
const FULL_BAND: u8 = 28;

/// The most samples of a packet: 120 ms.
const LONGEST: u32 = 5_760;

/// What a track of Opus is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opus {
    channels: u8,
    skip: u16,
    gain: i16,
    packet: NonZero<u32>,
}

impl Opus {
    /// Samples a second, always.
    pub const RATE: u32 = opus::RATE;

    /// A track of one or two channels that begins with `skip` samples not to be heard, is played `gain` / 256 dB louder, and
    /// has `packet` samples in every packet; None where that is no Opus.
    pub fn new(channels: u8, skip: u16, gain: i16, packet: u32) -> Option<Self> {
        let known =
            matches!(channels, 1 | 2) && packet <= LONGEST && packet.is_multiple_of(CELT[0]);
        let packet = NonZero::new(packet)?;
        known.then_some(Self { channels, skip, gain, packet })
    }

    /// 1 or 2.
    pub const fn channels(&self) -> u8 {
        self.channels
    }

    /// Samples, a channel, before the first audible one.
    pub const fn skip(&self) -> u16 {
        self.skip
    }

    /// By how much it is to be played louder, in 1/256 dB.
    pub const fn gain(&self) -> i16 {
        self.gain
    }

    /// Samples, a channel, of every packet.
    pub const fn packet(&self) -> u64 {
        self.packet.get() as u64
    }

    /// Samples of a packet.
    ///
    /// # Errors
    /// When it has more than the others, or is no packet.
    pub fn samples(&self, packet: &[u8]) -> Result<u64, Corrupt> {
        opus::samples(packet)
            .filter(|&samples| samples > 0 && samples <= self.packet())
            .ok_or(Corrupt("an Opus packet of another length than the others"))
    }

    /// A packet of silence: frames of CELT that say they are silent (RFC 6716 section 4.3), as many as it takes.
    pub fn silence(&self) -> Vec<u8> {
        let packet = self.packet.get();
        let fits = |&(_, frame): &(u8, u32)| packet.is_multiple_of(frame);
        let (configuration, frame) =
            (FULL_BAND..).zip(CELT).filter(fits).last().unwrap_or((FULL_BAND, CELT[0]));
        let stereo = u8::from(self.channels == 2) << 2;
        let frames = (packet / frame) as u8;
        let head = configuration << 3 | stereo;
        let mut silence = if frames == 1 { vec![head] } else { vec![head | 3, frames] };
        (0..frames).for_each(|_| silence.extend([0xff, 0xfe]));
        silence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_as_long_as_the_others() {
        for packet in [120, 240, 480, 960, 1_440, 1_920, 2_880, 5_760] {
            for channels in [1, 2] {
                let opus = Opus::new(channels, 312, 0, packet).unwrap();
                assert_eq!(opus.samples(&opus.silence()), Ok(packet.into()), "{packet}");
            }
        }
        assert_eq!(Opus::new(1, 0, 0, 960).unwrap().silence(), [0xf8, 0xff, 0xfe]);
        assert_eq!(Opus::new(2, 0, 0, 1_920).unwrap().silence()[..2], [0xff, 2]);
    }

    #[test]
    fn what_is_no_opus_is_refused() {
        for (channels, packet) in [(0, 960), (3, 960), (2, 0), (2, 100), (2, 5_880)] {
            assert_eq!(Opus::new(channels, 0, 0, packet), None, "{channels} {packet}");
        }
        let opus = Opus::new(2, 0, 0, 960).unwrap();
        assert!(opus.samples(&[]).is_err() && opus.samples(&[0xff, 2]).is_err());
        assert_eq!(opus.samples(&[0xf4]), Ok(480));
    }
}
