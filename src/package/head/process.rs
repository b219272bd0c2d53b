//! A head's ffmpeg: one process, whose stdout a muxer makes segments of.
//!
//! ffmpeg's word counts for nothing here: frames do.

use std::{
    ops::Range,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use tokio::{io::AsyncReadExt, process::ChildStdout};

use super::{End, Head};
use crate::{
    error::{Error, Result},
    ffmpeg::{Exit, Process},
    package::{
        Part,
        adts::Corrupt,
        control::Control,
        encoder::{Input, audio as sound, video as picture},
        feed::{self, Course},
        muxer::{Gap, Muxer},
    },
    source::spool::Spool,
};

/// Bytes that come from ffmpeg's stdout at once: what a pipe holds.
const CHUNK: usize = 64 * 1024;

/// Missing frames that are put down to rounding: so many are made up for without a word.
const ROUNDING: u64 = 2;

/// ffmpeg's exit code when most of what it decoded was damaged (its `-max_error_rate`).
pub const DAMAGED: i32 = 69;

/// For how long ffmpeg may take to end once it has closed its output.
pub const FAREWELL: Duration = Duration::from_secs(5);

/// Has a new ffmpeg produce what `head` is for, out of `source`.
pub(super) async fn run(head: Head<'_>, source: Arc<Spool>) -> Result<End> {
    let piped = !source.is_whole() || !head.part.package.source.media.clock.is_even();
    let input = if piped { Input::Pipe } else { Input::File(source.path()) };
    let Setting { muxer, arguments, seeks, cpu } = Setting::of(head, input)?;
    let needless = needless(head, &source);
    let seeks = seeks || needless.is_some();
    let started = head.packager.ffmpeg.spawn(arguments, piped, cpu).await;
    let process = started.map_err(|error| {
        tracing::error!(%error, "ffmpeg cannot be started");
        Error::encode_failed("ffmpeg could not be started")
    })?;
    Running { head, muxer, seeks, needless }.work(process, source).await
}

/// What of a whole source with a clock of its own is not needed for pictures from its middle on.
fn needless(
    Head { part: Part { package, rendition }, control, .. }: Head<'_>,
    source: &Spool,
) -> Option<Range<u64>> {
    let rung = package.plan.rung(rendition.track)?;
    let ticks = rung.table.ticks(control.start)?.start;
    let at = ticks as f64 / f64::from(rung.table.timescale()) - picture::LONG_LEAD;
    let can = source.is_whole() && !rendition.is_distrusted() && !rendition.is_held();
    package.source.media.clock.needless(at).filter(|_| can)
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
        Head { packager, part: Part { package, rendition }, control }: Head<'a>,
        input: Input,
    ) -> Result<Self> {
        let (n, distrusted) = (control.start, rendition.is_distrusted());
        let length = rendition.table().length();
        if let Some(audio) = package.plan.audio(rendition.track) {
            let first = audio.packets(n).map_or(0, |packets| packets.start);
            let skip = if audio.is_copied() { first } else { first.min(sound::PREROLL) };
            let order = sound::Order { audio, input, from: first - skip, distrusted };
            // Decoding and encoding run at 40 times real time or more; six hours are bounded too.
            let cpu = 60 + (length / 4.0) as u64;
            let muxer = Muxer::audio(audio, n, skip);
            return Ok(Self { muxer, arguments: order.arguments(), seeks: order.seeks(), cpu });
        }
        let rung = package.plan.rung(rendition.track);
        let rung =
            rung.ok_or_else(|| Error::encode_failed("nothing is planned for this rendition"))?;
        let (threads, held) = (packager.machine.threads(rung.tone), rendition.is_held());
        let order = picture::Order { rung, input, segment: n, threads, distrusted, held };
        // All threads count, and slower than real time on each is more than anybody would watch.
        let cpu = 60 + (length * 4.0) as u64 * threads as u64;
        let muxer = Muxer::video(rung, n, order.seeks());
        Ok(Self { muxer, arguments: order.arguments(), seeks: order.seeks(), cpu })
    }
}

/// One process at work.
struct Running<'a> {
    head: Head<'a>,
    muxer: Muxer<'a>,
    /// Whether ffmpeg was asked to seek, or does not get all of the source.
    seeks: bool,
    /// What it does not get of that.
    needless: Option<Range<u64>>,
}

