//! Media made by ffmpeg and espeak-ng when a test first asks for it, and kept in target/tmp by what was asked.
//!
//! `Clip::noise(Format::Mp3Vbr, 30.0).rate(48_000).mono().bytes()`

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use tempfile::NamedTempFile;

/// Stands for espeak-ng's file among ffmpeg's arguments.
const SPOKEN: &str = "<spoken>";

/// [`Sound::Music`] as an expression of ffmpeg: no spaces, commas escaped.
const MUSIC: &str = r"0.2*sin(2*PI*220*t)*exp(-3*mod(t\,0.5))+0.2*sin(2*PI*554*t)*exp(-5*mod(t\,0.25))+0.15*sin(2*PI*880*t)+0.1*(random(0)-0.5)*exp(-20*mod(t\,0.25))";

/// [`Sound::Bursts`], likewise.
const BURSTS: &str = r"if(lt(mod(t\,1.5)\,0.75)\,0\,2*random(0)-1)";

/// A container and a codec, and what matters to those who read headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// WAV of 16-bit PCM.
    Wav,
    WavU8,
    WavS24,
    WavFloat,
    WavAlaw,
    WavAdpcm,
    /// WAV as a pipe writes it: sizes of 0xffffffff.
    WavUnsized,
    Aiff,
    /// 128 kbit/s with an Info frame.
    Mp3,
    /// Variable bit rate with a Xing frame.
    Mp3Vbr,
    /// Variable bit rate without one: only the end tells the length.
    Mp3VbrBare,
    /// AAC, moov first.
    M4a,
    /// AAC, moov last.
    M4aMoovLast,
    /// AAC in fragments of a second.
    M4aFragmented,
    Alac,
    Adts,
    Flac,
    /// FLAC as a pipe writes it: no total.
    FlacUnsized,
    OggVorbis,
    OggOpus,
    OggFlac,
    /// Opus in `WebM`.
    Webm,
    /// Opus in `WebM` as a pipe writes it: no duration, no cues.
    WebmUnsized,
    /// Vorbis in Matroska.
    Mkv,
    /// H.264 of 320x180 at 25 frames a second with a key frame each second, and AAC; moov first.
    Mp4Video,
}

impl Format {
    /// All that hold audio only, for tests that walk them.
    pub const AUDIO: [Self; 24] = [
        Self::Wav,
        Self::WavU8,
        Self::WavS24,
        Self::WavFloat,
        Self::WavAlaw,
        Self::WavAdpcm,
        Self::WavUnsized,
        Self::Aiff,
        Self::Mp3,
        Self::Mp3Vbr,
        Self::Mp3VbrBare,
        Self::M4a,
        Self::M4aMoovLast,
        Self::M4aFragmented,
        Self::Alac,
        Self::Adts,
        Self::Flac,
        Self::FlacUnsized,
        Self::OggVorbis,
        Self::OggOpus,
        Self::OggFlac,
        Self::Webm,
        Self::WebmUnsized,
        Self::Mkv,
    ];

    /// ffmpeg's output options.
    const fn options(self) -> &'static str {
        match self {
            Self::Wav | Self::WavUnsized => "-c:a pcm_s16le -f wav",
            Self::WavU8 => "-c:a pcm_u8 -f wav",
            Self::WavS24 => "-c:a pcm_s24le -f wav",
            Self::WavFloat => "-c:a pcm_f32le -f wav",
            Self::WavAlaw => "-c:a pcm_alaw -f wav",
            Self::WavAdpcm => "-c:a adpcm_ms -f wav",
            Self::Aiff => "-c:a pcm_s16be -f aiff",
            Self::Mp3 => "-c:a libmp3lame -b:a 128k -f mp3",
            Self::Mp3Vbr => "-c:a libmp3lame -q:a 4 -f mp3",
            Self::Mp3VbrBare => "-c:a libmp3lame -q:a 4 -write_xing 0 -f mp3",
            Self::M4a => "-c:a aac -b:a 128k -movflags +faststart -f ipod",
            Self::M4aMoovLast => "-c:a aac -b:a 128k -f ipod",
            Self::M4aFragmented => {
                "-c:a aac -b:a 128k -movflags empty_moov+default_base_moof -frag_duration 1000000 -f mp4"
            }
            Self::Alac => "-c:a alac -movflags +faststart -f ipod",
            Self::Adts => "-c:a aac -b:a 128k -f adts",
            Self::Flac | Self::FlacUnsized => "-c:a flac -f flac",
            Self::OggVorbis => "-c:a libvorbis -q:a 4 -f ogg",
            Self::OggOpus => "-c:a libopus -b:a 96k -f ogg",
            Self::OggFlac => "-c:a flac -f ogg",
            Self::Webm | Self::WebmUnsized => "-c:a libopus -b:a 96k -f webm",
            Self::Mkv => "-c:a libvorbis -q:a 4 -f matroska",
            Self::Mp4Video => {
                "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 25 -c:a aac -b:a 128k -shortest -movflags +faststart -f mp4"
            }
        }
    }

    const fn is_piped(self) -> bool {
        matches!(self, Self::WavUnsized | Self::FlacUnsized | Self::WebmUnsized)
    }
}

