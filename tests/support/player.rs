//! A player: index, media playlists, every file they name, in order or out of it.

use m3u8_rs::{MasterPlaylist, MediaPlaylist};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};

use super::{
    Broker, Grant, Reply,
    decode::{self, Pcm},
};

/// How a player shows its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// `x-gostreamer-token`.
    Header,
    /// `Authorization: Bearer`.
    Bearer,
    /// `?token=` on the first URL; after that, whatever the playlists' URIs carry.
    Query,
}

/// One listener of one stream. It finds the broker again after a restart.
#[derive(Clone)]
pub struct Player<'a> {
    broker: &'a Broker,
    rid: String,
    token: String,
    show: Show,
}

/// A media playlist.
#[derive(Clone, Debug)]
pub struct Playlist {
    pub text: String,
    pub parsed: MediaPlaylist,
    /// The EXT-X-MAP's URI.
    pub init: Option<String>,
    pub segments: Vec<Segment>,
}

/// A segment as its playlist promises it.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    pub uri: String,
    /// EXTINF in seconds; `m3u8_rs` has it as `f32` only.
    pub seconds: f64,
}

/// A rendition with all its bytes.
#[derive(Clone, Debug)]
pub struct Track {
    pub playlist: Playlist,
    /// Empty without EXT-X-MAP.
    pub init: Vec<u8>,
    /// In playlist order, whatever the order of the requests.
    pub segments: Vec<Vec<u8>>,
}

impl<'a> Player<'a> {
    /// A player that shows its token in the header.
    pub fn new(broker: &'a Broker, grant: &Grant) -> Self {
        Self { broker, rid: grant.rid.clone(), token: grant.token.clone(), show: Show::Header }
    }

    /// A player that shows it elsewhere.
    pub fn show(mut self, show: Show) -> Self {
        self.show = show;
        self
    }

    /// A request for a file of the stream, or for a URI that one of its playlists gave.
    #[track_caller]
    pub fn get(&self, uri: &str) -> Reply {
        self.send("GET", uri, &[])
    }

    /// [`Player::get`] with any method and more headers: Range, If-None-Match.
    #[track_caller]
    pub fn send(&self, method: &str, uri: &str, headers: &[(&str, &str)]) -> Reply {
        let bearer = format!("Bearer {}", self.token);
        let mut headers = headers.to_vec();
        match self.show {
            Show::Header => headers.push(("x-gostreamer-token", &self.token)),
            Show::Bearer => headers.push(("authorization", &bearer)),
            Show::Query => {}
        }
        self.broker.send(method, &format!("/hls/{}/{uri}", self.rid), &headers, None)
    }

    /// The URI of the multivariant playlist, below the stream.
    pub fn index_uri(&self) -> String {
        match self.show {
            Show::Query => format!("index.m3u8?token={}", self.token),
            Show::Header | Show::Bearer => "index.m3u8".to_owned(),
        }
    }

    /// The multivariant playlist.
    #[track_caller]
    pub fn index(&self) -> MasterPlaylist {
        let reply = self.get(&self.index_uri()).expect(200);
        m3u8_rs::parse_master_playlist_res(&reply.body)
            .unwrap_or_else(|error| panic!("{error:?} in {reply:?}"))
    }

    /// The URI of the audio rendition: the one in an AUDIO group, else the first variant.
    #[track_caller]
    pub fn audio_uri(&self) -> String {
        let index = self.index();
        let groups = index.alternatives.iter();
        let mut audio =
            groups.filter(|media| media.media_type == m3u8_rs::AlternativeMediaType::Audio);
        let uri = audio.find_map(|media| media.uri.clone());
        uri.unwrap_or_else(|| index.variants.first().expect("a variant").uri.clone())
    }

    /// The URI of the captions, if there are any.
    #[track_caller]
    pub fn captions_uri(&self) -> Option<String> {
        let index = self.index();
        let mut groups = index.alternatives.into_iter();
        groups.find(|media| media.media_type == m3u8_rs::AlternativeMediaType::Subtitles)?.uri
    }

    /// A media playlist.
    #[track_caller]
    pub fn playlist(&self, uri: &str) -> Playlist {
        Playlist::parse(self.get(uri).expect(200).text())
    }

    /// Everything of one rendition, in order.
    #[track_caller]
    pub fn track(&self, uri: &str) -> Track {
        let playlist = self.playlist(uri);
        let order: Vec<usize> = (0..playlist.segments.len()).collect();
        self.fetch(playlist, &order)
    }

