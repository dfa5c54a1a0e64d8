//! Where a source is, by the goals alone.

use serde_json::{Value, json};

use super::*;
use crate::testing::{
    config,
    entries::{Entry, goals, master, minion},
    key,
};

fn vlan(ip: Option<&str>) -> Value {
    json!({ "mode": "vlan", "pool": "orders", "ip": ip })
}

/// The address of the source of `db2`, whose master is `db1` of port 7001.
fn found(config: &Config, entries: &[Entry]) -> Result<String, String> {
    let goals = goals(config, entries);
    let placed = &goals.own[&key("db2")].placed;
    let name = placed.entry.source.as_ref().unwrap();
    address(config, &goals, placed, name).map(|address| SocketAddr::from(address).to_string())
}

#[test]
fn a_source_in_vlan_mode_is_at_its_own_address() {
    let named = vlan(Some("10.20.0.9"));
    let db1 = master("db1", 7001).with("network", named.clone()).with("name", "orders-db1");
    let other = db1.clone().on("h2");
    for (source, at) in [("h1", &db1), ("h1-db1", &db1), ("h2-db1", &other), ("h2", &other)] {
        let db2 = minion("db2", 7002, 7001).with("master_host", source);
        let entries = [at.clone(), db2.with("network", vlan(None))];
        assert_eq!(found(&config(), &entries).unwrap(), "10.20.0.9:7001", "{source}");
    }
    let by_name = minion("db2", 7002, 7001).with("master_host", "orders-db1");
    assert_eq!(found(&config(), &[other, by_name]).unwrap(), "10.20.0.9:7001");
}

#[test]
fn a_source_without_a_known_address_says_what_to_do() {
    let unnamed = master("db1", 7001).with("network", vlan(None));
    let db2 = minion("db2", 7002, 7001).with("network", vlan(None));
    let here = found(&config(), &[unnamed.clone(), db2.clone()]);
    assert!(here.unwrap_err().contains("h1-db1 has no address yet"));
    let there = db2.clone().with("master_host", "h2");
    let there = found(&config(), &[unnamed.on("h2"), there]).unwrap_err();
    assert!(there.contains("h2-db1") && there.contains("add `ip`"), "{there}");
}

#[test]
fn from_a_network_of_its_own_this_host_is_not_at_loopback() {
    let entries = [master("db1", 7001), minion("db2", 7002, 7001).with("network", vlan(None))];
    let blocked = found(&config(), &entries).unwrap_err();
    assert!(blocked.contains("`bind_address`") && blocked.contains("`hosts`"), "{blocked}");
    let mut listed = config();
    listed.hosts.insert("h1".to_owned(), "10.0.0.11".to_owned());
    assert_eq!(found(&listed, &entries).unwrap(), "10.0.0.11:7001");
    let bound = Config { bind_address: "10.0.0.12".parse().unwrap(), ..config() };
    assert_eq!(found(&bound, &entries).unwrap(), "10.0.0.12:7001");
    let on_host = [master("db1", 7001), minion("db2", 7002, 7001)];
    assert_eq!(found(&config(), &on_host).unwrap(), "127.0.0.1:7001");
}
