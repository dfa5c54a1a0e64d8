//! Import of images from files: an OCI layout directory, its tar, or what
//! `docker save` writes, the tars compressed or not.
//!
//! Flow: copy every blob into a stage, hashing it; find the one image that fits
//! the reference and this machine; check manifest, configuration and each
//! layer's diff_id; put blobs and tag in place together.
//!
//! Sources: OCI image-spec
//! [image-layout.md](https://github.com/opencontainers/image-spec/blob/main/image-layout.md);
//! Docker image spec
//! [v1.2](https://github.com/moby/docker-image-spec/blob/main/spec/v1.2.md).

mod archive;
mod docker;
mod layout;
mod select;

pub(crate) use select::for_this_machine;

use std::fs;
use std::io::{Read, Seek};
use std::path::Path;

#[cfg(any(test, fuzzing))]
pub(crate) use select::choose;

use crate::decode::decoder;
use crate::digest::HashReader;
use crate::error::{ImageError, Result, opening};
use crate::manifest::{self, Parsed};
use crate::progress::Progress;
use crate::store::{Image, Layer, Stage, Store};
use crate::{Digest, Reference};

/// Where the parts of an image come from.
pub(crate) trait Source {
    /// The file or directory, for errors.
    fn place(&self) -> &str;

    /// Brings a blob into the stage, verified; `size` where a descriptor gave
    /// it.
    fn fetch(
        &mut self,
        stage: &mut Stage<'_>,
        digest: Digest,
        size: u64,
        progress: &dyn Progress,
    ) -> Result<()>;
}

impl Store {
    /// Imports the image at `path` and tags it.
    ///
    /// Where a layout or archive holds several images, the one that is named
    /// like the reference (or like its tag) is taken. Until all is verified and
    /// on the disk, nothing is visible.
    ///
    /// # Errors
    /// When the path holds no image or none that fits; when a digest, size or
    /// diff_id is wrong; when the image is for another platform. The error
    /// names file or member, what was found and what was expected.
    pub fn import(
        &self,
        path: &Path,
        reference: &Reference,
        progress: &dyn Progress,
    ) -> Result<Image> {
        self.sweep_first();
        let metadata = fs::metadata(path).map_err(opening(path))?;
        let mut stage = Stage::new(self)?;
        let manifest = if metadata.is_dir() {
            let mut layout = layout::Directory::open(self, path)?;
            let index = layout.index()?;
            select::from_index(self, &mut layout, &mut stage, &index, reference, progress)?
        } else {
            let archive = archive::read(self, path, metadata.len(), &mut stage, progress)?;
            archive.manifest(self, &mut stage, reference, progress)?
        };
        if let Some(expected) = reference.digest()
            && expected != manifest
        {
            let place = path.display().to_string();
            return Err(ImageError::WrongDigest { place, found: manifest, expected });
        }
        self.finish_import(path, stage, reference, manifest, progress)
    }

    /// Checks an image whose blobs are all staged, and makes it visible.
    pub(crate) fn finish_import(
        &self,
        path: &Path,
        stage: Stage<'_>,
        reference: &Reference,
        manifest: Digest,
        progress: &dyn Progress,
    ) -> Result<Image> {
        let place = path.display().to_string();
        let bytes = read_staged(self, &stage, &place, &manifest)?;
        let parsed = manifest::parse_manifest(&format!("{place}: manifest {manifest}"), &bytes)?;
        let config_place = format!("{place}: config {}", parsed.config);
        let config = read_staged(self, &stage, &place, &parsed.config)?;
        let config = manifest::parse_config(&config_place, &config)?;
        manifest::check_platform(&config_place, &config)?;
        let config_digest = parsed.config;
        let layers = manifest::join_layers(&config_place, parsed.layers, &config)?;
        verify_layers(self, &stage, &place, &layers, progress)?;
        let mut blobs = vec![manifest, config_digest];
        blobs.extend(layers.iter().map(|layer| layer.digest));
        blobs.sort();
        blobs.dedup();
        stage.commit(reference, &manifest, &blobs)?;
        self.resolve(reference)?
            .ok_or_else(|| ImageError::NoSuchImage { reference: reference.to_string() })
    }
}

