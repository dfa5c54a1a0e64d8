//! Attach, detach and reconcile on real Open vSwitch, judged by `ip`, `tc`,
//! `ovs-vsctl`, `ping` and TCP.

mod support;

use std::net::IpAddr;

use berth_netplug::{BridgeConfig, Config, HostName, Netplug, Outcome, Uplink, VlanId};
use support::{BRIDGE, Census, Host, goal, owner, pings, request, run, run_in, talks, wait};

#[test]
fn an_instance_gets_all_it_needs_and_leaves_nothing() {
    let host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let made = plug.attach(&pools, &request("db1", "ten")).expect("an attach");
    assert_eq!(made.address.to_string(), "10.20.0.2");
    assert_eq!(host.census(), Census::of(&[&made]));

    let inner = run_in(&made.namespace, &["ip", "-d", "addr", "show", "eth0"]);
    assert!(inner.contains("inet 10.20.0.2/24 brd 10.20.0.255 scope global eth0"), "{inner}");
    assert!(inner.contains("02:be:0a:14:00:02") && inner.contains("state UP"), "{inner}");
    assert!(!inner.contains("inet6"), "{inner}");
    let route = run_in(&made.namespace, &["ip", "route"]);
    assert!(route.contains("default via 10.20.0.1 dev eth0"), "{route}");
    let lo = run_in(&made.namespace, &["ip", "link", "show", "lo"]);
    assert!(lo.contains("LOOPBACK,UP"), "{lo}");
    let offload = run_in(&made.namespace, &["ethtool", "-k", "eth0"]);
    assert!(offload.contains("tx-checksumming: off"), "{offload}");
    let alias = run("ip", &["link", "show", &made.link]);
    assert!(alias.contains("alias berth bthost db1 10.20.0.2/"), "{alias}");

    let port = host.vsctl(&["--columns=tag,vlan_mode,external_ids", "list", "port", &made.link]);
    for part in ["tag                 : 10", "access", "berth-owner=db1", "berth-host=bthost"] {
        assert!(port.contains(part), "{part}: {port}");
    }

    let again = plug.attach(&pools, &request("db1", "ten")).expect("a second attach");
    assert_eq!(again.done, Vec::<String>::new());
    plug.detach(&owner("db1")).expect("a detach");
    assert_eq!(host.census(), Census::default());
    assert_eq!(plug.detach(&owner("db1")).expect("a second detach"), Vec::<String>::new());
}

#[test]
fn vlans_keep_instances_apart() {
    let host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let attach = |owner, pool| plug.attach(&pools, &request(owner, pool)).expect("an attach");
    let (one, two) = (attach("db1", "ten"), attach("db2", "ten"));
    let other = attach("db3", "twenty");
    // An address of the others' network, so that only the VLAN is between them.
    run_in(&other.namespace, &["ip", "addr", "add", "10.20.0.200/24", "dev", "eth0"]);
    let outsider: IpAddr = "10.20.0.200".parse().expect("an address");

    assert!(pings(&one.namespace, two.address), "within a VLAN");
    assert!(talks(&one.namespace, &two.namespace, two.address), "within a VLAN");
    assert!(!pings(&one.namespace, outsider), "across VLANs");
    assert!(!pings(&other.namespace, one.address), "across VLANs");
    assert!(!talks(&one.namespace, &other.namespace, outsider), "across VLANs");
    assert!(!talks(&other.namespace, &one.namespace, one.address), "across VLANs");
}

#[test]
fn six_works_as_four_does() {
    let host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let attach = |owner| plug.attach(&pools, &request(owner, "six")).expect("an attach");
    let (one, two) = (attach("db1"), attach("db2"));
    assert_eq!(one.address.to_string(), "fd00:20::2", "the gateway is left out");
    assert_eq!(host.census(), Census::of(&[&two, &one]));
    let inner = run_in(&one.namespace, &["ip", "-6", "addr", "show", "dev", "eth0"]);
    assert!(inner.contains("inet6 fd00:20::2/64 scope global"), "{inner}");
    assert!(!inner.contains("tentative") && !inner.contains("dadfailed"), "{inner}");
    let route = run_in(&one.namespace, &["ip", "-6", "route"]);
    assert!(route.contains("default via fd00:20::1 dev eth0"), "{route}");
    assert!(pings(&one.namespace, two.address));
    assert!(talks(&one.namespace, &two.namespace, two.address));
    let again = plug.attach(&pools, &request("db1", "six")).expect("a second attach");
    assert_eq!(again.done, Vec::<String>::new());
    plug.detach(&owner("db1")).expect("a detach");
    assert_eq!(host.census(), Census::of(&[&two]));
}

