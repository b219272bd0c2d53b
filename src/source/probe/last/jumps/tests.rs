use std::{io::Write, time::Duration};

use proptest::prelude::*;

use super::{runs::sound, *};
use crate::source::probe::pes::Times;

const VIDEO: Stream = Stream { pid: 0x100, video: true };
const SOUND: Stream = Stream { pid: 0x101, video: false };

/// Ticks of a picture, and of a piece of sound of two frames.
const FRAME: i64 = 3_600;
const PAIR: i64 = 2 * 1_920;

/// A packet of a track that begins a picture or a piece of sound: when it is shown, and when it is decoded.
fn packet(stream: Stream, shown: i64, decoded: i64) -> Vec<u8> {
    let mut packet = vec![0x47, 0x41, stream.pid as u8, 0x30];
    // Sound of 48 kHz in two frames of 20 bytes.
    let frame = [&[0xff, 0xf1, 0x4c, 0x80, 2, 0x9f, 0xfc][..], &[0; 13]].concat();
    let media = if stream.video { vec![0; 40] } else { frame.repeat(2) };
    packet.push((pes::PACKET - 5 - 19 - media.len()) as u8);
    packet.resize(pes::PACKET - 19 - media.len(), 0xff);
    let kind = if stream.video { 0xe0 } else { 0xc0 };
    packet.extend([0, 0, 1, kind, 0, 0, 0x80, 0xc0, 10]);
    for (mark, time) in [(0x31, shown), (0x11, decoded)] {
        let mut bytes = [mark, 0, 1, 0, 1];
        pes::delay(&mut bytes, wound(time));
        packet.extend(bytes);
    }
    packet.extend(media);
    packet
}

/// So many seconds from `start` on: pictures from that very time on, two of three out of order, and sound from `lag` later on.
fn part(start: i64, seconds: i64, lag: i64) -> Vec<u8> {
    let mut packets: Vec<(i64, Vec<u8>)> = Vec::new();
    for n in 0..seconds * 25 {
        let decoded = start + n * FRAME;
        let shown = decoded + [0, 1, -1][n as usize % 3] * FRAME;
        packets.push((decoded, packet(VIDEO, shown, decoded - 2 * FRAME)));
    }
    for n in 0..seconds * SECOND / PAIR {
        let time = start + lag + n * PAIR;
        packets.push((time, packet(SOUND, time, time)));
    }
    packets.sort_by_key(|(time, _)| *time);
    packets.into_iter().flat_map(|(_, packet)| packet).collect()
}

/// The same packets with a time in front of each.
fn on_a_disc(packets: &[u8]) -> Vec<u8> {
    packets.chunks(pes::PACKET).flat_map(|packet| [&[1, 2, 3, 4], packet].concat()).collect()
}

/// What of these packets is of one track.
fn only(stream: Stream, packets: &[u8]) -> Vec<u8> {
    let mut own = Vec::new();
    let mut keep = |_, packet: &mut [u8]| {
        if pes::pid(packet) == Some(stream.pid) {
            own.extend_from_slice(packet);
        }
    };
    let mut all = Packets::default();
    all.push(packets, &mut keep);
    all.end(keep);
    own
}

fn walked(bytes: &[u8]) -> Clock {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    io::Seek::rewind(&mut file).unwrap();
    walk(&mut file, &[VIDEO, SOUND], Instant::now() + Duration::from_mins(10)).unwrap()
}

/// The times at which each track shows something by its clock, none if that goes evenly by itself.
fn times(bytes: &[u8]) -> Option<[Vec<i64>; 2]> {
    let clock = walked(bytes);
    let mut winder = clock.winder()?;
    let wound = [winder.push(bytes), winder.end()].concat();
    let of = |stream: Stream| {
        let own = only(stream, &wound);
        let time = |packet: &[u8]| {
            let times = Times::of(packet, pes::payload(packet)?.1)?;
            Some(pes::read(&packet[times.shown])?.cast_signed())
        };
        own.chunks(pes::PACKET).filter_map(time).collect()
    };
    Some([of(VIDEO), of(SOUND)])
}

/// The steps from each time to the next of those in order that are not the usual one.
fn odd(mut times: Vec<i64>, usual: i64) -> Vec<i64> {
    times.sort_unstable();
    times.windows(2).map(|pair| pair[1] - pair[0]).filter(|step| *step != usual).collect()
}

fn none() -> Vec<i64> {
    Vec::new()
}

