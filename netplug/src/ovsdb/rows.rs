//! Bridges, ports and uplinks as the database has them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::row;
use crate::tag::Tag;

pub(super) const HOST: &str = "berth-host";
pub(super) const OWNER: &str = "berth-owner";
pub(super) const LEASE: &str = "berth-lease";

/// A bridge as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BridgeRow {
    pub(crate) name: String,
    /// The host whose tag it carries.
    pub(crate) host: Option<String>,
    /// Whether ovs-vswitchd itself moves the packets.
    pub(crate) userspace: bool,
}

/// A port and its interface as the database has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortRow {
    pub(crate) uuid: String,
    pub(crate) name: String,
    /// The bridge it is on.
    pub(crate) bridge: String,
    /// Its VLAN, if it is an access port and nothing else.
    pub(crate) access: Option<u16>,
    pub(crate) tag: Option<Tag>,
    /// Its OpenFlow number, once ovs-vswitchd has it in the data path.
    pub(crate) number: Option<u32>,
    /// What ovs-vswitchd complains about.
    pub(crate) error: Option<String>,
}

/// An uplink's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UplinkRow {
    pub(crate) uuid: String,
    /// The bridge it is on.
    pub(crate) bridge: String,
    /// Whether it carries our tag.
    pub(crate) ours: bool,
    /// The VLANs it carries, ascending; empty is all.
    pub(crate) trunks: Vec<u16>,
    /// Its OpenFlow number, once it is in the data path. A bond's ports have numbers of
    /// their own, and it has none.
    pub(crate) number: Option<u32>,
}

/// What the database says about the whole switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) version: String,
    pub(crate) applied: i64,
}

/// The bridge and the ports that concern one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SwitchState {
    pub(crate) bridge: Option<BridgeRow>,
    /// Whatever carries the tag asked for, or has the name asked for.
    pub(crate) ports: Vec<PortRow>,
    /// Whether ovs-vswitchd has changes to apply.
    pub(crate) behind: bool,
}

pub(super) fn trunks(port: &Value) -> Vec<u16> {
    let mut vlans: Vec<_> =
        row::integers(port, "trunks").into_iter().filter_map(|id| u16::try_from(id).ok()).collect();
    vlans.sort_unstable();
    vlans
}

pub(super) fn bridge_row(bridge: &Value) -> BridgeRow {
    BridgeRow {
        name: row::text(bridge, "name"),
        host: row::strings(bridge, "external_ids").remove(HOST),
        userspace: row::text(bridge, "datapath_type") == "netdev",
    }
}

/// Which bridge each port is on.
pub(super) fn bridge_by_port(bridges: &[Value]) -> BTreeMap<String, String> {
    let ports = bridges.iter().flat_map(|bridge| {
        let name = row::text(bridge, "name");
        let members: &[Value] = match &bridge["ports"] {
            // A set of one is written bare: ["uuid", …].
            Value::Array(set) if set.first().is_some_and(|kind| kind == "set") => {
                set[1].as_array().map_or(&[], Vec::as_slice)
            }
            one => std::slice::from_ref(one),
        };
        members.iter().filter_map(move |port| Some((port[1].as_str()?.to_owned(), name.clone())))
    });
    ports.collect()
}

/// The number of an interface's port; ovs-vswitchd writes -1 for one that it can't use.
pub(super) fn port_number(interface: &Value) -> Option<u32> {
    let number = row::optional(interface, "ofport")?.as_i64()?;
    u32::try_from(number).ok().filter(|number| *number > 0)
}

pub(super) fn port_row(
    port: &Value,
    at: &BTreeMap<String, String>,
    interfaces: &BTreeMap<String, &Value>,
) -> Option<PortRow> {
    let (uuid, name) = (row::uuid(port)?, row::text(port, "name"));
    let tags = row::strings(port, "external_ids");
    let tag = |key: &str| tags.get(key).map_or("", String::as_str);
    let mode = row::text(port, "vlan_mode");
    let vlan = row::optional(port, "tag").and_then(Value::as_u64);
    let only_access = matches!(mode.as_str(), "" | "access") && trunks(port).is_empty();
    let interface = interfaces.get(&name);
    Some(PortRow {
        bridge: at.get(&uuid).cloned().unwrap_or_default(),
        access: vlan.filter(|_| only_access).and_then(|vlan| u16::try_from(vlan).ok()),
        tag: Tag::from_parts(tag(HOST), tag(OWNER), tag(LEASE)),
        number: interface.and_then(|row| port_number(row)),
        error: interface.map(|row| row::text(row, "error")).filter(|error| !error.is_empty()),
        uuid,
        name,
    })
}
