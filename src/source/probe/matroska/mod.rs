//! Matroska and `WebM` (RFC 8794, RFC 9559).
//!
//! Told by the end, by a walk over all blocks: a Duration counts what its muxer liked to count, and was measured to be more
//! than 1024 samples beside what is decoded. The same walk meets every frame of video, and so its keyframes: better than
//! Cues, which may leave some out and do not say how much lies between them.

mod audio;
mod element;
mod nest;
mod track;
mod video;

use self::{
    audio::Sound,
    element::{Element, HEAD, elements, unsigned, vint},
    nest::Nest,
    track::Track,
    video::Moving,
};
use super::{
    Clock, Container, Input, Media, Stop,
    input::{Scan, array},
    media::scale,
    pictures::Shot,
    unsupported,
};

/// Elements that are looked at before the first cluster.
const ELEMENTS: usize = 10_000;

/// The largest Tracks or Info element that is read, in bytes.
const HEADER: u64 = 16 * 1024 * 1024;

/// Bytes of a block that tell its length.
const BLOCK_HEAD: usize = 64;

/// Nanoseconds of a tick where nothing else is said, or nothing that can be.
const TICK: u64 = 1_000_000;

const SEGMENT: u32 = 0x1853_8067;
const INFO: u32 = 0x1549_a966;
const TRACKS: u32 = 0x1654_ae6b;
const CLUSTER: u32 = 0x1f43_b675;
const TIMESTAMP: u32 = 0xe7;
const GROUP: u32 = 0xa0;
const BLOCK: u32 = 0xa1;
const SIMPLE: u32 = 0xa3;
const DURATION: u32 = 0x9b;
const REFERENCE: u32 = 0xfb;
const DISCARD: u32 = 0x75a2;

/// What the file holds.
pub(super) fn media(input: &Input<'_>) -> Result<Media, Stop> {
    let undetermined = || Stop::Undetermined(Container::Matroska);
    let mut scan = Scan::new(*input);
    let mut at = 0;
    let mut tracks = None;
    let mut tick = TICK;
    let mut nest = Nest::default();
    for _ in 0..ELEMENTS {
        let Some(element) = Element::at(&mut scan, at)? else {
            break;
        };
        at = match element.id {
            SEGMENT => {
                nest = Nest::within(element);
                element.body
            }
            CLUSTER => break,
            TRACKS | INFO if element.size.is_none_or(|size| size > HEADER) => {
                return Err(undetermined());
            }
            TRACKS => {
                let body = input.bytes(element.body, element.length())?;
                if !Track::are_whole(&body) {
                    return Err(undetermined());
                }
                tracks = Some(body);
                element.end()
            }
            INFO => {
                let info = input.bytes(element.body, element.length())?;
                let told = elements(&info).find(|(id, _)| *id == 0x002a_d7b1);
                tick =
                    told.map(|(_, body)| unsigned(body)).filter(|&told| told > 0).unwrap_or(tick);
                element.end()
            }
            _ if element.size.is_none() => return Err(undetermined()),
            _ => element.end(),
        };
    }
    // The tracks may stand behind the clusters.
    let end = input.end();
    let Some(tracks) = tracks else {
        end?;
        return Err(undetermined());
    };
    let tracks = Track::all(&tracks);
    let mut streams = Streams::new(&tracks, tick)?;
    end?;
    streams.walk(input, at, nest)?.ok_or_else(undetermined)?;
    streams.media(&tracks).ok_or_else(undetermined)
}

/// Where the segment says that it ends; None where it does not say, or there is none behind the EBML header.
pub(super) fn segment(input: &Input<'_>) -> Result<Option<u64>, Stop> {
    let mut scan = Scan::new(*input);
    let Some(header) = Element::at(&mut scan, 0)? else {
        return Ok(None);
    };
    let segment = Element::at(&mut scan, header.end())?.filter(|element| element.id == SEGMENT);
    Ok(segment.filter(|segment| segment.size.is_some()).map(|segment| segment.end()))
}

/// One track that is counted.
#[derive(Debug)]
struct Stream {
    /// The track's place among all, and among those of its kind.
    track: usize,
    index: u32,
    number: u64,
    content: Content,
    /// The time of its first block in ticks.
    first: Option<i64>,
}

