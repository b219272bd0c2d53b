use proptest::prelude::*;

use super::*;

/// Every config that there is.
fn configs() -> impl Iterator<Item = AudioConfig> {
    RATES.iter().flat_map(|&rate| [1, 2].map(|channels| AudioConfig::new(rate, channels).unwrap()))
}

fn stereo() -> AudioConfig {
    AudioConfig::new(44_100, 2).unwrap()
}

/// Everything that can be cut from a stream that arrives in these chunks.
fn cut<'a>(
    expect: AudioConfig,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(Frames, usize), Corrupt> {
    let mut cutter = Cutter::new(expect);
    let mut frames = Frames::default();
    for chunk in chunks {
        cutter.push(chunk);
        while let Some(frame) = cutter.cut()? {
            frames.push(frame)?;
        }
    }
    Ok((frames, cutter.rest()))
}

/// The ADTS stream of some payloads, with a checksum where `crc` says so.
fn stream(config: AudioConfig, frames: &[(Vec<u8>, bool)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (payload, crc) in frames {
        let sum: &[u8] = if *crc { &[0xab, 0xcd] } else { &[] };
        let mut header = config.header((payload.len() + sum.len()) as u16);
        header[1] &= !u8::from(*crc);
        out.extend([&header, sum, payload].concat());
    }
    out
}

#[test]
fn only_what_aac_names() {
    for (rate, channels) in [(0, 2), (44_099, 2), (96_001, 1), (44_100, 0), (44_100, 3)] {
        assert_eq!(AudioConfig::new(rate, channels), None);
    }
    assert_eq!(stereo().frequency_index(), 4);
    assert_eq!(AudioConfig::new(8_000, 1).unwrap().frequency_index(), 11);
    assert!(configs().all(|config| RATES[usize::from(config.frequency_index())] == config.rate()));
}

#[test]
fn config_on_disk_is_checked() {
    let config = stereo().with_priming(2112);
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(json, r#"{"rate":44100,"channels":2,"priming":2112}"#);
    assert_eq!(serde_json::from_str::<AudioConfig>(&json).unwrap(), config);
    let wrong = json.replace("44100", "0");
    assert!(serde_json::from_str::<AudioConfig>(&wrong).is_err());
}

#[test]
fn audio_specific_config_is_ffmpegs() {
    assert_eq!(stereo().audio_specific_config(), [0x12, 0x10, 0x56, 0xe5, 0x00]);
    let mono = AudioConfig::new(22_050, 1).unwrap();
    assert_eq!(mono.audio_specific_config(), [0x13, 0x88, 0x56, 0xe5, 0x00]);
}

#[test]
fn frames_hold_only_what_adts_can_carry() {
    let mut frames = Frames::default();
    assert!(frames.push(&[]).is_err());
    assert!(frames.push(&[0; MAX_FRAME + 1]).is_err());
    assert!(frames.is_empty());
    frames.push(&[7; MAX_FRAME]).unwrap();
    frames.push(&[8]).unwrap();
    assert_eq!(frames.len(), 2);
    assert_eq!(frames.sizes(), [MAX_FRAME as u16, 1]);
    assert_eq!(frames.iter().map(<[u8]>::len).sum::<usize>(), frames.payload().len());
    assert_eq!(frames.iter().last(), Some(&[8][..]));
}

#[test]
fn longest_frame_goes_through() {
    let payload = vec![3; MAX_FRAME];
    let bytes = stream(stereo(), &[(payload.clone(), false)]);
    let (frames, rest) = cut(stereo(), bytes.chunks(1000)).unwrap();
    assert_eq!((frames.payload(), rest), (payload.as_slice(), 0));
}

#[test]
fn another_config_is_refused() {
    for found in configs() {
        for expected in configs() {
            let bytes = stream(found, &[(vec![1, 2, 3], false)]);
            let cut = cut(expected, [bytes.as_slice()]);
            assert_eq!(cut.is_ok(), found == expected, "{found:?} as {expected:?}");
        }
    }
}

#[test]
fn what_is_no_frame_is_refused_and_stays_refused() {
    let good = stream(stereo(), &[(vec![1, 2, 3], false)]);
    let spoilt: [(usize, u8, &str); 6] = [
        (0, 0x01, "sync"),
        (1, 0x10, "sync"),
        (1, 0x02, "layer"),
        (2, 0x80, "profile"),
        (6, 0x01, "raw data blocks"),
        (2, 0x01, "channels"),
    ];
    for (at, bit, what) in spoilt {
        let mut bytes = good.clone();
        bytes[at] ^= bit;
        let mut cutter = Cutter::new(stereo());
        cutter.push(&bytes);
        let error = cutter.cut().expect_err(what);
        cutter.push(&good);
        assert_eq!(cutter.cut(), Err(error), "{what}");
    }
    let empty = stereo().header(0);
    assert!(cut(stereo(), [&empty[..]]).is_err());
    let mut shorter_than_its_header = stereo().header(0);
    shorter_than_its_header[5] &= 0x1f;
    assert!(cut(stereo(), [&shorter_than_its_header[..]]).is_err());
}

#[test]
fn mpeg_2_and_the_private_bit_are_fine() {
    let mut bytes = stream(stereo(), &[(vec![1, 2, 3], false)]);
    bytes[1] |= 0x08;
    bytes[2] |= 0x02;
    assert_eq!(cut(stereo(), [bytes.as_slice()]).unwrap().0.payload(), [1, 2, 3]);
}

#[test]
fn a_broken_off_frame_is_left() {
    let bytes = stream(stereo(), &[(vec![1; 20], false), (vec![2; 20], false)]);
    let (frames, rest) = cut(stereo(), [&bytes[..40]]).unwrap();
    assert_eq!((frames.len(), rest), (1, 13));
}

#[test]
fn memory_is_bounded_by_a_frame_and_a_chunk() {
    let bytes = stream(stereo(), &[(vec![1; 700], false)]);
    let mut cutter = Cutter::new(stereo());
    let mut cut = 0;
    for chunk in std::iter::repeat_n(&bytes, 2_000).flat_map(|bytes| bytes.chunks(100)) {
        cutter.push(chunk);
        while cutter.cut().unwrap().is_some() {
            cut += 1;
        }
    }
    assert_eq!(cut, 2_000);
    assert!(cutter.buffer.capacity() < 4 * 800, "{}", cutter.buffer.capacity());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn chunks_do_not_matter(
        frames in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..400), any::<bool>()), 0..12),
        config in prop::sample::select(configs().collect::<Vec<_>>()),
        sizes in prop::collection::vec(0usize..600, 1..20),
        drain_each in any::<bool>(),
    ) {
        let bytes = stream(config, &frames);
        let mut cutter = Cutter::new(config);
        let mut found = Vec::new();
        let mut rest = bytes.as_slice();
        let mut sizes = sizes.into_iter().cycle();
        // One more byte now and then, so that all-zero sizes come to an end too.
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(sizes.next().unwrap().max(1).min(rest.len()));
            rest = after;
            cutter.push(chunk);
            while let Some(frame) = cutter.cut().unwrap() {
                found.push(frame.to_vec());
                if !drain_each { break; }
            }
        }
        while let Some(frame) = cutter.cut().unwrap() {
            found.push(frame.to_vec());
        }
        let expected: Vec<_> = frames.into_iter().map(|(payload, _)| payload).collect();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(cutter.rest(), 0);
    }

    #[test]
    fn garbage_never_panics(
        garbage in prop::collection::vec(any::<u8>(), 0..300),
        plausible in any::<bool>(),
        chunk in 1usize..50,
    ) {
        let mut bytes = garbage;
        if plausible && bytes.len() >= HEADER {
            bytes[..3].copy_from_slice(&stereo().header(0)[..3]);
        }
        if let Ok((frames, rest)) = cut(stereo(), bytes.chunks(chunk)) {
            prop_assert!(frames.payload().len() + HEADER * frames.len() + rest <= bytes.len());
            prop_assert!(plausible || bytes.len() < HEADER || bytes.starts_with(&[0xff]));
        }
    }

    #[test]
    fn a_spoilt_stream_gives_whole_frames_or_an_error(
        at in 0usize..500, value in any::<u8>(), chunk in 1usize..200,
    ) {
        let frames: Vec<_> = (0..5).map(|n| (vec![n; 93], false)).collect();
        let mut bytes = stream(stereo(), &frames);
        bytes[at] = value;
        if let Ok((frames, rest)) = cut(stereo(), bytes.chunks(chunk)) {
            // Unless a length was hit, all is still there.
            prop_assert!(frames.len() == 5 && rest == 0 || matches!(at % 100, 3..=5));
        }
    }
}
