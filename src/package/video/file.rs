//! The rungs of a source as they stand in a file: what cuts they share is said once.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{FrameRate, Rung, SegmentTable};

#[derive(Serialize)]
struct Written<'a> {
    cuts: Option<&'a SegmentTable>,
    rungs: &'a [Rung],
}

#[derive(Deserialize)]
struct Read {
    cuts: Option<SegmentTable>,
    rungs: Vec<Rung>,
}

/// Stands in a rung for its cuts until they are read: one tick.
pub(super) fn none() -> SegmentTable {
    SegmentTable::video(1, FrameRate { numerator: 1, denominator: 1 }, Duration::ZERO)
}

/// Writes rungs that are cut alike.
pub fn serialize<S: Serializer>(rungs: &[Rung], serializer: S) -> Result<S::Ok, S::Error> {
    Written { cuts: rungs.first().map(|rung| &rung.table), rungs }.serialize(serializer)
}

/// Reads them back.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Rung>, D::Error> {
    let Read { cuts, mut rungs } = Read::deserialize(deserializer)?;
    let Some(cuts) = cuts else {
        return if rungs.is_empty() { Ok(rungs) } else { Err(D::Error::missing_field("cuts")) };
    };
    for rung in &mut rungs {
        rung.table = cuts.clone();
    }
    Ok(rungs)
}
