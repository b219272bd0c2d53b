//! Tracks of timed text (3GPP TS 26.245; Apple's `QuickTime` File Format).

use super::{
    super::{input::be32, media::Text},
    track::Track,
};

/// Whether ffmpeg counts the track among its subtitle streams.
pub(super) fn is_subtitle(track: &Track<'_>) -> bool {
    match track.handler().as_ref() {
        Some(b"subp" | b"clcp") => true,
        Some(b"soun" | b"vide") | None => false,
        _ => track.entries().any(|(kind, _)| matches!(&kind, b"tx3g" | b"text" | b"c608")),
    }
}

/// The track that is `index` among the subtitle streams, if it is text.
pub(super) fn read(track: &Track<'_>, index: u32) -> Option<Text> {
    let (kind, body) = track.entries().next()?;
    // Bit 30 of the display flags: all samples are forced.
    let forced = match &kind {
        b"tx3g" => be32(body, 8)? & 0x4000_0000 != 0,
        b"text" => false,
        _ => return None,
    };
    Some(Text { index, codec: "mov_text".to_owned(), forced, label: track.label() })
}
