//! Random access over the bytes of a source that may still be arriving, and the small readers that parsers share.

use std::{borrow::Cow, fs::File, os::unix::fs::FileExt};

use super::Stop;

/// Bytes that one read of a [`Scan`] takes from the file where it walks on, and where it has jumped: of a film it shall not
/// read every picture.
const BLOCK: usize = 64 * 1024;
const JUMP: usize = 1024;

/// A source as far as it is there.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    store: Store<'a>,
    available: u64,
    total: Option<u64>,
    whole: bool,
}

#[derive(Clone, Copy, Debug)]
enum Store<'a> {
    File(&'a File),
    Slice(&'a [u8]),
}

impl<'a> Input<'a> {
    /// A file of which `available` bytes are written, of `total` (Content-Length) if that is known; `whole` when no
    /// more will come.
    pub fn file(file: &'a File, available: u64, total: Option<u64>, whole: bool) -> Self {
        let whole = whole || total == Some(available);
        Self { store: Store::File(file), available, total, whole }
    }

    /// The first bytes of a source of `total` bytes; whole when they are all there.
    pub fn slice(bytes: &'a [u8], total: Option<u64>) -> Self {
        let available = bytes.len() as u64;
        Self { store: Store::Slice(bytes), available, total, whole: total == Some(available) }
    }

    /// Whether no more bytes will come.
    pub fn whole(&self) -> bool {
        self.whole
    }

    /// The length of the source in bytes, if it is known.
    pub fn total(&self) -> Option<u64> {
        if self.whole { Some(self.available) } else { self.total }
    }

    /// The length of a source that has to be whole for what follows; [`Stop::Whole`] while it is not.
    pub fn end(&self) -> Result<u64, Stop> {
        if self.whole { Ok(self.available) } else { Err(Stop::Whole) }
    }

    /// Exactly `len` bytes at `at`; [`Stop::More`] while they are on their way, [`Stop::Unsupported`] where the source
    /// ends before them.
    pub fn bytes(&self, at: u64, len: usize) -> Result<Cow<'a, [u8]>, Stop> {
        let bytes = self.some(at, len)?;
        if bytes.len() < len {
            return Err(Stop::Unsupported("a file that ends inside its header".into()));
        }
        Ok(bytes)
    }

    /// Appends exactly `len` bytes at `at`; stops as [`Input::bytes`] does.
    pub fn append(&self, to: &mut Vec<u8>, at: u64, len: usize) -> Result<(), Stop> {
        if let Store::File(file) = self.store
            && at.saturating_add(len as u64) <= self.available
        {
            let start = to.len();
            to.resize(start + len, 0);
            let read = file.read_exact_at(to.get_mut(start..).unwrap_or_default(), at);
            return read.map_err(|error| Stop::Io(error.kind()));
        }
        to.extend_from_slice(&self.bytes(at, len)?);
        Ok(())
    }

    /// `len` bytes at `at`, fewer only where the source ends; [`Stop::More`] while they are on their way.
    pub fn some(&self, at: u64, len: usize) -> Result<Cow<'a, [u8]>, Stop> {
        let wanted = at.saturating_add(len as u64);
        let needed = self.total().map_or(wanted, |total| wanted.min(total));
        if needed > self.available {
            return Err(Stop::More(needed));
        }
        self.there(at, len)
    }

    /// Of `len` bytes at `at` those that are there now.
    fn there(&self, at: u64, len: usize) -> Result<Cow<'a, [u8]>, Stop> {
        let len = (self.available.saturating_sub(at)).min(len as u64) as usize;
        match self.store {
            Store::Slice(bytes) => {
                let rest =
                    usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
                Ok(Cow::Borrowed(rest.get(..len).unwrap_or(rest)))
            }
            Store::File(file) => {
                let mut bytes = vec![0; len];
                file.read_exact_at(&mut bytes, at).map_err(|error| Stop::Io(error.kind()))?;
                Ok(Cow::Owned(bytes))
            }
        }
    }
}

/// A forward walk over an [`Input`] in small steps, read in blocks.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    input: Input<'a>,
    at: u64,
    block: Cow<'a, [u8]>,
}

