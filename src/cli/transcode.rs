//! `transcode`: one file as a package on disk that any web server can serve.

use std::{fs, io, path::Path, process::ExitCode, sync::Arc};

use tempfile::TempDir;

use super::{logging, progress::Progress, runtime};
use crate::{
    config::{Settings, Sources as SettingsSources},
    error::{Code, Error, Result},
    ffmpeg::Ffmpeg,
    metrics::Metrics,
    package::{
        Lease, Packager,
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
    let progress = Progress::new();
    let stderr = progress.stderr();
    logging::start_to(&settings.log, move || stderr.clone());
    let scratch = scratch(out)?;
    let runtime = runtime()?;
    let files = runtime.block_on(package(&settings, audio, vtt, out, scratch.path(), &progress))?;
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
    let encoder = encoder::choose(&ffmpeg, settings.packager.video.encoder).await;
    let ffmpeg = (ffmpeg, encoder);
    let packager = Packager::new(settings, Store::new(scratch), sources, ffmpeg, metrics);
    let lease = packager.open(source, Some(pin)).await?;
    let written = write(&packager, &lease, out, progress).await;
    packager.close().await;
    written
}

/// Segments before playlists: who finds a playlist finds what it names.
async fn write(
    packager: &Packager,
    lease: &Lease,
    out: &Path,
    progress: &Progress,
) -> Result<usize> {
    let files = packager.files(lease.package());
    let is_encoded =
        |file: &File| matches!(file, File::Segment(track, ..) if track.kind != Kind::Subtitles);
    let segments = files.iter().filter(|file| is_encoded(file)).count();
    progress.begin(segments, lease.package().seconds());
    for &file in &files {
        let hot = packager.view(lease.package(), file, Query::default()).await?;
        let path = out.join(file.to_string());
        fs::write(&path, &hot.bytes).map_err(|e| unwritable(&path, &e))?;
        if is_encoded(&file) {
            progress.advance();
        }
    }
    debug_assert_eq!(files.last(), Some(&File::Index));
    Ok(files.len())
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
