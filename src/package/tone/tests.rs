use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::*;
use crate::{
    package::{
        choices::Choices,
        encoder::{Input, video::Order},
        storyboard::Storyboard,
        video::Rung,
    },
    source::probe::{self, Container, media::Media},
};

/// A patch of each grey and colour, side by side: what is compared is their average.
const PATCHES: &str = "nullsrc=s=640x360:r=10:d=2,format=gbrp,\
    geq=r='32*floor(X/80)':g='32*floor(Y/45)':b='16*mod(floor(X/80)+floor(Y/45),16)'";

fn ffmpeg(args: &str, files: &[&Path]) -> Vec<u8> {
    let mut files = files.iter();
    let args = args.split(' ').map(|word| match word {
        "FILE" => files.next().unwrap().as_os_str(),
        word => word.as_ref(),
    });
    let output =
        Command::new("ffmpeg").args(["-nostdin", "-v", "error", "-y"]).args(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

/// What the probe says of a file.
fn media(path: &Path) -> Media {
    let bytes = fs::read(path).unwrap();
    probe::probe(&probe::Input::slice(&bytes, Some(bytes.len() as u64))).unwrap()
}

/// Average red, green and blue of each of 8 by 8 parts of the first picture.
fn average(path: &Path, filter: &str) -> Vec<u8> {
    let args = format!(
        "-i FILE -frames:v 1 -vf {filter},scale=8:8:flags=area -pix_fmt rgb24 -f rawvideo pipe:1"
    );
    ffmpeg(&args, &[path])
}

/// The largest difference of two averages, and that on average.
fn far(one: &[u8], other: &[u8]) -> (u8, f64) {
    assert_eq!(one.len(), other.len());
    let each = || one.iter().zip(other).map(|(a, b)| a.abs_diff(*b));
    (each().max().unwrap(), each().map(f64::from).sum::<f64>() / one.len() as f64)
}

/// The smallest, with bits to spare.
fn rung(media: &Media) -> Rung {
    let choices = Choices { segment: Duration::from_secs(1), ..Choices::default() };
    Rung { bitrate: 1_000_000, ..Rung::all(media, &choices).remove(0) }
}

/// What a head for this segment makes.
fn encoded(rung: &Rung, source: &Path, segment: u32, to: &Path) {
    let input = Input::File(source.to_owned());
    let order = Order { rung, input, segment, threads: 1, distrusted: false, held: false };
    let output = Command::new("ffmpeg").args(order.arguments()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    fs::write(to, output.stdout).unwrap();
}

/// Primaries, transfer, matrix and range by ffprobe.
fn said(path: &Path) -> String {
    let entries = "stream=color_primaries,color_transfer,color_space,color_range";
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-select_streams", "v:0", "-show_entries", entries]);
    let output = ffprobe.args(["-of", "default=nw=1:nk=1"]).arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().replace('\n', " ")
}

/// From the numbers of a picture, whatever it says, to red, green and blue of a screen.
fn shown(matrix: &str, range: &str) -> String {
    format!(
        "zscale=min={matrix}:rin={range}:pin=bt709:tin=bt709:m=gbr:r=pc:p=bt709:t=bt709,format=gbrp"
    )
}

/// The patches in high dynamic range, 10 bits of HEVC.
fn hdr(dir: &Path, transfer: &str, range: &str) -> PathBuf {
    let path = dir.join(format!("{transfer}-{range}.mp4"));
    let args = format!(
        "-f lavfi -i {PATCHES} -vf zscale=rin=pc:min=gbr:pin=bt709:tin=bt709:p=bt2020:t={transfer}:m=bt2020nc:r={range}:npl=203,\
         format=yuv420p10le -c:v libx265 -preset ultrafast -g 10 -x265-params \
         log-level=error:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc:range={} -tag:v hvc1 FILE",
        if range == "pc" { "full" } else { "limited" },
    );
    ffmpeg(&args, &[&path]);
    path
}

#[test]
fn high_dynamic_range_is_mapped_as_ffmpeg_maps_it() {
    let dir = tempfile::tempdir().unwrap();
    for (transfer, range) in [("smpte2084", "tv"), ("arib-std-b67", "tv"), ("smpte2084", "pc")] {
        let source = hdr(dir.path(), transfer, range);
        let media = media(&source);
        let rung = rung(&media);
        assert!(matches!(rung.tone, Tone::Mapped(_)), "{transfer} {range}: {media:?}");
        let out = dir.path().join("out.mp4");
        encoded(&rung, &source, 0, &out);
        assert_eq!(said(&out), "tv bt709 bt709 bt709", "{transfer} {range}");

        let reference = format!(
            "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=mobius:desat=0:peak=10,\
             zscale=t=bt709:m=bt709:r=tv,format=yuv420p,{}",
            shown("bt709", "tv")
        );
        let expected = average(&source, &reference);
        let seen = average(&out, &shown("bt709", "tv"));
        let (worst, usual) = far(&expected, &seen);
        assert!(worst <= 24 && usual < 2.5, "{transfer} {range}: {worst} {usual}");
        // What is dark and grey in the middle is what it was before it was made high dynamic range, to the eye.
        let washed = average(&source, &shown("bt709", range));
        assert!(far(&expected, &washed).1 > 15.0, "{transfer} {range}");
    }
}

#[test]
fn every_head_maps_alike() {
    let dir = tempfile::tempdir().unwrap();
    let source = hdr(dir.path(), "smpte2084", "tv");
    let rung = rung(&media(&source));
    assert_eq!(rung.table.len(), 2);
    let [all, later] = ["all.mp4", "later.mp4"].map(|name| dir.path().join(name));
    encoded(&rung, &source, 0, &all);
    encoded(&rung, &source, 1, &later);
    let first = rung.frames(1).unwrap().start;
    let from = |start: u64| format!("select=gte(n\\,{start}),{}", shown("bt709", "tv"));
    let (worst, _) = far(&average(&all, &from(first)), &average(&later, &from(0)));
    assert!(worst <= 8, "{worst}");
}

#[test]
fn thumbnails_have_the_colours_of_their_film() {
    let dir = tempfile::tempdir().unwrap();
    for (name, tagged) in [("tagged", true), ("untagged", false)] {
        let source = dir.path().join(format!("{name}.mp4"));
        let says = if tagged { "bt709" } else { "unknown" };
        let args = format!(
            "-f lavfi -i {PATCHES} -vf scale=1280:720:flags=neighbor,zscale=rin=pc:min=gbr:m=bt709:r=tv,format=yuv420p,\
             setparams=colorspace={says}:color_primaries=unknown:color_trc=unknown:range=tv -c:v libx264 -qp 8 FILE"
        );
        ffmpeg(&args, &[&source]);
        check_thumbnail(&source, &average(&source, &shown("bt709", "tv")), name);
    }
    let source = hdr(dir.path(), "arib-std-b67", "tv");
    let rung = rung(&media(&source));
    let out = dir.path().join("out.mp4");
    encoded(&rung, &source, 0, &out);
    check_thumbnail(&source, &average(&out, &shown("bt709", "tv")), "HLG");
}

/// The first thumbnail, as a reader of JPEG sees it.
#[track_caller]
fn check_thumbnail(source: &Path, expected: &[u8], what: &str) {
    let media = media(source);
    let video = media.video.as_ref().unwrap();
    let (tone, size) = (Tone::of(video, true), (video.width, video.height));
    let board = Storyboard::new(Container::Mp4, 0, size, 2_000, tone).unwrap();
    let arguments = board.arguments(0, &Input::File(source.into()), false);
    let output = Command::new("ffmpeg").args(arguments).output();
    let image = source.with_extension("jpg");
    fs::write(&image, output.unwrap().stdout).unwrap();
    let seen = average(&image, &shown("bt470bg", "pc"));
    let (worst, usual) = far(expected, &seen);
    assert!(worst <= 24 && usual < 4.0, "{what}: {worst} {usual}");
}

#[test]
fn rungs_have_the_colours_of_their_source_and_say_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    for (name, lines, matrix, range, says, codec, expected) in [
        ("a.mp4", 720, "bt709", "tv", "bt709", "libx264", "bt709 unknown unknown"),
        ("b.mp4", 720, "bt709", "tv", "unknown", "libx264", "bt709 bt709 bt709"),
        ("c.mp4", 480, "smpte170m", "tv", "smpte170m", "libx264", "smpte170m unknown unknown"),
        ("d.mp4", 480, "smpte170m", "tv", "unknown", "libx264", "unknown unknown unknown"),
        ("e.mp4", 480, "bt470bg", "pc", "bt470bg", "libx264", "bt470bg unknown unknown"),
        ("f.mp4", 720, "bt709", "pc", "bt709", "libx264", "bt709 unknown unknown"),
        ("g.mp4", 720, "gbr", "pc", "gbr", "libx264rgb", "bt709 bt709 bt709"),
        ("h.mp4", 480, "gbr", "pc", "gbr", "libx264rgb", "smpte170m unknown unknown"),
        ("i.mkv", 720, "bt470bg", "pc", "bt470bg", "mjpeg", "bt470bg unknown unknown"),
    ] {
        let source = dir.path().join(name);
        let pixels = match (codec, range) {
            ("libx264rgb", _) => "gbrp",
            (_, "pc") => "yuvj420p",
            _ => "yuv420p",
        };
        let convert = match matrix {
            "gbr" => String::new(),
            _ => format!(",zscale=rin=pc:min=gbr:m={matrix}:r={range},format={pixels}"),
        };
        let said_range = if says == "unknown" { "unknown" } else { range };
        let args = format!(
            "-f lavfi -i {PATCHES} -vf scale=-2:{lines}:flags=neighbor{convert},\
             setparams=colorspace={says}:color_primaries=unknown:color_trc=unknown:range={said_range} -c:v {codec} -q:v 2 -qp 8 FILE"
        );
        ffmpeg(&args, &[&source]);
        let media = media(&source);
        let (rung, out) = (rung(&media), dir.path().join("out.mp4"));
        encoded(&rung, &source, 0, &out);
        let said = said(&out);
        let (said_range, rest) = said.split_once(' ').unwrap();
        assert!(said_range != "pc" && rest == expected, "{name}: {said}");
        // Who is told nothing of so few lines takes it for BT.601.
        let told = rest.split(' ').next().unwrap().replace("unknown", "smpte170m");
        let own = if matrix == "gbr" { "format=gbrp".to_owned() } else { shown(matrix, range) };
        let (worst, usual) = far(&average(&source, &own), &average(&out, &shown(&told, "tv")));
        assert!(worst <= 8 && usual < 1.5, "{name}: {worst} {usual}");
    }
}

#[test]
fn without_the_filter_nothing_is_done() {
    let dir = tempfile::tempdir().unwrap();
    let media = media(&hdr(dir.path(), "smpte2084", "tv"));
    let choices = Choices { maps_tones: false, ..Choices::default() };
    let rung = Rung::all(&media, &choices).remove(0);
    assert_eq!(rung.tone, Tone::Kept);
    assert_eq!(rung.tone.scale(640, 360), "scale=640:360:flags=bicubic,setsar=1");
}
