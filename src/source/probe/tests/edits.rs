//! Edit lists that hide something, nothing or everything, against what ffmpeg makes of the film.

use super::{
    tracks::{SOUND, VIDEO, X264, run},
    *,
};

/// An MP4 whose header stands behind the media, with other entries in the edit list of one of its tracks: ticks that it lasts,
/// and its media time.
fn edited(film: &[u8], track: usize, entries: &[(u32, i32)]) -> Vec<u8> {
    let mut list = vec![0; 4];
    list.extend((entries.len() as u32).to_be_bytes());
    for (length, start) in entries {
        list.extend([length.to_be_bytes(), start.to_be_bytes(), [0, 1, 0, 0]].concat());
    }
    replaced(film, &list, &mut (0..).map(|n| n == track))
}

/// The same boxes but for the content of an edit list: that of the `trak` for which it is to be done.
fn replaced(mut boxes: &[u8], list: &[u8], is_meant: &mut dyn Iterator<Item = bool>) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(size) = input::be32(boxes, 0) {
        let (head, rest) = boxes.split_at(size as usize);
        let (kind, body) = (&head[4..8], &head[8..]);
        let body = match kind {
            b"moov" | b"edts" => replaced(body, list, is_meant),
            b"trak" if is_meant.next() == Some(true) => replaced(body, list, is_meant),
            b"elst" => list.to_vec(),
            _ => body.to_vec(),
        };
        all.extend((body.len() as u32 + 8).to_be_bytes());
        all.extend_from_slice(kind);
        all.extend(body);
        boxes = rest;
    }
    all
}

/// A track, the entries of its edit list, how the film is opened, and the milliseconds that its pictures then last.
type Case<'a> = (usize, &'a [(u32, i32)], Container, u64);

/// What ffmpeg or ffprobe writes of a film that is opened as this container is.
fn shown(program: &str, container: Container, path: &Path, args: &str) -> Vec<u8> {
    let mut command = Command::new(program);
    command.args(["-v", "quiet"]).args(container.options()).arg("-i").arg(path);
    command.args(args.split_whitespace()).output().expect("ffmpeg is installed").stdout
}

#[test]
fn edit_lists_are_followed_or_all_of_them_are_ignored() {
    use Container::{Mp4, Mp4Unedited};

    let dir = tempfile::tempdir().unwrap();
    let film = run(dir.path(), "film.mp4", &format!("{VIDEO} {SOUND} {X264} -c:a aac"));
    let film = fs::read(film).unwrap();
    let path = dir.path().join("edited.mp4");
    let cases: &[Case<'_>] = &[
        (0, &[(4000, 1024)], Mp4, 4000),
        (0, &[(3000, -1), (4000, 1024)], Mp4, 4000),
        (0, &[(u32::MAX, 1024)], Mp4, 4000),
        (0, &[(1000, 1024), (1000, 26_624)], Mp4, 2000),
        (0, &[(1000, 1024), (1000, 0x7000_0000)], Mp4, 1000),
        (0, &[], Mp4, 4000),
        (0, &[(4000, 0x7000_0000)], Mp4Unedited, 4000),
        (0, &[(0, 1024)], Mp4Unedited, 4000),
        (0, &[(4000, -1)], Mp4Unedited, 4000),
        (0, &[(4000, -2)], Mp4Unedited, 4000),
        (0, &[(10, 1100)], Mp4Unedited, 4000),
        (0, &[(0, 0), (0, 0)], Mp4Unedited, 4000),
        (0, &[(1, 1024); 2_000], Mp4Unedited, 4000),
        (1, &[(4000, -1)], Mp4Unedited, 4000),
        (1, &[(4000, 0x7000_0000)], Mp4Unedited, 4000),
    ];
    for (track, entries, container, length) in cases {
        fs::write(&path, edited(&film, *track, entries)).unwrap();
        let media = told(&path).0;
        let what = format!("{track} {:?}", entries.iter().take(3).collect::<Vec<_>>());
        let video = media.video.as_ref().unwrap();
        assert_eq!((media.container, video.length), (*container, *length), "{what}");
        let frames = "-select_streams v -show_entries packet=flags -of csv=p=0";
        let frames = String::from_utf8(shown("ffprobe", *container, &path, frames)).unwrap();
        let kept = frames.lines().filter(|flags| !flags.is_empty() && !flags.contains('D'));
        assert_eq!(kept.count() as u64 * 40, *length, "{what}");
        let sound = "-nostdin -map 0:a -ac 1 -c:a pcm_u8 -f u8 pipe:1";
        let samples = shown("ffmpeg", *container, &path, sound).len() as u64;
        assert_eq!(media.audio[0].samples, samples, "{what}");
        let late = if entries.first() == Some(&(3000, -1)) { 3000 } else { 0 };
        assert!(video.delay.abs_diff(late) <= 80, "{what}: {video:?}");
    }
}

#[test]
fn fragments_that_begin_behind_their_end_begin_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let fragments = "-movflags frag_keyframe+delay_moov";
    let path = run(dir.path(), "f.mp4", &format!("{VIDEO} {SOUND} {X264} -c:a aac {fragments}"));
    let mut bytes = fs::read(&path).unwrap();
    let list = bytes.windows(4).position(|kind| kind == b"elst").unwrap() + 4;
    let before = told(&path).0;
    assert_eq!(before.container, Container::Mp4);
    bytes[list + 12..list + 16].copy_from_slice(&0x7000_0000u32.to_be_bytes());
    fs::write(&path, &bytes).unwrap();
    let media = told(&path).0;
    assert_eq!(media.container, Container::Mp4Unedited);
    let lengths = |media: &Media| (media.video.as_ref().unwrap().length, media.audio[0].samples);
    assert_eq!(lengths(&media), lengths(&before));
    assert!(media.audio[0].delay < 8_000, "{media:?}");
}
