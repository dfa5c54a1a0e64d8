//! Instances with addresses of their own, on the kernel's Open vSwitch datapath.

use std::time::Duration;

use berth_integration::vm::image;
use serde_json::{Value, json};

use crate::host::{CONVERGE, Host, Packages, key, master, minion};

const MASTER: &str = "orders-db1";
const MINION: &str = "orders-db2";
const OTHER: &str = "stock-db1";
const PORT: u16 = 3306;

const POOLS: &str = r#"{
  "orders": { "vlan": 10, "subnet": "10.77.10.0/24", "ranges": ["10.77.10.10-10.77.10.50"] },
  "stock": { "vlan": 20, "subnet": "10.77.20.0/24", "ranges": ["10.77.20.10-10.77.20.50"] }
}"#;

/// A client in VLAN 10, made anew after each boot: all it is made of goes with one.
const CLIENT: &str = "\
     ip netns add client && ip link add client type veth peer name eth0 netns client && \
     ip link set client up && ip -n client link set lo up && ip -n client link set eth0 up && \
     ip -n client addr add 10.77.10.200/24 dev eth0 && \
     ovs-vsctl --may-exist add-port br-berth client tag=10";

/// What is asked for.
const RATES: [&str; 3] = ["10Mbit", "100Mbit", "1Gbit"];

/// See the module.
pub(crate) fn addresses_of_their_own_on_the_kernel_datapath(packages: &Packages) {
    let mut host = Host::new(packages);
    host.vm.sh("systemctl enable --now openvswitch-switch");
    host.vm.write("/etc/berth/pools.d/pools.json", POOLS);
    goal(&mut host, &json!({}));
    let status = host.await_converged("three servers in two VLANs", 3);
    let addresses: Vec<String> = [MASTER, MINION, OTHER].map(|name| address(&status, name)).into();
    the_kernel_moves_the_packets(&mut host);
    host.vm.sh(CLIENT);
    vlans_are_apart(&mut host, &addresses);
    host.sql(MASTER, "CREATE USER app@'10.77.10.%' IDENTIFIED BY 'secret'");
    host.sql(MASTER, "GRANT ALL ON shop.* TO app@'10.77.10.%'");
    connections_outlive_all_that_is_not_the_kernel(&mut host, &addresses[0]);
    rates(&mut host);

    let took = host.vm.reboot();
    eprintln!("rebooted in {} s", took.as_secs());
    let status = host.await_converged("after a reboot", 3);
    let after: Vec<String> = [MASTER, MINION, OTHER].map(|name| address(&status, name)).into();
    assert_eq!(after, addresses, "the same addresses after a reboot");
    host.vm.sh(CLIENT);
    vlans_are_apart(&mut host, &addresses);
}

fn goal(host: &mut Host, rate: &Value) {
    let inside = |mut entry: Value, pool: &str, rate: &Value| {
        entry["network"] = json!({ "mode": "vlan", "pool": pool, "rate": rate });
        entry
    };
    let mut second = minion(MINION, PORT, PORT);
    second["master_host"] = json!(key(MASTER));
    host.goal(&[
        (MASTER, inside(master(MASTER, PORT), "orders", &json!({}))),
        (MINION, inside(second, "orders", rate)),
        (OTHER, inside(master(OTHER, PORT), "stock", &json!({}))),
    ]);
}

fn address(status: &berth_model::status::StatusDocument, name: &str) -> String {
    let (_, found) = status
        .instances
        .iter()
        .find(|(at, _)| at.as_str() == key(name))
        .unwrap_or_else(|| panic!("no {name} on {}", image::HOST));
    let ip = found.network.as_ref().and_then(|network| network.ip);
    ip.unwrap_or_else(|| panic!("{name} has no address: {found:?}")).to_string()
}

