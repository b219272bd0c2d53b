//! A head: one ffmpeg process that produces one rendition forward from one segment.
//!
//! It reads ADTS from ffmpeg's stdout, drops the pre-roll, cuts at the table's frame numbers, muxes and keeps each segment.
//! It ends where the rendition ends, where another head has been, when it is told to, when nobody listens any more, or
//! when ffmpeg does not do what it should. ffmpeg's word counts for nothing here: frames do.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{ChildStdin, ChildStdout},
};

use super::{
    Package, Packager,
    adts::{Cutter, Frames},
    control::Control,
    encoder::{self, Input, PREROLL},
    file::{File, Format},
    fmp4,
    store::Hot,
};
use crate::{
    error::{Code, Error, Result},
    ffmpeg::{Exit, Process},
    source::spool::{self, Spool},
};

/// Bytes that go to ffmpeg's stdin at once.
const FEED: usize = 256 * 1024;

/// Bytes that come from ffmpeg's stdout at once: what a pipe holds.
const CHUNK: usize = 64 * 1024;

/// Missing frames that are put down to rounding: that much silence is appended without a word.
const ROUNDING: u64 = 2;

/// ffmpeg's exit code when most of what it decoded was damaged (its `-max_error_rate`).
const DAMAGED: i32 = 69;

/// For how long ffmpeg may take to end once it has closed its output.
const FAREWELL: Duration = Duration::from_secs(5);

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
pub async fn run(packager: &Packager, package: &Arc<Package>, control: &Arc<Control>) -> End {
    match Head::start(packager, package, control).await {
        Ok((head, process, source)) => head.work(process, source).await.unwrap_or_else(End::Failed),
        Err(error) => End::Failed(error),
    }
}

struct Head<'a> {
    packager: &'a Packager,
    package: &'a Arc<Package>,
    control: &'a Control,
    /// The segment being made, and its frames so far.
    n: u32,
    frames: Frames,
    /// Pre-roll frames still to be dropped.
    skip: u64,
    /// Whether ffmpeg was asked to seek.
    seeks: bool,
}

impl<'a> Head<'a> {
    async fn start(
        packager: &'a Packager,
        package: &'a Arc<Package>,
        control: &'a Control,
    ) -> Result<(Self, Process, Arc<Spool>)> {
        let source = source(packager, package, control).await?;
        let audio = &package.plan.audio;
        let n = control.start;
        let first = package.audio.table().frames(n).map_or(0, |frames| frames.start);
        let skip = first.min(PREROLL);
        let piped = !source.is_whole();
        let input = if piped { Input::Pipe } else { Input::File(source.path()) };
        let distrusted = package.audio.is_distrusted();
        let order = encoder::Order { audio, input, from: first - skip, distrusted };
        // Decoding and encoding run at 40 times real time or more; six hours are bounded too.
        let cpu = 60 + (audio.seconds() / 4.0) as u64;
        let started = packager.ffmpeg.spawn(order.arguments(), piped, cpu).await;
        let process = started.map_err(|error| {
            tracing::error!(%error, "ffmpeg cannot be started");
            failed("ffmpeg could not be started")
        })?;
        let seeks = order.seeks();
        let frames = Frames::default();
        Ok((Self { packager, package, control, n, frames, skip, seeks }, process, source))
    }

    async fn work(mut self, mut process: Process, source: Arc<Spool>) -> Result<End> {
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        let stdout = stdout.ok_or_else(|| failed("ffmpeg has no output"))?;
        let (packager, control) = (self.packager, self.control);
        let feed = async {
            match stdin {
                Some(stdin) => feed(packager, control, &source, stdin).await,
                None => Ok(()),
            }
        };
        let ended = {
            let mut produce = std::pin::pin!(self.produce(stdout));
            tokio::select! {
                biased;
                ended = &mut produce => ended?,
                // A source that breaks off ends its head; one that has been read to its end does not.
                fed = feed => { fed?; produce.await? }
            }
        };
        match ended {
            Some(end) => Ok(end),
            None => self.finish(process).await,
        }
    }

