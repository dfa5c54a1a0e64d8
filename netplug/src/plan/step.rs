//! The steps of a plan: plain data.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::addr::MacAddress;
use crate::lease::Lease;
use crate::name::VlanId;
use crate::netlink::Shaper;
use crate::ovsdb::PortRow;
use crate::tag::Tag;

/// An end of the veth pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// In the host's namespace, by name.
    Outer(String),
    /// In the container's namespace.
    Inner,
}

/// One idempotent act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    RemovePort { port: PortRow, tag: Tag },
    RemoveLink { name: String, tag: Tag },
    RemoveInner,
    RemoveNamespace,
    PinNamespace { from: Option<PathBuf> },
    CreateVeth { outer: String, mac: MacAddress, mtu: u16, tag: Tag },
    SetMtu { end: End, mtu: u16 },
    SetMac { mac: MacAddress },
    CompleteChecksums,
    SetUp { end: End, address: IpAddr },
    LoopbackUp,
    AddPort { bridge: String, name: String, vlan: VlanId, tag: Tag },
    SetVlan { port: String, vlan: VlanId, tag: Tag },
    AwaitPort { name: String, owner_tag: Tag },
    SetRate { end: End, shaper: Shaper },
    ClearRate { end: End },
    RemoveAddress { address: IpAddr, prefix: u8 },
    RemoveGateway { gateway: IpAddr },
    Probe { address: IpAddr, from: MacAddress },
    AddAddress { address: IpAddr, prefix: u8 },
    AddGateway { gateway: IpAddr },
    Announce { address: IpAddr },
    Confirm { lease: Lease },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RemovePort { port, .. } => write!(f, "remove port {}", port.name),
            Self::RemoveLink { name, .. } => write!(f, "remove link {name}"),
            Self::RemoveInner => f.write_str("remove the container's link"),
            Self::RemoveNamespace => f.write_str("remove the namespace"),
            Self::PinNamespace { from: None } => f.write_str("make the namespace"),
            Self::PinNamespace { from: Some(from) } => write!(f, "pin {}", from.display()),
            Self::CreateVeth { outer, .. } => write!(f, "create the veth pair {outer}"),
            Self::SetMtu { end, mtu } => write!(f, "set the MTU of {end} to {mtu}"),
            Self::SetMac { mac } => write!(f, "set the hardware address to {mac}"),
            Self::CompleteChecksums => f.write_str("turn checksum offload off"),
            Self::SetUp { end, .. } => write!(f, "bring up {end}"),
            Self::LoopbackUp => f.write_str("bring up the loopback link"),
            Self::AddPort { name, vlan, .. } => write!(f, "add port {name} in VLAN {vlan}"),
            Self::SetVlan { port, vlan, .. } => write!(f, "move port {port} to VLAN {vlan}"),
            Self::AwaitPort { name, .. } => write!(f, "wait for port {name}"),
            Self::SetRate { end, shaper } => {
                write!(f, "limit {end} to {} bytes a second", shaper.rate)
            }
            Self::ClearRate { end } => write!(f, "remove the limit of {end}"),
            Self::RemoveAddress { address, .. } => write!(f, "remove the address {address}"),
            Self::RemoveGateway { gateway } => write!(f, "remove the route by {gateway}"),
            Self::Probe { address, .. } => write!(f, "ask whether {address} is taken"),
            Self::AddAddress { address, prefix } => write!(f, "add the address {address}/{prefix}"),
            Self::AddGateway { gateway } => write!(f, "add the default route by {gateway}"),
            Self::Announce { address } => write!(f, "announce {address}"),
            Self::Confirm { lease } => write!(f, "confirm the lease of {}", lease.address),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outer(name) => write!(f, "link {name}"),
            Self::Inner => f.write_str("the container's link"),
        }
    }
}
