//! Whether a file is all that its container says: a download that broke off, a disk that was full.
//!
//! Not all containers say: MPEG streams end where they end, and FLAC counts samples, not bytes.

use super::{Container, Input, Stop, input, matroska, mp4};

/// Boxes of an MP4 that are looked at.
const BOXES: usize = 200_000;

/// Sizes from here on are those of a pipe, which does not know them.
const UNSIZED: u32 = 0x7fff_0000;

/// Bytes at the end of an Ogg file that hold the beginning of its last page (RFC 3533 section 6).
const PAGE: u64 = 65_307;

/// Whether bytes are missing at the end, as far as the container says.
pub(super) fn is_cut(input: &Input<'_>, container: Container) -> Result<bool, Stop> {
    let Some(total) = input.total() else {
        return Ok(false);
    };
    match container {
        Container::Wav | Container::Avi => riff(input, total, u32::from_le_bytes),
        Container::Aiff => riff(input, total, u32::from_be_bytes),
        Container::Mp4 | Container::Mp4Unedited => boxes(input, total),
        Container::Matroska => Ok(matroska::segment(input)?.is_some_and(|end| end > total)),
        Container::Ogg => pages(input, total),
        _ => Ok(false),
    }
}

/// One chunk of everything; the byte that makes its size even may be missing.
fn riff(input: &Input<'_>, total: u64, number: fn([u8; 4]) -> u32) -> Result<bool, Stop> {
    let size = input::array(&input.some(0, 8)?, 4).map_or(0, number);
    Ok(size < UNSIZED && u64::from(size) + 8 > total + 1)
}

/// Boxes one after the other. What comes behind the media matters only where the media are in fragments.
fn boxes(input: &Input<'_>, total: u64) -> Result<bool, Stop> {
    let mut at = 0;
    let (mut header, mut fragments) = (false, false);
    for _ in 0..BOXES {
        let Some((kind, _, end)) = mp4::top(input, at, total)? else {
            break;
        };
        header |= &kind == b"moov";
        fragments |= &kind == b"moof";
        if end > total {
            return Ok(true);
        }
        if end == total || &kind == b"mdat" && header && !fragments {
            break;
        }
        at = end;
    }
    Ok(false)
}

/// Pages, of which the last says that it is.
fn pages(input: &Input<'_>, total: u64) -> Result<bool, Stop> {
    let tail = input.some(total.saturating_sub(PAGE), PAGE as usize)?;
    let last = tail.windows(6).rev().find(|page| page.starts_with(b"OggS\0"));
    Ok(last.and_then(<[u8]>::last).is_some_and(|flags| flags & 4 == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_cut(bytes: &[u8], container: Container) -> bool {
        super::is_cut(&Input::slice(bytes, Some(bytes.len() as u64)), container).unwrap()
    }

    #[test]
    fn what_a_container_says_is_held_against_what_is_there() {
        let wav = b"RIFF\x08\0\0\0WAVEdata";
        let piped = b"RIFF\xff\xff\xff\xffWAVEdata";
        let aiff = b"FORM\0\0\0\x08AIFFCOMM";
        let mp4 = b"\0\0\0\x08ftyp\0\0\0\x08moov\0\0\0\x0cmdat\0\0\0\0";
        let rest = b"\0\0\0\x08moov\0\0\0\x0amdat\0\0\0\0\0\x10udta";
        let open = b"\0\0\0\x08moov\0\0\0\0mdat\0\0\0\0";
        let mkv = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x84\xec\x82\0\0";
        let live = b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff\xec\x82\0\0";
        let ogg = b"OggS\0\x02...OggS\0\x04...";
        for (bytes, container, cut) in [
            (&wav[..], Container::Wav, true),
            (piped, Container::Wav, false),
            (aiff, Container::Aiff, true),
            (mp4, Container::Mp4, true),
            (rest, Container::Mp4, false),
            (open, Container::Mp4, false),
            (mkv, Container::Matroska, true),
            (live, Container::Matroska, false),
            (ogg, Container::Ogg, true),
        ] {
            assert!(!is_cut(bytes, container), "{}", bytes.escape_ascii());
            let short = &bytes[..bytes.len() - 2 - usize::from(container == Container::Ogg) * 10];
            assert_eq!(is_cut(short, container), cut, "{}", short.escape_ascii());
        }
        assert!(!is_cut(b"", Container::Ogg) && !is_cut(b"fLaC", Container::Flac));
    }

    #[test]
    fn what_has_not_come_is_waited_for() {
        let head = b"\0\0\0\x08ftyp\0\0\0\x08moov";
        let input = Input::slice(head, Some(1_000));
        assert_eq!(super::is_cut(&input, Container::Mp4), Err(Stop::More(24)));
    }
}
