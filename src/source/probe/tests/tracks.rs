//! Every track of files with video against what ffprobe and ffmpeg say of them.

use serde_json::Value;

use super::{
    super::colour::Colour,
    super::media::{Audio, Cuts, Frames, Picture, Video},
    *,
};

/// A video track, and an audio track that swings from low to high, of four seconds.
pub const VIDEO: &str = "-f lavfi -i testsrc2=s=192x108:r=25:d=4";
pub const SOUND: &str = "-f lavfi -i aevalsrc=0.4*sin(t*t*900):s=44100:d=4";
pub const X264: &str = "-c:v libx264 -preset ultrafast -g 20 -bf 2 -b_strategy 0";

/// Runs ffmpeg with these arguments and the file as its output.
pub fn run(dir: &Path, name: &str, args: &str) -> PathBuf {
    let path = dir.join(name);
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y"])
        .args(args.split_whitespace())
        .arg(&path)
        .current_dir(dir)
        .status()
        .expect("ffmpeg is installed");
    assert!(status.success(), "{name}");
    path
}

fn ffprobe(path: &Path, args: &str) -> String {
    let output = Command::new("ffprobe")
        .args(["-v", "quiet"])
        .args(args.split_whitespace())
        .arg(path)
        .output()
        .expect("ffprobe is installed");
    String::from_utf8(output.stdout).unwrap()
}

/// All streams of a kind, as ffprobe tells them.
fn streams(path: &Path, kind: &str) -> Vec<Value> {
    let json = ffprobe(path, "-of json -show_streams -count_packets");
    let json: Value = serde_json::from_str(&json).unwrap();
    let streams = json["streams"].as_array().unwrap().iter();
    streams.filter(|stream| stream["codec_type"] == kind).cloned().collect()
}

/// Time in ticks, size and flags of all packets of a stream.
fn packets(path: &Path, stream: &str) -> Vec<(i64, u64, String)> {
    let select =
        format!("-select_streams {stream} -show_entries packet=pts,size,flags -of csv=p=0");
    let text = ffprobe(path, &select);
    let lines = text.lines().filter(|line| !line.is_empty());
    let packet = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        (fields[0].parse().unwrap_or(i64::MIN), fields[1].parse().unwrap(), fields[2].to_owned())
    };
    lines.map(packet).collect()
}

/// A fraction in ffprobe's words.
fn fraction(text: &Value, sign: char) -> Option<f64> {
    let (a, b) = text.as_str()?.split_once(sign)?;
    Some(a.parse::<f64>().ok()? / b.parse::<f64>().ok()?).filter(|x| x.is_finite() && *x > 0.0)
}

/// Samples of an audio track as ffmpeg decodes it.
fn decoded_track(path: &Path, index: u32) -> u64 {
    let map = format!("0:a:{index}");
    let args = ["-map", &map, "-ac", "1", "-c:a", "pcm_u8", "-f", "u8", "pipe:1"];
    let output = Command::new("ffmpeg")
        .args(["-v", "quiet", "-nostdin", "-i"])
        .arg(path)
        .args(args)
        .output();
    output.expect("ffmpeg is installed").stdout.len() as u64
}

/// Compares all that is told of a file with what ffprobe and ffmpeg say.
fn agree(path: &Path) -> (Media, Class) {
    let (media, class) = told(path);
    sounds(path, &media);
    if let Some(video) = &media.video {
        pictures(path, video);
    }
    let known = ["mov_text", "subrip", "ass", "webvtt", "text"];
    let texts = (0..).zip(streams(path, "subtitle"));
    let texts = texts.filter(|(_, stream)| known.iter().any(|name| stream["codec_name"] == *name));
    let texts: Vec<_> = texts
        .map(|(index, stream)| (index, stream["codec_name"].as_str().unwrap().to_owned()))
        .collect();
    let found: Vec<_> = media.text.iter().map(|text| (text.index, text.codec.clone())).collect();
    assert_eq!(found, texts, "{}", path.display());
    (media, class)
}

