//! Locks between threads and processes, with a deadline.
//!
//! A lock is one byte of a lock file, taken as an open file description lock
//! (`F_OFD_SETLK`, fcntl(2)). Such a lock belongs to the open file, so that it
//! holds between the threads of one process as well as between processes, and
//! the kernel drops it when the holder dies. Many locks share one file, so no lock
//! file is left behind for an owner that is gone.
//!
//! The kernel offers no timed wait for these locks: waiting is a bounded poll.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::addr::fnv1a;
use crate::deadline::Deadline;

const POLL: Duration = Duration::from_millis(3);

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The lock file can't be opened.
    #[error("can't open the lock file {}", path.display())]
    Open {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The lock call itself failed.
    #[error("can't lock {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Errno,
    },
    /// Somebody else held it all the time.
    #[error("{} is held by another operation and was not released within {allowed:?}", path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// How long was waited.
        allowed: Duration,
    },
}

/// A held lock; dropping it releases it.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock that belongs to `key` within the lock file at `path`.
    ///
    /// Two keys may share a byte (a hash picks it); then they wait for each other,
    /// which costs time and nothing else.
    pub(crate) fn acquire(path: &Path, key: &str, deadline: Deadline) -> Result<Self, LockError> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(|source| LockError::Open { path: path.to_owned(), source })?;
        let region = one_byte(key);
        loop {
            match fcntl(&file, FcntlArg::F_OFD_SETLK(&region)) {
                Ok(_) => return Ok(Self { _file: file }),
                Err(Errno::EAGAIN | Errno::EACCES | Errno::EINTR) => {}
                Err(source) => {
                    return Err(LockError::Lock { path: path.to_owned(), source });
                }
            }
            let Some(left) = deadline.remaining() else {
                return Err(LockError::Busy { path: path.to_owned(), allowed: deadline.allowed() });
            };
            std::thread::sleep(POLL.min(left));
        }
    }
}

fn one_byte(key: &str) -> libc::flock {
    // 40 bits keep the offset positive and far from any file system's limit.
    let offset = fnv1a(key.as_bytes()) & 0xff_ffff_ffff;
    libc::flock {
        l_type: libc::c_short::try_from(libc::F_WRLCK).expect("a lock type is a small number"),
        l_whence: libc::c_short::try_from(libc::SEEK_SET).expect("a whence is a small number"),
        l_start: libc::off_t::try_from(offset).expect("40 bits fit an offset"),
        l_len: 1,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests;
