//! Colours on their way to a rung of 8 bits: what is done to them, and what players are told of them.
//!
//! To have at hand: ITU-T H.273 (code points), BT.2100 (PQ and HLG).
//!
//! Decoded back, pictures of BT.709, BT.601, full range and RGB have the colours of their source wherever their matrix is
//! said. Where it is not, players take 720 lines or more for BT.709 and fewer for BT.601, so that the rungs of one source
//! would have different reds (193, 64, 32 became 205, 75, 29): what the source's own size means is said of all of them.
//!
//! What is meant for screens of high dynamic range would look washed out, and is mapped to BT.709. It is scaled before that:
//! a rung of 720 lines then takes 1.6 times the processor time, else 2.6 times; one of 240 lines takes 1.1 times.

use serde::{Deserialize, Serialize};

use crate::source::probe::{
    colour::Colour,
    media::{Picture, Video},
};

/// Lines from which on players take a picture for BT.709 that does not say.
const HIGH_DEFINITION: u32 = 720;

/// The code points of PQ and HLG.
const PQ: u8 = 16;
const HLG: u8 = 18;

/// How much more a mapped pixel costs than one that is only encoded.
const COST: f64 = 1.6;

/// What is done to colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    /// They stay as they are, and so does what the source says of them.
    #[default]
    Kept,
    /// They are BT.601, and the source does not say so.
    Bt601,
    /// They are BT.709, and the source does not say so.
    Bt709,
    /// They are mapped from the high dynamic range of these to BT.709.
    Mapped(Colour),
}

impl Tone {
    /// What to do to a video where `maps` says whether ffmpeg can map them.
    pub fn of(video: &Video, maps: bool) -> Self {
        let Video { colour, .. } = video;
        if matches!(colour.transfer, PQ | HLG) {
            return if maps { Self::Mapped(*colour) } else { Self::Kept };
        }
        let is_rgb = colour.matrix == 0;
        let is_unsaid = colour.matrix == Colour::default().matrix;
        match &video.codec {
            _ if !is_rgb && !is_unsaid => Self::Kept,
            // Defined to be that, whatever its size.
            Picture::Vp8 => Self::Bt601,
            // The decoder says it.
            Picture::Other(name) if name == "mjpeg" => Self::Kept,
            _ if video.width.min(video.height) >= HIGH_DEFINITION => Self::Bt709,
            _ if is_rgb => Self::Bt601,
            _ => Self::Kept,
        }
    }

    /// How much more a pixel costs than one whose colours stay.
    pub fn cost(self) -> f64 {
        if matches!(self, Self::Mapped(_)) { COST } else { 1.0 }
    }

    /// The filters that make a picture of this size, for an encoder that is to take what it is told of colours from them.
    pub fn scale(self, width: u32, height: u32) -> String {
        let scale = format!("scale={width}:{height}:flags=bicubic");
        match self {
            Self::Kept => format!("{scale},setsar=1"),
            Self::Bt601 => format!("{scale},setsar=1,setparams=colorspace=smpte170m"),
            // For RGB; nothing else is changed by that.
            Self::Bt709 => format!(
                "{scale}:in_color_matrix=bt709:out_color_matrix=bt709,setsar=1,\
                 setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709"
            ),
            Self::Mapped(colour) => format!("{scale}:{},setsar=1,{}", narrow(colour), map(colour)),
        }
    }

    /// The filters that make a thumbnail of this size, in the BT.601 of JPEG (JFIF 1.02).
    pub fn thumbnail(self, width: u32, height: u32) -> String {
        let scale = format!("scale={width}:{height}:flags=area");
        match self {
            Self::Kept | Self::Bt601 => format!("{scale}:out_color_matrix=bt601,setsar=1"),
            Self::Bt709 => {
                format!("{scale}:in_color_matrix=bt709:out_color_matrix=bt601,setsar=1")
            }
            Self::Mapped(colour) => {
                let (narrow, map) = (narrow(colour), map(colour));
                format!("{scale}:{narrow},setsar=1,{map},scale=out_color_matrix=bt601")
            }
        }
    }
}

/// How scaling makes of any range the one that [`map`] takes.
fn narrow(colour: Colour) -> &'static str {
    if colour.full { "in_range=pc:out_range=tv" } else { "in_range=tv:out_range=tv" }
}

/// The filters that map to BT.709 of 8 bits.
///
/// White of 100 nits is 1. What is darker than a third of it stays, the rest is bent so that 1000 nits, for which films are
/// mastered and HLG is defined, come out as white, and the white of a page (203 nits) at 92 percent. The peak is said here:
/// ffmpeg would take it from what comes with some frames, and heads that begin behind those would show others.
fn map(colour: Colour) -> String {
    let transfer = if colour.transfer == HLG { "arib-std-b67" } else { "smpte2084" };
    let primaries = match colour.primaries {
        1 => "bt709",
        12 => "smpte432",
        _ => "bt2020",
    };
    let matrix = match colour.matrix {
        1 => "bt709",
        10 => "bt2020c",
        _ => "bt2020nc",
    };
    format!(
        "zscale=pin={primaries}:tin={transfer}:min={matrix}:rin=tv:p=bt709:t=linear:m=gbr:npl=100,\
         format=gbrpf32le,tonemap=mobius:peak=10:desat=0,zscale=p=bt709:t=bt709:m=bt709:r=tv,format=yuv420p"
    )
}

#[cfg(test)]
mod tests;
