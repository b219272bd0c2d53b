//! The files of a package, by name: the one grammar between a URL's last path segment and what it asks for.

use std::{fmt, str::FromStr};

use crate::{
    config::Container,
    error::{Code, Error},
};

/// What a track carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `a`
    Audio,
    /// `v`
    Video,
    /// `s`
    Subtitles,
}

/// A rendition: its kind and its number among those of that kind, from 0. Written `a0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Track {
    /// What it carries.
    pub kind: Kind,
    /// Its number.
    pub index: u8,
}

/// The format of a media segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// A CMAF segment, which needs the track's initialization segment.
    M4s,
    /// Packed audio.
    Aac,
    /// MPEG transport stream.
    Ts,
    /// `WebVTT`.
    Vtt,
}

/// A file of a package. Only what a package can have has a name: see [`File::from_str`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum File {
    /// The multivariant playlist.
    Index,
    /// A track's media playlist.
    Playlist(Track),
    /// A track's initialization segment.
    Init(Track),
    /// A track's media segment, counted from 0.
    Segment(Track, u32, Format),
    /// The waveform of the audio.
    Peaks,
    /// The thumbnails of the video: when and where each is shown.
    Storyboard,
    /// A picture of some of these thumbnails, counted from 0.
    Sprite(u32),
    /// All cues of an embedded track of text, by its place in the plan. It is kept beside the segments; nobody asks for it, so
    /// that [`File::from_str`] does not know it.
    Text(u8),
}

/// Begins the name of [`File::Text`].
pub(super) const TEXT: &str = "text-";

impl Kind {
    const fn letter(self) -> char {
        match self {
            Self::Audio => 'a',
            Self::Video => 'v',
            Self::Subtitles => 's',
        }
    }
}

impl From<Container> for Format {
    fn from(container: Container) -> Self {
        match container {
            Container::Cmaf => Self::M4s,
            Container::Aac => Self::Aac,
            Container::Ts => Self::Ts,
        }
    }
}

impl Format {
    /// The extension, without the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::M4s => "m4s",
            Self::Aac => "aac",
            Self::Ts => "ts",
            Self::Vtt => "vtt",
        }
    }

    /// Whether tracks of this kind come in this format.
    const fn suits(self, kind: Kind) -> bool {
        match kind {
            Kind::Audio => matches!(self, Self::M4s | Self::Aac | Self::Ts),
            Kind::Video => matches!(self, Self::M4s),
            Kind::Subtitles => matches!(self, Self::Vtt),
        }
    }
}

impl File {
    /// The value of `Content-Type`.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Index | Self::Playlist(_) => "application/vnd.apple.mpegurl",
            Self::Init(track) | Self::Segment(track, _, Format::M4s) => match track.kind {
                Kind::Video => "video/mp4",
                _ => "audio/mp4",
            },
            Self::Segment(_, _, Format::Aac) => "audio/aac",
            Self::Segment(_, _, Format::Ts) => "video/mp2t",
            Self::Segment(_, _, Format::Vtt) | Self::Storyboard | Self::Text(_) => "text/vtt",
            Self::Peaks => "application/json",
            Self::Sprite(_) => "image/jpeg",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let (stem, extension) = name.split_once('.')?;
        let (track, part) = match stem.split_once('-') {
            Some((track, part)) => (track, Some(part)),
            None => (stem, None),
        };
        match (part, extension) {
            (None, "m3u8") if track == "index" => Some(Self::Index),
            (None, "json") if track == "peaks" => Some(Self::Peaks),
            (None, "vtt") if track == "storyboard" => Some(Self::Storyboard),
            (Some(n), "jpg") if track == "storyboard" => Some(Self::Sprite(number(n)?)),
            (None, "m3u8") => Some(Self::Playlist(Track::parse(track)?)),
            (Some("init"), "mp4") => {
                let track = Track::parse(track)?;
                Format::M4s.suits(track.kind).then_some(Self::Init(track))
            }
            (Some(n), _) => {
                let (track, n) = (Track::parse(track)?, number(n)?);
                let format = [Format::M4s, Format::Aac, Format::Ts, Format::Vtt]
                    .into_iter()
                    .find(|format| format.extension() == extension && format.suits(track.kind))?;
                Some(Self::Segment(track, n, format))
            }
            _ => None,
        }
    }
}

impl Track {
    fn parse(name: &str) -> Option<Self> {
        let kind = [Kind::Audio, Kind::Video, Kind::Subtitles]
            .into_iter()
            .find(|kind| name.starts_with(kind.letter()))?;
        let index = number(name.get(1..)?)?.try_into().ok()?;
        Some(Self { kind, index })
    }
}

/// A number as `Display` writes it: digits only, no zero in front.
fn number(digits: &str) -> Option<u32> {
    let canonical = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    if canonical { digits.parse().ok() } else { None }
}

impl fmt::Display for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind.letter(), self.index)
    }
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index => f.write_str("index.m3u8"),
            Self::Playlist(track) => write!(f, "{track}.m3u8"),
            Self::Init(track) => write!(f, "{track}-init.mp4"),
            Self::Segment(track, n, format) => write!(f, "{track}-{n}.{}", format.extension()),
            Self::Peaks => f.write_str("peaks.json"),
            Self::Storyboard => f.write_str("storyboard.vtt"),
            Self::Sprite(n) => write!(f, "storyboard-{n}.jpg"),
            Self::Text(n) => write!(f, "{TEXT}{n}.vtt"),
        }
    }
}

impl FromStr for File {
    type Err = Error;

