//! A head: it produces one rendition forward from one segment, and keeps each segment.
//!
//! What can be copied out of its file goes through a [`Demuxer`]; all else through an ffmpeg of the head's own, in [`process`].
//! A head ends where the rendition ends, where another head has been, when it is told to, when nobody listens any more, or
//! when a segment cannot be made.

pub(super) mod process;

use std::{
    ops::ControlFlow::{self, Break, Continue},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{
    Packager, Part,
    control::Control,
    demuxer::Demuxer,
    feed,
    file::{File, Format},
    store::Hot,
};
use crate::{
    disk::Reservation,
    error::{Code, Error, Result},
    source::spool::Spool,
};

/// For how long a segment that somebody waits for may find no room: others have taken it, and are about to write.
const SQUEEZE: Duration = Duration::from_secs(2);

/// Why a head ended.
#[derive(Debug)]
pub enum End {
    /// It came to the end of the rendition.
    Done,
    /// It came to a segment that was there.
    Joined,
    /// It was told to.
    Yielded,
    /// Nobody listens any more.
    Idle,
    /// The segment it worked on could not be made.
    Failed(Error),
}

impl End {
    /// The name under which it is counted.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Joined => "joined",
            Self::Yielded => "yielded",
            Self::Idle => "idle",
            Self::Failed(_) => "failed",
        }
    }
}

/// Runs one head to its end. Never fails: what goes wrong is an end like others.
pub async fn run(packager: &Packager, part: &Part, control: &Arc<Control>) -> End {
    let head = Head { packager, part, control };
    head.run().await.unwrap_or_else(End::Failed)
}

/// A head at work.
#[derive(Clone, Copy)]
struct Head<'a> {
    packager: &'a Packager,
    part: &'a Part,
    control: &'a Control,
}

impl Head<'_> {
    async fn run(self) -> Result<End> {
        let source = feed::source(self.packager, self.part, self.control).await?;
        let (part, file) = (self.part.clone(), source.clone());
        match blocking(move || Demuxer::open(&part, &file)).await? {
            Some(demuxer) => self.copy(&Arc::new(demuxer), &source).await,
            None => process::run(self, source).await,
        }
    }

    /// Copies segment after segment out of the source, as it arrives.
    async fn copy(self, demuxer: &Arc<Demuxer>, source: &Arc<Spool>) -> Result<End> {
        if let Some(init) = demuxer.init() {
            self.keep_init(&init).await?;
        }
        let mut n = self.control.start;
        loop {
            let needed = if source.is_whole() { 0 } else { demuxer.needs(n) };
            if source.available() < needed {
                let arrived = async {
                    self.packager.workers.dispatch();
                    source.wait_for(needed).await
                };
                self.control.starve(arrived).await?;
            }
            let (cutter, file) = (demuxer.clone(), source.clone());
            let (segment, missing) = blocking(move || cutter.segment(&file, n)).await??;
            if missing > 0 {
                self.warn_of_gap(missing);
            }
            if let Some(end) = self.advance(n, segment).await? {
                return Ok(end);
            }
            n += 1;
        }
    }

    /// Says once for each rendition that pictures of its source are none.
    fn warn_of_gap(self, frames: u64) {
        let Part { package, rendition } = self.part;
        if rendition.add_missing(frames) {
            self.packager.metrics.short_sources.inc();
            tracing::warn!(
                package = %package.key,
                track = %rendition.track,
                "pictures of a source are damaged; the one before them stands still"
            );
        }
    }

    /// Keeps segment `n`, and says whether that was the last one for this head.
    async fn advance(&self, n: u32, segment: Bytes) -> Result<Option<End>> {
        let rendition = &self.part.rendition;
        let room = match self.room(segment.len() as u64).await? {
            Continue(room) => room,
            Break(end) => return Ok(Some(end)),
        };
        if !self.keep(n, Hot::new(segment), room).await? {
            return Ok(Some(End::Joined));
        }
        let next = n + 1;
        if next == rendition.table().len() {
            return Ok(Some(End::Done));
        }
        if rendition.is_ready(next) {
            return Ok(Some(End::Joined));
        }
        if self.control.stop.load(Relaxed) {
            return Ok(Some(End::Yielded));
        }
        Ok(self.rest(next).await)
    }

    /// Keeps the initialization segment of a rendition that had none. All heads have to agree on it: a player has loaded it
    /// once for all of their segments.
    async fn keep_init(&self, init: &Bytes) -> Result<()> {
        let Part { package, rendition } = self.part;
        match rendition.init() {
            Some(known) if known == init => Ok(()),
            Some(_) => Err(Error::encode_failed("this comes out differently than before")),
            None => {
                let file = File::Init(rendition.track);
                self.packager.keep(package, file, Hot::new(init.clone())).await?;
                rendition.set_init(init.clone());
                Ok(())
            }
        }
    }

    /// Room on the disk for the next segment. Where there is none, what is made ahead waits until players have moved on, and what
    /// somebody waits for until others have written what they have taken room for.
    async fn room(&self, bytes: u64) -> Result<ControlFlow<End, Option<Reservation>>> {
        let Self { packager, part, control, .. } = self;
        let rendition = &part.rendition;
        let began = Instant::now();
        let mut followed = None;
        loop {
            let changed = rendition.changed();
            let error = match packager.room_for(part, control, bytes) {
                Ok(room) => return Ok(Continue(room)),
                Err(error) => error,
            };
            let pause = if rendition.is_followed(control) {
                if followed.get_or_insert_with(Instant::now).elapsed() > SQUEEZE {
                    return Err(error);
                }
                SQUEEZE / 20
            } else if !rendition.is_paced() {
                return Err(error);
            } else if control.stop.load(Relaxed) {
                return Ok(Break(End::Yielded));
            } else if began.elapsed() > packager.idle {
                return Ok(Break(End::Idle));
            } else {
                packager.idle
            };
            let moved = async {
                packager.workers.dispatch();
                tokio::time::timeout(pause, changed).await
            };
            // Late or not, there may be room now.
            let _ = control.starve(moved).await;
        }
    }

    /// Writes the segment; false when somebody else has.
    async fn keep(&self, n: u32, segment: Hot, room: Option<Reservation>) -> Result<bool> {
        let rendition = &self.part.rendition;
        self.part.package.refuse_change()?;
        if !rendition.claim(n) {
            return Ok(false);
        }
        let file = File::Segment(rendition.track, n, Format::M4s);
        let bytes = segment.bytes.len() as u64;
        let kept = self.packager.keep(&self.part.package, file, segment).await;
        match kept {
            Ok(()) => {
                if let Some(room) = room {
                    self.part.package.hold(room);
                }
                rendition.publish(n, bytes, self.control);
            }
            Err(_) => rendition.unclaim(n),
        }
        kept.map(|()| true)
    }

    /// Pauses while no stream lives that could play this, or players are far behind: a pipe that nobody reads holds ffmpeg.
    async fn rest(&self, next: u32) -> Option<End> {
        if self.part.is_due_of(next, self.control) {
            return None;
        }
        let back = async {
            self.packager.workers.dispatch();
            let due = self.part.wait_until_due(next, self.control);
            tokio::time::timeout(self.packager.idle, due).await
        };
        match self.control.starve(back).await {
            Ok(true) => None,
            Ok(false) => Some(End::Yielded),
            Err(_) => Some(End::Idle),
        }
    }
}

/// Does something that blocks where that is allowed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let fell = |_| Error::new(Code::Internal, "a head fell over");
    tokio::task::spawn_blocking(work).await.map_err(fell)
}
