//! Why the bridge can't be used.

use crate::name::HostName;
use crate::netlink::NetlinkError;
use crate::ovsdb::OvsdbError;

/// Why the bridge can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// Somebody else's bridge.
    #[error(
        "bridge {name} belongs to {}: to hand it over, \
         `ovs-vsctl set bridge {name} external_ids:berth-host={host}`",
        of.as_deref().map_or("nobody known".to_owned(), |of| format!("host {of}"))
    )]
    Foreign {
        /// The bridge.
        name: String,
        /// This host.
        host: HostName,
        /// The host that its tag names, if it has one.
        of: Option<String>,
    },
    /// The uplink is in use elsewhere.
    #[error("the uplink {uplink} is a port of bridge {at} already, not of {bridge}")]
    UplinkElsewhere {
        /// The uplink.
        uplink: String,
        /// Where it is.
        at: String,
        /// Where it should be.
        bridge: String,
    },
    /// The database.
    #[error("can't set up bridge {name}")]
    Ovsdb {
        /// The bridge.
        name: String,
        /// What went wrong.
        #[source]
        source: OvsdbError,
    },
    /// Whether the kernel can move packets is not known.
    #[error("can't tell whether the kernel has an Open vSwitch data path")]
    Datapath(#[source] NetlinkError),
}
