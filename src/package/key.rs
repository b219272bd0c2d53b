//! The name of a package.

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};

/// Names a package: the same source, plan and encoder have the same key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 16]);

impl Key {
    /// The key of everything that makes a package what it is.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut key = [0; 16];
        key.copy_from_slice(&hash.finalize()[..16]);
        Self(key)
    }
}

/// 32 hexadecimal digits.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Key {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut key = [0; 16];
        if text.len() != 32 || !text.is_ascii() {
            return Err(());
        }
        for (byte, at) in key.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(drop)?;
        }
        Ok(Self(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_and_read() {
        let key = Key::of(&[b"a", b"bc"]);
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_ne!(key, Key::of(&[b"ab", b"c"]));
        for bad in ["", "..", &"g".repeat(32), &"é".repeat(16), &"0".repeat(33)] {
            assert_eq!(bad.parse::<Key>(), Err(()));
        }
    }
}
