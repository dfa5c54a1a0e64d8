//! Removal of a tag, and of what no tag needs any more.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use super::{Image, Store, TempDir, rename, sync};
use crate::error::{ImageError, Result, removing};
use crate::lock::FileLock;
use crate::{Digest, Reference};

/// What a removal took away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Blobs deleted, because no other tag needs them.
    pub blobs: usize,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Whether the unpacked tree went too.
    pub tree: bool,
}

impl Store {
    /// Removes a tag, then the blobs and the tree that only it needed.
    ///
    /// `in_use` are the configuration digests of the trees that containers
    /// stand on; their images are refused. Where another tag can't be read,
    /// nothing but the tag is deleted: what it needs is unknown.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`], [`ImageError::InUse`], or the file that could not be
    /// removed. After an error the tag may be gone and its blobs still there.
    pub fn remove(&self, reference: &Reference, in_use: &BTreeSet<Digest>) -> Result<Removed> {
        self.sweep_first();
        let trash = self.temp()?;
        let removed = {
            let _names = self.lock_names()?;
            self.remove_locked(reference, in_use, &trash)?
        };
        trash.remove()?;
        Ok(removed)
    }

    fn remove_locked(
        &self,
        reference: &Reference,
        in_use: &BTreeSet<Digest>,
        trash: &TempDir,
    ) -> Result<Removed> {
        let path = self.ref_path(reference);
        if !path.exists() {
            return Err(ImageError::NoSuchImage { reference: reference.to_string() });
        }
        let image = match self.resolve(reference) {
            Ok(image) => image,
            Err(error) => {
                tracing::warn!(%reference, error = &error as &dyn std::error::Error, "removing a damaged image's tag only");
                None
            }
        };
        if let Some(image) = &image
            && in_use.contains(&image.config_digest)
        {
            let config = image.config_digest;
            return Err(ImageError::InUse { reference: reference.to_string(), config });
        }
        fs::remove_file(&path).map_err(removing(&path))?;
        sync(&self.refs_dir())?;
        match image {
            Some(image) => self.remove_unneeded(&image, trash),
            None => Ok(Removed::default()),
        }
    }

    fn remove_unneeded(&self, image: &Image, trash: &TempDir) -> Result<Removed> {
        let listing = self.list()?;
        if let Some((reference, error)) = listing.broken.first() {
            tracing::warn!(
                %reference,
                error = error as &dyn std::error::Error,
                "blobs kept, because what this image needs is unknown"
            );
            return Ok(Removed::default());
        }
        let mut needed: BTreeSet<Digest> = listing.images.iter().flat_map(blobs_of).collect();
        needed.extend(self.leased()?);
        let mut removed = Removed::default();
        let own: BTreeSet<Digest> = blobs_of(image).collect();
        if !needed.contains(&image.config_digest) {
            removed.tree = self.discard_tree(&image.config_digest, trash.path())?;
        }
        for digest in own.difference(&needed) {
            let path = self.blob_path(digest);
            let size = fs::metadata(&path).map(|metadata| metadata.len());
            match fs::remove_file(&path) {
                Ok(()) => {
                    removed.blobs += 1;
                    removed.blob_bytes += size.unwrap_or(0);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(removing(&path)(error)),
            }
        }
        Ok(removed)
    }

    /// Moves a tree, finished or not, into `trash`. The marker goes first, so
    /// that no half-removed tree is ever taken for a whole one.
    pub(crate) fn discard_tree(&self, config: &Digest, trash: &Path) -> Result<bool> {
        let tree = self.tree_path(config);
        let marker = tree.join(crate::unpack::MARKER);
        match fs::remove_file(&marker) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(removing(&marker)(error));
            }
            _ => {}
        }
        match rename(&tree, &trash.join(config.hex())) {
            Ok(()) => {}
            Err(ImageError::Rename { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        sync(&self.trees_dir())?;
        Ok(true)
    }

    /// Waits for whoever unpacks this configuration.
    pub(crate) fn lock_unpack(&self, config: &Digest) -> Result<FileLock> {
        FileLock::acquire(&self.unpack_lock_path(config), self.limits().unpack_wait)
    }
}

/// All that an image consists of.
pub(super) fn blobs_of(image: &Image) -> impl Iterator<Item = Digest> + '_ {
    [image.manifest_digest, image.config_digest]
        .into_iter()
        .chain(image.index_digest)
        .chain(image.layers.iter().map(|layer| layer.digest))
}
