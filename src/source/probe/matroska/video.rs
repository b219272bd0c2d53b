//! The video track: codec and shape by its `TrackEntry`, and every frame by its block.

use super::{
    super::{
        colour::{Colour, UNSPECIFIED},
        media::{FrameRate, Picture, Video},
        picture::{Coded, Geometry},
        pictures::{Pictures, Shot},
    },
    element::{elements, unsigned},
    track::Track,
};

/// A video track, and what has been met of it.
#[derive(Debug)]
pub(super) struct Moving {
    coded: Coded,
    geometry: Geometry,
    pictures: Pictures,
}

impl Moving {
    /// The codec of a track, of which nothing has been met yet; None where only ffmpeg knows it.
    pub(super) fn read(track: &Track<'_>) -> Option<Self> {
        let other = |name: &str| Some(Coded::plain(Picture::Other(name.to_owned())));
        let coded = match track.codec.as_str() {
            "V_MPEG4/ISO/AVC" => Coded::avc(track.private),
            "V_MPEGH/ISO/HEVC" => Coded::hevc(track.private),
            "V_AV1" => Coded::av1(track.private),
            "V_VP8" => Some(Coded::plain(Picture::Vp8)),
            "V_VP9" => Some(Coded::plain(Picture::Vp9)),
            "V_MPEG4/ISO/ASP" | "V_MPEG4/ISO/SP" | "V_MPEG4/ISO/AP" => other("mpeg4"),
            "V_MPEG2" => other("mpeg2video"),
            "V_MPEG1" => other("mpeg1video"),
            "V_THEORA" => other("theora"),
            "V_MJPEG" => other("mjpeg"),
            _ => None,
        }?;
        let (mut size, mut shown, mut unit, mut fields) = ((0, 0), (0, 0), 0, false);
        let mut told = Colour::default();
        let number = |body| u32::try_from(unsigned(body)).unwrap_or(u32::MAX);
        for (element, body) in elements(track.video) {
            match element {
                0xb0 => size.0 = number(body),
                0xba => size.1 = number(body),
                0x54b0 => shown.0 = number(body),
                0x54ba => shown.1 = number(body),
                0x54b2 => unit = number(body),
                0x9a => fields = number(body) == 1,
                0x55b0 => told = colour(body),
                _ => {}
            }
        }
        let aspect = aspect(size, shown).filter(|_| unit < 4);
        let aspect = aspect.or(coded.aspect);
        let geometry = Geometry { size, aspect, turned: false, quarter: false };
        let colour = told.or(coded.colour);
        let coded = Coded { fields: coded.fields || fields, colour, ..coded };
        Some(Self { coded, geometry, pictures: Pictures::default() })
    }

    /// The next frame.
    pub(super) fn push(&mut self, shot: Shot) {
        self.pictures.push(shot);
    }

    /// More than one frame stands in a block, or another thing that nobody copies.
    pub(super) fn spoil(&mut self) {
        self.pictures.spoil();
    }

    /// The track that is `index` among the video streams, and when it starts in ticks; None if there are no frames.
    pub(super) fn told(
        self,
        track: &Track<'_>,
        index: u32,
        timescale: u32,
    ) -> Option<(Video, i64)> {
        let nominal = FrameRate::of_duration(track.duration);
        let told = self.pictures.told(timescale, nominal)?;
        let first = told.first;
        Some((Video::new(index, self.coded, self.geometry, told), first))
    }
}

/// A `Colour` element (RFC 9559 section 5.1.4.1.28.16).
fn colour(body: &[u8]) -> Colour {
    let mut colour = Colour::default();
    for (element, body) in elements(body) {
        let number = unsigned(body);
        let code = u8::try_from(number).unwrap_or(UNSPECIFIED);
        match element {
            0x55b1 => colour.matrix = code,
            0x55b9 => colour.full = number == 2,
            0x55ba => colour.transfer = code,
            0x55bb => colour.primaries = code,
            _ => {}
        }
    }
    colour
}

/// Width and height of a pixel that make of `size` what is to be shown.
fn aspect(size: (u32, u32), shown: (u32, u32)) -> Option<(u32, u32)> {
    let across = u64::from(shown.0) * u64::from(size.1);
    let down = u64::from(shown.1) * u64::from(size.0);
    FrameRate::exact(across, down).map(|ratio| (ratio.numerator, ratio.denominator))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_told_by_their_code_points() {
        let element =
            b"\x55\xb1\x81\x09\x55\xb9\x81\x02\x55\xba\x81\x12\x55\xbb\x81\x09\x55\xbc\x82\x03\xe8";
        let hlg = Colour { primaries: 9, transfer: 18, matrix: 9, full: true };
        assert_eq!(colour(element), hlg);
        assert_eq!(colour(&element[..7]), Colour { matrix: 9, ..Colour::default() });
        assert_eq!(colour(b"\x55\xba\x82\x01\x10"), Colour::default());
    }
}
