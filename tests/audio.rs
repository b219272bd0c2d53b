//! Audio packages: whatever the source and whatever the order of requests, what is served is what was promised.
//!
//! Every case is asked for in a random order first, in each container, and judged by ffmpeg as a player, by the frames
//! in the segments, and by what its playlists say.

mod support;

use std::{fs, ops::Range};

use m3u8_rs::VariantStream;
use support::{
    Broker, Clip, Format, Grant, Player, Upstream, decode, media,
    player::{Playlist, Track},
    signal,
};

/// Samples in one AAC frame.
const FRAME: usize = 1024;

/// Ticks of 90 kHz at which the source begins in packed audio and TS.
const BASE: u64 = 900_000;

/// Bytes of the ID3 tag in front of packed audio.
const ID3: usize = 73;

/// Formats that are copied unless that is off.
const AAC: [Format; 4] = [Format::M4a, Format::M4aMoovLast, Format::M4aFragmented, Format::Adts];

const CONTAINERS: [&str; 3] = ["cmaf", "aac", "ts"];

/// A broker whose streams outlive every test.
fn broker(upstream: &Upstream) -> Broker {
    Broker::setup(upstream).with("cache.expiry", "1h").start()
}

/// The same, which encodes everything.
fn encoder(upstream: &Upstream) -> Broker {
    let setup = Broker::setup(upstream).with("cache.expiry", "1h");
    setup.with("packager.copy", Vec::<String>::new()).start()
}

/// A stream and everything that was served of it.
struct Served {
    id: String,
    grant: Grant,
    /// In the order of [`CONTAINERS`].
    tracks: Vec<Track>,
    rate: usize,
    /// Samples before the first that is meant to be heard: one frame of what is encoded, what the source says of what is
    /// copied.
    priming: usize,
    /// AAC frames in each segment.
    frames: Vec<usize>,
}

impl Served {
    /// Asks for `id` and for all its segments in a random order, then again in order.
    #[track_caller]
    fn fetch(broker: &Broker, id: &str, seed: u64) -> Self {
        let grant = broker.token(id);
        let player = Player::new(broker, &grant);
        let init = player.get("a0-init.mp4").expect(200);
        assert_eq!(init.header("content-type"), Some("audio/mp4"));
        let track =
            |(container, seed)| player.track_shuffled(&variant(&player, container).uri, seed);
        let tracks: Vec<Track> = CONTAINERS.into_iter().zip(seed..).map(track).collect();
        assert_eq!(tracks[0].init, init.body, "{id}: the init segment has changed");
        let frames: Vec<_> =
            tracks[1].segments.iter().map(|aac| adts_frames(&aac[ID3..])).collect();
        let rate = tracks[1].segments[0][ID3 + 2] >> 2 & 0xf;
        let rate = [0, 0, 0, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000]
            [usize::from(rate)];
        let served = Self {
            id: id.to_owned(),
            grant,
            priming: tracks[0].priming(),
            tracks,
            rate,
            frames: frames.into_iter().map(|sizes| sizes.len()).collect(),
        };
        served.fetch_again(broker);
        served
    }

    /// Fetches everything in order: nothing may have changed.
    #[track_caller]
    fn fetch_again(&self, broker: &Broker) {
        let player = Player::new(broker, &self.grant);
        for (before, container) in self.tracks.iter().zip(CONTAINERS) {
            let now = player.track(&variant(&player, container).uri);
            assert_eq!(now.playlist.text, before.playlist.text, "{}", self.id);
            assert!(now.init == before.init, "{}: another init segment", self.id);
            let changed =
                now.segments.iter().zip(&before.segments).position(|(now, before)| now != before);
            assert_eq!(changed, None, "{}: {container} segment served anew", self.id);
        }
    }

    /// What the playlists say of lengths, and what RFC 8216 wants of them.
    #[track_caller]
    fn check_playlists(&self) {
        let total: usize = self.frames.iter().sum();
        for Track { playlist, .. } in &self.tracks {
            let text = &playlist.text;
            let sum = self.presented(0..total);
            assert!(
                (playlist.seconds() - sum).abs() < 1e-6 * (1 + self.frames.len()) as f64,
                "{sum} s of {}: {text}",
                self.id
            );
            assert_eq!(playlist.segments.len(), self.frames.len());
            let mut first = 0;
            for (segment, &frames) in playlist.segments.iter().zip(&self.frames) {
                let exact = self.presented(first..first + frames);
                first += frames;
                assert!(
                    (segment.seconds - exact).abs() < 1.1e-6,
                    "{segment:?} is {exact} s in {}",
                    self.id
                );
            }
            check_target_duration(playlist);
            assert!(
                text.contains("#EXT-X-PLAYLIST-TYPE:VOD\n") && text.ends_with("#EXT-X-ENDLIST\n"),
                "{text}"
            );
        }
        assert!(self.tracks[0].playlist.init.is_some());
        assert!(self.tracks[1..].iter().all(|track| track.playlist.init.is_none()));
    }

