//! Container logs: rotation that loses nothing, and reading that survives it.
//!
//! The writer is init itself, with an O_APPEND descriptor that it never reopens.
//! So the file can't be renamed away. Instead its beginning is copied to
//! `LOG.1` and then cut out of the file (FALLOC_FL_COLLAPSE_RANGE, fallocate(2)):
//! the writer notices nothing, and what it appends meanwhile stays. Where the
//! file system can't do that, the file is copied and truncated, which may lose
//! what is written between the two; the result says so.
//!
//! Rotation and reading exclude each other by flock(2) on the log; the writer
//! takes no lock. A rotation that is killed between the copy and the cut leaves
//! the copied lines twice, never not at all.

mod follow;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, Flock, FlockArg, fallocate};

pub use follow::{Chunk, Follower};

use crate::error::{Result, RuntimeError};

/// When to rotate and what to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Rotate once the log is at least this long, in bytes.
    pub max_bytes: u64,
    /// Keep this many rotated files, at least 1: `LOG.1` is the newest.
    pub keep: u32,
}

/// What a rotation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// The log is short enough, or there is none, or somebody is reading it just
    /// now: ask again later.
    NotNeeded,
    /// This many bytes went to `LOG.1`; nothing was lost.
    Moved {
        /// Bytes cut out of the log.
        bytes: u64,
    },
    /// The file system can't cut: copied, then truncated. What was written in
    /// between is lost.
    CopiedAndTruncated {
        /// Bytes copied.
        bytes: u64,
    },
}

/// The name of the `number`th rotated file.
#[must_use]
pub fn rotated(log: &Path, number: u32) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// Rotates a log if the policy asks for it.
///
/// # Errors
/// When a file can't be read, written, renamed or locked.
pub fn rotate(log: &Path, policy: Policy) -> Result<Rotation> {
    let file = match OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(log)
    {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Rotation::NotNeeded),
        Err(error) => return Err(RuntimeError::io("open the log", log)(error)),
    };
    let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(file) => file,
        Err((_, Errno::EWOULDBLOCK)) => return Ok(Rotation::NotNeeded),
        Err((_, error)) => return Err(RuntimeError::io("lock the log", log)(error)),
    };
    let metadata = file.metadata().map_err(RuntimeError::io("examine", log))?;
    if metadata.len() < policy.max_bytes.max(1) {
        return Ok(Rotation::NotNeeded);
    }
    let cut = cut_length(metadata.len(), metadata.blksize());
    if cut > 0 {
        keep_beginning(log, &file, cut, policy.keep)?;
        match collapse(&file, cut) {
            Ok(()) => return Ok(Rotation::Moved { bytes: cut }),
            Err(Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ENOSYS) => {
                drop_newest(log, policy.keep)?;
            }
            Err(error) => return Err(RuntimeError::io("cut the beginning off", log)(error)),
        }
    }
    let bytes = keep_beginning(log, &file, u64::MAX, policy.keep)?;
    file.set_len(0).map_err(RuntimeError::io("truncate", log))?;
    Ok(Rotation::CopiedAndTruncated { bytes })
}

/// How much can be cut: whole blocks, and not up to the very end, which the
/// kernel refuses (EINVAL).
fn cut_length(size: u64, block: u64) -> u64 {
    let block = block.max(1);
    size.saturating_sub(1) / block * block
}

fn collapse(file: &File, bytes: u64) -> nix::Result<()> {
    let bytes = i64::try_from(bytes).map_err(|_| Errno::EINVAL)?;
    fallocate(file.as_fd(), FallocateFlags::FALLOC_FL_COLLAPSE_RANGE, 0, bytes)
}

/// Copies the beginning to a new `LOG.1`, moving older files up first. Returns
/// the number of bytes copied.
fn keep_beginning(log: &Path, file: &File, bytes: u64, keep: u32) -> Result<u64> {
    let temporary = {
        let mut name = log.as_os_str().to_owned();
        name.push(".rotating");
        PathBuf::from(name)
    };
    let mut copy = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .open(&temporary)
        .map_err(RuntimeError::io("create", &temporary))?;
    // The log's own descriptor has a position that nobody else uses.
    let mut source = file;
    io::Seek::rewind(&mut source).map_err(RuntimeError::io("rewind", log))?;
    let copied = io::copy(&mut source.take(bytes), &mut copy)
        .map_err(RuntimeError::io("copy to", &temporary))?;
    copy.sync_all().map_err(RuntimeError::io("sync", &temporary))?;
    for number in (1..keep.max(1)).rev() {
        rename_if_there(&rotated(log, number), &rotated(log, number + 1))?;
    }
    let newest = rotated(log, 1);
    fs::rename(&temporary, &newest).map_err(RuntimeError::io("rename into place", &newest))?;
    Ok(copied)
}

/// Takes back a `LOG.1` whose bytes are still in the log.
fn drop_newest(log: &Path, keep: u32) -> Result<()> {
    let newest = rotated(log, 1);
    fs::remove_file(&newest).map_err(RuntimeError::io("remove", &newest))?;
    for number in 2..=keep {
        rename_if_there(&rotated(log, number), &rotated(log, number - 1))?;
    }
    Ok(())
}

fn rename_if_there(from: &Path, to: &Path) -> Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(RuntimeError::io("rename", from)(error))
        }
        _ => Ok(()),
    }
}

/// Device and inode of a file: names it as long as it exists.
fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests;
