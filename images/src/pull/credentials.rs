//! Logins for registries, from files of the form of docker's config.json.
//!
//! Sources: docker's
//! [configuration file](https://docs.docker.com/reference/cli/docker/#docker-cli-configuration-file-configjson-properties),
//! containers-auth.json(5) for keys that name a namespace, and the
//! [credential helper protocol](https://github.com/docker/docker-credential-helpers#development).
//! Files are read for each pull, so that a changed login needs no restart.

mod helper;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

pub(crate) use helper::HelperError;

const FILE_BYTES_MAX: u64 = 1 << 20;
/// Docker Hub goes by several names; this is the one compared.
const HUB: &str = "docker.io";
const HUB_ALIASES: [&str; 2] = ["index.docker.io", "registry-1.docker.io"];
/// What credential helpers call Docker Hub.
const HUB_FOR_HELPERS: &str = "https://index.docker.io/v1/";

/// Why a login could not be looked up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The file can't be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not of the form. What stands there is not told: it may be a secret.
    #[error(
        "{} is not of the form of docker's config.json, see line {line} column {column}",
        path.display()
    )]
    Form {
        /// The file.
        path: PathBuf,
        /// Where it ceases to be.
        line: usize,
        /// Where it ceases to be.
        column: usize,
    },
    /// Others can read the file.
    #[error("{} holds logins and has mode {mode:o}, expected 600: chmod 600 it", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// An entry holds something else than it says. What it holds is not told.
    #[error("{}: the login for {key} {problem}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The entry.
        key: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A credential helper failed.
    #[error("{}: credential helper {name} failed", path.display())]
    Helper {
        /// The file that names it.
        path: PathBuf,
        /// The helper.
        name: String,
        /// Why.
        source: HelperError,
    },
}

/// A login.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    Anonymous,
    Basic { user: String, password: String },
    Token(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_whom())
    }
}

impl Credentials {
    /// For messages: whose login it is, never the secret.
    pub(super) fn as_whom(&self) -> String {
        match self {
            Self::Anonymous => "without a login".to_owned(),
            Self::Basic { user, .. } => format!("as {user:?}"),
            Self::Token(_) => "with a token".to_owned(),
        }
    }
}

#[derive(Deserialize)]
struct AuthFile {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// The login for a repository: of the first file that has one, anonymous if none has.
pub(super) fn find(
    files: &[PathBuf],
    registry: &str,
    repository: &str,
) -> Result<Credentials, CredentialsError> {
    for path in files {
        let Some(file) = read(path)? else { continue };
        if let Some(found) = in_file(path, &file, registry, repository)? {
            return Ok(found);
        }
    }
    Ok(Credentials::Anonymous)
}

fn read(path: &Path) -> Result<Option<AuthFile>, CredentialsError> {
    let wrong = |source| CredentialsError::Read { path: path.to_owned(), source };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(error)),
    };
    if metadata.len() > FILE_BYTES_MAX {
        return Err(wrong(io::Error::new(io::ErrorKind::FileTooLarge, "longer than 1 MiB")));
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(CredentialsError::Mode { path: path.to_owned(), mode });
    }
    let bytes = fs::read(path).map_err(wrong)?;
    serde_json::from_slice(&bytes).map(Some).map_err(|error| CredentialsError::Form {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
    })
}

/// As docker looks: the helper for this registry, then a login in the file, then the store
/// of all logins.
fn in_file(
    path: &Path,
    file: &AuthFile,
    registry: &str,
    repository: &str,
) -> Result<Option<Credentials>, CredentialsError> {
    let registry = normal(registry);
    let of_helper = file.helpers.iter().find(|(key, _)| normal(key) == registry);
    if let Some((_, name)) = of_helper {
        return ask(path, name, registry);
    }
    for place in places(registry, repository) {
        let entry = file.auths.iter().find(|(key, _)| normal(key) == place);
        if let Some((key, entry)) = entry
            && let Some(found) = entry.credentials(path, key)?
        {
            return Ok(Some(found));
        }
    }
    match &file.store {
        Some(name) if !name.is_empty() => ask(path, name, registry),
        _ => Ok(None),
    }
}

fn ask(path: &Path, name: &str, registry: &str) -> Result<Option<Credentials>, CredentialsError> {
    let server = if registry == HUB { HUB_FOR_HELPERS } else { registry };
    helper::get(name, server).map_err(|source| CredentialsError::Helper {
        path: path.to_owned(),
        name: name.to_owned(),
        source,
    })
}

/// The key as it is compared: without scheme and API version, and Docker Hub by one name.
fn normal(key: &str) -> &str {
    let key = key.strip_prefix("https://").or(key.strip_prefix("http://")).unwrap_or(key);
    let key = key.trim_end_matches('/');
    let key = key.strip_suffix("/v1").or(key.strip_suffix("/v2")).unwrap_or(key);
    if HUB_ALIASES.contains(&key) { HUB } else { key }
}

/// `host/a/b`, `host/a`, `host`: the entry that says most wins.
fn places(registry: &str, repository: &str) -> Vec<String> {
    let mut place = format!("{registry}/{repository}");
    let mut places = Vec::new();
    loop {
        places.push(place.clone());
        if place.len() <= registry.len() {
            return places;
        }
        let end = place.rfind('/').unwrap_or(0);
        place.truncate(end.max(registry.len()));
    }
}

impl Entry {
    /// `None` where the entry is empty: docker leaves such for logins that a store keeps.
    fn credentials(&self, path: &Path, key: &str) -> Result<Option<Credentials>, CredentialsError> {
        let given = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        let wrong = |problem| {
            Err(CredentialsError::Entry { path: path.to_owned(), key: key.to_owned(), problem })
        };
        if let Some(token) = given(&self.registrytoken) {
            return Ok(Some(Credentials::Token(token)));
        }
        if given(&self.identitytoken).is_some() {
            return wrong("is an identity token, which this version can't use; log in anew");
        }
        if let (Some(user), Some(password)) = (given(&self.username), given(&self.password)) {
            return Ok(Some(Credentials::Basic { user, password }));
        }
        let Some(auth) = given(&self.auth) else { return Ok(None) };
        let decoded = BASE64.decode(auth.trim()).ok().and_then(|it| String::from_utf8(it).ok());
        match decoded.as_deref().and_then(|text| text.split_once(':')) {
            Some((user, password)) => Ok(Some(Credentials::Basic {
                user: user.to_owned(),
                password: password.trim_end_matches('\0').to_owned(),
            })),
            None => wrong("is not `user:password` in base64"),
        }
    }
}

#[cfg(test)]
mod tests;
