//! A head: one ffmpeg process that produces one rendition forward from one segment.
//!
//! It reads ffmpeg's stdout, has a muxer make segments of it and keeps each one.
//! It ends where the rendition ends, where another head has been, when it is told to, when nobody listens any more, or
//! when ffmpeg does not do what it should. ffmpeg's word counts for nothing here: frames do.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{io::AsyncReadExt, process::ChildStdout};

use super::{
    Packager, Part,
    adts::Corrupt,
    audio::Coding,
    control::Control,
    encoder::{Input, audio as sound, video as picture},
    feed,
    file::{File, Format},
    muxer::{Gap, Muxer},
    store::Hot,
};
use crate::{
    error::{Error, Result},
    ffmpeg::{Exit, Process},
    source::spool::Spool,
};

/// Bytes that come from ffmpeg's stdout at once: what a pipe holds.
const CHUNK: usize = 64 * 1024;

/// Missing frames that are put down to rounding: so many are made up for without a word.
const ROUNDING: u64 = 2;

/// ffmpeg's exit code when most of what it decoded was damaged (its `-max_error_rate`).
pub(super) const DAMAGED: i32 = 69;

/// For how long ffmpeg may take to end once it has closed its output.
pub(super) const FAREWELL: Duration = Duration::from_secs(5);

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

/// How a head goes about its rendition.
struct Setting<'a> {
    muxer: Muxer<'a>,
    arguments: Vec<String>,
    seeks: bool,
    /// Seconds of processor time that it may take.
    cpu: u64,
}

impl<'a> Setting<'a> {
    fn of(
        packager: &Packager,
        Part { package, rendition }: &'a Part,
        control: &Control,
        input: Input,
    ) -> Result<Self> {
        let (n, distrusted) = (control.start, rendition.is_distrusted());
        let length = rendition.table().length();
        if let Some(audio) = package.plan.audio(rendition.track) {
            let first = rendition.table().frames(n).map_or(0, |frames| frames.start);
            let skip = match audio.coding {
                Coding::Copy { .. } => first,
                Coding::Encode { .. } => first.min(sound::PREROLL),
            };
            let order = sound::Order { audio, input, from: first - skip, distrusted };
            // Decoding and encoding run at 40 times real time or more; six hours are bounded too.
            let cpu = 60 + (length / 4.0) as u64;
            let muxer = Muxer::audio(audio, n, skip);
            return Ok(Self { muxer, arguments: order.arguments(), seeks: order.seeks(), cpu });
        }
        let rung = package.plan.rung(rendition.track);
        let rung =
            rung.ok_or_else(|| Error::encode_failed("nothing is planned for this rendition"))?;
        let threads = packager.machine.threads(rung.tone);
        let order = picture::Order { rung, input, segment: n, threads, distrusted };
        // All threads count, and slower than real time on each is more than anybody would watch.
        let cpu = 60 + (length * 4.0) as u64 * threads as u64;
        let muxer = Muxer::video(rung, n);
        Ok(Self { muxer, arguments: order.arguments(), seeks: order.seeks(), cpu })
    }
}

/// Runs one head to its end. Never fails: what goes wrong is an end like others.
pub async fn run(packager: &Packager, part: &Part, control: &Arc<Control>) -> End {
    match Head::start(packager, part, control).await {
        Ok((head, process, source)) => head.work(process, source).await.unwrap_or_else(End::Failed),
        Err(error) => End::Failed(error),
    }
}

struct Head<'a> {
    packager: &'a Packager,
    part: &'a Part,
    control: &'a Control,
    muxer: Muxer<'a>,
    /// Whether ffmpeg was asked to seek.
    seeks: bool,
}

impl<'a> Head<'a> {
    async fn start(
        packager: &'a Packager,
        part: &'a Part,
        control: &'a Control,
    ) -> Result<(Self, Process, Arc<Spool>)> {
        let source = feed::source(packager, part, control).await?;
        let piped = !source.is_whole();
        let input = if piped { Input::Pipe } else { Input::File(source.path()) };
        let Setting { muxer, arguments, seeks, cpu } = Setting::of(packager, part, control, input)?;
        let started = packager.ffmpeg.spawn(arguments, piped, cpu).await;
        let process = started.map_err(|error| {
            tracing::error!(%error, "ffmpeg cannot be started");
            Error::encode_failed("ffmpeg could not be started")
        })?;
        Ok((Self { packager, part, control, muxer, seeks }, process, source))
    }

