//! What is told against what ffmpeg really decodes, growing files, and bytes from a hostile world.

mod edits;
mod refused;
mod tracks;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use proptest::prelude::*;

use super::*;
use crate::ffmpeg::Ffmpeg;

/// When a probe tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// With the first part of the file.
    Header,
    /// With all of it.
    End,
    /// Never: by decoding.
    Last,
}

/// A file to make: its name, rate, channels, seconds, and the encoder's arguments.
type Recipe = (&'static str, u32, u16, f64, &'static str);

fn make(dir: &Path, (name, rate, channels, seconds, args): Recipe) -> PathBuf {
    let path = dir.join(name);
    let source = format!("sine=frequency=440:sample_rate={rate}:duration={seconds}");
    let status = Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-nostdin",
            "-y",
            "-f",
            "lavfi",
            "-i",
            &source,
            "-ac",
            &channels.to_string(),
        ])
        .args(args.split_whitespace())
        .arg(&path)
        .status()
        .expect("ffmpeg is installed");
    assert!(status.success(), "{name}");
    path
}

/// Samples, rate and channels that ffmpeg decodes.
fn decoded(path: &Path) -> (u64, u32, u16) {
    let args = ["-map", "0:a:0", "-c:a", "pcm_s16le", "-f", "wav", "pipe:1"];
    let output = Command::new("ffmpeg")
        .args(["-v", "quiet", "-nostdin", "-i"])
        .arg(path)
        .args(args)
        .output();
    let wav = output.expect("ffmpeg is installed").stdout;
    let (channels, rate) = (input::le16(&wav, 22).unwrap(), input::le32(&wav, 24).unwrap());
    let data = wav.windows(4).position(|id| id == b"data").unwrap() + 8;
    ((wav.len() - data) as u64 / 2 / u64::from(channels), rate, channels)
}

/// What the whole file tells, and when; the last resort included.
fn told(path: &Path) -> (Media, Class) {
    let bytes = fs::read(path).unwrap();
    let total = Some(bytes.len() as u64);
    match probe(&Input::slice(&bytes, total)) {
        Ok(media) => {
            let early = probe(&Input::slice(&bytes[..bytes.len() * 3 / 4], total));
            let class = if early.as_ref() == Ok(&media) { Class::Header } else { Class::End };
            (media, class)
        }
        Err(Stop::Undetermined(container)) => (last_resort(path, container).unwrap(), Class::Last),
        Err(stop) => panic!("{}: {stop:?}", path.display()),
    }
}

fn last_resort(path: &Path, container: Container) -> Result<Media, String> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let ffmpeg = Ffmpeg::find("ffmpeg", 4 << 30).await.map_err(|error| error.to_string())?;
        last::decode(&ffmpeg, path, container, true, Duration::from_mins(10)).await
    })
}

/// Makes every file, and compares its first audio track, class and splice.
fn compare(recipes: &[(Recipe, Class, Splice)]) {
    let dir = tempfile::tempdir().unwrap();
    for &(recipe, class, splice) in recipes {
        let path = make(dir.path(), recipe);
        let (media, when) = told(&path);
        let facts = &media.audio[0];
        let (samples, rate, channels) = decoded(&path);
        let found = (facts.rate, facts.channels, facts.samples);
        assert_eq!(found, (rate, channels, samples), "{recipe:?}");
        assert_eq!((when, facts.splice), (class, splice), "{recipe:?}");
    }
}

use Class::{End, Header, Last};
use Splice::{Decode, Seek};

#[test]
fn wav() {
    compare(&[
        (("u8.wav", 8_000, 1, 0.3, "-c:a pcm_u8"), Header, Seek),
        (("s16.wav", 44_100, 2, 1.0, "-c:a pcm_s16le"), Header, Seek),
        (("s24.wav", 48_000, 6, 0.3, "-c:a pcm_s24le"), Header, Seek),
        (("s32.wav", 192_000, 1, 0.05, "-c:a pcm_s32le"), Header, Seek),
        (("f32.wav", 96_000, 2, 0.3, "-c:a pcm_f32le"), Header, Seek),
        (("f64.wav", 22_050, 1, 0.3, "-c:a pcm_f64le"), Header, Seek),
        (("alaw.wav", 8_000, 1, 0.3, "-c:a pcm_alaw"), Header, Seek),
        (("mulaw.wav", 8_000, 2, 0.3, "-c:a pcm_mulaw"), Header, Seek),
        (("rf64.wav", 44_100, 2, 0.3, "-c:a pcm_s16le -rf64 always"), Header, Seek),
        (("ms.wav", 44_100, 2, 1.0, "-c:a adpcm_ms"), Header, Decode),
        (("ima.wav", 22_050, 1, 1.0, "-c:a adpcm_ima_wav"), Header, Decode),
        (("mp3.wav", 44_100, 2, 0.3, "-c:a libmp3lame"), Last, Decode),
    ]);
}

