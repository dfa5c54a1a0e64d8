//! Directories for work in progress, each locked by the process that made it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{ImageError, Result, creating_dir, listing, removing};
use crate::lock::FileLock;

const ATTEMPTS_MAX: usize = 100;

/// A directory that vanishes with its owner: on drop at once, after a kill -9
/// by the next sweep.
#[derive(Debug)]
pub(crate) struct TempDir {
    path: PathBuf,
    kept: bool,
    _lock: FileLock,
}

impl TempDir {
    pub(crate) fn create(parent: &Path) -> Result<Self> {
        for _ in 0..ATTEMPTS_MAX {
            let path = tempfile::Builder::new()
                .prefix("")
                .rand_bytes(12)
                .tempdir_in(parent)
                .map_err(creating_dir(parent))?
                .keep();
            // A sweep may find the directory before it is locked, and take it
            // for a leftover: then there is no lock to be had, and another
            // name is tried.
            if let Some(lock) = FileLock::try_dir(&path)? {
                return Ok(Self { path, kept: false, _lock: lock });
            }
        }
        let source = io::Error::other("every new directory was swept away at once");
        Err(ImageError::CreateDir { path: parent.to_owned(), source })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the directory its final name. The lock goes with this value.
    pub(crate) fn persist(mut self, to: &Path) -> Result<()> {
        super::rename(&self.path, to)?;
        self.kept = true;
        Ok(())
    }

    /// Removes the directory now, so that a failure can be told.
    pub(crate) fn remove(mut self) -> Result<()> {
        self.kept = true;
        fs::remove_dir_all(&self.path).map_err(removing(&self.path))
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a temporary stays until the next sweep");
        }
    }
}

/// Removes the directories whose owner is dead.
pub(super) fn sweep(parent: &Path) -> Result<usize> {
    let mut swept = 0;
    for entry in fs::read_dir(parent).map_err(listing(parent))? {
        let path = entry.map_err(listing(parent))?.path();
        let Some(_lock) = FileLock::try_dir(&path)? else {
            continue;
        };
        match fs::remove_dir_all(&path) {
            Ok(()) => swept += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(removing(&path)(error)),
        }
    }
    if swept > 0 {
        tracing::info!(count = swept, directory = %parent.display(), "removed unfinished work of dead processes");
    }
    Ok(swept)
}