/// Brings in a manifest's configuration and layers.
pub(crate) fn fetch_parts(
    store: &Store,
    source: &mut dyn Source,
    stage: &mut Stage<'_>,
    manifest: Digest,
    progress: &dyn Progress,
) -> Result<()> {
    let place = source.place().to_owned();
    let bytes = read_staged(store, stage, &place, &manifest)?;
    let place = format!("{place}: manifest {manifest}");
    let Parsed { manifest, config, layers } = manifest::parse_manifest(&place, &bytes)?;
    if layers.len() > store.limits().layers {
        let limit = store.limits().layers as u64;
        return Err(ImageError::Limit { place, what: "layers", limit });
    }
    let total = layers.iter().map(|layer| layer.size).sum();
    progress.begin("reading layers", Some(total));
    check_document_size(store, &place, manifest.config().size())?;
    source.fetch(stage, config, manifest.config().size(), progress)?;
    for layer in &layers {
        source.fetch(stage, layer.digest, layer.size, progress)?;
    }
    progress.finish();
    Ok(())
}

pub(crate) fn check_document_size(store: &Store, place: &str, size: u64) -> Result<()> {
    let limit = store.limits().document_bytes;
    if size > limit {
        return Err(ImageError::TooLarge { place: place.to_owned(), limit });
    }
    Ok(())
}

/// A staged manifest, index or configuration.
pub(crate) fn read_staged(
    store: &Store,
    stage: &Stage<'_>,
    place: &str,
    digest: &Digest,
) -> Result<Vec<u8>> {
    let Some(file) = stage.open(digest)? else {
        return Err(ImageError::MissingMember {
            place: place.to_owned(),
            member: format!("blob {digest}"),
        });
    };
    read_document(store, &format!("{place}: blob {digest}"), file)
}

/// A document of bounded size.
pub(crate) fn read_document(store: &Store, place: &str, source: impl Read) -> Result<Vec<u8>> {
    let limit = store.limits().document_bytes;
    let mut bytes = Vec::new();
    source
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| ImageError::Read { path: place.into(), source })?;
    check_document_size(store, place, bytes.len() as u64)?;
    Ok(bytes)
}

/// Decompresses every layer to compare its diff_id: a mistake is found now and
/// not when the image is needed.
fn verify_layers(
    store: &Store,
    stage: &Stage<'_>,
    place: &str,
    layers: &[Layer],
    progress: &dyn Progress,
) -> Result<()> {
    let mut left = store.limits().unpacked_bytes;
    for layer in layers {
        let member = || format!("{place}: layer {}", layer.digest);
        let Some(mut blob) = stage.open(&layer.digest)? else {
            return Err(ImageError::MissingMember { place: place.to_owned(), member: member() });
        };
        progress.begin("verifying layers", None);
        let failed = |source| ImageError::Read { path: member().into(), source };
        let size = blob.get_ref().metadata().map_err(failed)?.len();
        if size != layer.size {
            return Err(ImageError::WrongSize {
                place: member(),
                found: size,
                expected: layer.size,
            });
        }
        blob.rewind().map_err(failed)?;
        let plain = decoder(blob).map_err(failed)?;
        let (found, bytes) = HashReader::new(plain.take(left + 1)).finish().map_err(failed)?;
        if bytes > left {
            let limit = store.limits().unpacked_bytes;
            return Err(ImageError::Limit {
                place: place.to_owned(),
                what: "bytes unpacked",
                limit,
            });
        }
        left -= bytes;
        if found != layer.diff_id {
            let (layer, expected) = (layer.digest, layer.diff_id);
            return Err(ImageError::WrongDiffId { layer, found, expected });
        }
        progress.advance(bytes);
        progress.finish();
    }
    Ok(())
}
