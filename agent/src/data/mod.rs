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
//! This module decides nothing: [`inspect`] tells, the planner decides, [`directory`] does.

pub mod directory;
pub mod inspect;
pub mod marker;

pub use inspect::{DataFacts, inspect};
pub use marker::{DataState, Marker, Origin};

use std::path::{Path, PathBuf};

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
