//! The name of a container, parsed once at the edge.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Longest accepted id. It is a directory name and a cgroup name, both limited
/// to 255 bytes by the kernel, and libcontainer takes at most 1024.
const MAX_LEN: usize = 200;

/// A container's id: one path component of ASCII letters, digits, `_`, `-`, `.`
/// that begins with a letter or digit, at most 200 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

/// Why a string is not a container id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "container id {id:?} must be 1 to {MAX_LEN} of a-z A-Z 0-9 _ - . and begin with a letter or digit"
)]
pub struct InvalidId {
    id: String,
}

impl ContainerId {
    /// Parses an id.
    ///
    /// # Errors
    /// [`InvalidId`] when the text could not be one safe path component.
    pub fn new(id: impl Into<String>) -> Result<Self, InvalidId> {
        let id = id.into();
        let starts_well = id.starts_with(|c: char| c.is_ascii_alphanumeric());
        let all_allowed = id.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
        if starts_well && all_allowed && id.len() <= MAX_LEN {
            Ok(Self(id))
        } else {
            Err(InvalidId { id })
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<Path> for ContainerId {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl TryFrom<String> for ContainerId {
    type Error = InvalidId;
    fn try_from(id: String) -> Result<Self, InvalidId> {
        Self::new(id)
    }
}

impl std::str::FromStr for ContainerId {
    type Err = InvalidId;
    fn from_str(id: &str) -> Result<Self, InvalidId> {
        Self::new(id)
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests;
