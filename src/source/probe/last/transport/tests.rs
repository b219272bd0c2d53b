use std::{fs, process::Command, time::Duration};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// Three seconds of 25 pictures each as ffmpeg makes a transport stream of them.
fn stream(options: &str) -> Vec<u8> {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("made.ts");
    let picture = "-nostdin -v error -f lavfi -i testsrc2=s=160x90:r=25:d=3 -f lavfi -i sine=d=3";
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(picture.split(' ')).args(options.split(' ')).args(["-c:a", "aac", "-f", "mpegts"]);
    assert!(ffmpeg.arg(&path).status().expect("ffmpeg is installed").success());
    fs::read(path).unwrap()
}

fn h264(more: &str) -> Vec<u8> {
    stream(&format!("-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 25 {more}"))
}

fn walked(bytes: &[u8]) -> Option<Walk> {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("walked.ts");
    fs::write(&path, bytes).unwrap();
    walk(&File::open(path).unwrap(), Instant::now() + Duration::from_mins(10)).unwrap()
}

/// The packets of the video.
fn video(bytes: &[u8]) -> Vec<usize> {
    let begins = (0..bytes.len()).step_by(PACKET);
    begins.filter(|&at| be16(bytes, at + 1).unwrap() & 0x1fff == 0x100).collect()
}

#[test]
fn idr_pictures_are_found() {
    let walk = walked(&h264("-bf 2")).unwrap();
    let start = walk.keys[0];
    assert_eq!(walk.keys, [start, start + 90_000, start + 180_000]);
    assert_eq!((walk.pictures, walk.sequence[0] & 0x1f), (75, 7));
    // 26.5 hours later the counter begins anew.
    let wraps = walked(&h264("-output_ts_offset 95441")).unwrap();
    assert_eq!((wraps.keys.len(), wraps.pictures), (3, 75));
    assert!(wraps.keys[2] < wraps.keys[0], "{:?}", wraps.keys);
}

#[test]
fn recovery_points_are_no_idr_pictures() {
    for options in ["-x264-params intra-refresh=1:keyint=25", "-bf 2 -x264-params open-gop=1"] {
        let walk = walked(&h264(options)).unwrap();
        assert_eq!((walk.keys.len(), walk.pictures), (1, 75), "{options}");
    }
}

#[test]
fn on_a_disc_packets_have_a_time_in_front() {
    let plain = h264("-bf 2");
    let disc: Vec<u8> =
        plain.chunks(PACKET).flat_map(|packet| [&[0x12, 0, 0, 1], packet].concat()).collect();
    assert_eq!(walked(&disc), walked(&plain));
}

#[test]
fn whatever_is_odd_is_left_alone() {
    let plain = h264("-bf 2");
    assert!(walked(&plain).is_some());
    let second = h264("-bf 2 -s 80x46");
    let packets = video(&plain);
    let middle = packets[packets.len() / 2];
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = plain.clone();
        change(&mut bytes);
        bytes
    };
    let cases = [
        ("mpeg-2", stream("-c:v mpeg2video")),
        (
            "two programs",
            stream(
                "-map 0:v -map 1:a -map 0:v -c:v libx264 -program title=a:st=0:st=1 -program title=b:st=2",
            ),
        ),
        ("two videos", stream("-map 0:v -map 1:a -map 0:v -c:v libx264")),
        ("no video", stream("-vn")),
        ("half a packet", changed(&|bytes| bytes.truncate(bytes.len() - 90))),
        ("a packet lost", changed(&|bytes| drop(bytes.drain(middle..middle + PACKET)))),
        (
            "a packet twice",
            changed(&|bytes| {
                let again = bytes[middle..][..PACKET].to_vec();
                drop(bytes.splice(middle..middle, again));
            }),
        ),
        ("no sync", changed(&|bytes| bytes[middle] = 0)),
        ("an error", changed(&|bytes| bytes[middle + 1] |= 0x80)),
        ("scrambled", changed(&|bytes| bytes[middle + 3] |= 0x80)),
        ("its middle", changed(&|bytes| drop(bytes.drain(packets[0]..packets[4])))),
        ("another size later", [plain.clone(), second].concat()),
    ];
    for (what, bytes) in cases {
        assert_eq!(walked(&bytes), None, "{what}");
    }
    let late = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("a"), &plain).unwrap();
    let file = File::open(dir.path().join("a")).unwrap();
    assert_eq!(walk(&file, late).unwrap(), None, "no time");
}

#[test]
fn units_lie_between_start_codes() {
    let found: Vec<_> = units(b"\0\0\0\x01ab\0\0\0\x01c\0\0\x01\0\0\x01").collect();
    assert_eq!(found, [&b"ab"[..], b"c", b"", b""]);
    assert_eq!(units(b"nothing").count(), 0);
    assert_eq!(slice(b"\0\0\x01\x67\0\0\x01\x65"), Some(true));
    assert_eq!(slice(b"\0\0\x01\x09\0\0\x01\x41"), Some(false));
    assert_eq!(slice(b"\0\0\x01\x67\0\0\x01"), None);
}

proptest! {
    #[test]
    fn noise_is_survived(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), PACKET), 0..9),
        pids in prop::collection::vec(0u16..3, 9),
        pointer in any::<bool>(),
    ) {
        let mut stream = Stream { map: Some(1), video: Some(2), ..Stream::default() };
        for (mut packet, pid) in packets.into_iter().zip(pids) {
            packet[0] = 0x47;
            packet[1] = packet[1] & 0x40 | (pid >> 8) as u8;
            packet[2] = pid as u8;
            packet[3] &= 0x3f;
            if pointer {
                packet[4] %= 8;
            }
            let _ = stream.packet(&packet);
        }
        let _ = stream.end();
    }

    #[test]
    fn wild_pieces_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..60), zeros in any::<bool>()) {
        let bytes: Vec<u8> = bytes.into_iter().map(|byte| if zeros { byte & 1 } else { byte }).collect();
        let _ = (section(&bytes, 0), program(&bytes), super::video(&bytes), begun(&bytes), slice(&bytes));
        prop_assert!(units(&bytes).map(<[u8]>::len).sum::<usize>() <= bytes.len());
    }
}
