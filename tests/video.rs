//! Video packages: every rung shows every frame of the source once and when it should be shown, whoever asks for what in
//! which order, and is what its playlists say. The sources' frames are numbered in their pictures.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use m3u8_rs::{AlternativeMediaType, VariantStream};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use support::{
    Broker, Player, Setup, Upstream, decode,
    film::{self, Film, H264, Seen},
    player::Track,
    until,
};
use tempfile::NamedTempFile;

/// The heights of the rungs, in the order of their tracks.
const RUNGS: [u64; 3] = [180, 120, 90];

const AAC: &str = "-c:a aac -b:a 96k";

fn setup(upstream: &Upstream) -> Setup {
    let setup = Broker::setup(upstream).without("url.vtt").with("cache.expiry", "1h");
    let setup = setup.with("packager.video.ladder", "180:400k,120:200k,90:100k");
    let setup = setup.with("packager.copy", vec!["aac"]);
    setup.with("packager.segment", "2s").with("packager.video.preset", "ultrafast")
}

/// 320x180 at 25 frames a second with a sine, as MP4.
fn film(seconds: f64) -> Vec<u8> {
    let rest =
        format!("-f lavfi -i sine=d={seconds}:r=44100 {H264} {AAC} -movflags +faststart -f mp4");
    Film { size: "320x180", rate: "25", seconds, filters: "", rest: &rest }.bytes()
}

/// The numbers from 0 on, without a gap, without one twice.
#[track_caller]
fn check_numbers(seen: &Seen, frames: usize, what: &str) {
    check_held(seen, 0, frames, what);
}

/// The same, after the first one has been held for so many frames more.
#[track_caller]
fn check_held(seen: &Seen, held: usize, frames: usize, what: &str) {
    assert_eq!(seen.warnings, Vec::<String>::new(), "{what}");
    let expected: Vec<_> = std::iter::repeat_n(0, held).chain(0..frames - held).collect();
    assert_eq!(seen.numbers, expected, "{what}");
}

/// Each frame at its time, from 0 on.
#[track_caller]
fn check_times(seen: &Seen, frames: usize, rate: f64, what: &str) {
    assert_eq!(seen.times.len(), frames, "{what}");
    for (n, time) in seen.times.iter().enumerate() {
        assert!((time - n as f64 / rate).abs() < 1e-5, "{what}: frame {n} is shown at {time}");
    }
}

/// A segment alone, as a player sees it that has just come to it.
#[track_caller]
fn alone(track: &Track, n: usize) -> Seen {
    film::see([track.init.as_slice(), &track.segments[n]].concat())
}

/// Segments of a video rendition that are on disk.
fn kept(broker: &Broker, track: &str) -> usize {
    let begins = format!("{track}-");
    let is_segment = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with(&begins) && path.extension().is_some_and(|e| e == "m4s")
    };
    broker.files("static").into_iter().filter(is_segment).count()
}

/// The encoders of video that run.
fn encoders(broker: &Broker) -> usize {
    let encodes = |arguments: Vec<String>| arguments.iter().any(|word| word == "libx264");
    broker.children().iter().filter(|child| !child.is_gone() && encodes(child.arguments())).count()
}

/// Its head has made what players begin with, and rests one segment before.
#[test]
fn who_begins_behind_a_head_that_rests_is_served() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).with("packager.copy", vec!["aac", "h264"]).start();
    upstream.audio("a", film(10.0));
    let player = Player::new(&broker, &broker.token("a"));
    let playlist = player.playlist("v0.m3u8");
    player.get(&playlist.segments[2].uri).expect(200);
}

