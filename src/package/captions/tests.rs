mod segments;
mod wild;

use super::*;

fn parse(text: impl AsRef<[u8]>) -> Parsed {
    Captions::parse(text.as_ref()).unwrap()
}

/// Every cue as `id|start-end|settings|payload`, and `!n` at the end if n were skipped.
fn told(parsed: &Parsed) -> Vec<String> {
    let cue =
        |c: &Cue| format!("{}|{}-{}|{}|{}", c.id, c.start_ms, c.end_ms, c.settings, c.payload);
    let skipped = (parsed.skipped > 0).then(|| format!("!{}", parsed.skipped));
    parsed.captions.cues().map(cue).chain(skipped).collect()
}

#[track_caller]
fn reads(cases: &[(&str, &str, &[&str])]) {
    for (name, input, expected) in cases {
        assert_eq!(told(&parse(input)), *expected, "{name}");
    }
}

#[test]
fn webvtt_files_are_cut_into_cues() {
    reads(&[
        ("signature alone", "WEBVTT", &[]),
        ("title", "WEBVTT - a title\n\n00:01.000 --> 00:02.000\nx", &["|1000-2000||x"]),
        ("byte order mark", "\u{FEFF}WEBVTT\n\n00:01.000 --> 00:02.000\nx", &["|1000-2000||x"]),
        (
            "CRLF",
            "WEBVTT\r\n\r\na\r\n00:01.000 --> 00:02.000\r\nx\r\ny\r\n",
            &["a|1000-2000||x\ny"],
        ),
        ("CR", "WEBVTT\r\r00:01.000 --> 00:02.000\rx\ry\r", &["|1000-2000||x\ny"]),
        ("NUL", "WEBVTT\n\n00:01.000 --> 00:02.000\nx\0y", &["|1000-2000||x\u{FFFD}y"]),
        (
            "header text, an upstream's map among it",
            "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:00.000\nKind: captions\n\n00:01.000 --> 00:02.000\nx",
            &["|1000-2000||x"],
        ),
        (
            "a cue right below the header",
            "WEBVTT\nKind: captions\n00:01.000 --> 00:02.000\nx",
            &["|1000-2000||x"],
        ),
        (
            "comments",
            "WEBVTT\n\nNOTE one\ntwo\n\n00:01.000 --> 00:02.000\nx\n\nNOTE\nlast",
            &["|1000-2000||x"],
        ),
        (
            "id and settings",
            "WEBVTT\n\nintro - 1\n00:01.000 --> 00:02.000 \t align:start  line:0%\t\nx",
            &["intro - 1|1000-2000|align:start  line:0%|x"],
        ),
        (
            "no spaces at the arrow",
            "WEBVTT\n\n00:01.000-->00:02.000line:0\nx",
            &["|1000-2000|line:0|x"],
        ),
        (
            "an arrow in the settings",
            "WEBVTT\n\n00:01.000 --> 00:02.000 a --> b\nx",
            &["|1000-2000||x"],
        ),
        ("without text", "WEBVTT\n\n00:01.000 --> 00:02.000\n\n", &["|1000-2000||"]),
        (
            "no empty line between cues",
            "WEBVTT\n\n00:01.000 --> 00:02.000\nx\n00:03.000 --> 00:04.000\ny",
            &["|1000-2000||x", "|3000-4000||y"],
        ),
        (
            "an arrow in the text begins a cue, a bad one here",
            "WEBVTT\n\n00:01.000 --> 00:02.000\nx\ny --> z\nlost",
            &["|1000-2000||x", "!1"],
        ),
        (
            "sorted, those of the same start as they came",
            "WEBVTT\n\n00:05.000 --> 00:06.000\na\n\n00:01.000 --> 00:09.000\nb\n\n00:01.000 --> 00:02.000\nc",
            &["|1000-9000||b", "|1000-2000||c", "|5000-6000||a"],
        ),
        (
            "a repeated id is taken from the later cue",
            "WEBVTT\n\n1\n00:05.000 --> 00:06.000\na\n\n1\n00:01.000 --> 00:02.000\nb",
            &["1|1000-2000||b", "|5000-6000||a"],
        ),
        ("STYLE as an id", "WEBVTT\n\nSTYLE\n00:01.000 --> 00:02.000\nx", &["STYLE|1000-2000||x"]),
    ]);
}

