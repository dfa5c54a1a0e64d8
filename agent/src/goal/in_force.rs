//! The goals in force, kept on disk so that a refused file can't take a goal away.
//!
//! The file holds the entries' own text; it is parsed again by the same code that parses
//! goal files, so there is one way to read an entry.

use std::{collections::BTreeMap, path::Path};

use berth_model::{
    EntryKey,
    goal::{Location, PlacedEntry, parse},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::files::{self, Durability, FileError};

#[derive(Serialize, Deserialize)]
struct Kept {
    location: Location,
    entry: Box<RawValue>,
}

/// Reads the goals in force; none if nothing was ever accepted.
///
/// # Errors
/// The file can't be read or is damaged. Its loss must be seen, not passed over: without
/// it, instances whose entries are refused would look orphaned.
pub fn load(path: &Path) -> Result<BTreeMap<EntryKey, PlacedEntry>, FileError> {
    let kept: BTreeMap<EntryKey, Kept> = files::read_json(path)?.unwrap_or_default();
    let mut goals = BTreeMap::new();
    for (key, kept) in kept {
        // A version of berth that refuses what an earlier one accepted leaves the entry out.
        let text = format!("{{\"{key}\": {}}}", kept.entry);
        let mut parsed = parse::file(&kept.location.file, &text);
        if let Some(placed) = parsed.entries.pop() {
            goals.insert(key, PlacedEntry { location: kept.location, ..placed });
        }
    }
    Ok(goals)
}

/// Keeps the goals in force.
///
/// # Errors
/// The file can't be written.
pub fn save(path: &Path, goals: &BTreeMap<EntryKey, PlacedEntry>) -> Result<(), FileError> {
    let kept: BTreeMap<&EntryKey, Kept> = goals
        .iter()
        .filter_map(|(key, placed)| {
            let entry = RawValue::from_string(placed.text.clone()).ok()?;
            Some((key, Kept { location: placed.location.clone(), entry }))
        })
        .collect();
    files::write_json(path, &kept, Durability::PowerCut)
}
