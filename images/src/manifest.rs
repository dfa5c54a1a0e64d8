//! Manifests, indexes and configurations: parsing, and the checks that tie
//! them together. No I/O.
//!
//! Sources: OCI image-spec
//! [manifest.md](https://github.com/opencontainers/image-spec/blob/main/manifest.md),
//! [config.md](https://github.com/opencontainers/image-spec/blob/main/config.md);
//! Docker's v2 schema 2 differs only in media types.

use oci_spec::image::{Arch, Descriptor, ImageConfiguration, ImageManifest, Os};
use serde::de::DeserializeOwned;

use crate::Digest;
use crate::error::{ImageError, Result};
use crate::store::Layer;

const MANIFEST_TYPES: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
const INDEX_TYPES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
/// What a registry may send as a manifest, for Accept.
pub(crate) const ACCEPTED: [&str; 4] =
    [MANIFEST_TYPES[0], MANIFEST_TYPES[1], INDEX_TYPES[0], INDEX_TYPES[1]];
const CONFIG_TYPES: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
/// Which compression a layer has is read from its first bytes; the media type
/// only says that it is a layer.
const LAYER_TYPES: [&str; 9] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
];

/// A manifest whose parts are of known kinds.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) manifest: ImageManifest,
    pub(crate) config: Digest,
    pub(crate) layers: Vec<LayerBlob>,
}

/// A layer as the manifest describes it.
#[derive(Debug)]
pub(crate) struct LayerBlob {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) media_type: String,
}

/// Reads JSON; `place` and `kind` name it in the error.
pub(crate) fn parse_json<T: DeserializeOwned>(
    place: &str,
    kind: &'static str,
    bytes: &[u8],
) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|source| ImageError::Document {
        place: place.to_owned(),
        kind,
        source: Box::new(source),
    })
}

/// Reads a manifest and refuses one with parts of an unknown kind.
pub(crate) fn parse_manifest(place: &str, bytes: &[u8]) -> Result<Parsed> {
    let manifest: ImageManifest = parse_json(place, "image manifest", bytes)?;
    if let Some(found) = manifest.media_type() {
        expect_type(place, found.as_ref(), &MANIFEST_TYPES, "an image manifest")?;
    }
    let config = manifest.config();
    let found = config.media_type().to_string();
    expect_type(place, &found, &CONFIG_TYPES, "an image configuration")?;
    let config = digest_of(place, config)?;
    let layers = manifest
        .layers()
        .iter()
        .map(|layer| {
            let media_type = layer.media_type().to_string();
            expect_type(place, &media_type, &LAYER_TYPES, "an image layer (tar)")?;
            Ok(LayerBlob { digest: digest_of(place, layer)?, size: layer.size(), media_type })
        })
        .collect::<Result<_>>()?;
    Ok(Parsed { manifest, config, layers })
}

/// Reads an image configuration.
pub(crate) fn parse_config(place: &str, bytes: &[u8]) -> Result<ImageConfiguration> {
    parse_json(place, "image configuration", bytes)
}

/// Pairs each layer with the digest of its uncompressed form.
pub(crate) fn join_layers(
    place: &str,
    blobs: Vec<LayerBlob>,
    config: &ImageConfiguration,
) -> Result<Vec<Layer>> {
    let diff_ids = config.rootfs().diff_ids();
    if diff_ids.len() != blobs.len() {
        return Err(ImageError::LayerCount {
            place: place.to_owned(),
            layers: blobs.len(),
            diff_ids: diff_ids.len(),
        });
    }
    blobs
        .into_iter()
        .zip(diff_ids)
        .map(|(LayerBlob { digest, size, media_type }, diff_id)| {
            let diff_id = diff_id.parse().map_err(|error| ImageError::Document {
                place: place.to_owned(),
                kind: "image configuration",
                source: Box::<crate::DigestError>::new(error),
            })?;
            Ok(Layer { digest, diff_id, size, media_type })
        })
        .collect()
}

/// The digest of a descriptor, where it is sha256.
pub(crate) fn digest_of(place: &str, descriptor: &Descriptor) -> Result<Digest> {
    descriptor.digest().to_string().parse().map_err(|error| ImageError::Document {
        place: place.to_owned(),
        kind: "descriptor",
        source: Box::<crate::DigestError>::new(error),
    })
}

/// Whether a descriptor is of an index (Docker: manifest list).
pub(crate) fn is_index(descriptor: &Descriptor) -> bool {
    INDEX_TYPES.contains(&descriptor.media_type().to_string().as_str())
}

/// Whether a descriptor is of an image manifest.
pub(crate) fn is_manifest(descriptor: &Descriptor) -> bool {
    MANIFEST_TYPES.contains(&descriptor.media_type().to_string().as_str())
}

/// Refuses an image for another system or processor.
pub(crate) fn check_platform(place: &str, config: &ImageConfiguration) -> Result<()> {
    if fits(config.os(), config.architecture()) {
        return Ok(());
    }
    Err(ImageError::Platform {
        place: place.to_owned(),
        found: format!("{}/{}", config.os(), config.architecture()),
        expected: format!("{}/{}", Os::Linux, Arch::default()),
    })
}

/// Whether this machine runs images of that platform.
pub(crate) fn fits(os: &Os, architecture: &Arch) -> bool {
    // `Arch::default` is the architecture of the running program.
    *os == Os::Linux && *architecture == Arch::default()
}

fn expect_type(place: &str, found: &str, accepted: &[&str], expected: &'static str) -> Result<()> {
    if accepted.contains(&found) {
        return Ok(());
    }
    Err(ImageError::MediaType { place: place.to_owned(), found: found.to_owned(), expected })
}

#[cfg(test)]
mod tests;
