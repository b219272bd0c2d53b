//! What tracks of all kinds have in common: `TrackEntry` (RFC 9559 section 5.1.4.1).

use super::{
    super::{
        language,
        media::{Label, Text},
    },
    element::{are_whole, elements, text, unsigned},
};

/// A `TrackEntry`.
#[derive(Clone, Debug, Default)]
pub(super) struct Track<'a> {
    pub(super) number: u64,
    /// 1 for video, 2 for audio, 17 for subtitles.
    pub(super) kind: u64,
    pub(super) codec: String,
    pub(super) private: &'a [u8],
    /// Nanoseconds that the decoder's output starts early.
    pub(super) delay: u64,
    /// Nanoseconds of a frame; 0 where it is not said.
    pub(super) duration: u64,
    /// Whether its blocks are compressed.
    pub(super) encoded: bool,
    /// Whether they are encrypted.
    pub(super) encrypted: bool,
    pub(super) forced: bool,
    pub(super) audio: &'a [u8],
    pub(super) video: &'a [u8],
    pub(super) label: Label,
}

impl<'a> Track<'a> {
    /// Whether the entries of a Tracks element fill it, and each is filled.
    pub(super) fn are_whole(tracks: &[u8]) -> bool {
        are_whole(tracks) && elements(tracks).all(|(id, entry)| id != 0xae || are_whole(entry))
    }

    /// The tracks of a Tracks element.
    pub(super) fn all(tracks: &'a [u8]) -> Vec<Self> {
        let entries = elements(tracks).filter(|(id, _)| *id == 0xae);
        entries.map(|(_, entry)| Self::read(entry)).collect()
    }

    fn read(entry: &'a [u8]) -> Self {
        let label = Label { default: true, ..Label::default() };
        let mut track = Self { label, ..Self::default() };
        let (mut old, mut new) = (None, None);
        for (element, body) in elements(entry) {
            match element {
                0xd7 => track.number = unsigned(body),
                0x83 => track.kind = unsigned(body),
                0x86 => track.codec = text(body),
                0x63a2 => track.private = body,
                0x56aa => track.delay = unsigned(body),
                0x0023_e383 => track.duration = unsigned(body),
                0x6d80 => {
                    track.encoded = true;
                    let mut kinds = elements(body)
                        .filter(|(id, _)| *id == 0x6240)
                        .flat_map(|(_, encoding)| elements(encoding));
                    track.encrypted = kinds.any(|(id, _)| id == 0x5035);
                }
                0xe1 => track.audio = body,
                0xe0 => track.video = body,
                0x55aa => track.forced = unsigned(body) != 0,
                0x88 => track.label.default = unsigned(body) != 0,
                0x0022_b59c => old = language::tag(&text(body)),
                0x0022_b59d => new = language::tag(&text(body)),
                0x536e => track.label.name = Some(text(body)).filter(|name| !name.is_empty()),
                _ => {}
            }
        }
        track.label.language = new.or(old);
        track
    }

    /// The track that is `index` among the subtitles, if it is text.
    pub(super) fn text(&self, index: u32) -> Option<Text> {
        let codec = match self.codec.as_str() {
            "S_TEXT/UTF8" => "subrip",
            "S_TEXT/ASCII" => "text",
            "S_TEXT/ASS" | "S_TEXT/SSA" | "S_ASS" | "S_SSA" => "ass",
            "D_WEBVTT/SUBTITLES" => "webvtt",
            name @ "S_TEXT/WEBVTT" => name,
            _ => return None,
        };
        let label = self.label.clone();
        Some(Text { index, codec: codec.to_owned(), forced: self.forced, label })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_told_apart() {
        let compressed = b"\xd7\x81\x01\x83\x81\x02\x6d\x80\x86\x62\x40\x83\x50\x34\x80";
        let encrypted = b"\xd7\x81\x01\x83\x81\x02\x6d\x80\x86\x62\x40\x83\x50\x35\x80";
        for (entry, is_encrypted) in [(compressed, false), (encrypted, true)] {
            let track = Track::read(entry);
            assert_eq!((track.number, track.kind, track.encoded), (1, 2, true));
            assert_eq!(track.encrypted, is_encrypted);
        }
    }
}