#[test]
fn what_goes_evenly_is_left_alone() {
    let plain = part(126_000, 9, 0);
    assert!(walked(&plain).is_even() && walked(&[]).is_even() && walked(&[0x47; 999]).is_even());
    assert!(walked(&part((1 << 33) - 4 * SECOND, 9, 0)).is_even(), "times that wrap");
    let late = [only(VIDEO, &plain), only(SOUND, &plain)].concat();
    assert!(walked(&late).is_even(), "one behind the other");
}

#[test]
fn parts_lie_one_behind_the_other() {
    // Of the sound there are whole pieces: that of 9 s ends 3,600 ticks before the pictures.
    let (first, hour) = (part(126_000, 9, 0), 3_600 * SECOND);
    for (what, bytes, parts) in [
        ("joined to itself", first.repeat(2), 2),
        ("five times", first.repeat(5), 5),
        ("an hour later", [&first[..], &part(hour, 9, 0)].concat(), 2),
        ("an hour earlier", [&part(hour, 9, 0), &first[..]].concat(), 2),
        ("behind the end of the clock", [&part(-9 * SECOND, 9, 0), &first[..]].concat(), 2),
        ("three seconds later", [&first[..], &part(126_000 + 12 * SECOND, 9, 0)].concat(), 2),
        ("on a disc", on_a_disc(&first.repeat(2)), 2),
        ("cut amid a packet", [&first[..], &first[..99], &first].concat(), 2),
    ] {
        let [pictures, sounds] = times(&bytes).unwrap_or_else(|| panic!("{what}"));
        assert_eq!(odd(pictures, FRAME), none(), "{what}");
        assert_eq!(odd(sounds, PAIR), vec![PAIR + 3_600; parts - 1], "{what}");
        assert_eq!(walked(&bytes).jumps(), parts - 1, "{what}");
    }
}

#[test]
fn tracks_keep_step_within_each_part() {
    // Sound comes half a second late in the first part and at once in the second: its end decides.
    let bytes = [part(0, 9, SECOND / 2), part(0, 9, 0)].concat();
    let [pictures, sounds] = times(&bytes).unwrap();
    assert_eq!(sounds[0] - pictures[0], SECOND / 2);
    let (second, half) = (pictures.len() / 2, sounds.len() / 2);
    assert_eq!(pictures[second], sounds[half]);
    assert_eq!(odd(sounds, PAIR), none());
    assert_eq!(odd(pictures, FRAME), [FRAME + SECOND / 2 - 3_600]);

    // The second part has no pictures, or they come back in the third.
    let whole = part(0, 9, 0);
    let [pictures, sounds] = times(&[&whole[..], &only(SOUND, &whole)].concat()).unwrap();
    assert_eq!((odd(pictures, FRAME), odd(sounds, PAIR)), (none(), none()));
    let [pictures, sounds] =
        times(&[&whole[..], &only(SOUND, &whole), &whole[..]].concat()).unwrap();
    let last = sounds.len() * 2 / 3;
    assert_eq!(pictures[pictures.len() / 2], sounds[last]);
    assert_eq!(odd(sounds, PAIR), none());
}

#[test]
fn tracks_need_not_jump_at_the_same_place() {
    // The last of the sound comes after the first of the new pictures, and all of the new sound behind that.
    let (first, second) = (part(0, 9, 0), part(SECOND, 9, 0));
    let held = only(SOUND, &first);
    let (early, late) = held.split_at(held.len() - 6 * pes::PACKET);
    let (begun, rest) = second.split_at(20 * pes::PACKET);
    let bytes = [&only(VIDEO, &first), early, &only(VIDEO, begun), late, &only(SOUND, begun), rest];
    let [pictures, sounds] = times(&bytes.concat()).unwrap();
    assert_eq!(odd(pictures, FRAME), none());
    assert_eq!(odd(sounds, PAIR), [PAIR + 3_600]);
}

#[test]
fn wild_times_are_held_fast_where_others_jump() {
    let whole = part(0, 60, 0);
    let mut wild = whole.repeat(2);
    for at in [100, 700, 1_001] {
        let at = at * pes::PACKET;
        let stream = if pes::pid(&wild[at..]) == Some(VIDEO.pid) { VIDEO } else { SOUND };
        wild[at..at + pes::PACKET].copy_from_slice(&packet(stream, 1 << 30, 1 << 30));
    }
    let [pictures, sounds] = times(&wild).unwrap();
    let plain = times(&whole.repeat(2)).unwrap();
    let steps = |times: &[i64]| times.windows(2).map(|pair| (pair[1] - pair[0]).abs()).max();
    assert!(steps(&pictures) < Some(SECOND) && steps(&sounds) < Some(SECOND));
    let json = serde_json::to_value(walked(&wild)).unwrap();
    let marks = json["marks"].as_array().unwrap().iter();
    let marks: Vec<u64> = marks.map(|mark| mark["time"].as_u64().unwrap()).collect();
    assert!(marks.windows(2).all(|pair| pair[0] < pair[1] + 200), "{marks:?}");
    for (wild, plain) in [pictures, sounds].iter().zip(&plain) {
        // A picture that comes alone has a length by guess.
        let far = wild.iter().zip(plain).map(|(wild, plain)| wild.abs_diff(*plain)).max();
        assert!(
            far < Some(SECOND.unsigned_abs() / 4)
                && wild.last().unwrap() - plain.last().unwrap() < 9
        );
    }
}

