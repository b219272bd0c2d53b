//! Extras: what players ask for beside playlists and segments, made when somebody first does, and kept with the package.
//!
//! One flight makes a file for all who ask for it. It waits until the source is whole and for its turn: there is one process
//! of an extra at a time beside the heads. Once it has begun it ends its work, whoever leaves, so that who was sent away
//! finds it done later.

use std::{
    collections::HashMap,
    path::PathBuf,
    pin::pin,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::AsyncReadExt,
    sync::{Semaphore, SemaphorePermit, watch},
    task::JoinSet,
};

use super::{
    Package, Packager, RETRY,
    encoder::Input,
    file::File,
    head::process::{DAMAGED, FAREWELL, crashed},
    key::Key,
    lock,
    peaks::{self, Peaks},
    store::Hot,
    view::{Name, no_such_file, zipped},
};
use crate::{
    disk::Reservation,
    error::{Code, Error, Result},
    ffmpeg::Exit,
    source::{cache::Pin, probe::Clock},
};

/// For how long a file that could not be made is answered with its error.
const FAILURE_LIFE: Duration = Duration::from_secs(10);

/// Bytes that come from ffmpeg's stdout at once.
const CHUNK: usize = 64 * 1024;

/// Bytes of the largest sprite that is believed.
const LARGEST: usize = 4 << 20;

/// Bytes of the longest text of one track that is read; what comes after is left out. A film has 100 kB, a typeset one some
/// megabytes.
const LONGEST: usize = 16 << 20;

/// The end mark of a JPEG file (ISO/IEC 10918-1, B.1.1.3).
const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];

/// Makes one file; what comes of it is what it holds at last.
type Flight = watch::Sender<Option<Result<Hot>>>;

type Id = (Key, File);

/// The flights of one process.
pub(super) struct Extras {
    /// Those that have not landed, and no others for longer than until the next look.
    flights: Mutex<HashMap<Id, Weak<Flight>>>,
    failures: moka::sync::Cache<Id, Error>,
    tasks: Mutex<JoinSet<()>>,
    turn: Semaphore,
    queue: usize,
}

impl Extras {
    /// No flights, and never more than `queue`.
    pub fn new(queue: usize) -> Self {
        Self {
            flights: Mutex::default(),
            failures: moka::sync::Cache::builder()
                .max_capacity(1000)
                .time_to_live(FAILURE_LIFE)
                .build(),
            tasks: Mutex::default(),
            turn: Semaphore::new(1),
            queue,
        }
    }

    /// Ends all flights at once.
    pub fn close(&self) {
        self.turn.close();
        lock(&self.tasks).abort_all();
    }

    /// Ends a flight that nobody waits for; says whether it did.
    fn desert(&self, id: Id, flight: &Flight) -> bool {
        let mut flights = lock(&self.flights);
        let is_deserted = flight.receiver_count() == 0;
        if is_deserted {
            flights.remove(&id);
        }
        is_deserted
    }
}

impl Packager {
    /// An extra that is not in memory: from disk, or made.
    ///
    /// # Errors
    /// [`Code::EncodeFailed`] when nothing comes of it, twice; what the source says when it breaks off; [`Code::Busy`] when it
    /// takes longer than a segment may, or too many others are waited for.
    pub(super) async fn extra(&self, package: &Arc<Package>, file: File) -> Result<Hot> {
        if let Some(error) = self.extras.failures.get(&(package.key, file)) {
            return Err(error);
        }
        let mut landing = self.board(package, file)?;
        let patience = *lock(&self.wait);
        match tokio::time::timeout(patience, landing.wait_for(Option::is_some)).await {
            Ok(Ok(landed)) => landed.clone().unwrap_or_else(|| Err(fell())),
            Ok(Err(_)) => Err(fell()),
            Err(_) => {
                let waited = humantime::format_duration(patience);
                Err(Error::busy(format!("the file was not ready within {waited}"), RETRY))
            }
        }
    }

    /// The flight that makes `file`: the one that is under way, or a new one.
    fn board(
        &self,
        package: &Arc<Package>,
        file: File,
    ) -> Result<watch::Receiver<Option<Result<Hot>>>> {
        let id = (package.key, file);
        let mut flights = lock(&self.extras.flights);
        if let Some(flight) = flights.get(&id).and_then(Weak::upgrade) {
            return Ok(flight.subscribe());
        }
        flights.retain(|_, flight| flight.strong_count() > 0);
        if flights.len() >= self.extras.queue {
            return Err(Error::busy("too many files are waited for", RETRY));
        }
        let own = self.workers.packager();
        let own = own.ok_or_else(|| Error::busy("the broker is about to end", RETRY))?;
        let (flight, landing) = watch::channel(None);
        let flight = Arc::new(flight);
        flights.insert(id, Arc::downgrade(&flight));
        let package = package.clone();
        let mut tasks = lock(&self.extras.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move { own.fly(&package, file, &flight).await });
        Ok(landing)
    }