#[test]
fn every_kind_of_film_plays_from_start_to_end() {
    let upstream = Upstream::start();
    let broker = setup(&upstream).start();
    let sine = "-f lavfi -i sine=d=5:r=48000";
    let case = |id: &'static str, size, rate, filters, rest: String| {
        (id, rate, Film { size, rate, seconds: 5.0, filters, rest: &rest }.bytes())
    };
    let turned = case("turned", "180x320", "25", ",transpose=cclock", format!("{H264} -f mp4"));
    let cases = [
        case("mp4", "320x180", "25", "", format!("{sine} {H264} {AAC} -f mp4")),
        case(
            "ntsc",
            "320x180",
            "30000/1001",
            "",
            format!("{sine} {H264} {AAC} -movflags +faststart -f mp4"),
        ),
        case("matroska", "320x180", "24", "", format!("{sine} {H264} {AAC} -f matroska")),
        case("ts", "320x180", "50", "", format!("{sine} {H264} -bf 2 {AAC} -f mpegts")),
        case(
            "webm",
            "320x180",
            "15",
            "",
            "-c:v libvpx -deadline realtime -b:v 1M -f webm".to_owned(),
        ),
        case(
            "odd",
            "321x181",
            "25",
            ",format=yuv444p",
            "-c:v libx264 -preset ultrafast -f matroska".to_owned(),
        ),
        case(
            "mute",
            "320x180",
            "30",
            "",
            format!("{H264} -movflags frag_keyframe+empty_moov -f mp4"),
        ),
        case("portrait", "180x320", "25", "", format!("{H264} -f mp4")),
        (turned.0, turned.1, rotated(turned.2)),
    ];
    for (id, rate, source) in cases {
        upstream.audio(id, &source);
        let grant = broker.token(id);
        let player = Player::new(&broker, &grant);
        let (numerator, denominator) = rate.split_once('/').unwrap_or((rate, "1"));
        let rate = numerator.parse::<f64>().expect("n") / denominator.parse::<f64>().expect("n");
        let own = film::see(&source).numbers.len();
        assert_eq!(own, (5.0 * rate).round() as usize, "{id}: the source itself");

        // Containers without edit lists begin with the priming of their AAC, and the picture comes 21 ms later.
        let held = usize::from(matches!(id, "matroska" | "ts"));
        let frames = held + own;
        let seen = film::watch(&broker, &grant, "index.m3u8");
        check_held(&seen, held, frames, id);
        check_times(&seen, frames, rate, id);
        let seconds = player.playlist("v0.m3u8").seconds();
        assert!((seconds - frames as f64 / rate).abs() < 1e-5, "{id}: {seconds} s");

        let index = player.index();
        let picture = index.variants.first().and_then(|v| v.resolution).expect("RESOLUTION");
        let upright = id == "portrait" || id == "turned";
        assert_eq!(
            (picture.width, picture.height),
            if upright { (180, 320) } else { (320, 180) },
            "{id}"
        );
        let has_sound =
            index.alternatives.iter().any(|a| a.media_type == AlternativeMediaType::Audio);
        assert_eq!(has_sound, matches!(id, "mp4" | "ntsc" | "matroska" | "ts"), "{id}");
        if has_sound {
            let heard = player.hear(1);
            assert!(
                (heard.seconds() - seconds).abs() < 0.07,
                "{id}: {} s of sound",
                heard.seconds()
            );
        }
    }
}

/// ffmpeg counts from text that comes less than a second before all else; players count from sound and picture.
#[test]
fn text_before_all_else_moves_nothing() {
    let shared = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (file, text) = (NamedTempFile::new_in(shared).expect("a file"), shared.join("early.srt"));
    let cues =
        "1\n00:00:00,000 --> 00:00:00,500\nearly\n\n2\n00:00:03,600 --> 00:00:04,600\nlate\n";
    fs::write(file.path(), cues).expect("room on the disk");
    file.persist(&text).expect("a rename");
    // The picture begins 0.6 s after the text, the sound another half second later.
    let rest = format!(
        "-itsoffset 1.1 -f lavfi -i sine=d=13.5:r=48000 -i {} -map 0 -map 1 -map 2 -filter:v setpts=PTS+0.6/TB {H264} -bf 0 \
         -c:a flac -c:s subrip -f matroska",
        text.display()
    );
    let upstream = Upstream::start();
    let film = Film { size: "320x180", rate: "25", seconds: 14.0, filters: "", rest: &rest };
    upstream.audio("a", film.bytes());
    for copied in [vec!["aac"], vec!["aac", "h264"]] {
        let broker = setup(&upstream).with("packager.copy", copied.clone()).start();
        let grant = broker.token("a");
        let player = Player::new(&broker, &grant);
        // The first head seeks, the next does not.
        let last = player.playlist("v0.m3u8").segments.pop().expect("a segment");
        player.get(&last.uri).expect(200);
        let seen = film::watch(&broker, &grant, "v0.m3u8");
        check_numbers(&seen, 350, &format!("{copied:?}"));
        check_times(&seen, 350, 25.0, &format!("{copied:?}"));
        let heard = player.hear(1);
        assert!((heard.seconds() - 14.0).abs() < 0.07, "{} s", heard.seconds());
        let (silence, sine) = (heard.peak(2_000..22_000), heard.peak(27_000..30_000));
        assert!(silence < 50 && sine > 1_000, "{silence} {sine}");
        let track = player.track("s0.m3u8");
        let captions: String = (0..track.segments.len()).map(|n| track.text(n)).collect();
        assert!(captions.contains("00:00:03.000 --> 00:00:04.000\nlate"), "{captions}");
    }
}