#[test]
fn aiff_and_flac() {
    compare(&[
        (("s16.aiff", 44_100, 2, 0.3, "-c:a pcm_s16be"), Header, Seek),
        (("s24.aiff", 48_000, 1, 0.3, "-c:a pcm_s24be"), Header, Seek),
        (("sowt.aiff", 22_050, 1, 0.3, "-c:a pcm_s16le"), Header, Seek),
        (("float.aiff", 96_000, 2, 0.05, "-c:a pcm_f32be"), Header, Seek),
        (("alaw.aiff", 8_000, 1, 0.3, "-c:a pcm_alaw"), Header, Seek),
        (("ima.aiff", 44_100, 1, 0.3, "-c:a adpcm_ima_qt"), Last, Decode),
        (("s16.flac", 44_100, 2, 5.12, "-c:a flac"), Header, Seek),
        (("s24.flac", 192_000, 6, 0.3, "-c:a flac -sample_fmt s32"), Header, Seek),
        (("short.flac", 8_000, 1, 0.05, "-c:a flac"), Header, Seek),
    ]);
}

#[test]
fn mp3() {
    compare(&[
        (("lame.mp3", 44_100, 2, 1.0, "-c:a libmp3lame"), Header, Seek),
        (("short.mp3", 48_000, 1, 0.05, "-c:a libmp3lame"), Header, Seek),
        (
            ("low.mp3", 22_050, 1, 5.12, "-c:a libmp3lame -id3v2_version 3 -write_id3v1 1"),
            Header,
            Seek,
        ),
        (("lowest.mp3", 8_000, 2, 0.3, "-c:a libmp3lame"), Header, Seek),
        (("variable.mp3", 32_000, 2, 5.12, "-c:a libmp3lame -q:a 5"), Header, Seek),
        (("bare.mp3", 44_100, 2, 1.0, "-c:a libmp3lame -write_xing 0"), End, Seek),
        (
            (
                "bare_variable.mp3",
                24_000,
                1,
                5.12,
                "-c:a libmp3lame -q:a 5 -write_xing 0 -id3v2_version 0",
            ),
            End,
            Seek,
        ),
        (("layer2.mp2", 48_000, 2, 1.0, "-c:a mp2"), End, Seek),
    ]);
}

#[test]
fn mp4() {
    let fragments = "-movflags frag_keyframe+empty_moov+default_base_moof -frag_duration 300000";
    let fragmented: &'static str = Box::leak(format!("-c:a aac {fragments}").into_boxed_str());
    compare(&[
        (("first.m4a", 44_100, 2, 5.12, "-c:a aac -movflags faststart"), Header, Seek),
        (("last.m4a", 48_000, 6, 0.3, "-c:a aac"), End, Seek),
        (("low.m4a", 8_000, 1, 0.05, "-c:a aac -movflags faststart"), Header, Seek),
        (("high.m4a", 96_000, 1, 0.3, "-c:a aac"), End, Seek),
        (("fragments.mp4", 44_100, 2, 1.0, fragmented), End, Decode),
        (("lossless.m4a", 44_100, 2, 1.0, "-c:a alac -movflags faststart"), Header, Seek),
        (("flac.mp4", 48_000, 2, 0.3, "-c:a flac -strict -2 -movflags faststart"), Header, Decode),
        (("opus.mp4", 48_000, 2, 1.0, "-c:a libopus -movflags faststart"), Header, Decode),
        (("mp3.mp4", 44_100, 2, 1.0, "-c:a libmp3lame -movflags faststart"), Header, Decode),
        (("ac3.mp4", 48_000, 6, 1.0, "-c:a ac3 -movflags faststart"), Header, Decode),
        (("pcm.mov", 44_100, 2, 0.3, "-c:a pcm_s16le"), End, Decode),
        (
            (
                "video.mp4",
                44_100,
                1,
                1.0,
                "-f lavfi -i testsrc=d=1:s=64x64 -c:a aac -movflags faststart",
            ),
            Header,
            Seek,
        ),
    ]);
}

