//! Video tracks: codec, shape, and every sample by the sample table or the fragments.

use super::{
    super::{
        Container, Stop,
        colour::Colour,
        input::{be16, be32},
        media::{Picture, Video},
        picture::{Coded, Geometry},
        pictures::{Pictures, Shot},
        unsupported,
    },
    boxes::child,
    edits::Edits,
    entry::object,
    fragment::Runs,
    index::{Cursor, Walk},
    samples::{Layout, Sizes},
    track::Track,
};

/// Samples of a track that are looked at.
const MOST: u64 = 16_000_000;

/// A video track that was told.
pub(super) struct Moving {
    /// The track, its delay apart.
    pub(super) video: Video,
    /// The nanosecond at which it starts.
    pub(super) start: i64,
    /// Whether all of its frames are shown.
    pub(super) whole: bool,
    /// Whether its chunks come in the order of their offsets.
    pub(super) ordered: bool,
    /// The offset of its first chunk.
    pub(super) first: u64,
}

impl Moving {
    /// The track that is `index` among the video streams; None for a still picture, and where there are no frames.
    pub(super) fn read(track: &Track<'_>, index: u32) -> Result<Option<Self>, Stop> {
        let undetermined = || Stop::Undetermined(Container::Mp4);
        let stbl = track.stbl().ok_or_else(undetermined)?;
        let mut kinds = track.entries();
        let (kind, body) = kinds.next().ok_or_else(undetermined)?;
        let sizes = Sizes::read(stbl, None).ok_or_else(undetermined)?;
        let fragmented = track.movie.is_fragmented();
        if !fragmented && sizes.count() == 0 {
            return Ok(None);
        }
        let entry = Entry { kind, body };
        let coded = entry.coded().ok_or_else(undetermined)?;
        let still =
            matches!(&coded.codec, Picture::Other(name) if name == "mjpeg" || name == "png");
        if still && !fragmented && sizes.count() == 1 {
            return Ok(None);
        }
        let layout = Layout::read(stbl, track.movie.total, None).ok_or_else(undetermined)?;
        let mut shots = Shots::new(track.edits()?, fragmented).ok_or_else(undetermined)?;
        if fragmented && layout.held == 0 {
            let runs = Runs::of(track).ok_or_else(undetermined)?;
            let walked = runs.walk(track.movie.fragments, |sample| {
                let time = sample.decoded.cast_signed().saturating_add(i64::from(sample.offset));
                let (duration, size) = (u64::from(sample.duration), u64::from(sample.size));
                shots.push(Shot { time, duration, size, key: sample.key });
            });
            walked.ok_or_else(undetermined)?;
        } else if fragmented {
            return Err(undetermined());
        } else {
            shots.table(stbl, track.movie.total, layout.held)?;
        }
        if kinds.next().is_some() {
            shots.pictures.spoil();
        }
        let (scale, _) = track.scales()?;
        let whole = shots.whole;
        let Some(told) = shots.pictures.told(scale, None) else {
            return Ok(None);
        };
        let start = track.start(told.first)?;
        let geometry = entry.geometry(track, &coded).ok_or_else(undetermined)?;
        let video = Video::new(index, coded, geometry, told);
        Ok(Some(Self { video, start, whole, ordered: layout.ordered, first: layout.first }))
    }
}

/// The samples of a track, and what its edit list shows of them.
struct Shots {
    pictures: Pictures,
    /// The times that are shown.
    shown: std::ops::Range<i64>,
    whole: bool,
}

impl Shots {
    /// None where the edit list has several pieces. In fragments, ffmpeg follows none.
    fn new(edits: Edits, fragmented: bool) -> Option<Self> {
        let shown = match edits {
            Edits::One(edit) if !fragmented => {
                let start = i64::try_from(edit.start).ok()?;
                start..start.saturating_add_unsigned(edit.length)
            }
            Edits::Several => return None,
            _ => i64::MIN..i64::MAX,
        };
        Some(Self { pictures: Pictures::default(), shown, whole: true })
    }

    fn push(&mut self, shot: Shot) {
        if self.shown.contains(&shot.time) {
            self.pictures.push(shot);
        } else {
            self.whole = false;
            self.pictures.spoil();
        }
    }

    /// The samples of a sample table that lie in a file of `length` bytes, of which there are `held`.
    fn table(&mut self, stbl: &[u8], length: u64, held: u64) -> Result<(), Stop> {
        if held > MOST {
            return Err(unsupported("MP4 with more frames of video than anybody shows"));
        }
        let walk = Walk::over(stbl, length, Cursor::default());
        for place in walk.ok_or(Stop::Undetermined(Container::Mp4))? {
            let time = place.time.cast_signed().saturating_add(i64::from(place.offset));
            let (duration, size) = (u64::from(place.duration), u64::from(place.size));
            self.push(Shot { time, duration, size, key: place.sync });
        }
        Ok(())
    }
}