/// An MP4 whose first track is to be shown turned by 90 degrees clockwise (ISO/IEC 14496-12, 8.3.2: the matrix of `tkhd`).
fn rotated(mut mp4: Vec<u8>) -> Vec<u8> {
    let tkhd = mp4.windows(4).position(|name| name == b"tkhd").expect("a track");
    let matrix: Vec<u8> = [0, 0x1_0000, 0, 0xffff_0000, 0, 0, 0, 0, 0x4000_0000_u32]
        .into_iter()
        .flat_map(u32::to_be_bytes)
        .collect();
    mp4[tkhd + 44..][..matrix.len()].copy_from_slice(&matrix);
    mp4
}

/// A segment far in first, then all the others of all rungs in a random order, and a crash in between: every join is exact,
/// each rung is cut where the others are, and one may change rungs at every segment.
#[test]
fn rungs_join_and_are_cut_alike() {
    const FRAMES: usize = 14 * 25;
    let upstream = Upstream::start();
    upstream.audio("a", film(14.0));
    let broker = setup(&upstream).with("packager.workers", 2).start();
    let grant = broker.token("a");
    let player = Player::new(&broker, &grant);
    let tracks: Vec<_> = RUNGS.iter().enumerate().map(|(k, _)| format!("v{k}.m3u8")).collect();
    let playlists: Vec<_> = tracks.iter().map(|uri| player.playlist(uri)).collect();
    let cuts = |k: usize| playlists[k].segments.iter().map(|s| s.seconds).collect::<Vec<_>>();
    assert!(cuts(0) == cuts(1) && cuts(1) == cuts(2), "{playlists:?}");
    let count = playlists[0].segments.len();

    let mut order: Vec<(usize, usize)> =
        (0..RUNGS.len()).flat_map(|k| (0..count).map(move |n| (k, n))).collect();
    order.retain(|&place| place != (1, count - 2));
    order.shuffle(&mut StdRng::seed_from_u64(5));
    order.insert(0, (1, count - 2));
    let get = |(k, n): (usize, usize)| player.get(&playlists[k].segments[n].uri).expect(200).body;
    let (before, after) = order.split_at(order.len() / 2);
    let served: Vec<_> = before.iter().map(|&place| get(place)).collect();
    let inits: Vec<_> =
        (0..3).map(|k| player.get(&format!("v{k}-init.mp4")).expect(200).body).collect();
    broker.kill9();
    broker.restart();
    for &place in after {
        get(place);
    }

    let tracks: Vec<_> = tracks.iter().map(|uri| player.track(uri)).collect();
    for (&(k, n), bytes) in before.iter().zip(&served) {
        assert!(tracks[k].segments[n] == *bytes, "segment {n} of v{k} was served anew");
    }
    for (k, track) in tracks.iter().enumerate() {
        assert!(track.init == inits[k], "v{k} has another init segment after a restart");
        let seen = film::see(track.bytes());
        check_numbers(&seen, FRAMES, &format!("v{k}"));
        check_times(&seen, FRAMES, 25.0, &format!("v{k}"));
    }
    let mut changing = Seen::default();
    for n in 0..count {
        let seen = alone(&tracks[[0, 2, 1][n % 3]], n);
        changing.numbers.extend(seen.numbers);
        changing.times.extend(seen.times);
    }
    check_numbers(&changing, FRAMES, "changing rungs");
    check_times(&changing, FRAMES, 25.0, "changing rungs");
}

