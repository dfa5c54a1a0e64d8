//! `docker save` archives without an OCI index: `manifest.json` names a
//! configuration and layers; the manifest that a registry would have is made
//! here.

use oci_spec::image::{Descriptor, ImageManifestBuilder, MediaType};
use serde::Deserialize;

use super::archive::Archive;
use crate::error::{ImageError, Result};
use crate::manifest::parse_json;
use crate::store::{Stage, Store};
use crate::{Digest, Reference};

/// Links of links; Docker writes one.
const LINKS_MAX: usize = 8;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

impl Archive {
    pub(super) fn docker_manifest(
        &self,
        store: &Store,
        stage: &mut Stage<'_>,
        reference: &Reference,
    ) -> Result<Digest> {
        let place = format!("{}: manifest.json", self.place);
        let items: Vec<Item> =
            parse_json(&place, "docker save manifest", self.document("manifest.json")?)?;
        let item = self.choose(&items, reference)?;
        if item.layers.len() > store.limits().layers {
            let limit = store.limits().layers as u64;
            return Err(ImageError::Limit { place, what: "layers", limit });
        }
        let config = self.named_blob(&item.config)?;
        self.check_name(&item.config, config.0)?;
        let layers = item.layers.iter().map(|name| {
            let blob = self.named_blob(name)?;
            // The compression, if there is any, is read from the blob itself.
            Ok(descriptor(MediaType::ImageLayer, blob))
        });
        let manifest = ImageManifestBuilder::default()
            .schema_version(2u32)
            .media_type(MediaType::ImageManifest)
            .config(descriptor(MediaType::ImageConfig, config))
            .layers(layers.collect::<Result<Vec<_>>>()?)
            .build()
            .expect("every required field is set");
        stage.add(&serde_json::to_vec(&manifest).expect("a manifest is plain data"))
    }

    fn choose<'a>(&self, items: &'a [Item], reference: &Reference) -> Result<&'a Item> {
        let named = |item: &&Item| {
            let tags = item.repo_tags.iter().flatten();
            tags.filter_map(|tag| tag.parse::<Reference>().ok()).any(|tag| tag == *reference)
        };
        let mut chosen: Vec<&Item> = items.iter().collect();
        if chosen.len() > 1 {
            chosen.retain(named);
        }
        match chosen[..] {
            [one] => Ok(one),
            _ => Err(ImageError::Selection {
                place: self.place.clone(),
                reference: reference.to_string(),
                found: format!(
                    "{} images, tagged {:?}",
                    items.len(),
                    items.iter().flat_map(|it| it.repo_tags.iter().flatten()).collect::<Vec<_>>()
                ),
            }),
        }
    }

    /// A configuration's name is its digest, if it looks like one.
    fn check_name(&self, name: &str, found: Digest) -> Result<()> {
        let base = name.rsplit('/').next().unwrap_or(name);
        match Digest::from_hex(base.strip_suffix(".json").unwrap_or(base)) {
            Ok(expected) if expected != found => {
                let place = format!("{}: {name}", self.place);
                Err(ImageError::WrongDigest { place, found, expected })
            }
            _ => Ok(()),
        }
    }

    fn named_blob(&self, name: &str) -> Result<(Digest, u64)> {
        let mut at = name;
        for _ in 0..LINKS_MAX {
            if let Some(blob) = self.blobs.get(at) {
                return Ok(*blob);
            }
            match self.links.get(at) {
                Some(target) => at = target,
                None => break,
            }
        }
        Err(ImageError::MissingMember { place: self.place.clone(), member: name.to_owned() })
    }
}

fn descriptor(media_type: MediaType, (digest, size): (Digest, u64)) -> Descriptor {
    let digest: oci_spec::image::Digest =
        digest.to_string().parse().expect("a sha256 digest is an OCI digest");
    Descriptor::new(media_type, size, digest)
}
