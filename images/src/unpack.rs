//! From blobs to a tree: one read-only directory per image configuration.
//!
//! Flow: lock the configuration; in a temporary, apply the layers in order,
//! each checked against both its digests while it streams, later ones being
//! decompressed meanwhile; one syncfs(2); rename; the marker last. A tree without its marker is not a tree.
//!
//! Does not mount, and does not judge what the image is for.

mod apply;
pub(crate) mod change;
mod dirs;
pub(crate) mod error;
mod hide;
pub(crate) mod inroot;
mod metadata;

use std::fs;
use std::io::{self, BufRead};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::decode::{self, LayerReader};
use crate::error::{ImageError, Result, creating_dir, opening, syncing};
use crate::progress::Progress;
use crate::store::{Image, Limits, Store, TempDir, sync};
use crate::tarstream::TarStream;
use crate::{Digest, Tree};
pub use error::LayerError;
use error::{LayerErrorKind, LayerResult};

/// The file in a tree's directory that says it is whole.
pub(crate) const MARKER: &str = "complete";
pub(crate) const ROOT: &str = "root";

/// What is left of an image's bounds.
#[derive(Debug)]
struct Budget {
    entries: u64,
    bytes: u64,
}

/// The marker's content: for people, and for later versions of this program.
#[derive(Serialize, Deserialize)]
pub(crate) struct Marker {
    pub(crate) manifest: Digest,
    pub(crate) config: Digest,
    pub(crate) layers: Vec<Digest>,
}

impl Store {
    /// The tree of an image, `None` when it is not unpacked. Takes no lock.
    ///
    /// # Errors
    /// When the store can't be read.
    pub fn tree(&self, image: &Image) -> Result<Option<Tree>> {
        let directory = self.tree_path(&image.config_digest);
        let marker = directory.join(MARKER);
        match fs::symlink_metadata(&marker) {
            Ok(_) => Ok(Some(Tree::new(directory.join(ROOT), image.config_digest))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(opening(&marker)(error)),
        }
    }

    /// Unpacks an image, unless it is unpacked already. Of several processes
    /// that want the same image one does it, and the others wait, at most
    /// [`Limits::unpack_wait`](crate::Limits::unpack_wait).
    ///
    /// # Errors
    /// When a layer is damaged, hostile or too large, when the disk is full,
    /// or when another process takes too long. Nothing is left then.
    pub fn unpack(&self, image: &Image, progress: &dyn Progress) -> Result<Tree> {
        if let Some(tree) = self.tree(image)? {
            return Ok(tree);
        }
        let _unpacking = self.lock_unpack(&image.config_digest)?;
        if let Some(tree) = self.tree(image)? {
            return Ok(tree);
        }
        self.sweep_first();
        let temp = self.unpack_aside(image, progress)?;
        self.publish(image, temp)
    }

    /// Unpacks an image into a temporary, below `root`, and brings it to the
    /// disk. Nobody sees it there.
    pub(crate) fn unpack_aside(&self, image: &Image, progress: &dyn Progress) -> Result<TempDir> {
        let temp = self.temp()?;
        let root = temp.path().join(ROOT);
        fs::DirBuilder::new().mode(0o755).create(&root).map_err(creating_dir(&root))?;
        self.build_tree(image, &root, progress)?;
        sync_file_system(&root)?;
        Ok(temp)
    }

    fn build_tree(&self, image: &Image, root: &Path, progress: &dyn Progress) -> Result<()> {
        let limits = self.limits();
        let reference = || image.reference.to_string();
        if image.layers.len() > limits.layers {
            let limit = limits.layers as u64;
            return Err(ImageError::Limit { place: reference(), what: "layers", limit });
        }
        let attributes =
            |source| ImageError::TreeAttributes { path: root.to_owned(), source: Box::new(source) };
        let fd = inroot::open_root(root).map_err(opening(root))?;
        let mut builder = apply::Builder::new(fd).map_err(attributes)?;
        let mut budget = Budget { entries: limits.entries, bytes: limits.unpacked_bytes };
        let blobs: Vec<PathBuf> =
            image.layers.iter().map(|layer| self.blob_path(&layer.digest)).collect();
        let apply = |number: usize, reader: &mut LayerReader<'_>| {
            let layer = &image.layers[number];
            progress.begin(&format!("unpacking {}", image.reference), Some(layer.size));
            reader.limit_to(budget.bytes);
            apply_layer(&mut builder, &mut *reader, &mut budget.entries, limits)
                .and_then(|()| Ok(reader.drain()?))
                .map_err(|source| {
                    let layer = layer.digest;
                    ImageError::Unpack { reference: reference(), layer, source }
                })?;
            budget.bytes -= reader.plain_bytes();
            Ok(())
        };
        decode::in_order(&blobs, progress, apply, |number, whole| {
            whole.check(&image.layers[number], &blobs[number])?;
            progress.finish();
            Ok(())
        })?;
        builder.finish().map_err(attributes)
    }

