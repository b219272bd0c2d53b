//! ffmpeg's command line for a head: what the heads of [`audio`] and [`video`] share, and extras with them.

pub mod audio;
pub mod video;

use std::path::PathBuf;

use crate::source::probe::Container;

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
