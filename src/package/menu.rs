//! What the multivariant playlist offers of a package: its variants, and the tracks beside them.

use super::{
    AUDIO, SUBTITLES,
    file::{Kind, Track},
    plan::Plan,
    playlist::{self, Alternative, Picture, Query, Variant},
    video::Rung,
};
use crate::{config::Container, source::probe::media::Label};

/// The multivariant playlist. `captions` are name and language of those that came beside the media; `container` is what
/// audio alone is wrapped in.
pub fn index(
    plan: &Plan,
    captions: Option<(&str, &str)>,
    container: Container,
    query: Query,
) -> String {
    let names = names("Audio", None, plan.audio.iter().map(|audio| &audio.label));
    let titles = titles(plan, captions);
    let mut alternatives = Vec::new();
    // One track without video is the variant, and needs no group.
    if !plan.video.is_empty() || plan.audio.len() > 1 {
        let tracks = (0..).zip(&plan.audio).zip(&names);
        alternatives.extend(tracks.map(|((index, audio), name)| Alternative {
            track: Track { kind: Kind::Audio, index },
            name,
            language: audio.label.language.as_deref(),
            default: index == 0,
            autoselect: true,
            forced: false,
            channels: Some(audio.codec.channels()),
        }));
    }
    alternatives.extend(captions.map(|(name, language)| Alternative {
        track: SUBTITLES,
        name,
        language: Some(language),
        default: false,
        autoselect: true,
        forced: false,
        channels: None,
    }));
    let first = u8::from(captions.is_some());
    let tracks = (first..).zip(&plan.text).zip(titles.iter().skip(first.into()));
    alternatives.extend(tracks.map(|((index, text), name)| Alternative {
        track: Track { kind: Kind::Subtitles, index },
        name,
        language: text.label.language.as_deref(),
        default: false,
        // Forced ones say nothing that another track says: players have to find them.
        autoselect: text.label.default || text.forced,
        forced: text.forced,
        channels: None,
    }));
    let container = plan.container(container);
    let beside = beside(plan);
    let codecs: Vec<_> = plan.video.iter().map(|rung| codecs(rung, &beside)).collect();
    let variants: Vec<_> = if plan.video.is_empty() {
        vec![sound(plan, container, &beside)]
    } else {
        let rungs = (0..).zip(&plan.video).zip(&codecs);
        rungs.map(|((index, rung), codecs)| picture(plan, index, rung, codecs)).collect()
    };
    playlist::index(&variants, &alternatives, query)
}

/// The first audio track, with the most that any of them takes.
fn sound<'a>(plan: &Plan, container: Container, codecs: &'a str) -> Variant<'a> {
    let (bandwidth, average_bandwidth) = most(plan, container);
    Variant { track: AUDIO, bandwidth, average_bandwidth, codecs, picture: None }
}

/// The most bits a second, at the peak and on average, that any audio track takes.
fn most(plan: &Plan, container: Container) -> (u64, u64) {
    let all = plan.audio.iter().map(|audio| audio.bandwidth(container));
    all.fold((0, 0), |(p, a), (peak, average)| (p.max(peak), a.max(average)))
}

/// A rung with the most that any audio track takes beside it.
fn picture<'a>(plan: &Plan, index: u8, rung: &Rung, codecs: &'a str) -> Variant<'a> {
    let (peak, average) = most(plan, Container::Cmaf);
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

fn codecs(rung: &Rung, beside: &str) -> String {
    let video = rung.codecs();
    if beside.is_empty() { video } else { format!("{video},{beside}") }
}

/// CODECS of all audio tracks, each once: players have to know them all to be offered any.
fn beside(plan: &Plan) -> String {
    let mut names: Vec<_> = plan.audio.iter().map(|audio| audio.codec.codecs()).collect();
    names.sort_unstable();
    names.dedup();
    names.join(",")
}

/// The names of all caption tracks.
fn titles(plan: &Plan, captions: Option<(&str, &str)>) -> Vec<String> {
    let beside = captions.map(|(name, _)| name);
    names("Captions", beside, plan.text.iter().map(|text| &text.label))
}

/// A name for each track of a kind, none twice (RFC 8216 section 4.3.4.1.1): the file's, else its language, else a number.
/// `first` is that of a track before them.
fn names<'a>(
    kind: &str,
    first: Option<&str>,
    labels: impl Iterator<Item = &'a Label>,
) -> Vec<String> {
    let mut names: Vec<String> = first.map(str::to_owned).into_iter().collect();
    for label in labels {
        let n = names.len() + 1;
        let own = label.name.as_ref().or(label.language.as_ref());
        let mut name = own.cloned().unwrap_or_else(|| format!("{kind} {n}"));
        while names.contains(&name) {
            name = format!("{name} ({n})");
        }
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_tracks_have_one_name() {
        let label = |name: Option<&str>, language: Option<&str>| Label {
            language: language.map(str::to_owned),
            name: name.map(str::to_owned),
            default: false,
        };
        let labels = [
            label(Some("English"), Some("en")),
            label(Some("A (4)"), None),
            label(Some("A"), None),
            label(Some("A"), None),
            label(None, Some("de")),
            label(None, None),
        ];
        let given = names("Captions", None, labels.iter());
        assert_eq!(given, ["English", "A (4)", "A", "A (4) (4)", "de", "Captions 6"]);
        let given = names("Captions", Some("English"), labels.iter());
        assert_eq!(given, ["English", "English (2)", "A (4)", "A", "A (5)", "de", "Captions 7"]);
    }
}
