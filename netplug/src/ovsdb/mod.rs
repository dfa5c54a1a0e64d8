//! Open vSwitch's configuration database (RFC 7047, ovs-vswitchd.conf.db(5)).
//!
//! [`client`] speaks the protocol; [`row`] reads its values; [`switch`] has one typed
//! method per thing done to the switch. Nothing else in the crate knows tables or
//! columns.
//!
//! What is ours carries `external_ids`: the bridge `berth-host`; a port
//! and its interface `berth-host`, `berth-owner` and `berth-lease`
//! (`<address>/<generation>`). Each change is one transaction that fails as a whole
//! if the row has lost our tag meanwhile.

mod client;
mod error;
mod row;
mod rows;
mod switch;

pub(crate) use client::Client;
pub use error::OvsdbError;
pub(crate) use rows::{BridgeRow, PortRow, SwitchState, UplinkRow};
pub(crate) use switch::{NewPort, Switch};
