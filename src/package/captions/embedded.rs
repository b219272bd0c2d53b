//! Captions as they come out of a container: SRT around texts of several makes, or `WebVTT`; and the `WebVTT` of them that
//! is kept.

use std::fmt::Write;

use super::{ARROW, Captions, ass, decode, srt, vtt};

/// What the texts of extracted cues are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// `WebVTT` throughout.
    Vtt,
    /// The texts of `WebVTT` between the times of SRT.
    VttText,
    /// SRT throughout.
    Srt,
    /// Events of `SubStation` Alpha between the times of SRT.
    Ass,
}

impl Captions {
    /// Captions that were taken out of a container; cues that cannot be read are left out. What the container's clock shows at
    /// millisecond `start` is their beginning: cues that are over by then go.
    pub fn extracted(bytes: &[u8], script: Script, start: i64) -> Self {
        let text = decode(bytes);
        let mut draft = match script {
            Script::Vtt => vtt::parse(&text),
            Script::VttText => srt::parse(&text, carried),
            Script::Srt => srt::parse(&text, srt::payload),
            Script::Ass => srt::parse(&text, ass::payload),
        };
        for cue in &mut draft.cues {
            for time in [&mut cue.start_ms, &mut cue.end_ms] {
                *time = time.saturating_add_signed(start.saturating_neg());
            }
        }
        draft.cues.retain(|cue| cue.end_ms > cue.start_ms);
        draft.finish().captions
    }

    /// All of it as one file of `WebVTT`.
    pub fn document(&self) -> String {
        let mut text = format!("WEBVTT\n\n{}", self.header);
        for cue in &self.cues {
            // Writing to a String cannot fail.
            let _ = write!(text, "{cue}");
        }
        text
    }
}

/// `WebVTT` text as it came, but for what would end a cue or begin one.
fn carried(lines: &[&str]) -> String {
    srt::without_empty_lines(&lines.join("\n").replace(ARROW, "--&gt;"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cues(text: &str, script: Script, start: i64) -> Vec<(u64, u64, String)> {
        let captions = Captions::extracted(text.as_bytes(), script, start);
        let kept = Captions::parse(captions.document().as_bytes()).unwrap();
        assert_eq!((&kept.captions, kept.skipped), (&captions, 0));
        captions.cues().map(|cue| (cue.start_ms, cue.end_ms, cue.payload.to_string())).collect()
    }

    #[test]
    fn texts_of_every_make_become_webvtt() {
        let srt = |text| format!("1\n00:00:01,024 --> 00:00:03,022\n{text}\n\n");
        let one = |text: &str| vec![(1024, 3022, text.to_owned())];
        assert_eq!(cues(&srt("a & <b>b</b>"), Script::Srt, 0), one("a &amp; <b>b</b>"));
        assert_eq!(
            cues(&srt("<c.x>a</c> &amp; -->"), Script::VttText, 0),
            one("<c.x>a</c> &amp; --&gt;")
        );
        assert_eq!(cues(&srt(r"7,0,D,,0,0,0,,{\b1}a, b\Nc"), Script::Ass, 0), one("a, b\nc"));
        let vtt = "WEBVTT\n\nid\n00:01.024 --> 00:03.022 line:10%\n<v Bob>a</v>\n";
        assert_eq!(cues(vtt, Script::Vtt, 0), one("<v Bob>a</v>"));
        let captions = Captions::extracted(vtt.as_bytes(), Script::Vtt, 0);
        let cue = captions.cues().next().unwrap();
        assert_eq!((&*cue.id, &*cue.settings), ("id", "line:10%"));
        for script in [Script::Vtt, Script::VttText, Script::Srt, Script::Ass] {
            assert_eq!(cues("", script, 0), []);
        }
    }

    #[test]
    fn times_count_from_the_start_of_the_media() {
        let text = "1\n00:00:01,000 --> 00:00:02,000\na\n\n2\n00:00:01,500 --> 00:00:03,250\nb\n";
        let a = |start, end| (start, end, "a".to_owned());
        let b = |start, end| (start, end, "b".to_owned());
        assert_eq!(cues(text, Script::Srt, -7), [a(1007, 2007), b(1507, 3257)]);
        assert_eq!(cues(text, Script::Srt, 1250), [a(0, 750), b(250, 2000)]);
        assert_eq!(cues(text, Script::Srt, 2000), [b(0, 1250)]);
        assert_eq!(cues(text, Script::Srt, i64::MAX), []);
    }
}
