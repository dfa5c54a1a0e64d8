//! What `check` finds, after somebody else's hand was in it. Judged by what was done.

mod support;

use std::fs;

use berth_netplug::{Finding, Netplug};
use support::{BRIDGE, Host, Process, request, run, run_in};

fn found(plug: &Netplug, host: &Host) -> Vec<Finding> {
    plug.check(&host.pools()).expect("the leases")
}

/// The one finding, with a remedy, that has all these parts.
fn only(findings: &[Finding], parts: &[&str]) {
    let [finding] = findings else { panic!("{parts:?}: {findings:?}") };
    let text = format!("{}: {}", finding.subject, finding.found);
    assert!(parts.iter().all(|part| text.contains(part)), "{parts:?}: {text}");
    assert!(!finding.remedy.is_empty(), "{text}");
}

#[test]
fn each_difference_is_named_and_the_next_pass_mends_it() {
    let host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let looking = Netplug::look(host.config());
    assert_eq!(found(&looking, &host), []);
    let made = plug.attach(&pools, &request("db1", "ten")).expect("an attach");
    assert_eq!(found(&looking, &host), []);
    let link = made.link.as_str();
    type Harm<'a> = (&'a dyn Fn(), &'a [&'a str]);
    let harms: [Harm<'_>; 7] = [
        (&|| drop(host.vsctl(&["set", "port", link, "tag=20"])), &["is not in VLAN 10"]),
        (&|| drop(run("ip", &["link", "set", link, "down"])), &[link, "is down"]),
        (&|| drop(host.vsctl(&["del-port", BRIDGE, link])), &["port", link, "is missing"]),
        (
            &|| drop(run_in(&made.namespace, &["ip", "link", "set", "eth0", "mtu", "1400"])),
            &["the container's link", "another MTU than 1500"],
        ),
        (
            &|| drop(run_in(&made.namespace, &["ip", "route", "del", "default"])),
            &["the default route by 10.20.0.1 is missing"],
        ),
        (&|| drop(run_in(&made.namespace, &["ethtool", "-K", "eth0", "tx", "on"])), &["checksums"]),
        (
            &|| {
                let add = ["ip", "addr", "add", "10.20.0.99/24", "dev", "eth0"];
                run_in(&made.namespace, &add);
            },
            &["the container has 10.20.0.99 besides"],
        ),
    ];
    for (harm, parts) in harms {
        harm();
        only(&found(&looking, &host), &[parts, &["db1 (10.20.0.2)"]].concat());
        plug.attach(&pools, &request("db1", "ten")).expect("a repair");
        assert_eq!(found(&looking, &host), [], "{parts:?}");
    }
}

#[test]
fn what_files_and_strays_tell_is_found() {
    let host = Host::start();
    let looking = Netplug::look(host.config());
    assert_eq!(found(&looking, &host), [], "before anything is set up");
    assert!(!host.dir().join("state").exists(), "looking makes nothing");
    let (plug, pools) = (host.plug(), host.pools());
    plug.attach(&pools, &request("db1", "ten")).expect("an attach");
    let pool = host.dir().join("pools.d/10.json");
    fs::write(&pool, support::POOLS.replace("\"ten\"", "\"other\"")).expect("a pool file");
    only(&found(&looking, &host), &["db1 (10.20.0.2)", "pool ten is not there"]);
    fs::write(
        &pool,
        support::POOLS.replace("\"gateway\": \"10.20.0.1\"", "\"ranges\": [\"10.20.0.9\"]"),
    )
    .expect("a pool file");
    only(&found(&looking, &host), &["db1", "no longer offers"]);
    fs::write(&pool, support::POOLS).expect("a pool file");
    fs::write(host.dir().join("pools.d/20.json"), "{\"a\": {\"vlan\": 4095}}")
        .expect("a pool file");
    let refused = plug.check(
        &berth_netplug::pool::PoolSet::load(&host.dir().join("pools.d")).expect("the pools"),
    );
    only(&refused.expect("the leases"), &["20.json:1:", "pool a"]);

    let lease = host.dir().join("state/leases/10.20.0.2.json");
    let text = fs::read(&lease).expect("the lease");
    fs::write(&lease, "{").expect("a damaged lease");
    fs::remove_file(host.dir().join("pools.d/20.json")).expect("the bad pool gone");
    let findings = found(&looking, &host);
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(findings[0].found.contains("is damaged"), "{findings:?}");
    assert!(findings[1].found.contains("it has no lease, but port"), "{findings:?}");
    assert_eq!(looking.damaged_leases().expect("the leases").len(), 1);
    fs::write(&lease, text).expect("the lease");
    assert_eq!(found(&looking, &host), []);
}

#[test]
fn the_switch_s_troubles_are_said_once() {
    let mut host = Host::start();
    host.vsctl(&["add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev"]);
    let looking = Netplug::look(host.config());
    let plug = Netplug::open(host.config()).expect("the crate's directories");
    only(&found(&looking, &host), &[BRIDGE, "belongs to nobody known"]);
    host.vsctl(&["set", "bridge", BRIDGE, "external_ids:berth-host=bthost"]);
    let pools = host.pools();
    for name in ["db1", "db2"] {
        plug.attach(&pools, &request(name, "ten")).expect("an attach");
    }
    host.stop_database();
    only(&found(&looking, &host), &["Open vSwitch", "can't connect"]);
}

/// Somebody else's process in a pinned namespace is no difference.
#[test]
fn a_container_in_the_namespace_changes_nothing() {
    let host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let made = plug.attach(&pools, &request("db1", "ten")).expect("an attach");
    let mut command = std::process::Command::new("nsenter");
    command.arg(format!("--net={}", support::text(&made.namespace))).args(["sleep", "1000"]);
    let holder = Process::start(command);
    holder.namespace();
    assert_eq!(found(&plug, &host), []);
}
