//! The last resort: ffprobe says what a finished file holds, and ffmpeg decodes its audio so that what comes out is counted.
//!
//! For what only they can tell ([`super::Stop::Undetermined`]). The demuxer is pinned and nothing but files is
//! allowed, so that a source never makes ffmpeg open another one.

mod jumps;
mod packets;
mod streams;
mod transport;

use std::{
    io,
    path::Path,
    pin::pin,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::ChildStdin,
    time::timeout,
};

use self::{
    packets::{Known, Packets},
    streams::Streams,
};
use super::{Clock, Container, Media};
use crate::ffmpeg::Ffmpeg;

/// ffmpeg's filter that gives sound its time: silence where there is none for more than 20 ms, nothing of what would come
/// so much too late.
pub const FILL: &str = "aresample=async=1:min_hard_comp=0.02";

/// Bytes of ffprobe's answer that are read: 64 streams, and names of any length.
const ANSWER: u64 = 1024 * 1024;

/// Bytes of a line of numbers that are read.
const LINE: u64 = 4_096;

/// What a finished file holds, its audio counted by decoding all of it, within `limit` of wall time for each of a
/// few processes; else a sentence fragment that says what was found. H.264 that is to be `copied` is looked at picture by picture,
/// where nothing else speaks against that.
pub async fn decode(
    ffmpeg: &Ffmpeg,
    path: &Path,
    container: Container,
    copied: bool,
    limit: Duration,
) -> Result<Media, String> {
    let path = std::path::absolute(path).map_err(|error| failed(&error))?;
    let length = path.metadata().map_err(|error| failed(&error))?.len();
    let path = path.to_str().ok_or_else(|| "unreadable".to_owned())?;
    let even = Clock::default();
    let cpu = limit.as_secs().max(1);
    let mut file = File { ffmpeg, path, container, clock: &even, cpu };
    let slow = |_| "too slow to read".to_owned();
    let mut found = timeout(limit, file.ask()).await.map_err(slow)??;
    let clock = match container {
        Container::MpegTs => file.clock(found.packets(), Instant::now() + limit).await,
        _ => Clock::default(),
    };
    if !clock.is_even() {
        file.clock = &clock;
        found = timeout(limit, file.ask()).await.map_err(slow)??;
    }
    let mut packets = None;
    if let Some((index, step)) = found.pictures() {
        let known = match container {
            Container::MpegTs if copied && clock.is_even() && found.may_be_copied() => {
                file.walk(Instant::now() + limit).await
            }
            Container::Mp4 | Container::Mp4Unedited | Container::Matroska => {
                let found = timeout(limit, file.configuration(index)).await;
                found.map_err(slow)?
            }
            _ => None,
        };
        let begun = Packets::new(step, known.unwrap_or(Known::Nothing));
        let scanned = timeout(limit, file.scan(index, begun)).await;
        let scanned = scanned.map_err(slow)?;
        packets = Some(scanned.map_err(|error| failed(&error))?);
        // These come here because something is wrong with them.
        let is_odd = container.is_mp4() || container == Container::Matroska;
        if is_odd && timeout(limit, file.is_dark(index)).await.is_ok_and(|dark| dark) {
            tracing::warn!("no picture of a source can be decoded; its video is left out");
            packets = None;
        }
    }
    let mut samples = Vec::new();
    if found.has_audio() {
        let counted = timeout(limit, file.count(found.sounds())).await;
        samples = counted
            .map_err(|_| "too slow to decode".to_owned())?
            .map_err(|error| failed(&error))?;
    }
    found.media(container, &samples, packets, clock)?.checked(length)
}

/// A local file that is opened with a pinned demuxer, and its processes' seconds of processor time.
struct File<'a> {
    ffmpeg: &'a Ffmpeg,
    path: &'a str,
    container: Container,
    /// What is done to its times on the way.
    clock: &'a Clock,
    cpu: u64,
}

