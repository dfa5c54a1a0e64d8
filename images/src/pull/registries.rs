//! Where an image may come from: the registry that its name says, and the mirrors in
//! front of it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::{Reference, ReferenceError};

/// How registries are reached. The default is HTTPS without mirrors or logins.
#[derive(Debug, Clone)]
pub struct Registries {
    /// Registries (host, with the port if one is written) that are spoken to over
    /// plain HTTP.
    pub plain_http: BTreeSet<String>,
    /// For a registry, the mirrors that are asked before it, in this order, each as
    /// `host[:port][/prefix]`.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Files of the form of docker's config.json that hold logins; the first that has one
    /// for a registry wins. A file that is not there holds none.
    pub auth_files: Vec<PathBuf>,
    /// How long a connection may take to come about.
    pub connect_wait: Duration,
    /// How long a registry may send nothing.
    pub stall_wait: Duration,
    /// The longest rest that a registry may ask for (Retry-After, RFC 9110 10.2.3).
    pub rest_max: Duration,
    /// Tries in a row that bring nothing before a pull fails.
    pub tries: u32,
    /// Blobs fetched at the same time.
    pub parallel: usize,
}

impl Default for Registries {
    fn default() -> Self {
        Self {
            plain_http: BTreeSet::new(),
            mirrors: BTreeMap::new(),
            auth_files: Vec::new(),
            connect_wait: Duration::from_secs(10),
            stall_wait: Duration::from_secs(30),
            rest_max: Duration::from_secs(60),
            tries: 5,
            parallel: 3,
        }
    }
}

impl Registries {
    /// Checks the form of a mirror.
    ///
    /// # Errors
    /// When it is not `host[:port][/prefix]`, the host with a dot or a port.
    pub fn check_mirror(mirror: &str) -> Result<(), ReferenceError> {
        at_mirror(mirror, "name").map(drop)
    }

    /// The places to ask for an image, in order. A mirror of a wrong form is left out; see
    /// [`Registries::check_mirror`].
    pub(super) fn endpoints(&self, reference: &Reference) -> Vec<Endpoint> {
        let mirrors = self.mirrors.get(reference.host()).into_iter().flatten();
        let mirrors = mirrors.filter_map(|mirror| at_mirror(mirror, reference.path()).ok());
        let origin = (reference.host().to_owned(), reference.path().to_owned());
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for (registry, repository) in mirrors.chain([origin]) {
            let plain = self.plain_http.contains(&registry);
            let endpoint = Endpoint { registry, repository, plain };
            if !endpoints.contains(&endpoint) {
                endpoints.push(endpoint);
            }
        }
        endpoints
    }
}

/// A mirror keeps the image under the same path, below its prefix if it has one.
fn at_mirror(mirror: &str, path: &str) -> Result<(String, String), ReferenceError> {
    let text = format!("{}/{path}", mirror.trim_end_matches('/'));
    let reference: Reference = text.parse()?;
    if reference.host() != mirror.split('/').next().unwrap_or_default() {
        return Err(ReferenceError::new(mirror, "a mirror is a host with a dot or a port"));
    }
    Ok((reference.host().to_owned(), reference.path().to_owned()))
}

/// A repository of one registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Host, with its port if one was written.
    pub(super) registry: String,
    /// The image's path there.
    pub(super) repository: String,
    /// Plain HTTP.
    pub(super) plain: bool,
}

impl Endpoint {
    /// The image's name as oci-client takes it, which knows under which host Docker Hub
    /// answers.
    pub(super) fn reference(&self) -> oci_client::Reference {
        let tag = "latest".to_owned();
        oci_client::Reference::with_tag(self.registry.clone(), self.repository.clone(), tag)
    }

    /// The address of a manifest or blob (distribution-spec, "Endpoints").
    pub(super) fn url(&self, kind: &str, name: &str) -> String {
        let scheme = if self.plain { "http" } else { "https" };
        let reference = self.reference();
        format!("{scheme}://{}/v2/{}/{kind}/{name}", reference.resolve_registry(), self.repository)
    }
}

#[cfg(test)]
mod tests;
