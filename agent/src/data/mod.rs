//! Data directories: the marker that says what one is, and the few moves made with it.
//!
//! ```text
//! <data_dir>/<entry key>/marker.json     whose it is, and how far its making has come
//! <data_dir>/<entry key>/mysql/          bind-mounted into the container
//! <data_dir>/.templates/<digest>/mysql/  initialised once per image, copied for each instance
//! <data_dir>/.trash/<entry key>.<time>/  moved aside, never deleted by berth
//! ```
//! The marker stands beside the data, because `--initialize` wants an empty directory and
//! CLONE empties the one it gets. Only a directory whose marker says `ready` is served.
//!
//! An instance's directory may be where a disk of its own is mounted. Then what mkfs left there
//! is no stranger's, and the directory can't be moved.
//!
//! This module decides nothing: [`inspect`] tells, the planner decides, [`directory`] does.

pub mod directory;
pub mod inspect;
pub mod marker;
mod reach;

pub use inspect::{DataFacts, inspect};
pub use marker::{DataState, Marker, Origin};
pub use reach::{reach_disk, refuses_writes};

use std::{
    fs::{self, DirEntry, ReadDir},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::files;

/// The marker of the instance whose directory is `instance_dir`.
#[must_use]
pub fn marker_path(instance_dir: &Path) -> PathBuf {
    instance_dir.join("marker.json")
}

/// The directory that mysqld gets.
#[must_use]
pub fn mysql_dir(instance_dir: &Path) -> PathBuf {
    instance_dir.join("mysql")
}

/// What mkfs.ext4(8) makes in every file system, for e2fsck(8).
const LOST_AND_FOUND: &str = "lost+found";

/// The first of these names in an instance's directory without a marker that is neither a
/// half-written first marker nor part of an empty file system that is mounted there.
fn first_stranger(instance_dir: &Path, names: ReadDir) -> io::Result<Option<PathBuf>> {
    let half_written = files::temporary(&marker_path(instance_dir));
    for name in names {
        let name = name?;
        if name.path() != half_written && !is_of_file_system(instance_dir, &name)? {
            return Ok(Some(name.path()));
        }
    }
    Ok(None)
}

fn is_of_file_system(instance_dir: &Path, name: &DirEntry) -> io::Result<bool> {
    if name.file_name() != LOST_AND_FOUND || !name.file_type()?.is_dir() {
        return Ok(false);
    }
    let above = fs::metadata(instance_dir.join(".."))?;
    Ok(fs::metadata(instance_dir)?.dev() != above.dev())
}

/// Whether a template is complete: the file that says so is written last.
#[must_use]
pub fn template_is_ready(template_dir: &Path) -> bool {
    template_ready_path(template_dir).is_file()
}

/// The file that says that a template is complete.
#[must_use]
pub fn template_ready_path(template_dir: &Path) -> PathBuf {
    template_dir.join("ready")
}
