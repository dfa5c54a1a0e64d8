//! Blobs on their way in from a registry: a file per digest in `partial/`, which outlives
//! the process that writes it, so that another goes on where it ended.
//!
//! What is there is hashed again before anything is added, and the whole must have the
//! digest before it becomes a blob. The file is locked by who writes it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use sha2::Digest as _;

use super::{Store, make_private_dir, rename, sync};
use crate::Digest;
use crate::error::{ImageError, Result, opening, reading, removing, syncing, writing};
use crate::lock::FileLock;

const BUFFER_BYTES: usize = 256 << 10;
/// How long a writer of this process may take to end.
const WRITER_WAIT: Duration = Duration::from_secs(2);

/// The beginning of a blob.
#[derive(Debug)]
pub(crate) struct Partial {
    path: PathBuf,
    digest: Digest,
    file: File,
    hasher: sha2::Sha256,
    length: u64,
    _lock: FileLock,
}

impl Store {
    pub(crate) fn partial_dir(&self) -> PathBuf {
        self.root.join("partial")
    }

    /// The beginning of this blob, empty if there is none; `None` while another process
    /// has it. Hashes what is there; what is longer than the blob is thrown away.
    pub(crate) fn partial(&self, digest: Digest, size: u64) -> Result<Option<Partial>> {
        make_private_dir(&self.partial_dir())?;
        let path = self.partial_dir().join(digest.hex());
        let Some(lock) = FileLock::try_file(&path)? else {
            return Ok(None);
        };
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(opening(&path))?;
        let hasher = sha2::Sha256::new();
        let mut partial = Partial { path, digest, file, hasher, length: 0, _lock: lock };
        let found = partial.file.metadata().map_err(reading(&partial.path))?.len();
        if found > size {
            partial.restart()?;
        } else {
            partial.hash()?;
        }
        Ok(Some(partial))
    }

    /// Removes the beginning of this blob, unless another process has it. The writer of a
    /// fetch that was given up may take a moment to end.
    pub(crate) fn remove_partial(&self, digest: &Digest) -> Result<()> {
        let path = self.partial_dir().join(digest.hex());
        if !path.exists() {
            return Ok(());
        }
        let _lock = FileLock::acquire(&path, WRITER_WAIT)?;
        fs::remove_file(&path).map_err(removing(&path))
    }
}

impl Partial {
    /// How many bytes are there.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Throws away what is there.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).map_err(writing(&self.path))?;
        io::Seek::rewind(&mut self.file).map_err(writing(&self.path))?;
        self.hasher = sha2::Sha256::new();
        self.length = 0;
        Ok(())
    }

    /// Adds bytes.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(writing(&self.path))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn hash(&mut self) -> Result<()> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(bytes) => {
                    self.hasher.update(&buffer[..bytes]);
                    self.length += bytes as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(reading(&self.path)(error)),
            }
        }
    }

    /// The digest of what is there.
    pub(crate) fn found(&self) -> Digest {
        Digest::from_sha256(self.hasher.clone().finalize().into())
    }

    /// Makes a blob of what is there, on the disk before it has its name. Refused unless
    /// it has the digest.
    pub(crate) fn publish(&mut self, store: &Store) -> Result<()> {
        let found = self.found();
        if found != self.digest {
            let place = self.path.display().to_string();
            return Err(ImageError::WrongDigest { place, found, expected: self.digest });
        }
        self.file.sync_all().map_err(syncing(&self.path))?;
        let _names = store.lock_names()?;
        rename(&self.path, &store.blob_path(&self.digest))?;
        sync(&store.blob_dir())
    }

    /// Removes it: nothing will come of it.
    pub(crate) fn remove(self) -> Result<()> {
        fs::remove_file(&self.path).map_err(removing(&self.path))
    }
}