/// Whether frames are those whose sizes ffmpeg says. A native FLAC tells bounds of them.
fn weighed(container: Container, rate: u32, frames: Frames, sizes: &[u64]) {
    let Frames { count, samples, bytes, largest, densest, .. } = frames;
    assert_eq!(count, sizes.len() as u64, "{frames:?}");
    let headers = if container == Container::Adts { 7 } else { 0 };
    let second = (u64::from(rate) / samples).clamp(1, count) as usize;
    let densest_second = sizes.windows(second).map(|w| w.iter().sum::<u64>()).max().unwrap();
    let told = [
        (bytes, sizes.iter().sum::<u64>() - headers * count),
        (largest, sizes.iter().max().unwrap() - headers),
        (densest, densest_second - headers * second as u64),
    ];
    let is_bound = container == Container::Flac;
    let holds = |(told, own)| told == own || is_bound && told > own;
    assert!(told.into_iter().all(holds), "{frames:?} {told:?}");
}

fn sounds(path: &Path, media: &Media) {
    let streams = streams(path, "audio");
    assert_eq!(media.audio.len(), streams.len(), "{}", path.display());
    for (track, stream) in media.audio.iter().zip(&streams) {
        let what = format!("{} a:{} {track:?}", path.display(), track.index);
        assert_eq!(track.samples, decoded_track(path, track.index), "{what}");
        assert_eq!(track.rate.to_string(), stream["sample_rate"], "{what}");
        assert_eq!(u64::from(track.channels), stream["channels"], "{what}");
        if let Some(frames) = track.frames {
            let packets = packets(path, &format!("a:{}", track.index));
            let sizes: Vec<u64> = packets.iter().map(|(_, size, _)| *size).collect();
            weighed(media.container, track.rate, frames, &sizes);
        }
        let language = stream["tags"]["language"].as_str().filter(|language| *language != "und");
        // Where Matroska says nothing, ffprobe says English.
        let silent = media.container == Container::Matroska && track.label.language.is_none();
        if let Some(language) = language.filter(|language| !(silent && *language == "eng")) {
            assert_eq!(track.label.language, language::tag(language), "{what}");
        }
        let default = u8::from(track.label.default);
        if media.container != Container::Adts && media.video.is_some() {
            assert_eq!(default, stream["disposition"]["default"], "{what}");
        }
    }
}

fn pictures(path: &Path, video: &Video) {
    let stream = &streams(path, "video")[video.index as usize];
    let what = format!("{} {video:?}", path.display());
    let aspect = fraction(&stream["sample_aspect_ratio"], ':').unwrap_or(1.0);
    let coded = [&stream["width"], &stream["height"]].map(|side| side.as_u64().unwrap());
    let turn = stream["side_data_list"][0]["rotation"].as_i64().unwrap_or(0);
    let across = (coded[0] as f64 * aspect).round() as u64;
    let shown = if turn % 180 == 0 { [across, coded[1]] } else { [coded[1], across] };
    assert_eq!([u64::from(video.width), u64::from(video.height)], shown, "{what}");
    assert_eq!(video.plain, turn == 0 && across == coded[0], "{what}");
    if let Some(order) = stream["field_order"].as_str().filter(|order| *order != "unknown") {
        assert_eq!(video.interlaced, order != "progressive", "{what}");
    }
    let rate = f64::from(video.rate.numerator) / f64::from(video.rate.denominator);
    // Of VFR, Matroska's DefaultDuration is no average.
    let varies = path.ends_with("vfr.mkv");
    if let Some(average) = fraction(&stream["avg_frame_rate"], '/').filter(|_| !varies) {
        assert!((rate / average - 1.0).abs() < 0.02, "{average}: {what}");
        let base = fraction(&stream["r_frame_rate"], '/').unwrap();
        assert!(!video.constant || (rate / base - 1.0).abs() < 1e-6, "{base}: {what}");
    }
    let code = |key: &str| stream[key].as_str().unwrap_or_default();
    let [primaries, transfer, matrix, range] =
        ["color_primaries", "color_transfer", "color_space", "color_range"].map(code);
    // Both are BT.601.
    let same = |colour: Colour| Colour {
        matrix: if colour.matrix == 5 { 6 } else { colour.matrix },
        ..colour
    };
    let colour = same(Colour::named(primaries, transfer, matrix, range));
    // What stands in the pictures alone is not looked for, but in H.264 and HEVC.
    let looked = matches!(video.codec, Picture::H264 { .. } | Picture::Hevc { .. });
    let is_told = looked || video.colour != Colour::default();
    assert!(!is_told || same(video.colour) == colour, "{colour:?}: {what}");
    let name = match &video.codec {
        Picture::H264 { .. } => "h264",
        Picture::Hevc { .. } => "hevc",
        Picture::Av1 { .. } => "av1",
        Picture::Vp8 => "vp8",
        Picture::Vp9 => "vp9",
        Picture::Other(name) => name,
    };
    assert_eq!(stream["codec_name"], name, "{what}");
    let packets = packets(path, &format!("v:{}", video.index));
    let first = packets.iter().map(|packet| packet.0).min().unwrap();
    let last = packets.iter().map(|packet| packet.0).max().unwrap();
    if first == i64::MIN {
        assert_eq!(video.cuts, None, "{what}");
        return;
    }
    let tick = fraction(&stream["time_base"], '/').unwrap();
    let length = (last - first) as f64 * tick + 1.0 / rate;
    let frame = 1.05 / rate + 0.002;
    assert!((video.length as f64 / 1e3 - length).abs() < frame, "{length}: {what}");
    let bytes: u64 = packets.iter().map(|packet| packet.1).sum();
    let bitrate = bytes as f64 * 8e3 / video.length as f64;
    assert!((video.bitrate as f64 / bitrate - 1.0).abs() < 0.01, "{bitrate}: {what}");
    if let Some(cuts) = &video.cuts {
        whole_cuts(cuts, &packets, tick, &what);
    }
}

