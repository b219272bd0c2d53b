//! Ogg (RFC 3533) with Vorbis, Opus (RFC 7845) or FLAC: told by the end, by a walk over all pages.

use super::{
    Codec, Container, Input, Splice, Stop,
    flac::{self, StreamInfo},
    frames::Weights,
    input::{Scan, array, be16, le16, le32, le64},
    media::{Audio, Form, Frames, Media},
    opus, unsupported, vorbis,
};

/// Header packets are kept up to this size in total: comments may hold a cover.
const HEADERS: usize = 16 * 1024 * 1024;

/// The first audio stream of an Ogg file; a chain of streams only decoding can tell.
pub(super) fn media(input: &Input<'_>) -> Result<Media, Stop> {
    let end = input.end()?;
    let mut scan = Scan::new(*input);
    let mut at = 0;
    let mut stream: Option<Stream> = None;
    let mut other = None;
    let mut beginning = true;
    while at < end {
        let Some(page) = Page::read(&mut scan, at)? else {
            break;
        };
        at += page.length();
        beginning &= page.first;
        if page.first && !beginning {
            return Err(Stop::Undetermined(Container::Ogg));
        }
        match &mut stream {
            Some(stream) if stream.serial == page.serial => stream.take(&page)?,
            None if page.first => match Kind::of(page.packet()) {
                Ok(kind) => {
                    stream = Some(Stream::new(kind, page.serial));
                    stream.as_mut().map_or(Ok(()), |stream| stream.take(&page))?;
                }
                Err(name) => other = other.or(name),
            },
            _ => {}
        }
    }
    match stream {
        // Something that is no page, and more than the rest of one.
        Some(_) if end.saturating_sub(at) > 65_307 => Err(Stop::Undetermined(Container::Ogg)),
        Some(stream) => stream.media(),
        None => Err(unsupported(format!("Ogg with {}", other.unwrap_or("no known audio")))),
    }
}

/// One page.
struct Page {
    first: bool,
    last: bool,
    continued: bool,
    granule: Option<u64>,
    serial: u32,
    lacing: Vec<u8>,
    body: Vec<u8>,
}

impl Page {
    /// The page at `at`, or None if there is none or it is cut short.
    fn read(scan: &mut Scan<'_>, at: u64) -> Result<Option<Self>, Stop> {
        let head = scan.some(at, 27)?;
        let Some(head) = array::<27>(head, 0) else {
            return Ok(None);
        };
        if !head.starts_with(b"OggS\0") {
            return Ok(None);
        }
        let count = usize::from(head[26]);
        let lacing = scan.some(at + 27, count)?.to_vec();
        let size = lacing.iter().map(|&n| usize::from(n)).sum();
        let body = scan.some(at + 27 + count as u64, size)?.to_vec();
        if lacing.len() < count || body.len() < size {
            return Ok(None);
        }
        Ok(Some(Self {
            continued: head[5] & 1 != 0,
            first: head[5] & 2 != 0,
            last: head[5] & 4 != 0,
            granule: le64(&head, 6).filter(|&granule| granule != u64::MAX),
            serial: le32(&head, 14).unwrap_or(0),
            lacing,
            body,
        }))
    }

    fn length(&self) -> u64 {
        27 + self.lacing.len() as u64 + self.body.len() as u64
    }

    /// The packet that a first page holds.
    fn packet(&self) -> &[u8] {
        &self.body
    }

    /// The pieces of packets on this page, each with whether it ends its packet.
    fn pieces(&self) -> impl Iterator<Item = (&[u8], bool)> {
        let mut rest = self.body.as_slice();
        self.lacing.chunk_by(|&n, _| n == 255).map(move |lacing| {
            let size = lacing.iter().map(|&n| usize::from(n)).sum();
            let (piece, after) = rest.split_at_checked(size).unwrap_or((rest, &[]));
            rest = after;
            (piece, lacing.last() != Some(&255))
        })
    }
}

/// The codecs that are read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Vorbis,
    Opus,
    Flac,
}

