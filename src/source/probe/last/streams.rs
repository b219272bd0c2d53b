//! What ffprobe says of the streams of a file.

use std::collections::HashMap;

use serde::Deserialize;

use super::{
    super::{
        Clock, Codec, Container, Media, Splice,
        colour::Colour,
        language,
        media::scale,
        media::{Audio, FrameRate, Label, Picture, Text, Video},
        picture::{Coded, Geometry},
        pictures::Told,
    },
    jumps,
    packets::{Known, Packets},
};

/// What it is asked for.
pub(super) const ENTRIES: &str = "stream=id,codec_type,codec_name,profile,level,width,height,\
    sample_aspect_ratio,field_order,color_range,color_space,color_transfer,color_primaries,avg_frame_rate,time_base,start_time,sample_rate,channels\
    :stream_disposition=default,forced,attached_pic,timed_thumbnails:stream_tags=language,title,handler_name\
    :stream_side_data=rotation";

/// All streams of a file.
#[derive(Debug, Deserialize)]
pub(super) struct Streams {
    #[serde(default)]
    streams: Vec<Stream>,
}

/// One stream, in ffprobe's words.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stream {
    id: String,
    codec_type: String,
    codec_name: String,
    profile: String,
    level: i64,
    width: u32,
    height: u32,
    sample_aspect_ratio: String,
    field_order: String,
    color_range: String,
    color_space: String,
    color_transfer: String,
    color_primaries: String,
    avg_frame_rate: String,
    time_base: String,
    start_time: String,
    extradata: String,
    sample_rate: String,
    channels: u16,
    disposition: HashMap<String, u8>,
    tags: HashMap<String, String>,
    side_data_list: Vec<SideData>,
}

#[derive(Debug, Deserialize)]
struct SideData {
    rotation: Option<f64>,
}

impl Streams {
    /// ffprobe's answer; None if it has none.
    pub(super) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    fn of(&self, kind: &'static str) -> impl Iterator<Item = (u32, &Stream)> {
        (0..).zip(self.streams.iter().filter(move |stream| stream.codec_type == kind))
    }

    fn video(&self) -> Option<(u32, &Stream)> {
        self.of("video").find(|(_, stream)| {
            let is = |what| stream.disposition.get(what).is_some_and(|&is| is != 0);
            !is("attached_pic") && !is("timed_thumbnails") && stream.is_known()
        })
    }

    fn audio(&self) -> impl Iterator<Item = (u32, &Stream, u32)> {
        let rate = |stream: &Stream| stream.sample_rate.parse().ok().filter(|&rate| rate > 0);
        let told = self.of("audio").filter(|(_, stream)| stream.is_known() && stream.channels > 0);
        told.filter_map(move |(index, stream)| Some((index, stream, rate(stream)?)))
    }

    pub(super) fn has_audio(&self) -> bool {
        self.audio().next().is_some()
    }

    /// The number of the video stream, and the ticks of which its times count multiples.
    pub(super) fn pictures(&self) -> Option<(u32, u32)> {
        let step = |stream: &Stream| fraction(&stream.time_base, '/').map_or(1, |(step, _)| step);
        self.video().map(|(index, stream)| (index, step(stream)))
    }

    /// Whether its only video may be such as can be copied, as far as ffprobe tells.
    pub(super) fn may_be_copied(&self) -> bool {
        let alone = self.of("video").count() == 1;
        self.video().is_some_and(|(_, stream)| alone && stream.may_be_copied())
    }

    /// The decoder configuration of the first stream.
    pub(super) fn configuration(&self) -> Vec<u8> {
        self.streams.first().map_or_else(Vec::new, |stream| dumped(&stream.extradata))
    }

    /// The numbers of the audio streams.
    pub(super) fn sounds(&self) -> impl Iterator<Item = u32> {
        self.audio().map(|(index, ..)| index)
    }

    /// The packets of the video stream and of all audio streams, in a transport stream.
    pub(super) fn packets(&self) -> Vec<jumps::Stream> {
        let pid = |stream: &Stream| u16::from_str_radix(stream.id.strip_prefix("0x")?, 16).ok();
        let video = self.video().into_iter().map(|(_, stream)| (stream, true));
        let all = video.chain(self.audio().map(|(_, stream, _)| (stream, false)));
        all.filter_map(|(stream, video)| Some(jumps::Stream { pid: pid(stream)?, video })).collect()
    }