/// A visual sample entry (ISO/IEC 14496-12 section 12.1).
struct Entry<'a> {
    kind: [u8; 4],
    body: &'a [u8],
}

impl Entry<'_> {
    fn child(&self, kind: [u8; 4]) -> Option<&[u8]> {
        child(self.body.get(78..)?, kind)
    }

    /// The codec; None where only ffmpeg knows it.
    fn coded(&self) -> Option<Coded> {
        let other = |name: &str| Some(Coded::plain(Picture::Other(name.to_owned())));
        let coded = match &self.kind {
            b"avc1" | b"avc3" => Coded::avc(self.child(*b"avcC")?),
            b"hvc1" | b"hev1" => Coded::hevc(self.child(*b"hvcC")?),
            // Dolby Vision: without what `dvcC` says, colours may be wrong.
            b"dvh1" | b"dvhe" => {
                let coded = Coded::hevc(self.child(*b"hvcC")?)?;
                Some(Coded { complete: false, ..coded })
            }
            b"av01" => Coded::av1(self.child(*b"av1C")?),
            b"vp08" => Some(Coded::plain(Picture::Vp8)),
            b"vp09" => Some(Coded::plain(Picture::Vp9)),
            b"mp4v" => match object(self.child(*b"esds")?.get(4..)?)? {
                0x20 => other("mpeg4"),
                0x60..=0x65 => other("mpeg2video"),
                0x6a => other("mpeg1video"),
                0x6c => other("mjpeg"),
                0x6d => other("png"),
                _ => None,
            },
            b"apch" | b"apcn" | b"apcs" | b"apco" | b"ap4h" | b"ap4x" => other("prores"),
            b"jpeg" | b"mjpa" => other("mjpeg"),
            b"png " => other("png"),
            b"s263" | b"h263" => other("h263"),
            _ => None,
        };
        let fields = self.child(*b"fiel").and_then(<[u8]>::first) == Some(&2);
        let colour = self.child(*b"colr").and_then(Colour::colr);
        let colour = colour.or_else(|| Colour::vpcc(self.child(*b"vpcC")?)).unwrap_or_default();
        coded.map(|coded| Coded {
            fields: coded.fields || fields,
            colour: colour.or(coded.colour),
            ..coded
        })
    }

    /// The way to the screen: pixel aspect ratio, and the matrices of the track and of the movie.
    fn geometry(&self, track: &Track<'_>, coded: &Coded) -> Option<Geometry> {
        let size = (u32::from(be16(self.body, 24)?), u32::from(be16(self.body, 26)?));
        let pasp = self.child(*b"pasp").and_then(|pasp| Some((be32(pasp, 0)?, be32(pasp, 4)?)));
        let aspect = pasp.filter(|&(across, down)| across > 0 && down > 0).or(coded.aspect);
        let wide = |header: &[u8]| header.first() == Some(&1);
        let track_matrix =
            track.tkhd().and_then(|tkhd| matrix(tkhd, if wide(tkhd) { 52 } else { 40 }));
        let movie = child(track.movie.moov, *b"mvhd");
        let movie_matrix = movie.and_then(|mvhd| matrix(mvhd, if wide(mvhd) { 48 } else { 36 }));
        let turn @ [a, b, c, d] = product(track_matrix?, movie_matrix?);
        let quarter = a == 0 && d == 0 && b != 0 && c != 0;
        let upright = b == 0 && c == 0 && a > 0 && d > 0 || turn == [0; 4];
        let size = coded.size.unwrap_or(size);
        Some(Geometry { size, aspect, turned: !upright, quarter })
    }
}

/// The part of a matrix that turns and mirrors.
fn matrix(header: &[u8], at: usize) -> Option<[i64; 4]> {
    let number = |n: usize| be32(header, at + n).map(|number| i64::from(number.cast_signed()));
    Some([number(0)?, number(4)?, number(12)?, number(16)?])
}

/// The matrix that does the one, then the other; each product of two is cut to 16.16 before they are added up.
fn product(one: [i64; 4], other: [i64; 4]) -> [i64; 4] {
    let times = |x: i64, y: i64| (x * y) >> 16;
    let row = |x: i64, y: i64, column: usize| times(x, other[column]) + times(y, other[column + 2]);
    [row(one[0], one[1], 0), row(one[0], one[1], 1), row(one[2], one[3], 0), row(one[2], one[3], 1)]
}
