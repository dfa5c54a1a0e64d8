//! Which flows the bridge has refused, such as one that is full or too old to know a field.
//!
//! A file in the run directory, because each pass may be another process. It is a hint
//! and no more: one that can't be read or written means that they are tried again.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const NAME: &str = "flows.refused";

/// The cookies of the refused flows.
pub(super) fn read(run_dir: &Path) -> BTreeSet<u64> {
    let text = fs::read_to_string(run_dir.join(NAME)).unwrap_or_default();
    text.lines().filter_map(|line| u64::from_str_radix(line, 16).ok()).collect()
}

/// Notes them in place of those of before.
pub(super) fn write(run_dir: &Path, cookies: impl Iterator<Item = u64>) {
    let text: String = cookies.map(|cookie| format!("{cookie:016x}\n")).collect();
    if let Err(error) = fs::write(run_dir.join(NAME), text) {
        tracing::warn!(%error, "which flows were refused can't be noted");
    }
}

/// None is refused any more.
pub(super) fn forget(run_dir: &Path) {
    // Usually there is none.
    fs::remove_file(run_dir.join(NAME)).ok();
}