    /// What the file holds, with the samples of each of [`Streams::sounds`] and the packets of the video stream; else what
    /// it is instead.
    pub(super) fn media(
        &self,
        container: Container,
        samples: &[u64],
        packets: Option<Packets>,
        clock: Clock,
    ) -> Result<Media, String> {
        let (mut audio, mut starts) = (Vec::new(), Vec::new());
        let mut mute = None;
        for ((index, stream, rate), &samples) in self.audio().zip(samples) {
            let codec = codec(&stream.codec_name, &stream.profile);
            if samples == 0 {
                mute = mute.or(Some(codec));
                continue;
            }
            let splice = if clock.is_even() { splice(container, &codec) } else { Splice::Fill };
            let label = stream.label();
            starts.push(stream.start());
            audio.push(Audio {
                index,
                label,
                ..Audio::new(codec, rate, stream.channels, samples, splice)
            });
        }
        let moving = self
            .video()
            .zip(packets)
            .and_then(|((index, stream), packets)| stream.moving(index, packets));
        let (video, start) = moving.unzip();
        if audio.is_empty() && video.is_none() {
            return Err(match mute {
                Some(codec) => format!("{} of which nothing decodes", codec.name()),
                None => "a file without audio or video that ffmpeg can decode".to_owned(),
            });
        }
        let text = self.of("subtitle").filter_map(|(index, stream)| stream.text(index)).collect();
        let mut media = Media {
            container,
            pipe: pipes(container),
            audio,
            video,
            text,
            start: 0,
            lag: 0,
            clock,
        };
        // Of these, ffmpeg counts from what it decodes.
        let counts = !matches!(container, Container::MpegTs | Container::MpegPs);
        let texts =
            self.of("subtitle").filter(|(_, stream)| counts && !stream.start_time.is_empty());
        media.align(&starts, start, texts.map(|(_, stream)| stream.start()).min());
        Ok(media)
    }
}

impl Stream {
    /// The video stream as number `index`, and the nanosecond at which it starts; None if it has no frames.
    fn moving(&self, index: u32, packets: Packets) -> Option<(Video, i64)> {
        let rate = fraction(&self.avg_frame_rate, '/');
        let nominal = rate.and_then(|(count, seconds)| {
            FrameRate::of_duration(scale(1_000_000_000, u64::from(seconds), u64::from(count)))
        });
        let (_, ticks) = fraction(&self.time_base, '/')?;
        let coded = match (&packets.known, self.codec_name.as_str()) {
            (Known::Walk(walk), _) if packets.agree(walk) => Coded::set(&walk.sequence),
            (Known::Configuration(config), "h264") => Coded::avc(config),
            (Known::Configuration(config), "hevc") => Coded::hevc(config),
            (Known::Configuration(config), "av1") => Coded::av1(config),
            _ => None,
        };
        let Packets { pictures, timeless, bytes, count, .. } = packets;
        let told = (timeless == 0).then(|| pictures.told(ticks, nominal)).flatten();
        // Times that jump are no times: transport streams are joined end to end.
        let steady = told.filter(|told| nominal.is_none_or(|rate| rate.is_like(told.rate)));
        let (told, start) = match steady {
            Some(told) => {
                let first = i128::from(told.first) * 1_000_000_000 / i128::from(ticks);
                (told, i64::try_from(first).unwrap_or(0))
            }
            None => (guess(nominal?, count, bytes)?, self.start()),
        };
        let turn = self.side_data_list.iter().find_map(|data| data.rotation).unwrap_or(0.0);
        let turned = turn.abs() > 0.5;
        let quarter = (turn.rem_euclid(180.0) - 90.0).abs() < 0.5;
        let aspect = fraction(&self.sample_aspect_ratio, ':');
        let size = (self.width, self.height);
        let geometry = Geometry { size, aspect, turned, quarter };
        let named = self.coded();
        let fields = named.fields;
        let coded = coded.unwrap_or(named);
        let coded = Coded { fields: coded.fields || fields, ..coded };
        Some((Video::new(index, coded, geometry, told), start))
    }

    fn may_be_copied(&self) -> bool {
        let square = fraction(&self.sample_aspect_ratio, ':').is_none_or(|(x, y)| x == y);
        let turned = self.side_data_list.iter().any(|data| data.rotation.is_some());
        let progressive = !self.coded().fields && self.time_base == "1/90000";
        self.codec_name == "h264" && square && !turned && progressive
    }

    fn is_known(&self) -> bool {
        !matches!(self.codec_name.as_str(), "" | "unknown" | "none")
    }

    /// The nanosecond at which it starts.
    fn start(&self) -> i64 {
        (self.start_time.parse::<f64>().unwrap_or(0.0) * 1e9) as i64
    }

