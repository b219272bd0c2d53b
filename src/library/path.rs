//! Names below the library. Every file has one spelling.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};

/// Bytes of a path: what Linux takes (`PATH_MAX`).
const LONGEST: usize = 4096;

/// Bytes of one of its parts: what file systems take (`NAME_MAX`).
const LONGEST_PART: usize = 255;

/// A path below the library, such as `films/2024/talk.mp4`: one or more parts, none of them empty, `.` or `..`, no slash at
/// either end, no control characters. Its first part is the last part of one of `library.dirs`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Path(String);

impl Path {
    /// Checks a path. Nothing is decoded: `%2e%2e` is a name like others.
    ///
    /// # Errors
    /// [`Code::BadPath`], saying what is wrong with it.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = match text {
            "" => "is empty",
            _ if text.len() > LONGEST => "is longer than 4096 bytes",
            _ if text.chars().any(char::is_control) => "holds control characters",
            _ if text.starts_with('/') => {
                "begins with a slash; it begins with a folder of the library"
            }
            _ => match text.split('/').find_map(wrong_part) {
                Some(wrong) => wrong,
                None => return Ok(Self(text.to_owned())),
            },
        };
        Err(Error::new(Code::BadPath, format!("the path {wrong}")))
    }

    /// The path as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory of the library that it lies in, and the rest, which is empty for that directory itself.
    pub fn split(&self) -> (&str, &str) {
        self.0.split_once('/').unwrap_or((&self.0, ""))
    }

    /// The last part.
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, name)| name)
    }

    /// What the name ends in behind its last dot, in lower case; empty where there is none.
    pub fn extension(&self) -> String {
        let (_, extension) = self.name().rsplit_once('.').unwrap_or_default();
        extension.to_ascii_lowercase()
    }

    /// Whether one of its parts begins with a dot: such files are none of the library's.
    pub fn is_hidden(&self) -> bool {
        self.0.split('/').any(|part| part.starts_with('.'))
    }

    /// Whether it is `folder`, or something in it.
    pub fn is_below(&self, folder: &Self) -> bool {
        let rest = self.0.strip_prefix(&folder.0);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The path of something in this folder.
    ///
    /// # Errors
    /// [`Code::BadPath`] when `name` is not one part.
    pub fn join(&self, name: &str) -> Result<Self> {
        if wrong_part(name).is_some() || name.contains('/') {
            return Err(Error::new(Code::BadPath, "the name cannot be part of a path"));
        }
        Self::parse(&format!("{self}/{name}"))
    }

    /// The file beside this one that has the same name but for what stands behind its last dot.
    pub fn sibling(&self, extension: &str) -> Option<Self> {
        let stem = self.0.len() - self.name().len() + self.name().rfind('.')?;
        Self::parse(&format!("{}.{extension}", self.0.get(..stem)?)).ok()
    }
}

fn wrong_part(part: &str) -> Option<&'static str> {
    match part {
        "" => Some("has an empty part: two slashes in a row, or one at its end"),
        "." | ".." => Some("has a dot segment"),
        _ if part.len() > LONGEST_PART => Some("has a part of more than 255 bytes"),
        _ => None,
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Path {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<Path> for String {
    fn from(path: Path) -> Self {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path as File};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_could_lead_elsewhere_is_no_path() {
        let long = "x".repeat(256);
        let deep = "x/".repeat(2100) + "x";
        for bad in [
            "",
            "/",
            "//",
            ".",
            "..",
            "/a",
            "a/",
            "a//b",
            "./a",
            "a/.",
            "a/./b",
            "../a",
            "a/..",
            "a/../b",
            "a\0",
            "a\n",
            "a/\u{7f}",
            "a/\u{85}b",
            &long,
            &deep,
            "/..",
            "a/b/../../..",
        ] {
            assert_eq!(Path::parse(bad).unwrap_err().code(), Code::BadPath, "{bad:?}");
        }
        for good in ["a", "a/b.mp3", "é/漢字 %2e%2e/a\\b", "...", "a/..b", "~", "a:b", &long[1..]]
        {
            assert_eq!(Path::parse(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn its_parts() {
        let path = Path::parse("films/2024/Talk.One.MP4").unwrap();
        assert_eq!(path.split(), ("films", "2024/Talk.One.MP4"));
        assert_eq!((path.name(), &*path.extension()), ("Talk.One.MP4", "mp4"));
        assert_eq!(path.sibling("vtt").unwrap().as_str(), "films/2024/Talk.One.vtt");
        let top = Path::parse("films").unwrap();
        assert_eq!((top.split(), top.name(), &*top.extension()), (("films", ""), "films", ""));
        assert!(
            top.sibling("vtt").is_none() && top.join("..").is_err() && top.join("a/b").is_err()
        );
        assert_eq!(top.join("a").unwrap().as_str(), "films/a");
        assert!(Path::parse("a/.git/b").unwrap().is_hidden() && !path.is_hidden());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn a_path_never_leaves_its_folder(
            text in r"([a-c.%~\\]{0,3}|\.\.|%2e%2e|\x00|[\s\S]{0,2})(/([a-c.]{0,3}|\.\.|[\s\S]{0,3})){0,6}",
        ) {
            let Ok(path) = Path::parse(&text) else { return Ok(()) };
            prop_assert_eq!(path.as_str(), &text);
            let (root, rest) = path.split();
            prop_assert!(!root.is_empty());
            let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
            prop_assert!(File::new(path.as_str()).components().all(plain));
            // The system sees as many parts as were written: nothing was folded away.
            prop_assert_eq!(File::new(rest).components().count(), rest.split('/').filter(|part| !part.is_empty()).count());
            prop_assert!(File::new("/root").join(rest).starts_with("/root"));
            prop_assert!(!text.contains('\0'));
        }
    }
}