/// Every cut is a keyframe, and has on each side what belongs there.
fn whole_cuts(cuts: &Cuts, packets: &[(i64, u64, String)], tick: f64, what: &str) {
    let first = packets.iter().map(|packet| packet.0).min().unwrap();
    let seconds = |time: i64| (time - first) as f64 * tick;
    assert_eq!(cuts.times.len(), cuts.bytes.len() + 1, "{what}");
    assert!(cuts.times[0] == 0 && cuts.times.windows(2).all(|pair| pair[0] < pair[1]), "{what}");
    let mut parts: Vec<(f64, u64)> = Vec::new();
    for (n, (time, size, flags)) in packets.iter().enumerate() {
        let (before, after) = packets.split_at(n);
        let parted = before.iter().all(|packet| packet.0 < *time)
            && after.iter().all(|packet| packet.0 >= *time);
        if flags.starts_with('K') && parted {
            parts.push((seconds(*time), 0));
        }
        parts.last_mut().unwrap().1 += size;
    }
    assert_eq!(cuts.bytes, parts.iter().map(|part| part.1).collect::<Vec<_>>(), "{what}");
    for (time, part) in cuts.times.iter().zip(&parts) {
        let time = *time as f64 / f64::from(cuts.timescale);
        assert!((time - part.0).abs() < 1e-6, "{time} for {}: {what}", part.0);
    }
}

