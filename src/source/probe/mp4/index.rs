//! Where each sample of a track lies and when it is decoded (ISO/IEC 14496-12 sections 8.6 and 8.7): all that copying
//! needs, with no process in between.

use std::cmp::Ordering;

use bytes::Bytes;

use super::{
    super::{Codec, Input, Stop, aac},
    Layout, Movie,
    boxes::{boxes, child},
    entry,
    samples::{Chunks, Sizes, Table, table, word},
    track::Track,
};

/// The samples of a track of a movie without fragments, in decoding order.
#[derive(Clone, Debug)]
pub struct Index {
    /// Type of the only sample entry: `mp4a`, `avc1`, `hvc1`, `av01`.
    pub kind: [u8; 4],
    /// The decoder configuration of pictures, a whole box: `avcC`, `hvcC`, `av1C`. Empty for sound.
    pub config: Vec<u8>,
    /// Ticks a second.
    pub timescale: u32,
    stbl: Bytes,
    /// Bytes of the file.
    length: u64,
}

/// One sample and where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its first byte.
    pub at: u64,
    /// Its bytes.
    pub size: u32,
    /// The tick at which it is decoded, the first at 0.
    pub time: u64,
    /// Ticks that it lasts in decoding order.
    pub duration: u32,
    /// Ticks from its decoding time to when it is shown.
    pub offset: i32,
    /// Whether it is a keyframe.
    pub sync: bool,
}

impl Index {
    /// The index of the AAC track that is `number` among the audio tracks; None where only ffmpeg knows how to copy it.
    ///
    /// # Errors
    /// Where the header cannot be read.
    pub fn sound(input: &Input<'_>, number: u32) -> Result<Option<Self>, Stop> {
        Self::of(input, *b"soun", |movie| {
            let track = movie.tracks().filter(|track| track.is(*b"soun")).nth(number as usize)?;
            let entry = entry::Entry::read(child(track.stbl()?, *b"stsd")?).ok()?;
            let plain = entry.codec == Codec::Aac { object: 2 };
            (plain && entry.packet == entry::Packet::Fixed(aac::FRAME)).then_some(track)
        })
    }

    /// The index of the video track that ffmpeg counts as `number`; None where only ffmpeg knows how to copy it.
    ///
    /// # Errors
    /// Where the header cannot be read.
    pub fn picture(input: &Input<'_>, number: u32) -> Result<Option<Self>, Stop> {
        Self::of(input, *b"vide", |movie| {
            let mut tracks = movie.videos();
            tracks.find(|(index, _)| *index == number).map(|(_, track)| track)
        })
    }

    /// All samples that lie in the file as a whole, up to the first that does not. None where a table is missing.
    pub fn walk(&self, from: Cursor) -> Option<Walk<'_>> {
        Walk::over(&self.stbl, self.length, from)
    }

    fn of(
        input: &Input<'_>,
        handler: [u8; 4],
        find: impl for<'a> FnOnce(Movie<'a>) -> Option<Track<'a>>,
    ) -> Result<Option<Self>, Stop> {
        let Some(total) = input.total() else {
            return Ok(None);
        };
        let layout = Layout::read(input, total, Some(handler))?;
        let moov = Bytes::from(layout.moov.into_owned());
        let movie = Movie { moov: &moov, total, fragments: &[], edited: true };
        let track = if movie.is_fragmented() { None } else { find(movie) };
        Ok(track.and_then(|track| Self::read(&track, &moov)))
    }

    fn read(track: &Track<'_>, moov: &Bytes) -> Option<Self> {
        let mut kinds = track.entries();
        let (kind, body) = kinds.next()?;
        if kinds.next().is_some() {
            return None;
        }
        let config = match &kind {
            b"mp4a" => Vec::new(),
            b"avc1" => configuration(body, *b"avcC")?,
            b"hvc1" => configuration(body, *b"hvcC")?,
            b"av01" => configuration(body, *b"av1C")?,
            _ => return None,
        };
        let (timescale, _) = track.scales().ok()?;
        let stbl = moov.slice_ref(track.stbl()?);
        Some(Self { kind, config, timescale, stbl, length: track.movie.total })
    }
}

/// The box of this kind in a visual sample entry, with its header.
fn configuration(entry: &[u8], kind: [u8; 4]) -> Option<Vec<u8>> {
    let (_, body) = boxes(entry.get(78..)?).find(|(found, _)| *found == kind)?;
    let size = u32::try_from(body.len() + 8).ok()?;
    Some([&size.to_be_bytes(), &kind[..], body].concat())
}

