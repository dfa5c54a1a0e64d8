//! How much disk the store takes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Store;
use crate::Digest;
use crate::error::{Result, listing, reading};

/// What the store holds, in bytes that its files take on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Blobs.
    pub blobs: usize,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Unpacked trees.
    pub trees: usize,
    /// Their bytes.
    pub tree_bytes: u64,
    /// Beginnings of blobs, of pulls under way or broken off.
    pub partial_bytes: u64,
    /// What can still be written to the store's file system.
    pub free_bytes: u64,
}

/// Measures a store again and again. A tree never changes, so it is walked once.
#[derive(Debug, Default)]
pub struct UsageMeter {
    trees: BTreeMap<Digest, u64>,
}

impl UsageMeter {
    /// What the store holds now.
    ///
    /// # Errors
    /// When a directory of the store can't be read.
    pub fn measure(&mut self, store: &Store) -> Result<Usage> {
        let (blobs, blob_bytes) = flat(&store.blob_dir())?;
        let (_, partial_bytes) = flat(&store.partial_dir())?;
        let there: BTreeSet<Digest> = store.trees()?.into_iter().collect();
        self.trees.retain(|digest, _| there.contains(digest));
        for digest in &there {
            if !self.trees.contains_key(digest) {
                self.trees.insert(*digest, disk_bytes(&store.tree_path(digest))?);
            }
        }
        Ok(Usage {
            blobs,
            blob_bytes,
            trees: there.len(),
            tree_bytes: self.trees.values().sum(),
            partial_bytes,
            free_bytes: store.free_bytes()?,
        })
    }
}

impl Store {
    /// The configurations of all trees, finished or not.
    pub(super) fn trees(&self) -> Result<Vec<Digest>> {
        let directory = self.trees_dir();
        let mut trees = Vec::new();
        for entry in fs::read_dir(&directory).map_err(listing(&directory))? {
            let name = entry.map_err(listing(&directory))?.file_name();
            match name.to_str().map(Digest::from_hex) {
                Some(Ok(digest)) => trees.push(digest),
                // Not a name this store writes, so not ours to judge.
                _ => tracing::warn!(name = %name.display(), "not a tree; ignored"),
            }
        }
        Ok(trees)
    }
}

/// The files of a directory without directories, and what they take. One that vanishes
/// meanwhile takes nothing.
fn flat(directory: &Path) -> Result<(usize, u64)> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, 0)),
        Err(error) => return Err(listing(directory)(error)),
    };
    let (mut count, mut bytes) = (0, 0);
    for entry in entries {
        if let Ok(metadata) = entry.map_err(listing(directory))?.metadata() {
            count += 1;
            bytes += taken(&metadata);
        }
    }
    Ok((count, bytes))
}

/// What a tree takes: every inode once, however many names it has.
pub(super) fn disk_bytes(root: &Path) -> Result<u64> {
    let mut open = vec![root.to_owned()];
    let (mut seen, mut bytes) = (BTreeSet::new(), 0);
    while let Some(path) = open.pop() {
        let metadata = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(reading(&path)(error)),
        };
        if metadata.nlink() > 1 && !metadata.is_dir() && !seen.insert(metadata.ino()) {
            continue;
        }
        bytes += taken(&metadata);
        if metadata.is_dir() {
            for entry in fs::read_dir(&path).map_err(listing(&path))? {
                open.push(entry.map_err(listing(&path))?.path());
            }
        }
    }
    Ok(bytes)
}

/// st_blocks counts units of 512 bytes (stat(2)).
fn taken(metadata: &fs::Metadata) -> u64 {
    metadata.blocks() * 512
}
