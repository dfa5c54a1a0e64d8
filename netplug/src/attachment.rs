//! What an instance asks for, and what it gets.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::addr::MacAddress;
use crate::lease::Generation;
use crate::name::{Owner, PoolName, VlanId};
use crate::rate::Rates;

/// What an instance asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachRequest {
    /// Whose it is.
    pub owner: Owner,
    /// The pool its address comes from.
    pub pool: PoolName,
    /// The one address that will do, if any.
    pub address: Option<IpAddr>,
    /// Its limits; the pool's where it names none.
    pub rates: Rates,
    /// `/proc/<pid>/ns/net` of its running container, if there is one: should the pin
    /// be lost, this namespace is pinned again instead of a new one.
    pub live_namespace: Option<PathBuf>,
}

/// What an instance got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Whose it is.
    pub owner: Owner,
    /// Its address.
    pub address: IpAddr,
    /// The length of its network's prefix.
    pub prefix: u8,
    /// Its default route, if the pool has one.
    pub gateway: Option<IpAddr>,
    /// Its VLAN.
    pub vlan: VlanId,
    /// Its hardware address.
    pub mac: MacAddress,
    /// The network namespace that its container joins.
    pub namespace: PathBuf,
    /// The host's end of its veth pair, and its port's name.
    pub link: String,
    /// Which lease it is.
    pub generation: Generation,
    /// What had to be done, in order; empty if all was right already.
    pub done: Vec<String>,
}