    /// CODECS, and BANDWIDTH, which no segment may exceed.
    #[track_caller]
    fn check_index(&self, broker: &Broker) {
        let player = Player::new(broker, &self.grant);
        for (track, container) in self.tracks.iter().zip(CONTAINERS) {
            let variant = variant(&player, container);
            assert_eq!(variant.codecs.as_deref(), Some("mp4a.40.2"));
            for (n, (bytes, said)) in
                track.segments.iter().zip(&track.playlist.segments).enumerate()
            {
                let bits = bytes.len() as f64 * 8.0 / said.seconds;
                assert!(
                    bits <= variant.bandwidth as f64,
                    "{}: {container} segment {n} takes {bits:.0} bits a second, BANDWIDTH is {}",
                    self.id,
                    variant.bandwidth
                );
            }
        }
    }

    /// The clocks in packed audio and TS.
    #[track_caller]
    fn check_clocks(&self) {
        let mut first = 0;
        for (aac, frames) in self.tracks[1].segments.iter().zip(&self.frames) {
            assert_eq!(&aac[..3], b"ID3", "{}", self.id);
            assert_eq!(&aac[20..65], b"com.apple.streaming.transportStreamTimestamp\0");
            let stamp = u64::from_be_bytes(aac[65..ID3].try_into().expect("8 bytes"));
            let ticks = (first as f64 - self.priming as f64) * 90_000.0 / self.rate as f64;
            assert_eq!(stamp, BASE.wrapping_add_signed(ticks.round() as i64), "{}", self.id);
            first += frames * FRAME;
        }
        check_continuity(&self.tracks[2].segments.concat());
        let packets = decode::packets(self.tracks[2].segments.concat(), "a:0");
        assert_eq!(packets.len(), self.frames.iter().sum::<usize>(), "{}", self.id);
        for pair in packets.windows(2) {
            let step = pair[1].pts - pair[0].pts;
            // One tick of 90 kHz for each of two roundings.
            assert!((step - self.seconds(1)).abs() < 3.0 / 90_000.0, "{}: {pair:?}", self.id);
        }
    }

    /// What ffmpeg hears of the playlists: everything, without a complaint, and each sample where it belongs. Only `noise`
    /// says where it is from.
    #[track_caller]
    fn check_sound(&self, broker: &Broker, source: &[u8], noise: bool) {
        let mut whole = decode::pcm(source);
        let scaled = (whole.frames() * self.rate).div_ceil(whole.rate as usize);
        for container in CONTAINERS {
            if container != "ts" {
                self.check_times(broker, container);
            }
            let heard = self.play(broker, container);
            let what = format!("{} as {container}", self.id);
            assert!(
                heard.warnings.iter().all(|line| self.is_excused(line)),
                "{what}: {:#?}",
                heard.warnings
            );
            assert_eq!(heard.rate as usize, self.rate, "{what}");
            assert_eq!(heard.frames(), self.frames.iter().sum::<usize>() * FRAME, "{what}");
            let excess = (heard.frames() - self.priming) as i64 - scaled as i64;
            assert!(
                excess.unsigned_abs() <= FRAME as u64,
                "{what} has {excess} samples more than {scaled}"
            );
            if noise {
                if (whole.rate, whole.channels) != (heard.rate, heard.channels) {
                    whole = decode::pcm_as(source, heard.rate, heard.channels);
                }
                let middle = heard.frames() / 2;
                let lags = signal::lags_at(&whole, &heard, &[middle], self.priming as isize);
                assert_eq!(lags, [Some(self.priming as isize)], "{what}");
            }
        }
    }

    /// Two or three frames are too few for ffmpeg to be sure that packed audio is what it is.
    fn is_excused(&self, warning: &str) -> bool {
        let unsure = "Format aac detected only with low score";
        self.frames.iter().sum::<usize>() < 8 && warning.contains(unsure)
    }

    #[track_caller]
    fn play(&self, broker: &Broker, container: &str) -> decode::Pcm {
        let (url, headers) = self.index(broker, container);
        decode::playlist(&url, &headers)
    }