    async fn fly(&self, package: &Arc<Package>, file: File, flight: &Flight) {
        if let Some(hot) = self.kept(package, file).await {
            flight.send_replace(Some(Ok(hot)));
            return;
        }
        let made = self.wait_and_make(package, file, flight).await;
        // A package that is complete needs its source no more.
        package.release();
        if let Some(Err(error)) = &made {
            tracing::warn!(package = %package.key, %file, %error, "an extra cannot be made");
            if error.code() == Code::EncodeFailed {
                self.extras.failures.insert((package.key, file), error.clone());
            }
        }
        flight.send_replace(made);
    }

    /// Makes the file when its turn has come; None when nobody waits for it any more by then.
    async fn wait_and_make(
        &self,
        package: &Arc<Package>,
        file: File,
        flight: &Flight,
    ) -> Option<Result<Hot>> {
        let mut ready = std::pin::pin!(self.ready_for_extra(package));
        loop {
            tokio::select! {
                biased;
                ready = &mut ready => return Some(match ready {
                    Ok((source, _turn)) => self.make_extra(package, file, &source).await,
                    Err(error) => Err(error),
                }),
                () = flight.closed() => {
                    if self.extras.desert((package.key, file), flight) {
                        return None;
                    }
                }
            }
        }
    }

    /// The file, if an earlier flight or an earlier run has made it.
    async fn kept(&self, package: &Package, file: File) -> Option<Hot> {
        let bytes = self.store.read(package.key, file).await.ok();
        // A crash of the machine may leave a name without bytes.
        let hot = dressed(file, bytes.filter(|bytes| !bytes.is_empty())?);
        self.hot.insert(Name::new(package.key, file), hot.clone()).await;
        Some(hot)
    }

    /// All of the source, and the turn to work on it.
    async fn ready_for_extra(&self, package: &Arc<Package>) -> Result<(Pin, SemaphorePermit<'_>)> {
        let source = self.pin(package).await?;
        source.spool().wait_for(u64::MAX).await?;
        let turn = self.extras.turn.acquire().await;
        Ok((source, turn.map_err(|_| fell())?))
    }

    /// Makes a file, in a second attempt if the first one fails, and keeps it.
    async fn make_extra(&self, package: &Arc<Package>, file: File, source: &Pin) -> Result<Hot> {
        self.ready()?;
        let bytes = match self.encode_extra(package, file, source, Attempt::First).await {
            Err(error) if error.code() == Code::EncodeFailed => {
                self.encode_extra(package, file, source, Attempt::Second).await?
            }
            first => first?,
        };
        let room = self.reserve(&mut self.packages(), bytes.len() as u64)?;
        let hot = dressed(file, bytes);
        self.keep(package, file, hot.clone()).await?;
        lock(&package.extras).extend(room);
        Ok(hot)
    }

    async fn encode_extra(
        &self,
        package: &Package,
        file: File,
        source: &Pin,
        attempt: Attempt,
    ) -> Result<Bytes> {
        let (path, clock) = (source.spool().path(), &package.source.media.clock);
        let even = clock.is_even();
        let input = if even { Input::File(path.clone()) } else { Input::Pipe };
        let piped = (!even).then(|| (path.clone(), clock));
        match (file, &package.plan.storyboard) {
            (File::Peaks, _) => {
                let media = &package.source.media;
                let audio = media.audio.first().ok_or_else(no_such_file)?;
                let mut peaks = Peaks::new(audio.rate, audio.samples);
                let arguments = peaks::arguments(media.container, audio, &input);
                let seconds = audio.samples as f64 / f64::from(audio.rate.max(1));
                let run = (arguments, seconds, self.stall);
                self.run_extra(run, piped, |bytes| peaks.push(bytes)).await?;
                peaks
                    .finish()
                    .map(Bytes::from)
                    .ok_or_else(|| Error::encode_failed("no audio could be decoded"))
            }
            (File::Sprite(n), Some(storyboard)) => {
                let mut image = Vec::new();
                let arguments = storyboard.arguments(n, &input, attempt == Attempt::Second);
                // All before it is decoded, too, where there is no seeking.
                let seconds = if even { storyboard.seconds(n) } else { package.seconds() };
                // All of it comes at the end.
                let stall = bound(seconds);
                let take = |bytes: &[u8]| {
                    image.extend_from_slice(bytes);
                    image.truncate(LARGEST);
                };
                self.run_extra((arguments, seconds, stall), piped, take).await?;
                let is_whole = image.ends_with(&END_OF_IMAGE);
                is_whole
                    .then(|| image.into())
                    .ok_or_else(|| Error::encode_failed("no picture could be decoded"))
            }
            (File::Text(place), _) => {
                let text = package.plan.text.get(usize::from(place)).ok_or_else(no_such_file)?;
                let mut script = Vec::new();
                let seconds = package.seconds();
                let take = |bytes: &[u8]| {
                    script.extend_from_slice(bytes);
                    script.truncate(LONGEST);
                };
                // A film may begin in silence, and what is read of it is all of its bytes.
                let (arguments, stall) = (text.arguments(path), bound(seconds));
                let exit = self.run_extra((arguments, seconds, stall), None, take).await?;
                let captions = text.read(&script);
                if !exit.complaints.is_empty() {
                    if attempt == Attempt::First && captions.is_empty() {
                        return Err(Error::encode_failed("no captions could be decoded"));
                    }
                    let (package, complaints) = (package.key, exit.complaints);
                    let cues = captions.cues().count();
                    tracing::warn!(%package, %file, cues, complaints, "captions are damaged; those that are there are kept");
                }
                Ok(captions.document().into())
            }
            _ => Err(no_such_file()),
        }
    }

