//! Tells what is in an instance's directory, without changing anything.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use berth_model::EntryKey;

use super::{Marker, first_stranger, marker::MARKER_VERSION, marker_path, mysql_dir};
use crate::files::{self, FileError};

/// What an instance's directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DataFacts {
    /// Data of this instance.
    Own {
        /// The marker.
        marker: Marker,
        /// Owner of the data, user and group; `None` while it isn't there yet.
        owner: Option<(u32, u32)>,
    },
    /// Something that berth didn't make for this instance, and must not touch.
    Foreign {
        /// What was found, in words.
        why: String,
    },
}

/// Why a directory can't be judged: it may hold anything.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// A file or directory can't be read.
    #[error("cannot look into {}", path.display())]
    Look {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The marker can't be read.
    #[error("cannot read the marker")]
    Marker(#[source] FileError),
}

/// Looks into the directory of `key`; `None` if there is nothing, or an empty directory or
/// file system, or one with only a marker that was being written when the agent was killed.
///
/// # Errors
/// What can't be read is unknown, which is not the same as absent.
pub fn inspect(instance_dir: &Path, key: &EntryKey) -> Result<Option<DataFacts>, InspectError> {
    let look = |path: &Path| {
        let path = path.to_owned();
        move |source| InspectError::Look { path, source }
    };
    let names = match fs::read_dir(instance_dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            let why = format!("{} is not a directory", instance_dir.display());
            return Ok(Some(DataFacts::Foreign { why }));
        }
        Err(error) => return Err(look(instance_dir)(error)),
    };
    let marker: Marker = match files::read_json(&marker_path(instance_dir)) {
        Ok(Some(marker)) => marker,
        Ok(None) => {
            let stranger = first_stranger(instance_dir, names).map_err(look(instance_dir))?;
            return Ok(stranger.map(|path| DataFacts::Foreign { why: unmarked(&path) }));
        }
        Err(error @ FileError::Parse { .. }) => {
            return Ok(Some(DataFacts::Foreign { why: error.to_string() }));
        }
        Err(error) => return Err(InspectError::Marker(error)),
    };
    if let Some(why) = stranger(&marker, key) {
        return Ok(Some(DataFacts::Foreign { why }));
    }
    let data = mysql_dir(instance_dir);
    let owner = match fs::symlink_metadata(&data) {
        Ok(meta) => Some((meta.uid(), meta.gid())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(look(&data)(error)),
    };
    Ok(Some(DataFacts::Own { marker, owner }))
}

fn unmarked(first: &Path) -> String {
    format!("{} is there, but no marker of berth's beside it", first.display())
}

fn stranger(marker: &Marker, key: &EntryKey) -> Option<String> {
    if marker.version != MARKER_VERSION {
        return Some(format!(
            "its marker has version {}, expected {MARKER_VERSION}",
            marker.version
        ));
    }
    (marker.instance != *key)
        .then(|| format!("its marker says it is the data of {}", marker.instance))
}

#[cfg(test)]
mod tests;