#[test]
fn webvtt_times_are_read_to_the_letter() {
    let cases = [
        ("00:00.000 --> 00:00.001", Some("|0-1||x")),
        ("00:59.999 --> 59:59.999", Some("|59999-3599999||x")),
        ("1:00:00.000 --> 01:00:00.001", Some("|3600000-3600001||x")),
        ("00:00.000 --> 123:00:00.000", Some("|0-442800000||x")),
        ("00:00.000 --> 4294967295:00:00.000", Some("|0-15461882262000000||x")),
        ("00:00.000 --> 4294967296:00:00.000", None),
        ("00:00.000 --> 99999999999999999999999:00:00.000", None),
        ("00:01.000 --> 00:01.000", None),
        ("00:02.000 --> 00:01.000", None),
        ("00:60.000 --> 02:00.000", None),
        ("60:00.000 --> 62:00.000", None),
        ("00:60:00.000 --> 02:00:00.000", None),
        ("0:01.000 --> 00:02.000", None),
        ("00:01.00 --> 00:02.000", None),
        ("00:01.0000 --> 00:02.000", None),
        ("00:01,000 --> 00:02,000", None),
        ("00:01 --> 00:02", None),
        ("-00:01.000 --> 00:02.000", None),
        ("x00:01.000 --> 00:02.000", None),
        ("00:01.000 x --> 00:02.000", None),
        ("\u{0661}0:01.000 --> 00:02.000", None),
        ("00:01.000 -->", None),
        ("-->", None),
    ];
    for (times, expected) in cases {
        let parsed = parse(format!("WEBVTT\n\n{times}\nx\n\n00:00.000 --> 00:10.000\nnext"));
        let told = told(&parsed);
        assert!(told.contains(&"|0-10000||next".into()), "{times} cost the next cue");
        assert_eq!(
            told.iter().find(|cue| cue.ends_with("|x")).map(String::as_str),
            expected,
            "{times}"
        );
        assert_eq!(parsed.skipped, usize::from(expected.is_none()), "{times}");
    }
}

#[test]
fn styles_and_regions_are_kept_where_they_are_legal() {
    let cue = "00:01.000 --> 00:02.000\nx\n\n";
    let cases = [
        ("one line", "STYLE\n::cue{}\n\n", "STYLE\n::cue{}\n\n"),
        ("trailing space", "STYLE \t\n::cue{}\n\n", "STYLE \t\n::cue{}\n\n"),
        ("both", "REGION\nid:a\n\n\nSTYLE\na{}\nb{}\n\n", "REGION\nid:a\n\nSTYLE\na{}\nb{}\n\n"),
        ("behind a comment", "NOTE x\n\nSTYLE\na{}\n\n", "STYLE\na{}\n\n"),
        ("without a body", "STYLE\n\n::cue{}\n\n", ""),
        ("other words", "STYLES\na{}\n\nSTYLE x\na{}\n\n", ""),
        ("cut by an arrow", "STYLE\na{}\n/* --> */\n\n", ""),
    ];
    for (name, input, expected) in cases {
        let before = parse(format!("WEBVTT\n\n{input}{cue}")).captions;
        assert_eq!(&*before.header, expected, "{name}");
        assert_eq!(before.len(), 1, "{name}");
        let after = parse(format!("WEBVTT\n\n{cue}{input}")).captions;
        assert_eq!(&*after.header, "", "{name}, after a cue");
    }
}

#[test]
fn what_every_segment_repeats_is_bounded() {
    let large = format!("STYLE\n/*{}*/\n\n", "x".repeat(MAX_HEADER));
    let parsed = parse(format!("WEBVTT\n\n{large}STYLE\na{{}}\n\n00:01.000 --> 00:02.000\nx"));
    assert_eq!(&*parsed.captions.header, "STYLE\na{}\n\n");
    assert_eq!(parsed.captions.len(), 1);
}

#[test]
fn cues_of_one_instant_keep_their_order() {
    let cue = |n: usize| format!("{n}\n00:0{}.000 --> 00:09.000\n\n", n % 3);
    let cues: String = (0..1000).map(cue).collect();
    let captions = parse(format!("WEBVTT\n\n{cues}")).captions;
    let ids: Vec<usize> = captions.cues().map(|cue| cue.id.parse().unwrap()).collect();
    let expected: Vec<usize> = (0..3).flat_map(|start| (start..1000).step_by(3)).collect();
    assert_eq!(ids, expected);
}

#[test]
fn cues_are_bounded() {
    let text = "WEBVTT\n\n".to_owned() + &"00:01.000 --> 00:02.000\n".repeat(MAX_CUES + 3);
    let parsed = parse(text);
    assert_eq!((parsed.captions.len(), parsed.skipped), (MAX_CUES, 3));
    assert!(parsed.captions.bytes() >= MAX_CUES * 16);
}

#[test]
fn text_in_other_encodings_is_read() {
    let srt = "1\n00:00:01,000 --> 00:00:02,000\nzażółć \u{1F642}";
    let little = [0xFF, 0xFE].into_iter().chain(srt.encode_utf16().flat_map(u16::to_le_bytes));
    let big = [0xFE, 0xFF].into_iter().chain(srt.encode_utf16().flat_map(u16::to_be_bytes));
    for bytes in [little.collect::<Vec<u8>>(), big.collect()] {
        assert_eq!(told(&parse(bytes)), ["|1000-2000||zażółć \u{1F642}"]);
    }
    let latin = b"WEBVTT\n\n\xE9\n00:01.000 --> 00:02.000\ncaf\xE9 \xC3\xA9";
    assert_eq!(told(&parse(latin)), ["\u{FFFD}|1000-2000||caf\u{FFFD} é"]);
    let half_a_pair = b"\xFF\xFE1\0\n\x000";
    assert_eq!(Captions::parse(half_a_pair).unwrap_err(), NotCaptions::Unrecognised);
}

