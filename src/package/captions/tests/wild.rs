use proptest::{prelude::*, sample::select};

use super::*;

/// Pieces that files of captions are made of, sound and broken.
const PIECES: &[&str] = &[
    "\n",
    "\n",
    "\n",
    "\n\n",
    "\r\n",
    "\r",
    "\0",
    " ",
    "\t",
    "\u{FEFF}",
    "WEBVTT",
    "NOTE",
    "STYLE\n",
    "REGION\n",
    "STYLE\n::cue{}\n\n",
    "1\n",
    "id\n",
    "-->",
    " --> ",
    "--",
    ">",
    "00:01.000",
    "00:04.992",
    "00:05.000",
    "00:00:07,250",
    "99:59:59.999",
    "0:61",
    "\n00:01.000 --> 00:02.000 line:0\n",
    "\n\n00:00:00.500 --> 00:00:09.001\n",
    "\n2\n00:00:03,000 --> 00:00:06,000\n",
    "align:start",
    "<b>",
    "</i>",
    "<font",
    "{\\an8}",
    "}",
    "&",
    "&lt;",
    "text",
    "日本",
    "X-TIMESTAMP-MAP=MPEGTS:1,LOCAL:00:00:00.000",
];

const SAMPLE: &str = "WEBVTT - sample\n\nSTYLE\n::cue(b) { color: red }\n\nREGION\nid:fred\nwidth:40%\n\n\
    NOTE a comment\n\nintro\n00:00.000 --> 00:04.992 region:fred align:left\n<v Fred>Hi, my <i>name</i>\nis Fred\n\n\
    00:04.993 --> 00:00:09.985\nBoundary\n\n3\n00:00:02.500 --> 00:00:22.500\nlong\n\n00:19.970 --> 01:00.000\nlast";

fn soup() -> impl Strategy<Value = Vec<u8>> {
    let start = select(&["WEBVTT\n\n", "WEBVTT\n", "1\n00:00:00,000 --> 00:00:05,000\n", ""][..]);
    let pieces = prop::collection::vec(select(PIECES), 0..40);
    (start, pieces).prop_map(|(start, pieces)| (start.to_owned() + &pieces.concat()).into_bytes())
}

fn noise() -> impl Strategy<Value = Vec<u8>> {
    let start = select(vec![&b"WEBVTT\n\n"[..], b"\xFF\xFE", b"\xFE\xFF", b""]);
    (start, prop::collection::vec(any::<u8>(), 0..200))
        .prop_map(|(start, bytes)| [start, &bytes].concat())
}

/// The sample with stretches of it replaced by pieces.
fn mutant() -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), 0usize..12, select(PIECES));
    prop::collection::vec(edit, 1..8).prop_map(|edits| {
        let mut bytes = SAMPLE.as_bytes().to_vec();
        for (at, length, piece) in edits {
            let at = at.index(bytes.len());
            let end = bytes.len().min(at + length);
            bytes.splice(at..end, piece.bytes());
        }
        bytes
    })
}

/// What must hold for everything that is read: it is in order, rendering and reading again changes nothing, and each
/// segment of 215 AAC frames has exactly the cues that its period touches, byte for byte the same wherever they are.
fn holds(bytes: &[u8]) -> Result<(), TestCaseError> {
    const TICKS: u64 = 215 * 1024;
    let Ok(Parsed { captions, .. }) = Captions::parse(bytes) else {
        return Ok(());
    };

    prop_assert!(captions.cues().is_sorted_by_key(|cue| cue.start_ms));
    prop_assert!(captions.cues().all(|cue| cue.start_ms < cue.end_ms));
    let again = Captions::parse(&captions.segment(0..u64::MAX, 1, 0)).unwrap();
    prop_assert_eq!(&again.captions, &captions);
    prop_assert_eq!(again.skipped, 0);

    for n in 0..6 {
        let period = n * TICKS..(n + 1) * TICKS;
        let segment = captions.segment(period.clone(), 44_100, 0);
        let touches = |cue: &&Cue| {
            cue.start_ms * 44_100 < period.end * 1000 && cue.end_ms * 44_100 > period.start * 1000
        };
        let cues: String = captions.cues().filter(touches).map(ToString::to_string).collect();
        let (_, body) = std::str::from_utf8(&segment).unwrap().split_once("\n\n").unwrap();
        prop_assert_eq!(body, format!("{}{}", captions.header, cues));
        prop_assert_eq!(Captions::parse(&segment).unwrap().skipped, 0);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn noise_never_panics(bytes in noise()) {
        holds(&bytes)?;
    }

    #[test]
    fn soup_is_read_and_rendered(bytes in soup()) {
        holds(&bytes)?;
    }

    #[test]
    fn mutants_are_read_and_rendered(bytes in mutant()) {
        holds(&bytes)?;
    }
}