#[test]
fn the_index_says_what_is_served() {
    let upstream = Upstream::start();
    let rest = format!("-f lavfi -i sine=d=6:r=44100 {H264} {AAC} -f mp4");
    let (size, rate, filters) = ("426x240", "30000/1001", ",noise=c0s=100:c0f=t");
    upstream.audio("a", Film { size, rate, seconds: 6.0, filters, rest: &rest }.bytes());
    let broker = setup(&upstream).with("packager.video.ladder", "240:300k,120:90k").start();
    let grant = broker.token("a");
    let player = Player::new(&broker, &grant);
    let index = player.index();
    assert_eq!(index.variants.len(), 2);
    let sound = player.audio();
    for variant in &index.variants {
        let track = player.track(&variant.uri);
        check_variant(variant, &track, &sound);
    }
}

/// Bits a second.
fn bits(track: &Track) -> f64 {
    track.segments.iter().map(Vec::len).sum::<usize>() as f64 * 8.0 / track.playlist.seconds()
}

/// Bits a second of the densest segment.
fn densest(track: &Track) -> f64 {
    let segments = track.segments.iter().zip(&track.playlist.segments);
    segments.map(|(bytes, said)| bytes.len() as f64 * 8.0 / said.seconds).fold(0.0, f64::max)
}

#[track_caller]
fn check_variant(variant: &VariantStream, track: &Track, sound: &Track) {
    let probed = decode::probe(track.bytes());
    let stream = &probed["streams"][0];
    let picture = variant.resolution.expect("RESOLUTION");
    assert_eq!(stream["codec_name"], "h264");
    assert_eq!(stream["profile"], "High");
    assert_eq!(
        (stream["width"].as_u64(), stream["height"].as_u64()),
        (Some(picture.width), Some(picture.height))
    );
    assert_eq!(stream["avg_frame_rate"], "30000/1001");
    assert_eq!(variant.frame_rate, Some(29.97));
    let level = stream["level"].as_u64().expect("a level");
    assert_eq!(variant.codecs.as_deref(), Some(&*format!("avc1.6400{level:02x},mp4a.40.2")));
    let most = densest(track) + densest(sound);
    assert!(most <= variant.bandwidth as f64, "{most:.0} bits a second: {variant:?}");
    let average = variant.average_bandwidth.expect("AVERAGE-BANDWIDTH") as f64;
    assert!(average <= variant.bandwidth as f64);
    // Noise takes all that it is given.
    let measured = (bits(track) + bits(sound)) / average;
    assert!((0.5..1.2).contains(&measured), "{measured} of AVERAGE-BANDWIDTH: {variant:?}");
    for n in 0..track.segments.len() {
        let first = decode::first_frame([track.init.as_slice(), &track.segments[n]].concat());
        assert_eq!(first, (1, 'I'), "segment {n} does not begin with a keyframe");
    }
}

#[test]
fn audio_tracks_are_named_and_play() {
    let upstream = Upstream::start();
    let two = "-f lavfi -i sine=f=300:d=6:r=44100 -f lavfi -i sine=f=3000:d=3:r=44100 -map 0:v -map 1:a -map 2:a";
    let labels = "-metadata:s:a:0 language=deu -metadata:s:a:1 language=fra -metadata:s:a:1 title=Commentaire";
    let rest = format!("{two} {H264} {AAC} {labels} -f matroska");
    let film = Film { size: "320x180", rate: "25", seconds: 6.0, filters: "", rest: &rest };
    upstream.audio("two", film.bytes());
    let broker = setup(&upstream).start();
    let grant = broker.token("two");
    let player = Player::new(&broker, &grant);
    let index = player.index();
    let sounds: Vec<_> =
        index.alternatives.iter().filter(|a| a.media_type == AlternativeMediaType::Audio).collect();
    let told: Vec<_> =
        sounds.iter().map(|a| (a.name.as_str(), a.language.as_deref(), a.default)).collect();
    assert_eq!(told, [("de", Some("de"), true), ("Commentaire", Some("fr"), false)]);
    let ends = [(300, 6.0), (3000, 3.0)];
    for (sound, (hertz, end)) in sounds.into_iter().zip(ends) {
        let pcm = player.track(sound.uri.as_deref().expect("URI")).pcm();
        assert!((pcm.seconds() - 6.0).abs() < 0.07, "{} s", pcm.seconds());
        let rate = pcm.rate as usize;
        let crossings = |from: usize| {
            let second = &pcm.mono()[from..from + rate];
            second.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count()
        };
        assert!(crossings(rate).abs_diff(hertz) < 5, "{} Hz", crossings(rate));
        assert_eq!(pcm.peak(4 * rate..5 * rate) > 1000, end > 4.0, "after the track's end");
    }
    check_held(&film::watch(&broker, &grant, "index.m3u8"), 1, 151, "two tracks");
}

