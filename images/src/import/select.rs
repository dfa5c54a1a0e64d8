//! Which of a layout's images is meant.

use oci_spec::image::{ANNOTATION_REF_NAME, Descriptor, ImageIndex};

use super::{Source, check_document_size, fetch_parts, read_staged};
use crate::error::{ImageError, Result};
use crate::manifest::{digest_of, fits, is_index, is_manifest, parse_json};
use crate::progress::Progress;
use crate::store::{Stage, Store};
use crate::{Digest, Reference};

/// containerd and Docker write the full name here.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// Stages the image that the index has for this reference, and gives the
/// digest of its manifest. An index in an index is an image for several
/// platforms.
pub(super) fn from_index(
    store: &Store,
    source: &mut dyn Source,
    stage: &mut Stage<'_>,
    index: &ImageIndex,
    reference: &Reference,
    progress: &dyn Progress,
) -> Result<Digest> {
    let place = source.place().to_owned();
    let chosen = choose(&place, index.manifests(), reference)?;
    check_document_size(store, &place, chosen.size())?;
    let mut digest = digest_of(&place, chosen)?;
    source.fetch(stage, digest, chosen.size(), progress)?;
    if is_index(chosen) {
        let bytes = read_staged(store, stage, &place, &digest)?;
        let inner: ImageIndex =
            parse_json(&format!("{place}: index {digest}"), "image index", &bytes)?;
        let chosen = for_this_machine(&place, &inner, reference)?;
        check_document_size(store, &place, chosen.size())?;
        digest = digest_of(&place, chosen)?;
        source.fetch(stage, digest, chosen.size(), progress)?;
    }
    fetch_parts(store, source, stage, digest, progress)?;
    Ok(digest)
}

/// The one manifest of an index that is for this machine.
pub(crate) fn for_this_machine<'a>(
    place: &str,
    index: &'a ImageIndex,
    reference: &Reference,
) -> Result<&'a Descriptor> {
    let manifests: Vec<_> = index.manifests().iter().filter(|it| is_manifest(it)).collect();
    only(place, runnable(&manifests), &manifests, reference)
}

/// The one image or index that fits: by platform, then by name.
pub(crate) fn choose<'a>(
    place: &str,
    manifests: &'a [Descriptor],
    reference: &Reference,
) -> Result<&'a Descriptor> {
    let all: Vec<&Descriptor> =
        manifests.iter().filter(|it| is_index(it) || is_manifest(it)).collect();
    let mut fitting = runnable(&all);
    if fitting.len() > 1 {
        let pinned = reference.digest().map(|digest| digest.to_string());
        fitting.retain(|it| match &pinned {
            Some(digest) => it.digest().to_string() == *digest,
            None => names(it).any(|name| is_named(name, reference)),
        });
    }
    only(place, fitting, &all, reference)
}

/// Those not marked for another platform. Build attestations are marked
/// `unknown`.
fn runnable<'a>(manifests: &[&'a Descriptor]) -> Vec<&'a Descriptor> {
    let wanted = |descriptor: &&&Descriptor| {
        descriptor.platform().as_ref().is_none_or(|it| fits(it.os(), it.architecture()))
    };
    manifests.iter().filter(wanted).copied().collect()
}

fn only<'a>(
    place: &str,
    fitting: Vec<&'a Descriptor>,
    all: &[&Descriptor],
    reference: &Reference,
) -> Result<&'a Descriptor> {
    match fitting[..] {
        [one] => Ok(one),
        _ => Err(ImageError::Selection {
            place: place.to_owned(),
            reference: reference.to_string(),
            found: if all.is_empty() {
                "none".to_owned()
            } else {
                all.iter().map(|it| describe(it)).collect::<Vec<_>>().join(", ")
            },
        }),
    }
}

fn names(descriptor: &Descriptor) -> impl Iterator<Item = &String> {
    let annotations = descriptor.annotations().as_ref();
    [ANNOTATION_REF_NAME, CONTAINERD_NAME]
        .into_iter()
        .filter_map(move |key| annotations.and_then(|all| all.get(key)))
}

fn is_named(name: &str, reference: &Reference) -> bool {
    Some(name) == reference.tag() || name.parse::<Reference>().is_ok_and(|it| it == *reference)
}

fn describe(descriptor: &Descriptor) -> String {
    let mut parts: Vec<String> = names(descriptor).take(1).cloned().collect();
    if let Some(platform) = descriptor.platform() {
        parts.push(format!("{}/{}", platform.os(), platform.architecture()));
    }
    parts.push(descriptor.digest().to_string());
    parts.join(" ")
}

#[cfg(test)]
mod tests;
