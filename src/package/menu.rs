//! What the multivariant playlist offers of a package: its variants, and the tracks beside them.

use super::{
    AUDIO, SUBTITLES,
    audio::Audio,
    file::{Kind, Track},
    plan::Plan,
    playlist::{self, Alternative, Picture, Query, Variant},
    video::Rung,
};
use crate::config::Container;

/// CODECS of AAC-LC (RFC 6381).
const AAC_LC: &str = "mp4a.40.2";

/// The multivariant playlist. `captions` are name and language of those that came beside the media; `container` is what
/// audio alone is wrapped in.
pub fn index(
    plan: &Plan,
    captions: Option<(&str, &str)>,
    container: Container,
    query: Query,
) -> String {
    let names = names(&plan.audio);
    let mut alternatives = Vec::new();
    // One track without video is the variant, and needs no group.
    if !plan.video.is_empty() || plan.audio.len() > 1 {
        let tracks = (0..).zip(&plan.audio).zip(&names);
        alternatives.extend(tracks.map(|((index, audio), name)| Alternative {
            track: Track { kind: Kind::Audio, index },
            name,
            language: audio.label.language.as_deref(),
            default: index == 0,
            forced: false,
            channels: Some(audio.config.channels()),
        }));
    }
    alternatives.extend(captions.map(|(name, language)| Alternative {
        track: SUBTITLES,
        name,
        language: Some(language),
        default: false,
        forced: false,
        channels: None,
    }));
    let codecs: Vec<_> = plan.video.iter().map(|rung| codecs(rung, plan)).collect();
    let variants: Vec<_> = if plan.video.is_empty() {
        plan.audio.first().map(|audio| sound(audio, container)).into_iter().collect()
    } else {
        let rungs = (0..).zip(&plan.video).zip(&codecs);
        rungs.map(|((index, rung), codecs)| picture(plan, index, rung, codecs)).collect()
    };
    playlist::index(&variants, &alternatives, query)
}

fn sound(audio: &Audio, container: Container) -> Variant<'static> {
    let (bandwidth, average_bandwidth) = audio.bandwidth(container);
    Variant { track: AUDIO, bandwidth, average_bandwidth, codecs: AAC_LC, picture: None }
}

/// A rung with the most that any audio track takes beside it.
fn picture<'a>(plan: &Plan, index: u8, rung: &Rung, codecs: &'a str) -> Variant<'a> {
    let beside = plan.audio.iter().map(|audio| audio.bandwidth(Container::Cmaf));
    let (peak, average) =
        beside.fold((0, 0), |(p, a), (peak, average)| (p.max(peak), a.max(average)));
    let (bandwidth, average_bandwidth) = rung.bandwidth();
    let picture = Picture { width: rung.width, height: rung.height, rate: rung.frame_rate() };
    Variant {
        track: Track { kind: Kind::Video, index },
        bandwidth: bandwidth + peak,
        average_bandwidth: average_bandwidth + average,
        codecs,
        picture: Some(picture),
    }
}

fn codecs(rung: &Rung, plan: &Plan) -> String {
    let video = rung.codecs();
    if plan.audio.is_empty() { video } else { format!("{video},{AAC_LC}") }
}

/// A name for each audio track, none twice (RFC 8216 section 4.3.4.1.1): the file's, else its language, else a number.
fn names(audio: &[Audio]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(audio.len());
    for (n, audio) in (1..).zip(audio) {
        let label = &audio.label;
        let own = label.name.as_ref().or(label.language.as_ref());
        let name = own.cloned().unwrap_or_else(|| format!("Audio {n}"));
        let is_taken = names.contains(&name);
        names.push(if is_taken { format!("{name} ({n})") } else { name });
    }
    names
}