/// What is there is played. What the header promises and is not there is a still picture, and the log says so once.
#[test]
fn films_that_end_early_play_what_is_there() {
    let upstream = Upstream::start();
    let make = |rest: &str| {
        let sine = "-f lavfi -i sine=d=8:r=44100";
        let rest = format!("{sine} {H264} {AAC} {rest}");
        Film { size: "320x180", rate: "25", seconds: 8.0, filters: "", rest: &rest }.bytes()
    };
    let broker = setup(&upstream).start();
    let cut = |format: &str| {
        let whole = make(format);
        whole[..whole.len() / 2].to_vec()
    };
    let mut damaged = make("-movflags +faststart -f mp4");
    let half = damaged.len() / 2;
    damaged[half..].fill(0);
    for (id, source, held) in [
        ("mp4", cut("-movflags +faststart -f mp4"), 0),
        ("mkv", cut("-f matroska"), 1),
        ("ts", cut("-f mpegts"), 1),
        ("damaged", damaged, 0),
    ] {
        upstream.audio(id, &source);
        let grant = broker.token(id);
        let lines = broker.logs().len();
        let track = Player::new(&broker, &grant).track("v0.m3u8");
        let mut seen = film::see(track.bytes());
        let frames = (track.playlist.seconds() * 25.0).round() as usize;
        let there = seen.numbers.iter().zip((0..held).map(|_| 0).chain(0..));
        let there = there.take_while(|(seen, own)| *seen == own).count();
        println!("{id}: {there} of {frames} frames, {} shown", seen.numbers.len());
        assert!((80..120).contains(&there), "{id}: {there} of 200 frames in half of the file");
        let still = seen.numbers.split_off(there);
        let starts = seen.times.split_off(there);
        check_times(&seen, there, 25.0, id);
        // One picture in each segment that there is nothing for, and one more while ffmpeg finds out.
        assert!(still.iter().all(|&n| n < there), "{id}: {still:?}");
        let cuts = track.playlist.starts();
        let is_cut = |time: &&f64| cuts.iter().any(|cut| (cut - **time).abs() < 1e-5);
        assert!(starts.iter().filter(is_cut).count() + 1 >= still.len(), "{id}: {starts:?}");
        let told = broker.logs().split_off(lines);
        let told: Vec<_> =
            told.iter().filter(|line| line.contains("\"v0\"") && line.contains("ends")).collect();
        assert_eq!(told.len(), usize::from(there + 2 < frames), "{id}: {told:?}");
        assert_eq!(frames == 200, id == "damaged", "{id}: {frames} frames are promised");
    }
}

#[test]
fn a_storyboard_shows_the_film() {
    let upstream = Upstream::start();
    upstream.audio("a", film(14.0));
    let broker = setup(&upstream).start();
    let grant = broker.token("a");
    let player = Player::new(&broker, &grant);
    let reply = player.get("storyboard.vtt").expect(200);
    let text = reply.text();
    let cues: Vec<_> = text.lines().filter(|line| line.contains("#xywh=")).collect();
    assert_eq!(cues.len(), 7, "{text}");
    let jpeg = player.get("storyboard-0.jpg").expect(200);
    assert_eq!(jpeg.header("content-type"), Some("image/jpeg"));
    for (n, cue) in cues.iter().enumerate() {
        let place = cue.split_once("#xywh=").expect("a place").1;
        let place: Vec<u32> = place.split(',').map(|n| n.parse().expect("a number")).collect();
        let number = film::read(&jpeg.body, [place[0], place[1], place[2], place[3]]);
        // The middle of two seconds.
        assert!(number.abs_diff(25 + 50 * n) <= 1, "{n}: frame {number} in {cue}");
    }
}

