//! The status of networks in vlan mode: an instance's own, and what concerns all.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::goal::NetworkRates;

/// What went through the link of an instance in vlan mode, as the instance sees directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct NetworkCounters {
    /// Bytes towards it.
    pub in_bytes: u64,
    /// Packets towards it.
    pub in_packets: u64,
    /// Packets towards it that its limit threw away.
    pub in_dropped: u64,
    /// Bytes from it.
    pub out_bytes: u64,
    /// Packets from it.
    pub out_packets: u64,
    /// Packets from it that were thrown away.
    pub out_dropped: u64,
}

/// The network of an instance in vlan mode, as the last pass found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkStatus {
    /// The pool that its address is from.
    pub pool: String,
    /// The address that it holds, running or not.
    pub ip: Option<IpAddr>,
    /// The length of the prefix of its network.
    pub prefix: Option<u8>,
    /// Its VLAN, as the switch has it.
    pub vlan: Option<u16>,
    /// The host's end of its link, and its port's name.
    pub link: Option<String>,
    /// The limits asked for: the goal's, otherwise the pool's.
    pub rate_asked: NetworkRates,
    /// The limits read back from the kernel.
    pub rate_set: NetworkRates,
    /// What went through its link since that was made.
    pub counters: Option<NetworkCounters>,
    /// What is to be done yet, and why it can't be; empty if all is right.
    pub amiss: Vec<String>,
}

/// What concerns the networks of all instances.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct HostNetworkStatus {
    /// What was refused in the pool files.
    pub refused_pools: Vec<String>,
    /// Addresses and networks whose owners no goal speaks of. They are left alone.
    pub strays: Vec<String>,
    /// What else can't be read or used, such as the switch.
    pub problems: Vec<String>,
}
