//! What tracks of all kinds have in common (ISO/IEC 14496-12 sections 8.3, 8.4 and 8.10).

use super::{
    super::{
        Container, Stop,
        input::{array, be16, be32},
        language,
        media::Label,
        media::scale,
    },
    Movie,
    boxes::{boxes, child, descend},
    edits::Edits,
};

/// Words in names that muxers give to every track of a kind.
const MUXERS: [&str; 12] = [
    "handler",
    "core media",
    "gpac",
    "iso media",
    "bento4",
    "l-smash",
    "mainconcept",
    "apple",
    "google",
    "#track",
    "encoder",
    "lavf",
];

/// A `trak`.
#[derive(Clone, Copy)]
pub(super) struct Track<'a> {
    pub(super) movie: Movie<'a>,
    pub(super) trak: &'a [u8],
}

impl<'a> Track<'a> {
    /// Whether its handler is this one.
    pub(super) fn is(&self, handler: [u8; 4]) -> bool {
        self.handler() == Some(handler)
    }

    /// Its handler: `soun`, `vide` and others.
    pub(super) fn handler(&self) -> Option<[u8; 4]> {
        array(self.header(*b"hdlr")?, 8)
    }

    /// Its number, by which fragments and other tracks name it.
    pub(super) fn id(&self) -> Option<u32> {
        let tkhd = self.tkhd()?;
        be32(tkhd, if tkhd.first()? == &1 { 20 } else { 12 })
    }

    /// Its `tkhd` box.
    pub(super) fn tkhd(&self) -> Option<&'a [u8]> {
        child(self.trak, *b"tkhd")
    }

    /// A box of its `mdia`.
    fn header(&self, kind: [u8; 4]) -> Option<&'a [u8]> {
        descend(self.trak, &[*b"mdia", kind])
    }

    /// Its sample table.
    pub(super) fn stbl(&self) -> Option<&'a [u8]> {
        descend(self.trak, &[*b"mdia", *b"minf", *b"stbl"])
    }

    /// Its sample entries by their types.
    pub(super) fn entries(&self) -> impl Iterator<Item = ([u8; 4], &'a [u8])> {
        let stsd = self.stbl().and_then(|stbl| child(stbl, *b"stsd"));
        boxes(stsd.and_then(|stsd| stsd.get(8..)).unwrap_or_default())
    }

    /// Whether its samples are encrypted, for Common Encryption or for iTunes.
    pub(super) fn is_encrypted(&self) -> bool {
        self.entries().any(|(kind, _)| matches!(&kind, b"enca" | b"encv" | b"drms" | b"drmi"))
    }

    /// Its ticks a second, and those of the movie.
    pub(super) fn scales(&self) -> Result<(u32, u32), Stop> {
        let undetermined = Stop::Undetermined(Container::Mp4);
        let own = self.header(*b"mdhd").and_then(ticks).filter(|&ticks| ticks > 0);
        let movie = child(self.movie.moov, *b"mvhd").and_then(ticks);
        own.zip(movie).ok_or(undetermined)
    }

    /// Its edit list, if those of the movie are followed.
    pub(super) fn edits(&self) -> Result<Edits, Stop> {
        let (own, movie) = self.scales()?;
        Ok(if self.movie.edited { Edits::read(self.trak, (movie, own)) } else { Edits::Absent })
    }

    /// The nanosecond at which it starts, if what is heard or seen first is at this time of the media.
    pub(super) fn start(&self, first: i64) -> Result<i64, Stop> {
        let (own, movie) = self.scales()?;
        let nanoseconds = |ticks: u64, per: u32| {
            i64::try_from(scale(ticks, 1_000_000_000, u64::from(per))).unwrap_or(i64::MAX)
        };
        let (late, from) = match self.edits()? {
            Edits::One(edit) => (edit.late, edit.start),
            _ => (0, 0),
        };
        let first = first.saturating_sub_unsigned(from);
        let size = nanoseconds(first.unsigned_abs(), own);
        let inside = if first < 0 { -size } else { size };
        Ok(nanoseconds(late, movie).saturating_add(inside))
    }

    /// Its language and name.
    pub(super) fn label(&self) -> Label {
        let extended = self.header(*b"elng").and_then(|elng| elng.get(4..)).map(text);
        let mdhd = self.header(*b"mdhd");
        let code = mdhd.and_then(|mdhd| be16(mdhd, if mdhd.first()? == &1 { 32 } else { 20 }));
        let language = extended.and_then(|tag| language::tag(&tag));
        let flags = self.tkhd().and_then(|tkhd| be32(tkhd, 0)).unwrap_or(0);
        Label {
            language: language.or_else(|| code.and_then(language::packed)),
            name: self.name(),
            default: flags & 1 != 0,
        }
    }

    /// The name that a person gave it: in `udta`, else by its handler.
    fn name(&self) -> Option<String> {
        let own = descend(self.trak, &[*b"udta", *b"name"]).map(text);
        let handler = || self.header(*b"hdlr").and_then(|hdlr| hdlr.get(24..)).map(text);
        let meant = |name: &String| {
            let lower = name.to_lowercase();
            !lower.is_empty() && !MUXERS.iter().any(|word| lower.contains(word))
        };
        own.filter(meant).or_else(|| handler().filter(meant))
    }
}

/// Text that may be counted in front as in Pascal, or ended by zeros as in C.
fn text(bytes: &[u8]) -> String {
    let bytes = match bytes.split_first() {
        Some((&length, rest)) if usize::from(length) == rest.len() => rest,
        _ => bytes,
    };
    let text = String::from_utf8_lossy(bytes.split(|&byte| byte == 0).next().unwrap_or_default());
    text.chars().filter(|c| !c.is_control()).take(200).collect::<String>().trim().to_owned()
}

/// The ticks a second of an `mvhd` or `mdhd`.
fn ticks(header: &[u8]) -> Option<u32> {
    be32(header, if *header.first()? == 1 { 20 } else { 12 })
}
