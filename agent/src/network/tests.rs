//! From goals to what `netplug` is asked.

use serde_json::json;

use super::*;
use crate::testing::{
    config,
    entries::{Entry, goals, master},
    key,
};

fn of(entry: Entry) -> Option<AttachRequest> {
    let goals = goals(&config(), &[entry]);
    request(&key("db1"), &goals.own[&key("db1")].placed.entry).unwrap()
}

#[test]
fn an_entry_in_host_mode_asks_for_nothing() {
    assert_eq!(of(master("db1", 7001)), None);
}

#[test]
fn an_entry_in_vlan_mode_asks_with_its_key_as_owner() {
    let network = json!({ "mode": "vlan", "pool": "orders", "ip": "10.20.0.9",
        "rate": { "in": "1.5Gbit/s" } });
    let asked = of(master("db1", 7001).with("network", network)).unwrap();
    assert_eq!((asked.owner.as_str(), asked.pool.as_str()), ("h1-db1", "orders"));
    assert_eq!(asked.address, "10.20.0.9".parse().ok());
    assert_eq!(asked.rates.inbound.map(BitRate::bits_per_second), Some(1_500_000_000));
    assert_eq!(asked.rates.outbound, None);
}

#[test]
fn the_longest_key_in_vlan_mode_is_an_owner() {
    let longest = "k".repeat(berth_model::goal::VLAN_KEY_BYTES_MAX);
    owner(&longest.parse().unwrap()).unwrap();
    owner(&format!("{longest}k").parse().unwrap()).unwrap_err();
}

#[test]
fn a_host_that_never_had_a_network_makes_no_directory_for_one() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { state_dir: dir.path().to_owned(), ..config() };
    let networks = Networks::new(&config);
    assert_eq!(networks.address_of(&key("db1")).unwrap(), None);
    assert!(networks.namespace_of(&key("db1")).unwrap().is_none());
    assert!(!networks.any());
}
