//! Files that must survive a crash: written beside, synced, renamed, and the
//! directory synced. A reader sees the old content or the new, never a part.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::failpoint::{Failpoint, hit};

/// Names that begin so are unfinished writes; readers skip them.
pub(crate) const UNFINISHED: &str = ".new-";

/// Replaces `dir/name` by `content`.
///
/// The caller holds the directory's lock: the temporary name is fixed, so that a
/// killed writer leaves at most one leftover, which the next write reuses.
pub(crate) fn write(dir: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let unfinished = dir.join(format!("{UNFINISHED}{name}"));
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(&unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    hit(Failpoint::RecordUnfinished);
    fs::rename(&unfinished, dir.join(name))?;
    sync_dir(dir)
}

/// Removes `dir/name`; that it was not there is no error.
pub(crate) fn remove(dir: &Path, name: &str) -> io::Result<()> {
    match fs::remove_file(dir.join(name)) {
        Ok(()) => sync_dir(dir),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