/// What is heard.
#[derive(Clone, Debug, Hash)]
enum Sound {
    /// Pink noise, the same in every run: every excerpt says where it is from.
    Noise,
    /// A sine that climbs from 200 Hz to a third of the sample rate.
    Chirp,
    /// A sine of that many Hz.
    Sine(u32),
    Silence,
    /// Chords that are struck and fade, and something like a drum.
    Music,
    /// Silence and white noise at full level in turn: what an encoder's rate control is worst at.
    Bursts,
    /// This sentence, over and over.
    Speech(String),
}

/// A piece of media to be made. 44.1 kHz stereo unless said otherwise; Opus always comes out at 48 kHz.
#[derive(Clone, Debug)]
pub struct Clip {
    sound: Sound,
    format: Format,
    seconds: f64,
    rate: u32,
    channels: u32,
}

impl Clip {
    /// Pink noise: what gap tests can find their place in.
    pub fn noise(format: Format, seconds: f64) -> Self {
        Self { sound: Sound::Noise, format, seconds, rate: 44_100, channels: 2 }
    }

    /// A rising tone.
    pub fn chirp(format: Format, seconds: f64) -> Self {
        Self { sound: Sound::Chirp, ..Self::noise(format, seconds) }
    }

    /// A steady tone.
    pub fn sine(format: Format, seconds: f64, hertz: u32) -> Self {
        Self { sound: Sound::Sine(hertz), ..Self::noise(format, seconds) }
    }

    /// Digital silence.
    pub fn silence(format: Format, seconds: f64) -> Self {
        Self { sound: Sound::Silence, ..Self::noise(format, seconds) }
    }

    /// Something like music.
    pub fn music(format: Format, seconds: f64) -> Self {
        Self { sound: Sound::Music, ..Self::noise(format, seconds) }
    }

    /// Silence and noise in turn.
    pub fn bursts(format: Format, seconds: f64) -> Self {
        Self { sound: Sound::Bursts, ..Self::noise(format, seconds) }
    }

    /// A sentence spoken by espeak-ng, repeated to that length.
    pub fn speech(format: Format, seconds: f64, sentence: &str) -> Self {
        Self { sound: Sound::Speech(sentence.to_owned()), ..Self::noise(format, seconds) }
    }

    /// Samples a second.
    pub const fn rate(mut self, rate: u32) -> Self {
        self.rate = rate;
        self
    }

    /// How many channels; they sound alike.
    pub const fn channels(mut self, channels: u32) -> Self {
        self.channels = channels;
        self
    }

    /// One channel.
    pub const fn mono(self) -> Self {
        self.channels(1)
    }