#[test]
fn he_aac_as_it_is_signalled() {
    let dir = tempfile::tempdir().unwrap();
    let path = make(dir.path(), ("plain.m4a", 22_050, 2, 1.0, "-c:a aac -movflags faststart"));
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(5).position(|asc| asc == [0x13, 0x90, 0x56, 0xe5, 0x00]).unwrap();
    // The backward compatible signalling, with SBR at 44.1 kHz: without SBR data, a decoder only doubles the rate.
    bytes[at + 4] = 0xa0;
    fs::write(&path, &bytes).unwrap();
    let (media, class) = told(&path);
    let facts = &media.audio[0];
    assert_eq!((facts.samples, facts.rate, facts.channels), decoded(&path));
    assert_eq!(
        (facts.codec.clone(), class, facts.splice),
        (Codec::Aac { object: 5 }, Header, Decode)
    );
}

#[test]
fn adts_ogg_and_the_last_resort() {
    compare(&[
        (("plain.aac", 44_100, 2, 1.0, "-c:a aac -f adts"), End, Seek),
        (("tagged.aac", 48_000, 6, 0.3, "-c:a aac -f adts -write_id3v2 1"), End, Seek),
        (("low.aac", 16_000, 1, 0.3, "-c:a aac -f adts"), Last, Seek),
        (("vorbis.ogg", 44_100, 2, 5.12, "-c:a libvorbis"), End, Decode),
        (("short.ogg", 22_050, 1, 0.05, "-c:a libvorbis"), End, Decode),
        (("opus.opus", 48_000, 2, 1.0, "-c:a libopus"), End, Seek),
        (
            (
                "speech.opus",
                16_000,
                1,
                5.12,
                "-c:a libopus -application voip -b:a 12k -frame_duration 60",
            ),
            End,
            Seek,
        ),
        (("flac.ogg", 96_000, 2, 0.3, "-c:a flac"), End, Seek),
        (("core.caf", 44_100, 2, 0.3, "-c:a pcm_s16be"), Last, Seek),
        (("sony.w64", 44_100, 2, 0.3, "-c:a pcm_s16le"), Last, Decode),
        (("transport.ts", 44_100, 2, 1.0, "-c:a aac"), Last, Decode),
    ]);
}

#[test]
fn matroska() {
    compare(&[
        (("opus.webm", 48_000, 2, 1.0, "-c:a libopus"), End, Decode),
        (("vorbis.webm", 44_100, 2, 5.12, "-c:a libvorbis"), End, Decode),
        (("aac.mka", 44_100, 2, 1.0, "-c:a aac"), End, Decode),
        (("mp3.mka", 44_100, 1, 1.0, "-c:a libmp3lame"), End, Decode),
        (("flac.mka", 48_000, 2, 0.3, "-c:a flac"), End, Decode),
        (("live_opus.webm", 48_000, 2, 1.0, "-c:a libopus -live 1"), End, Decode),
        (("live_vorbis.webm", 44_100, 2, 1.0, "-c:a libvorbis -live 1"), End, Decode),
        (("live_aac.mka", 44_100, 2, 1.0, "-c:a aac -live 1"), End, Decode),
        (("live_flac.mka", 44_100, 2, 1.0, "-c:a flac -live 1"), End, Decode),
        (("live_pcm.mka", 44_100, 2, 0.3, "-c:a pcm_s16le -live 1"), End, Decode),
        (("video.mkv", 44_100, 1, 1.0, "-f lavfi -i testsrc=d=1:s=64x64 -c:a mp2"), End, Decode),
    ]);
}

#[test]
fn sizes_that_nobody_knew_are_cut_to_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut wav =
        fs::read(make(dir.path(), ("a.wav", 8_000, 1, 1.0, "-c:a pcm_s16le -bitexact"))).unwrap();
    for size in [0u32, u32::MAX, 1 << 30] {
        wav[40..44].copy_from_slice(&size.to_le_bytes());
        assert_eq!(samples(&wav), Ok(8_000), "{size}");
    }
    wav.truncate(44 + 1_001);
    assert_eq!(samples(&wav), Ok(500));
    let path = make(dir.path(), ("cut.m4a", 44_100, 2, 5.12, "-c:a aac -movflags faststart"));
    for part in [30, 50, 90] {
        let mut m4a = fs::read(&path).unwrap();
        m4a.truncate(m4a.len() * part / 100);
        let cut = dir.path().join("part.m4a");
        fs::write(&cut, &m4a).unwrap();
        assert!(samples(&m4a).unwrap().abs_diff(decoded(&cut).0) <= 1_024, "{part}");
    }
    let path = make(dir.path(), ("pipe.flac", 44_100, 2, 1.0, "-c:a flac"));
    let mut flac = fs::read(path).unwrap();
    flac[21] &= 0xf0;
    flac[22..26].fill(0);
    assert_eq!(samples(&flac), Ok(44_100));
    flac.pop();
    assert_eq!(samples(&flac), Err(Stop::Undetermined(Container::Flac)));
}