    /// Runs ffmpeg over so many seconds of media and hands over what comes out. It may be silent for as long as `stall`. What it
    /// is `piped` comes to its stdin by a clock.
    async fn run_extra(
        &self,
        (arguments, seconds, stall): (Vec<String>, f64, Duration),
        piped: Option<(PathBuf, &Clock)>,
        mut take: impl FnMut(&[u8]),
    ) -> Result<Exit> {
        let cpu = 60 + (seconds / 4.0) as u64;
        let started = self.ffmpeg.spawn(arguments, piped.is_some(), cpu).await;
        let mut process = started.map_err(|error| {
            tracing::error!(%error, "ffmpeg cannot be started");
            Error::encode_failed("ffmpeg could not be started")
        })?;
        let mut stdout =
            process.stdout.take().ok_or_else(|| Error::encode_failed("ffmpeg has no output"))?;
        let stdin = process.stdin.take();
        let feed = async {
            if let Some((path, clock)) = piped
                && let (Ok(source), Some(stdin)) = (tokio::fs::File::open(path).await, stdin)
            {
                // Where reading breaks off, too little comes out.
                let _ = clock.pour(source, stdin).await;
            }
        };
        let late = |_| Error::encode_failed("ffmpeg produced nothing in time");
        let read = async {
            let mut chunk = vec![0; CHUNK];
            loop {
                let read = tokio::time::timeout(stall, stdout.read(&mut chunk)).await;
                let read = read.map_err(late)?;
                match read.map_err(|e| Error::encode_failed(format!("reading from ffmpeg: {e}")))? {
                    0 => return Ok(()),
                    read => take(chunk.get(..read).unwrap_or_default()),
                }
            }
        };
        let mut read = pin!(tokio::time::timeout(bound(seconds), read));
        let read = tokio::select! {
            biased;
            read = &mut read => read,
            () = feed => read.await,
        };
        read.map_err(late)??;
        let exit = tokio::time::timeout(FAREWELL, process.wait()).await;
        let exit =
            exit.map_err(|_| Error::encode_failed("ffmpeg closed its output and did not end"))?;
        let exit = exit.map_err(|e| Error::encode_failed(format!("waiting for ffmpeg: {e}")))?;
        match exit.status.code() {
            Some(0 | DAMAGED) => Ok(exit),
            _ => Err(crashed(&exit)),
        }
    }

    /// Counts the extras that an earlier run has left in a package.
    pub(super) fn found_extras(&self, key: Key) -> Vec<Reservation> {
        let room = self.room.iter();
        room.map(|room| room.occupy(self.store.extras(key))).collect()
    }
}

/// Which attempt at a file it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attempt {
    First,
    Second,
}

/// The longest that ffmpeg may take for so many seconds of media.
fn bound(seconds: f64) -> Duration {
    Duration::from_mins(1) + Duration::from_secs_f64(2.0 * seconds)
}

/// A file as it is sent.
fn dressed(file: File, bytes: Bytes) -> Hot {
    match file {
        File::Peaks => zipped(bytes),
        _ => Hot::new(bytes),
    }
}

fn fell() -> Error {
    Error::new(Code::Internal, "the making of a file ended without an outcome")
}

#[cfg(test)]
pub(super) mod tests;