#[test]
fn a_track_that_jumps_alone_has_a_gap_or_is_damaged() {
    let whole = part(0, 60, 0);
    let without = |stream: Stream, from: i64, to: i64| {
        let is_kept = |packet: &&[u8]| {
            let times = Times::of(packet, pes::payload(packet).unwrap().1).unwrap();
            let time = pes::read(&packet[times.shown]).unwrap().cast_signed();
            pes::pid(packet) != Some(stream.pid) || !(from..to).contains(&time)
        };
        whole.chunks(pes::PACKET).filter(is_kept).flatten().copied().collect::<Vec<u8>>()
    };
    for stream in [VIDEO, SOUND] {
        assert!(walked(&without(stream, 20 * SECOND, 50 * SECOND)).is_even(), "{stream:?}");
    }
    let mut wild = whole.clone();
    let middle = wild.len() / 2 / pes::PACKET * pes::PACKET;
    wild[middle..middle + pes::PACKET].copy_from_slice(&packet(SOUND, 1 << 30, 1 << 30));
    assert!(walked(&wild).is_even());
    // Alone, it jumps where others would not wait.
    let sound = |later: i64| {
        let parts = [part(0, 9, 0), part((9 + later) * SECOND, 9, 0)].concat();
        walked(&only(SOUND, &parts)).is_even()
    };
    assert!(sound(3) && !sound(11));
}

#[test]
fn places_are_marked_by_when_they_are_played() {
    let first = part(3_600 * SECOND, 60, 0);
    let bytes = [&first[..], &part(0, 60, 0)].concat();
    let clock = walked(&bytes);
    let needless = clock.needless(f64::MAX);
    assert_eq!(needless, None, "all of it is the beginning");
    let json = serde_json::to_value(&clock).unwrap();
    let marks = json["marks"].as_array().unwrap();
    assert_eq!(marks.len(), 12);
    for (n, mark) in marks.iter().enumerate() {
        let (time, at) = (mark["time"].as_u64().unwrap(), mark["at"].as_u64().unwrap());
        assert!(time.abs_diff(n as u64 * 10_000) < 200, "{mark}");
        let share = at as f64 / bytes.len() as f64 - n as f64 / 12.0;
        assert!(share.abs() < 0.01 && at % pes::PACKET as u64 == 0, "{mark}");
    }
}

#[test]
fn the_last_sound_is_as_long_as_its_frames() {
    let bytes = packet(SOUND, 0, 0);
    let piece = &bytes[pes::PACKET - 40..];
    assert_eq!(sound(piece), Some(2 * 1_920));
    assert_eq!(sound(&[&[0, 1, 2], piece, &piece[..15]].concat()), Some(2 * 1_920));
    let mp2 = [&[0xff, 0xfd, 0xa4, 0][..], &[0; 572]].concat();
    assert_eq!(sound(&mp2.repeat(3)), Some(3 * 2_160));
    assert_eq!(sound(&[7; 900]), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn wild_times_are_survived(
        times in prop::collection::vec((any::<bool>(), any::<u64>(), any::<u64>(), 0..4), 0..200),
    ) {
        let mut bytes = Vec::new();
        let mut last = 0;
        for (video, shown, decoded, kind) in times {
            let stream = if video { VIDEO } else { SOUND };
            last = if kind == 0 { decoded } else { last + decoded % 9_000 };
            bytes.extend(packet(stream, last.wrapping_add(shown % 9_000).cast_signed() & 0x1_ffff_ffff, last.cast_signed() & 0x1_ffff_ffff));
            last &= 0x1_ffff_ffff;
        }
        let clock = walked(&bytes);
        if let Some(mut winder) = clock.winder() {
            prop_assert_eq!([winder.push(&bytes), winder.end()].concat().len(), bytes.len());
        }
    }
}
