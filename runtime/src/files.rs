//! Small files that other processes read at any time: written whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Result, RuntimeError};

/// Writes JSON to `dir/name` by a temporary file, fsync and rename, so that a
/// reader sees the old text or the new. The caller holds the directory's lock.
pub(crate) fn write_json<T: Serialize>(
    dir: &Path,
    name: &str,
    what: &'static str,
    value: &T,
) -> Result<()> {
    let path = dir.join(name);
    let temporary = dir.join(format!(".{name}.new"));
    let text =
        serde_json::to_vec_pretty(value).map_err(|source| RuntimeError::Encode { what, source })?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(RuntimeError::io("create", &temporary))?;
    file.write_all(&text).map_err(RuntimeError::io("write", &temporary))?;
    file.sync_all().map_err(RuntimeError::io("sync", &temporary))?;
    fs::rename(&temporary, &path).map_err(RuntimeError::io("rename into place", &path))?;
    let dir_file = File::open(dir).map_err(RuntimeError::io("open", dir))?;
    dir_file.sync_all().map_err(RuntimeError::io("sync", dir))
}

/// Reads JSON; `None` when there is no such file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(RuntimeError::io("read", path)(error)),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|source| RuntimeError::Record { path: path.to_path_buf(), source })
}

/// Reads a text file; `None` when there is no such file.
pub(crate) fn read_optional(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RuntimeError::io("read", path)(error)),
    }
}

/// Writes to an interface file of the kernel, which exists or is an error:
/// creating one would fail with a misleading EACCES.
pub(crate) fn write_kernel(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

/// Milliseconds since 1970, for people to read; never compared with a deadline.
pub(crate) fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