    /// Reads ffmpeg's output to its end, or to the end of what is wanted. None when ffmpeg ended first.
    async fn produce(&mut self, mut stdout: ChildStdout) -> Result<Option<End>> {
        let mut cutter = Cutter::new(self.package.plan.audio.config);
        let mut chunk = vec![0; CHUNK];
        let mut patience = Patience::new(self.packager.stall, self.package.plan.audio.seconds());
        loop {
            let read = patience.bound(self.control, stdout.read(&mut chunk)).await?;
            let read = read.map_err(|e| failed(format!("reading from ffmpeg: {e}")))?;
            if read == 0 {
                return Ok(None);
            }
            cutter.push(&chunk[..read]);
            while let Some(frame) = cutter.cut().map_err(|e| failed(format!("ffmpeg wrote {e}")))? {
                if self.skip > 0 {
                    self.skip -= 1;
                    continue;
                }
                self.frames.push(frame).map_err(|e| failed(e.to_string()))?;
                if let Some(end) = self.advance().await? {
                    return Ok(Some(end));
                }
            }
        }
    }

    /// Keeps the segment if it has all its frames, and says whether that was the last one.
    async fn advance(&mut self) -> Result<Option<End>> {
        let table = self.package.audio.table();
        let Some(frames) = table.frames(self.n) else {
            return Ok(Some(End::Done));
        };
        if (self.frames.len() as u64) < frames.end - frames.start {
            return Ok(None);
        }
        let bytes = fmp4::segment(self.n + 1, frames.start, &std::mem::take(&mut self.frames));
        if !self.keep(Hot::new(bytes)).await? {
            return Ok(Some(End::Joined));
        }
        self.n += 1;
        if self.n == table.len() {
            return Ok(Some(End::Done));
        }
        if self.package.audio.is_ready(self.n) {
            return Ok(Some(End::Joined));
        }
        if self.control.stop.load(Relaxed) {
            return Ok(Some(End::Yielded));
        }
        Ok((!self.has_listeners().await).then_some(End::Idle))
    }

    /// Writes the segment; false when somebody else has.
    async fn keep(&self, segment: Hot) -> Result<bool> {
        let rendition = &self.package.audio;
        self.package.refuse_change()?;
        if !rendition.claim(self.n) {
            return Ok(false);
        }
        let file = File::Segment(super::AUDIO, self.n, Format::M4s);
        let bytes = segment.bytes.len() as u64;
        let kept = self.packager.keep(self.package, file, segment).await;
        match kept {
            Ok(()) => rendition.publish(self.n, bytes, self.control),
            Err(_) => rendition.unclaim(self.n),
        }
        kept.map(|()| true)
    }

    /// Pauses while no stream lives that could play this: a pipe that nobody reads holds ffmpeg.
    async fn has_listeners(&self) -> bool {
        if self.package.is_live() {
            return true;
        }
        let back = async {
            self.packager.workers.dispatch();
            let live = self.package.wait_until_live();
            tokio::time::timeout(self.packager.idle, live).await.is_ok()
        };
        self.control.starve(back).await
    }

