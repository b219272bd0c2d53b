//! The waveform of a source's audio, for players that draw one: `peaks.json`.
//!
//! To have at hand: audiowaveform's data format, version 2 (bbc/audiowaveform, doc/DataFormat.md). A *pixel* is its word for a
//! pair of the least and the greatest of so many samples.
//!
//! Measured: ten minutes of MP3 or FLAC take ffmpeg 0.6 s of processor time, six hours of MP3 20 s; the reduction takes 0.6 s of
//! those six hours.

use serde::Serialize;

use super::encoder::{Arguments, Input};
use crate::source::probe::{Container, Splice, last, media::Audio};

/// The most pixels of a source: about 120 kB, whether it lasts ten minutes or six hours.
const PIXELS: u64 = 16_384;

/// The fewest samples of a pixel.
const FINEST: u64 = 256;

/// Peaks on their way: samples go in, one pixel is open, the closed ones are kept as 8 bits. Takes as much memory for any length.
#[derive(Debug)]
pub struct Peaks {
    rate: u32,
    samples_per_pixel: u64,
    /// Pixels of the whole.
    length: usize,
    /// Least and greatest in turn.
    data: Vec<i8>,
    open: Pixel,
    /// The first half of a sample whose second half is to come.
    half: Option<u8>,
}

/// Of no samples at first: the next one is both its least and its greatest.
#[derive(Debug)]
struct Pixel {
    least: i16,
    greatest: i16,
    samples: u64,
}

impl Default for Pixel {
    fn default() -> Self {
        Self { least: i16::MAX, greatest: i16::MIN, samples: 0 }
    }
}

impl Pixel {
    /// Takes more samples, all of one pixel: a loop that compilers know how to make fast.
    fn add(&mut self, samples: &[[u8; 2]]) {
        for sample in samples.iter().map(|&sample| i16::from_le_bytes(sample)) {
            self.least = self.least.min(sample);
            self.greatest = self.greatest.max(sample);
        }
        self.samples += samples.len() as u64;
    }
}

/// The file, field by field.
#[derive(Serialize)]
struct Document<'a> {
    version: u8,
    channels: u8,
    sample_rate: u32,
    samples_per_pixel: u64,
    bits: u8,
    length: usize,
    data: &'a [i8],
}

impl Peaks {
    /// No peaks yet of `samples` samples, `rate` a second.
    ///
    /// A pixel gets the least power of two of samples, 256 or more, that leaves no more than 16,384 pixels: 256 up to a minute
    /// and a half at 44.1 kHz, 2048 for ten minutes, 65,536 for six hours.
    pub fn new(rate: u32, samples: u64) -> Self {
        let samples_per_pixel =
            samples.div_ceil(PIXELS).checked_next_power_of_two().unwrap_or(1 << 63).max(FINEST);
        // No more than PIXELS.
        let length = samples.div_ceil(samples_per_pixel) as usize;
        let data = Vec::with_capacity(2 * length);
        Self { rate, samples_per_pixel, length, data, open: Pixel::default(), half: None }
    }

    /// Takes 16-bit samples, the low byte first, in pieces of any size. What goes beyond the length is left out.
    pub fn push(&mut self, mut bytes: &[u8]) {
        if let (Some(low), Some((&high, rest))) = (self.half, bytes.split_first()) {
            self.half = None;
            self.add(&[[low, high]]);
            bytes = rest;
        }
        let (samples, rest) = bytes.as_chunks();
        self.add(samples);
        self.half = rest.first().copied().or(self.half);
    }

    fn add(&mut self, mut samples: &[[u8; 2]]) {
        while !samples.is_empty() {
            let missing = self.samples_per_pixel - self.open.samples;
            let missing = usize::try_from(missing).unwrap_or(usize::MAX);
            let (own, rest) = samples.split_at(missing.min(samples.len()));
            self.open.add(own);
            if self.open.samples == self.samples_per_pixel {
                self.close();
            }
            samples = rest;
        }
    }

    fn close(&mut self) {
        let Pixel { least, greatest, .. } = std::mem::take(&mut self.open);
        if self.data.len() < 2 * self.length {
            // As audiowaveform does it: a 256th, rounded towards silence.
            self.data.extend([(least / 256) as i8, (greatest / 256) as i8]);
        }
    }

    /// The file; None when no sample has come. A source that ended early is silent from there on, as its stream is.
    pub fn finish(mut self) -> Option<Vec<u8>> {
        if self.open.samples > 0 {
            self.close();
        }
        if self.data.is_empty() {
            return None;
        }
        self.data.resize(2 * self.length, 0);
        let document = Document {
            version: 2,
            channels: 1,
            sample_rate: self.rate,
            samples_per_pixel: self.samples_per_pixel,
            bits: 8,
            length: self.length,
            data: &self.data,
        };
        serde_json::to_vec(&document).ok()
    }
}

