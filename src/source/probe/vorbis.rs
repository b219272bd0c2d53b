//! Vorbis headers and packet lengths (Vorbis I specification, sections 1.3.2, 4.2 and 4.3).

use super::input::le32;

/// What the identification and setup headers say about packet lengths.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    /// Samples a second.
    pub(super) rate: u32,
    /// Channels.
    pub(super) channels: u16,
    /// Sizes of the short and the long window in samples.
    blocks: [u64; 2],
    /// Which modes use the long window.
    modes: Vec<bool>,
}

impl Setup {
    /// The setup from the identification header and the setup header.
    pub(super) fn read(identification: &[u8], setup: &[u8]) -> Option<Self> {
        if !identification.starts_with(b"\x01vorbis") || !setup.starts_with(b"\x05vorbis") {
            return None;
        }
        let sizes = *identification.get(28)?;
        let blocks = [1 << (sizes & 15), 1 << (sizes >> 4)];
        Some(Self {
            rate: le32(identification, 12)?,
            channels: u16::from(*identification.get(11)?),
            blocks,
            modes: modes(setup)?,
        })
    }

    /// The window of the audio packet that starts with this byte; None if it is none.
    pub(super) fn window(&self, first: u8) -> Option<u64> {
        if first & 1 != 0 {
            return None;
        }
        let width = (usize::BITS - (self.modes.len() - 1).leading_zeros()).min(7);
        let mode = usize::from(first >> 1) & ((1 << width) - 1);
        Some(self.blocks[usize::from(*self.modes.get(mode)?)])
    }

    /// The short window, which ffmpeg takes to stand in front of the first packet.
    pub(super) fn short(&self) -> u64 {
        self.blocks[0]
    }
}

/// The window flags of all modes.
///
/// They end the setup header, but only codebooks, floors and residues in front of them say where. So they are read
/// backwards: each mode is a flag, 16 zero bits of window type, 16 zero bits of transform type and 8 bits of mapping.
fn modes(setup: &[u8]) -> Option<Vec<bool>> {
    let bit = |at: usize| setup.get(at / 8).map(|byte| byte >> (at % 8) & 1);
    let number = |at: usize, width: usize| {
        (0..width).try_fold(0u32, |n, i| Some(n | u32::from(bit(at + i)?) << i))
    };
    // The framing bit is the last one that is set.
    let end = (0..setup.len() * 8).rev().find(|&at| bit(at) == Some(1))?;
    let mut flags = Vec::new();
    let mut found = None;
    let mut at = end;
    while flags.len() < 64 && at >= 97 {
        at -= 41;
        if number(at + 1, 32)? != 0 || number(at + 33, 8)? > 63 {
            break;
        }
        flags.push(bit(at)? == 1);
        if number(at - 6, 6)? as usize + 1 == flags.len() {
            found = Some(flags.len());
        }
    }
    flags.truncate(found?);
    flags.reverse();
    Some(flags)
}
