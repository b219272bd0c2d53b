//! What a player asks for: every file of a package, as it is sent.

use std::{
    io::{self, Write},
    sync::Arc,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

use super::{
    Package, Packager, Part,
    adts::Corrupt,
    file::{File, Format, Kind, Track},
    fmp4::audio as fmp4,
    key::Key,
    menu, packed,
    playlist::{self, Query},
    rendition::{Outlook, Rendition},
    store::Hot,
    table::SegmentTable,
    ts,
};
use crate::{
    config::Container,
    error::{Code, Error, Result},
    metrics::Metrics,
};

/// Playlists and other text from this size on are offered gzipped.
const WORTH_ZIPPING: usize = 1024;

/// Names a file in memory. No `Debug`: what playlists carry can be a token.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Name {
    package: Key,
    file: File,
    container: Container,
    carried: String,
}

impl Name {
    /// A file that is the same whoever asks.
    pub fn new(package: Key, file: File) -> Self {
        Self { package, file, container: Container::Cmaf, carried: String::new() }
    }

    /// A file as it is for players that want this container, and whose playlists' URIs carry this query.
    fn of(package: Key, file: File, container: Container, query: Query<'_>) -> Self {
        match file {
            File::Index | File::Playlist(_) | File::Storyboard => {
                Self { package, file, container, carried: query.to_string() }
            }
            File::Segment(_, _, Format::Vtt) => Self { container, ..Self::new(package, file) },
            _ => Self::new(package, file),
        }
    }

    /// Bytes of what is carried.
    pub fn weight(&self) -> usize {
        self.carried.len()
    }
}

impl Packager {
    /// One file of a package. Waits for a segment that is not encoded yet.
    ///
    /// # Errors
    /// [`Code::NotFound`] for what the playlists do not name; [`Code::EncodeFailed`], or what the source says, when a segment
    /// cannot be made; [`Code::Busy`] when it was waited for too long.
    pub async fn view(&self, package: &Arc<Package>, file: File, query: Query<'_>) -> Result<Hot> {
        let container = query.container.unwrap_or(self.container);
        let name = Name::of(package.key, file, container, query);
        if let Some(hot) = self.hot.get(&name).await {
            if let File::Segment(track, n, _) = file
                && let Some(rendition) = package.rendition(track)
            {
                self.metrics.segments_from_memory.inc();
                rendition.note(n);
            }
            return Ok(hot);
        }
        // Boxed, because every request would pay for the room that only those need whose file is not there.
        Box::pin(self.make(package, name, query)).await
    }

    async fn make(&self, package: &Arc<Package>, name: Name, query: Query<'_>) -> Result<Hot> {
        let (file, container) = (name.file, name.container);
        match file {
            File::Index | File::Playlist(_) => {
                let make = async { self.playlist(package, file, container, query).map(zipped) };
                self.cached(name, make).await
            }
            File::Init(track) => {
                if let Some(audio) = package.plan.audio(track) {
                    let make = async { Ok(Hot::new(fmp4::init(audio.codec))) };
                    return self.cached(name, make).await;
                }
                let part = package.part(track).ok_or_else(no_such_file)?;
                self.cached(name, self.init(&part)).await
            }
            File::Segment(track, n, Format::Vtt) => {
                self.cached(name, self.caption_segment(package, track, n, container)).await
            }
            File::Peaks => self.extra(package, file).await,
            File::Storyboard if let Some(storyboard) = &package.plan.storyboard => {
                let query = Query { container: None, ..query };
                self.cached(name, async { Ok(zipped(storyboard.cues(query))) }).await
            }
            File::Sprite(n)
                if package.plan.storyboard.as_ref().is_some_and(|s| n < s.sprites()) =>
            {
                self.extra(package, file).await
            }
            File::Storyboard | File::Sprite(_) | File::Text(_) => Err(no_such_file()),
            File::Segment(track, n, format) => {
                let part = package.part(track).ok_or_else(no_such_file)?;
                match format {
                    _ if n >= part.rendition.table().len() => Err(no_such_file()),
                    Format::M4s => self.segment(&part, n, name).await,
                    _ => self.cached(name, self.mux(&part, n, format)).await,
                }
            }
        }
    }

    /// Every file of a package but the multivariant playlist, in rows: a file names none that comes after it in its row, nor any
    /// of another row.
    pub fn rows(&self, package: &Package) -> Vec<Vec<File>> {
        let mut rows = Vec::new();
        let cuts = package.plan.timeline().map_or(0, SegmentTable::len);
        for track in package.caption_tracks() {
            let segments = (0..cuts).map(|n| File::Segment(track, n, Format::Vtt));
            rows.push(segments.chain([File::Playlist(track)]).collect());
        }
        if !package.plan.audio.is_empty() {
            rows.push(vec![File::Peaks]);
        }
        if let Some(storyboard) = &package.plan.storyboard {
            let sprites = (0..storyboard.sprites()).map(File::Sprite);
            rows.push(sprites.chain([File::Storyboard]).collect());
        }
        for (track, table) in package.plan.tables() {
            let format = format(package, track, self.container);
            let segments = (0..table.len()).map(|n| File::Segment(track, n, format));
            let init = (format == Format::M4s).then_some(File::Init(track));
            rows.push(segments.chain(init).chain([File::Playlist(track)]).collect());
        }
        rows
    }

