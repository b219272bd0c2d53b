//! What tests of the wire share: an upstream with something to play, and a look at replies and playlists.

use super::{Broker, Clip, Format, Reply, Setup, Upstream, http::Headers, media, player::Track};

/// Seconds of "a".
pub const SECONDS: f64 = 4.0;

/// An upstream with "a", which has captions, and "plain", which has none.
pub fn upstream() -> Upstream {
    let upstream = Upstream::start();
    upstream.audio("a", Clip::noise(Format::Wav, SECONDS).bytes());
    upstream.vtt("a", media::vtt_for(SECONDS));
    upstream.audio("plain", Clip::noise(Format::Wav, 1.0).bytes());
    upstream
}

/// A request that shows its token as these headers do.
pub fn get(broker: &Broker, rid: &str, file: &str, headers: Headers) -> Reply {
    broker.get(&format!("/hls/{rid}/{file}"), headers)
}

pub fn header<'a>(reply: &'a Reply, name: &str) -> &'a str {
    reply.header(name).unwrap_or_else(|| panic!("no {name}: {reply:?}"))
}

/// All URIs of a playlist: its lines, and those in its tags.
pub fn uris(playlist: &str) -> Vec<&str> {
    let tagged = playlist.split("URI=\"").skip(1).filter_map(|rest| rest.split('"').next());
    tagged.chain(playlist.lines().filter(|line| !line.starts_with('#'))).collect()
}

/// Noise of this length as WAV.
pub fn wav(seconds: f64) -> Vec<u8> {
    Clip::noise(Format::Wav, seconds).bytes()
}

/// An upstream that has "a", a second long, and no captions.
pub fn lone() -> Upstream {
    let upstream = Upstream::start();
    upstream.audio("a", wav(1.0));
    upstream
}

/// A broker without captions, whose ffmpeg is counted.
pub fn counted(upstream: &Upstream) -> Setup {
    Broker::setup(upstream).without("url.vtt").counted_ffmpeg(r#"exec {real} "$@""#)
}

/// How long a track is heard.
pub fn seconds(track: &Track) -> f64 {
    track.pcm().seconds()
}
