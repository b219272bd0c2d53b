//! Audio tracks: how many samples ffmpeg decodes, and the frames that could be copied.

use super::{
    super::{
        Codec, Container, Input, Splice, Stop,
        frames::Weights,
        media::{Audio, Form, Frames},
    },
    boxes::child,
    edits::{Edit, Edits},
    entry::{Entry, Packet},
    fragment::Runs,
    samples::{Durations, Layout, Sizes},
    track::Track,
};

/// What ffmpeg keeps in front of an edit list for its decoder, in seconds.
const BEFORE: u64 = 1;

/// An audio track that was told.
pub(super) struct Sound {
    /// The track, its splice and delay apart.
    pub(super) audio: Audio,
    /// The nanosecond at which it starts.
    pub(super) start: i64,
    /// Whether its chunks come in the order of their offsets.
    pub(super) ordered: bool,
    /// The offset of its first chunk.
    pub(super) first: u64,
}

impl Sound {
    /// The track that is `index` among the audio tracks; without any samples where the file holds none.
    pub(super) fn read(track: &Track<'_>, index: u32, input: &Input<'_>) -> Result<Self, Stop> {
        let table = Table::read(track)?;
        if track.movie.is_fragmented() {
            table.fragmented(track, index)
        } else {
            table.whole(track, index, input)
        }
    }
}

/// An audio track by its sample table.
struct Table<'a> {
    scale: u32,
    entry: Entry,
    durations: Durations,
    sizes: Sizes<'a>,
    edits: Edits,
    layout: Layout,
}

impl<'a> Table<'a> {
    fn read(track: &Track<'a>) -> Result<Self, Stop> {
        let undetermined = || Stop::Undetermined(Container::Mp4);
        let stbl = track.stbl().ok_or_else(undetermined)?;
        let entry = Entry::read(child(stbl, *b"stsd").ok_or_else(undetermined)?)?;
        let (scale, _) = track.scales()?;
        let edits = track.edits()?;
        // Old files of iTunes tell their priming in a tag instead.
        if edits == Edits::Absent && track.movie.is_tagged(b"iTunSMPB") {
            return Err(undetermined());
        }
        let durations = Durations::read(stbl).ok_or_else(undetermined)?;
        let pcm = if let Packet::Pcm(size) = entry.packet { Some(size) } else { None };
        let layout = Layout::read(stbl, track.movie.total, pcm).ok_or_else(undetermined)?;
        let sizes = Sizes::read(stbl, pcm).ok_or_else(undetermined)?;
        Ok(Self { scale, entry, durations, sizes, edits, layout })
    }

    /// The track of a movie without fragments.
    fn whole(mut self, track: &Track<'_>, index: u32, input: &Input<'_>) -> Result<Sound, Stop> {
        let undetermined = Stop::Undetermined(Container::Mp4);
        if self.layout.held == 0 {
            return self.told(track, index, 0, 0);
        }
        if self.entry.codec == Codec::Mp3 {
            // Half a frame of MP3 decodes, half a packet of others does not.
            if self.layout.cut {
                return Err(undetermined);
            }
            self.entry.look(&input.some(self.layout.first, 4)?)?;
        }
        let samples = self.samples().ok_or(undetermined)?;
        let from = if let Edits::One(edit) = self.edits { edit.start } else { 0 };
        let mut sound = self.told(track, index, samples, from.cast_signed())?;
        sound.audio.frames = self.frames();
        Ok(sound)
    }

    /// The packets that ffmpeg takes, from the first to the last, and the ticks of the first that it skips.
    fn packets(&self) -> Option<(u64, u64, u64)> {
        let last = self.layout.held.checked_sub(1)?;
        match self.edits {
            Edits::Absent => Some((0, last, 0)),
            Edits::Several => None,
            Edits::One(Edit { start, length, .. }) => {
                let (first, begin) = self.durations.at(start)?;
                let ending = self.durations.at(start.checked_add(length)? - 1);
                let last = ending.map_or(last, |(ending, _)| ending.min(last));
                Some((first, last, start - begin))
            }
        }
    }

