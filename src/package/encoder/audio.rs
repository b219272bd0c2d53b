//! ffmpeg's command line for a head of an audio rendition.

use super::{Arguments, Input};
use crate::{
    package::{
        audio::{Audio, Coding},
        table::FRAME,
    },
    source::probe::{Container, Splice, last},
};

/// Frames that a head in the middle encodes before the first one that is used: so many bring the encoder into the state of
/// one that never stopped (packaging measurements, section 2).
pub const PREROLL: u64 = 16;

/// Seconds that are decoded before the first sample that is used: an MP3 decoder's bit reservoir needs some.
const LEAD: f64 = 1.0;

/// What heads write of what does not come in ADTS; FLAC in MP4 is an experiment to ffmpeg 5.
const FRAGMENTS: &str = "-strict -2 -movflags empty_moov+default_base_moof+skip_trailer -frag_duration 200000 \
    -flush_packets 1 -f mp4 pipe:1";

/// What a head wants of ffmpeg.
#[derive(Debug)]
pub struct Order<'a> {
    /// What is done to the source.
    pub audio: &'a Audio,
    /// Where it is.
    pub input: Input,
    /// The frame whose samples come first, in the numbering of the whole rendition; 0 for all from the start, as it is where
    /// frames are copied.
    pub from: u64,
    /// Seeking in this source has failed before.
    pub distrusted: bool,
}

impl Order<'_> {
    /// Whether ffmpeg seeks, rather than decode from the start.
    pub fn seeks(&self) -> bool {
        let Coding::Encode { splice: Splice::Seek, delay, .. } = self.audio.coding else {
            return false;
        };
        let begins = delay as f64 / f64::from(self.audio.codec.rate());
        !self.distrusted && matches!(self.input, Input::File(_)) && self.at() > begins + LEAD
    }

    /// Seconds at which the first sample that is used lies.
    fn at(&self) -> f64 {
        (self.from * FRAME) as f64 / f64::from(self.audio.codec.rate())
    }

    /// The arguments. ADTS of exactly the planned rate and channels comes out of stdout, or fragmented MP4 of another codec.
    pub fn arguments(&self) -> Vec<String> {
        let mut args = Arguments::fenced(self.audio.container, &self.input);
        if self.seeks() {
            args.pair("-ss", format!("{:.6}", self.at() - LEAD));
            args.words("-copyts -start_at_zero");
        }
        if self.audio.is_copied() && self.audio.container == Container::Mp4 {
            // Frames are counted: those that an edit list hides, too.
            args.words("-ignore_editlist 1");
        }
        args.open(self.audio.container, &self.input);
        args.pair("-map", format!("0:a:{}", self.audio.index));
        args.words("-vn -sn -dn -map_metadata -1 -map_chapters -1");
        match self.audio.coding {
            Coding::Copy { .. } => args.words("-c:a copy"),
            Coding::Encode { splice, delay, resample, downmix } => {
                if let Some(filter) = self.filter(splice, delay, resample, downmix) {
                    args.pair("-af", filter);
                }
                args.words("-c:a aac -flush_packets 1");
                args.pair("-b:a", self.audio.bitrate.to_string());
                args.pair("-ar", self.audio.codec.rate().to_string());
                args.pair("-ac", self.audio.codec.channels().to_string());
            }
        }
        args.words(if self.audio.codec.aac().is_some() { "-f adts pipe:1" } else { FRAGMENTS });
        args.0
    }

    fn filter(&self, splice: Splice, delay: u64, resample: bool, downmix: bool) -> Option<String> {
        let mut filters = Vec::new();
        if splice == Splice::Fill {
            filters.push(last::FILL.to_owned());
        }
        let (rate, sample) = (self.audio.codec.rate(), self.from * FRAME);
        if downmix {
            // The matrix is scaled so that full level in every channel still fits; plain -ac 2 clips.
            filters.push(format!("aresample={rate}:ocl=stereo:rematrix_maxval=1.0"));
        } else if resample {
            filters.push(format!("aresample={rate}"));
        }
        if delay > 0 && !self.seeks() {
            filters.push(format!("adelay=delays={delay}S:all=1"));
        }
        if self.seeks() {
            filters.push(format!("atrim=start_pts={sample},asetpts=N/SR/TB"));
        } else if sample > 0 {
            filters.push(format!("atrim=start_sample={sample},asetpts=N/SR/TB"));
        }
        (!filters.is_empty()).then(|| filters.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::{
        choices::Choices,
        plan::{Plan, tests::media},
    };

    fn line(rate: u32, channels: u16, input: Input, from: u64, distrusted: bool) -> String {
        let plan = Plan::new(&media(rate, channels, 10_000_000), &Choices::default()).unwrap();
        Order { audio: &plan.audio[0], input, from, distrusted }.arguments().join(" ")
    }

    fn file() -> Input {
        Input::File("/cache/abc".into())
    }

    #[test]
    fn from_the_start_through_a_pipe() {
        assert_eq!(
            line(44_100, 2, Input::Pipe, 0, false),
            "-nostdin -hide_banner -v error -threads 1 -protocol_whitelist pipe -format_whitelist wav \
             -max_alloc 268435456 -probesize 1M -analyzeduration 2M -max_streams 64 -f wav -i pipe:0 \
             -map 0:a:0 -vn -sn -dn -map_metadata -1 -map_chapters -1 -c:a aac -flush_packets 1 \
             -b:a 128000 -ar 44100 -ac 2 -f adts pipe:1"
        );
    }

    #[test]
    fn a_head_far_in_seeks_a_second_before_and_trims() {
        let line = line(44_100, 2, file(), 2000, false);
        assert!(
            line.contains(" -ss 45.439909 -copyts -start_at_zero -f wav -i file:/cache/abc "),
            "{line}"
        );
        assert!(line.contains(" -af atrim=start_pts=2048000,asetpts=N/SR/TB "), "{line}");
    }

    #[test]
    fn near_the_start_or_where_seeking_failed_all_is_decoded() {
        for line in [line(44_100, 2, file(), 27, false), line(44_100, 2, file(), 2000, true)] {
            assert!(!line.contains("-ss ") && line.contains("atrim=start_sample="), "{line}");
        }
    }

    #[test]
    fn resampling_and_mixing_down_come_before_the_cut() {
        let high = line(96_000, 6, file(), 2000, false);
        assert!(
            high.contains("-af aresample=48000:ocl=stereo:rematrix_maxval=1.0,atrim=start_pts="),
            "{high}"
        );
        let odd = line(37_800, 1, file(), 0, false);
        assert!(odd.contains("-af aresample=48000 ") && odd.contains("-ac 1 "), "{odd}");
    }
}
