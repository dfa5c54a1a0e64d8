//! Addresses and networks for the instances of one host: pools and leases, network
//! namespaces, veth pairs, Open vSwitch ports in VLANs, rate limits.
//!
//! ```text
//! pools.d/*.json ─ pool ──┐                    ┌─ netlink, netns, ethtool   (kernel)
//!                 lease ──┤                    │
//!                         ├─ plug ─ plan ─ act ┼─ ovsdb ── ovsdb-server ── ovs-vswitchd
//!        goal (caller) ───┤          ↑         ├─ answer, openflow ── ovs-vswitchd
//!                         └─ observe ┘         └─ neighbour (ARP, ND)
//! ```
//!
//! [`Netplug::attach`] writes a lease, then makes the namespace, the veth pair, the port
//! and the limits, tries the address, sets it, announces it, and has the switch answer for
//! it. The container only joins
//! the namespace, and a restart of mysqld keeps it. [`Netplug::detach`] removes all that
//! and frees the address last. [`Netplug::reconcile`] does for a whole host what is
//! missing; [`Netplug::inspect`] only tells. Everything is an idempotent step between an observation and the next, so that
//! a process that dies anywhere is continued by whoever comes next.
//!
//! Truth is the kernel, the switch and the lease files, read anew each time. Packets
//! never pass this code, nor wait for it.
//!
//! Not here: which instances there are (the agent), and host networking (nothing to do).
//!
//! All calls block, within bounds, and belong on a thread that may.

mod act;
mod addr;
mod answer;
mod attachment;
mod bridge;
mod check;
mod config;
mod counters;
mod deadline;
mod durable;
mod error;
mod ethtool;
pub mod failpoint;
mod inspect;
pub mod lease;
mod lock;
mod name;
mod neighbour;
mod netlink;
mod netns;
mod observe;
mod openflow;
mod ovsdb;
mod plan;
mod plug;
pub mod pool;
mod preflight;
mod rate;
mod reconcile;
mod session;
mod tag;

pub use act::StepError;
pub use addr::{AddressError, AddressRange, MacAddress, Subnet};
pub use attachment::{AttachRequest, Attachment};
pub use bridge::BridgeError;
pub use check::Finding;
pub use config::{BridgeConfig, Config, DatapathChoice, Timeouts, Uplink};
pub use counters::Counters;
pub use error::PlugError;
pub use inspect::{Inspection, Place, Standing};
pub use lock::LockError;
pub use name::{HostName, NameError, Owner, PoolName, VlanId};
pub use neighbour::{NeighbourError, Probing};
pub use netlink::NetlinkError;
pub use netns::NetnsError;
pub use ovsdb::OvsdbError;
pub use plug::Netplug;
pub use preflight::{BridgeStanding, Preflight, UplinkStanding};
pub use rate::{BitRate, BitRateError, Rates};
pub use reconcile::{Goal, Outcome, Report};
