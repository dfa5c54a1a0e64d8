//! Reads a directory of drop-ins: `*.json`, in the order of their names.
//!
//! A drop-in that is not a plain file (a directory, a fifo, a device) or is too large
//! becomes a refusal of that file; it is never waited for. Links are followed.
//!
//! What was read is brought to the disk before it is acted on ([`settle`]): it has been
//! renamed to its place by a tool that may not have waited for that, and a power cut would
//! bring the old file back, with an older role or a removed instance.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use berth_model::goal::parse::{self, FILE_BYTES_MAX, ParsedFile};
use sha2::{Digest as _, Sha256};

use crate::files;

/// Files in a goal directory beyond this number make the directory unreadable.
const FILES_MAX: usize = 100_000;

/// Why a goal directory can't be read; the goals in force stay.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The directory can't be listed.
    #[error("cannot list the goal directory {}", path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// More files than anyone means.
    #[error("found more than {FILES_MAX} files in the goal directory {}", path.display())]
    TooMany {
        /// The directory.
        path: PathBuf,
    },
    /// A file, or the names in the directory, can't be brought to the disk.
    #[error("cannot bring {} to the disk (see `dmesg` for what ails it)", path.display())]
    Settle {
        /// The file or the directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Reads all drop-ins of a directory.
///
/// # Errors
/// Only if the directory itself can't be read; a bad file is a refusal.
pub fn directory(path: &Path) -> Result<Vec<ParsedFile>, ReadError> {
    Ok(drop_ins(path)?.iter().map(|file| drop_in(file)).collect())
}

/// Brings all drop-ins and their names to the disk (fsync(2)). Left out are those that can't
/// be opened or are no plain files, which are refused when read, and the names of what links
/// lead to in other directories.
///
/// # Errors
/// As [`directory`], and [`ReadError::Settle`].
pub fn settle(path: &Path) -> Result<(), ReadError> {
    for name in drop_ins(path)? {
        if let Ok(file) = open(&name)
            && file.metadata().is_ok_and(|meta| meta.is_file())
        {
            settled(file.sync_all(), &name)?;
        }
    }
    settled(files::sync_dir(path), path)
}

fn settled(done: io::Result<()>, path: &Path) -> Result<(), ReadError> {
    use nix::libc::{EINVAL, EROFS};
    match done {
        // A file system that has nothing to bring to a disk.
        Err(error) if matches!(error.raw_os_error(), Some(EINVAL | EROFS)) => Ok(()),
        done => done.map_err(|source| ReadError::Settle { path: path.to_owned(), source }),
    }
}

/// A text that is another one once a drop-in is added, removed, replaced or written to: a
/// hash of their names, inodes, sizes and times of change (stat(2)).
///
/// # Errors
/// As [`directory`].
pub fn fingerprint(path: &Path) -> Result<String, ReadError> {
    let mut hash = Sha256::new();
    for file in drop_ins(path)? {
        hash.update(file.as_os_str().as_encoded_bytes());
        // What can't be examined is itself a state; it changes once it can be.
        if let Ok(meta) = fs::metadata(&file) {
            let facts = [meta.ino(), meta.size()].map(u64::to_le_bytes);
            let times = [meta.ctime(), meta.ctime_nsec()].map(i64::to_le_bytes);
            facts.iter().chain(&times).for_each(|number| hash.update(number));
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn drop_ins(path: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let wrong = |source| ReadError::List { path: path.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(wrong)? {
        let name = entry.map_err(wrong)?.path();
        let hidden = name.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
        if name.extension().is_some_and(|extension| extension == "json") && !hidden {
            files.push(name);
        }
        if files.len() > FILES_MAX {
            return Err(ReadError::TooMany { path: path.to_owned() });
        }
    }
    files.sort();
    Ok(files)
}

/// Reads one goal file.
#[must_use]
pub fn drop_in(path: &Path) -> ParsedFile {
    let name = path.display().to_string();
    match text(path) {
        Ok(text) => parse::file(&name, &text),
        Err(Unreadable { problem, remedy }) => ParsedFile::refused(&name, problem, remedy),
    }
}

struct Unreadable {
    problem: String,
    remedy: &'static str,
}

fn text(path: &Path) -> Result<String, Unreadable> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound if path.is_symlink() => Unreadable {
            problem: "found a link to nothing, expected a file".to_owned(),
            remedy: "mend or remove the link",
        },
        io::ErrorKind::NotFound => Unreadable {
            problem: "found nothing, expected a file".to_owned(),
            remedy: "check the name",
        },
        _ => Unreadable {
            problem: format!("found a file that can't be read ({error}), expected a goal file"),
            remedy: "check its permissions and the disk",
        },
    };
    let file = open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        let kind = if meta.is_dir() { "a directory" } else { "a fifo, socket or device" };
        return Err(Unreadable {
            problem: format!("found {kind}, expected a plain file"),
            remedy: "remove it or rename it so that it doesn't end in .json",
        });
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        return Err(Unreadable {
            problem: format!(
                "found {} bytes, expected at most {} MiB",
                meta.len(),
                FILE_BYTES_MAX >> 20
            ),
            remedy: "split the file",
        });
    }
    String::from_utf8(bytes).map_err(|error| Unreadable {
        problem: format!(
            "found a byte that is not UTF-8 at offset {}, expected JSON text",
            error.utf8_error().valid_up_to()
        ),
        remedy: "write the file in UTF-8",
    })
}

fn open(path: &Path) -> io::Result<File> {
    // O_NONBLOCK: opening a fifo must not wait for a writer (fifo(7)).
    let flags = nix::libc::O_NONBLOCK | nix::libc::O_CLOEXEC;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

#[cfg(test)]
mod tests;
