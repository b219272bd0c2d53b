//! Elements of EBML (RFC 8794), taken apart without trusting a size.

use super::super::{
    Stop,
    input::{Scan, array},
};

/// The most bytes of a head.
pub(super) const HEAD: usize = 12;

/// The head of an element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Element {
    pub(super) id: u32,
    /// Where its content starts.
    pub(super) body: u64,
    /// None where the size is not known.
    pub(super) size: Option<u64>,
}

impl Element {
    /// The element at `at`; None where the file ends or what is there is none.
    pub(super) fn at(scan: &mut Scan<'_>, at: u64) -> Result<Option<Self>, Stop> {
        Ok(Self::read(scan.some(at, HEAD)?).map(|(id, head, size)| Self {
            id,
            body: at.saturating_add(head),
            size,
        }))
    }

    /// Id, length of the head and size of an element.
    fn read(bytes: &[u8]) -> Option<(u32, u64, Option<u64>)> {
        let length = bytes.first()?.leading_zeros() as usize + 1;
        if length > 4 {
            return None;
        }
        let id = bytes.get(..length)?.iter().fold(0, |id, &byte| id << 8 | u32::from(byte));
        let (size, width) = vint(bytes.get(length..)?)?;
        Some((id, (length + width) as u64, size))
    }

    /// Where it ends, or its content starts if that is not known.
    pub(super) fn end(&self) -> u64 {
        self.body.saturating_add(self.size.unwrap_or(0))
    }

    /// Bytes of its content; 0 if that is not known.
    pub(super) fn length(&self) -> usize {
        self.size.unwrap_or(0) as usize
    }
}

/// A variable-size integer and its width in bytes; None inside where all its bits are set.
pub(super) fn vint(bytes: &[u8]) -> Option<(Option<u64>, usize)> {
    let first = *bytes.first()?;
    let width = first.leading_zeros() as usize + 1;
    if width > 8 {
        return None;
    }
    let mask = (1u64 << (7 * width)) - 1;
    let value =
        bytes.get(..width)?.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)) & mask;
    Some((Some(value).filter(|&value| value != mask), width))
}

/// The elements in `bytes`, one level deep; ends at the first that is broken.
pub(super) fn elements(bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (id, head, size) = Element::read(rest)?;
        let head = usize::try_from(head).ok()?;
        let body = rest.get(head..head.checked_add(usize::try_from(size?).ok()?)?)?;
        rest = rest.get(head + body.len()..)?;
        Some((id, body))
    })
}

/// Whether `bytes` are elements, one after the other to the last byte.
pub(super) fn are_whole(mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let rest = Element::read(bytes).and_then(|(_, head, size)| {
            let end = usize::try_from(head.checked_add(size?)?).ok()?;
            bytes.get(end..)
        });
        let Some(rest) = rest else { return false };
        bytes = rest;
    }
    true
}

/// An unsigned integer of up to eight bytes.
pub(super) fn unsigned(body: &[u8]) -> u64 {
    body.iter().take(8).fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// A float of four or eight bytes.
pub(super) fn float(body: &[u8]) -> Option<f64> {
    match body.len() {
        4 => array(body, 0).map(|bytes| f64::from(f32::from_be_bytes(bytes))),
        _ => array(body, 0).map(f64::from_be_bytes),
    }
}

/// Text of up to 200 characters, without control characters.
pub(super) fn text(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.split(|&byte| byte == 0).next().unwrap_or_default());
    text.chars().filter(|c| !c.is_control()).take(200).collect::<String>().trim().to_owned()
}
