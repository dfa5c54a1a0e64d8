//! What is asked of, and done to, the switch: one method per transaction.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::row;
use super::rows::{
    BridgeRow, Facts, HOST, LEASE, OWNER, PortRow, SwitchState, UplinkRow, bridge_by_port,
    bridge_row, port_number, port_row, trunks,
};
use super::{Client, OvsdbError};
use crate::deadline::Deadline;
use crate::name::{HostName, Owner, VlanId};
use crate::tag::Tag;

/// A port to add.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewPort<'a> {
    pub(crate) bridge: &'a str,
    pub(crate) name: &'a str,
    pub(crate) vlan: VlanId,
    pub(crate) tag: &'a Tag,
}

/// The switch behind one database.
#[derive(Debug)]
pub(crate) struct Switch<'a> {
    pub(crate) client: &'a mut Client,
    pub(crate) host: &'a HostName,
    pub(crate) deadline: Deadline,
}

fn select(table: &str, conditions: Value, columns: &[&str]) -> Value {
    json!({ "op": "select", "table": table, "where": conditions, "columns": columns })
}

/// Fails the transaction unless the row called `name` carries all these tags.
fn must_carry(table: &str, name: &str, tags: &Value) -> Value {
    json!({
        "op": "wait", "timeout": 0, "table": table, "columns": ["name"], "until": "==",
        "where": [["name", "==", name], ["external_ids", "includes", tags]],
        "rows": [{ "name": name }],
    })
}

/// Tells ovs-vswitchd that there is something to apply, and gives its number.
fn bump() -> [Value; 2] {
    [
        json!({
            "op": "mutate", "table": "Open_vSwitch", "where": [],
            "mutations": [["next_cfg", "+=", 1]],
        }),
        select("Open_vSwitch", json!([]), &["next_cfg"]),
    ]
}

fn port_tags(tag: &Tag) -> Value {
    let lease = tag.lease();
    row::map([(HOST, tag.host.as_str()), (OWNER, tag.owner.as_str()), (LEASE, &lease)])
}

fn rows(result: Option<&Value>) -> &[Value] {
    result.and_then(|result| result["rows"].as_array()).map_or(&[], Vec::as_slice)
}