    fn index(&self, broker: &Broker, container: &str) -> (String, [(&str, &str); 1]) {
        let url =
            format!("{}/hls/{}/index.m3u8?container={container}", broker.url(), self.grant.rid);
        (url, [("x-gostreamer-token", &self.grant.token)])
    }

    /// ffmpeg counts the time of packed AAC from the ID3 tags: one that it reads too early would move all that it plays.
    /// (Of MPEG-TS it gives the second frame the time of the first.)
    #[track_caller]
    fn check_times(&self, broker: &Broker, container: &str) {
        let (url, headers) = self.index(broker, container);
        let packets = decode::playlist_packets(&url, &headers);
        let opening: u64 = packets.iter().take(self.frames[0]).map(|packet| packet.size).sum();
        // To know packed audio for what it is ffmpeg reads 2 kB: of silence, that is more than a segment.
        if container == "aac" && opening < 2048 {
            return;
        }
        let origin = if container == "cmaf" { 0.0 } else { BASE as f64 / 90_000.0 };
        for (n, packet) in packets.iter().enumerate() {
            let due = origin + self.seconds(n) - self.priming as f64 / self.rate as f64;
            let what =
                format!("{} as {container}: packet {n} at {}, due at {due}", self.id, packet.pts);
            // A tick of 90 kHz for each frame of a segment, all rounded the same way.
            assert!((packet.pts - due).abs() < 0.01, "{what}");
        }
    }

    /// Seconds of these frames that are meant to be heard.
    fn presented(&self, frames: Range<usize>) -> f64 {
        let heard = |frame: usize| (frame * FRAME).saturating_sub(self.priming);
        (heard(frames.end) - heard(frames.start)) as f64 / self.rate as f64
    }

    fn seconds(&self, frames: usize) -> f64 {
        (frames * FRAME) as f64 / self.rate as f64
    }
}

/// Everything that holds for every source.
#[track_caller]
fn check(broker: &Broker, upstream: &Upstream, id: &str, source: &[u8], noise: bool) -> Served {
    upstream.audio(id, source);
    let seed = id.bytes().map(u64::from).sum();
    let served = Served::fetch(broker, id, seed);
    served.check_playlists();
    served.check_index(broker);
    served.check_clocks();
    served.check_sound(broker, source, noise);
    served
}

/// The only variant of the multivariant playlist for this container.
#[track_caller]
fn variant(player: &Player, container: &str) -> VariantStream {
    let reply = player.get(&format!("index.m3u8?container={container}")).expect(200);
    let index = m3u8_rs::parse_master_playlist_res(&reply.body);
    let mut variants = index.expect("a multivariant playlist").variants;
    assert_eq!(variants.len(), 1);
    variants.remove(0)
}

/// The bytes of each frame's payload in a run of ADTS.
#[track_caller]
fn adts_frames(mut adts: &[u8]) -> Vec<usize> {
    let mut sizes = Vec::new();
    while !adts.is_empty() {
        assert_eq!((adts[0], adts[1] & 0xf6), (0xff, 0xf0), "no frame where one should begin");
        let size =
            usize::from(adts[3] & 3) << 11 | usize::from(adts[4]) << 3 | usize::from(adts[5] >> 5);
        sizes.push(size - 7);
        adts = &adts[size..];
    }
    sizes
}

/// RFC 8216, 4.3.3.1: no EXTINF, rounded, is above the target duration; before version 6 none is at all.
#[track_caller]
fn check_target_duration(playlist: &Playlist) {
    let target = playlist.parsed.target_duration as f64;
    let rounded = playlist.parsed.version.is_some_and(|version| version >= 6);
    for segment in &playlist.segments {
        let seconds = if rounded { segment.seconds.round() } else { segment.seconds };
        assert!(seconds <= target, "{segment:?}: {}", playlist.text);
    }
}

/// ISO/IEC 13818-1, 2.4.3.3: each packet with a payload counts one more than the last one of its PID.
#[track_caller]
fn check_continuity(ts: &[u8]) {
    let mut counters = [None; 0x2000];
    assert_eq!(ts.len() % 188, 0);
    for (n, packet) in ts.chunks(188).enumerate() {
        assert_eq!(packet[0], 0x47, "packet {n} has no sync byte");
        let pid = usize::from(packet[1] & 0x1f) << 8 | usize::from(packet[2]);
        let (has_payload, counter) = (packet[3] & 0x10 != 0, packet[3] & 0xf);
        if let Some(last) = counters[pid].filter(|_| has_payload) {
            assert_eq!(counter, (last + 1) & 0xf, "packet {n} of PID {pid:#x}");
        }
        counters[pid] = Some(counter);
    }
}