    fn label(&self) -> Label {
        let is = |what| self.disposition.get(what).is_some_and(|&is| is != 0);
        let name = self.tags.get("title").map(|title| title.trim().chars().take(200).collect());
        Label {
            language: self.tags.get("language").and_then(|tag| language::tag(tag)),
            name: name.filter(|name: &String| !name.is_empty()),
            default: is("default"),
        }
    }

    fn text(&self, index: u32) -> Option<Text> {
        let codec = self.codec_name.as_str();
        let forced = self.disposition.get("forced").is_some_and(|&is| is != 0);
        matches!(codec, "mov_text" | "subrip" | "ass" | "webvtt" | "text").then(|| Text {
            index,
            codec: codec.to_owned(),
            forced,
            label: self.label(),
        })
    }

    /// The codec, its name for RFC 6381 made of profile and level.
    fn coded(&self) -> Coded {
        let level = u8::try_from(self.level).ok();
        let codec = match (self.codec_name.as_str(), level) {
            ("h264", Some(level)) => {
                let (profile, compatible) = match self.profile.as_str() {
                    "Constrained Baseline" => (0x42, 0xc0),
                    "Baseline" => (0x42, 0),
                    "Extended" => (0x58, 0),
                    "Main" => (0x4d, 0),
                    "High 10" | "High 10 Intra" => (0x6e, 0),
                    "High 4:2:2" | "High 4:2:2 Intra" => (0x7a, 0),
                    "High 4:4:4 Predictive" => (0xf4, 0),
                    _ => (0x64, 0),
                };
                Picture::H264 { codecs: format!("avc1.{profile:02x}{compatible:02x}{level:02x}") }
            }
            ("hevc", Some(level)) => {
                let profile = match self.profile.as_str() {
                    "Main 10" => "2.4",
                    "Rext" => "4.10",
                    _ => "1.6",
                };
                Picture::Hevc { codecs: format!("hvc1.{profile}.L{level}.B0") }
            }
            ("av1", Some(level)) => Picture::Av1 { codecs: format!("av01.0.{level:02}M.08") },
            ("vp8", _) => Picture::Vp8,
            ("vp9", _) => Picture::Vp9,
            (name, _) => Picture::Other(name.to_owned()),
        };
        let fields = matches!(self.field_order.as_str(), "tt" | "bb" | "tb" | "bt");
        let (primaries, transfer) = (&self.color_primaries, &self.color_transfer);
        let colour = Colour::named(primaries, transfer, &self.color_space, &self.color_range);
        Coded { fields, colour, ..Coded::plain(codec) }
    }
}

/// What frames come to whose times do not say.
fn guess(rate: FrameRate, count: u64, bytes: u64) -> Option<Told> {
    let thousandths = u64::from(rate.denominator) * 1_000;
    let length = scale(count, thousandths, u64::from(rate.numerator));
    let bitrate = scale(bytes.saturating_mul(8), 1_000, length);
    let told = Told { rate, constant: false, first: 0, length, bitrate, cuts: None };
    (length > 0).then_some(told)
}

/// The bytes of ffprobe's dump, of which each line is an offset, 16 bytes in pairs, and the same as text.
fn dumped(dump: &str) -> Vec<u8> {
    let bytes = |line: &str| {
        line.split_once(": ").map_or(Vec::new(), |(_, rest)| {
            let digits = rest.chars().take(40).filter_map(|digit| digit.to_digit(16));
            let digits: Vec<_> = digits.collect();
            digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
        })
    };
    dump.lines().flat_map(bytes).collect()
}

/// Two numbers that are no 0, with a sign between them.
fn fraction(text: &str, sign: char) -> Option<(u32, u32)> {
    let (numerator, denominator) = text.split_once(sign)?;
    let (numerator, denominator) = (numerator.parse().ok()?, denominator.parse().ok()?);
    (numerator > 0 && denominator > 0).then_some((numerator, denominator))
}

/// Whether a container can be read from a pipe while it arrives, as far as is known without its header.
const fn pipes(container: Container) -> bool {
    use Container::{Aiff, Asf, Avi, Caf, Mp4};
    !matches!(container, Mp4 | Caf | Aiff | Avi | Asf)
}

/// How a head reaches the middle of a track, as far as was measured.
fn splice(container: Container, codec: &Codec) -> Splice {
    match (container, codec) {
        (Container::Caf, Codec::Pcm | Codec::Float | Codec::ALaw | Codec::MuLaw | Codec::Alac)
        | (Container::Adts, Codec::Aac { object: 2 })
        | (Container::Mp3, Codec::Mp3) => Splice::Seek,
        _ => Splice::Decode,
    }
}

