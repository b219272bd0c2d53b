//! What must never be printed.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use subtle::ConstantTimeEq;

use super::scalar;

/// What stands for a secret wherever one is printed.
pub const MASK: &str = "***";

/// Text that shows itself as `***` to `Debug`, `Display` and serde, so that no log, error or dump can hold it.
#[derive(Clone, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for comparing, signing or sending.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// In constant time for texts of equal length.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A number or a bare `true` may not be written the way the backend sends it: 1.50 would become 1.5.
        match deserializer.deserialize_any(scalar::Scalar)? {
            scalar::Text::Exact(text) => Ok(Self(text)),
            scalar::Text::Guessed(_) => {
                Err(D::Error::custom("a secret that YAML could misread; put it in quotes"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_as_its_mask() {
        let secret = Secret::new("open sesame");
        let yaml = serde_yaml::to_string(&secret).unwrap();
        for shown in
            [format!("{secret}"), format!("{secret:?}"), format!("{:?}", Some(&secret)), yaml]
        {
            assert!(shown.contains(MASK) && !shown.contains("sesame"), "{shown}");
        }
        assert_eq!(secret.expose(), "open sesame");
    }

    #[test]
    fn secrets_compare_by_their_text() {
        assert_eq!(Secret::new("a"), Secret::new("a"));
        assert_ne!(Secret::new("a"), Secret::new("b"));
        assert_ne!(Secret::new("a"), Secret::new("ab"));
    }
}
