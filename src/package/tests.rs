//! What ffmpeg makes of all three containers: the same packets and samples as of the ADTS stream, and not one warning.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use bytes::Bytes;

use super::{
    adts::{AudioConfig, Cutter, Frames},
    file::{File, Format, Kind, Track},
    fmp4::audio as fmp4,
    packed,
    playlist::{self, Query, Variant},
    table::SegmentTable,
    ts,
};

const FORMATS: [Format; 3] = [Format::M4s, Format::Aac, Format::Ts];

const A0: Track = Track { kind: Kind::Audio, index: 0 };

/// An encoded signal, as a head gives it.
struct Encoded {
    config: AudioConfig,
    adts: Vec<u8>,
    frames: Frames,
    table: SegmentTable,
}

impl Encoded {
    fn new(rate: u32, channels: u8, seconds: f64) -> Self {
        let voice = |pitch: u32| format!("0.3*sin(2*PI*({pitch}+40*t)*t)+0.1*(random(0)-0.5)");
        let signal =
            (0..channels).map(|n| voice(220 + 110 * u32::from(n))).collect::<Vec<_>>().join("|");
        let source = format!("aevalsrc={signal}:s={rate}:d={seconds}");
        let adts = run(
            "ffmpeg",
            &[
                "-nostdin", "-v", "error", "-f", "lavfi", "-i", &source, "-c:a", "aac", "-f",
                "adts", "pipe:1",
            ],
        );
        let config = AudioConfig::new(rate, channels).unwrap();
        let frames = cut(config, &adts);
        let table = SegmentTable::audio(frames.len() as u64, rate, Duration::from_secs(5));
        Self { config, adts, frames, table }
    }

    /// One of each rate and channel count that heads make.
    fn all() -> impl Iterator<Item = Self> {
        [8_000, 16_000, 22_050, 44_100, 48_000]
            .into_iter()
            .flat_map(|rate| [1, 2].map(|channels| Self::new(rate, channels, 12.3)))
    }

    fn segment(&self, format: Format, n: u32) -> Vec<u8> {
        let covered = self.table.frames(n).unwrap();
        let mut frames = Frames::default();
        for frame in self.frames.iter().take(covered.end as usize).skip(covered.start as usize) {
            frames.push(frame).unwrap();
        }
        mux(self.config, format, n, covered.start, &frames)
    }

    /// Bytes of a decoded frame.
    fn frame_bytes(&self) -> usize {
        1024 * 4 * usize::from(self.config.channels())
    }

    /// The given segments in a row, with the initialization segment if there is one.
    fn joined(&self, format: Format, segments: impl IntoIterator<Item = u32>) -> Vec<u8> {
        let mut out = match format {
            Format::M4s => fmp4::init(self.config).to_vec(),
            _ => Vec::new(),
        };
        out.extend(segments.into_iter().flat_map(|n| self.segment(format, n)));
        out
    }

    /// Writes a stream that any web server could serve; gives back the name of its first playlist.
    fn publish(&self, format: Format, folder: &Path) -> String {
        let query = Query::default();
        let variant = Variant {
            track: A0,
            bandwidth: 140_000,
            average_bandwidth: 128_000,
            codecs: "mp4a.40.2",
            picture: None,
        };
        let write =
            |file: File, bytes: &[u8]| fs::write(folder.join(file.to_string()), bytes).unwrap();
        write(File::Index, playlist::index(&[variant], &[], query).as_bytes());
        let media = playlist::media(&self.table, A0, format, 0, query);
        write(File::Playlist(A0), media.as_bytes());
        write(File::Init(A0), &fmp4::init(self.config));
        for n in 0..self.table.len() {
            write(File::Segment(A0, n, format), &self.segment(format, n));
        }
        File::Index.to_string()
    }
}

fn mux(config: AudioConfig, format: Format, n: u32, first: u64, frames: &Frames) -> Vec<u8> {
    match format {
        Format::M4s => fmp4::segment(n + 1, first, frames).to_vec(),
        Format::Aac => packed::segment(config, first, frames).to_vec(),
        _ => ts::segment(config, n, first, frames).to_vec(),
    }
}

fn cut(config: AudioConfig, adts: &[u8]) -> Frames {
    let mut cutter = Cutter::new(config);
    let mut frames = Frames::default();
    for chunk in adts.chunks(4_000) {
        cutter.push(chunk);
        while let Some(frame) = cutter.cut().unwrap() {
            frames.push(frame).unwrap();
        }
    }
    assert_eq!(cutter.rest(), 0);
    frames
}

