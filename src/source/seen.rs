//! What listings have found in files of the library: who plays one afterwards need not look into it again.

use std::sync::Arc;

use super::probe::Media;
use crate::library::{Path, Stamp};

/// Bytes that it takes in memory.
const MOST: u64 = 8 << 20;

/// Bytes of an entry beside what was found.
const ENTRY: usize = 256;

/// What was found, by file and version.
pub struct Seen(moka::sync::Cache<(Path, Stamp), Arc<Media>>);

impl Seen {
    /// Nothing was found yet.
    pub fn new() -> Arc<Self> {
        let weigh = |_: &(Path, Stamp), media: &Arc<Media>| (ENTRY + media.weight()) as u32;
        Arc::new(Self(moka::sync::Cache::builder().max_capacity(MOST).weigher(weigh).build()))
    }

    /// Remembers what is in a version of a file.
    pub fn insert(&self, path: &Path, stamp: Stamp, media: Media) {
        self.0.insert((path.clone(), stamp), Arc::new(media));
    }

    /// What is in a version of a file, if it is remembered.
    pub fn get(&self, path: &Path, stamp: Stamp) -> Option<Media> {
        self.0.get(&(path.clone(), stamp)).map(Arc::unwrap_or_clone)
    }
}