#[test]
fn files_that_end_early_are_counted_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let fragments = "-c:a aac -movflags frag_keyframe+empty_moov -frag_duration 300000";
    let recipes = [
        ("lame.mp3", 44_100, 2, 5.12, "-c:a libmp3lame"),
        ("plain.aac", 44_100, 2, 5.12, "-c:a aac -f adts"),
        ("vorbis.ogg", 44_100, 2, 5.12, "-c:a libvorbis"),
        ("opus.opus", 48_000, 2, 5.12, "-c:a libopus"),
        ("mp3.mp4", 44_100, 2, 5.12, "-c:a libmp3lame -movflags faststart"),
        ("fragments.mp4", 44_100, 2, 5.12, fragments),
        ("opus.webm", 48_000, 2, 5.12, "-c:a libopus"),
        ("aac.mka", 44_100, 2, 5.12, "-c:a aac"),
    ];
    for recipe in recipes {
        let path = make(dir.path(), recipe);
        let whole = fs::read(&path).unwrap();
        for part in [617, 803] {
            fs::write(&path, &whole[..whole.len() * part / 1_000]).unwrap();
            let (media, _) = told(&path);
            let facts = &media.audio[0];
            let known = (facts.samples, facts.rate, facts.channels);
            assert_eq!(known, decoded(&path), "{recipe:?} at {part}");
        }
    }
}

fn samples(bytes: &[u8]) -> Result<u64, Stop> {
    probe(&Input::slice(bytes, Some(bytes.len() as u64)))
        .map(|media| media.audio.first().map_or(0, |track| track.samples))
}

#[test]
fn shared_media() {
    let Ok(folder) = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/media")) else {
        return;
    };
    let names = ["wav", "mp3", "m4a", "mp4", "flac", "ogg", "opus", "aac", "webm", "mkv"];
    for path in folder.map(|entry| entry.unwrap().path()) {
        if path.extension().is_some_and(|extension| names.iter().any(|name| extension == *name)) {
            let (media, _) = told(&path);
            let facts = &media.audio[0];
            let (samples, rate, channels) = decoded(&path);
            let found = (facts.rate, facts.channels, facts.samples);
            assert_eq!(found, (rate, channels, samples), "{}", path.display());
        }
    }
}

#[test]
fn what_is_no_audio_is_named() {
    let noise: Vec<u8> =
        (0u32..100_000).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let cases: &[(&[u8], &str)] = &[
        (b"", "an empty body"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "an HLS playlist"),
        (b"not found", "text"),
        (b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "nothing that is known as audio or video"),
        (b"ID3\x04\0\0\0\0\0\0", "nothing that is known as audio or video"),
        (b"\xff\xfb\x90\x64\0\0", "nothing that is known as audio or video"),
        (b"fLaC", "a file that ends inside its header"),
        (b"RIFF\xff\xff\xff\xffWAVE", "a file that ends inside its header"),
        (&noise, "nothing that is known as audio or video"),
    ];
    for (bytes, found) in cases {
        let stop = probe(&Input::slice(bytes, Some(bytes.len() as u64)));
        assert_eq!(stop, Err(Stop::Unsupported((*found).to_owned())), "{}", bytes.escape_ascii());
    }
}

#[test]
fn hostile_lengths_are_not_believed() {
    let chunk = |id: &[u8], size: u32| [id, &size.to_le_bytes()].concat();
    let endless = [b"RIFF\0\0\0\0WAVE".as_slice(), &chunk(b"JUNK", 0).repeat(5_000)].concat();
    assert!(matches!(samples(&endless), Err(Stop::Unsupported(_))));
    // ffprobe itself would read no more of a format chunk.
    let wide = [b"RIFF\0\0\0\0WAVE".as_slice(), &chunk(b"fmt ", u32::MAX), &[0; 64]].concat();
    assert!(samples(&wide).is_err());
    let huge = b"\0\0\0\x10ftypM4A \0\0\0\0\0\0\0\x01moov\x7f\xff\xff\xff\xff\xff\xff\xff";
    assert!(matches!(samples(huge), Err(Stop::Unsupported(_))));
    let tags = b"ID3\x04\0\0\x7f\x7f\x7f\x7f";
    assert_eq!(
        probe(&Input::slice(tags, Some(u64::MAX))),
        Err(Stop::More(512)),
        "magic numbers first, then a jump over the tag"
    );
}