    /// Reads the raw path segment of a URL, without percent-decoding: `index.m3u8`, `<track>.m3u8`, `<track>-init.mp4`
    /// of audio and video, `<track>-<n>.<extension>` in a format that suits the track, `peaks.json`, `storyboard.vtt`,
    /// `storyboard-<n>.jpg`. Every file has one spelling.
    fn from_str(name: &str) -> Result<Self, Error> {
        Self::parse(name).ok_or_else(|| Error::new(Code::NotFound, "there is no such file"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn track(name: &str) -> Track {
        Track::parse(name).unwrap()
    }

    #[test]
    fn names() {
        let cases = [
            ("index.m3u8", File::Index, "application/vnd.apple.mpegurl"),
            ("a0.m3u8", File::Playlist(track("a0")), "application/vnd.apple.mpegurl"),
            ("s255.m3u8", File::Playlist(track("s255")), "application/vnd.apple.mpegurl"),
            ("a0-init.mp4", File::Init(track("a0")), "audio/mp4"),
            ("v3-init.mp4", File::Init(track("v3")), "video/mp4"),
            ("a0-0.m4s", File::Segment(track("a0"), 0, Format::M4s), "audio/mp4"),
            ("v1-10.m4s", File::Segment(track("v1"), 10, Format::M4s), "video/mp4"),
            ("a0-7.aac", File::Segment(track("a0"), 7, Format::Aac), "audio/aac"),
            ("a0-4294967295.ts", File::Segment(track("a0"), u32::MAX, Format::Ts), "video/mp2t"),
            ("s0-1.vtt", File::Segment(track("s0"), 1, Format::Vtt), "text/vtt"),
            ("peaks.json", File::Peaks, "application/json"),
            ("storyboard.vtt", File::Storyboard, "text/vtt"),
            ("storyboard-0.jpg", File::Sprite(0), "image/jpeg"),
            ("storyboard-4294967295.jpg", File::Sprite(u32::MAX), "image/jpeg"),
        ];
        for (name, file, media_type) in cases {
            assert_eq!(name.parse::<File>().unwrap(), file, "{name}");
            assert_eq!(file.to_string(), name);
            assert_eq!(file.media_type(), media_type, "{name}");
        }
    }

    #[test]
    fn everything_else_is_not_found() {
        let wrong = [
            "",
            ".",
            "..",
            "index",
            "index.m3u8 ",
            "Index.m3u8",
            "index-0.m3u8",
            "a.m3u8",
            "a0",
            "a0.m3u",
            "a00.m3u8",
            "a01-0.m4s",
            "a256.m3u8",
            "a-1.m3u8",
            "a+0.m3u8",
            "b0.m3u8",
            "a0-.m4s",
            "a0-00.m4s",
            "a0-+1.m4s",
            "a0--1.m4s",
            "a0-1.m4s.",
            "a0-1.m4s.m4s",
            "a0-1.M4S",
            "a0-1.mp4",
            "a0-init.m4s",
            "a0-4294967296.ts",
            "a0-99999999999999999999.ts",
            "a0-1.vtt",
            "v0-1.ts",
            "v0-1.aac",
            "v0-1.vtt",
            "s0-1.m4s",
            "s0-1.ts",
            "s0-init.mp4",
            "s0-1.txt",
            "%610.m3u8",
            "a0%2em3u8",
            "a0-1.m4s?token=x",
            "a0/../a0.m3u8",
            "a0-\u{661}.m4s",
            "\u{e4}0.m3u8",
            "a\u{ff10}.m3u8",
            "a0.m3u8\0",
            "peaks",
            "peaks-0.json",
            "Peaks.json",
            "peaks.vtt",
            "a0.json",
            "storyboard.jpg",
            "storyboard-.jpg",
            "storyboard-01.jpg",
            "storyboard-0.vtt",
            "storyboard-4294967296.jpg",
            "a0-0.jpg",
        ];
        for name in wrong {
            let error = name.parse::<File>().expect_err(name);
            assert_eq!(error.code(), Code::NotFound);
        }
    }

    fn files() -> impl Strategy<Value = File> {
        let kind = prop_oneof![Just(Kind::Audio), Just(Kind::Video), Just(Kind::Subtitles)];
        let track = (kind, any::<u8>()).prop_map(|(kind, index)| Track { kind, index });
        let format =
            prop_oneof![Just(Format::M4s), Just(Format::Aac), Just(Format::Ts), Just(Format::Vtt)];
        prop_oneof![
            Just(File::Index),
            Just(File::Peaks),
            Just(File::Storyboard),
            any::<u32>().prop_map(File::Sprite),
            track.clone().prop_map(File::Playlist),
            track
                .clone()
                .prop_filter("no captions", |t| t.kind != Kind::Subtitles)
                .prop_map(File::Init),
            (track, any::<u32>(), format)
                .prop_filter("suits", |(track, _, format)| format.suits(track.kind))
                .prop_map(|(track, n, format)| File::Segment(track, n, format)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn what_is_written_is_read_again(file in files()) {
            prop_assert_eq!(file.to_string().parse::<File>().unwrap(), file);
        }

        #[test]
        fn any_string_is_canonical_or_nothing(name in ".*") {
            if let Ok(file) = name.parse::<File>() {
                prop_assert_eq!(file.to_string(), name);
            }
        }

        #[test]
        fn near_misses_are_canonical_or_nothing(
            name in "(index|peaks|storyboard|[avs]{0,2}[+0-9]{0,4})[-.]{0,2}(init|[-+0-9]{0,11})[.]{0,2}(m3u8|mp4|m4s|aac|ts|vtt|json|jpg)?",
        ) {
            if let Ok(file) = name.parse::<File>() {
                prop_assert_eq!(file.to_string(), name);
            }
        }
    }
}