#[derive(Debug)]
enum Content {
    Sound(Sound),
    Moving(Moving),
}

/// All tracks that are counted, and where the walk is.
#[derive(Debug)]
struct Streams {
    counted: Vec<Stream>,
    /// The numbers of the subtitles.
    texts: Vec<u64>,
    /// The time in ticks of the first block of a subtitle, if it comes before one of each that is counted.
    text: Option<i64>,
    /// Nanoseconds of a tick.
    tick: u64,
    /// The cluster's time.
    cluster: i64,
    /// The stream of the newest block.
    newest: Option<usize>,
    /// The newest frame of video, of which the rest of its group may still tell.
    pending: Option<(usize, Shot)>,
}

impl Streams {
    fn new(tracks: &[Track<'_>], tick: u64) -> Result<Self, Stop> {
        if tracks.iter().any(|track| track.encrypted && matches!(track.kind, 1 | 2)) {
            return Err(unsupported("an encrypted Matroska"));
        }
        let kind =
            |wanted| tracks.iter().enumerate().filter(move |(_, track)| track.kind == wanted);
        let mut counted = Vec::new();
        let mut unknown = None;
        let moving = kind(1).next();
        for (index, (place, track)) in (0..).zip(kind(2)) {
            match Sound::read(track) {
                Ok(sound) => counted.push(Stream::new(place, index, track, Content::Sound(sound))),
                Err(Stop::Unsupported(found)) => unknown = unknown.or(Some(found)),
                Err(stop) => return Err(stop),
            }
        }
        if let Some((place, track)) = moving {
            let moving = Moving::read(track).ok_or(Stop::Undetermined(Container::Matroska))?;
            counted.push(Stream::new(place, 0, track, Content::Moving(moving)));
        }
        match unknown {
            Some(found) if counted.is_empty() => Err(unsupported(found)),
            None if counted.is_empty() => Err(unsupported("Matroska without audio or video")),
            _ => {
                let texts = kind(17).map(|(_, track)| track.number).collect();
                let (newest, pending) = (None, None);
                Ok(Self { counted, texts, text: None, tick, cluster: 0, newest, pending })
            }
        }
    }

    /// Meets all blocks from `at` on; None where only decoding can tell what they come to: of elements that are damaged, ffmpeg
    /// finds those behind them.
    fn walk(&mut self, input: &Input<'_>, mut at: u64, mut nest: Nest) -> Result<Option<()>, Stop> {
        let end = input.end()?;
        let mut scan = Scan::new(*input);
        while at < end {
            let told = Element::at(&mut scan, at)?;
            let Some(element) = told.filter(|element| nest.enter(at, element, end)) else {
                // What follows the segment, or a head that the file's end cuts off.
                if nest.is_over(at) || told.is_none() && end - at < HEAD as u64 {
                    break;
                }
                return Ok(None);
            };
            at = match element.id {
                SEGMENT | CLUSTER | GROUP => element.body,
                _ if element.size.is_none() => return Ok(None),
                _ => element.end(),
            };
            let number = |scan: &mut Scan<'_>| -> Result<u64, Stop> {
                Ok(unsigned(scan.some(element.body, element.length().min(8))?))
            };
            match element.id {
                SIMPLE | BLOCK if at <= end => {
                    self.flush();
                    let head = scan.some(element.body, element.length().min(BLOCK_HEAD))?;
                    let simple = element.id == SIMPLE;
                    if self.block(head, element.size.unwrap_or(0), simple).is_none() {
                        return Ok(None);
                    }
                }
                TIMESTAMP => self.cluster = number(&mut scan)?.cast_signed(),
                DISCARD => {
                    let nanoseconds = number(&mut scan)?;
                    self.discard(nanoseconds);
                }
                DURATION => {
                    let ticks = number(&mut scan)?;
                    self.amend(|shot| shot.duration = ticks);
                }
                REFERENCE => self.amend(|shot| shot.key = false),
                // Chained segments are left to ffmpeg.
                SEGMENT => return Ok(None),
                _ => {}
            }
        }
        self.flush();
        Ok(Some(()))
    }

