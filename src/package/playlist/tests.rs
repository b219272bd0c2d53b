use std::time::Duration;

use m3u8_rs::{MediaPlaylistType, Playlist};
use proptest::prelude::*;

use super::*;

const A0: Track = Track { kind: Kind::Audio, index: 0 };
const S0: Track = Track { kind: Kind::Subtitles, index: 0 };

const CAPTIONS: Alternative = Alternative {
    track: S0,
    name: "English",
    language: Some("en"),
    default: false,
    autoselect: true,
    forced: false,
    channels: None,
};

const AUDIO: Variant = Variant {
    track: A0,
    bandwidth: 160_000,
    average_bandwidth: 131_000,
    codecs: "mp4a.40.2",
    picture: None,
};

fn table(seconds: u64) -> SegmentTable {
    SegmentTable::audio(seconds * 44_100 / 1024, 44_100, Duration::from_secs(5))
}

fn parse_media(playlist: &str) -> m3u8_rs::MediaPlaylist {
    match m3u8_rs::parse_playlist_res(playlist.as_bytes()) {
        Ok(Playlist::MediaPlaylist(media)) => media,
        other => panic!("{other:?}"),
    }
}

fn parse_index(playlist: &str) -> m3u8_rs::MasterPlaylist {
    match m3u8_rs::parse_playlist_res(playlist.as_bytes()) {
        Ok(Playlist::MasterPlaylist(index)) => index,
        other => panic!("{other:?}"),
    }
}

/// The EXTINF values in microseconds.
fn micros(playlist: &str) -> Vec<u64> {
    let durations = playlist.lines().filter_map(|line| line.strip_prefix("#EXTINF:"));
    durations
        .map(|line| {
            let (seconds, fraction) = line.strip_suffix(',').unwrap().split_once('.').unwrap();
            assert_eq!(fraction.len(), 6);
            seconds.parse::<u64>().unwrap() * 1_000_000 + fraction.parse::<u64>().unwrap()
        })
        .collect()
}

#[test]
fn a_media_playlist() {
    let playlist = media(&table(4), A0, Format::M4s, 0, Query::default());
    assert_eq!(
        playlist,
        "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:3\n#EXT-X-MEDIA-SEQUENCE:0\n\
         #EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"a0-init.mp4\"\n\
         #EXTINF:1.160998,\na0-0.m4s\n#EXTINF:2.832834,\na0-1.m4s\n\
         #EXT-X-ENDLIST\n"
    );
}

#[test]
fn another_reader_reads_it() {
    let table = table(600);
    for (track, format, version) in
        [(A0, Format::M4s, 6), (A0, Format::Aac, 3), (A0, Format::Ts, 3), (S0, Format::Vtt, 3)]
    {
        let text = media(&table, track, format, 0, Query::default());
        let read = parse_media(&text);
        assert_eq!(read.version, Some(version));
        assert_eq!(read.media_sequence, 0);
        assert_eq!(read.playlist_type, Some(MediaPlaylistType::Vod));
        assert!(read.end_list);
        assert_eq!(read.independent_segments, track.kind == Kind::Audio);
        assert_eq!(read.segments.len(), table.len() as usize);
        assert_eq!(read.segments[0].map.is_some(), version == 6);
        for (n, segment) in (0..).zip(&read.segments) {
            assert_eq!(segment.uri.parse::<File>().unwrap(), File::Segment(track, n, format));
        }
        let longest = read.segments.iter().map(|segment| segment.duration).fold(0.0, f32::max);
        let longest = if version == 6 { longest.round() } else { longest.ceil() };
        assert_eq!(read.target_duration, longest as u64);
    }
}

#[test]
fn before_version_6_no_segment_is_longer_than_the_target() {
    let folded = SegmentTable::audio(531, 44_100, Duration::from_secs(5));
    assert!(media(&folded, A0, Format::M4s, 0, Query::default()).contains("TARGETDURATION:5\n"));
    assert!(media(&folded, A0, Format::Ts, 0, Query::default()).contains("TARGETDURATION:6\n"));
}

#[test]
fn a_multivariant_playlist() {
    assert_eq!(
        index(&[AUDIO], &[CAPTIONS], Query::default()),
        "#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS\n\
         #EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"subs\",NAME=\"English\",LANGUAGE=\"en\",DEFAULT=NO,\
         AUTOSELECT=YES,FORCED=NO,URI=\"s0.m3u8\"\n\
         #EXT-X-STREAM-INF:BANDWIDTH=160000,AVERAGE-BANDWIDTH=131000,CODECS=\"mp4a.40.2\",SUBTITLES=\"subs\"\n\
         a0.m3u8\n"
    );
    let alone = parse_index(&index(&[AUDIO], &[], Query::default()));
    assert!(alone.alternatives.is_empty() && alone.independent_segments);
    assert_eq!(alone.variants[0].uri, "a0.m3u8");
    assert_eq!(alone.variants[0].average_bandwidth, Some(131_000));
    assert_eq!(alone.variants[0].subtitles, None);
}