#[test]
fn limits_change_while_it_runs() {
    let host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let mut wish = request("db1", "ten");
    let made = plug.attach(&pools, &wish).expect("an attach");
    let limits = || {
        let outer = run("tc", &["qdisc", "show", "dev", &made.link]);
        let inner = run_in(&made.namespace, &["tc", "qdisc", "show", "dev", "eth0"]);
        (outer, inner)
    };
    let (outer, inner) = limits();
    assert!(outer.contains("tbf") && outer.contains("rate 400Mbit"), "{outer}");
    assert!(inner.contains("tbf") && inner.contains("rate 200Mbit"), "{inner}");

    wish.rates.inbound = "40Gbit".parse().ok();
    wish.rates.outbound = None;
    let changed = plug.attach(&pools, &wish).expect("new limits");
    assert_eq!(changed.done.len(), 2, "{:?}", changed.done);
    let (outer, inner) = limits();
    assert!(outer.contains("rate 40Gbit"), "{outer}");
    assert!(!inner.contains("tbf"), "{inner}");

    run("tc", &["qdisc", "del", "dev", &made.link, "root"]);
    let repaired = plug.attach(&pools, &wish).expect("a repair");
    assert_eq!(repaired.done.len(), 1, "{:?}", repaired.done);
    assert!(limits().0.contains("rate 40Gbit"));
}

#[test]
fn what_somebody_changed_is_repaired() {
    let host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let wish = request("db1", "ten");
    let made = plug.attach(&pools, &wish).expect("an attach");
    run_in(&made.namespace, &["ip", "addr", "flush", "dev", "eth0"]);
    run_in(&made.namespace, &["ip", "addr", "add", "10.20.0.99/24", "dev", "eth0"]);
    run_in(&made.namespace, &["ip", "link", "set", "eth0", "mtu", "1400"]);
    run_in(&made.namespace, &["ethtool", "-K", "eth0", "tx", "on"]);
    run("ip", &["link", "set", &made.link, "down"]);
    host.vsctl(&["set", "port", &made.link, "tag=20"]);
    let report = plug.reconcile(&pools, &goal(std::slice::from_ref(&wish), &[])).expect("a pass");
    let outcome = &report.owners[&owner("db1")];
    assert!(matches!(outcome, Outcome::Attached(a) if !a.done.is_empty()), "{outcome:?}");
    assert_eq!(host.vsctl(&["get", "port", &made.link, "tag"]).trim(), "10");
    let inner = run_in(&made.namespace, &["ip", "addr", "show", "eth0"]);
    assert!(inner.contains("10.20.0.2/24") && !inner.contains("10.20.0.99"), "{inner}");
    assert!(inner.contains("mtu 1500") && inner.contains("state UP"), "{inner}");
    let report = plug.reconcile(&pools, &goal(&[wish], &[])).expect("a second pass");
    let outcome = &report.owners[&owner("db1")];
    assert!(matches!(outcome, Outcome::Attached(a) if a.done.is_empty()), "{outcome:?}");
}

#[test]
fn another_vlan_or_address_is_taken_over() {
    let host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let mut wish = request("db1", "ten");
    let first = plug.attach(&pools, &wish).expect("an attach");
    let file = host.dir().join("pools.d/10.json");
    std::fs::write(&file, support::POOLS.replace("\"vlan\": 10", "\"vlan\": 11")).expect("pools");
    let pools = host.pools();
    let moved = plug.attach(&pools, &wish).expect("another VLAN");
    assert_eq!((moved.address, moved.link.as_str()), (first.address, first.link.as_str()));
    assert_eq!(host.vsctl(&["get", "port", &first.link, "tag"]).trim(), "11");

    wish.address = "10.20.0.77".parse().ok();
    let moved = plug.attach(&pools, &wish).expect("another address");
    assert_eq!(Some(moved.address), wish.address);
    assert_eq!(host.census(), Census::of(&[&moved]));
}

