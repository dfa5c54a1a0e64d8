//! What a pull under way needs: blobs that no tag names yet, and that must not be taken
//! for garbage.
//!
//! A lease is a file in the temporary directory of the pull, which is locked by its
//! process: when that dies, by whatever death, the lease ends with it.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use super::{Store, TempDir};
use crate::Digest;
use crate::error::{Result, listing, reading, writing};
use crate::lock::FileLock;

const NAME: &str = "needs";

/// The right of a pull to its blobs, until dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    temp: TempDir,
}

impl Lease {
    pub(crate) fn new(store: &Store) -> Result<Self> {
        Ok(Self { temp: store.temp()? })
    }

    pub(crate) fn directory(&self) -> &std::path::Path {
        self.temp.path()
    }

    /// From now on these blobs stay, those that are there and those to come.
    pub(crate) fn protect(&self, store: &Store, digests: &BTreeSet<Digest>) -> Result<()> {
        let path = self.temp.path().join(NAME);
        let text: String = digests.iter().map(|digest| format!("{digest}\n")).collect();
        // Whoever removes blobs holds the same lock: it sees all of the lease, or has gone.
        let _names = store.lock_names()?;
        fs::write(&path, text).map_err(writing(&path))
    }
}

impl Store {
    /// The blobs that pulls under way need. The caller holds the lock on names.
    pub(super) fn leased(&self) -> Result<BTreeSet<Digest>> {
        let directory = self.tmp_dir();
        let mut leased = BTreeSet::new();
        for entry in fs::read_dir(&directory).map_err(listing(&directory))? {
            let owner = entry.map_err(listing(&directory))?.path();
            let path = owner.join(NAME);
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                // A directory of something else under way, or a file.
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => continue,
                Err(error) => return Err(reading(&path)(error)),
            };
            // Free: its process is dead.
            if FileLock::try_dir(&owner)?.is_none() {
                leased.extend(text.lines().filter_map(|line| line.parse::<Digest>().ok()));
            }
        }
        Ok(leased)
    }
}
