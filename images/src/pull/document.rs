//! Manifests: which one is meant, and that it is the one.

use oci_spec::image::ImageIndex;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::{PullError, Result};
use super::patience::Patience;
use super::session::Session;
use crate::error::ImageError;
use crate::import::for_this_machine;
use crate::manifest::{ACCEPTED, digest_of, parse_json};
use crate::{Digest, Reference};

/// The registry's own word for the digest of what it sends (distribution-spec,
/// "Pulling manifests").
const DIGEST_HEADER: &str = "docker-content-digest";

/// A manifest as it came.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) digest: Digest,
    pub(super) bytes: Vec<u8>,
}

/// The manifest for this machine, and the index through which it was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) manifest: Document,
    pub(super) index: Option<Document>,
}

/// What a document says it is: one of the two has to be there, and not both
/// (CVE-2021-41190).
#[derive(Deserialize)]
struct Shape {
    manifests: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
}

/// Finds the manifest that a reference names. A pinned digest may be that of an index or
/// of a manifest; what comes must have it.
pub(super) async fn find(session: &Session, reference: &Reference, limit: u64) -> Result<Found> {
    let content =
        |source| PullError::Content { registry: session.registry(), source: Box::new(source) };
    let first = match reference.digest() {
        Some(digest) => by_digest(session, digest, limit).await?,
        None => {
            let tag = reference.tag().unwrap_or("latest");
            fetch(session, tag, &format!("manifest {}:{tag}", reference.path()), limit).await?
        }
    };
    let place = format!("manifest {}", first.digest);
    let shape: Shape =
        parse_json(&place, "image manifest or index", &first.bytes).map_err(content)?;
    match (shape.manifests, shape.layers) {
        (Some(_), None) => {
            let index: ImageIndex =
                parse_json(&place, "image index", &first.bytes).map_err(content)?;
            let chosen = for_this_machine(&place, &index, reference).map_err(content)?;
            let digest = digest_of(&place, chosen).map_err(content)?;
            let manifest = by_digest(session, digest, limit).await?;
            Ok(Found { manifest, index: Some(first) })
        }
        (None, Some(_)) => Ok(Found { manifest: first, index: None }),
        _ => Err(content(ImageError::Document {
            place,
            kind: "image manifest or index",
            source: "expected either `layers` or `manifests`".into(),
        })),
    }
}

async fn by_digest(session: &Session, digest: Digest, limit: u64) -> Result<Document> {
    let name = digest.to_string();
    let what = format!("manifest {}@{name}", session.endpoint.repository);
    let mut patience = Patience::default();
    loop {
        let document = fetch(session, &name, &what, limit).await?;
        if document.digest == digest {
            return Ok(document);
        }
        let wrong = PullError::WrongDigest {
            registry: session.registry(),
            what: what.clone(),
            found: document.digest,
            expected: digest,
        };
        patience.after(wrong, &session.registries).await?;
    }
}

async fn fetch(session: &Session, name: &str, what: &str, limit: u64) -> Result<Document> {
    let mut patience = Patience::default();
    loop {
        match once(session, name, what, limit).await {
            Ok(document) => return Ok(document),
            Err(error) => patience.after(error, &session.registries).await?,
        }
    }
}

async fn once(session: &Session, name: &str, what: &str, limit: u64) -> Result<Document> {
    let accept = ACCEPTED.join(", ");
    let mut response = session.get(("manifests", name), &accept, None, what).await?;
    let registry = session.registry();
    let mut bytes = Vec::new();
    loop {
        let chunk = session.in_time(response.chunk()).await?.map_err(|source| {
            PullError::BrokenOff { registry: registry.clone(), source: source.without_url() }
        })?;
        let Some(chunk) = chunk else { break };
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > limit {
            let source = Box::new(ImageError::TooLarge { place: what.to_owned(), limit });
            return Err(PullError::Content { registry, source });
        }
    }
    let digest = Digest::of(&bytes);
    let said = response.headers().get(DIGEST_HEADER).and_then(|value| value.to_str().ok());
    if let Some(expected) = said.and_then(|text| text.parse::<Digest>().ok())
        && expected != digest
    {
        let what = what.to_owned();
        return Err(PullError::WrongDigest { registry, what, found: digest, expected });
    }
    Ok(Document { digest, bytes })
}