    /// The file's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).expect("made just now")
    }

    /// The file, made if nobody has yet. Others may be reading it: do not change it.
    pub fn path(&self) -> PathBuf {
        let arguments = self.arguments();
        kept(&(&arguments, &self.sound, self.format), |path| self.make(&arguments, path))
    }

    fn arguments(&self) -> Vec<String> {
        let Self { seconds, rate, channels, .. } = self;
        let climb = (f64::from(*rate) / 3.0 - 200.0) / (2.0 * seconds);
        let source = match &self.sound {
            Sound::Noise => {
                format!("anoisesrc=color=pink:seed=7:amplitude=0.5:r={rate}:d={seconds}")
            }
            Sound::Chirp => {
                format!("aevalsrc=0.5*sin(2*PI*t*(200+{climb}*t)):s={rate}:d={seconds}")
            }
            Sound::Sine(hertz) => format!("aevalsrc=0.5*sin(2*PI*{hertz}*t):s={rate}:d={seconds}"),
            Sound::Music => format!("aevalsrc={MUSIC}:s={rate}:d={seconds}"),
            Sound::Bursts => format!("aevalsrc={BURSTS}:s={rate}:d={seconds}"),
            Sound::Silence => format!("anullsrc=r={rate}:cl=mono:d={seconds}"),
            Sound::Speech(_) => String::new(),
        };
        let mut words = match self.sound {
            Sound::Speech(_) => {
                vec![format!("-stream_loop -1 -i {SPOKEN} -t {seconds} -ar {rate}")]
            }
            _ => vec![format!("-f lavfi -i {source}")],
        };
        if self.format == Format::Mp4Video {
            words.push(format!("-f lavfi -i testsrc2=s=320x180:r=25:d={seconds}"));
        }
        words.push(format!("-bitexact -ac {channels} {}", self.format.options()));
        words.join(" ").split(' ').map(str::to_owned).collect()
    }

    fn make(&self, arguments: &[String], path: &Path) {
        let spoken = NamedTempFile::new().expect("a file");
        if let Sound::Speech(sentence) = &self.sound {
            let mut espeak = Command::new("espeak-ng");
            let status = espeak.arg("-w").arg(spoken.path()).arg(sentence).status();
            assert!(status.expect("espeak-ng is installed").success());
        }
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-nostdin", "-hide_banner", "-v", "error", "-y"]);
        for word in arguments {
            match word.as_str() {
                SPOKEN => ffmpeg.arg(spoken.path()),
                word => ffmpeg.arg(word),
            };
        }
        // In a file it would go back and fill in what it did not know at the start.
        ffmpeg.arg(if self.format.is_piped() { Path::new("pipe:1") } else { path });
        let output = ffmpeg.output().expect("ffmpeg is installed");
        assert!(output.status.success(), "ffmpeg cannot make {self:?}: {output:?}");
        if self.format.is_piped() {
            fs::write(path, output.stdout).expect("room on the disk");
        }
    }
}

/// What ffmpeg makes of these arguments, separated by spaces; the last ones say the format. Made once, as a [`Clip`] is.
pub fn made(arguments: &str) -> Vec<u8> {
    let path = kept(&arguments, |path| {
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-nostdin", "-hide_banner", "-v", "error", "-y"]).args(arguments.split(' '));
        let output = ffmpeg.arg(path).output().expect("ffmpeg is installed");
        assert!(output.status.success(), "ffmpeg cannot make {arguments}: {output:?}");
    });
    fs::read(path).expect("made just now")
}

/// The file that `name` stands for, made if nobody has yet.
fn kept(name: &impl Hash, make: impl FnOnce(&Path)) -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let mut hash = DefaultHasher::new();
    name.hash(&mut hash);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("media");
    let path = dir.join(format!("{:016x}", hash.finish()));
    // One at a time in this process; other processes may do the same work, and the last rename wins.
    let _making = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !path.exists() {
        fs::create_dir_all(&dir).expect("a directory for media");
        let part = NamedTempFile::new_in(&dir).expect("a file");
        make(part.path());
        part.persist(&path).expect("a rename");
    }
    path
}

/// A `WebVTT` file of these cues: start and end in seconds, and text.
pub fn vtt(cues: &[(f64, f64, &str)]) -> String {
    let cue = |(start, end, text): &(f64, f64, &str)| {
        format!("{} --> {}\n{text}\n\n", clock(*start), clock(*end))
    };
    format!("WEBVTT\n\n{}", cues.iter().map(cue).collect::<String>())
}

/// A `WebVTT` file with a cue of one second every two seconds, "Cue 0", "Cue 1", ...
pub fn vtt_for(seconds: f64) -> String {
    let texts: Vec<String> = (0..(seconds / 2.0) as u32).map(|n| format!("Cue {n}")).collect();
    let starts = (0_u32..).map(|n| f64::from(n) * 2.0);
    let cues: Vec<_> =
        starts.zip(&texts).map(|(start, text)| (start, start + 1.0, text.as_str())).collect();
    vtt(&cues)
}

fn clock(seconds: f64) -> String {
    let ms = (seconds * 1000.0).round() as u64;
    format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

/// Media of the world, where they have been put beside this repository; captions apart.
pub fn shared() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/media");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_media = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| !["vtt", "srt", "tsv", "md", "txt"].contains(&extension))
    };
    let mut files: Vec<_> =
        entries.map(|entry| entry.path()).filter(|path| path.is_file()).filter(is_media).collect();
    files.sort();
    files
}
