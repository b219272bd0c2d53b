//! What tests of the wire share: an upstream with something to play, and a look at replies and playlists.

use super::{Broker, Clip, Format, Reply, Upstream, http::Headers, media};

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
