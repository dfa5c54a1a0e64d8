//! Instances in vlan mode on one host: real Open vSwitch with the userspace data path, real
//! containers and servers, judged by `ip`, `tc`, `ovs-vsctl`, ping(8) and another vendor's
//! client from a namespace in the VLAN.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod census;
mod client;
mod kills;
mod serve;

use berth_integration::{Bed, Entry, Options};
use serde_json::{Value, json};

/// The pool that most instances are in.
const POOL: &str = "shop";
/// The VLAN of that pool.
const VLAN: u16 = 10;
/// The port of every server: each has all ports of its own address.
const PORT: u16 = 3306;

const POOLS: &str = r#"{
  "shop": { "vlan": 10, "subnet": "10.77.0.0/24", "gateway": "10.77.0.1", "ranges": ["10.77.0.10-10.77.0.99"],
            "rate": { "in": "2Gbit", "out": "2Gbit" } },
  "side": { "vlan": 20, "subnet": "10.88.0.0/24" }
}"#;

/// A host with a switch and pools, whose agent does not run yet.
fn host() -> Bed {
    let bed = Bed::with(&Options { switch: true, ..Options::default() });
    bed.pools("10.json", POOLS);
    bed
}

fn vlan(pool: &str) -> Value {
    json!({ "mode": "vlan", "pool": pool })
}

/// A master and its minions, all on one port, each at an address of its own.
fn cluster(name: &str, count: u16) -> Vec<Entry> {
    let member = |number| format!("{name}-db{number}");
    let master = Entry::master(&member(1), PORT).data("network", vlan(POOL));
    let key = master.key().to_string();
    let minion = |number| {
        let minion = Entry::minion(&member(number), PORT, PORT).data("network", vlan(POOL));
        minion.data("master_host", json!(key))
    };
    std::iter::once(master.clone()).chain((2..=count).map(minion)).collect()
}