impl<'a> Scan<'a> {
    /// A walk that has read nothing yet.
    pub(super) fn new(input: Input<'a>) -> Self {
        Self { input, at: 0, block: Cow::Borrowed(&[]) }
    }

    /// `len` bytes at `at`, fewer only where the source ends; [`Stop::More`] while they are on their way.
    pub(super) fn some(&mut self, at: u64, len: usize) -> Result<&[u8], Stop> {
        let held = at
            .checked_sub(self.at)
            .map_or(0, |skip| (self.block.len() as u64).saturating_sub(skip));
        if held < len as u64 {
            let jumped = at > self.at.saturating_add(self.block.len() as u64);
            self.block = self.input.there(at, len.max(if jumped { JUMP } else { BLOCK }))?;
            self.at = at;
            if self.block.len() < len {
                self.block = self.input.some(at, len)?;
            }
        }
        let from = (at - self.at) as usize;
        let bytes = self.block.get(from..).unwrap_or_default();
        Ok(bytes.get(..len).unwrap_or(bytes))
    }
}

/// The `N` bytes at `at`, if they are there.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// A big-endian 16-bit number.
pub(super) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

/// A big-endian 32-bit number.
pub(super) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

/// A big-endian 64-bit number.
pub(super) fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_be_bytes)
}

/// A little-endian 16-bit number.
pub(super) fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

/// A little-endian 32-bit number.
pub(super) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

/// A little-endian 64-bit number.
pub(super) fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// `count` bits (at most 32) that start `at` bits into `bytes`, most significant first.
pub(super) fn bits(bytes: &[u8], at: usize, count: usize) -> Option<u32> {
    (at..at.checked_add(count)?).try_fold(0, |value: u32, bit| {
        let byte = bytes.get(bit / 8)?;
        Some(value << 1 | u32::from(byte >> (7 - bit % 8) & 1))
    })
}

/// Reads bits one after the other.
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    /// The bit that comes next.
    pub(super) at: usize,
}

impl Reader<'_> {
    /// The next `count` bits (at most 32).
    pub(super) fn take(&mut self, count: usize) -> Option<u32> {
        let value = bits(self.bytes, self.at, count)?;
        self.at += count;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_asked_for_until_the_source_ends() {
        let input = Input::slice(b"0123456789", Some(20));
        assert_eq!(input.bytes(2, 4).unwrap().as_ref(), b"2345");
        assert_eq!(input.bytes(8, 4), Err(Stop::More(12)));
        assert_eq!(input.some(8, 100), Err(Stop::More(20)));
        let input = Input::slice(b"0123456789", Some(10));
        assert_eq!(input.some(8, 100).unwrap().as_ref(), b"89");
        assert_eq!(input.some(u64::MAX, usize::MAX).unwrap().as_ref(), b"");
        assert!(matches!(input.bytes(8, 4), Err(Stop::Unsupported(_))));
    }

    #[test]
    fn a_file_is_appended_as_a_slice_is() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"0123456789").unwrap();
        for input in [
            Input::file(file.as_file(), 10, Some(20), false),
            Input::slice(b"0123456789", Some(20)),
        ] {
            let mut bytes = b"ab".to_vec();
            assert_eq!(input.append(&mut bytes, 7, 3), Ok(()));
            assert_eq!(input.append(&mut bytes, 8, 3), Err(Stop::More(11)));
            assert_eq!(bytes, b"ab789");
        }
    }

    #[test]
    fn a_scan_steps_over_block_bounds() {
        let bytes: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        let mut scan = Scan::new(Input::slice(&bytes, None));
        for at in (0..199_000).step_by(777) {
            assert_eq!(scan.some(at, 9).unwrap(), &bytes[at as usize..at as usize + 9]);
        }
        assert_eq!(scan.some(199_995, 9), Err(Stop::More(200_004)));
    }

    #[test]
    fn bits_are_read_across_bytes() {
        assert_eq!(bits(&[0b1010_0101, 0b1100_0000], 4, 6), Some(0b01_0111));
        assert_eq!(bits(&[0], 4, 5), None);
    }
}
