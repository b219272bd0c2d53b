//! Packed audio: ADTS frames behind an ID3 tag that says when they are played.
//!
//! To have at hand: RFC 8216 section 3.4, ID3v2.4 (structure 3.1, `PRIV` 4.27), ISO/IEC 14496-3 1.A.3 (ADTS).

use bytes::{BufMut, Bytes};

use super::{
    adts::{AudioConfig, Corrupt, Frames, HEADER},
    fill,
    table::{FIRST_FRAMES, FRAME},
};

/// The 90 kHz timestamp of presentation time 0, in packed audio too: ten seconds, so that priming stays positive.
pub const BASE_PTS: u64 = 900_000;

/// Who owns the private frame, as RFC 8216 has it.
const OWNER: &[u8] = b"com.apple.streaming.transportStreamTimestamp\0";

/// Bytes of the private frame's body: the owner and 64 bits of timestamp.
const PRIV: usize = OWNER.len() + 8;

/// Bytes that libavformat reads to know packed audio for what it is (`PROBE_BUF_MIN`).
const PROBED: usize = 2048;

/// Bytes of the tag: its header, the private frame's header, its body.
const TAG: usize = 10 + 10 + PRIV;

/// The 90 kHz timestamp, in 33 bits, of the first sample of frame `frame`, rounded from the exact time.
pub fn pts(config: AudioConfig, frame: u64) -> u64 {
    let rate = i128::from(config.rate());
    let samples = i128::from(frame) * i128::from(FRAME) - i128::from(config.priming());
    let ticks = (samples * 180_000 + rate).div_euclid(2 * rate);
    (ticks + i128::from(BASE_PTS)).rem_euclid(1 << 33) as u64
}

/// A segment that begins with frame `first_frame` of the track, counted from the priming.
pub fn segment(config: AudioConfig, first_frame: u64, frames: &Frames) -> Bytes {
    let mut out = Vec::with_capacity(size(frames.len(), frames.payload().len()));
    // Both sizes in the tag are below 128, so their "syncsafe" form is the plain one.
    out.put_slice(b"ID3\x04\0\0");
    out.put_u32((10 + PRIV) as u32);
    out.put_slice(b"PRIV");
    out.put_u32(PRIV as u32);
    out.put_u16(0);
    out.put_slice(OWNER);
    out.put_u64(pts(config, first_frame));
    put_frames(&mut out, config, frames.iter());
    out.into()
}

/// The first segment of frames that ffmpeg has encoded. Silence is filled up: where libavformat reads on into the segment behind,
/// it takes that one's time for this one's, and all seeks land too late by the length of this (measured: ffmpeg 5.1, mpv 0.35).
///
/// # Errors
/// As [`Frames::push`].
pub fn opening(config: AudioConfig, frames: &Frames) -> Result<Bytes, Corrupt> {
    let is_small = size(frames.len(), frames.payload().len()) - TAG < PROBED;
    if is_small && frames.len() as u64 >= FIRST_FRAMES {
        return Ok(segment(config, 0, &fill::filled(frames)?));
    }
    Ok(segment(config, 0, frames))
}

/// Bytes of a segment of so many frames with so many bytes of payload.
pub const fn size(frames: usize, payload: usize) -> usize {
    TAG + HEADER * frames + payload
}

/// Appends frames, each behind its ADTS header.
pub(super) fn put_frames<'a>(
    out: &mut Vec<u8>,
    config: AudioConfig,
    frames: impl Iterator<Item = &'a [u8]>,
) {
    for frame in frames {
        out.put_slice(&config.header(frame.len() as u16));
        out.put_slice(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_is_what_rfc_8216_asks_for() {
        let config = AudioConfig::new(48_000, 2).unwrap();
        let mut frames = Frames::default();
        frames.push(&[1, 2, 3]).unwrap();
        let segment = segment(config, 1, &frames);
        assert_eq!(&segment[..20], b"ID3\x04\0\0\0\0\0\x3fPRIV\0\0\0\x35\0\0");
        assert_eq!(&segment[20..65], b"com.apple.streaming.transportStreamTimestamp\0");
        assert_eq!(segment[65..73], 900_000u64.to_be_bytes());
        assert_eq!(segment[73..], [0xff, 0xf1, 0x4c, 0x80, 0x01, 0x5f, 0xfc, 1, 2, 3]);
    }

    #[test]
    fn silence_at_the_beginning_is_long_enough() {
        for (channels, rate) in [(1, 8_000), (2, 48_000)] {
            let config = AudioConfig::new(rate, channels).unwrap();
            let silence = |count| {
                let mut frames = Frames::default();
                frames.push_silence(config, count).unwrap();
                frames
            };
            assert!(segment(config, 0, &silence(50)).len() < PROBED);
            let filled = opening(config, &silence(50)).unwrap();
            assert!(filled.len() - TAG >= PROBED, "{}", filled.len());
            let short = silence(49);
            assert_eq!(opening(config, &short).unwrap(), segment(config, 0, &short));
            let long = silence(500);
            assert_eq!(opening(config, &long).unwrap(), segment(config, 0, &long));
        }
    }

    #[test]
    fn size_is_the_tag_and_seven_bytes_a_frame() {
        let config = AudioConfig::new(8_000, 1).unwrap();
        let mut frames = Frames::default();
        frames.push_silence(config, 10).unwrap();
        assert_eq!(segment(config, 7, &frames).len(), 73 + 10 * (7 + 4));
    }
}
