//! Why an operation on the host's network failed.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::act::StepError;
use crate::bridge::error::BridgeError;
use crate::lease::LeaseError;
use crate::lock::LockError;
use crate::name::{Owner, PoolName};
use crate::netlink::NetlinkError;
use crate::netns::NetnsError;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum PlugError {
    /// The lock of the owner.
    #[error("{owner} is being worked on")]
    Lock {
        /// Whose.
        owner: Owner,
        /// Why it was not had.
        #[source]
        source: LockError,
    },
    /// The directories.
    #[error("can't set up the directory for namespaces")]
    Directory(#[source] NetnsError),
    /// A namespace that is there, or may be.
    #[error("the namespace of {owner} can't be opened")]
    Namespace {
        /// Whose.
        owner: Owner,
        /// Why not.
        #[source]
        source: NetnsError,
    },
    /// The leases.
    #[error("the leases can't be used")]
    Lease(#[source] LeaseError),
    /// No such pool.
    #[error("{owner} asks for pool {pool}, which is not there or was refused")]
    UnknownPool {
        /// Who asks.
        owner: Owner,
        /// For what.
        pool: PoolName,
    },
    /// The lease lies outside of its pool, which was changed.
    #[error("{owner} holds {address}, which pool {pool} no longer offers")]
    OutsidePool {
        /// Whose.
        owner: Owner,
        /// The address.
        address: IpAddr,
        /// The pool.
        pool: PoolName,
    },
    /// Something can't be told or is in the way; nothing was removed.
    #[error("{owner}: {}", reasons.join("; "))]
    Blocked {
        /// Whose.
        owner: Owner,
        /// Why, for an operator.
        reasons: Vec<String>,
    },
    /// A step failed; what was done before it stays, and the next attempt goes on there.
    #[error("{owner}: can't {step}")]
    Step {
        /// Whose.
        owner: Owner,
        /// What was tried.
        step: String,
        /// Why it failed.
        #[source]
        source: Box<StepError>,
    },
    /// All steps worked, and still something is not as it should be.
    #[error("{owner}: still to do after several attempts: {}", remaining.join("; "))]
    NotConverged {
        /// Whose.
        owner: Owner,
        /// What is left.
        remaining: Vec<String>,
    },
    /// Every address that was tried is in use by a stranger.
    #[error("{owner}: the addresses {} of pool {pool} are in use by strangers", list(tried))]
    Strangers {
        /// Whose.
        owner: Owner,
        /// The pool.
        pool: PoolName,
        /// What was tried.
        tried: BTreeSet<IpAddr>,
    },
    /// The kernel's links.
    #[error("can't read the links")]
    Netlink(#[source] NetlinkError),
    /// The bridge.
    #[error("the bridge can't be used")]
    Bridge(#[source] BridgeError),
}

fn list(addresses: &BTreeSet<IpAddr>) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
