//! What is asked for and can't be given: each is refused in words to act on, and who is
//! there already does not notice. Judged by `ip`, `ovs-vsctl` and `ping`.

mod support;

use std::fs;

use berth_netplug::AttachRequest;
use berth_netplug::{Attachment, Config, Netplug, pool::PoolSet};
use support::{BRIDGE, Census, Host, goal, owner, pings, request, run, run_in, wait};

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|cause| format!(": {}", chain(cause)));
    format!("{error}{}", cause.unwrap_or_default())
}

/// Two instances that must not notice anything.
struct Others {
    host: Host,
    plug: Netplug,
    made: [Attachment; 2],
}

impl Others {
    fn start() -> Self {
        let host = Host::start();
        let (plug, pools) = (host.plug(), host.pools());
        let attach = |name| plug.attach(&pools, &request(name, "ten")).expect("an attach");
        let made = [attach("one"), attach("two")];
        Self { host, plug, made }
    }

    /// The pools with another file beside the usual one.
    fn pools_with(&self, text: &str) -> PoolSet {
        let dir = self.host.dir().join("pools.d");
        fs::write(dir.join("20.json"), text).expect("a pool file");
        PoolSet::load(&dir).expect("the pools")
    }

    /// The refusal of `wish`, with all these parts; nothing is there of it.
    fn refuses(&self, pools: &PoolSet, wish: &AttachRequest, parts: &[&str]) {
        let error = self.plug.attach(pools, wish).expect_err("a refusal");
        let text = chain(&error);
        assert!(parts.iter().all(|part| text.contains(part)), "{parts:?}: {text}");
        self.are_as_before(pools);
    }

    fn are_as_before(&self, pools: &PoolSet) {
        let [one, two] = &self.made;
        assert_eq!(self.host.census(), Census::of(&[one, two]));
        for name in ["one", "two"] {
            let again = self.plug.attach(pools, &request(name, "ten")).expect("an attach");
            assert_eq!(again.done, Vec::<String>::new(), "{name}");
        }
        assert!(pings(&one.namespace, two.address));
    }
}