#[test]
fn an_unknown_size_is_told_by_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let wav = fs::read(make(dir.path(), ("a.wav", 8_000, 1, 1.0, "-c:a pcm_s16le"))).unwrap();
    assert_eq!(probe(&Input::slice(&wav, None)), Err(Stop::Whole));
    assert_eq!(
        probe(&Input::slice(b"<html><body>Not found, but at length", Some(36))),
        unsupported_page()
    );
}

fn unsupported_page() -> Result<Media, Stop> {
    Err(Stop::Unsupported("an HTML page".to_owned()))
}

/// Small files of all kinds, made once.
fn seeds() -> &'static [Vec<u8>] {
    static SEEDS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    SEEDS.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let fragments = "-c:a aac -movflags frag_keyframe+empty_moov -frag_duration 50000";
        let film = "-f lavfi -i testsrc=s=32x32:d=0.2 -c:a aac -b:a 16k -c:v libx264 -g 3 -bf 1 -movflags faststart";
        let fragmented_film = "-f lavfi -i testsrc=s=32x32:d=0.2 -c:a aac -c:v libx264 -g 3 -movflags frag_keyframe+empty_moov";
        let recipes: &[Recipe] = &[
            ("a.wav", 8_000, 2, 0.05, "-c:a pcm_s16le"),
            ("ms.wav", 8_000, 1, 0.3, "-c:a adpcm_ms"),
            ("a.aiff", 8_000, 1, 0.05, "-c:a pcm_s16be"),
            ("a.flac", 8_000, 1, 0.3, "-c:a flac"),
            ("a.mp3", 44_100, 2, 0.1, "-c:a libmp3lame"),
            ("bare.mp3", 44_100, 2, 0.1, "-c:a libmp3lame -write_xing 0 -id3v2_version 0"),
            ("first.m4a", 44_100, 2, 0.3, "-c:a aac -b:a 32k -movflags faststart"),
            ("last.m4a", 44_100, 2, 0.3, "-c:a alac"),
            ("fragments.mp4", 44_100, 1, 0.3, fragments),
            ("a.aac", 44_100, 1, 0.3, "-c:a aac -f adts"),
            ("vorbis.ogg", 44_100, 1, 0.3, "-c:a libvorbis"),
            ("a.opus", 48_000, 1, 0.3, "-c:a libopus"),
            ("flac.ogg", 8_000, 1, 0.3, "-c:a flac"),
            ("a.mka", 44_100, 1, 0.3, "-c:a aac"),
            ("live.webm", 48_000, 1, 0.3, "-c:a libopus -live 1"),
            ("vorbis.webm", 44_100, 1, 0.3, "-c:a libvorbis -live 1"),
            ("video.mp4", 44_100, 1, 0.2, film),
            ("film.mp4", 44_100, 1, 0.2, fragmented_film),
            ("film.mkv", 44_100, 1, 0.2, film),
            ("film.ts", 44_100, 1, 0.2, film),
        ];
        recipes.iter().map(|&recipe| fs::read(make(dir.path(), recipe)).unwrap()).collect()
    })
}

#[test]
fn growing_files_end_in_the_same_facts() {
    for bytes in seeds() {
        let total = Some(bytes.len() as u64);
        let whole = probe(&Input::slice(bytes, total));
        for available in 0..bytes.len() {
            match probe(&Input::slice(&bytes[..available], total)) {
                Err(Stop::More(more)) => {
                    assert!(
                        more > available as u64 && more <= bytes.len() as u64,
                        "{more} at {available}"
                    );
                }
                Err(Stop::Whole) => {}
                told => assert_eq!(told, whole),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn wild_bytes_are_survived(
        seed in 0usize..20,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0usize..4_096), 0..12),
        cut in any::<prop::sample::Index>(),
        known in any::<bool>(),
        extra in prop_oneof![Just(0), Just(1u64), any::<u64>()],
    ) {
        let mut bytes = seeds()[seed].clone();
        for (at, value, near) in edits {
            // Half of the edits go to the first kilobytes, where the headers are.
            let at = if near % 2 == 0 { near % bytes.len() } else { at.index(bytes.len()) };
            bytes[at] = value;
        }
        if extra != 1 {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        let total = (bytes.len() as u64).saturating_add(extra & 0xffff_ffff);
        let input = Input::slice(&bytes, known.then_some(total));
        match probe(&input) {
            Err(Stop::More(more)) => prop_assert!(!input.whole() && more > bytes.len() as u64),
            Err(Stop::Whole) => prop_assert!(!input.whole()),
            _ => {}
        }
    }

    #[test]
    fn noise_is_no_audio(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        let told = probe(&Input::slice(&bytes, Some(bytes.len() as u64)));
        prop_assert!(matches!(told, Err(Stop::Unsupported(_) | Stop::Undetermined(_))), "{told:?}");
    }
}
