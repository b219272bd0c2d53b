use std::{
    ffi::OsStr,
    fmt::Debug,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::*;

fn storyboard(width: u32, height: u32, length: u64) -> Storyboard {
    Storyboard::new(Container::Mp4, 0, (width, height), length, Tone::Kept).unwrap()
}

#[test]
fn thumbnails_have_the_shape_of_the_picture() {
    for (width, height, thumbnail) in [
        (1920, 1080, (160, 90)),
        (1080, 1920, (90, 160)),
        (640, 480, (160, 120)),
        (853, 480, (160, 90)),
        (1920, 800, (160, 66)),
        (99, 99, (160, 160)),
        (320, 101, (160, 50)),
        (1, 100_000, (2, 160)),
        (u32::MAX, u32::MAX - 1, (160, 160)),
    ] {
        assert_eq!(storyboard(width, height, 1).thumbnail(), thumbnail, "{width}x{height}");
    }
    for (width, height, length) in [(0, 9, 9), (9, 0, 9), (9, 9, 0)] {
        assert!(Storyboard::new(Container::Mp4, 0, (width, height), length, Tone::Kept).is_none());
    }
}

#[test]
fn long_videos_have_thumbnails_further_apart() {
    let minutes = 60_000;
    for (length, interval, count, sprites) in [
        (1, 2_000, 1, 1),
        (2_000, 2_000, 1, 1),
        (2_001, 2_000, 2, 1),
        (50_000, 2_000, 25, 1),
        (50_001, 2_000, 26, 2),
        (200_000, 2_000, 100, 4),
        (200_001, 5_000, 41, 2),
        (10 * minutes, 10_000, 60, 3),
        (360 * minutes, 10_000, 2_160, 87),
        (2880 * minutes, 20_000, 8_640, 346),
        (u64::MAX, u64::MAX / 8_640 + 1, 8_640, 346),
    ] {
        let board = storyboard(16, 9, length);
        assert_eq!((board.interval(), board.count(), board.sprites()), (interval, count, sprites));
        assert_eq!((0..=sprites).map(|n| board.count_in(n)).sum::<u32>(), count);
        assert_eq!(board.count_in(u32::MAX), 0);
    }
}

#[test]
fn cues_cover_the_whole_and_name_their_part_of_a_sprite() {
    let cues = storyboard(1920, 1080, 53_500).cues(Query::default());
    let blocks: Vec<_> = cues.trim_end().split("\n\n").collect();
    assert_eq!(blocks.len(), 28);
    for (n, block) in [
        (0, "WEBVTT"),
        (1, "00:00:00.000 --> 00:00:02.000\nstoryboard-0.jpg#xywh=0,0,160,90"),
        (5, "00:00:08.000 --> 00:00:10.000\nstoryboard-0.jpg#xywh=640,0,160,90"),
        (6, "00:00:10.000 --> 00:00:12.000\nstoryboard-0.jpg#xywh=0,90,160,90"),
        (25, "00:00:48.000 --> 00:00:50.000\nstoryboard-0.jpg#xywh=640,360,160,90"),
        (26, "00:00:50.000 --> 00:00:52.000\nstoryboard-1.jpg#xywh=0,0,160,90"),
        (27, "00:00:52.000 --> 00:00:53.500\nstoryboard-1.jpg#xywh=160,0,160,90"),
    ] {
        assert_eq!(blocks[n], block);
    }
    let carried = storyboard(1080, 1920, 900).cues(Query { token: Some("a b"), container: None });
    assert!(carried.ends_with("\nstoryboard-0.jpg?token=a%20b#xywh=0,0,90,160\n"), "{carried}");
}

#[test]
fn ffmpeg_is_asked_for_one_sprite() {
    let board = Storyboard::new(Container::Matroska, 1, (1080, 1920), 603_000, Tone::Kept).unwrap();
    let line =
        |n, thorough| board.arguments(n, &Input::File("/cache/abc".into()), thorough).join(" ");
    assert_eq!(
        line(2, false),
        "-nostdin -hide_banner -v error -threads 1 -protocol_whitelist file -format_whitelist matroska \
         -max_alloc 268435456 -probesize 1M -analyzeduration 2M -max_streams 64 \
         -filter_threads 1 -max_pixels 67108864 -discard nokey -skip_frame nokey -ss 503.000 -noaccurate_seek \
         -f matroska -i file:/cache/abc -map 0:v:1 -an -sn -dn -map_metadata -1 -map_chapters -1 \
         -vf setpts=max(PTS-2.000/TB\\,0),tpad=stop_mode=clone:stop_duration=110.000,fps=1000/10000:start_time=0:round=up,\
         scale=90:160:flags=area:out_color_matrix=bt601,setsar=1,tile=5x3:nb_frames=11 \
         -frames:v 1 -c:v mjpeg -q:v 4 -pix_fmt yuvj420p -f mjpeg pipe:1"
    );
    assert!(!line(2, true).contains("nokey"));
    let short = |width, height| {
        let input = Input::File("/a".into());
        storyboard(width, height, 60_000).arguments(1, &input, false)
    };
    assert!(!short(1920, 1080).join(" ").contains("nokey"));
    assert!(short(3840, 2160).join(" ").contains("-skip_frame nokey -ss 49.000"));
}

/// What ffmpeg writes to its stdout.
#[track_caller]
pub(in crate::package) fn run<A: AsRef<OsStr> + Debug>(
    arguments: impl IntoIterator<Item = A>,
) -> Vec<u8> {
    let output = Command::new("ffmpeg").args(arguments).output().expect("ffmpeg is installed");
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// Video of these seconds whose grey is 16 at first and `step` lighter each second (or what else `grey` says of T), with a key
/// frame every `gop` frames, of which there are `rate` a second.
pub(in crate::package) fn video(
    dir: &TempDir,
    size: &str,
    seconds: f64,
    rate: u32,
    gop: u32,
    grey: &str,
    more: &str,
) -> PathBuf {
    let path = dir.path().join("video.mp4");
    let source = format!(
        "color=s={size}:r={rate}:d={seconds},format=yuv444p,geq=lum='{grey}':cb=128:cr=128"
    );
    let options = format!(
        "{more} -c:v libx264 -preset ultrafast -qp 8 -g {gop} -keyint_min {gop} -sc_threshold 0"
    );
    let mut words = vec!["-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", &source];
    words.extend(options.split_whitespace());
    let name = path.to_str().unwrap();
    run(words.into_iter().chain([name]));
    path
}

/// A sprite, decoded.
struct Image {
    width: usize,
    height: usize,
    grey: Vec<u8>,
}

impl Image {
    #[track_caller]
    fn read(jpeg: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sprite.jpg");
        fs::write(&path, jpeg).unwrap();
        let name = path.to_str().unwrap();
        let decode = |format| {
            let words = ["-v", "error", "-i", name, "-pix_fmt", "gray", "-f", format, "-c:v"];
            let codec = if format == "rawvideo" { "rawvideo" } else { "pgm" };
            run(words.into_iter().chain([codec, "pipe:1"]))
        };
        let pgm = decode("image2pipe");
        let header = String::from_utf8_lossy(&pgm[..20]).into_owned();
        let mut words = header.split_whitespace().skip(1).map(|word| word.parse().unwrap());
        let (width, height) = (words.next().unwrap(), words.next().unwrap());
        Self { width, height, grey: decode("rawvideo") }
    }

    /// What the middle of a thumbnail at this place looks like: 0 to 255.
    fn middle(&self, (x, y): (u32, u32), (width, height): (u32, u32)) -> i32 {
        let (x, y) = ((x + width / 2) as usize, (y + height / 2) as usize);
        self.grey[y * self.width + x].into()
    }
}

#[track_caller]
fn sprite(board: &Storyboard, path: &Path, n: u32, thorough: bool) -> Image {
    let jpeg = run(board.arguments(n, &Input::File(path.to_owned()), thorough));
    assert!(jpeg.starts_with(&[0xff, 0xd8]) && jpeg.ends_with(&[0xff, 0xd9]));
    Image::read(&jpeg)
}

/// Luma of limited range as it is shown.
fn shown(luma: u32) -> i32 {
    ((f64::from(luma) - 16.0) * 255.0 / 219.0).round() as i32
}

/// Every thumbnail of every sprite shows the luma that `expected` has for its number.
#[track_caller]
fn check(board: &Storyboard, path: &Path, thorough: bool, expected: impl Fn(u32) -> u32) {
    let size = board.thumbnail();
    for n in 0..board.sprites() {
        let image = sprite(board, path, n, thorough);
        let (count, first) = (board.count_in(n), n * PER_SPRITE);
        let grid = (count.min(COLUMNS) * size.0, count.div_ceil(COLUMNS) * size.1);
        assert_eq!((image.width, image.height), (grid.0 as usize, grid.1 as usize));
        for k in first..first + count {
            let Place { sprite, x, y } = board.place(k);
            assert_eq!(sprite, n);
            let (seen, wanted) = (image.middle((x, y), size), shown(expected(k)));
            assert!((seen - wanted).abs() <= 3, "thumbnail {k}: {seen} instead of {wanted}");
        }
    }
}

#[test]
fn of_a_short_video_each_thumbnail_is_the_middle_of_its_interval() {
    let dir = tempfile::tempdir().unwrap();
    // Key frames 10 s apart, and a last interval of half a second.
    let path = video(&dir, "192x108", 54.5, 10, 100, "16+4*floor(T)", "-pix_fmt yuv420p");
    let board = storyboard(192, 108, 54_500);
    check(&board, &path, false, |n| 16 + 4 * (2 * n + 1).min(54));
}

#[test]
fn of_a_long_video_each_thumbnail_is_the_key_frame_before_that() {
    let dir = tempfile::tempdir().unwrap();
    let grey = "16+3*floor(T/10)";
    let path = video(&dir, "64x36", 603.0, 2, 40, grey, "-pix_fmt yuv420p");
    let board = storyboard(64, 36, 603_000);
    check(&board, &path, false, |n| 16 + 3 * (n / 2 * 2));
    check(&board, &path, true, |n| 16 + 3 * n);
    // One key frame in all, so none behind any seek.
    let path = video(&dir, "64x36", 603.0, 2, 10_000, grey, "-pix_fmt yuv420p");
    check(&board, &path, false, |_| 16);
}

#[test]
fn pictures_are_found_in_every_container() {
    let dir = tempfile::tempdir().unwrap();
    let grey = "16+mod(3*floor(T/2),210)";
    for (seconds, rate) in [(60_u32, 10), (210, 2)] {
        let path = video(&dir, "64x36", f64::from(seconds), rate, 2, grey, "-pix_fmt yuv420p");
        for container in [Container::Matroska, Container::MpegTs] {
            let format = container.demuxer();
            let copy = dir.path().join(format);
            let words = ["-nostdin", "-v", "error", "-y", "-i", path.to_str().unwrap()];
            let output = ["-c", "copy", "-f", format, copy.to_str().unwrap()];
            run(words.into_iter().chain(output));
            let length = u64::from(seconds) * 1000;
            let board = Storyboard::new(container, 0, (64, 36), length, Tone::Kept).unwrap();
            let middle = |n: u32| (2 * n + 1) * board.interval() as u32 / 2000;
            check(&board, &copy, false, |n| 16 + 3 * (middle(n) / 2) % 210);
        }
    }
}

#[test]
fn a_video_of_no_interval_and_of_odd_size_has_a_thumbnail() {
    let dir = tempfile::tempdir().unwrap();
    let path = video(&dir, "101x57", 0.7, 10, 10, "16+20*floor(T*10)", "-pix_fmt yuv444p");
    check(&storyboard(101, 57, 700), &path, false, |_| 16 + 20 * 3);
    // The header promised more.
    check(&storyboard(101, 57, 60_000), &path, false, |_| 16 + 20 * 6);
}

#[test]
fn what_is_rotated_or_not_square_is_shown_as_it_is_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let grey = "if(lt(X,W/2),40,200)";
    let path = video(&dir, "192x108", 3.0, 10, 10, grey, "-pix_fmt yuv420p");
    let turned = dir.path().join("turned.mp4");
    let words = ["-nostdin", "-v", "error", "-i"];
    let copy = ["-c", "copy", "-metadata:s:v", "rotate=90"];
    let names = [path.to_str().unwrap(), turned.to_str().unwrap()];
    run(words.into_iter().chain([names[0]]).chain(copy).chain([names[1]]));
    let (board, n) = (storyboard(108, 192, 3_000), 0);
    let image = sprite(&board, &turned, n, false);
    assert_eq!((image.width, image.height), (180, 160));
    let at = |x, y| image.middle((x, y), (2, 2));
    // Turned to the left: the right half is above the left one.
    assert!((at(45, 40) - shown(200)).abs() < 4 && (at(45, 120) - shown(40)).abs() < 4);

    let path = video(&dir, "108x108", 3.0, 10, 10, grey, "-pix_fmt yuv420p -aspect 16:9");
    let image = sprite(&storyboard(192, 108, 3_000), &path, n, false);
    assert_eq!((image.width, image.height), (320, 90));
    let at = |x| image.middle((x, 45), (2, 2));
    assert!((at(40) - shown(40)).abs() < 4 && (at(120) - shown(200)).abs() < 4);
}