struct Tables<'a> {
    sizes: Sizes<'a>,
    durations: Table<'a, 2>,
    offsets: Option<Table<'a, 2>>,
    keys: Option<Table<'a, 1>>,
    runs: Table<'a, 3>,
    chunks: Chunks<'a>,
}

impl<'a> Tables<'a> {
    fn read(stbl: &'a [u8]) -> Option<Self> {
        let found = |kind| child(stbl, kind);
        // One that is there has to be whole.
        let offsets = found(*b"ctts").map(|full| table(full).ok_or(())).transpose().ok()?;
        let keys = found(*b"stss").map(|full| table(full).ok_or(())).transpose().ok()?;
        Some(Self {
            sizes: Sizes::read(stbl, None)?,
            durations: table(found(*b"stts")?)?,
            offsets,
            keys,
            runs: table(found(*b"stsc")?)?,
            chunks: Chunks::read(stbl)?,
        })
    }
}

/// A place in runs of equal numbers: which run, and how many of it are behind us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Run {
    entry: usize,
    done: u32,
}

impl Run {
    /// The number here, and one step on; None past the end.
    fn next(&mut self, table: Table<'_, 2>) -> Option<u32> {
        loop {
            let &[count, number] = table.get(self.entry)?;
            if self.done < word(count) {
                self.done += 1;
                return Some(word(number));
            }
            *self = Self { entry: self.entry + 1, done: 0 };
        }
    }
}

/// A place between two samples of an [`Index`]; the default is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    sample: u64,
    time: u64,
    duration: Run,
    offset: Run,
    key: usize,
    /// Chunks that are begun, samples that are left in the last of them, and where the next one lies.
    chunks: usize,
    left: u32,
    at: u64,
    /// Entries of `stsc` that are behind us, and the samples a chunk that the last of them says.
    runs: usize,
    per_chunk: u32,
}

impl Cursor {
    /// Samples between an earlier place and this one.
    pub fn since(self, earlier: Self) -> usize {
        usize::try_from(self.sample.saturating_sub(earlier.sample)).unwrap_or(usize::MAX)
    }
}

/// Samples of a track, one after another.
pub struct Walk<'a> {
    tables: Tables<'a>,
    length: u64,
    at: Cursor,
}

impl<'a> Walk<'a> {
    /// A walk over the samples of a sample table in a file of `length` bytes; None where a table is missing.
    pub(super) fn over(stbl: &'a [u8], length: u64, from: Cursor) -> Option<Self> {
        Some(Self { tables: Tables::read(stbl)?, length, at: from })
    }

    /// Where it is: before the sample that comes next.
    pub fn cursor(&self) -> Cursor {
        self.at
    }

    /// Goes to the chunk of the next sample.
    fn enter(&mut self) -> Option<()> {
        let Self { tables, at, .. } = self;
        while at.left == 0 {
            at.at = tables.chunks.get(at.chunks)?;
            at.chunks += 1;
            while let Some(&[first, samples, _]) = tables.runs.get(at.runs)
                && word(first) as usize <= at.chunks
            {
                at.per_chunk = word(samples);
                at.runs += 1;
            }
            at.left = at.per_chunk;
        }
        Some(())
    }

    /// Whether the next sample is a keyframe: those are counted from 1, in order.
    fn is_key(&mut self) -> bool {
        let Some(keys) = self.tables.keys else {
            return true;
        };
        let number = self.at.sample + 1;
        while let Some(&[key]) = keys.get(self.at.key) {
            match u64::from(word(key)).cmp(&number) {
                Ordering::Less => self.at.key += 1,
                Ordering::Equal => return true,
                Ordering::Greater => break,
            }
        }
        false
    }
}