#[test]
fn every_format_at_every_length() {
    let upstream = Upstream::start();
    let broker = broker(&upstream);
    let mut all = Vec::new();
    for format in Format::AUDIO {
        for seconds in [0.05, 1.3, 9.7] {
            let source = Clip::noise(format, seconds).bytes();
            let id = format!("{format:?} {seconds}");
            let served = check(&broker, &upstream, &id, &source, seconds > 1.0);
            assert!(served.priming == FRAME || AAC.contains(&format), "{id}");
            all.push(served);
        }
    }
    broker.kill9();
    broker.restart();
    for served in &all {
        served.fetch_again(&broker);
    }
    assert_eq!(broker.terminate().code(), Some(0));
    broker.restart();
    for served in &all {
        served.fetch_again(&broker);
    }
}

#[test]
fn aac_is_encoded_where_copying_is_off() {
    let upstream = Upstream::start();
    let broker = encoder(&upstream);
    for format in AAC {
        for seconds in [0.05, 1.3, 9.7] {
            let source = Clip::noise(format, seconds).bytes();
            let id = format!("{format:?} {seconds}");
            let served = check(&broker, &upstream, &id, &source, seconds > 1.0);
            assert_eq!(served.priming, FRAME, "{id}");
        }
    }
}

#[test]
fn every_rate_and_number_of_channels() {
    const RATES: [u32; 13] = [
        8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000,
        176_400, 192_000,
    ];
    let upstream = Upstream::start();
    let broker = broker(&upstream);
    let lengths = [0.3, 2.1, 3.7, 7.4, 12.6];
    let cases = RATES.into_iter().flat_map(|rate| [1, 2, 6, 8].map(|channels| (rate, channels)));
    for ((rate, channels), seconds) in cases.zip(lengths.into_iter().cycle()) {
        let format = if channels % 4 == 2 { Format::Wav } else { Format::Flac };
        let source = Clip::noise(format, seconds).rate(rate).channels(channels).bytes();
        let id = format!("{format:?} {rate} Hz, {channels} channels, {seconds} s");
        let served = check(&broker, &upstream, &id, &source, seconds > 1.0);
        let expected = match rate {
            88_200 | 176_400 => 44_100,
            96_000 | 192_000 => 48_000,
            rate => rate as usize,
        };
        assert_eq!(served.rate, expected, "{id}");
    }
}

#[test]
fn some_minutes() {
    let upstream = Upstream::start();
    let broker = broker(&upstream);
    for format in [Format::Mp3Vbr, Format::OggVorbis, Format::WebmUnsized] {
        let source = Clip::noise(format, 130.0).mono().bytes();
        check(&broker, &upstream, &format!("{format:?}"), &source, true);
    }
}

/// Packed audio that begins in silence is so small that libavformat would read on into the second segment to know it, and take
/// that one's time for the first one's.
#[test]
fn silence_at_the_beginning_moves_nothing() {
    let upstream = Upstream::start();
    let broker = broker(&upstream);
    for (rate, channels) in [(8_000, 1), (44_100, 2)] {
        let noise = format!("-f lavfi -i anoisesrc=color=pink:seed=5:r={rate}:d=10");
        let silent = format!("-af adelay=8s:all=1 -ac {channels} -f wav");
        let source = media::made(&format!("{noise} {silent}"));
        let served = check(&broker, &upstream, &format!("{rate} Hz"), &source, true);
        let opening = served.tracks[1].segments[0].len() - ID3;
        assert!((2_048..4_096).contains(&opening), "{opening} bytes");
    }
}

/// Media of the world, where they have been put beside this repository.
#[test]
fn shared_media() {
    let upstream = Upstream::start();
    let broker = broker(&upstream);
    for path in media::shared() {
        let source = fs::read(&path).expect("a file");
        let id = path.file_name().expect("a name").to_string_lossy();
        if !decode::has_picture(&source) {
            check(&broker, &upstream, &id, &source, false);
        }
    }
}