#[test]
fn mp4_with_everything() {
    let dir = tempfile::tempdir().unwrap();
    let srt = "1\n00:00:01,000 --> 00:00:02,000\nHello\n";
    fs::write(dir.path().join("s.srt"), srt).unwrap();
    let args = format!(
        "{VIDEO} {SOUND} {SOUND} -i s.srt -i s.srt -map 0 -map 1 -map 2 -map 3 -map 4 {X264} -c:a aac \
         -c:s mov_text -metadata:s:a:0 language=eng -metadata:s:a:1 language=deu \
         -metadata:s:a:1 handler_name=Kommentar -metadata:s:s:0 language=fra -metadata:s:s:1 language=por \
         -movflags faststart"
    );
    let path = run(dir.path(), "all.mp4", &args);
    let (media, class) = agree(&path);
    assert_eq!((class, media.pipe), (Header, true));
    let bytes = fs::read(&path).unwrap();
    let data = bytes.windows(4).position(|kind| kind == b"mdat").unwrap() - 4;
    // The same of a film of any length: of the media, not a byte is read.
    let begun = probe(&Input::slice(&bytes[..data + 16], Some(bytes.len() as u64)));
    assert_eq!(begun.as_ref(), Ok(&media));
    let labels: Vec<_> = media.audio.iter().map(|track| &track.label).collect();
    assert_eq!(labels[0].language.as_deref(), Some("en"));
    assert_eq!((labels[0].name.as_deref(), labels[0].default), (None, true));
    assert_eq!(labels[1].language.as_deref(), Some("de"));
    assert_eq!((labels[1].name.as_deref(), labels[1].default), (Some("Kommentar"), false));
    let languages: Vec<_> = media.text.iter().map(|text| text.label.language.as_deref()).collect();
    assert_eq!(languages, [Some("fr"), Some("pt")]);
    assert!(media.audio.iter().all(|track| track.splice == Seek && track.delay == 0));
    assert!(media.audio.iter().all(|track| track.frames.unwrap().priming == 1_024));
    let video = media.video.unwrap();
    assert_eq!((video.constant, video.delay, video.length), (true, 0, 4_000));
    assert_eq!(video.cuts.unwrap().times.len(), 6);

    let path = run(dir.path(), "all.mkv", "-i all.mp4 -map 0 -c copy -c:s ass");
    let (media, class) = agree(&path);
    assert_eq!((class, media.text.len()), (End, 2));
    assert!(
        media.audio.iter().all(|track| track.delay == 0 && track.frames.is_some()),
        "{media:?}"
    );
    // Copied from MP4, the priming is played.
    let video = media.video.unwrap();
    let cuts = video.cuts;
    assert_eq!((video.delay, cuts.as_ref().unwrap().times.len()), (23, 6));

    // Sound that only ffmpeg knows does not change what is known of the pictures.
    let path = run(dir.path(), "odd.mkv", "-i all.mkv -map 0:v -map 0:a:0 -c:v copy -c:a wavpack");
    let (media, class) = agree(&path);
    let odd = media.video.unwrap();
    assert_eq!((class, odd.codec, odd.cuts), (Last, video.codec, cuts));

    let path = run(dir.path(), "all.ts", "-i all.mp4 -map 0:v -map 0:a -c copy");
    let (media, class) = agree(&path);
    assert_eq!((class, media.audio.len()), (Last, 2));
    assert_eq!(media.audio[1].label.language.as_deref(), Some("de"));
    assert_eq!(media.video.unwrap().cuts.unwrap().times.len(), 6);
}

/// Films of all shapes, and how they are made.
fn films() -> Vec<(&'static str, String)> {
    let hd = "-f lavfi -i testsrc2=s=160x96:d=2:r=";
    vec![
        ("ntsc.mp4", format!("{hd}30000/1001 {X264}")),
        ("ntsc.mkv", format!("{hd}30000/1001 {X264}")),
        ("film.mp4", format!("{hd}24000/1001 {X264} -video_track_timescale 90000")),
        ("fast.mp4", format!("{hd}60000/1001 {X264}")),
        ("fifty.mkv", format!("{hd}50 {X264}")),
        ("open.mp4", format!("{hd}25 {X264} -x264-params open-gop=1")),
        ("intra.mov", format!("{hd}25 -c:v prores")),
        ("sar.mp4", format!("{hd}25 -vf scale=144:116,setsar=64/45 {X264}")),
        ("sar.mkv", format!("{hd}25 -vf scale=144:116,setsar=16/15 {X264}")),
        ("sar.ts", format!("{hd}25 -vf scale=144:116,setsar=16/15 {X264}")),
        (
            "odd.webm",
            format!("{hd}25 -vf scale=161:91 -c:v libvpx-vp9 -deadline realtime -cpu-used 8"),
        ),
        ("odd.mp4", format!("{hd}25 -vf scale=162:94 {X264}")),
        ("vfr.mp4", format!("{hd}30 -vf select=not(mod(n\\,3))+not(mod(n\\,5)) -vsync vfr {X264}")),
        ("vfr.mkv", format!("{hd}30 -vf select=not(mod(n\\,3))+not(mod(n\\,5)) -vsync vfr {X264}")),
        (
            "fields.mp4",
            format!("{hd}25 -vf setfield=tff {X264} -flags +ilme+ildct -x264-params tff=1"),
        ),
        (
            "fields.mkv",
            format!("{hd}25 -vf setfield=tff {X264} -flags +ilme+ildct -x264-params tff=1"),
        ),
        (
            "hevc.mp4",
            format!(
                "{hd}25 -c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=20 -tag:v hvc1"
            ),
        ),
        (
            "hevc.mkv",
            format!(
                "{hd}25 -c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=20:open-gop=0"
            ),
        ),
        ("av1.mp4", format!("{hd}25 -c:v libaom-av1 -cpu-used 8 -usage realtime -g 20")),
        (
            "fragments.mp4",
            format!("{hd}25 {X264} -movflags frag_keyframe+empty_moov+default_base_moof"),
        ),
        (
            "delayed.mp4",
            format!("{hd}25 {SOUND} {X264} -c:a aac -movflags frag_keyframe+delay_moov"),
        ),
        ("one.mp4", format!("{hd}25 -frames:v 1 {X264}")),
        ("slow.mp4", format!("{hd}2 {X264}")),
        ("a.avi", format!("{hd}30000/1001 {SOUND} -c:v mpeg4 -c:a libmp3lame")),
        ("a.flv", format!("{hd}25 {SOUND} {X264} -c:a aac")),
        ("a.mpg", format!("{hd}25 {SOUND} -c:v mpeg2video -c:a mp2")),
        ("a.wmv", format!("{hd}25 {SOUND} -c:v wmv2 -c:a wmav2")),
        ("vp8.webm", format!("{hd}25 {SOUND} -c:v libvpx -deadline realtime -c:a libopus")),
        ("late.mp4", format!("{VIDEO} -itsoffset 0.5 {SOUND} {X264} -c:a aac")),
        ("eac3.mp4", format!("{VIDEO} {SOUND} {X264} -ar 48000 -c:a eac3")),
        ("eac3.mkv", format!("{VIDEO} {SOUND} {X264} -ar 48000 -c:a eac3")),
    ]
}

