//! `transcode`: one file as a package on disk that any web server can serve.
//!
//! As many renditions are made side by side as there are workers. x264 keeps its threads all the same: 20 s of 1080p30 as five
//! rungs take 47 s of processor time with one thread or two, alone or beside another; only one rung after the other leaves a
//! fifth of two cores idle.

use std::{fs, io, path::Path, process::ExitCode, sync::Arc, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use tempfile::TempDir;

use super::{logging, progress::Progress, runtime};
use crate::{
    config::{Settings, Sources as SettingsSources},
    error::{Code, Error, Result},
    ffmpeg::Ffmpeg,
    metrics::Metrics,
    package::{
        Package, Packager,
        captions::Captions,
        encoder,
        file::{File, Kind},
        playlist::Query,
        store::Store,
    },
    source::{
        Sources,
        cache::{Bounds, Cache},
    },
};

/// Writes playlists and segments of `audio`, with captions from `vtt`, to `out`, which is made or is empty.
pub fn run(
    sources: &SettingsSources,
    audio: &Path,
    vtt: Option<&Path>,
    out: &Path,
) -> Result<ExitCode> {
    let mut settings = sources.load()?;
    // Nothing is kept: the limits of a broker's disk do not apply to what was asked for by name.
    settings.cache.killsize.enabled = false;
    let packager = &mut settings.packager;
    packager.queue = packager.queue.max(packager.workers);
    let progress = Progress::new();
    let stderr = progress.stderr();
    logging::start_to(&settings.log, move || stderr.clone());
    let scratch = scratch(out)?;
    let runtime = runtime()?;
    let files = runtime.block_on(package(&settings, audio, vtt, out, scratch.path(), &progress))?;
    // Heads may write to it until the runtime is gone, and it goes only if nobody does.
    drop(runtime);
    drop((scratch, progress));
    println!("{}: {files} files", out.join("index.m3u8").display());
    Ok(ExitCode::SUCCESS)
}

async fn package(
    settings: &Settings,
    audio: &Path,
    vtt: Option<&Path>,
    out: &Path,
    scratch: &Path,
    progress: &Progress,
) -> Result<usize> {
    let metrics = Arc::new(Metrics::default());
    let program = settings.packager.ffmpeg.to_string_lossy();
    let ffmpeg = Ffmpeg::find(&program, settings.packager.memory).await?;
    let bounds = Bounds {
        dir: scratch.to_owned(),
        tempdir: scratch.to_owned(),
        size: settings.cache.size,
        limit: settings.cache.limit,
        patience: settings.upstream.wait,
        room: None,
    };
    let sources = Sources::new(
        settings,
        Arc::default(),
        Cache::new(bounds, metrics.clone()),
        ffmpeg.clone(),
        metrics.clone(),
        Captions::check,
    )?;
    let (source, pin) = sources.local(audio, vtt).await?;
    let skills = encoder::try_out(&ffmpeg, settings.packager.video.encoder).await;
    let ffmpeg = (ffmpeg, skills);
    let packager = Packager::new(settings, Store::new(scratch), sources, ffmpeg, metrics);
    let lease = packager.open(source, Some(pin)).await?;
    // A segment takes as long as it takes; heads have bounds of their own.
    packager.set_wait(Duration::MAX);
    let folder = Folder { packager: &packager, package: lease.package(), out, progress };
    let written = folder.write(settings.packager.workers).await;
    packager.close().await;
    written
}

/// Where the files of a package go.
struct Folder<'a> {
    packager: &'a Packager,
    package: &'a Arc<Package>,
    out: &'a Path,
    progress: &'a Progress,
}

impl Folder<'_> {
    /// Writes all files, and says how many. Segments come before playlists: who finds a playlist finds what it names.
    async fn write(&self, workers: usize) -> Result<usize> {
        let rows = self.packager.rows(self.package);
        let segments = rows.iter().flatten().filter(|&&file| is_encoded(file)).count();
        self.progress.begin(segments, self.package.seconds());
        let rows = stream::iter(rows).map(|row| self.write_row(row));
        let mut written = rows.buffer_unordered(workers.max(1));
        let mut files = 1;
        while let Some(row) = written.try_next().await? {
            files += row;
        }
        self.write_file(File::Index).await?;
        Ok(files)
    }

    async fn write_row(&self, row: Vec<File>) -> Result<usize> {
        for (written, &file) in row.iter().enumerate() {
            match self.write_file(file).await {
                // Players do without it, and the packager has said why they have to.
                Err(error) if is_extra(file) && error.code() == Code::EncodeFailed => {
                    return Ok(written);
                }
                outcome => outcome?,
            }
        }
        Ok(row.len())
    }

    async fn write_file(&self, file: File) -> Result<()> {
        let hot = self.packager.view(self.package, file, Query::default()).await?;
        let path = self.out.join(file.to_string());
        fs::write(&path, &hot.bytes).map_err(|e| unwritable(&path, &e))?;
        if is_encoded(file) {
            self.progress.advance();
        }
        Ok(())
    }
}

/// Whether it is a segment that a head makes.
fn is_encoded(file: File) -> bool {
    matches!(file, File::Segment(track, ..) if track.kind != Kind::Subtitles)
}

/// Whether no playlist names it.
fn is_extra(file: File) -> bool {
    matches!(file, File::Peaks | File::Storyboard | File::Sprite(_))
}

/// A folder for segments on their way, in `out`, which has to be new or empty; it goes when this does.
fn scratch(out: &Path) -> Result<TempDir> {
    fs::create_dir_all(out).map_err(|e| unwritable(out, &e))?;
    let mut entries = fs::read_dir(out).map_err(|e| unwritable(out, &e))?;
    if entries.next().is_some() {
        let text = format!("{} is not empty; give a new directory", out.display());
        return Err(Error::new(Code::Usage, text));
    }
    TempDir::new_in(out).map_err(|e| unwritable(out, &e))
}

fn unwritable(path: &Path, error: &io::Error) -> Error {
    Error::io(format!("writing {}", path.display()), error)
}
