//! The media that are measured with, what bare ffmpeg needs for them, and a broker to hand them to.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::{NamedTempFile, TempDir};

use crate::support::{
    Broker, Clip, File, Format, Setup, Upstream,
    media::vtt_for,
    player::{Playlist, Segment},
};

/// Seconds of a song.
pub const SECONDS: f64 = 600.0;

/// The id under which an upstream has its song.
pub const ID: &str = "song";

/// A chord that wavers, left and right apart, in pink noise: busy enough for an encoder, and the same in every run.
const SOUND: &str = "aevalsrc=\
    0.2*sin(2*PI*220*t+3*sin(2*PI*0.7*t))+0.15*sin(2*PI*(330+20*sin(2*PI*0.1*t))*t)+0.1*sin(2*PI*1760*t)*gt(mod(t\\,0.5)\\,0.4)|\
    0.2*sin(2*PI*277*t+2*sin(2*PI*0.9*t))+0.15*sin(2*PI*(415+30*sin(2*PI*0.13*t))*t)+0.1*sin(2*PI*2217*t)*gt(mod(t\\,0.7)\\,0.6)\
    :s=44100[a];anoisesrc=color=pink:seed=7:amplitude=0.25:r=44100,pan=stereo|c0=c0|c1=c0[b];[a][b]amix=inputs=2:duration=first";

/// 600 s of stereo at 44.1 kHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Song {
    Wav,
    Mp3,
    Flac,
    M4a,
}

impl Song {
    /// The four that the targets name.
    pub const ALL: [Self; 4] = [Self::Wav, Self::Mp3, Self::Flac, Self::M4a];

    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wav => "WAV",
            Self::Mp3 => "MP3",
            Self::Flac => "FLAC",
            Self::M4a => "M4A",
        }
    }

    const fn options(self) -> &'static str {
        match self {
            Self::Wav => "-c:a pcm_s16le -f wav",
            Self::Mp3 => "-c:a libmp3lame -b:a 192k -f mp3",
            Self::Flac => "-c:a flac -f flac",
            Self::M4a => "-c:a aac -b:a 192k -movflags +faststart -f ipod",
        }
    }

    /// The file; made once and kept in target/, the others from the WAV.
    pub fn path(self) -> PathBuf {
        made(&format!("song.{}", self.name().to_lowercase()), |ffmpeg| {
            match self {
                Self::Wav => ffmpeg.args(["-filter_complex", SOUND, "-t", &SECONDS.to_string()]),
                _ => ffmpeg.arg("-i").arg(Self::Wav.path()),
            };
            ffmpeg.args(self.options().split(' '));
        })
    }

    /// An upstream that has it under [`ID`], with captions.
    pub fn upstream(self) -> Upstream {
        let bytes = fs::read(self.path()).expect("made just now");
        let upstream = Upstream::start();
        upstream.audio(ID, File::new(bytes)).vtt(ID, vtt_for(SECONDS).into_bytes());
        upstream
    }

    /// Time that bare ffmpeg needs to encode from second `start`, for `length` seconds or to the end, until it has ended.
    pub fn bare(self, start: Option<f64>, length: Option<f64>) -> Duration {
        let mut ffmpeg = ffmpeg();
        for (flag, seconds) in [("-ss", start), ("-t", length)] {
            if let Some(seconds) = seconds {
                ffmpeg.arg(flag).arg(format!("{seconds:.6}"));
            }
        }
        ffmpeg.arg("-i").arg(self.path()).args(["-c:a", "aac", "-b:a", "128k", "-f", "adts", "-"]);
        let begun = Instant::now();
        // Its output goes through a pipe to a reader, as it would to us.
        let output = ffmpeg.output().expect("ffmpeg is installed");
        let took = begun.elapsed();
        assert!(output.status.success() && output.stdout.len() > 1000, "{output:?}");
        took
    }

    /// Time of the transcode that a service does who answers when all segments of 5 s are on disk.
    pub fn transcode(self) -> Duration {
        let dir = TempDir::new().expect("a temporary directory");
        let mut ffmpeg = ffmpeg();
        ffmpeg.arg("-i").arg(self.path()).args(["-c:a", "aac", "-b:a", "128k", "-f", "segment"]);
        ffmpeg.args([
            "-segment_time",
            "5",
            "-segment_list",
            "index.m3u8",
            "-segment_format",
            "mpegts",
            "%d.ts",
        ]);
        let begun = Instant::now();
        let status = ffmpeg.current_dir(dir.path()).status().expect("ffmpeg is installed");
        let took = begun.elapsed();
        assert!(status.success() && dir.path().join("index.m3u8").exists());
        took
    }
}

/// A file of this name that ffmpeg makes with these arguments; made once and kept in target/.
pub fn made(name: &str, arguments: impl FnOnce(&mut Command)) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench");
    let path = dir.join(name);
    if path.exists() {
        return path;
    }
    eprintln!("  making {name}");
    fs::create_dir_all(&dir).expect("a directory for media");
    let part = NamedTempFile::new_in(&dir).expect("a file");
    let mut ffmpeg = ffmpeg();
    arguments(&mut ffmpeg);
    ffmpeg.args(["-bitexact", "-y"]).arg(part.path());
    assert!(ffmpeg.status().expect("ffmpeg is installed").success());
    part.persist(&path).expect("a rename");
    path
}

/// An ffmpeg that is silent unless something is wrong.
pub fn ffmpeg() -> Command {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-hide_banner", "-v", "error"]).stdin(Stdio::null());
    ffmpeg
}

/// A broker as operators run it, info log and all, with room for what is measured here, that encodes whatever it is given.
pub fn setup(upstream: &Upstream) -> Setup {
    Broker::setup(upstream)
        .with("log.level", "info")
        .with("cache.size", "1GB")
        .with("cache.limit", 500)
        .with("cache.expiry", "1h")
        .with("cache.killsize.tempdir", "1GB")
        .with("cache.killsize.static", "2GB")
        .with("packager.copy", Vec::<String>::new())
}

/// A broker that has served a jingle: running, with nothing of the song in it and no encoder left.
pub fn warm_broker(upstream: &Upstream) -> Broker {
    warmed(setup(upstream), upstream)
}

/// [`warm_broker`] with other settings.
pub fn warmed(setup: Setup, upstream: &Upstream) -> Broker {
    upstream.audio("jingle", Clip::sine(Format::Wav, 0.5, 440).bytes());
    let broker = setup.start();
    let grant = broker.token("jingle");
    crate::support::Player::new(&broker, &grant).audio();
    crate::support::until("the jingle's encoder has ended", || broker.children().is_empty());
    broker
}

/// The first segment that starts at or after `seconds`, with its number and start.
pub fn segment_after(playlist: &Playlist, seconds: f64) -> (usize, f64, &Segment) {
    let starts = playlist.starts();
    let n = starts.iter().position(|start| *start >= seconds).expect("such a segment");
    (n, starts[n], &playlist.segments[n])
}