#[test]
fn shapes_and_rates() {
    let dir = tempfile::tempdir().unwrap();
    for (name, args) in films() {
        let path = run(dir.path(), name, &args);
        let (media, class) = agree(&path);
        let audio: Vec<&Audio> = media.audio.iter().collect();
        let Some(video) = media.video else { panic!("{name}") };
        let cuts = video.cuts.as_ref().map_or(0, |cuts| cuts.bytes.len());
        match name {
            "ntsc.mp4" => {
                assert_eq!((video.rate.numerator, video.rate.denominator), (30_000, 1_001));
                assert!(
                    video.constant && cuts == 3 && class == End && audio.is_empty(),
                    "{video:?}"
                );
            }
            "film.mp4" => {
                assert_eq!((video.rate.numerator, video.rate.denominator), (24_000, 1_001));
                assert!(!video.constant, "3753.75 ticks of 90 kHz: {video:?}");
            }
            "ntsc.mkv" => {
                assert_eq!((video.rate.numerator, video.rate.denominator), (30_000, 1_001));
                assert!(!video.constant && cuts == 3, "{video:?}");
            }
            "fifty.mkv" | "fast.mp4" => {
                assert!(video.constant, "{name} {video:?}");
            }
            "open.mp4" => assert!(cuts < 3, "{video:?}"),
            "sar.mp4" => assert_eq!((video.width, video.height), (205, 116)),
            "vfr.mp4" | "vfr.mkv" => assert!(!video.constant && cuts > 0, "{video:?}"),
            "fields.mp4" | "fields.mkv" => assert!(video.interlaced, "{video:?}"),
            "hevc.mp4" => {
                let hevc = Picture::Hevc { codecs: "hvc1.1.6.L30.90".to_owned() };
                assert!(video.codec == hevc && cuts > 0, "{video:?}");
            }
            "av1.mp4" => {
                let av1 = Picture::Av1 { codecs: "av01.0.00M.08".to_owned() };
                assert!(video.codec == av1 && cuts > 0, "{video:?}");
            }
            "fragments.mp4" | "hevc.mkv" => assert!(cuts >= 3, "{name} {video:?}"),
            "one.mp4" => assert!(cuts == 1 && video.length == 40, "{video:?}"),
            // The muxer delays the priming, too, to the millisecond.
            "late.mp4" => {
                assert!(audio[0].delay.abs_diff(22_050 - 1_024) < 45, "{audio:?}");
                assert_eq!((audio[0].splice, video.delay), (Decode, 0));
            }
            "eac3.mp4" | "eac3.mkv" => assert!(class == End && audio[0].codec == Codec::Eac3),
            "a.mpg" | "a.wmv" | "a.flv" | "intra.mov" => assert_eq!(cuts, 0),
            _ => {}
        }
    }
}