/// Six hours are as quick to ask for as six seconds, and a crash in the middle of them loses no byte that was served.
#[test]
fn six_hours() {
    const MINUTE: usize = 60 * 8_000;
    let minute = Clip::noise(Format::WavU8, 60.0).rate(8_000).mono().bytes();
    let header = minute.len() - MINUTE;
    let mut source = minute[..header].to_vec();
    (0..360).for_each(|_| source.extend_from_slice(&minute[header..]));
    let data = (source.len() - header) as u32;
    source[header - 4..header].copy_from_slice(&data.to_le_bytes());
    source[4..8].copy_from_slice(&(data + header as u32 - 8).to_le_bytes());

    let upstream = Upstream::start();
    upstream.audio("6h", source);
    let setup = Broker::setup(&upstream).with("cache.expiry", "1h");
    let broker = setup.with("cache.size", "1GB").with("cache.killsize.tempdir", "1GB").start();
    let grant = broker.token("6h");
    let player = Player::new(&broker, &grant);
    let playlist = player.playlist("a0.m3u8");
    let expected = ((6 * 60 * MINUTE).div_ceil(FRAME) * FRAME) as f64 / 8_000.0;
    assert!(
        (playlist.seconds() - expected).abs() < 0.01,
        "{} s, not {expected}",
        playlist.seconds()
    );
    check_target_duration(&playlist);

    let last = playlist.segments.len() - 1;
    let places = [last, 17, 2_000, 1_999, 3_333, 0, 2_001];
    let get = |n: usize| player.get(&playlist.segments[n].uri).expect(200).body;
    let before = places.map(get);
    let decoded = |n: usize, bytes: &[u8]| {
        let init = player.get("a0-init.mp4").expect(200).body;
        let pcm = decode::pcm([&init, bytes].concat());
        assert!(pcm.warnings.is_empty(), "{:?}", pcm.warnings);
        // What comes before the first sample is heard where a segment is decoded alone.
        let priming = if n == 0 { FRAME as f64 / 8_000.0 } else { 0.0 };
        let promised = playlist.segments[n].seconds + priming;
        assert!(
            (pcm.seconds() - promised).abs() < 1e-4,
            "segment {n} has {} s, not {promised}",
            pcm.seconds()
        );
    };
    places.iter().zip(&before).for_each(|(&n, bytes)| decoded(n, bytes));

    broker.kill9();
    let whole = broker.files("static").iter().any(|file| file.ends_with("a0-manifest.json"));
    assert!(!whole, "too fast to be caught in the middle");
    broker.restart();
    assert!(places.map(get) == before, "a segment was served anew after a crash");
    assert_eq!(broker.terminate().code(), Some(0));
    broker.restart();
    assert!(places.map(get) == before, "a segment was served anew after a restart");
}

/// AVERAGE-BANDWIDTH is close to what common sounds take, and BANDWIDTH above what the worst one does.
#[test]
fn bandwidths_are_honest() {
    for bitrate in ["32k", "128k", "320k"] {
        let upstream = Upstream::start();
        let broker = Broker::setup(&upstream)
            .with("cache.expiry", "1h")
            .with("packager.bitrate", bitrate)
            .start();
        for (rate, channels) in [(8_000, 1), (44_100, 1), (44_100, 2)] {
            let sentence = "The birch canoe slid on the smooth planks.";
            let clips = [
                ("noise", Clip::noise(Format::Wav, 12.0)),
                ("music", Clip::music(Format::Wav, 12.0)),
                ("speech", Clip::speech(Format::Wav, 12.0, sentence)),
                ("bursts", Clip::bursts(Format::Wav, 12.0)),
                ("silence", Clip::silence(Format::Wav, 12.0)),
            ];
            for (sound, clip) in clips {
                let id = format!("{sound}, {rate} Hz, {channels} channels, {bitrate}");
                upstream.audio(&id, clip.rate(rate).channels(channels).bytes());
                let served = Served::fetch(&broker, &id, 1);
                served.check_index(&broker);
                check_average(&broker, &served, sound);
            }
        }
    }
}

#[track_caller]
fn check_average(broker: &Broker, served: &Served, sound: &str) {
    let player = Player::new(broker, &served.grant);
    let seconds = served.tracks[0].playlist.seconds();
    for (track, container) in served.tracks.iter().zip(CONTAINERS) {
        let variant = variant(&player, container);
        let declared = variant.average_bandwidth.expect("AVERAGE-BANDWIDTH") as f64;
        let measured = track.segments.iter().map(Vec::len).sum::<usize>() as f64 * 8.0 / seconds;
        println!(
            "{:40} {container:5} declared {declared:7.0}, measured {measured:7.0} ({:.2}), BANDWIDTH {} ({:.2})",
            served.id,
            measured / declared,
            variant.bandwidth,
            variant.bandwidth as f64 / declared
        );
        assert!(declared <= variant.bandwidth as f64);
        let most = if matches!(sound, "noise" | "music" | "silence") { 1.2 } else { f64::INFINITY };
        assert!(
            measured <= declared * most,
            "{}: {measured:.0} a second, AVERAGE-BANDWIDTH is {declared}",
            served.id
        );
    }
}
