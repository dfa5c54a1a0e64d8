//! From a reference to an image: tag, manifest, configuration. Takes no lock.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};

use oci_spec::image::{ImageConfiguration, ImageManifest};

use super::{Store, Tag};
use crate::error::{ImageError, Result, opening, reading};
use crate::manifest::{self, Parsed};
use crate::{Digest, Reference, Tree};

/// An image in the store, with its configuration.
#[derive(Debug, Clone)]
pub struct Image {
    /// The name it was found by.
    pub reference: Reference,
    /// The manifest's digest: what a registry calls the image's digest, where it has it
    /// for one platform only.
    pub manifest_digest: Digest,
    /// The digest of the index through which a registry gave the image: what it calls the
    /// image's digest where it has it for several platforms.
    pub index_digest: Option<Digest>,
    /// The configuration's digest: what Docker calls the image's id, and what
    /// names its tree.
    pub config_digest: Digest,
    /// User, environment, command, labels and the like.
    pub config: ImageConfiguration,
    /// The layers, lowest first.
    pub layers: Vec<Layer>,
    /// The manifest's annotations.
    pub annotations: BTreeMap<String, String>,
    /// Bytes of all its blobs, as stored.
    pub size: u64,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The blob's digest, as stored (mostly compressed).
    pub digest: Digest,
    /// The digest of its uncompressed form.
    pub diff_id: Digest,
    /// Bytes, as stored.
    pub size: u64,
    /// The manifest's word for it.
    pub media_type: String,
}

/// All that the store knows of an image.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The image.
    pub image: Image,
    /// Its manifest, as stored.
    pub manifest: ImageManifest,
    /// Its tree, if it is unpacked.
    pub tree: Option<Tree>,
}

/// The images of a store. One that can't be read does not hide the others.
#[derive(Debug, Default)]
pub struct Listing {
    /// What could be read, in the order of the references.
    pub images: Vec<Image>,
    /// What could not, each with its reference.
    pub broken: Vec<(Reference, ImageError)>,
}

impl Store {
    /// Finds an image by its reference; `None` when there is no such tag.
    ///
    /// # Errors
    /// When the tag is there, but what it names is missing or damaged.
    pub fn resolve(&self, reference: &Reference) -> Result<Option<Image>> {
        Ok(self.resolve_parsed(reference)?.map(|(image, _)| image))
    }

    /// Finds an image, with its manifest and tree; `None` when there is no such
    /// tag.
    ///
    /// # Errors
    /// As [`Store::resolve`].
    pub fn inspect(&self, reference: &Reference) -> Result<Option<Inspection>> {
        let Some((image, manifest)) = self.resolve_parsed(reference)? else {
            return Ok(None);
        };
        let tree = self.tree(&image)?;
        Ok(Some(Inspection { image, manifest, tree }))
    }

    /// Every image of the store, by its references.
    ///
    /// # Errors
    /// When the tags can't be listed; a damaged image is told in the listing.
    pub fn list(&self) -> Result<Listing> {
        let mut listing = Listing::default();
        for reference in self.references()? {
            match self.resolve(&reference) {
                Ok(Some(image)) => listing.images.push(image),
                // Removed since the names were read.
                Ok(None) => {}
                Err(error) => listing.broken.push((reference, error)),
            }
        }
        Ok(listing)
    }

    fn resolve_parsed(&self, reference: &Reference) -> Result<Option<(Image, ImageManifest)>> {
        let Some(tag) = self.tag_of(reference)? else {
            return Ok(None);
        };
        match self.load(reference, tag) {
            // Removed, or given another manifest, between the two reads?
            Err(ImageError::MissingBlob { .. }) if self.tag_of(reference)? != Some(tag) => {
                let Some(tag) = self.tag_of(reference)? else {
                    return Ok(None);
                };
                self.load(reference, tag).map(Some)
            }
            loaded => loaded.map(Some),
        }
    }

    /// An image that no tag names any more.
    pub(super) fn untagged(&self, tag: &Tag) -> Result<Image> {
        let text = format!("untagged@{}", tag.manifest);
        let reference = text.parse().expect("a name with a digest is a reference");
        self.load(&reference, *tag).map(|(image, _)| image)
    }

    fn load(&self, reference: &Reference, tag: Tag) -> Result<(Image, ImageManifest)> {
        let digest = tag.manifest;
        let place = self.blob_path(&digest).display().to_string();
        let bytes = self.read_document(reference, &digest)?;
        let Parsed { manifest, config: config_digest, layers } =
            manifest::parse_manifest(&place, &bytes)?;
        let bytes = self.read_document(reference, &config_digest)?;
        let place = self.blob_path(&config_digest).display().to_string();
        let config = manifest::parse_config(&place, &bytes)?;
        let layers = manifest::join_layers(&place, layers, &config)?;
        let size = layers.iter().map(|layer| layer.size).sum::<u64>()
            + bytes.len() as u64
            + manifest.config().size();
        let annotations = manifest.annotations().iter().flatten();
        let annotations = annotations.map(|(key, value)| (key.clone(), value.clone())).collect();
        let image = Image {
            reference: reference.clone(),
            manifest_digest: digest,
            index_digest: tag.index,
            config_digest,
            config,
            layers,
            annotations,
            size,
        };
        Ok((image, manifest))
    }

    /// A manifest or configuration, checked against its digest.
    fn read_document(&self, reference: &Reference, digest: &Digest) -> Result<Vec<u8>> {
        let path = self.blob_path(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ImageError::MissingBlob {
                    reference: reference.to_string(),
                    digest: *digest,
                });
            }
            Err(error) => return Err(opening(&path)(error)),
        };
        let limit = self.limits().document_bytes;
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes).map_err(reading(&path))?;
        let place = path.display().to_string();
        if bytes.len() as u64 > limit {
            return Err(ImageError::TooLarge { place, limit });
        }
        let found = Digest::of(&bytes);
        if found != *digest {
            return Err(ImageError::WrongDigest { place, found, expected: *digest });
        }
        Ok(bytes)
    }
}