/// The codec by ffmpeg's name and profile.
fn codec(name: &str, profile: &str) -> Codec {
    match name {
        "pcm_alaw" => Codec::ALaw,
        "pcm_mulaw" => Codec::MuLaw,
        "adpcm_ms" => Codec::AdpcmMs,
        "adpcm_ima_wav" | "adpcm_ima_qt" => Codec::AdpcmIma,
        "mp1" => Codec::Mp1,
        "mp2" => Codec::Mp2,
        "mp3" => Codec::Mp3,
        "aac" => Codec::Aac {
            object: match profile {
                "LC" => 2,
                "HE-AAC" => 5,
                "HE-AACv2" => 29,
                _ => 0,
            },
        },
        "alac" => Codec::Alac,
        "flac" => Codec::Flac,
        "vorbis" => Codec::Vorbis,
        "opus" => Codec::Opus,
        "ac3" => Codec::Ac3,
        "eac3" => Codec::Eac3,
        _ if name.starts_with("pcm_f") => Codec::Float,
        _ if name.starts_with("pcm_") => Codec::Pcm,
        _ => Codec::Other(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A film of two streams, whose video packets are these.
    fn film(lines: &[&str], known: Known) -> Result<Media, String> {
        let json = r#"{"programs": [{"streams": []}], "streams": [
            {"codec_type": "video", "codec_name": "png", "disposition": {"attached_pic": 1}},
            {"codec_type": "video", "codec_name": "h264", "profile": "High", "level": 31, "width": 720, "height": 576,
             "sample_aspect_ratio": "16:15", "field_order": "tt", "avg_frame_rate": "25/1", "time_base": "1/90000",
             "start_time": "1.400000", "side_data_list": [{"side_data_type": "x"}, {"rotation": -90}]},
            {"codec_type": "data", "codec_name": "unknown"},
            {"codec_type": "audio", "codec_name": "aac", "profile": "LC", "sample_rate": "48000", "channels": 2,
             "start_time": "1.500000", "tags": {"language": "ger", "title": " Ton "}}]}"#;
        let streams = Streams::read(json).unwrap();
        assert_eq!(streams.pictures(), Some((1, 1)));
        let mut packets = Packets::new(1, known);
        for line in lines {
            packets.push(line);
        }
        streams.media(Container::MpegTs, &[96_000], Some(packets), Clock::default())
    }

    #[test]
    fn what_ffprobe_says_is_understood() {
        let media = film(
            &["126000,900,K_", "133200,50,__", "129600,50,__", "136800,1000,K_"],
            Known::Nothing,
        )
        .unwrap();
        let audio = &media.audio[0];
        assert_eq!((audio.delay, audio.samples, audio.splice), (4_800, 96_000, Splice::Decode));
        let label = (audio.label.language.as_deref(), audio.label.name.as_deref());
        assert_eq!(label, (Some("de"), Some("Ton")));
        let video = media.video.unwrap();
        assert_eq!((video.width, video.height, video.plain), (576, 768, false));
        assert_eq!(video.codec, Picture::H264 { codecs: "avc1.64001f".to_owned() });
        assert!(video.interlaced && video.constant && video.index == 1, "{video:?}");
        assert_eq!((video.length, video.delay, video.bitrate), (160, 0, 100_000));
        assert_eq!(video.cuts, None, "nobody has looked at its pictures");
    }

    #[test]
    fn dumps_of_bytes_are_read() {
        let dump = "\n00000000: 0164 001f ff63 6361 6620 6665 6420 6261  .d...ccaf fed ba\n00000010: 6401                                     d.\n";
        assert_eq!(dumped(dump), b"\x01\x64\0\x1f\xffccaf fed bad\x01");
        assert!(dumped("\n").is_empty());
    }

    #[test]
    fn times_that_jump_or_are_missing_are_not_believed() {
        let jump = ["126000,900,K_", "129600,50,__", "8589934592,50,K_", "8589938192,1000,__"];
        let missing = ["N/A,900,K_", "129600,50,__", "133200,50,__", "136800,1000,K_"];
        for lines in [jump, missing] {
            let video = film(&lines, Known::Nothing).unwrap().video.unwrap();
            assert_eq!((video.length, video.constant, video.cuts), (160, false, None));
        }
        assert_eq!(film(&[], Known::Nothing).map(|media| media.video), Ok(None));
    }

    #[test]
    fn what_is_no_answer_is_none() {
        assert!(Streams::read("").is_none());
        let empty = Streams::read("{}").unwrap().media(Container::Avi, &[], None, Clock::default());
        assert!(empty.unwrap_err().starts_with("a file without audio or video"));
    }
}
