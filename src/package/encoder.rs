//! ffmpeg's command line for a head: what the heads of [`audio`] and [`video`] share.

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

#[derive(Default)]
struct Arguments(Vec<String>);

impl Arguments {
    fn words(&mut self, words: &str) {
        self.0.extend(words.split(' ').map(str::to_owned));
    }

    fn pair(&mut self, name: &str, value: impl Into<String>) {
        self.0.extend([name.to_owned(), value.into()]);
    }

    /// What ffmpeg may open, and how much it may take for that. The pinned demuxer is what keeps a playlist in disguise from
    /// being followed; the lists are the walls behind it.
    fn walls(&mut self, container: Container, input: &Input) {
        let protocol = if matches!(input, Input::Pipe) { "pipe" } else { "file" };
        self.pair("-protocol_whitelist", protocol);
        self.pair("-format_whitelist", container.demuxer());
        self.words("-max_alloc 268435456 -probesize 1M -analyzeduration 2M -max_streams 64");
    }

    fn open(&mut self, container: Container, input: &Input) {
        self.pair("-f", container.demuxer());
        self.pair(
            "-i",
            match input {
                Input::Pipe => "pipe:0".to_owned(),
                Input::File(path) => format!("file:{}", path.display()),
            },
        );
    }
}