impl Kind {
    /// The codec of a stream by its first packet, else the name of what it is (None for what holds no media).
    fn of(packet: &[u8]) -> Result<Self, Option<&'static str>> {
        const OTHERS: &[(&[u8], &str)] = &[
            (b"Speex   ", "Speex"),
            (b"\x80theora", "video (Theora) only"),
            (b"\x80kate", "captions only"),
            (b"PCM     ", "PCM"),
            (b"BBCD", "video (Dirac) only"),
        ];
        match packet {
            _ if packet.starts_with(b"\x01vorbis") => Ok(Self::Vorbis),
            _ if packet.starts_with(b"OpusHead") => Ok(Self::Opus),
            _ if packet.starts_with(b"\x7fFLAC") => Ok(Self::Flac),
            _ => Err(OTHERS
                .iter()
                .find(|(magic, _)| packet.starts_with(magic))
                .map(|(_, name)| *name)),
        }
    }
}

/// One logical stream while its pages go by.
struct Stream {
    kind: Kind,
    serial: u32,
    /// Header packets, until there are enough of them.
    headers: Vec<Vec<u8>>,
    wanted: usize,
    held: usize,
    /// The packet that the next page goes on with.
    open: Vec<u8>,
    inside: bool,
    /// Bytes of that packet.
    size: u64,
    setup: Option<vorbis::Setup>,
    info: Option<StreamInfo>,
    tally: Tally,
    /// The sizes of Opus and FLAC.
    weights: Weights,
}

/// What was counted of the audio packets.
#[derive(Debug, Default)]
struct Tally {
    /// The window of the packet before (Vorbis).
    window: u64,
    /// Samples of all packets, and of the first one.
    total: u64,
    first: Option<u64>,
    /// Samples that the first page's granule lacks of its packets (negative) or has more than them.
    start: Option<i64>,
    /// Samples of the newest packet.
    newest: u64,
    /// The newest granule, and whether it ends the stream.
    granule: u64,
    ended: bool,
}

impl Stream {
    fn new(kind: Kind, serial: u32) -> Self {
        let wanted = match kind {
            Kind::Vorbis => 3,
            Kind::Opus => 2,
            Kind::Flac => usize::MAX,
        };
        Self {
            kind,
            serial,
            headers: Vec::new(),
            wanted,
            held: 0,
            open: Vec::new(),
            inside: false,
            size: 0,
            setup: None,
            info: None,
            tally: Tally::default(),
            weights: Weights::new(opus::RATE),
        }
    }

    /// Counts the packets of one page.
    fn take(&mut self, page: &Page) -> Result<(), Stop> {
        let undetermined = Stop::Undetermined(Container::Ogg);
        if page.continued != self.inside && self.kind != Kind::Flac {
            return Err(undetermined);
        }
        let mut audio = false;
        for (piece, ends) in page.pieces() {
            if self.headers.len() < self.wanted {
                self.held += piece.len();
                if self.held > HEADERS {
                    return Err(undetermined);
                }
                self.open.extend_from_slice(piece);
                if ends {
                    self.header().ok_or(undetermined.clone())?;
                }
            } else {
                let missing = flac::HEAD.saturating_sub(self.open.len());
                self.open.extend(piece.iter().take(missing));
                self.size += piece.len() as u64;
                if ends {
                    audio = true;
                    self.packet().ok_or(undetermined.clone())?;
                    self.open.clear();
                    self.size = 0;
                }
            }
            self.inside = !ends;
        }
        if let Some(granule) = page.granule {
            let tally = &mut self.tally;
            if audio && tally.start.is_none() {
                tally.start = granule.cast_signed().checked_sub(tally.total.cast_signed());
                if page.last {
                    // ffmpeg skips its look at the first page if that is the last one too.
                    tally.start = Some(0);
                }
            }
            tally.granule = granule;
        }
        self.tally.ended |= page.last;
        Ok(())
    }

