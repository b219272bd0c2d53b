//! ffmpeg's command line for a head of a video rendition.
//!
//! What it has to bring about: every head shows the same frames at the same places as one that ran from the start. So the
//! `fps` filter works on the source's own times, which begin at 0 with its earliest track, and only then are frames left out
//! by number: its rounding is the same whatever came before. Keyframes are asked for by number too.

use std::{fmt::Write, path::Path};

use super::{Arguments, Input};
use crate::{
    package::{choices::Encoder, copy::Copied, tone::Tone, video::Rung},
    source::probe::Container,
};

/// Seconds by which ffmpeg seeks before the first frame that is wanted, beside [`LEAD_FRAMES`]. It goes on to the keyframe
/// before that: what a longer lead decodes in vain is waited for.
const LEAD: f64 = 0.3;

/// Frames likewise: an index tells when a keyframe is decoded, and it is shown so many frames later at most.
const LEAD_FRAMES: f64 = 4.0;

/// Seconds of lead in containers without an index, where ffmpeg lands anywhere and the next keyframe is the first picture.
pub const LONG_LEAD: f64 = 12.0;

/// What heads write. Negative offsets and "discontinuities" make every fragment tell its own time on the source's clock.
const OUTPUT: &str = "-movflags frag_every_frame+empty_moov+default_base_moof+negative_cts_offsets+frag_discont+skip_trailer \
    -f mp4 pipe:1";

/// Where VA-API finds its device.
const RENDER_NODE: &str = "/dev/dri/renderD128";

/// Where NVIDIA's driver is spoken to.
const NVIDIA: &str = "/dev/nvidiactl";

/// Address space for each thread of [`Machine::threads`]. Measured for sources of 3840x2160 in 10 bits and rungs up to 1080
/// lines: 879 MB with two threads; in 1 GiB three find what they need and four do not.
const MEMORY: u64 = 340 << 20;

/// The machine that encodes.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Its cores.
    pub cores: usize,
    /// Bytes of address space that a process may take.
    pub memory: u64,
}

impl Machine {
    /// How many threads suit a rung: at least 1, and at most 4, as more wait for one another at these sizes.
    ///
    /// Frames that are mapped are floating point on the way: where three threads found what they need, two do.
    pub fn threads(self, tone: Tone) -> usize {
        let memory = match tone {
            Tone::Mapped(_) => self.memory.saturating_sub(MEMORY),
            _ => self.memory,
        };
        usize::try_from(memory / MEMORY).unwrap_or(usize::MAX).min(self.cores).clamp(1, 4)
    }
}

/// What a head wants of ffmpeg.
#[derive(Debug)]
pub struct Order<'a> {
    /// What is made of the source.
    pub rung: &'a Rung,
    /// Where it is.
    pub input: Input,
    /// The segment whose frames come first.
    pub segment: u32,
    /// Threads of the decoder and of the encoder each; see [`Machine::threads`].
    pub threads: usize,
    /// Seeking in this source has failed before.
    pub distrusted: bool,
    /// The source ends before this segment, and its last picture is shown.
    pub held: bool,
}