/// What nobody asks for costs nothing, and a head goes no further ahead of its player than it may; it ends when nobody has
/// asked for anything for a while.
#[test]
fn a_head_waits_for_its_player() {
    let upstream = Upstream::start();
    let seconds = 60.0;
    let rest = format!("{H264} -movflags +faststart -f mp4");
    upstream.audio(
        "a",
        Film { size: "320x180", rate: "25", seconds, filters: "", rest: &rest }.bytes(),
    );
    let broker = setup(&upstream).with("packager.video.ahead", "10s").start();
    let grant = broker.token("a");
    let player = Player::new(&broker, &grant);
    let playlist = player.playlist("v1.m3u8");
    let starts = playlist.starts();
    let within = |end: f64| starts.iter().filter(|start| **start <= end).count();
    player.get("v1-0.m4s").expect(200);
    until("the head is ahead", || kept(&broker, "v1") + 1 >= within(10.0));
    player.get("v1-5.m4s").expect(200);
    let end = starts[5] + 10.0;
    until("the head is ahead again", || kept(&broker, "v1") + 1 >= within(end));
    until("the head has ended", || encoders(&broker) == 0);
    assert!(
        kept(&broker, "v1") <= within(end) + 1,
        "{} segments: {playlist:?}",
        kept(&broker, "v1")
    );
    assert!(broker.files("static").iter().all(|path| !path.to_string_lossy().contains("v2-")));
    // It goes on where it stopped, and somewhere else.
    let last = playlist.segments.len() - 1;
    for n in [kept(&broker, "v1"), last] {
        player.get(&playlist.segments[n].uri).expect(200);
    }
}

/// Films of the world, where they have been put beside this repository: the lowest rung of each has every frame that it
/// promises, none of them late, and lasts as long as its source.
#[test]
fn shared_films() {
    let upstream = Upstream::start();
    let broker = Broker::setup(&upstream).without("url.vtt").with("cache.expiry", "1h");
    let broker = broker.with("packager.video.preset", "ultrafast").start();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/media");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_film = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        matches!(extension, Some("mp4" | "mkv" | "ts" | "webm"))
    };
    for path in entries.filter(is_film) {
        let source = fs::read(&path).expect("a file");
        let id = path.file_name().expect("a name").to_string_lossy();
        upstream.audio(&id, &source);
        let grant = broker.token(&id);
        let player = Player::new(&broker, &grant);
        let variant = player.index().variants.remove(0);
        let Some(rate) = variant.frame_rate.filter(|_| variant.resolution.is_some()) else {
            continue;
        };
        let seconds = player.playlist(&variant.uri).seconds();
        let seen = film::watch(&broker, &grant, &variant.uri);
        assert_eq!(seen.warnings, Vec::<String>::new(), "{id}");
        let step = |pair: &[f64]| ((pair[1] - pair[0]) * rate - 1.0).abs() < 0.01;
        assert!(seen.times.windows(2).all(step), "{id}: {:?}", seen.times);
        assert_eq!(seen.times.len(), (seconds * rate).round() as usize, "{id}: {seconds} s");
        let own = decode::packets(&source, "v:0");
        let end = |packet: &decode::Packet| packet.pts + packet.duration;
        let last = own.iter().map(end).filter(|end| end.is_finite()).fold(f64::MIN, f64::max);
        let first = decode::probe(&source)["format"]["start_time"]
            .as_str()
            .map_or(0.0, |text| text.parse().expect("seconds"));
        assert!(
            (last - first - seconds).abs() * rate < 1.6,
            "{id}: {} s, not {seconds}",
            last - first
        );
    }
}
