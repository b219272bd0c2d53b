//! What a file of the library is: by its name at a glance, by its header for good.

use crate::{
    library::{Library, Path},
    source::{
        probe::{self, Input, Media, Stop},
        seen::Seen,
    },
};

/// Names of files that may be audio.
const AUDIO: [&str; 26] = [
    "aac", "adts", "aif", "aifc", "aiff", "bwf", "caf", "flac", "m4a", "m4b", "m4r", "mka", "mp1",
    "mp2", "mp3", "mpga", "oga", "ogg", "opus", "rf64", "w64", "wav", "wave", "weba", "alac",
    "f4a",
];

/// Names of files that may be video.
const VIDEO: [&str; 14] = [
    "3g2", "3gp", "f4v", "m2t", "m2ts", "m4v", "mkv", "mov", "mp4", "mts", "ogv", "qt", "ts",
    "webm",
];

/// A kind of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sound alone.
    Audio,
    /// Pictures, with or without sound.
    Video,
}

impl Kind {
    /// What a file of this name most likely is; none for what is no media.
    pub fn by_name(path: &Path) -> Option<Self> {
        let extension = path.extension();
        let is = |names: &[&str]| names.contains(&&*extension);
        if is(&AUDIO) { Some(Self::Audio) } else { is(&VIDEO).then_some(Self::Video) }
    }

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }
}

/// What a look into a file has told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Told {
    /// It can be played, for so many seconds where its header says so.
    Media(Kind, Option<f64>),
    /// It cannot.
    Nothing,
}

/// Looks into a file, which takes as long as reading its header, or all of it where only the end tells. None when it cannot
/// be read now. What is found is `seen`, for those who play it.
pub fn tell(library: &Library, seen: &Seen, path: &Path) -> Option<Told> {
    let (file, stamp) = library.open(path).ok()?;
    let named = Kind::by_name(path).unwrap_or(Kind::Audio);
    let size = stamp.size;
    match probe::probe(&Input::file(&file, size, Some(size), true)) {
        Ok(media) => {
            let told = found(&media);
            seen.insert(path, stamp, media);
            Some(told)
        }
        // Only decoding would tell more; that is done for those who play it.
        Err(Stop::Undetermined(_)) => Some(Told::Media(named, None)),
        Err(Stop::Unsupported(_) | Stop::More(_) | Stop::Whole) => Some(Told::Nothing),
        Err(Stop::Io(_)) => None,
    }
}

/// Kind and length of what the probe has found.
fn found(media: &Media) -> Told {
    let sound = media.audio.iter().map(|audio| audio.samples as f64 / f64::from(audio.rate.max(1)));
    let (kind, seconds) = match &media.video {
        Some(video) => (Kind::Video, video.length as f64 / 1000.0),
        None => (Kind::Audio, sound.fold(0.0, f64::max)),
    };
    Told::Media(kind, Some((seconds * 1000.0).round() / 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_kinds() {
        let kind = |path: &str| Kind::by_name(&Path::parse(path).unwrap());
        assert_eq!(kind("a/b.MP3"), Some(Kind::Audio));
        assert_eq!(kind("a/b.c.Mp4"), Some(Kind::Video));
        for other in ["a/mp3", "a/b.vtt", "a/b.", "a/b.jpg", "mp4/b", "a/b.mp3.part"] {
            assert_eq!(kind(other), None, "{other}");
        }
    }
}
