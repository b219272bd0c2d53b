//! One value as text, whatever type YAML guessed for it.

use std::fmt;

use serde::{
    Deserializer,
    de::{Error, Visitor},
};

/// A scalar as text.
pub(super) enum Text {
    /// As it was written.
    Exact(String),
    /// As YAML understood it: a float or a boolean.
    Guessed(String),
}

/// Reads any scalar.
#[derive(Clone, Copy)]
pub(super) struct Scalar;

impl Visitor<'_> for Scalar {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a single value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text::Exact(text.into()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Text, E> {
        Ok(Text::Exact(number.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Text, E> {
        Ok(Text::Exact(number.to_string()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Text, E> {
        Ok(Text::Guessed(number.to_string()))
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Text, E> {
        Ok(Text::Guessed(truth.to_string()))
    }
}

/// A scalar through `parse`.
pub(super) fn parsed<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    let (Text::Exact(text) | Text::Guessed(text)) = deserializer.deserialize_any(Scalar)?;
    parse(&text).map_err(D::Error::custom)
}