    /// Takes the open packet as a header.
    fn header(&mut self) -> Option<()> {
        let packet = std::mem::take(&mut self.open);
        if self.kind == Kind::Flac && self.headers.is_empty() {
            // Packets of headers that follow; 0 where the encoder did not know.
            self.info = packet.get(17..).and_then(StreamInfo::read);
            self.weights = Weights::new(self.info?.rate);
            self.wanted = match be16(&packet, 7)? {
                0 => return None,
                n => 1 + usize::from(n),
            };
        }
        self.headers.push(packet);
        if self.kind == Kind::Vorbis && self.headers.len() == 3 {
            self.setup = vorbis::Setup::read(&self.headers[0], &self.headers[2]);
            self.setup.as_ref()?;
        }
        Some(())
    }

    /// Counts the open packet.
    fn packet(&mut self) -> Option<()> {
        let tally = &mut self.tally;
        let samples = match (&self.setup, self.kind) {
            (Some(setup), Kind::Vorbis) => {
                let window = setup.window(*self.open.first()?)?;
                let before = if tally.first.is_none() { setup.short() } else { tally.window };
                tally.window = window;
                (before + window) / 4
            }
            (_, Kind::Opus) => {
                // ffmpeg's decoder loses samples of surround that is not CELT alone.
                let surround = self.headers.first()?.get(9)? > &2;
                if surround && !opus::is_celt(*self.open.first()?) {
                    return None;
                }
                opus::samples(&self.open)?
            }
            // libavformat ends streams of FLAC with an empty packet.
            _ if self.open.is_empty() => return Some(()),
            _ => {
                let (start, samples) = flac::frame(&self.open, self.info?.block)?;
                if start != tally.total {
                    self.weights.spoil();
                }
                samples
            }
        };
        self.weights.push(self.size, samples);
        tally.first.get_or_insert(samples);
        tally.total += samples;
        tally.newest = samples;
        Some(())
    }

    /// Its frames, where they can be copied.
    fn frames(&self) -> Option<Frames> {
        match self.kind {
            Kind::Vorbis => None,
            // What was cut out of a longer stream begins later than at 0.
            Kind::Opus if self.tally.start != Some(0) => None,
            Kind::Opus => {
                let opus::Head { skip, gain } = opus::Head::read(self.headers.first()?)?;
                self.weights.frames(Form::Opus { gain }, skip.into())
            }
            Kind::Flac => {
                let info = self.info.filter(|info| info.fixed)?;
                self.weights.frames(info.form(), 0)
            }
        }
    }

    fn media(self) -> Result<Media, Stop> {
        let frames = self.frames();
        let first = self.headers.first().map(Vec::as_slice).unwrap_or_default();
        let told = match self.kind {
            Kind::Vorbis => self.setup.as_ref().and_then(|setup| {
                Some((
                    Codec::Vorbis,
                    setup.rate,
                    setup.channels,
                    self.tally.decoded(self.tally.first?)?,
                ))
            }),
            Kind::Opus => le16(first, 10).and_then(|skip| {
                let channels = u16::from(*first.get(9)?);
                let samples = self.tally.decoded(0)?.checked_sub(u64::from(skip))?;
                Some((Codec::Opus, opus::RATE, channels, samples))
            }),
            Kind::Flac => {
                self.info.map(|info| (Codec::Flac, info.rate, info.channels, self.tally.total))
            }
        };
        let (codec, rate, channels, samples) = told.ok_or(Stop::Undetermined(Container::Ogg))?;
        let splice = if codec == Codec::Vorbis { Splice::Decode } else { Splice::Seek };
        let audio = Audio::new(codec, rate, channels, samples, splice);
        Ok(Media::sound(Container::Ogg, Audio { frames, ..audio }))
    }
}

impl Tally {
    /// Samples that come out of the packets: `lead` samples are none of them, and the last granule cuts the last packet. A cut
    /// that is longer than that packet is none: ffmpeg's decoder ignores it.
    fn decoded(&self, lead: u64) -> Option<u64> {
        let end = self.total.cast_signed().checked_add(self.start?)?;
        let cut =
            if self.ended { end.saturating_sub_unsigned(self.granule).max(0) as u64 } else { 0 };
        self.total.checked_sub(lead)?.checked_sub(if cut > self.newest { 0 } else { cut })
    }
}