impl Switch<'_> {
    /// The bridge called `bridge`, and the ports that belong to `owner` or are called
    /// `name`; all ports of this host if no owner is given.
    pub(crate) fn ports(
        &mut self,
        bridge: &str,
        owner: Option<(&Owner, &str)>,
    ) -> Result<SwitchState, OvsdbError> {
        let tags = match owner {
            Some((owner, _)) => row::map([(HOST, self.host.as_str()), (OWNER, owner.as_str())]),
            None => row::map([(HOST, self.host.as_str())]),
        };
        let ours = json!([["external_ids", "includes", tags]]);
        let port_columns = ["_uuid", "name", "tag", "vlan_mode", "trunks", "external_ids"];
        let interface_columns = ["name", "error", "ofport"];
        let mut operations = vec![
            select("Open_vSwitch", json!([]), &["next_cfg", "cur_cfg"]),
            select("Bridge", json!([]), &["name", "external_ids", "datapath_type", "ports"]),
            select("Port", ours.clone(), &port_columns),
            select("Interface", ours, &interface_columns),
        ];
        if let Some((_, name)) = owner {
            let named = json!([["name", "==", name]]);
            operations.push(select("Port", named.clone(), &port_columns));
            operations.push(select("Interface", named, &interface_columns));
        }
        let results = self.client.transact("read the ports", operations, self.deadline)?;
        let config = rows(results.first()).first().cloned().unwrap_or_default();
        let bridges = rows(results.get(1));
        let at = bridge_by_port(bridges);
        let interfaces: BTreeMap<_, _> = rows(results.get(3))
            .iter()
            .chain(rows(results.get(5)))
            .map(|interface| (row::text(interface, "name"), interface))
            .collect();
        let ports: BTreeMap<_, _> = rows(results.get(2))
            .iter()
            .chain(rows(results.get(4)))
            .filter_map(|port| port_row(port, &at, &interfaces))
            // The uplink carries this host's tag and no owner's.
            .filter(|port| port.tag.is_some() || owner.is_some_and(|(_, name)| port.name == name))
            .map(|port| (port.uuid.clone(), port))
            .collect();
        Ok(SwitchState {
            bridge: bridges.iter().find(|row| row["name"] == bridge).map(bridge_row),
            ports: ports.into_values().collect(),
            behind: config["cur_cfg"].as_i64() < config["next_cfg"].as_i64(),
        })
    }

    /// The bridge, and the uplink's port wherever it is.
    pub(crate) fn bridge(
        &mut self,
        bridge: &str,
        uplink: Option<&str>,
    ) -> Result<(Option<BridgeRow>, Option<UplinkRow>), OvsdbError> {
        let named = json!([["name", "==", uplink.unwrap_or_default()]]);
        let operations = vec![
            select("Bridge", json!([]), &["name", "external_ids", "datapath_type", "ports"]),
            select("Port", named.clone(), &["_uuid", "trunks", "external_ids"]),
            select("Interface", named, &["ofport"]),
        ];
        let results = self.client.transact("read the bridge", operations, self.deadline)?;
        let bridges = rows(results.first());
        let at = bridge_by_port(bridges);
        let uplink = rows(results.get(1)).first().and_then(|port| {
            let uuid = row::uuid(port)?;
            let tags = row::strings(port, "external_ids");
            Some(UplinkRow {
                bridge: at.get(&uuid).cloned().unwrap_or_default(),
                ours: tags.get(HOST).is_some_and(|host| host == self.host.as_str()),
                trunks: trunks(port),
                number: rows(results.get(2)).first().and_then(port_number),
                uuid,
            })
        });
        Ok((bridges.iter().find(|row| row["name"] == bridge).map(bridge_row), uplink))
    }

    /// Creates a bridge with its local port, tagged as ours. `standalone`: it forwards
    /// by learning, without a controller.
    pub(crate) fn create_bridge(&mut self, name: &str, userspace: bool) -> Result<i64, OvsdbError> {
        let tags = row::map([(HOST, self.host.as_str())]);
        let datapath = if userspace { "netdev" } else { "system" };
        let operations = vec![
            json!({ "op": "insert", "table": "Interface", "uuid-name": "local_interface",
                    "row": { "name": name, "type": "internal" } }),
            json!({ "op": "insert", "table": "Port", "uuid-name": "local_port",
                    "row": { "name": name, "interfaces": ["named-uuid", "local_interface"] } }),
            json!({ "op": "insert", "table": "Bridge", "uuid-name": "bridge",
                    "row": { "name": name, "ports": ["named-uuid", "local_port"],
                             "datapath_type": datapath, "fail_mode": "standalone",
                             "external_ids": tags } }),
            json!({ "op": "mutate", "table": "Open_vSwitch", "where": [],
                    "mutations": [["bridges", "insert", ["set", [["named-uuid", "bridge"]]]]] }),
        ];
        self.commit(&format!("create bridge {name}"), operations)
    }

    /// Adds an access port for a link that exists.
    pub(crate) fn add_port(&mut self, new: NewPort<'_>) -> Result<i64, OvsdbError> {
        let tags = port_tags(new.tag);
        let port = json!({
            "name": new.name, "interfaces": ["named-uuid", "interface"],
            "tag": new.vlan.get(), "vlan_mode": "access", "external_ids": tags,
        });
        let operation = format!("add port {} to bridge {}", new.name, new.bridge);
        self.insert_port(&operation, new.bridge, port)
    }

    /// Adds the uplink as a trunk.
    pub(crate) fn add_uplink(
        &mut self,
        bridge: &str,
        interface: &str,
        trunks: &[VlanId],
    ) -> Result<i64, OvsdbError> {
        let port = json!({
            "name": interface, "interfaces": ["named-uuid", "interface"],
            "vlan_mode": "trunk", "trunks": set(trunks),
            "external_ids": row::map([(HOST, self.host.as_str())]),
        });
        let operation = format!("add uplink {interface} to bridge {bridge}");
        self.insert_port(&operation, bridge, port)
    }

    fn insert_port(
        &mut self,
        operation: &str,
        bridge: &str,
        port: Value,
    ) -> Result<i64, OvsdbError> {
        let interface = json!({ "name": port["name"], "external_ids": port["external_ids"] });
        let operations = vec![
            must_carry("Bridge", bridge, &row::map([(HOST, self.host.as_str())])),
            json!({ "op": "insert", "table": "Interface", "uuid-name": "interface",
                    "row": interface }),
            json!({ "op": "insert", "table": "Port", "uuid-name": "port", "row": port }),
            json!({ "op": "mutate", "table": "Bridge", "where": [["name", "==", bridge]],
                    "mutations": [["ports", "insert", ["set", [["named-uuid", "port"]]]]] }),
        ];
        self.commit(operation, operations)
    }

    /// Makes a port of ours an access port of another VLAN.
    pub(crate) fn set_vlan(
        &mut self,
        port: &str,
        tag: &Tag,
        vlan: VlanId,
    ) -> Result<i64, OvsdbError> {
        let change = json!({ "tag": vlan.get(), "vlan_mode": "access", "trunks": ["set", []] });
        let operations = vec![
            must_carry("Port", port, &port_tags(tag)),
            json!({ "op": "update", "table": "Port", "where": [["name", "==", port]],
                    "row": change }),
        ];
        self.commit(&format!("set the VLAN of port {port} to {vlan}"), operations)
    }

    /// Changes what an uplink of ours carries.
    pub(crate) fn set_trunks(&mut self, port: &str, vlans: &[VlanId]) -> Result<i64, OvsdbError> {
        let operations = vec![
            must_carry("Port", port, &row::map([(HOST, self.host.as_str())])),
            json!({ "op": "update", "table": "Port", "where": [["name", "==", port]],
                    "row": { "trunks": set(vlans), "vlan_mode": "trunk", "tag": ["set", []] } }),
        ];
        self.commit(&format!("set the VLANs of uplink {port}"), operations)
    }

    /// Removes a port of ours from its bridge; rows that nothing refers to vanish.
    pub(crate) fn remove_port(&mut self, port: &PortRow, tag: &Tag) -> Result<i64, OvsdbError> {
        let uuid = json!(["uuid", port.uuid]);
        let operations = vec![
            must_carry("Port", &port.name, &port_tags(tag)),
            json!({ "op": "mutate", "table": "Bridge", "where": [["ports", "includes", uuid]],
                    "mutations": [["ports", "delete", ["set", [uuid]]]] }),
        ];
        self.commit(&format!("remove port {}", port.name), operations)
    }

    /// The switch's version and how far ovs-vswitchd has come.
    pub(crate) fn facts(&mut self) -> Result<Facts, OvsdbError> {
        let columns = ["ovs_version", "cur_cfg"];
        let operations = vec![select("Open_vSwitch", json!([]), &columns)];
        let results = self.client.transact("read the switch", operations, self.deadline)?;
        let row = rows(results.first()).first().cloned().unwrap_or_default();
        let version = row::text(&row, "ovs_version");
        Ok(Facts { version, applied: row["cur_cfg"].as_i64().unwrap_or(0) })
    }

    /// Asks ovs-vswitchd to look again; the number that tells that it has.
    pub(crate) fn poke(&mut self) -> Result<i64, OvsdbError> {
        self.commit("have the configuration applied", Vec::new())
    }

    /// Waits until ovs-vswitchd has applied everything up to this number.
    pub(crate) fn wait_applied(&mut self, wanted: i64) -> Result<(), OvsdbError> {
        let mut applied = 0;
        let done = |value: &Value| {
            applied = value.as_i64().unwrap_or(applied);
            applied >= wanted
        };
        let column = ("Open_vSwitch", "cur_cfg");
        let result = self.client.watch("wait for ovs-vswitchd", column, self.deadline, done);
        match result {
            Err(OvsdbError::Late { allowed, .. }) => {
                Err(OvsdbError::NotApplied { wanted, applied, allowed })
            }
            other => other,
        }
    }

    fn commit(&mut self, operation: &str, mut operations: Vec<Value>) -> Result<i64, OvsdbError> {
        operations.extend(bump());
        let results = self.client.transact(operation, operations, self.deadline)?;
        rows(results.last()).first().and_then(|row| row["next_cfg"].as_i64()).ok_or_else(|| {
            OvsdbError::Protocol {
                operation: operation.to_owned(),
                what: "the configuration's number is missing".to_owned(),
            }
        })
    }
}

fn set(vlans: &[VlanId]) -> Value {
    let vlans: Vec<_> = vlans.iter().map(|vlan| vlan.get()).collect();
    json!(["set", vlans])
}