    /// Gives a finished tree its place, unless its image was removed meanwhile.
    fn publish(&self, image: &Image, temp: TempDir) -> Result<Tree> {
        let trash = self.temp()?;
        let config = image.config_digest;
        let tree = self.tree_path(&config);
        {
            let _names = self.lock_names()?;
            if !self.blob_path(&config).exists() {
                return Err(ImageError::RemovedMeanwhile {
                    reference: image.reference.to_string(),
                });
            }
            // A tree without a marker, from a process that died right here.
            self.discard_tree(&config, trash.path())?;
            temp.persist(&tree)?;
            sync(&self.trees_dir())?;
            let marker = Marker {
                manifest: image.manifest_digest,
                config,
                layers: image.layers.iter().map(|layer| layer.digest).collect(),
            };
            let content = serde_json::to_vec(&marker).expect("digests are strings");
            self.replace_file(&tree.join(MARKER), &content)?;
        }
        trash.remove()?;
        Ok(Tree::new(tree.join(ROOT), config))
    }
}

fn apply_layer(
    builder: &mut apply::Builder,
    reader: impl BufRead,
    entries: &mut u64,
    limits: &Limits,
) -> std::result::Result<(), LayerError> {
    builder.begin_layer();
    let mut tar = TarStream::new(reader);
    let nowhere = |source| LayerError { member: None, source };
    loop {
        let member = tar.next_member().map_err(LayerErrorKind::Tar).map_err(nowhere)?;
        let Some(member) = member else { break };
        let named = |source| LayerError {
            member: Some(String::from_utf8_lossy(&member.path).into_owned()),
            source,
        };
        *entries = entries.checked_sub(1).ok_or_else(|| {
            named(LayerErrorKind::Limit { what: "entries", limit: limits.entries })
        })?;
        let change = change::change(&member).map_err(|refused| named(refused.into()))?;
        builder.apply(change, &mut tar).map_err(named)?;
    }
    Ok(())
}

/// Applies one plain layer to an empty directory.
#[cfg(any(test, fuzzing))]
pub(crate) fn apply_to(
    root: &Path,
    layer: &[u8],
    limits: &Limits,
) -> std::result::Result<(), LayerError> {
    let nowhere = |source| LayerError { member: None, source };
    let mut entries = limits.entries;
    let fd = inroot::open_root(root)?;
    let mut builder = apply::Builder::new(fd).map_err(nowhere)?;
    apply_layer(&mut builder, io::Read::take(layer, limits.unpacked_bytes), &mut entries, limits)?;
    builder.finish().map_err(nowhere)
}

/// Brings all of the tree to the disk with one call, syncfs(2).
fn sync_file_system(root: &Path) -> Result<()> {
    let directory = inroot::open_root(root).map_err(opening(root))?;
    nix::unistd::syncfs(&directory).map_err(|errno| syncing(root)(errno.into()))
}
