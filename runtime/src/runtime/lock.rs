//! One changing operation per container at a time, across processes.
//!
//! The container's directory is the lock (flock(2)): there is nothing else to
//! clean up, and the kernel lets go when the holder dies. A directory may be
//! removed, and made anew, while somebody waits for it; so after each lock the
//! path is compared with what was locked.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::Runtime;
use crate::deadline::Deadline;
use crate::error::{Result, RuntimeError};
use crate::id::ContainerId;

/// How often a taken lock is tried again.
const RETRY: Duration = Duration::from_millis(5);

/// A held lock; given back when dropped.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    _held: Flock<File>,
}

impl Lock {
    /// The container's directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Runtime {
    /// Locks a container that exists.
    pub(super) fn lock(&self, id: &ContainerId, deadline: Deadline) -> Result<Lock> {
        self.try_lock(id, deadline)?.ok_or_else(|| RuntimeError::NotFound { id: id.clone() })
    }

    /// Locks a container; `None` when there is none.
    pub(super) fn try_lock(&self, id: &ContainerId, deadline: Deadline) -> Result<Option<Lock>> {
        let path = self.dir(id);
        loop {
            let dir = match File::open(&path) {
                Ok(dir) => dir,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(RuntimeError::io("open", &path)(error)),
            };
            match Flock::lock(dir, FlockArg::LockExclusiveNonblock) {
                Ok(held) => {
                    if is_at(&held, &path)? {
                        return Ok(Some(Lock { path, _held: held }));
                    }
                }
                Err((_, Errno::EWOULDBLOCK | Errno::EINTR)) => {}
                Err((_, error)) => return Err(RuntimeError::io("lock", &path)(error)),
            }
            if deadline.expired() {
                return Err(RuntimeError::Busy { id: id.clone(), waited: deadline.granted() });
            }
            thread::sleep(RETRY);
        }
    }
}

/// Whether `path` still names the directory that is open.
fn is_at(open: &File, path: &Path) -> Result<bool> {
    let open = open.metadata().map_err(RuntimeError::io("examine", path))?;
    match path.metadata() {
        Ok(there) => Ok((open.dev(), open.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(RuntimeError::io("examine", path)(error)),
    }
}
