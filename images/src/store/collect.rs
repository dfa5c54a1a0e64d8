//! Garbage: what no tag, no container, no image that ran last and no pull under way needs.
//!
//! Runs under the lock on names, so that no name appears meanwhile. What can't be
//! understood is kept: one tag or tree whose needs are unknown, and nothing goes.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::remove::blobs_of;
use super::usage::disk_bytes;
use super::{Store, TempDir, sync};
use crate::Digest;
use crate::error::{ImageError, Result, listing, reading, removing};
use crate::lock::FileLock;
use crate::unpack::{MARKER, Marker};

/// A beginning of a blob that nobody has gone on with for so long is given up.
const PARTIAL_KEPT: Duration = Duration::from_secs(24 * 3600);

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs, and their bytes.
    pub blobs: Vec<(Digest, u64)>,
    /// Trees by their configuration, and what they take on the disk.
    pub trees: Vec<(Digest, u64)>,
    /// Beginnings of blobs that were given up, and their bytes.
    pub partials: Vec<(PathBuf, u64)>,
}

impl Collected {
    /// All bytes together.
    pub fn bytes(&self) -> u64 {
        let digests = self.blobs.iter().chain(&self.trees).map(|(_, bytes)| bytes);
        digests.chain(self.partials.iter().map(|(_, bytes)| bytes)).sum()
    }
}

impl Store {
    /// Removes what nothing needs. `keep` are the configurations of images that are needed
    /// beside the tagged ones: containers stand on their trees, or they ran last. With
    /// `dry_run` it only tells.
    ///
    /// # Errors
    /// [`ImageError::UnknownNeeds`] when an image is damaged, so that what it needs is not
    /// known; nothing is removed then. Or the file that could not be removed.
    pub fn collect(&self, keep: &BTreeSet<Digest>, dry_run: bool) -> Result<Collected> {
        self.sweep_first();
        let trash = self.temp()?;
        let collected = {
            let _names = self.lock_names()?;
            let needs = self.needs(keep)?;
            let found = self.garbage(&needs)?;
            if !dry_run {
                self.discard(&found, &trash)?;
            }
            found
        };
        trash.remove()?;
        Ok(collected)
    }

    fn needs(&self, keep: &BTreeSet<Digest>) -> Result<Needs> {
        let listing = self.list()?;
        if let Some((reference, source)) = listing.broken.into_iter().next() {
            let what = format!("image {reference}");
            return Err(ImageError::UnknownNeeds { what, source: Box::new(source) });
        }
        let mut needs = Needs { blobs: self.leased()?, trees: BTreeSet::new() };
        for image in &listing.images {
            needs.blobs.extend(blobs_of(image));
            needs.trees.insert(image.config_digest);
        }
        for config in keep.difference(&needs.trees.clone()) {
            // Its tag has another image now; its tree says what it was made from.
            if let Some(marker) = self.marker(config)? {
                needs.blobs.extend([marker.manifest, marker.config]);
                needs.blobs.extend(marker.layers);
            }
            needs.trees.insert(*config);
        }
        Ok(needs)
    }

    /// What a tree was made from; `None` if there is no finished tree.
    pub(super) fn marker(&self, config: &Digest) -> Result<Option<Marker>> {
        let path = self.tree_path(config).join(MARKER);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(reading(&path)(error)),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|source| {
            let what = format!("tree {}", path.display());
            let kind = "tree's marker";
            let source = ImageError::Document { place: what.clone(), kind, source: source.into() };
            ImageError::UnknownNeeds { what, source: Box::new(source) }
        })
    }

    fn garbage(&self, needs: &Needs) -> Result<Collected> {
        let mut found = Collected::default();
        for tree in self.trees()? {
            if !needs.trees.contains(&tree) {
                found.trees.push((tree, disk_bytes(&self.tree_path(&tree))?));
            }
        }
        for (path, size) in files(&self.blob_dir())? {
            let digest = path.file_name().and_then(|name| name.to_str()).map(Digest::from_hex);
            match digest {
                Some(Ok(digest)) if needs.blobs.contains(&digest) => {}
                Some(Ok(digest)) => found.blobs.push((digest, size)),
                // Not a name this store writes, so not ours to judge.
                _ => tracing::warn!(path = %path.display(), "not a blob; ignored"),
            }
        }
        for (path, size) in files(&self.partial_dir())? {
            if is_old(&path) && FileLock::try_file(&path)?.is_some() {
                found.partials.push((path, size));
            }
        }
        Ok(found)
    }

    fn discard(&self, found: &Collected, trash: &TempDir) -> Result<()> {
        for (config, _) in &found.trees {
            self.discard_tree(config, trash.path())?;
        }
        let blobs = found.blobs.iter().map(|(digest, _)| self.blob_path(digest));
        for path in blobs.chain(found.partials.iter().map(|(path, _)| path.clone())) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(removing(&path)(error));
                }
                _ => {}
            }
        }
        sync(&self.blob_dir())
    }
}

/// What has to stay.
struct Needs {
    blobs: BTreeSet<Digest>,
    trees: BTreeSet<Digest>,
}

/// The files of a directory with their lengths; none if it is not there.
fn files(directory: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(listing(directory)(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(listing(directory))?.path();
        match fs::metadata(&path) {
            Ok(metadata) => files.push((path, metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(reading(&path)(error)),
        }
    }
    files.sort();
    Ok(files)
}

fn is_old(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    let age = modified.ok().and_then(|at| SystemTime::now().duration_since(at).ok());
    age.is_some_and(|age| age > PARTIAL_KEPT)
}