impl Iterator for Walk<'_> {
    type Item = Place;

    fn next(&mut self) -> Option<Place> {
        if self.at.sample >= self.tables.sizes.count() {
            return None;
        }
        self.enter()?;
        let size = u32::try_from(self.tables.sizes.size(self.at.sample)?).ok()?;
        let end = self.at.at.checked_add(u64::from(size)).filter(|&end| end <= self.length)?;
        let sync = self.is_key();
        let at = &mut self.at;
        let duration = at.duration.next(self.tables.durations)?;
        let offset = self.tables.offsets.and_then(|table| at.offset.next(table));
        let offset = offset.unwrap_or(0).cast_signed();
        let place = Place { at: at.at, size, time: at.time, duration, offset, sync };
        at.sample += 1;
        at.left -= 1;
        at.at = end;
        at.time = at.time.checked_add(u64::from(duration))?;
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, process::Command};

    use proptest::prelude::*;

    use super::*;

    /// A film that ffmpeg makes, with B pictures, and sound beside it.
    fn film(options: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut ffmpeg = Command::new("ffmpeg");
        let film = format!(
            "-nostdin -v error -y -f lavfi -i testsrc2=s=160x90:r=25:d=3 -f lavfi -i sine=d=3:r=44100 \
            -c:v libx264 -preset veryfast -bf 2 -g 20 -pix_fmt yuv420p -c:a aac {options}"
        );
        let status = ffmpeg.args(film.split(' ')).arg(file.path()).status();
        assert!(status.expect("ffmpeg is installed").success());
        file
    }

    /// Position, size and keyframe flag of each packet, as ffprobe has them.
    fn packets(file: &tempfile::NamedTempFile, stream: &str) -> Vec<(u64, u32, bool)> {
        let mut ffprobe = Command::new("ffprobe");
        let wanted = format!(
            "-v error -select_streams {stream} -show_entries packet=size,pos,flags -of csv=p=0"
        );
        let output = ffprobe.args(wanted.split(' ')).arg(file.path()).output();
        let output = output.expect("ffprobe is installed");
        let line = |line: &str| {
            let mut fields = line.split(',');
            let size = fields.next()?.parse().ok()?;
            Some((fields.next()?.parse().ok()?, size, fields.next()?.starts_with('K')))
        };
        String::from_utf8_lossy(&output.stdout).lines().filter_map(line).collect()
    }

    fn walked(index: &Index) -> Vec<Place> {
        index.walk(Cursor::default()).unwrap().collect()
    }

    #[test]
    fn samples_lie_where_ffmpeg_finds_them() {
        for options in ["-f mp4", "-movflags +faststart -f mp4", "-f mov"] {
            let file = film(options);
            let opened = File::open(file.path()).unwrap();
            let length = opened.metadata().unwrap().len();
            let input = Input::file(&opened, length, None, true);
            let picture = Index::picture(&input, 0).unwrap().unwrap();
            let sound = Index::sound(&input, 0).unwrap().unwrap();
            assert_eq!((picture.kind, sound.kind), (*b"avc1", *b"mp4a"));
            assert_eq!(picture.config.get(4..8), Some(&b"avcC"[..]));
            for (index, stream) in [(&picture, "v:0"), (&sound, "a:0")] {
                let places = walked(index);
                let found: Vec<_> = places.iter().map(|p| (p.at, p.size, p.sync)).collect();
                assert_eq!(found, packets(&file, stream), "{stream} of {options}");
                let steps =
                    places.windows(2).all(|p| p[1].time == p[0].time + u64::from(p[0].duration));
                assert!(steps, "{stream} of {options}");
            }
            let mut walk = picture.walk(Cursor::default()).unwrap();
            let (begun, _) = (walk.cursor(), walk.nth(29));
            assert_eq!(walk.cursor().since(begun), 30);
            let rest: Vec<_> = picture.walk(walk.cursor()).unwrap().collect();
            assert_eq!(rest, walked(&picture)[30..], "a walk goes on where it was");
            assert!(Index::sound(&input, 1).unwrap().is_none());
        }
    }

    #[test]
    fn what_is_not_there_ends_the_walk() {
        let file = film("-movflags +faststart -f mp4");
        let bytes = std::fs::read(file.path()).unwrap();
        let whole = Input::slice(&bytes, Some(bytes.len() as u64));
        let all = walked(&Index::picture(&whole, 0).unwrap().unwrap());
        let cut = bytes.len() * 2 / 3;
        let short = Input::slice(&bytes[..cut], Some(cut as u64));
        let held = walked(&Index::picture(&short, 0).unwrap().unwrap());
        assert!(!held.is_empty() && held.len() < all.len() && all.starts_with(&held));
    }

    proptest! {
        #[test]
        fn no_table_ends_it(stbl in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..6, length: u64) {
            let kinds = [*b"stts", *b"stsc", *b"stco", *b"stsz", *b"ctts", *b"stss"];
            let mut all = Vec::new();
            for (n, kind) in kinds.iter().enumerate() {
                let body = if n == at { stbl.clone() } else { [&[0; 7][..], &[1], &[0, 0, 0, 1].repeat(3)].concat() };
                all.extend_from_slice(&(body.len() as u32 + 8).to_be_bytes());
                all.extend_from_slice(kind);
                all.extend_from_slice(&body);
            }
            let index = Index { kind: *b"avc1", config: Vec::new(), timescale: 1, stbl: all.into(), length };
            if let Some(walk) = index.walk(Cursor::default()) {
                prop_assert!(walk.take(1000).all(|place| place.at + u64::from(place.size) <= length));
            }
        }
    }
}