#[test]
fn video_has_its_audio_beside_it() {
    let picture = Picture { width: 854, height: 480, rate: 30_000.0 / 1_001.0 };
    let track = Track { kind: Kind::Video, index: 1 };
    let codecs = "avc1.64001f,mp4a.40.2";
    let video = Variant { track, codecs, picture: Some(picture), ..AUDIO };
    let sound = |index, language| Alternative {
        track: Track { kind: Kind::Audio, index },
        name: language,
        language: Some(language),
        default: index == 0,
        autoselect: true,
        forced: false,
        channels: Some(2),
    };
    assert_eq!(
        index(&[video], &[sound(0, "en"), sound(1, "pt-BR")], Query::default()),
        "#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS\n\
         #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"en\",LANGUAGE=\"en\",DEFAULT=YES,\
         AUTOSELECT=YES,CHANNELS=\"2\",URI=\"a0.m3u8\"\n\
         #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"audio\",NAME=\"pt-BR\",LANGUAGE=\"pt-BR\",DEFAULT=NO,\
         AUTOSELECT=YES,CHANNELS=\"2\",URI=\"a1.m3u8\"\n\
         #EXT-X-STREAM-INF:BANDWIDTH=160000,AVERAGE-BANDWIDTH=131000,CODECS=\"avc1.64001f,mp4a.40.2\",\
         RESOLUTION=854x480,FRAME-RATE=29.970,AUDIO=\"audio\"\nv1.m3u8\n"
    );
    // Where there is no video, one of them is the variant itself.
    let text = index(&[AUDIO], &[sound(0, "en"), sound(1, "de")], Query::default());
    assert_eq!(text.matches("URI=").count(), 1, "{text}");
    assert!(text.ends_with(",AUDIO=\"audio\"\na0.m3u8\n"), "{text}");
}

#[test]
fn beside_video_all_have_the_longest_target() {
    let text = media(&table(20), A0, Format::M4s, 9, Query::default());
    assert!(text.contains("TARGETDURATION:9\n"));
}

#[test]
fn every_uri_carries_the_query() {
    let query = Query { container: Some(Container::Aac), token: Some("e.y-_~") };
    let carried = "?container=aac&token=e.y-_~";
    let texts = [
        index(&[AUDIO], &[CAPTIONS], query),
        media(&table(20), A0, Format::M4s, 0, query),
        media(&table(20), S0, Format::Vtt, 0, query),
    ];
    for text in texts {
        let in_tags =
            text.split('"').filter(|part| part.contains(".m3u8") || part.contains(".mp4"));
        let on_lines = text.lines().filter(|line| !line.starts_with('#'));
        let uris: Vec<_> = in_tags.filter(|part| !part.contains('\n')).chain(on_lines).collect();
        assert!(uris.len() >= 2 && uris.iter().all(|uri| uri.ends_with(carried)), "{text}");
    }
}

#[test]
fn queries() {
    let query = |container, token| Query { container, token }.to_string();
    assert_eq!(query(None, None), "");
    assert_eq!(query(Some(Container::Ts), None), "?container=ts");
    assert_eq!(query(None, Some("a b\"\n&#%/\u{e9}")), "?token=a%20b%22%0A%26%23%25%2F%C3%A9");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn durations_never_drift(
        frames in prop_oneof![99 => 1u64..20_000, 1 => 1u64..1_100_000],
        rate in prop::sample::select(vec![8_000u32, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000]),
        seconds in 1u64..=20,
        priming in 0u64..5_000,
    ) {
        let table = SegmentTable::audio(frames, rate, Duration::from_secs(seconds)).primed(priming);
        let micros = micros(&media(&table, A0, Format::Ts, 0, Query::default()));
        prop_assert_eq!(micros.len(), table.len() as usize);
        let exact = |ticks: u64| u128::from(ticks) * MICROS * 2 / u128::from(rate);
        let targets = [3, 6].map(|version| target_duration(&table, version));
        let mut sum = 0;
        for (n, duration) in (0..).zip(micros) {
            let ticks = table.presentation(n).unwrap();
            sum += u128::from(duration);
            // Doubled, so that the half microsecond is a whole number.
            prop_assert!((2 * sum).abs_diff(exact(ticks.end)) <= 1);
            let alone = exact(ticks.end - ticks.start);
            prop_assert!((2 * u128::from(duration)).abs_diff(alone) <= 2);
            prop_assert!(duration.div_ceil(1_000_000) <= targets[0]);
            prop_assert!((duration + 500_000) / 1_000_000 <= targets[1]);
        }
    }

    #[test]
    fn nothing_gets_out_of_its_quotes(name in any::<String>(), language in any::<String>(), token in any::<String>()) {
        let captions = Alternative { name: &name, language: Some(&language), ..CAPTIONS };
        let text = index(&[AUDIO], &[captions], Query { container: None, token: Some(&token) });
        prop_assert_eq!(text.lines().count(), 5);
        prop_assert_eq!(text.matches('"').count(), 12);
        prop_assert!(!text.contains('\r'));
    }
}

#[test]
fn names_keep_what_they_may() {
    let captions = Alternative { name: "\"Fran\u{e7}ais\", \r\n#EXT\t\u{85}", ..CAPTIONS };
    let text = index(&[AUDIO], &[captions], Query::default());
    assert!(text.contains("NAME=\"Fran\u{e7}ais, #EXT\","), "{text}");
}
