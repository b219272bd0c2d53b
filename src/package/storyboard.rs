//! The storyboard of a source's video, for players that show a thumbnail where the pointer hovers over the time line:
//! `storyboard.vtt` and the sprites `storyboard-<n>.jpg`.
//!
//! To have at hand: `WebVTT` for the cues, Media Fragments URI 1.0 (section 4.2.2) for `#xywh=`. All of the layout follows from
//! the length and the shape of the picture, so the cues are there before any thumbnail is.
//!
//! A thumbnail shows the middle of its interval. Of long or large video it is the key frame before that: a sprite of 250 s
//! of 1080p30 (H.264 of 6 Mbit/s, one thread) takes 4 s with a key frame each 2 s and 1.3 s with one each 10 s; decoding
//! every frame takes 9 s of processor time for 50 s of video and 22 s for 125 s. So only the short ones, whose sprites span
//! 50 s, are exact: there the key frames may be further apart than the thumbnails.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::{
    captions::Timestamp,
    encoder::{Arguments, Input},
    file::File,
    playlist::Query,
    tone::Tone,
};
use crate::source::probe::Container;

/// Pixels of a thumbnail's longer side.
const SIDE: u32 = 160;

/// Thumbnails side by side in a sprite, and rows.
const COLUMNS: u32 = 5;

/// Thumbnails of a whole sprite.
const PER_SPRITE: u32 = COLUMNS * COLUMNS;

/// Milliseconds between thumbnails, and how long a video may be for them.
const INTERVALS: [(u64, u64); 3] = [(2_000, 200_000), (5_000, 500_000), (10_000, 86_400_000)];

/// The most thumbnails of one video: of longer ones than a day they are further apart.
const MOST: u64 = 8_640;

/// Milliseconds before the first thumbnail at which ffmpeg begins: a seek in MPEG-TS lands up to a group of pictures late.
const LEAD: u64 = 2_000;

/// The largest picture of which every frame is decoded.
const LARGE: u64 = 1920 * 1088;

/// The video track that thumbnails are made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storyboard {
    container: Container,
    index: u32,
    width: u32,
    height: u32,
    length: u64,
    tone: Tone,
}

/// A thumbnail's place: in its sprite, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    sprite: u32,
    x: u32,
    y: u32,
}

impl Storyboard {
    /// A storyboard of ffmpeg's stream `0:v:<index>`, which is shown `width` to `height` pixels large, square and upright, for
    /// `length` milliseconds, with `tone` done to its colours. None where there is nothing to show.
    pub fn new(
        container: Container,
        index: u32,
        (width, height): (u32, u32),
        length: u64,
        tone: Tone,
    ) -> Option<Self> {
        let has_pictures = width > 0 && height > 0 && length > 0;
        has_pictures.then_some(Self { container, index, width, height, length, tone })
    }

    /// How many sprites there are.
    pub fn sprites(&self) -> u32 {
        self.count().div_ceil(PER_SPRITE)
    }

    /// The cues of all thumbnails, each naming its part of a sprite; the URIs carry `query`.
    pub fn cues(&self, query: Query<'_>) -> String {
        let (width, height) = self.thumbnail();
        let mut out = String::from("WEBVTT\n");
        for n in 0..self.count() {
            let start = u64::from(n) * self.interval();
            let end = (start + self.interval()).min(self.length);
            let Place { sprite, x, y } = self.place(n);
            let (start, end, sprite) = (Timestamp(start), Timestamp(end), File::Sprite(sprite));
            // Writing to a String does not fail.
            _ = writeln!(out, "\n{start} --> {end}\n{sprite}{query}#xywh={x},{y},{width},{height}");
        }
        out
    }

    /// ffmpeg's arguments for sprite `n`: a JPEG on stdout. With `thorough`, every frame is decoded, not key frames alone.
    pub fn arguments(&self, n: u32, input: &Input, thorough: bool) -> Vec<String> {
        let interval = self.interval();
        let (width, height) = self.thumbnail();
        let count = self.count_in(n);
        let (columns, rows) = (count.min(COLUMNS), count.div_ceil(COLUMNS));
        let mut args = Arguments::fenced(self.container, input);
        args.words("-filter_threads 1 -max_pixels 67108864");
        if !thorough && !self.is_exact() {
            args.words("-discard nokey -skip_frame nokey");
        }
        let start = (u64::from(n) * u64::from(PER_SPRITE)).saturating_mul(interval);
        let middle = start.saturating_add(self.length.saturating_sub(start).min(interval) / 2);
        // What has no index, or a broken one, may not be sought in; nor a pipe.
        let from_start = thorough || matches!(input, Input::Pipe);
        let lead = if from_start { middle } else { middle.min(LEAD) };
        if middle > lead {
            args.pair("-ss", seconds(middle - lead));
        }
        // What is shown at that time has begun before it, perhaps with the last key frame of all.
        args.words("-noaccurate_seek");
        args.open(self.container, input);
        args.pair("-map", format!("0:v:{}", self.index));
        args.words("-an -sn -dn -map_metadata -1 -map_chapters -1");
        let (lead, span) = (seconds(lead), seconds(u64::from(count) * interval));
        let scale = self.tone.thumbnail(width, height);
        args.pair(
            "-vf",
            format!(
                "setpts=max(PTS-{lead}/TB\\,0),tpad=stop_mode=clone:stop_duration={span},\
                 fps=1000/{interval}:start_time=0:round=up,\
                 {scale},tile={columns}x{rows}:nb_frames={count}"
            ),
        );
        args.words("-frames:v 1 -c:v mjpeg -q:v 4 -pix_fmt yuvj420p -f mjpeg pipe:1");
        args.0
    }

    /// Seconds of video that sprite `n` spans.
    pub fn seconds(&self, n: u32) -> f64 {
        f64::from(self.count_in(n)) * self.interval() as f64 / 1000.0
    }

    /// Milliseconds from a thumbnail to the next.
    fn interval(&self) -> u64 {
        let fits = |&&(_, longest): &&(u64, u64)| self.length <= longest;
        match INTERVALS.iter().find(fits) {
            Some(&(interval, _)) => interval,
            None => self.length.div_ceil(MOST),
        }
    }

    /// Whether thumbnails are as close as can be, and cheap enough for every frame to be decoded.
    fn is_exact(&self) -> bool {
        let pixels = u64::from(self.width) * u64::from(self.height);
        self.interval() == INTERVALS[0].0 && pixels <= LARGE
    }

    /// How many thumbnails there are.
    fn count(&self) -> u32 {
        self.length.div_ceil(self.interval()) as u32
    }

    /// How many of them are in sprite `n`.
    fn count_in(&self, n: u32) -> u32 {
        self.count().saturating_sub(n.saturating_mul(PER_SPRITE)).min(PER_SPRITE)
    }

    /// Width and height of a thumbnail: even numbers, in the shape of the picture.
    fn thumbnail(&self) -> (u32, u32) {
        let (long, short) = (self.width.max(self.height), self.width.min(self.height));
        let pairs = (u64::from(SIDE) * u64::from(short) + u64::from(long)) / (2 * u64::from(long));
        // No more than SIDE.
        let short = (2 * pairs.max(1)) as u32;
        if self.width >= self.height { (SIDE, short) } else { (short, SIDE) }
    }

    fn place(&self, n: u32) -> Place {
        let (width, height) = self.thumbnail();
        let at = n % PER_SPRITE;
        Place { sprite: n / PER_SPRITE, x: at % COLUMNS * width, y: at / COLUMNS * height }
    }
}

/// Milliseconds as ffmpeg reads them.
fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

#[cfg(test)]
pub(super) mod tests;