/// Runs a program that must end well and say nothing.
fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    // True of every raw ADTS file, and of nothing else.
    let said: Vec<_> =
        said.lines().filter(|line| !line.contains("Estimating duration from bitrate")).collect();
    assert!(output.status.success() && said.is_empty(), "{program} {arguments:?}: {said:?}");
    output.stdout
}

/// All samples, in 32 bits of float; any warning fails.
fn decode(input: &Path) -> Vec<u8> {
    let input = input.to_str().unwrap();
    run("ffmpeg", &["-nostdin", "-v", "warning", "-i", input, "-f", "f32le", "pipe:1"])
}

fn decode_bytes(bytes: &[u8], extension: &str) -> Vec<u8> {
    let file = tempfile::Builder::new().suffix(&format!(".{extension}")).tempfile().unwrap();
    fs::write(file.path(), bytes).unwrap();
    decode(file.path())
}

fn samples(decoded: &[u8]) -> Vec<f32> {
    decoded.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// Timestamp, in the timescale of the container, and size of every packet.
fn packets(input: &Path) -> Vec<(i64, usize)> {
    let input = input.to_str().unwrap();
    let show = ["-show_entries", "packet=pts,size", "-of", "csv=p=0"];
    let shown = run("ffprobe", &[&["-v", "warning"], &show[..], &[input]].concat());
    let lines = String::from_utf8(shown).unwrap();
    // TS brings its programme's streams along, as empty lines.
    let packets = lines.lines().filter(|line| !line.is_empty()).map(|line| {
        let (pts, size) = line.trim_end_matches(',').split_once(',').unwrap();
        (pts.parse().unwrap(), size.parse().unwrap())
    });
    packets.collect()
}

/// What [`packets`] has to see, where timestamps are those of the container.
fn expected_packets(encoded: &Encoded, format: Format) -> Vec<(i64, usize)> {
    let header = if format == Format::M4s { 0 } else { 7 };
    let pts = |frame: i64| match format {
        Format::M4s => 1024 * frame - 1024,
        _ => packed::pts(encoded.config, frame.cast_unsigned()).cast_signed(),
    };
    let sizes = (0..).zip(encoded.frames.sizes());
    sizes.map(|(frame, &size)| (pts(frame), usize::from(size) + header)).collect()
}

/// Sizes are exact; timestamps too, but for the tick that ffmpeg loses when it counts on from the start of a PES packet.
fn assert_same_packets(found: &[(i64, usize)], expected: &[(i64, usize)], slack: i64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.1, expected.1);
        assert!((found.0 - expected.0).abs() <= slack, "{found:?}, not {expected:?}");
    }
}

#[test]
fn segments_in_a_row_are_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    for encoded in Encoded::all() {
        let reference = decode_bytes(&encoded.adts, "aac");
        assert_eq!(reference.len(), encoded.frames.len() * encoded.frame_bytes());
        for format in FORMATS {
            let file = folder.path().join("all").with_extension(format.extension());
            fs::write(&file, encoded.joined(format, 0..encoded.table.len())).unwrap();
            assert!(decode(&file) == reference, "{format:?} {:?}", encoded.config);

            let mut expected = expected_packets(&encoded, format);
            let mut found = packets(&file);
            if format == Format::Aac {
                // Read as one file, ffmpeg counts from 0 and does not look at the tags.
                found.iter_mut().chain(&mut expected).for_each(|packet| packet.0 = 0);
            }
            assert_same_packets(&found, &expected, i64::from(format == Format::Ts));
        }
    }
}

#[test]
fn a_segment_is_decoded_alone() {
    for encoded in Encoded::all() {
        let reference = decode_bytes(&encoded.adts, "aac");
        for format in FORMATS {
            for n in [0, encoded.table.len() / 2] {
                let covered = encoded.table.frames(n).unwrap();
                let decoded = decode_bytes(&encoded.joined(format, [n]), format.extension());
                let frames = (covered.end - covered.start) as usize;
                assert_eq!(decoded.len(), frames * encoded.frame_bytes(), "{format:?} {n}");
                assert!(n > 0 || reference.starts_with(&decoded), "{format:?}");
            }
        }
    }
}

