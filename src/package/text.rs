//! An embedded track of text: what is known of it, and how its cues are taken out of the source.
//!
//! Measured with ffmpeg 5.1: its encoder of `WebVTT` escapes neither `&` nor `<`, its decoder of ASS leaves `\h` and the
//! outlines of drawings in the text, and its default clock begins with the audio's priming or with text that comes before
//! all else. So texts are copied out as they are, by the file's clock, and read here. SRT is what carries them: of the
//! formats that tell milliseconds it is the one that changes no text. Only `mov_text`, which is binary, is decoded by ffmpeg.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{
    captions::{Captions, Script},
    encoder::{Arguments, Input},
};
use crate::source::probe::{
    Container,
    media::{self, Label, Media},
};

/// Tracks of text of one package.
const MOST_TRACKS: usize = 32;

/// A track of text that becomes captions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    container: Container,
    /// ffmpeg's `0:s:<index>`.
    index: u32,
    codec: String,
    /// The millisecond of the file's clock at which the media starts.
    start: i64,
    /// Whether it is shown to everybody.
    pub forced: bool,
    /// Its language and name.
    pub label: Label,
}

impl Text {
    /// The tracks of text of a source.
    pub fn all(media: &Media) -> Vec<Self> {
        let text = |text: &media::Text| Self {
            container: media.container,
            index: text.index,
            codec: text.codec.clone(),
            start: media.start,
            forced: text.forced,
            label: text.label.clone(),
        };
        media.text.iter().map(text).take(MOST_TRACKS).collect()
    }

    /// What ffmpeg is asked to write.
    fn script(&self) -> Script {
        match self.codec.as_str() {
            "webvtt" => Script::Vtt,
            "S_TEXT/WEBVTT" => Script::VttText,
            "ass" | "ssa" => Script::Ass,
            _ => Script::Srt,
        }
    }

    /// ffmpeg's arguments: all of the track on stdout.
    pub fn arguments(&self, source: PathBuf) -> Vec<String> {
        let (script, input) = (self.script(), Input::File(source));
        let mut args = Arguments::fenced(self.container, &input);
        args.words("-copyts");
        if matches!(script, Script::Ass | Script::VttText) {
            // What it is told to be is copied into SRT like any text.
            args.pair(&format!("-c:s:{}", self.index), "text");
        }
        args.open(self.container, &input);
        args.pair("-map", format!("0:s:{}", self.index));
        args.words("-vn -an -dn -map_metadata -1 -map_chapters -1");
        let is_binary = self.codec == "mov_text";
        args.pair("-c:s", if is_binary { "subrip" } else { "copy" });
        // The clock stays that of the file.
        args.words("-avoid_negative_ts disabled");
        args.pair("-f", if script == Script::Vtt { "webvtt" } else { "srt" });
        args.words("pipe:1");
        args.0
    }

    /// The captions in what ffmpeg wrote.
    pub fn read(&self, bytes: &[u8]) -> Captions {
        Captions::extracted(bytes, self.script(), self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::plan::tests::media;

    fn text(index: u32, codec: &str) -> media::Text {
        media::Text { index, codec: codec.to_owned(), forced: false, label: Label::default() }
    }

    #[test]
    fn every_text_of_a_source_is_in_the_plan_up_to_a_bound() {
        let mut source = media(48_000, 2, 480_000);
        assert_eq!(Text::all(&source), []);
        source.text = (0..40).map(|index| text(index + 3, "subrip")).collect();
        source.start = 1234;
        let texts = Text::all(&source);
        assert_eq!(texts.len(), MOST_TRACKS);
        assert!(texts.iter().zip(3..).all(|(text, index)| text.index == index));
        let captions = texts[0].read(b"1\n00:00:02,234 --> 00:00:03,000\nHello\n");
        let cue = captions.cues().next().unwrap();
        assert_eq!((cue.start_ms, cue.end_ms), (1000, 1766));
    }

    #[test]
    fn what_ffmpeg_cannot_write_as_it_is_is_taken_for_plain_text() {
        let mut source = media(48_000, 2, 480_000);
        let codecs = ["mov_text", "subrip", "ass", "webvtt", "S_TEXT/WEBVTT", "text"];
        source.text = codecs.map(|codec| text(2, codec)).into();
        let orders: Vec<_> = Text::all(&source)
            .into_iter()
            .map(|text| text.arguments("file".into()).join(" "))
            .collect();
        let ends = [
            "-c:s subrip -avoid_negative_ts disabled -f srt pipe:1",
            "-c:s copy -avoid_negative_ts disabled -f srt pipe:1",
            "-c:s copy -avoid_negative_ts disabled -f srt pipe:1",
            "-c:s copy -avoid_negative_ts disabled -f webvtt pipe:1",
            "-c:s copy -avoid_negative_ts disabled -f srt pipe:1",
            "-c:s copy -avoid_negative_ts disabled -f srt pipe:1",
        ];
        let told = [false, false, true, false, true, false];
        for ((order, end), told) in orders.iter().zip(ends).zip(told) {
            assert!(order.ends_with(end), "{order}");
            assert!(order.contains("-copyts") && order.contains("-map 0:s:2"), "{order}");
            assert_eq!(order.contains("-c:s:2 text -f"), told, "{order}");
        }
    }
}
