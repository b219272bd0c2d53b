//! ffmpeg's command line for a head: what the heads of [`audio`] and [`video`] share, and extras with them.

pub mod audio;
pub mod video;

use std::{path::PathBuf, time::Duration};

use super::choices::{Encoder, Skills};
use crate::{config, ffmpeg::Ffmpeg, source::probe::Container};

/// How long an encoder may take to encode a few frames before it counts as not working.
const TRIAL: Duration = Duration::from_secs(10);

/// Where ffmpeg reads the source from. Never an address, never a name that the outside chose.
#[derive(Clone, Debug)]
pub enum Input {
    /// Its stdin, while the source arrives.
    Pipe,
    /// A whole file.
    File(PathBuf),
}

/// ffmpeg's arguments, as far as they are said.
#[derive(Default)]
pub(super) struct Arguments(pub Vec<String>);

impl Arguments {
    /// The beginning: quiet, on one thread, and kept from all that is not a source of this container.
    pub fn fenced(container: Container, input: &Input) -> Self {
        let mut args = Self::default();
        args.words("-nostdin -hide_banner -v error -threads 1");
        args.walls(container, input);
        args
    }

    /// What ffmpeg may open, and how much it may take for that. The pinned demuxer is what keeps a playlist in disguise from
    /// being followed; the lists are the walls behind it.
    fn walls(&mut self, container: Container, input: &Input) {
        let protocol = if matches!(input, Input::Pipe) { "pipe" } else { "file" };
        self.pair("-protocol_whitelist", protocol);
        self.pair("-format_whitelist", container.demuxer());
        self.words("-max_alloc 268435456 -probesize 1M -analyzeduration 2M -max_streams 64");
    }

    /// Opens the source.
    pub fn open(&mut self, container: Container, input: &Input) {
        self.pair("-f", container.demuxer());
        self.0.extend(container.options().iter().map(|&word| word.to_owned()));
        let name = match input {
            Input::Pipe => "pipe:0".to_owned(),
            Input::File(path) => format!("file:{}", path.display()),
        };
        self.pair("-i", name);
    }

    /// Arguments in a row, none of which holds a space.
    pub fn words(&mut self, words: &str) {
        self.0.extend(words.split(' ').map(str::to_owned));
    }

    /// An option and its value.
    pub fn pair(&mut self, name: &str, value: impl Into<String>) {
        self.0.extend([name.to_owned(), value.into()]);
    }
}

/// What ffmpeg can do on this machine; `wanted` is what is to encode video.
pub async fn try_out(ffmpeg: &Ffmpeg, wanted: config::Encoder) -> Skills {
    // The only library that a `tone` needs. A trial would cost every start a tenth of a second.
    let maps_tones = ffmpeg.has("libzimg");
    if !maps_tones {
        tracing::warn!(
            "ffmpeg was built without libzimg: video of high dynamic range will look washed out"
        );
    }
    Skills { encoder: choose(ffmpeg, wanted).await, maps_tones }
}

/// What encodes video on this machine: what `wanted` says if it works, x264 if not. For `auto`, graphics cards come first.
async fn choose(ffmpeg: &Ffmpeg, wanted: config::Encoder) -> Encoder {
    let candidates: &[Encoder] = match wanted {
        config::Encoder::Auto => &[Encoder::H264Nvenc, Encoder::H264Vaapi, Encoder::H264Qsv],
        config::Encoder::X264 => &[],
        config::Encoder::Nvenc => &[Encoder::H264Nvenc],
        config::Encoder::Vaapi => &[Encoder::H264Vaapi],
        config::Encoder::Qsv => &[Encoder::H264Qsv],
    };
    for &encoder in candidates {
        if video::has_device(encoder) && works(ffmpeg, encoder).await {
            tracing::info!(encoder = encoder.name(), "video is encoded by a graphics card");
            return encoder;
        }
    }
    if !candidates.is_empty() && wanted != config::Encoder::Auto {
        tracing::warn!("packager.video.encoder: {wanted} does not work here; libx264 is used");
    }
    Encoder::Libx264
}

/// Whether ffmpeg gets through a trial of it.
async fn works(ffmpeg: &Ffmpeg, encoder: Encoder) -> bool {
    let trial = async {
        let process = ffmpeg.spawn(video::trial(encoder), false, TRIAL.as_secs()).await;
        process.ok()?.wait().await.ok()
    };
    let exit = tokio::time::timeout(TRIAL, trial).await;
    exit.ok().flatten().is_some_and(|exit| exit.status.success())
}
