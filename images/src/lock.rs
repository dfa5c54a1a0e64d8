//! Locks between processes: flock(2) on small files and on directories.
//!
//! The kernel drops such a lock when its holder dies, by whatever death, so a
//! lock never outlives the work it guards. A lock's file may be deleted by its
//! holder: whoever takes a lock checks that the name still means the same file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::error::{ImageError, Result, locking};

const POLL_MIN: Duration = Duration::from_millis(2);
const POLL_MAX: Duration = Duration::from_millis(100);

/// An exclusive lock, held until dropped.
#[derive(Debug)]
pub(crate) struct FileLock {
    _file: Flock<File>,
}

impl FileLock {
    /// Takes the lock on the file at `path`, which is made if need be. Waits
    /// for another holder, at most `patience`. flock(2) can't be given a
    /// deadline, hence the polling.
    pub(crate) fn acquire(path: &Path, patience: Duration) -> Result<Self> {
        let deadline = Instant::now() + patience;
        let mut pause = POLL_MIN;
        loop {
            if let Some(lock) = Self::try_file(path)? {
                return Ok(lock);
            }
            if Instant::now() >= deadline {
                return Err(ImageError::Locked { path: path.to_owned(), waited: patience });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(POLL_MAX);
        }
    }

    /// Takes the lock on the file at `path`, which is made if need be, if nobody
    /// holds it.
    pub(crate) fn try_file(path: &Path) -> Result<Option<Self>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(locking(path))?;
        Self::try_open(file, path)
    }

    /// Takes the lock on a directory if nobody holds it. `None` also when the
    /// directory is gone.
    pub(crate) fn try_dir(path: &Path) -> Result<Option<Self>> {
        match OpenOptions::new().read(true).custom_flags(nix::libc::O_DIRECTORY).open(path) {
            Ok(file) => Self::try_open(file, path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(locking(path)(error)),
        }
    }

    fn try_open(file: File, path: &Path) -> Result<Option<Self>> {
        let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, Errno::EWOULDBLOCK | Errno::EINTR)) => return Ok(None),
            Err((_, errno)) => return Err(locking(path)(errno.into())),
        };
        let ours = lock.metadata().map_err(locking(path))?;
        match std::fs::symlink_metadata(path) {
            Ok(named) if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) => {
                Ok(Some(Self { _file: lock }))
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(locking(path)(error)),
        }
    }
}

#[cfg(test)]
mod tests;