    async fn work(mut self, mut process: Process, source: Arc<Spool>) -> Result<End> {
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        let stdout = stdout.ok_or_else(|| Error::encode_failed("ffmpeg has no output"))?;
        let (packager, control) = (self.packager, self.control);
        let feed = async {
            match stdin {
                Some(stdin) => feed::feed(packager, control, &source, stdin).await,
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
        let mut chunk = vec![0; CHUNK];
        let mut patience = Patience::new(self.packager.stall, self.part.rendition.table().length());
        loop {
            let read = patience.bound(self.control, stdout.read(&mut chunk)).await?;
            let read =
                read.map_err(|e| Error::encode_failed(format!("reading from ffmpeg: {e}")))?;
            if read == 0 {
                return Ok(None);
            }
            self.muxer.push(&chunk[..read]);
            while let Some((n, segment)) = self.muxer.segment().map_err(|e| self.doubt(&e))? {
                self.keep_init().await?;
                if let Some(end) = self.advance(n, segment).await? {
                    return Ok(Some(end));
                }
            }
        }
    }

    /// What ffmpeg wrote is wrong. After a seek that may be the seek's fault: the next head decodes from the start.
    fn doubt(&self, what: &Corrupt) -> Error {
        if self.seeks {
            self.part.rendition.distrust();
        }
        wrote(what)
    }

    /// Keeps segment `n`, and says whether that was the last one for this head.
    async fn advance(&self, n: u32, segment: Bytes) -> Result<Option<End>> {
        let rendition = &self.part.rendition;
        if !self.keep(n, Hot::new(segment)).await? {
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
    async fn keep_init(&self) -> Result<()> {
        let Part { package, rendition } = self.part;
        let Some(init) = self.muxer.init() else {
            return Ok(());
        };
        match rendition.init() {
            Some(known) if known == init => Ok(()),
            Some(_) => Err(Error::encode_failed("ffmpeg encodes differently than before")),
            None => {
                let file = File::Init(rendition.track);
                self.packager.keep(package, file, Hot::new(init.clone())).await?;
                rendition.set_init(init.clone());
                Ok(())
            }
        }
    }

    /// Writes the segment; false when somebody else has.
    async fn keep(&self, n: u32, segment: Hot) -> Result<bool> {
        let rendition = &self.part.rendition;
        self.part.package.refuse_change()?;
        if !rendition.claim(n) {
            return Ok(false);
        }
        let file = File::Segment(rendition.track, n, Format::M4s);
        let bytes = segment.bytes.len() as u64;
        let kept = self.packager.keep(&self.part.package, file, segment).await;
        match kept {
            Ok(()) => rendition.publish(n, bytes, self.control),
            Err(_) => rendition.unclaim(n),
        }
        kept.map(|()| true)
    }

    /// Pauses while no stream lives that could play this, or players are far behind: a pipe that nobody reads holds ffmpeg.
    async fn rest(&self, next: u32) -> Option<End> {
        if self.part.is_due(next) {
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

    /// ffmpeg has ended before the table did: what is missing is made up for if the source was at its end, else an error.
    async fn finish(mut self, mut process: Process) -> Result<End> {
        let exit = tokio::time::timeout(FAREWELL, process.wait()).await;
        let exit =
            exit.map_err(|_| Error::encode_failed("ffmpeg closed its output and did not end"))?;
        let exit = exit.map_err(|e| Error::encode_failed(format!("waiting for ffmpeg: {e}")))?;
        if !matches!(exit.status.code(), Some(0 | DAMAGED)) {
            return Err(crashed(&exit));
        }
        let Part { package, rendition } = self.part;
        let Gap { frames, seconds, blank } = self.muxer.end().map_err(|e| self.doubt(&e))?;
        if frames > ROUNDING && self.seeks {
            rendition.distrust();
            return Err(Error::encode_failed("seeking gave less than the source holds"));
        }
        if blank && !rendition.has_any() {
            if self.control.start == 0 {
                return Err(crashed(&exit));
            }
            // The end of the source, or a source that is no good: whether it has a beginning tells.
            self.control.starve(self.packager.wait_for(self.part, 0)).await?;
        }
        if frames > ROUNDING && rendition.add_missing(frames) {
            self.packager.metrics.short_sources.inc();
            tracing::warn!(
                package = %package.key,
                track = %rendition.track,
                complaints = exit.complaints,
                "a source ends {seconds:.0} s before its header's promise; silence or a still picture is appended"
            );
        }
        while let Some((n, segment)) = self.muxer.segment().map_err(|e| wrote(&e))? {
            self.keep_init().await?;
            if let Some(end) = self.advance(n, segment).await? {
                return Ok(end);
            }
        }
        Ok(End::Done)
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
                Err(_) => return Err(Error::encode_failed("ffmpeg produced nothing in time")),
            }
        }
    }
}

pub(super) fn crashed(exit: &Exit) -> Error {
    tracing::warn!(status = %exit.status, complaints = exit.complaints, "ffmpeg gave up");
    Error::encode_failed("ffmpeg could not decode the media")
}

fn wrote(what: &Corrupt) -> Error {
    Error::encode_failed(format!("ffmpeg wrote {what}"))
}