/// ffmpeg's arguments: an audio track of a source as one channel of 16 bits at its own rate, on stdout.
pub fn arguments(container: Container, audio: &Audio, input: &Input) -> Vec<String> {
    let mut args = Arguments::fenced(container, input);
    args.open(container, input);
    args.pair("-map", format!("0:a:{}", audio.index));
    args.words("-vn -sn -dn -map_metadata -1 -map_chapters -1");
    // The matrix is scaled so that full level in every channel still fits, whatever the decoder's sample format.
    let mix = format!("aresample={}:ocl=mono:rematrix_maxval=1.0", audio.rate);
    let fill = audio.splice == Splice::Fill;
    args.pair("-af", if fill { format!("{},{mix}", last::FILL) } else { mix });
    args.pair("-ar", audio.rate.to_string());
    args.words("-ac 1 -c:a pcm_s16le -f s16le pipe:1");
    args.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::package::plan::tests::media;

    fn read(peaks: Peaks) -> Value {
        serde_json::from_slice(&peaks.finish().expect("samples")).expect("JSON")
    }

    fn bytes(samples: &[i16]) -> Vec<u8> {
        samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
    }

    /// The same by the book: all samples at hand, cut into pixels.
    fn reference(samples: &[i16], per_pixel: usize, length: usize) -> Vec<i64> {
        let whole = samples.chunks(per_pixel).flat_map(|pixel| {
            let ends = [pixel.iter().min(), pixel.iter().max()];
            ends.map(|end| (f64::from(*end.unwrap()) / 256.0).trunc() as i64)
        });
        whole.chain(std::iter::repeat(0)).take(2 * length).collect()
    }

    fn data(document: &Value) -> Vec<i64> {
        document["data"].as_array().unwrap().iter().map(|n| n.as_i64().unwrap()).collect()
    }

    #[test]
    fn the_document_has_the_fields_of_the_format() {
        let mut peaks = Peaks::new(8_000, 300);
        let mut samples = vec![0; 256];
        (samples[3], samples[77]) = (-32_768, 32_767);
        samples.extend([-257, -255]);
        peaks.push(&bytes(&samples));
        let expected = json!({
            "version": 2, "channels": 1, "sample_rate": 8_000, "samples_per_pixel": 256, "bits": 8,
            "length": 2, "data": [-128, 127, -1, 0],
        });
        assert_eq!(read(peaks), expected);
    }

    #[test]
    fn a_source_of_any_length_has_few_pixels() {
        let hours = |hours: u64, rate: u32| hours * 3600 * u64::from(rate);
        for (rate, samples, per_pixel, length) in [
            (44_100, 1, 256, 1),
            (44_100, 256, 256, 1),
            (44_100, 257, 256, 2),
            (44_100, PIXELS * 256, 256, 16_384),
            (44_100, PIXELS * 256 + 1, 512, 8_193),
            (44_100, hours(1, 44_100) / 6, 2_048, 12_920),
            (48_000, hours(6, 48_000), 65_536, 15_821),
            (192_000, hours(24, 192_000), 1 << 20, 15_821),
            (1, u64::MAX, 1 << 50, 16_384),
        ] {
            let peaks = Peaks::new(rate, samples);
            let got = (peaks.samples_per_pixel, peaks.length);
            assert_eq!(got, (per_pixel, length), "{samples} at {rate}");
        }
    }

    #[test]
    fn nothing_comes_of_nothing() {
        assert!(Peaks::new(44_100, 1000).finish().is_none());
        let mut half = Peaks::new(44_100, 1000);
        half.push(&[1]);
        half.push(&[]);
        assert!(half.finish().is_none());
    }

    #[test]
    fn ffmpeg_is_asked_for_one_channel_at_the_source_s_rate() {
        let input = Input::File("/cache/abc".into());
        assert_eq!(
            arguments(Container::Wav, &media(96_000, 6, 1000).audio[0], &input).join(" "),
            "-nostdin -hide_banner -v error -threads 1 -protocol_whitelist file -format_whitelist wav \
             -max_alloc 268435456 -probesize 1M -analyzeduration 2M -max_streams 64 -f wav -i file:/cache/abc \
             -map 0:a:0 -vn -sn -dn -map_metadata -1 -map_chapters -1 \
             -af aresample=96000:ocl=mono:rematrix_maxval=1.0 -ar 96000 -ac 1 -c:a pcm_s16le -f s16le pipe:1"
        );
    }

    proptest! {
        /// Whatever the pieces, and whether more samples come than were promised or fewer.
        #[test]
        fn the_reduction_is_that_of_the_book(
            samples in proptest::collection::vec(any::<i16>(), 1..3_000),
            promised in 1_u64..3_000,
            pieces in proptest::collection::vec(0_usize..700, 1..20),
        ) {
            let mut peaks = Peaks::new(48_000, promised);
            let bytes = bytes(&samples);
            let mut rest = &bytes[..];
            for piece in pieces {
                let (piece, after) = rest.split_at(piece.min(rest.len()));
                peaks.push(piece);
                rest = after;
            }
            peaks.push(rest);
            let document = read(peaks);
            let length = promised.div_ceil(256) as usize;
            prop_assert_eq!(&document["length"], length);
            prop_assert_eq!(data(&document), reference(&samples, 256, length));
        }
    }
}