impl File<'_> {
    /// Asks ffprobe for its streams.
    async fn ask(&self) -> Result<Streams, String> {
        let text = self.told(&format!("-show_entries {}", streams::ENTRIES)).await;
        let text = text.map_err(|error| failed(&error))?;
        Streams::read(&text).ok_or_else(|| "a file that ffmpeg cannot read".to_owned())
    }

    /// Asks for the decoder configuration of video stream `index`, if it has one.
    async fn configuration(&self, index: u32) -> Option<Known> {
        let options =
            format!("-select_streams v:{index} -show_data -show_entries stream=extradata");
        let text = self.told(&options).await.ok()?;
        Some(Known::Configuration(Streams::read(&text)?.configuration()))
    }

    /// What ffprobe answers, in JSON.
    async fn told(&self, options: &str) -> io::Result<String> {
        let mut args = self.source();
        args.extend(format!("-of json {options}").split(' ').map(str::to_owned));
        let mut process = self.ffmpeg.spawn_probe(args, self.is_piped(), self.cpu).await?;
        let mut text = String::new();
        let output = process.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
        self.feed(process.stdin.take(), output.take(ANSWER).read_to_string(&mut text)).await?;
        process.end().await?;
        Ok(text)
    }

    /// By how much the times of these have to be later.
    async fn clock(&self, streams: Vec<jumps::Stream>, deadline: Instant) -> Clock {
        let path = self.path.to_owned();
        let walk = move || jumps::walk(&mut std::fs::File::open(path)?, &streams, deadline);
        let walked = tokio::task::spawn_blocking(walk).await;
        walked.unwrap_or_else(|error| Err(io::Error::other(error))).unwrap_or_default()
    }

    /// What its pictures are, if they are as they should be.
    async fn walk(&self, deadline: Instant) -> Option<Known> {
        let path = self.path.to_owned();
        let walk = move || transport::walk(&std::fs::File::open(path)?, deadline);
        tokio::task::spawn_blocking(walk).await.ok()?.ok()?.map(Known::Walk)
    }

    /// All packets of video stream `index` as ffprobe reads them.
    async fn scan(&self, index: u32, mut packets: Packets) -> io::Result<Packets> {
        let mut args = self.source();
        let select =
            format!("-select_streams v:{index} -of csv=p=0 -show_entries packet=pts,size,flags");
        args.extend(select.split(' ').map(str::to_owned));
        let mut process = self.ffmpeg.spawn_probe(args, self.is_piped(), self.cpu).await?;
        let stdin = process.stdin.take();
        self.feed(stdin, lines(process, |line| packets.push(line))).await?;
        Ok(packets)
    }

    /// Whether ffmpeg comes to an end of video stream `index` without one picture.
    async fn is_dark(&self, index: u32) -> bool {
        let mut args = vec!["-nostdin".to_owned()];
        args.extend(self.source());
        args.extend(["-map".to_owned(), format!("0:v:{index}")]);
        args.extend("-frames:v 1 -f framecrc pipe:1".split(' ').map(str::to_owned));
        let mut is_dark = true;
        let Ok(process) = self.ffmpeg.spawn(args, false, self.cpu).await else {
            return false;
        };
        let read = lines(process, |line| is_dark &= line.is_empty() || line.starts_with('#')).await;
        read.is_ok() && is_dark
    }

    /// Decodes audio streams to mono of one byte a sample, and adds up the sizes of what comes out of each.
    async fn count(&self, indices: impl Iterator<Item = u32>) -> io::Result<Vec<u64>> {
        let mut args = vec!["-nostdin".to_owned()];
        args.extend(self.source());
        let mut samples = Vec::new();
        for index in indices {
            args.extend(["-map".to_owned(), format!("0:a:{index}")]);
            samples.push(0u64);
        }
        if !self.clock.is_even() {
            args.extend(["-af".to_owned(), FILL.to_owned()]);
        }
        let decode = "-ac 1 -c:a pcm_u8 -f framecrc pipe:1".split(' ');
        args.extend(decode.map(str::to_owned));
        let mut process = self.ffmpeg.spawn(args, self.is_piped(), self.cpu).await?;
        let stdin = process.stdin.take();
        let counted = lines(process, |line| {
            // Stream, two times, duration, size, checksum.
            let mut fields = line.split(',').map(|field| field.trim().parse::<u64>());
            let stream = fields.next().and_then(Result::ok).and_then(|at| usize::try_from(at).ok());
            let size = fields.nth(3).and_then(Result::ok);
            if let (Some(stream), Some(size)) = (stream, size)
                && let Some(samples) = samples.get_mut(stream)
            {
                *samples = samples.saturating_add(size);
            }
        });
        self.feed(stdin, counted).await?;
        Ok(samples)
    }

    /// Whether the file comes through a pipe, its times written anew.
    fn is_piped(&self) -> bool {
        !self.clock.is_even()
    }

    /// Does some work while a process is fed.
    async fn feed<T>(
        &self,
        stdin: Option<ChildStdin>,
        work: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        let pour = async {
            match stdin {
                Some(stdin) => {
                    self.clock.pour(tokio::fs::File::open(self.path).await?, stdin).await
                }
                None => Ok(()),
            }
        };
        let mut work = pin!(work);
        tokio::select! {
            biased;
            done = &mut work => done,
            poured = pour => { poured?; work.await }
        }
    }

    /// The arguments that open a local file, and only that, with a pinned demuxer.
    fn source(&self) -> Vec<String> {
        let demuxer = self.container.demuxer();
        let (protocol, name) = if self.is_piped() {
            ("pipe", "pipe:0".to_owned())
        } else {
            ("file", format!("file:{}", self.path))
        };
        let fixed = ["-v", "quiet", "-protocol_whitelist", protocol, "-f", demuxer];
        let words = fixed.iter().chain(self.container.options()).map(|&word| word.to_owned());
        words.chain(["-i".to_owned(), name]).collect()
    }
}

/// Reads what a process writes, line by line, and waits for its end.
async fn lines(mut process: crate::ffmpeg::Process, mut each: impl FnMut(&str)) -> io::Result<()> {
    let output = process.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
    let mut output = BufReader::with_capacity(64 * 1024, output);
    let mut line = Vec::new();
    while (&mut output).take(LINE).read_until(b'\n', &mut line).await? > 0 {
        each(String::from_utf8_lossy(&line).trim());
        line.clear();
    }
    process.wait().await?;
    Ok(())
}

/// A failure of the machine, without its paths.
fn failed(error: &io::Error) -> String {
    format!("unreadable ({})", error.kind())
}