#[test]
fn turned_pictures() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), "flat.mp4", &format!("{VIDEO} {SOUND} {X264} -c:a aac"));
    for (turn, shown) in [(90, (108, 192)), (180, (192, 108)), (270, (108, 192))] {
        let args = format!("-i flat.mp4 -c copy -metadata:s:v:0 rotate={turn}");
        let path = run(dir.path(), &format!("{turn}.mp4"), &args);
        let video = agree(&path).0.video.unwrap();
        assert_eq!(((video.width, video.height), video.plain), (shown, false), "{turn}");
        assert_eq!(video.cuts.unwrap().bytes.len(), 5);
    }
}

#[test]
fn an_edit_list_that_hides_frames_leaves_no_cuts() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), "flat.mp4", &format!("{VIDEO} {SOUND} {X264} -c:a aac"));
    let path = run(dir.path(), "cut.mp4", "-ss 1.3 -i flat.mp4 -c copy -movflags faststart");
    let media = told(&path).0;
    let video = media.video.unwrap();
    assert!(video.cuts.is_none() && video.length.abs_diff(2_700) <= 40, "{video:?}");
    assert_eq!(media.audio[0].samples, decoded_track(&path, 0));
    assert_eq!(media.audio[0].splice, Decode);
}

#[test]
fn covers_are_no_video() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), "cover.png", "-f lavfi -i testsrc=s=64x64 -frames:v 1");
    let args = format!(
        "{SOUND} -i cover.png -map 0 -map 1 -c:a aac -c:v copy -disposition:v attached_pic"
    );
    let path = run(dir.path(), "cover.m4a", &args);
    let (media, _) = told(&path);
    assert_eq!((media.video, media.audio[0].splice), (None, Seek));
}

/// What a head does to start in the middle: a second of lead, then the cut by time stamps.
#[test]
fn aac_and_alac_beside_video_are_cut_at_the_sample() {
    let dir = tempfile::tempdir().unwrap();
    let video = "-f lavfi -i testsrc2=s=64x36:r=30000/1001:d=40";
    let sound = "-f lavfi -i aevalsrc=0.4*sin(t*t*300):s=44100:d=40";
    let args = format!(
        "{video} {sound} {sound} -map 0 -map 1 -map 2 -c:v libx264 -preset ultrafast -g 250 -c:a:0 aac -c:a:1 alac"
    );
    let path = run(dir.path(), "film.mp4", &args);
    let media = told(&path).0;
    let pcm = |before: &[&str], map: &str, after: &[&str]| {
        let output = Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin"])
            .args(before)
            .args(["-f", "mov", "-i"])
            .arg(&path)
            .args(["-map", map])
            .args(after)
            .args(["-c:a", "pcm_s16le", "-f", "s16le", "pipe:1"])
            .output();
        output.expect("ffmpeg is installed").stdout
    };
    let samples = |pcm: &[u8]| {
        pcm.chunks_exact(2).map(|s| i16::from_le_bytes([s[0], s[1]])).collect::<Vec<_>>()
    };
    for track in &media.audio {
        assert_eq!(track.splice, Seek);
        let map = format!("0:a:{}", track.index);
        let whole = samples(&pcm(&[], &map, &[]));
        for frame in [47, 99, 345, 430, 574, 740, 861, 1_098, 1_330, 1_537, 1_660] {
            let sample = frame * 1_024;
            let from = format!("{:.6}", f64::from(sample) / 44_100.0 - 1.0);
            let trim = format!("atrim=start_pts={sample},asetpts=N/SR/TB");
            let cut = pcm(&["-ss", &from, "-copyts", "-start_at_zero"], &map, &["-af", &trim]);
            let cut = samples(&cut);
            // A decoder that starts elsewhere rounds otherwise, by one at most.
            let wanted = &whole[sample as usize..];
            let same = wanted.iter().zip(&cut).all(|(a, b)| a.abs_diff(*b) <= 1);
            assert!(same && cut.len() == wanted.len(), "{map} at {sample}");
        }
    }
}

#[test]
fn shared_video() {
    let Ok(folder) = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/media")) else {
        return;
    };
    let names = ["mp4", "webm", "mkv", "m4a", "aac", "ts"];
    for path in folder.map(|entry| entry.unwrap().path()) {
        if path.extension().is_some_and(|extension| names.iter().any(|name| extension == *name)) {
            let (media, _) = agree(&path);
            let file = path.file_name().unwrap().to_string_lossy();
            let still = file.contains("cover");
            let videos = streams(&path, "video").len();
            assert_eq!(media.video.is_some(), videos > 0 && !still, "{file}");
        }
    }
}
