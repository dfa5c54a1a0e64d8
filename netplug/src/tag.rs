//! The mark on everything that is ours in the kernel and in the switch.
//!
//! A link carries it as its alias, a port and its interface in `external_ids`. Only
//! what carries it, for this host, is ever deleted.

use std::fmt;
use std::net::IpAddr;

use crate::lease::{Generation, Lease};
use crate::name::{HostName, Owner};

const WORD: &str = "berth";

/// Whose something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) host: HostName,
    pub(crate) owner: Owner,
    pub(crate) address: IpAddr,
    pub(crate) generation: Generation,
}

impl Tag {
    /// The mark for what this lease needs.
    pub(crate) fn of(host: &HostName, lease: &Lease) -> Self {
        Self {
            host: host.clone(),
            owner: lease.owner.clone(),
            address: lease.address,
            generation: lease.generation,
        }
    }

    /// The lease as one word: `<address>/<generation>`.
    pub(crate) fn lease(&self) -> String {
        format!("{}/{}", self.address, self.generation.0)
    }

    /// The mark made of its parts, if they are well formed.
    pub(crate) fn from_parts(host: &str, owner: &str, lease: &str) -> Option<Self> {
        let (address, generation) = lease.split_once('/')?;
        Some(Self {
            host: HostName::new(host).ok()?,
            owner: Owner::new(owner).ok()?,
            address: address.parse().ok()?,
            generation: Generation(generation.parse().ok()?),
        })
    }

    /// The mark in a link's alias, if it is one.
    pub(crate) fn from_alias(alias: &str) -> Option<Self> {
        let words: Vec<_> = alias.split(' ').collect();
        match words[..] {
            [WORD, host, owner, lease] => Self::from_parts(host, owner, lease),
            _ => None,
        }
    }
}

/// As it stands in a link's alias.
impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{WORD} {} {} {}", self.host, self.owner, self.lease())
    }
}

#[cfg(test)]
mod tests;