#[test]
fn pools_that_can_t_be_are_refused_by_themselves() {
    let others = Others::start();
    let overlapping = r#"{"wide": {"vlan": 10, "subnet": "10.20.0.0/16"}}"#;
    let pools = others.pools_with(overlapping);
    let refused = pools.refused().first().expect("a refusal").to_string();
    let told = "20.json:1:10: pool wide: subnet: found 10.20.0.0/16 in VLAN 10, expected a subnet \
                apart from 10.20.0.0/24 of pool ten";
    assert!(refused.contains(told), "{refused}");
    others.refuses(&pools, &request("db1", "wide"), &["db1 asks for pool wide", "was refused"]);

    let pools = others.pools_with(r#"{"high": {"vlan": 4095, "subnet": "10.77.0.0/24"}}"#);
    let refused = pools.refused().first().expect("a refusal").to_string();
    assert!(refused.contains("vlan: found 4095, expected a VLAN id from 1 to 4094"), "{refused}");
    others.refuses(&pools, &request("db1", "high"), &["db1 asks for pool high", "was refused"]);
}

#[test]
fn addresses_that_the_pool_does_not_give_are_refused() {
    let others = Others::start();
    let pools = others.host.pools();
    let at = |address: &str| AttachRequest {
        address: Some(address.parse().expect("an address")),
        ..request("db1", "ten")
    };
    for outside in ["10.99.0.1", "10.20.0.255", "fd00:20::9"] {
        let parts = [outside, "is outside the ranges of pool ten, reserved or its gateway"];
        others.refuses(&pools, &at(outside), &parts);
    }
    others.refuses(&pools, &at("10.20.0.1"), &["its gateway"]);
    let taken = others.made[0].address.to_string();
    others.refuses(&pools, &at(&taken), &[&taken, "of pool ten is taken"]);
}

#[test]
fn a_host_without_open_vswitch_is_told_what_to_install() {
    let others = Others::start();
    let dir = others.host.dir().join("bare");
    let config = Config {
        state_dir: dir.join("state"),
        run_dir: dir.join("run"),
        ovsdb_socket: dir.join("db.sock"),
        ..others.host.config()
    };
    let bare = Netplug::open(config).expect("the crate's directories");
    let pools = others.host.pools();
    let error = bare.attach(&pools, &request("db1", "ten")).expect_err("no Open vSwitch");
    let text = chain(&error);
    assert!(text.contains("can't connect to Open vSwitch's database at"), "{text}");
    bare.ensure_bridge().expect_err("no Open vSwitch");
    let facts = bare.preflight().expect("the facts");
    let why = facts.vlan_mode.expect_err("no Open vSwitch");
    assert!(why.contains("install and start it (Debian: openvswitch-switch)"), "{why}");
    assert_eq!(bare.leases().expect("the leases"), [], "nothing was begun");
    others.are_as_before(&pools);
}

#[test]
fn a_port_taken_by_hand_is_mended_or_left_and_named() {
    let others = Others::start();
    let (host, plug, pools) = (&others.host, &others.plug, others.host.pools());
    let wish = request("db1", "ten");
    let made = plug.attach(&pools, &wish).expect("an attach");
    let [one, _] = &others.made;
    // Deleted: added again.
    host.vsctl(&["del-port", BRIDGE, &made.link]);
    wait("the port to be gone", || !pings(&made.namespace, one.address));
    plug.reconcile(&pools, &goal(std::slice::from_ref(&wish), &[])).expect("a pass");
    assert!(pings(&made.namespace, one.address));

    // Put on another bridge by somebody, without our tags: theirs now, and said so.
    host.vsctl(&["add-br", "btother", "--", "set", "bridge", "btother", "datapath_type=netdev"]);
    host.vsctl(&["del-port", BRIDGE, &made.link, "--", "add-port", "btother", &made.link]);
    let text = chain(&plug.attach(&pools, &wish).expect_err("it is another's"));
    assert!(text.contains(&format!("port {} is there and is not ours", made.link)), "{text}");
    let found = plug.check(&pools).expect("the leases");
    assert!(found.iter().any(|f| f.found.contains("is there and is not ours")), "{found:?}");
    assert_eq!(host.vsctl(&["list-ports", "btother"]).trim(), made.link, "it stays theirs");
    host.vsctl(&["del-port", "btother", &made.link]);
    plug.attach(&pools, &wish).expect("it is free again");
    assert!(pings(&made.namespace, one.address));

    // Moved to another VLAN: moved back.
    host.vsctl(&["set", "port", &made.link, "tag=20"]);
    plug.attach(&pools, &wish).expect("a repair");
    assert_eq!(host.vsctl(&["get", "port", &made.link, "tag"]).trim(), "10");
    plug.detach(&owner("db1")).expect("a detach");
    others.are_as_before(&pools);
}

#[test]
fn six_announces_itself_and_moves_as_four_does() {
    let others = Others::start();
    let (plug, pools) = (&others.plug, others.host.pools());
    let made = plug.attach(&pools, &request("db1", "six")).expect("an attach");
    let peer = plug.attach(&pools, &request("db2", "six")).expect("an attach");
    // A neighbour that believes in another hardware address is put right by the news.
    let (address, wrong) = (made.address.to_string(), "02:00:00:00:00:77");
    let believes =
        ["ip", "neigh", "replace", &address, "lladdr", wrong, "dev", "eth0", "nud", "stale"];
    run_in(&peer.namespace, &believes);
    run("ip", &["link", "del", &made.link]);
    plug.attach(&pools, &request("db1", "six")).expect("a repair, with an announcement");
    wait("the neighbour to learn", || {
        let seen = run_in(&peer.namespace, &["ip", "neigh", "show", &address]);
        seen.contains(&made.mac.to_string())
    });
    let mut wish = request("db1", "six");
    wish.address = "fd00:20::77".parse().ok();
    let moved = plug.attach(&pools, &wish).expect("another address");
    assert_eq!(Some(moved.address), wish.address);
    let inner =
        run_in(&moved.namespace, &["ip", "-6", "addr", "show", "dev", "eth0", "scope", "global"]);
    assert!(inner.contains("fd00:20::77/64") && inner.matches("inet6").count() == 1, "{inner}");
    assert!(pings(&peer.namespace, moved.address));
    for name in ["db1", "db2"] {
        plug.detach(&owner(name)).expect("a detach");
    }
    others.are_as_before(&pools);
}
