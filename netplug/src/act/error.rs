//! Why a step failed.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::addr::MacAddress;
use crate::lease::LeaseError;
use crate::neighbour::NeighbourError;
use crate::netlink::NetlinkError;
use crate::netns::NetnsError;
use crate::ovsdb::OvsdbError;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The kernel's network.
    #[error("the kernel did not do it")]
    Netlink(#[source] NetlinkError),
    /// The namespace.
    #[error("the namespace could not be used")]
    Netns(#[source] NetnsError),
    /// Open vSwitch.
    #[error("Open vSwitch did not do it")]
    Ovsdb(#[source] OvsdbError),
    /// ovs-vswitchd complains about the port.
    #[error("ovs-vswitchd can't use port {port}: {error}")]
    PortRefused {
        /// The port.
        port: String,
        /// What ovs-vswitchd wrote.
        error: String,
    },
    /// The neighbours.
    #[error("the neighbours could not be reached")]
    Neighbour(#[source] NeighbourError),
    /// Somebody else answers for the address.
    #[error("{address} is in use by somebody at {by}, unknown to this host's leases")]
    AddressTaken {
        /// The address.
        address: IpAddr,
        /// The hardware address that the answer came from.
        by: MacAddress,
    },
    /// Offload.
    #[error("can't turn checksum offload off")]
    Offload(#[source] Errno),
    /// A kernel setting.
    #[error("can't set {}", path.display())]
    Setting {
        /// The file below /proc/sys.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The lease.
    #[error("the lease could not be confirmed")]
    Lease(#[source] LeaseError),
    /// Something that was there is gone, or is no longer ours.
    #[error("{what} is gone or no longer ours")]
    Vanished {
        /// What.
        what: String,
    },
}

impl StepError {
    /// The address that a stranger holds, if that is what happened.
    #[must_use]
    pub fn address_taken(&self) -> Option<IpAddr> {
        match self {
            Self::AddressTaken { address, .. } => Some(*address),
            _ => None,
        }
    }
}