    /// Samples that ffmpeg decodes; None where only it can tell.
    fn samples(&self) -> Option<u64> {
        let (first, last, skip) = self.packets()?;
        let packets = (last + 1).checked_sub(first).filter(|&packets| packets > 0)?;
        // ffmpeg skips ticks of the track as if they were samples, and packets that it drops count as skipped.
        let exact = self.scale == self.entry.rate;
        let decoded = match self.entry.packet {
            Packet::Fixed(samples) => {
                let start = if let Edits::One(edit) = self.edits { edit.start } else { 0 };
                let skip = start.saturating_sub(first.checked_mul(samples)?);
                return packets.checked_mul(samples)?.checked_sub(skip);
            }
            Packet::Usual if exact => packets.checked_mul(self.durations.usual()?)?,
            Packet::Told if exact => self.durations.sum(last + 1) - self.durations.sum(first),
            // ffmpeg reads PCM in chunks, which edits do not cut.
            Packet::Pcm(_) if skip == 0 && first == 0 && last + 1 == self.layout.held => {
                self.layout.held
            }
            _ => return None,
        };
        decoded.checked_sub(skip)
    }

    /// The frames that ffmpeg would copy.
    fn frames(&self) -> Option<Frames> {
        let (form, priming) = self.form()?;
        let (_, last, _) = self.packets()?;
        let mut weights = Weights::new(self.entry.rate);
        for (sample, duration) in (0..=last).zip(self.durations.each()) {
            weights.push(self.sizes.size(sample)?, self.samples_of(duration));
        }
        weights.frames(form, priming).filter(|frames| frames.count == last + 1)
    }

    /// What could be copied, and the samples in front of it that are not to be heard; None where the two do not fit together.
    fn form(&self) -> Option<(Form, u64)> {
        let (form, skip) = self.entry.form.filter(|_| self.scale == self.entry.rate)?;
        let priming = match self.edits {
            Edits::One(edit) => edit.start,
            _ => 0,
        };
        let fits = match form {
            Form::Aac => priming <= BEFORE * u64::from(self.scale),
            Form::Opus { .. } | Form::Flac { .. } => priming == skip,
        };
        fits.then_some((form, priming))
    }

    /// Samples of a packet that lasts so many ticks of a track whose ticks are samples.
    fn samples_of(&self, ticks: u32) -> u64 {
        match self.entry.packet {
            Packet::Fixed(samples) => samples,
            _ => ticks.into(),
        }
    }

    /// The track of a movie with fragments.
    fn fragmented(self, track: &Track<'_>, index: u32) -> Result<Sound, Stop> {
        let undetermined = || Stop::Undetermined(Container::Mp4);
        let exact = self.scale == self.entry.rate;
        let odd = self.entry.codec == Codec::Mp3 || self.layout.held > 0;
        if odd || self.edits == Edits::Several {
            return Err(undetermined());
        }
        let mut weights = Weights::new(self.entry.rate);
        let (mut count, mut length, mut first) = (0u64, 0u64, None);
        let runs = Runs::of(track).ok_or_else(undetermined)?;
        let walked = runs.walk(track.movie.fragments, |sample| {
            first.get_or_insert(sample.decoded);
            count += 1;
            length = length.saturating_add(u64::from(sample.duration));
            weights.push(u64::from(sample.size), self.samples_of(sample.duration));
        });
        walked.ok_or_else(undetermined)?;
        let samples = match self.entry.packet {
            Packet::Fixed(samples) => count.checked_mul(samples),
            Packet::Told if exact => Some(length),
            _ => None,
        };
        let samples = samples.ok_or_else(undetermined)?;
        let mut sound = self.told(track, index, samples, first.unwrap_or(0).cast_signed())?;
        sound.audio.frames = self.form().and_then(|(form, priming)| weights.frames(form, priming));
        Ok(sound)
    }

    fn told(&self, track: &Track<'_>, index: u32, samples: u64, first: i64) -> Result<Sound, Stop> {
        let Entry { codec, rate, channels, .. } = self.entry.clone();
        let audio = Audio::new(codec, rate, channels, samples, Splice::Decode);
        Ok(Sound {
            audio: Audio { index, label: track.label(), ..audio },
            start: track.start(first)?,
            ordered: self.layout.ordered,
            first: self.layout.first,
        })
    }
}
