use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::package::adts::{Cutter, MAX_FRAME};
use crate::package::packed::BASE_PTS;

/// What one packet of a transport stream says.
struct Packet<'a> {
    pid: u16,
    starts: bool,
    counter: u8,
    clock: Option<u64>,
    payload: &'a [u8],
}

fn packets(stream: &[u8]) -> impl Iterator<Item = Packet<'_>> {
    assert_eq!(stream.len() % PACKET, 0);
    stream.chunks_exact(PACKET).map(|packet| {
        assert_eq!(packet[0], 0x47);
        assert_eq!(packet[1] & 0xa0, 0, "no error, no priority");
        let has_adaptation = packet[3] & 0x20 != 0;
        assert!(packet[3] & 0x10 != 0, "every packet has a payload, and so counts");
        let adaptation = if has_adaptation { 1 + usize::from(packet[4]) } else { 0 };
        let clock = (adaptation > 1 && packet[5] & 0x10 != 0).then(|| {
            let base = u32::from_be_bytes(packet[6..10].try_into().unwrap());
            u64::from(base) << 1 | u64::from(packet[10] >> 7)
        });
        Packet {
            pid: u16::from_be_bytes([packet[1] & 0x1f, packet[2]]),
            starts: packet[1] & 0x40 != 0,
            counter: packet[3] & 0x0f,
            clock,
            payload: &packet[4 + adaptation..],
        }
    })
}

/// The PES packets of the audio track: clock reference, timestamp, frames with their headers.
fn pes_of(stream: &[u8]) -> Vec<(u64, u64, Vec<u8>)> {
    let mut all: Vec<(u64, Vec<u8>)> = Vec::new();
    for packet in packets(stream).filter(|packet| packet.pid == AUDIO) {
        assert!(!packet.payload.is_empty());
        assert_eq!(packet.starts, packet.clock.is_some());
        if let Some(clock) = packet.clock {
            all.push((clock, Vec::new()));
        }
        all.last_mut().unwrap().1.extend_from_slice(packet.payload);
    }
    let read = |(clock, bytes): (u64, Vec<u8>)| {
        assert_eq!(bytes[..4], [0, 0, 1, 0xc0]);
        assert_eq!(usize::from(u16::from_be_bytes([bytes[4], bytes[5]])), bytes.len() - 6);
        assert_eq!(bytes[6..9], [0x84, 0x80, 5]);
        let bits = bytes[9..14].iter().fold(0, |bits, &byte| bits << 8 | u64::from(byte));
        assert_eq!(bits & 0xf1_0001_0001, 0x21_0001_0001, "the marker bits");
        let pts = bits >> 3 & 7 << 30 | bits >> 2 & 0x7fff << 15 | bits >> 1 & 0x7fff;
        (clock, pts, bytes[14..].to_vec())
    };
    all.into_iter().map(read).collect()
}

fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
            if crc >> 31 == 1 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 }
        })
    })
}

#[test]
fn time_zero_is_at_ten_seconds() {
    for (rate, first) in [(8_000, 888_480), (22_050, 895_820), (44_100, 897_910), (48_000, 898_080)]
    {
        let config = AudioConfig::new(rate, 2).unwrap();
        assert_eq!(pts(config, 0), first);
        assert_eq!(pts(config, 1), BASE_PTS);
        assert_eq!(pts(config.with_priming(0), 0), BASE_PTS);
    }
}

#[test]
fn timestamps_do_not_drift() {
    let config = AudioConfig::new(44_100, 2).unwrap();
    // 1024 samples at 44.1 kHz are 1024 * 100 / 49 ticks: after 49 frames everything is exact again.
    for frame in (0..1_000_000).step_by(49) {
        assert_eq!(pts(config, frame + 1), BASE_PTS + frame / 49 * 102_400);
    }
    // After 26.5 hours the 33 bits are full.
    let wrap = (0..5_000_000).find(|&frame| pts(config, frame + 1) < pts(config, frame));
    let at = wrap.unwrap();
    assert!(pts(config, at) > (1 << 33) - 2_090 && pts(config, at + 1) < 2_090);
    assert!(pts(config, u64::MAX) < 1 << 33);
}

#[test]
fn tables_say_where_the_track_is() {
    assert_eq!(crc(&PAT), 0);
    assert_eq!(crc(&PMT), 0);
    let config = AudioConfig::new(48_000, 1).unwrap();
    let mut frames = Frames::default();
    frames.push_silence(config, 3).unwrap();
    for n in [0, 1, 15, 16, 4_000_000_007] {
        let stream = segment(config, n, 0, &frames);
        let tables: Vec<_> =
            packets(&stream).take(2).map(|p| (p.pid, p.counter, p.starts)).collect();
        let counter = (n % 16) as u8;
        assert_eq!(tables, [(0, counter, true), (PROGRAM, counter, true)]);
        assert!(packets(&stream).skip(2).all(|packet| packet.pid == AUDIO));
    }
}

#[test]
fn a_pes_packet_is_at_most_seven_tenths_of_a_second() {
    for (rate, count) in [(8_000, 5), (44_100, 30), (48_000, 32)] {
        let config = AudioConfig::new(rate, 1).unwrap();
        let mut frames = Frames::default();
        frames.push_silence(config, 100).unwrap();
        let all = pes_of(&segment(config, 0, 0, &frames));
        assert_eq!(all.len(), 100usize.div_ceil(count));
        assert_eq!(all[0].2.len(), count * 11);
        assert_eq!(all[1].1, pts(config, count as u64));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn segments_made_alone_are_one_stream(
        sizes in prop::collection::vec(
            prop::collection::vec(prop_oneof![9 => 1usize..600, 1 => 1usize..=MAX_FRAME], 1..90), 1..6,
        ),
        rate in prop::sample::select(vec![8_000u32, 22_050, 44_100, 48_000]),
        first_frame in prop_oneof![0u64..100_000, 4_100_000u64..4_120_000],
    ) {
        let config = AudioConfig::new(rate, 2).unwrap();
        let mut counters: HashMap<u16, u8> = HashMap::new();
        let mut at = first_frame;
        for (n, sizes) in sizes.iter().enumerate() {
            let mut frames = Frames::default();
            for &size in sizes {
                frames.push(&vec![size as u8; size]).unwrap();
            }
            let stream = segment(config, n as u32, at, &frames);
            for packet in packets(&stream) {
                let counter = counters.entry(packet.pid).or_default();
                prop_assert_eq!(packet.counter, *counter, "PID {}", packet.pid);
                *counter = (*counter + 1) % 16;
            }
            let mut cutter = Cutter::new(config);
            let mut found = Frames::default();
            for (clock, stamp, bytes) in pes_of(&stream) {
                prop_assert_eq!(stamp, pts(config, at + found.len() as u64));
                prop_assert_eq!((clock + PES_TICKS) % (1 << 33), stamp);
                cutter.push(&bytes);
                while let Some(frame) = cutter.cut().unwrap() {
                    found.push(frame).unwrap();
                }
                prop_assert_eq!(cutter.rest(), 0, "frames begin and end with a PES packet");
            }
            prop_assert_eq!(&found, &frames);
            at += frames.len() as u64;
        }
    }
}