impl Running<'_> {
    async fn work(mut self, mut process: Process, source: Arc<Spool>) -> Result<End> {
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        let stdout = stdout.ok_or_else(|| Error::encode_failed("ffmpeg has no output"))?;
        let Head { packager, control, part } = self.head;
        let clock = &part.package.source.media.clock;
        let course = Course { source: &source, clock, needless: self.needless.take() };
        let feed = async {
            match stdin {
                Some(stdin) => feed::feed(packager, control, course, stdin).await,
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
        let mut patience =
            Patience::new(self.head.packager.stall, self.head.part.rendition.table().length());
        loop {
            let read = patience.bound(self.head.control, stdout.read(&mut chunk)).await?;
            let read =
                read.map_err(|e| Error::encode_failed(format!("reading from ffmpeg: {e}")))?;
            if read == 0 {
                return Ok(None);
            }
            self.muxer.push(&chunk[..read]);
            while let Some((n, segment)) = self.muxer.segment().map_err(|e| self.doubt(&e))? {
                self.keep_init().await?;
                self.warn_of_damage();
                if let Some(end) = self.head.advance(n, segment).await? {
                    return Ok(Some(end));
                }
            }
        }
    }

    /// What ffmpeg wrote is wrong. After a seek that may be the seek's fault: the next head decodes from the start.
    fn doubt(&self, what: &Corrupt) -> Error {
        if self.seeks {
            self.head.part.rendition.distrust();
        }
        wrote(what)
    }

    /// Says if pictures of what is copied are none.
    fn warn_of_damage(&self) {
        let damaged = self.muxer.damaged();
        if damaged > 0 {
            self.head.warn_of_gap(damaged);
        }
    }

    /// Keeps the initialization segment, once ffmpeg has said what is in it.
    async fn keep_init(&self) -> Result<()> {
        match self.muxer.init() {
            Some(init) => self.head.keep_init(init).await,
            None => Ok(()),
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
        let rendition = &self.head.part.rendition;
        let told = self.muxer.end();
        if told.is_err()
            && let Some(Gap { frames, seconds, .. }) = self.dark()
        {
            self.warn_of_end(frames, seconds, &exit);
            return Ok(End::Yielded);
        }
        let Gap { frames, seconds, blank } = told.map_err(|e| self.doubt(&e))?;
        if frames > ROUNDING && self.seeks {
            rendition.distrust();
            return Err(Error::encode_failed("seeking gave less than the source holds"));
        }
        if blank && !rendition.has_any() {
            if self.head.control.start == 0 {
                return Err(crashed(&exit));
            }
            // The end of the source, or a source that is no good: whether it has a beginning tells.
            self.head.control.starve(self.head.packager.wait_for(self.head.part, 0)).await?;
        }
        if frames > ROUNDING {
            self.warn_of_end(frames, seconds, &exit);
        }
        while let Some((n, segment)) = self.muxer.segment().map_err(|e| wrote(&e))? {
            self.keep_init().await?;
            self.warn_of_damage();
            if let Some(end) = self.head.advance(n, segment).await? {
                return Ok(end);
            }
        }
        Ok(End::Done)
    }

    /// What is missing where an encoder that has decoded all of a source came by nothing to show: from then on, heads hold
    /// its last picture. None where it is not known to have had any, or that has been tried.
    fn dark(&self) -> Option<Gap> {
        let Head { part: Part { package, rendition }, control, .. } = self.head;
        let rung = package.plan.rung(rendition.track).filter(|rung| rung.copied.is_none())?;
        let start = rung.frames(control.start)?.start;
        let is_behind = control.start > 0 && !self.seeks;
        let frames = rung.table.total() / u64::from(rung.duration()) - start;
        let seconds = frames as f64 / rung.frame_rate();
        (is_behind && rendition.hold()).then_some(Gap { frames, seconds, blank: true })
    }

    /// Says once for each rendition that its source is shorter than was told.
    fn warn_of_end(&self, frames: u64, seconds: f64, exit: &Exit) {
        let Part { package, rendition } = self.head.part;
        if rendition.add_missing(frames) {
            self.head.packager.metrics.short_sources.inc();
            tracing::warn!(
                package = %package.key,
                track = %rendition.track,
                complaints = exit.complaints,
                "a source ends {seconds:.0} s before its header's promise; silence or a still picture is appended"
            );
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
                Err(_) => return Err(Error::encode_failed("ffmpeg produced nothing in time")),
            }
        }
    }
}

/// What a process that failed is called.
pub fn crashed(exit: &Exit) -> Error {
    tracing::warn!(status = %exit.status, complaints = exit.complaints, "ffmpeg gave up");
    Error::encode_failed("ffmpeg could not decode the media")
}

fn wrote(what: &Corrupt) -> Error {
    Error::encode_failed(format!("ffmpeg wrote {what}"))
}