    /// A file from memory, or made; all who ask at once share the making.
    async fn cached(&self, name: Name, make: impl Future<Output = Result<Hot>>) -> Result<Hot> {
        let made = self.hot.try_get_with(name, make).await;
        made.map_err(|error| Error::clone(&error))
    }

    /// A segment that is not in memory: from disk, or once a head has made it.
    async fn segment(&self, part: &Part, n: u32, name: Name) -> Result<Hot> {
        let count = |from| Metrics::count(&self.metrics.segment_lookups, from);
        // What somebody waits for is not let go of: until it is read, neither.
        let _reader = part.rendition.wait(n);
        if part.rendition.is_ready(n) {
            count("disk");
        } else {
            count("encoded");
            self.wait_for(part, n).await?;
        }
        let file = name.file;
        let read = async {
            let bytes = self.store.read(part.package.key, file).await;
            bytes.map(Hot::new).map_err(|error| {
                tracing::error!(%error, "a segment cannot be read");
                Error::new(Code::EncodeFailed, "a segment that was there cannot be read any more")
            })
        };
        self.cached(name, read).await
    }

    /// An initialization segment that only a head knows.
    async fn init(&self, part: &Part) -> Result<Hot> {
        self.wait_until(part, 0, |rendition| rendition.init().is_some()).await?;
        part.rendition.init().cloned().map(Hot::new).ok_or_else(no_such_file)
    }

    /// Waits until segment `n` is there.
    pub(super) async fn wait_for(&self, part: &Part, n: u32) -> Result<()> {
        self.wait_until(part, n, |_| false).await
    }

    /// Waits until segment `n` is there, or until `enough` is.
    async fn wait_until(
        &self,
        part: &Part,
        n: u32,
        enough: impl Fn(&Rendition) -> bool,
    ) -> Result<()> {
        let rendition = &part.rendition;
        let _waiter = rendition.wait(n);
        let wait = async {
            loop {
                let changed = rendition.changed();
                if enough(rendition) {
                    return Ok(());
                }
                match rendition.outlook(n) {
                    Outlook::Ready => return Ok(()),
                    Outlook::Failed(error) => return Err(error),
                    Outlook::Coming => {}
                    Outlook::Needed => self.workers.want(part, n)?,
                }
                changed.await;
            }
        };
        let patience = *super::lock(&self.wait);
        let late = |_| {
            let waited = humantime::format_duration(patience);
            Error::busy(format!("the segment was not ready within {waited}"), super::RETRY)
        };
        tokio::time::timeout(patience, wait).await.map_err(late)?
    }

    /// The frames of an audio segment in another container.
    async fn mux(&self, part: &Part, n: u32, format: Format) -> Result<Hot> {
        let Part { package, rendition } = part;
        let audio = package.plan.audio(rendition.track).ok_or_else(no_such_file)?;
        let config = audio.codec.aac().ok_or_else(no_such_file)?;
        let name = Name::new(package.key, File::Segment(rendition.track, n, Format::M4s));
        let segment = match self.hot.get(&name).await {
            Some(hot) => {
                self.metrics.segments_from_memory.inc();
                hot
            }
            None => self.segment(part, n, name).await?,
        };
        let damaged = |e: Corrupt| {
            Error::new(Code::EncodeFailed, format!("a segment on disk is damaged: {e}"))
        };
        let (first, frames) = fmp4::read(&segment.bytes).map_err(damaged)?;
        Ok(Hot::new(match format {
            Format::Ts => ts::segment(config, n, first, &frames),
            _ if n == 0 && !audio.is_copied() => {
                packed::opening(config, &frames).map_err(damaged)?
            }
            _ => packed::segment(config, first, &frames),
        }))
    }

    fn playlist(
        &self,
        package: &Package,
        file: File,
        container: Container,
        query: Query<'_>,
    ) -> Result<String> {
        let plan = &package.plan;
        match file {
            File::Index => {
                let captions = package.has_captions.then_some((&*self.name, &*self.language));
                Ok(menu::index(plan, captions, container, query))
            }
            File::Playlist(track) => {
                let table = match package.rendition(track) {
                    Some(rendition) => rendition.table(),
                    None if package.caption_tracks().any(|own| own == track) => {
                        plan.timeline().ok_or_else(no_such_file)?
                    }
                    None => return Err(no_such_file()),
                };
                let format = format(package, track, container);
                Ok(playlist::media(table, track, format, plan.longest(), query))
            }
            _ => Err(no_such_file()),
        }
    }
}

/// What the segments of a track come in for players that want this container.
pub(super) fn format(package: &Package, track: Track, container: Container) -> Format {
    match track.kind {
        Kind::Audio => package.plan.container(container).into(),
        Kind::Video => Format::M4s,
        Kind::Subtitles => Format::Vtt,
    }
}

pub(super) fn no_such_file() -> Error {
    Error::new(Code::NotFound, "this stream has no such file")
}

/// A file of text, gzipped too if it is long.
pub(super) fn zipped(text: impl Into<Bytes>) -> Hot {
    let mut hot = Hot::new(text.into());
    let worth = hot.bytes.len() >= WORTH_ZIPPING;
    hot.gzip = worth.then(|| gzip(&hot.bytes).ok()).flatten();
    hot
}

fn gzip(bytes: &Bytes) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish().map(Bytes::from)
}