    /// Everything of one rendition, in the order that this seed gives.
    #[track_caller]
    pub fn track_shuffled(&self, uri: &str, seed: u64) -> Track {
        let playlist = self.playlist(uri);
        let mut order: Vec<usize> = (0..playlist.segments.len()).collect();
        order.shuffle(&mut StdRng::seed_from_u64(seed));
        self.fetch(playlist, &order)
    }

    /// Everything of one rendition, in order, after each of its segments was asked for: the last one first, the others in a
    /// random order.
    #[track_caller]
    pub fn track_scattered(&self, uri: &str) -> Track {
        let playlist = self.playlist(uri);
        let mut order: Vec<_> = playlist.segments.iter().map(|segment| &segment.uri).collect();
        let last = order.pop().expect("a segment");
        order.shuffle(&mut StdRng::seed_from_u64(4));
        self.get(last).expect(200);
        for uri in order {
            self.get(uri).expect(200);
        }
        self.track(uri)
    }

    /// All of the audio, in order.
    #[track_caller]
    pub fn audio(&self) -> Track {
        self.track(&self.audio_uri())
    }

    /// All of the audio, decoded from its segments as they are asked for in the order that this seed gives.
    #[track_caller]
    pub fn hear(&self, seed: u64) -> Pcm {
        let pcm = self.track_shuffled(&self.audio_uri(), seed).pcm();
        assert!(pcm.warnings.is_empty(), "{:#?}", pcm.warnings);
        pcm
    }

    /// All of the captions.
    #[track_caller]
    pub fn captions(&self) -> Track {
        self.track(&self.captions_uri().expect("captions in the index"))
    }

    #[track_caller]
    fn fetch(&self, playlist: Playlist, order: &[usize]) -> Track {
        let init = playlist.init.as_ref().map(|uri| self.get(uri).expect(200).body);
        let mut segments = vec![Vec::new(); playlist.segments.len()];
        for n in order {
            segments[*n] = self.get(&playlist.segments[*n].uri).expect(200).body;
        }
        Track { playlist, init: init.unwrap_or_default(), segments }
    }
}

impl Playlist {
    /// Reads a media playlist; what `m3u8_rs` refuses ends the test.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let parsed = m3u8_rs::parse_media_playlist_res(text.as_bytes());
        let parsed = parsed.unwrap_or_else(|error| panic!("{error:?} in {text}"));
        let durations = text.lines().filter_map(|line| line.strip_prefix("#EXTINF:"));
        let durations = durations.map(|line| line.split(',').next().unwrap_or_default());
        let segments = parsed.segments.iter().zip(durations).map(|(segment, duration)| Segment {
            uri: segment.uri.clone(),
            seconds: duration.parse().expect("a number"),
        });
        let segments = segments.collect();
        let init =
            parsed.segments.iter().find_map(|segment| Some(segment.map.as_ref()?.uri.clone()));
        Self { text: text.to_owned(), parsed, init, segments }
    }

    /// The sum of all EXTINF, in seconds.
    pub fn seconds(&self) -> f64 {
        self.segments.iter().map(|segment| segment.seconds).sum()
    }

    /// Where each segment starts, in seconds.
    pub fn starts(&self) -> Vec<f64> {
        let sums = self.segments.iter().scan(0.0, |end, segment| {
            let start = *end;
            *end += segment.seconds;
            Some(start)
        });
        sums.collect()
    }
}

impl Track {
    /// Samples before the first that is meant to be heard: where the edit list of the init segment begins (ISO/IEC 14496-12,
    /// 8.6.6). 0 without one.
    pub fn priming(&self) -> usize {
        let list = self.init.windows(4).position(|name| name == b"elst");
        let time = list.and_then(|at| self.init.get(at + 16..at + 20)?.try_into().ok());
        time.map_or(0, |time| u32::from_be_bytes(time) as usize)
    }

    /// Init and segments, one after the other.
    pub fn bytes(&self) -> Vec<u8> {
        [self.init.as_slice(), &self.segments.concat()].concat()
    }

    /// What is heard.
    #[track_caller]
    pub fn pcm(&self) -> Pcm {
        decode::pcm(self.bytes())
    }

    /// A caption segment's text.
    #[track_caller]
    pub fn text(&self, n: usize) -> &str {
        std::str::from_utf8(&self.segments[n]).expect("UTF-8")
    }
}
