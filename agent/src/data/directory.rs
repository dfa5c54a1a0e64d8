//! The moves made with data directories.
//!
//! Each is idempotent: run again after the agent was killed in its middle, it ends the
//! same. None removes what a marker calls ready: [`discard`] checks it once more itself.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use super::{DataState, Marker, first_stranger, marker_path, mysql_dir};
use crate::{
    files::{self, FileError, sync_dir},
    mysql::initialise::is_identity_file,
};

/// Why a move failed.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// A directory can't be made.
    #[error("cannot make {}", path.display())]
    Make {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the template can't be copied.
    #[error("cannot copy {} to {}", from.display(), to.display())]
    Copy {
        /// From here.
        from: PathBuf,
        /// To here.
        to: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was written can't be brought to the disk.
    #[error("cannot sync {}", path.display())]
    Sync {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Half-made data can't be removed.
    #[error("cannot remove {}", path.display())]
    Remove {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory can't be moved aside.
    #[error("cannot move {} to {}", from.display(), to.display())]
    Move {
        /// From here.
        from: PathBuf,
        /// To here.
        to: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory can't be moved because a file system is mounted there.
    #[error(
        "{} is a mount point and can't be moved; unmount it, and its file system keeps the data",
        path.display()
    )]
    Mounted {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The marker can't be read or written.
    #[error("cannot mark {}", path.display())]
    Mark {
        /// The instance's directory.
        path: PathBuf,
        /// Why.
        source: FileError,
    },
    /// A directory without a marker holds something.
    #[error("{} holds something that berth did not put there, and was not touched", path.display())]
    Foreign {
        /// The instance's directory.
        path: PathBuf,
    },
    /// Data that is ready was about to be removed.
    #[error("the data in {} is marked ready and was not touched", path.display())]
    Ready {
        /// The instance's directory.
        path: PathBuf,
    },
}

/// Makes an instance's directory with a copy of the template's data, and `marker` last.
/// What was there half-made is removed first. Data that the marker calls ready are on the
/// disk before it says so; others are worth nothing yet.
///
/// # Errors
/// The step that failed; the marker then says `initialising`, and nothing is served.
pub fn create(template: &Path, instance_dir: &Path, marker: &Marker) -> Result<(), DirectoryError> {
    make_dir(instance_dir)?;
    discard(instance_dir)?;
    let half_made = Marker { state: DataState::Initialising, ..marker.clone() };
    mark(instance_dir, &half_made)?;
    let data = mysql_dir(instance_dir);
    copy_tree(template, &data)?;
    if marker.state == DataState::Ready {
        sync_file_system(&data)?;
    }
    mark(instance_dir, marker)
}

/// Removes half-made data and its marker.
///
/// # Errors
/// [`DirectoryError::Ready`] if the marker says that the data is complete,
/// [`DirectoryError::Foreign`] if there is no marker but something else, and what can't be
/// removed.
pub fn discard(instance_dir: &Path) -> Result<(), DirectoryError> {
    let path = marker_path(instance_dir);
    let wrong = |source| DirectoryError::Mark { path: instance_dir.to_owned(), source };
    match files::read_json::<Marker>(&path).map_err(wrong)? {
        Some(Marker { state: DataState::Ready, .. }) => {
            return Err(DirectoryError::Ready { path: instance_dir.to_owned() });
        }
        Some(_) => {}
        // Without a marker only an empty directory is ours, or a half-written first marker.
        None => return nothing_there(instance_dir),
    }
    let data = mysql_dir(instance_dir);
    match fs::remove_dir_all(&data) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DirectoryError::Remove { path: data, source: error })
        }
        _ => Ok(()),
    }
}

fn nothing_there(instance_dir: &Path) -> Result<(), DirectoryError> {
    let path = instance_dir.to_owned();
    match fs::read_dir(instance_dir).and_then(|names| first_stranger(instance_dir, names)) {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(DirectoryError::Foreign { path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(DirectoryError::Remove { path, source }),
    }
}

/// Replaces the marker of an instance's directory.
///
/// # Errors
/// [`DirectoryError::Mark`].
pub fn mark(instance_dir: &Path, marker: &Marker) -> Result<(), DirectoryError> {
    marker
        .write(&marker_path(instance_dir))
        .map_err(|source| DirectoryError::Mark { path: instance_dir.to_owned(), source })
}

/// Moves an instance's directory to `aside`, on the same file system.
///
/// # Errors
/// [`DirectoryError::Move`] and [`DirectoryError::Mounted`]; nothing has changed then.
pub fn move_aside(instance_dir: &Path, aside: &Path) -> Result<(), DirectoryError> {
    let parent = aside.parent().unwrap_or(Path::new("/"));
    make_dir(parent)?;
    match fs::rename(instance_dir, aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // EBUSY and EXDEV, rename(2).
        Err(source)
            if matches!(
                source.kind(),
                io::ErrorKind::ResourceBusy | io::ErrorKind::CrossesDevices
            ) =>
        {
            Err(DirectoryError::Mounted { path: instance_dir.to_owned(), source })
        }
        Err(source) => Err(DirectoryError::Move {
            from: instance_dir.to_owned(),
            to: aside.to_owned(),
            source,
        }),
        Ok(()) => sync_dir(parent)
            .map_err(|source| DirectoryError::Sync { path: parent.to_owned(), source }),
    }
}

/// Makes a directory and those above it. Data directories are root's alone to enter: the
/// container sees its own by the bind mount.
///
/// # Errors
/// [`DirectoryError::Make`].
pub fn make_dir(path: &Path) -> Result<(), DirectoryError> {
    let wrong = |source| DirectoryError::Make { path: path.to_owned(), source };
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(wrong)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o711)).map_err(wrong)
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), DirectoryError> {
    let wrong = |from: &Path, to: &Path| {
        let (from, to) = (from.to_owned(), to.to_owned());
        move |source| DirectoryError::Copy { from, to, source }
    };
    fs::create_dir(to).map_err(wrong(from, to))?;
    keep_owner(from, to).map_err(wrong(from, to))?;
    for entry in fs::read_dir(from).map_err(wrong(from, to))? {
        let entry = entry.map_err(wrong(from, to))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(wrong(&source, &target))?;
        if is_identity_file(&entry.file_name()) {
            continue;
        }
        if kind.is_dir() {
            copy_tree(&source, &target)?;
        } else if kind.is_file() {
            // Shares the blocks where the file system can (FICLONE, ioctl_ficlone(2)).
            reflink_copy::reflink_or_copy(&source, &target).map_err(wrong(&source, &target))?;
            keep_owner(&source, &target).map_err(wrong(&source, &target))?;
        }
    }
    Ok(())
}

fn keep_owner(from: &Path, to: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(from)?;
    chown(to, Some(meta.uid()), Some(meta.gid()))?;
    fs::set_permissions(to, meta.permissions())
}

/// One syncfs(2) instead of an fsync for each file.
pub(crate) fn sync_file_system(path: &Path) -> Result<(), DirectoryError> {
    let wrong = |source| DirectoryError::Sync { path: path.to_owned(), source };
    let dir = fs::File::open(path).map_err(wrong)?;
    nix::unistd::syncfs(dir).map_err(|errno| wrong(errno.into()))
}

#[cfg(test)]
mod tests;
