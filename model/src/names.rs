//! Names, checked once at the edge so that the rest of the code can rely on their form.
//!
//! An [`EntryKey`] becomes a directory, a cgroup and a container id, so its alphabet is
//! the one that is safe in all three.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest name accepted, in bytes: leaves room below `NAME_MAX` (255, see
/// path_resolution(7)) for the suffixes that berth adds.
pub const NAME_BYTES_MAX: usize = 180;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing at all.
    #[error("found an empty {what}, expected at least one character")]
    Empty {
        /// What kind of name was expected.
        what: &'static str,
    },
    /// More than [`NAME_BYTES_MAX`] bytes.
    #[error("found a {what} of {bytes} bytes, expected at most {NAME_BYTES_MAX}")]
    TooLong {
        /// What kind of name was expected.
        what: &'static str,
        /// How long it is.
        bytes: usize,
    },
    /// A character outside the alphabet, or a bad first character.
    #[error(
        "found {found:?} in the {what} {text:?}, expected letters, digits, '.', '_' and '-', \
         beginning with a letter or a digit"
    )]
    Character {
        /// What kind of name was expected.
        what: &'static str,
        /// The whole text.
        text: String,
        /// The first character that is not allowed.
        found: char,
    },
}

fn check(what: &'static str, text: &str) -> Result<(), NameError> {
    let first = text.chars().next().ok_or(NameError::Empty { what })?;
    if text.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { what, bytes: text.len() });
    }
    let stranger = if first.is_ascii_alphanumeric() {
        text.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
    } else {
        Some(first)
    };
    match stranger {
        Some(found) => Err(NameError::Character { what, text: text.to_owned(), found }),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        #[serde(try_from = "String", into = "String")]
        #[schemars(extend("pattern" = "^[A-Za-z0-9][A-Za-z0-9._-]*$", "maxLength" = NAME_BYTES_MAX))]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                check($what, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                check($what, &text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

name!(
    /// A host as goal entries name it: the first part of an entry's key.
    HostName,
    "host name"
);
name!(
    /// The key of a goal entry, `<host>-<app_id>`: the identity of an instance for ever.
    EntryKey,
    "entry key"
);
name!(
    /// The name that the members of one replication cluster share; passwords derive from it.
    ClusterName,
    "cluster name"
);

impl EntryKey {
    /// What follows `<host>-`, or `None` if the entry belongs to another host.
    #[must_use]
    pub fn app_id_on(&self, host: &HostName) -> Option<&str> {
        self.0.strip_prefix(host.as_str())?.strip_prefix('-').filter(|rest| !rest.is_empty())
    }
}

#[cfg(test)]
mod tests;