    /// Counts one block of `size` bytes by its first bytes; None if its length cannot be told.
    fn block(&mut self, head: &[u8], size: u64, simple: bool) -> Option<()> {
        self.newest = None;
        let (number, width) = vint(head)?;
        let place = self.counted.iter().position(|stream| Some(stream.number) == number);
        let Some((place, stream)) = place.and_then(|at| Some((at, self.counted.get_mut(at)?)))
        else {
            if number.is_some_and(|number| self.texts.contains(&number)) {
                self.meet_text(head, width);
            }
            return Some(());
        };
        let offset = i64::from(i16::from_be_bytes(array(head, width)?));
        let flags = *head.get(width + 2)?;
        let laced = flags & 0x06 != 0;
        let frames = if laced { u64::from(*head.get(width + 3)?) + 1 } else { 1 };
        let frame = head.get(width + 3..)?;
        let size = size.saturating_sub(width as u64 + 3);
        let time = self.cluster.saturating_add(offset);
        stream.first = Some(stream.first.map_or(time, |first| first.min(time)));
        self.newest = Some(place);
        match &mut stream.content {
            Content::Sound(sound) => sound.block(frame, size, frames, laced)?,
            Content::Moving(moving) => {
                if laced {
                    moving.spoil();
                }
                let key = !simple || flags & 0x80 != 0;
                self.pending = Some((place, Shot { time, duration: 0, size, key }));
            }
        }
        Some(())
    }

    fn meet_text(&mut self, head: &[u8], width: usize) {
        if self.counted.iter().all(|stream| stream.first.is_some()) {
            return;
        }
        let time = array(head, width)
            .map(|offset| self.cluster.saturating_add(i16::from_be_bytes(offset).into()));
        self.text = self.text.into_iter().chain(time).min();
    }

    fn amend(&mut self, change: impl FnOnce(&mut Shot)) {
        if let Some((_, shot)) = &mut self.pending {
            change(shot);
        }
    }

    fn discard(&mut self, nanoseconds: u64) {
        let stream = self.newest.and_then(|newest| self.counted.get_mut(newest));
        if let Some(Stream { content: Content::Sound(sound), .. }) = stream {
            sound.cut(nanoseconds);
        }
    }

    fn flush(&mut self) {
        if let Some((place, shot)) = self.pending.take()
            && let Some(Stream { content: Content::Moving(moving), .. }) =
                self.counted.get_mut(place)
        {
            moving.push(shot);
        }
    }

    /// What the walk has met; None where only decoding can tell.
    fn media(self, tracks: &[Track<'_>]) -> Option<Media> {
        let tick = self.tick;
        let nanoseconds = |ticks: i64| {
            let size = scale(ticks.unsigned_abs(), tick, 1).min(i64::MAX as u64).cast_signed();
            if ticks < 0 { -size } else { size }
        };
        // Ticks that are no whole part of a second are left to ffmpeg.
        let whole = 1_000_000_000u64.is_multiple_of(tick);
        let timescale = u32::try_from(1_000_000_000 / tick).ok().filter(|_| whole);
        let early = self.text.map(nanoseconds);
        let (mut audio, mut starts, mut video, mut start) = (Vec::new(), Vec::new(), None, None);
        for stream in self.counted {
            let track = tracks.get(stream.track)?;
            match stream.content {
                Content::Sound(sound) => {
                    audio.push(sound.told(track, stream.index)?);
                    starts.push(nanoseconds(stream.first.unwrap_or(0)));
                }
                Content::Moving(moving) => {
                    if let Some((told, first)) = moving.told(track, stream.index, timescale?) {
                        (video, start) = (Some(told), Some(nanoseconds(first)));
                    }
                }
            }
        }
        let subtitles = (0..).zip(tracks.iter().filter(|track| track.kind == 17));
        let text = subtitles.filter_map(|(index, track)| track.text(index)).collect();
        let container = Container::Matroska;
        let mut media = Media {
            container,
            pipe: true,
            audio,
            video,
            text,
            start: 0,
            lag: 0,
            clock: Clock::default(),
        };
        media.align(&starts, start, early);
        Some(media)
    }
}

impl Stream {
    fn new(track: usize, index: u32, entry: &Track<'_>, content: Content) -> Self {
        Self { track, index, number: entry.number, content, first: None }
    }
}