#[test]
fn a_player_plays_a_folder_of_them() {
    for encoded in Encoded::all() {
        let reference = decode_bytes(&encoded.adts, "aac");
        for format in FORMATS {
            let folder = tempfile::tempdir().unwrap();
            let index = folder.path().join(encoded.publish(format, folder.path()));
            assert!(decode(&index) == reference, "{format:?} {:?}", encoded.config);
            let (found, expected) = (packets(&index), expected_packets(&encoded, format));
            assert_eq!(found.len(), expected.len());
            // libavformat's HLS reader gives the packets that it has buffered the tag of the segment that it opens next,
            // which ends with the short segments; and it tells the first time of a TS twice, with ffmpeg's own TS too.
            let (from, slack) = match format {
                Format::M4s => (0, 0),
                Format::Aac => (last_start(&encoded), 1),
                _ => (0, 2 + 1024 * 90_000 / i64::from(encoded.config.rate())),
            };
            assert_same_packets(&found[from..], &expected[from..], slack);
        }
    }
}

/// The first frame of the last segment.
fn last_start(encoded: &Encoded) -> usize {
    encoded.table.frames(encoded.table.len() - 1).unwrap().start as usize
}

#[test]
fn continuity_counters_go_on_from_segment_to_segment() {
    let encoded = Encoded::new(44_100, 2, 12.3);
    let file = tempfile::Builder::new().suffix(".ts").tempfile().unwrap();
    let discontinuities = |stream: &[u8]| {
        fs::write(file.path(), stream).unwrap();
        // ffmpeg tells of them in its debug log only.
        let output = Command::new("ffmpeg")
            .args(["-nostdin", "-v", "debug", "-i", file.path().to_str().unwrap()])
            .args(["-c", "copy", "-f", "null", "-"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stderr).matches("Continuity check failed").count()
    };
    let mut stream = encoded.joined(Format::Ts, 0..encoded.table.len());
    assert_eq!(discontinuities(&stream), 0);
    stream.drain(188 * 20..188 * 21);
    assert!(discontinuities(&stream) > 0);
}

#[test]
fn priming_of_a_copied_track_is_before_time_zero() {
    let encoded = Encoded::new(44_100, 2, 2.0);
    let config = encoded.config.with_priming(2112);
    let segment = fmp4::segment(1, 0, &encoded.frames);
    let file = tempfile::Builder::new().suffix(".mp4").tempfile().unwrap();
    fs::write(file.path(), [fmp4::init(config), segment].concat()).unwrap();
    assert_eq!(packets(file.path())[0].0, -2112);
}

#[test]
fn silence_is_silent() {
    for config in [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000]
        .into_iter()
        .flat_map(|rate| [1, 2].map(|channels| AudioConfig::new(rate, channels).unwrap()))
    {
        let mut frames = Frames::default();
        frames.push_silence(config, 20).unwrap();
        for format in FORMATS {
            let init = if format == Format::M4s { fmp4::init(config) } else { Bytes::new() };
            let bytes = [&init, mux(config, format, 0, 0, &frames).as_slice()].concat();
            let decoded = samples(&decode_bytes(&bytes, format.extension()));
            assert_eq!(decoded.len(), 20 * 1024 * usize::from(config.channels()));
            assert!(decoded.iter().all(|&sample| sample == 0.0), "{config:?} as {format:?}");
        }
    }
}

#[test]
fn silence_stands_among_real_frames() {
    for encoded in Encoded::all() {
        let mut frames = Frames::default();
        for frame in encoded.frames.iter().take(20) {
            frames.push(frame).unwrap();
        }
        frames.push_silence(encoded.config, 10).unwrap();
        for frame in encoded.frames.iter().skip(30).take(20) {
            frames.push(frame).unwrap();
        }
        let bytes = packed::segment(encoded.config, 0, &frames);
        let decoded = samples(&decode_bytes(&bytes, "aac"));
        let frame = 1024 * usize::from(encoded.config.channels());
        assert_eq!(decoded.len(), 50 * frame);
        // The first silent frame still has the end of the one before in it.
        assert!(decoded[21 * frame..30 * frame].iter().all(|&sample| sample == 0.0));
        assert!(decoded[..20 * frame].iter().any(|&sample| sample.abs() > 0.05));
        assert!(decoded[31 * frame..].iter().any(|&sample| sample.abs() > 0.05));
    }
}

#[test]
fn one_frame_is_a_stream() {
    let config = AudioConfig::new(44_100, 1).unwrap();
    let mut frames = Frames::default();
    frames.push_silence(config, 1).unwrap();
    // Of packed audio, ffmpeg wants to see more before it believes that it is audio.
    for format in [Format::M4s, Format::Ts] {
        let init = if format == Format::M4s { fmp4::init(config) } else { Bytes::new() };
        let bytes = [&init, mux(config, format, 0, 0, &frames).as_slice()].concat();
        assert_eq!(decode_bytes(&bytes, format.extension()).len(), 1024 * 4, "{format:?}");
    }
}
