//! Films that cannot be played as they are: refused by name, or told within bounds.

use super::{
    tracks::{SOUND, VIDEO, X264, run},
    *,
};

/// What is told of a file, however it is told.
fn outcome(path: &Path) -> Result<Media, String> {
    let bytes = fs::read(path).unwrap();
    match probe(&Input::slice(&bytes, Some(bytes.len() as u64))) {
        Ok(media) => Ok(media),
        Err(Stop::Unsupported(found)) => Err(found),
        Err(Stop::Undetermined(container)) => last_resort(path, container),
        Err(stop) => panic!("{}: {stop:?}", path.display()),
    }
}

#[test]
fn encrypted_films_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let key = "00112233445566778899aabbccddeeff";
    let args = format!(
        "{VIDEO} {SOUND} {X264} -c:a aac -encryption_scheme cenc-aes-ctr -encryption_key {key} -encryption_kid {key}"
    );
    let path = run(dir.path(), "secret.mp4", &args);
    assert_eq!(outcome(&path), Err("an encrypted MP4".to_owned()));
}

#[test]
fn pixels_have_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let args = format!("-f lavfi -i color=s=8208x16:d=0.1 {X264}");
    for name in ["wide.mp4", "wide.mkv", "wide.ts"] {
        let found = outcome(&run(dir.path(), name, &args)).unwrap_err();
        assert_eq!(found, "video of 8208x16 pixels, more than 8192 a side");
    }
    let args = "-f lavfi -i testsrc=s=64x64:d=0.2 -c:v libvpx-vp9 -deadline realtime";
    let path = run(dir.path(), "flat.mp4", args);
    let mut bytes = fs::read(&path).unwrap();
    let entry = bytes.windows(4).rposition(|kind| kind == b"vp09").unwrap() + 4;
    bytes[entry + 24..entry + 26].fill(0);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(outcome(&path), Err("video without any pixels".to_owned()));
}

#[test]
fn rates_have_bounds() {
    let dir = tempfile::tempdir().unwrap();
    for (rate, told) in [("1000", 240), ("1/10", 1)] {
        for name in ["rate.mp4", "rate.mkv"] {
            let args = format!("-f lavfi -i color=s=32x32:r={rate} -frames:v 20 {X264}");
            let video = outcome(&run(dir.path(), name, &args)).unwrap().video.unwrap();
            let found = (video.rate.numerator, video.rate.denominator, video.constant);
            assert_eq!(found, (told, 1, false), "{name} at {rate}");
        }
    }
}

#[test]
fn captions_alone_are_no_media() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("s.srt"), "1\n00:00:01,000 --> 00:00:02,000\nHello\n").unwrap();
    let path = run(dir.path(), "text.mp4", "-i s.srt -c:s mov_text");
    assert_eq!(outcome(&path), Err("a file without audio or video".to_owned()));
    let path = run(dir.path(), "text.mkv", "-i s.srt -c:s srt");
    assert_eq!(outcome(&path), Err("Matroska without audio or video".to_owned()));
}

#[test]
fn films_that_end_early_are_told_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let fragments = "-movflags frag_keyframe+empty_moov+default_base_moof";
    for (name, flags) in [
        ("a.mp4", "-movflags faststart"),
        ("f.mp4", fragments),
        ("a.mkv", ""),
        ("a.ts", ""),
        ("a.flv", ""),
    ] {
        let args = format!("{VIDEO} {SOUND} {X264} -c:a aac {flags}");
        let path = run(dir.path(), name, &args);
        let whole = fs::read(&path).unwrap();
        for part in [511, 803] {
            fs::write(&path, &whole[..whole.len() * part / 1_000]).unwrap();
            let media = outcome(&path).unwrap();
            let video = media.video.unwrap();
            let seconds = 4_000 * part as u64 / 1_000;
            assert!(video.length.abs_diff(seconds) < 1_000, "{name} at {part}: {video:?}");
            assert_eq!(media.audio.len(), 1, "{name} at {part}");
            let (samples, rate, channels) = decoded(&path);
            let track = &media.audio[0];
            let spare = if name == "a.mp4" { 1_024 } else { 0 };
            assert!(
                track.samples.abs_diff(samples) <= spare,
                "{name} at {part}: {track:?}, {samples}"
            );
            assert_eq!((track.rate, track.channels), (rate, channels), "{name} at {part}");
        }
    }
}