#[test]
fn two_hosts_meet_over_their_uplinks_by_vlan() {
    let host = Host::start();
    let pools = host.pools();
    run("ip", &["link", "add", "btup0", "type", "veth", "peer", "name", "btup1"]);
    let mut plugs = Vec::new();
    for (number, up) in [(0, "btup0"), (1, "btup1")] {
        run("ip", &["link", "set", up, "up"]);
        let uplink = Uplink {
            interface: up.to_owned(),
            trunks: vec![VlanId::new(10).expect("a VLAN"), VlanId::new(30).expect("a VLAN")],
        };
        let bridge = BridgeConfig {
            name: format!("btbr{number}"),
            uplink: Some(uplink),
            ..host.config().bridge
        };
        let config = Config {
            host: HostName::new(format!("bthost{number}")).expect("a name"),
            state_dir: host.dir().join(format!("state{number}")),
            run_dir: host.dir().join(format!("run{number}")),
            bridge,
            ..host.config()
        };
        let plug = Netplug::open(config).expect("the crate's directories");
        plug.ensure_bridge().expect("a bridge with an uplink");
        assert_eq!(plug.ensure_bridge().expect("the same bridge"), Vec::<String>::new());
        plugs.push(plug);
    }
    let trunks = host.vsctl(&["get", "port", "btup0", "trunks"]);
    assert_eq!(trunks.trim(), "[10, 30]");
    let near = plugs[0].attach(&pools, &request("db1", "ten")).expect("an attach");
    // The same file of pools on both hosts: the address is tried across the uplink, found
    // taken by the other host, and the next one is used.
    let far = plugs[1].attach(&pools, &request("db2", "ten")).expect("an attach");
    assert_eq!(far.address.to_string(), "10.20.0.3");
    assert!(pings(&near.namespace, far.address));
    assert!(talks(&near.namespace, &far.namespace, far.address));
    let a = plugs[0].attach(&pools, &request("db3", "twenty")).expect("an attach");
    let mut b = request("db4", "twenty");
    b.address = "10.30.0.9".parse().ok();
    let b = plugs[1].attach(&pools, &b).expect("an attach");
    assert!(!pings(&a.namespace, b.address), "VLAN 20 is not on the uplink");
    // One host's pass leaves the other's rows alone.
    let report = plugs[1].reconcile(&pools, &goal(&[], &[])).expect("a pass");
    assert_eq!(report.orphans.len(), 2);
    assert_eq!(report.strays.len(), 0, "{report:?}");
    assert!(pings(&far.namespace, near.address));
}

#[test]
fn counters_follow_the_traffic() {
    let host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let attach = |owner| plug.attach(&pools, &request(owner, "ten")).expect("an attach");
    let (one, two) = (attach("db1"), attach("db2"));
    let before = plug.counters().expect("the counters");
    assert!(talks(&one.namespace, &two.namespace, two.address));
    let after = plug.counters().expect("the counters");
    let grown = |name: &str| {
        let (before, after) = (before[&owner(name)], after[&owner(name)]);
        (after.in_bytes - before.in_bytes, after.out_bytes - before.out_bytes)
    };
    for (received, sent) in [grown("db1"), grown("db2")] {
        assert!(received > 1 << 20 && sent > 1 << 20, "{received} {sent}");
    }
}

#[test]
fn preflight_tells_what_is_missing() {
    let mut host = Host::start();
    let plug = host.plug();
    let facts = plug.preflight().expect("the facts");
    assert_eq!((&facts.kernel, &facts.vlan_mode), (&Ok(()), &Ok(())), "{facts:?}");
    assert!(facts.tun && facts.database.is_ok() && facts.daemon.is_ok(), "{facts:?}");
    host.stop_database();
    let facts = plug.preflight().expect("the facts");
    let why = facts.vlan_mode.expect_err("no database");
    assert!(why.contains("openvswitch-switch"), "{why}");
}

#[test]
fn a_new_agent_finds_everything_as_it_is() {
    let mut host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let attach = |owner| plug.attach(&pools, &request(owner, "ten")).expect("an attach");
    let (one, two) = (attach("db1"), attach("db2"));
    drop(plug);
    assert!(talks(&one.namespace, &two.namespace, two.address), "without an agent");
    // The userspace data path rests while the database is away; the kernel's does not.
    host.stop_database();
    host.start_database();
    let plug = Netplug::open(host.config()).expect("the crate's directories");
    let wishes = [request("db1", "ten"), request("db2", "ten")];
    let report = plug.reconcile(&pools, &goal(&wishes, &[])).expect("a pass");
    for outcome in report.owners.values() {
        assert!(matches!(outcome, Outcome::Attached(a) if a.done.is_empty()), "{outcome:?}");
    }
    assert_eq!(host.vsctl(&["br-exists", BRIDGE]), "");
    wait("the traffic", || talks(&one.namespace, &two.namespace, two.address));
}
