//! Narrow types for the names and numbers that documents carry.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a name or a number was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found {found}, expected {expected}")]
pub struct NameError {
    /// What stood there.
    pub found: String,
    /// What should have.
    pub expected: &'static str,
}

fn check_name(text: &str, longest: usize) -> Result<(), NameError> {
    let expected = if text.len() > longest {
        "a shorter name"
    } else {
        "letters, digits, dots, dashes or underscores, not beginning with a dot or a dash"
    };
    let fits = (1..=longest).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !text.starts_with(['.', '-']);
    if fits { Ok(()) } else { Err(NameError { found: format!("{text:?}"), expected }) }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $longest:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks a name: it becomes part of file names and database rows.
            ///
            /// # Errors
            /// [`NameError`] when it is empty, too long or holds other characters.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                check_name(&text, $longest).map(|()| Self(text))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// Whose address it is: the key of a goal entry, such as
    /// `dbhost01-orders-us1-cluster8-db4`. At most 120 characters: with the host's name
    /// it has to fit a link's alias (IFALIASZ, 256 bytes).
    Owner, 120
}
name! {
    /// The name of a pool: the key of a pool entry. At most 64 characters.
    PoolName, 64
}
name! {
    /// The name of this host as its tags carry it. At most 64 characters, as
    /// Linux's own (HOST_NAME_MAX).
    HostName, 64
}

/// A VLAN identifier of IEEE 802.1Q, 1 to 4094.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u16")]
pub struct VlanId(u16);

impl VlanId {
    /// Checks an identifier.
    ///
    /// # Errors
    /// [`NameError`] outside 1 to 4094: 0 and 4095 are reserved.
    pub fn new(id: u64) -> Result<Self, NameError> {
        match u16::try_from(id) {
            Ok(id) if (1..=4094).contains(&id) => Ok(Self(id)),
            _ => Err(NameError { found: id.to_string(), expected: "a VLAN id from 1 to 4094" }),
        }
    }

    /// The identifier.
    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u64> for VlanId {
    type Error = NameError;

    fn try_from(id: u64) -> Result<Self, NameError> {
        Self::new(id)
    }
}

impl From<VlanId> for u16 {
    fn from(id: VlanId) -> Self {
        id.0
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