fn the_kernel_moves_the_packets(host: &mut Host) {
    let kind = host.vm.sh("ovs-vsctl get Bridge br-berth datapath_type");
    assert!(matches!(kind.as_str(), "system" | "\"\""), "{kind}");
    let ports = host.vm.sh("ovs-appctl dpctl/show");
    assert!(ports.contains("system@ovs-system"), "{ports}");
    let said = host.vm.run("berth preflight").stdout;
    assert!(!said.contains("ovs-vswitchd itself moves the packets"), "{said}");
    eprintln!("{ports}");
}

/// Judged by a client in one of the VLANs.
fn vlans_are_apart(host: &mut Host, addresses: &[String]) {
    for (address, reached) in addresses.iter().zip([true, true, false]) {
        let ping = format!("ip netns exec client ping -q -c 3 -i 0.2 -W 1 {address}");
        assert_eq!(host.vm.run(&ping).code == 0, reached, "ping {address}");
    }
    // Not only by want of a route: a neighbour is looked for in the client's own VLAN.
    let other = &addresses[2];
    host.vm.sh("ip -n client addr replace 10.77.20.200/24 dev eth0");
    let ping = format!("ip netns exec client ping -q -c 3 -i 0.2 -W 1 {other}");
    assert_ne!(host.vm.run(&ping).code, 0, "{other} answers in another VLAN");
    host.vm.sh("ip -n client addr del 10.77.20.200/24 dev eth0");
}

/// A client commits over TCP while the agent and the switch's daemon stand still, and while
/// they are not there at all.
fn connections_outlive_all_that_is_not_the_kernel(host: &mut Host, address: &str) {
    let client = format!(
        "ip netns exec client mariadb --no-defaults --ssl -N -B -h{address} -P{PORT} -uapp -psecret"
    );
    host.start_writer_through(MASTER, &client);
    let pause = Duration::from_secs(10);
    for (what, script, undo) in [
        (
            "with the agent and ovs-vswitchd standing still",
            "systemctl kill --signal=STOP berth-agent ovs-vswitchd",
            "systemctl kill --signal=CONT berth-agent ovs-vswitchd",
        ),
        (
            "with the agent and ovs-vswitchd ended",
            "systemctl stop berth-agent ovs-vswitchd",
            "systemctl start ovs-vswitchd && systemctl start berth-agent",
        ),
    ] {
        host.vm.sh(script);
        let before = host.acknowledged();
        std::thread::sleep(pause);
        host.await_commits(2);
        eprintln!("{what}: {} commits in {pause:?}", host.acknowledged() - before);
        host.vm.sh(undo);
        host.await_converged(what, 3);
    }
    let last = host.end_writer();
    host.assert_rows(MASTER, last);
}

/// Sets each rate by the goal while the server runs, and measures it from inside.
fn rates(host: &mut Host) {
    let servers = host.servers();
    host.vm.sh("ip netns exec client iperf3 --server --daemon");
    eprintln!("no limit: {} Mbit/s from the instance", iperf(host));
    for rate in RATES {
        goal(host, &json!({ "in": rate, "out": rate }));
        let found = format!(
            "berth status --json | jq -e '.instances[\"{}\"].network.rate_set.out == \"{rate}/s\"'",
            key(MINION)
        );
        host.vm.await_sh("the rate in the kernel", CONVERGE, &found);
        eprintln!("{rate}/s asked: {} Mbit/s from the instance", iperf(host));
    }
    assert_eq!(host.servers(), servers, "rates change without a restart");
}

/// Mbit/s from the minion to the client.
fn iperf(host: &mut Host) -> f64 {
    let namespace = format!("/run/berth/net/netns/{}", key(MINION));
    let text = host.vm.sh(&format!(
        "nsenter --net={namespace} iperf3 --client 10.77.10.200 --time 6 --omit 1 --json"
    ));
    let found: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let bits = found["end"]["sum_received"]["bits_per_second"].as_f64();
    (bits.unwrap_or_else(|| panic!("{text}")) / 1e5).round() / 10.0
}