    /// ffmpeg has ended before the table did: silence for what is missing if the source was at its end, else an error.
    async fn finish(mut self, mut process: Process) -> Result<End> {
        let exit = tokio::time::timeout(FAREWELL, process.wait()).await;
        let exit = exit.map_err(|_| failed("ffmpeg closed its output and did not end"))?;
        let exit = exit.map_err(|e| failed(format!("waiting for ffmpeg: {e}")))?;
        if !matches!(exit.status.code(), Some(0 | DAMAGED)) {
            return Err(crashed(&exit));
        }
        let rendition = &self.package.audio;
        let table = rendition.table();
        let start = table.frames(self.n).map_or(0, |frames| frames.start);
        let end = table.frames(table.len() - 1).map_or(0, |frames| frames.end);
        let missing = end - start - self.frames.len() as u64;
        if missing > ROUNDING && self.seeks {
            rendition.distrust();
            return Err(failed("seeking gave less than the source holds"));
        }
        if self.frames.is_empty() && !rendition.has_any() {
            if self.n == 0 {
                return Err(crashed(&exit));
            }
            // The end of the source, or a source that is no good: whether it has a beginning tells.
            self.control.starve(self.packager.wait_for(self.package, 0)).await?;
        }
        if missing > ROUNDING && rendition.add_silence(missing) {
            self.packager.metrics.short_sources.inc();
            let seconds = missing * super::table::FRAME / u64::from(table.timescale());
            tracing::warn!(
                package = %self.package.key,
                complaints = exit.complaints,
                "a source ends {seconds} s before its header's promise; silence is appended"
            );
        }
        loop {
            let config = self.package.plan.audio.config;
            self.frames.push_silence(config, 1).map_err(|e| failed(e.to_string()))?;
            if let Some(end) = self.advance().await? {
                return Ok(end);
            }
        }
    }
}

/// The source, as much of it as a head needs to begin. While it has to be fetched the head is starved: a slow upstream
/// must not hold up those who have theirs.
async fn source(
    packager: &Packager,
    package: &Arc<Package>,
    control: &Control,
) -> Result<Arc<Spool>> {
    let fetch = async {
        let source = packager.pin(package).await?.spool().clone();
        if !package.plan.audio.pipe {
            source.wait_for(u64::MAX).await?;
        }
        Ok(source)
    };
    let mut fetch = std::pin::pin!(fetch);
    tokio::select! {
        biased;
        here = &mut fetch => return here,
        () = std::future::ready(()) => {}
    }
    let fetched = async {
        packager.workers.dispatch();
        fetch.await
    };
    control.starve(fetched).await
}

/// Hands the source to ffmpeg as it arrives. A process that stops reading has what it wants.
async fn feed(
    packager: &Packager,
    control: &Control,
    source: &Arc<Spool>,
    mut stdin: ChildStdin,
) -> Result<()> {
    let mut at = 0;
    loop {
        let have = match source.available() {
            have if have > at => have,
            _ => {
                let more = async {
                    packager.workers.dispatch();
                    source.wait_for(at + 1).await
                };
                control.starve(more).await?
            }
        };
        let len = FEED.min((have - at) as usize);
        if len == 0 {
            return Ok(());
        }
        let chunk = spool::read(source, at, len).await;
        let chunk = chunk.map_err(|e| failed(format!("reading a source: {e}")))?;
        at += chunk.len() as u64;
        if stdin.write_all(&chunk).await.is_err() {
            return Ok(());
        }
    }
}

/// How long ffmpeg is waited for: in one go, and in all. Only time in which it could work counts.
struct Patience {
    stall: Duration,
    left: Duration,
}

impl Patience {
    fn new(stall: Duration, seconds: f64) -> Self {
        Self { stall, left: Duration::from_mins(1) + Duration::from_secs_f64(2.0 * seconds) }
    }

    async fn bound<T>(&mut self, control: &Control, work: impl Future<Output = T>) -> Result<T> {
        let mut work = std::pin::pin!(work);
        loop {
            let began = Instant::now();
            let bound = self.stall.min(self.left);
            let outcome = tokio::time::timeout(bound, &mut work).await;
            let starved = control.starved.load(Relaxed);
            if !starved {
                self.left = self.left.saturating_sub(began.elapsed());
            }
            match outcome {
                Ok(done) => return Ok(done),
                Err(_) if starved => {}
                Err(_) => return Err(failed("ffmpeg produced nothing in time")),
            }
        }
    }
}

fn crashed(exit: &Exit) -> Error {
    tracing::warn!(status = %exit.status, complaints = exit.complaints, "ffmpeg gave up");
    failed("ffmpeg could not decode the media")
}

fn failed(text: impl Into<String>) -> Error {
    Error::new(Code::EncodeFailed, text)
}