#[test]
fn srt_files_are_cut_into_cues() {
    reads(&[
        (
            "plain",
            "1\n00:00:01,000 --> 00:00:02,500\na\nb\n\n2\n00:00:03,000 --> 00:00:04,000\nc\n",
            &["|1000-2500||a\nb", "|3000-4000||c"],
        ),
        (
            "byte order mark and CRLF",
            "\u{FEFF}1\r\n00:00:01,000 --> 00:00:02,000\r\na\r\n\r\n",
            &["|1000-2000||a"],
        ),
        (
            "without numbers, points, one digit of hours, coordinates",
            "0:00:01.000 --> 0:00:02.000  X1:10 X2:20 Y1:30 Y2:40\na\n\n0:00:03,5-->0:00:04\n42",
            &["|1000-2000||a", "|3005-4000||42"],
        ),
        (
            "no empty line between cues",
            "1\n00:00:01,000 --> 00:00:02,000\na\n2\n00:00:03,000 --> 00:00:04,000\nb\n2001\n",
            &["|1000-2000||a", "|3000-4000||b\n2001"],
        ),
        (
            "empty lines within a text",
            "1\n00:00:01,000 --> 00:00:02,000\n\na\n \nb\n\n\n2\n00:00:03,000 --> 00:00:04,000\nc",
            &["|1000-2000||a\nb", "|3000-4000||c"],
        ),
        (
            "bad cues: times, order, length, no text",
            "1\n00:00:61,000 --> 00:02:00,000\na\n\n2\n00:00:02,000 --> 00:00:01,000\nb\n\n\
             3\n00:00:01,000 --> 00:00:01,000\nc\n\n4\n00:00:01,000 --> 00:00:02,000\n\n\
             5\n00:00:01,0000 --> 00:00:02,000\nd\n\n6\n--> 00:00:02,000\ne\n\n\
             7\n00:00:05,000 --> 00:00:06,000\nf",
            &["|5000-6000||f", "!6"],
        ),
        ("minutes first", "01:02,003 --> 01:03,000\na", &["|62003-63000||a"]),
    ]);
}

#[test]
fn srt_text_becomes_webvtt_text() {
    let cases = [
        ("<b>a</b> <I>b</I> <u>c</u>", "<b>a</b> <i>b</i> <u>c</u>"),
        ("<font color=\"#ff0000\">red</font> <FONT>x</FONT>", "red x"),
        ("<font\nface=x>split</font>", "split"),
        ("{\\an8}up {\\i1}and{\\i0} {kept}", "up and {kept}"),
        ("{\\an8}\nsecond line", "second line"),
        ("a < b & c > d &amp;", "a &lt; b &amp; c &gt; d &amp;amp;"),
        ("<v Bob>hi <br> <3", "&lt;v Bob&gt;hi &lt;br&gt; &lt;3"),
        ("see --> there", "see --&gt; there"),
        ("--<font>>", "--&gt;"),
        ("<<b>b", "&lt;<b>b"),
        ("<fontaine>", "&lt;fontaine&gt;"),
        ("<i", "&lt;i"),
        ("{\\", "{\\"),
    ];
    for (text, expected) in cases {
        let parsed = parse(format!("1\n00:00:01,000 --> 00:00:02,000\n{text}\n"));
        assert_eq!(told(&parsed), [format!("|1000-2000||{expected}")], "{text}");
    }
}

#[test]
fn what_is_not_captions_is_told_apart() {
    let cases: [(&str, &[u8], NotCaptions); 8] = [
        ("nothing", b"", NotCaptions::Empty),
        ("white space", b"\xEF\xBB\xBF \r\n\t\n", NotCaptions::Empty),
        ("a page", b"\n<!DOCTYPE html><title>404 --> sorry</title>", NotCaptions::Markup),
        ("TTML", b"<?xml version=\"1.0\"?><tt/>", NotCaptions::Markup),
        ("JSON", b"{\"error\":\"no\"}", NotCaptions::Unrecognised),
        ("no signature", b"WEBVTTX\n", NotCaptions::Unrecognised),
        ("audio", b"ID3\x04\x00\x00\xFF\xFB\x90\x00", NotCaptions::Unrecognised),
        ("only bad SRT", b"1\n00:00:02,000 --> 00:00:01,000\nx", NotCaptions::Unrecognised),
    ];
    for (name, bytes, expected) in cases {
        assert_eq!(Captions::parse(bytes).unwrap_err(), expected, "{name}");
        assert!(expected.to_string().starts_with("the captions are "), "{name}");
    }
}