impl Order<'_> {
    /// Whether ffmpeg seeks, rather than decode from the start.
    pub fn seeks(&self) -> bool {
        if self.rung.copied.is_some() {
            let can = !self.distrusted && matches!(self.input, Input::File(_));
            return can && self.segment > 0;
        }
        // Before the track's own beginning there is nothing to seek to.
        let begins = self.rung.delay as f64 / 1000.0;
        let can = !self.distrusted && !self.held && matches!(self.input, Input::File(_));
        can && self.at() > begins + self.lead()
    }

    fn lead(&self) -> f64 {
        match self.rung.container {
            Container::Mp4 | Container::Mp4Unedited | Container::Matroska => {
                LEAD + LEAD_FRAMES / self.rung.frame_rate()
            }
            _ => LONG_LEAD,
        }
    }

    /// The first frame that is wanted.
    fn first(&self) -> u64 {
        self.rung.frames(self.segment).unwrap_or_default().start
    }

    /// When that is shown, in seconds.
    fn at(&self) -> f64 {
        let ticks = self.first() * u64::from(self.rung.duration());
        ticks as f64 / f64::from(self.rung.table.timescale())
    }

    /// The arguments for samples as they are: from a little before the keyframe of the segment on, which is for the reader to
    /// find.
    fn copying(&self, copied: &Copied) -> Vec<String> {
        let rung = self.rung;
        let mut args = Arguments::fenced(rung.container, &self.input);
        if self.seeks() {
            let hertz = f64::from(rung.rate.numerator) / f64::from(rung.duration());
            let time = copied.times.get(self.segment as usize).copied().unwrap_or_default();
            // Without an index, ffmpeg lands somewhere.
            let lead = match rung.container {
                Container::Mp4 | Container::Mp4Unedited | Container::Matroska => 0.5 / hertz,
                _ => LONG_LEAD,
            };
            let at = time as f64 / f64::from(copied.timescale) - lead;
            args.pair("-ss", format!("{:.6}", at.max(0.0)));
        }
        self.begin(&mut args);
        args.open(rung.container, &self.input);
        args.pair("-map", format!("0:v:{}", rung.index));
        args.words("-an -sn -dn -map_metadata -1 -map_chapters -1 -c:v copy");
        if copied.codecs.starts_with("hvc1") {
            args.words("-tag:v hvc1");
        }
        args.pair("-video_track_timescale", copied.timescale.to_string());
        args.words(OUTPUT);
        args.0
    }

    /// Has times count from the beginning of the earliest track. Seeking is by ffmpeg's own clock: where that begins earlier,
    /// so does what is read.
    fn begin(&self, args: &mut Arguments) {
        args.words("-copyts -start_at_zero");
        let lag = self.rung.lag;
        if lag > 0 {
            args.pair("-itsoffset", format!("-{}.{:06}", lag / 1_000_000, lag % 1_000_000));
        }
    }

    /// The arguments. Fragmented MP4 of H.264, a frame in each fragment, comes out of stdout.
    pub fn arguments(&self) -> Vec<String> {
        let rung = self.rung;
        if let Some(copied) = &rung.copied {
            return self.copying(copied);
        }
        let threads = self.threads.max(1).to_string();
        let mut args = Arguments::default();
        args.words("-nostdin -hide_banner -v error -filter_threads 1");
        device(&mut args, rung.encoder);
        args.pair("-threads", &threads);
        args.walls(rung.container, &self.input);
        if self.seeks() {
            args.pair("-ss", format!("{:.6}", self.at() - self.lead()));
            args.words("-noaccurate_seek");
        }
        self.begin(&mut args);
        args.open(rung.container, &self.input);
        args.pair("-map", format!("0:v:{}", rung.index));
        args.words("-an -sn -dn -map_metadata -1 -map_chapters -1");
        args.pair("-vf", self.filter());
        args.words("-fps_mode passthrough");
        args.pair("-enc_time_base", format!("{}:{}", rung.duration(), rung.table.timescale()));
        self.encode(&mut args, &threads);
        args.pair("-force_key_frames", self.keyframes());
        args.pair("-video_track_timescale", rung.table.timescale().to_string());
        args.words("-flush_packets 1");
        args.words(OUTPUT);
        args.0
    }

    fn filter(&self) -> String {
        let rung = self.rung;
        let mut filter = String::new();
        if rung.interlaced {
            filter.push_str("bwdif=mode=send_frame:deint=interlaced,");
        }
        let shift = rung.shift();
        if shift != 0.0 {
            let _ = write!(filter, "setpts=floor(PTS{shift:+.6}/TB+0.5),");
        }
        let _ = write!(filter, "fps=fps={}/{}", rung.rate.numerator, rung.duration());
        if !self.seeks() {
            // What comes before the track's beginning shows its first picture.
            filter.push_str(":start_time=0");
        }
        if self.held {
            let end = rung.table.total() / u64::from(rung.duration());
            let _ = write!(filter, ",tpad=stop=-1:stop_mode=clone,trim=end_pts={end}");
        }
        if self.segment > 0 {
            let _ = write!(filter, ",trim=start_pts={}", self.first());
        }
        let (width, height) = (rung.width, rung.height);
        let scale = rung.tone.scale(width, height);
        let _ = write!(filter, ",{scale},format={}", pixels(rung.encoder));
        filter
    }

    fn encode(&self, args: &mut Arguments, threads: &str) {
        let rung = self.rung;
        args.pair("-c:v", rung.encoder.name());
        match rung.encoder {
            Encoder::Libx264 => {
                args.pair("-preset", rung.preset.as_str());
                args.pair("-threads", threads);
                // Captions in frames that are repeated would be repeated too.
                args.words("-a53cc 0");
                // B pictures would be decoded before they are shown, and no two players agree on what then is time 0: hls.js
                // passes over edit lists and fetches anew what it has whenever it changes rungs, libavformat takes negative
                // offsets for a delay. They would bring up to 1 dB of SSIM, and take 24 to 40 % more time.
                args.words("-bf 0");
                // Whatever the preset says: High (which x264 only says if it is used), closed groups that begin where they
                // are told to and nowhere else, and no more frames held back than the rate control needs to look ahead.
                args.pair(
                    "-x264-params",
                    "8x8dct=1:scenecut=0:open-gop=0:keyint=infinite:force-cfr=1:rc-lookahead=5:sync-lookahead=0",
                );
            }
            Encoder::H264Nvenc => args.words(
                "-preset p3 -rc vbr -bf 0 -forced-idr 1 -no-scenecut 1 -strict_gop 1 -g 1000000",
            ),
            Encoder::H264Vaapi => args.words("-rc_mode VBR -bf 0 -g 1000000 -idr_interval 0"),
            Encoder::H264Qsv => args.words("-preset veryfast -bf 0 -forced_idr 1 -g 1000000"),
        }
        args.words("-profile:v high");
        args.pair("-level", rung.level().idc().to_string());
        args.pair("-b:v", rung.bitrate.to_string());
        args.pair("-maxrate", rung.maxrate().to_string());
        args.pair("-bufsize", rung.buffer().to_string());
    }

    /// An expression that holds for the first frame of every segment behind the first, by its number `n` in this head: one
    /// term for each run of segments of equal length.
    fn keyframes(&self) -> String {
        let first = self.first();
        let segments = (self.segment + 1..).map_while(|n| self.rung.frames(n));
        let mut runs: Vec<(u64, u64, u64)> = Vec::new();
        for frames in segments {
            let (at, length) = (frames.start - first, frames.end - frames.start);
            match runs.last_mut() {
                Some((_, last, step)) if at - *last == *step => *last = at,
                _ => runs.push((at, at, length)),
            }
        }
        let mut expression = String::from("expr:eq(n,0)");
        for (from, to, step) in runs {
            let _ = if from == to {
                write!(expression, "+eq(n,{from})")
            } else {
                write!(expression, "+between(n,{from},{to})*not(mod(n-{from},{step}))")
            };
        }
        expression
    }
}

