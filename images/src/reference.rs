//! Image references: `[host[:port]/]path[:tag][@sha256:…]`, with the familiar
//! normalisation (`mysql` is `docker.io/library/mysql:latest`).
//!
//! The grammar is that of
//! [distribution/reference](https://github.com/distribution/reference/blob/main/reference.go).
//! Does not look anything up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Digest;

const DEFAULT_HOST: &str = "docker.io";
const DEFAULT_PATH_PREFIX: &str = "library/";
const DEFAULT_TAG: &str = "latest";
const TAG_BYTES_MAX: usize = 128;
/// A reference becomes one file name in the store, and those end at 255 bytes.
const KEY_BYTES_MAX: usize = 255;

/// A parsed, normalised image reference.
///
/// Two spellings of the same image compare equal. Without a tag and without a
/// digest the tag is `latest`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    host: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a string is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("image reference {text:?}: {reason}")]
pub struct ReferenceError {
    text: String,
    reason: &'static str,
}

impl ReferenceError {
    pub(crate) fn new(text: &str, reason: &'static str) -> Self {
        Self { text: text.to_owned(), reason }
    }
}

impl Reference {
    /// The registry's host, with its port if one was given.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository's path within the registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag; none only where a digest was given without one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The manifest's digest, where the reference pins one.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Host and path without the defaults; `None` where it would be read as
    /// another image's (`docker.io/docker.io/x` is not `docker.io/x`).
    fn familiar_name(&self) -> Option<&str> {
        let short = [self.path.strip_prefix(DEFAULT_PATH_PREFIX), Some(&self.path)];
        let same = |name: &&str| split_host(name) == (self.host.as_str(), self.path.clone());
        short.into_iter().flatten().find(same)
    }

    /// The name of the store's file for this reference. A digest outranks a
    /// tag, because it says more. `/` becomes `+`, which no reference holds.
    pub(crate) fn key(&self) -> String {
        let name = format!("{}/{}", self.host, self.path).replace('/', "+");
        match (&self.digest, &self.tag) {
            (Some(digest), _) => format!("{name}@{digest}"),
            (None, tag) => format!("{name}:{}", tag.as_deref().unwrap_or(DEFAULT_TAG)),
        }
    }

    /// The inverse of [`Reference::key`].
    pub(crate) fn from_key(key: &str) -> Result<Self, ReferenceError> {
        key.replace('+', "/").parse()
    }
}

impl fmt::Display for Reference {
    /// The familiar form: defaults that everybody knows are left out, the tag
    /// is not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.familiar_name() {
            Some(name) => f.write_str(name)?,
            None => write!(f, "{}/{}", self.host, self.path)?,
        }
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        parse(text).map_err(|reason| ReferenceError { text: text.to_owned(), reason })
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

fn parse(text: &str) -> Result<Reference, &'static str> {
    let (rest, digest) = match text.split_once('@') {
        None => (text, None),
        Some((rest, digest)) => {
            let digest = digest.parse().map_err(|_| "what follows @ is not a sha256 digest")?;
            (rest, Some(digest))
        }
    };
    // A colon after the last slash begins the tag; one before it, a port.
    let name_end = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[name_end..].split_once(':') {
        None => (rest, None),
        Some((last, tag)) => (&rest[..name_end + last.len()], Some(tag)),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err("a tag is up to 128 letters, digits, _ . and -, and begins with none of . -");
    }
    let (host, path) = split_host(name);
    if !is_host(host) {
        return Err("the part before the first / is not a host name with an optional port");
    }
    if !path.split('/').all(is_path_component) {
        return Err("a name is lower-case letters and digits, joined by . _ __ - or /");
    }
    let tag = tag.map(str::to_owned).or_else(|| digest.is_none().then(|| DEFAULT_TAG.to_owned()));
    let reference = Reference { host: host.to_owned(), path, tag, digest };
    if reference.key().len() > KEY_BYTES_MAX {
        return Err("longer than 255 bytes");
    }
    Ok(reference)
}

/// The first component is a host when it could not be part of a path.
fn split_host(name: &str) -> (&str, String) {
    match name.split_once('/') {
        Some((host, path)) if host == "localhost" || host.contains(['.', ':']) => {
            // Two old spellings of the same registry.
            let host = if host == "index.docker.io" { DEFAULT_HOST } else { host };
            if host == DEFAULT_HOST && !path.contains('/') {
                return (host, format!("{DEFAULT_PATH_PREFIX}{path}"));
            }
            (host, path.to_owned())
        }
        Some(_) => (DEFAULT_HOST, name.to_owned()),
        None => (DEFAULT_HOST, format!("{DEFAULT_PATH_PREFIX}{name}")),
    }
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= TAG_BYTES_MAX
        && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && tag.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.split_once(':') {
        None => (host, None),
        Some((name, port)) => (name, Some(port)),
    };
    let label = |label: &str| {
        let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        edge(label.chars().next())
            && edge(label.chars().next_back())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    // `parse` alone would take a plus sign.
    let number = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let port_fits = port.is_none_or(|port| number(port) && port.parse::<u16>().is_ok());
    name.split('.').all(label) && port_fits
}

/// Runs of `a-z0-9`, between them one of `.`, `_`, `__` or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !component.starts_with(alphanumeric) || !component.ends_with(alphanumeric) {
        return false;
    }
    component.split(alphanumeric).all(|between| {
        matches!(between, "" | "." | "_" | "__") || between.bytes().all(|byte| byte == b'-')
    })
}

#[cfg(test)]
mod tests;
