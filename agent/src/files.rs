//! Files that are either wholly old or wholly new, whatever ends the process.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

/// Why a file was not written or read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Writing, syncing or renaming failed; what was there before is there still.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Reading failed.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is there, but isn't what berth writes.
    #[error("{} is damaged", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Whether a file must outlive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// File and directory are synced (fsync(2)) before this returns.
    PowerCut,
    /// The rename is atomic, and the kernel writes it when it likes.
    Process,
}

/// Replaces `path` by `value` as JSON: a temporary file in the same directory, then
/// rename(2). A file has one writer at a time, so its temporary has one name: what a killed
/// writer left is overwritten by the next.
///
/// # Errors
/// [`FileError::Write`].
pub fn write_json<T: Serialize>(
    path: &Path,
    value: &T,
    durability: Durability,
) -> Result<(), FileError> {
    let wrong = |source| FileError::Write { path: path.to_owned(), source };
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| wrong(error.into()))?;
    text.push(b'\n');
    let temporary = temporary(path);
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&temporary)
        .map_err(wrong)?;
    file.write_all(&text).map_err(wrong)?;
    if durability == Durability::PowerCut {
        file.sync_all().map_err(wrong)?;
    }
    fs::rename(&temporary, path).map_err(wrong)?;
    if durability == Durability::PowerCut {
        sync_dir(path.parent().unwrap_or(Path::new("/"))).map_err(wrong)?;
    }
    Ok(())
}

/// Where [`write_json`] writes before it renames; there only if a writer was killed.
#[must_use]
pub fn temporary(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".tmp");
    path.with_file_name(name)
}

/// Reads what [`write_json`] wrote; `None` if there is no such file.
///
/// # Errors
/// [`FileError::Read`] and [`FileError::Parse`].
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, FileError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(FileError::Read { path: path.to_owned(), source });
        }
    };
    let value = serde_json::from_slice(&text);
    value.map(Some).map_err(|source| FileError::Parse { path: path.to_owned(), source })
}

/// Makes the names in a directory outlive a power cut.
///
/// # Errors
/// As open(2) and fsync(2).
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// An error and its causes, outermost first.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> Vec<String> {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests;