/// Whether the device file is there without which `encoder` need not be tried: a trial takes a tenth of a second.
pub fn has_device(encoder: Encoder) -> bool {
    match encoder {
        Encoder::Libx264 => true,
        Encoder::H264Nvenc => Path::new(NVIDIA).exists(),
        Encoder::H264Vaapi | Encoder::H264Qsv => Path::new(RENDER_NODE).exists(),
    }
}

/// The arguments of a trial of `encoder` on a few black frames: it works on this machine if ffmpeg then exits with 0.
pub fn trial(encoder: Encoder) -> Vec<String> {
    let mut args = Arguments::default();
    args.words("-nostdin -hide_banner -v error");
    device(&mut args, encoder);
    args.words("-f lavfi -i color=black:s=320x192:r=25:d=0.2 -vf");
    args.words(&format!("format={}", pixels(encoder)));
    args.pair("-c:v", encoder.name());
    args.words("-profile:v high -b:v 300k -f null -");
    args.0
}

/// What an encoder takes, behind the name of the `format` filter.
const fn pixels(encoder: Encoder) -> &'static str {
    match encoder {
        Encoder::Libx264 | Encoder::H264Nvenc => "yuv420p",
        Encoder::H264Qsv => "nv12",
        Encoder::H264Vaapi => "nv12,hwupload",
    }
}

fn device(args: &mut Arguments, encoder: Encoder) {
    if encoder == Encoder::H264Vaapi {
        args.pair("-vaapi_device", RENDER_NODE);
    }
}

#[cfg(test)]
mod tests;
