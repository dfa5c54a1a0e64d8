//! What the caller decides once: names, places, limits of time.

use std::path::PathBuf;
use std::time::Duration;

use crate::name::{HostName, VlanId};
use crate::neighbour::Probing;

/// Which part of Open vSwitch moves the packets of a new bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DatapathChoice {
    /// The kernel's where the kernel has it, else the userspace one.
    #[default]
    Auto,
    /// The kernel module (`datapath_type=system`).
    Kernel,
    /// ovs-vswitchd itself (`datapath_type=netdev`): slow, for tests.
    Userspace,
}

/// The link to the physical network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// The interface, such as `eth1` or a bond.
    pub interface: String,
    /// The VLANs it carries; empty is all.
    pub trunks: Vec<VlanId>,
}

/// The bridge that all instances of this host share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeConfig {
    /// Its name.
    pub name: String,
    /// What moves its packets, if it has to be created.
    pub datapath: DatapathChoice,
    /// Its way out, if it has one.
    pub uplink: Option<Uplink>,
}

/// How long each kind of wait may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For another operation on the same owner, or on the leases.
    pub lock: Duration,
    /// For an answer from ovsdb-server.
    pub database: Duration,
    /// For ovs-vswitchd to apply a change.
    pub apply: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            lock: Duration::from_secs(20),
            database: Duration::from_secs(5),
            apply: Duration::from_secs(10),
        }
    }
}

/// Everything [`Netplug`](crate::Netplug) needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// This host's name in tags. Two agents never share one on one Open vSwitch.
    pub host: HostName,
    /// Where leases are kept; must survive a reboot.
    pub state_dir: PathBuf,
    /// Where namespaces are pinned; must not.
    pub run_dir: PathBuf,
    /// ovsdb-server's socket.
    pub ovsdb_socket: PathBuf,
    /// The bridge.
    pub bridge: BridgeConfig,
    /// Limits of waiting.
    pub timeouts: Timeouts,
    /// How addresses are tried before use.
    pub probing: Probing,
    /// How many owners are worked on at once, at least 1.
    pub parallel: usize,
}

impl Config {
    /// The usual places and limits for a host and its bridge.
    #[must_use]
    pub fn new(host: HostName, bridge: BridgeConfig) -> Self {
        Self {
            host,
            state_dir: PathBuf::from("/var/lib/berth/net"),
            run_dir: PathBuf::from("/run/berth/net"),
            ovsdb_socket: PathBuf::from("/run/openvswitch/db.sock"),
            bridge,
            timeouts: Timeouts::default(),
            probing: Probing::default(),
            parallel: 4,
        }
    }
}
