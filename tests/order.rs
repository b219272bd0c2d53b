//! Films whose pictures are decoded in another order than they are shown in, copied: every player shows them in time, because
//! nothing has to be told of a delay, neither by an edit list nor by negative composition offsets.

mod support;

use support::{
    Broker, Player, Upstream, decode,
    film::{self, Film, H264},
};

/// A big-endian number of 32 bits, `at` bytes behind the only box of this name.
#[track_caller]
fn word(bytes: &[u8], name: [u8; 4], at: usize) -> u32 {
    let start = bytes.windows(4).position(|word| word == name).expect("the box") + at;
    u32::from_be_bytes(bytes[start..start + 4].try_into().expect("4 bytes"))
}

/// When the segment's first sample is decoded, when its last one ends, and of each sample when it is decoded and shown: ISO/IEC
/// 14496-12, 8.8.7, 8.8.8 and 8.8.12, as far as the broker uses them.
fn times(segment: &[u8]) -> (u64, u64, Vec<(u64, i64)>) {
    let start =
        u64::from(word(segment, *b"tfdt", 8)) << 32 | u64::from(word(segment, *b"tfdt", 12));
    let uneven = word(segment, *b"trun", 4) & 0x100 != 0;
    let (width, usual) = (if uneven { 16 } else { 12 }, word(segment, *b"tfhd", 12));
    let mut at = start;
    let sample = |n| {
        let field = |n: usize, k: usize| word(segment, *b"trun", 16 + n * width + k);
        let decoded = at;
        at += u64::from(if uneven { field(n, 0) } else { usual });
        (decoded, decoded as i64 + i64::from(field(n, width - 4).cast_signed()))
    };
    let samples = (0..word(segment, *b"trun", 8) as usize).map(sample).collect();
    (start, at, samples)
}

#[test]
fn pictures_out_of_order_are_shown_in_time() {
    let upstream = Upstream::start();
    let setup = Broker::setup(&upstream).without("url.vtt").with("cache.expiry", "1h");
    let broker = setup.with("packager.video.ladder", "90:100k").start();
    // Ticks of 40 ms leave no room between two pictures; those of Matroska are milliseconds.
    for (id, format) in [
        ("fine", "-f mp4"),
        ("coarse", "-video_track_timescale 25 -f mp4"),
        ("milliseconds", "-f matroska"),
    ] {
        let x264 = "-bf 3 -x264-params b-adapt=0:b-pyramid=normal:scenecut=0";
        let rest = format!("{H264} -g 25 {x264} {format}");
        let film = Film { size: "320x180", rate: "25", seconds: 9.0, filters: "", rest: &rest };
        let source = film.bytes();
        upstream.audio(id, &source);
        let grant = broker.token(id);
        let player = Player::new(&broker, &grant);
        let copied = player.track_shuffled("v0.m3u8", 5);
        assert_eq!(decode::pictures(copied.bytes()), decode::pictures(&source), "{id}");

        assert!(!copied.init.windows(4).any(|name| name == b"elst"), "{id}");
        let scale = f64::from(word(&copied.init, *b"mdhd", 16));
        let (mut begins, mut is_reordered) = (0, false);
        for (n, (segment, told)) in
            copied.segments.iter().zip(&copied.playlist.segments).enumerate()
        {
            let (start, end, samples) = times(segment);
            assert_eq!(start, begins, "{id}: segment {n}");
            assert_eq!(samples.iter().map(|&(_, shown)| shown).min(), Some(start as i64));
            assert!(
                ((end - start) as f64 / scale - told.seconds).abs() < 0.0011,
                "{id}: segment {n}"
            );
            for &(decoded, shown) in &samples {
                assert!(decoded as i64 <= shown && shown < end as i64, "{id}: {samples:?}");
            }
            assert!(samples.windows(2).all(|pair| pair[0].0 < pair[1].0), "{id}: {samples:?}");
            // Chromium shows the last one for as long as its sample lasts.
            let next = samples.iter().skip(1).map(|&(decoded, _)| decoded).chain([end]);
            let ends = samples.iter().zip(next).map(|(at, next)| at.1 + (next - at.0) as i64);
            assert_eq!(ends.max(), Some(end as i64), "{id}: {samples:?}");
            is_reordered |= samples.windows(2).any(|pair| pair[0].1 > pair[1].1);
            begins = end;
        }
        assert!(is_reordered, "{id}");

        let seen = film::watch(&broker, &grant, "v0.m3u8");
        assert_eq!(seen.numbers, (0..225).collect::<Vec<_>>(), "{id}");
        for (n, time) in seen.times.iter().enumerate() {
            assert!((time - n as f64 / 25.0).abs() < 0.0011, "{id}: picture {n} at {time}");
        }
    }
}
