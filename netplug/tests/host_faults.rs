//! What goes wrong while it runs: daemons that stop or hang, strangers in the network,
//! things that are not ours, pools that are full. Judged by `ip`, `tc` and `ovs-vsctl`.

mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use berth_netplug::{Config, Netplug, Outcome, PlugError, Timeouts};
use nix::sys::signal::Signal;
use support::{BRIDGE, Census, Host, Process, goal, owner, request, run, run_in, wait};

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|cause| format!(": {}", chain(cause)));
    format!("{error}{}", cause.unwrap_or_default())
}

fn impatient(host: &Host) -> Netplug {
    let timeouts = Timeouts {
        database: Duration::from_millis(500),
        apply: Duration::from_millis(500),
        ..Timeouts::default()
    };
    Netplug::open(Config { timeouts, ..host.config() }).expect("the crate's directories")
}

#[test]
fn a_dead_database_is_named_and_nothing_is_lost() {
    let mut host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let made = plug.attach(&pools, &request("db1", "ten")).expect("an attach");
    let before = host.census();
    host.stop_database();
    let error = plug.attach(&pools, &request("db2", "ten")).expect_err("no database");
    let text = chain(&error);
    assert!(text.contains("can't connect to Open vSwitch's database"), "{text}");
    let error = plug.detach(&owner("db1")).expect_err("no database");
    assert!(matches!(error, PlugError::Blocked { .. }), "{error:?}");
    assert!(Path::new(&made.namespace).exists(), "nothing was removed");
    // Limits are held without the switch.
    let mut faster = request("db1", "ten");
    faster.rates.inbound = "300Mbit".parse().ok();
    let error = plug.attach(&pools, &faster).expect_err("no database");
    assert!(matches!(error, PlugError::Blocked { .. }), "{error:?}");
    let outer = run("tc", &["qdisc", "show", "dev", &made.link]);
    assert!(outer.contains("rate 300Mbit"), "{outer}");
    host.start_database();
    plug.detach(&owner("db2")).expect("the failed one's detach");
    assert_eq!(host.census(), before);
}

#[test]
fn a_stopped_database_is_given_up_in_time() {
    let host = Host::start();
    host.plug();
    let (plug, pools) = (impatient(&host), host.pools());
    host.signal_database(Signal::SIGSTOP);
    let error = plug.attach(&pools, &request("db1", "ten")).expect_err("no answer");
    let text = chain(&error);
    assert!(text.contains("did not answer within 500ms"), "{text}");
    host.signal_database(Signal::SIGCONT);
    let made = host.plug().attach(&pools, &request("db1", "ten")).expect("an attach");
    assert_eq!(host.census(), Census::of(&[&made]));
}

#[test]
fn a_stopped_switch_is_given_up_in_time_and_finished_later() {
    let host = Host::start();
    host.plug();
    let (plug, pools) = (impatient(&host), host.pools());
    host.signal_daemon(Signal::SIGSTOP);
    let error = plug.attach(&pools, &request("db1", "ten")).expect_err("nothing is applied");
    let text = chain(&error);
    assert!(text.contains("ovs-vswitchd did not apply configuration"), "{text}");
    host.signal_daemon(Signal::SIGCONT);
    let made = host.plug().attach(&pools, &request("db1", "ten")).expect("an attach");
    assert_eq!(host.census(), Census::of(&[&made]));
    // What is there can go while the switch sleeps.
    host.signal_daemon(Signal::SIGSTOP);
    plug.detach(&owner("db1")).expect("a detach");
    host.signal_daemon(Signal::SIGCONT);
    assert_eq!(host.census(), Census::default());
}

#[test]
fn a_foreign_bridge_is_refused_and_left_alone() {
    let host = Host::start();
    host.vsctl(&["add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev"]);
    let plug = Netplug::open(host.config()).expect("the crate's directories");
    let text = chain(&plug.ensure_bridge().expect_err("a foreign bridge"));
    assert!(text.contains("belongs to nobody known") && text.contains("hand it over"), "{text}");
    let error = plug.attach(&host.pools(), &request("db1", "ten")).expect_err("a foreign bridge");
    assert!(error.to_string().contains("is not ours"), "{error}");
    plug.detach(&owner("db1")).expect("a detach");
    assert_eq!(host.census(), Census::default());
    assert_eq!(host.vsctl(&["list-br"]).trim(), BRIDGE);
    host.vsctl(&["set", "bridge", BRIDGE, "external_ids:berth-host=bthost"]);
    let done = plug.ensure_bridge().expect("it was handed over");
    assert!(matches!(&done[..], [answers] if answers.contains("flows are missing")), "{done:?}");
    plug.attach(&host.pools(), &request("db1", "ten")).expect("an attach");
}

#[test]
fn what_is_not_ours_stays() {
    let host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    run("ip", &["link", "add", "bt-other", "type", "veth", "peer", "name", "bt-peer"]);
    run("ip", &["link", "set", "bt-other", "alias", "berth otherhost db1 10.20.0.2/1"]);
    host.vsctl(&[
        "add-port",
        BRIDGE,
        "bt-other",
        "--",
        "set",
        "port",
        "bt-other",
        "external_ids:berth-host=otherhost",
        "external_ids:berth-owner=db1",
    ]);
    let wish = request("db1", "ten");
    plug.reconcile(&pools, &goal(&[wish], &[])).expect("a pass");
    let report = plug.reconcile(&pools, &goal(&[], &["db1"])).expect("a pass");
    assert!(matches!(report.owners[&owner("db1")], Outcome::Detached(_)), "{report:?}");
    assert_eq!(host.ports(), ["bt-other"]);
    run("ip", &["link", "show", "bt-other"]);
}

#[test]
fn a_full_pool_says_so_and_serves_again_after_a_release() {
    let host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    for name in ["db1", "db2"] {
        plug.attach(&pools, &request(name, "tiny")).expect("an attach");
    }
    let error = plug.attach(&pools, &request("db3", "tiny")).expect_err("a full pool");
    assert!(chain(&error).contains("pool tiny has no free address"), "{}", chain(&error));
    plug.detach(&owner("db1")).expect("a detach");
    let made = plug.attach(&pools, &request("db3", "tiny")).expect("an attach");
    assert_eq!(made.address.to_string(), "10.40.0.1");
}

/// Puts somebody with an address on the bridge whom no lease knows.
fn stranger(host: &Host, vlan: u16, address: &str) -> Process {
    let mut command = Command::new("unshare");
    command.args(["--net", "sleep", "1000"]);
    let holder = Process::start(command);
    let namespace = holder.namespace();
    let pid = holder.id().to_string();
    run("ip", &["link", "add", "bt-str", "type", "veth", "peer", "name", "eth0", "netns", &pid]);
    run("ip", &["link", "set", "bt-str", "up"]);
    let add = ["ip", "addr", "add", address, "dev", "eth0", "nodad"];
    let add = if address.contains(':') { &add[..] } else { &add[..6] };
    run_in(&namespace, add);
    run_in(&namespace, &["ip", "link", "set", "eth0", "up"]);
    host.vsctl(&["add-port", BRIDGE, "bt-str", &format!("tag={vlan}")]);
    holder
}

fn a_stranger_s_address_is_not_used(pool: &str, vlan: u16, taken: &str, prefix: u8) {
    let host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let holder = stranger(&host, vlan, &format!("{taken}/{prefix}"));
    let made = plug.attach(&pools, &request("db1", pool)).expect("another address");
    assert_ne!(made.address.to_string(), taken);
    assert_eq!(made.generation.0, 2, "the first one was tried and given back");
    assert_eq!(host.census(), Census::of(&[&made]));
    let mut wish = request("db2", pool);
    wish.address = taken.parse().ok();
    let error = plug.attach(&pools, &wish).expect_err("exactly that address");
    assert!(chain(&error).contains(&format!("{taken} is in use by somebody")), "{error}");
    let namespace = made.namespace.with_file_name("db2");
    let inner = run_in(&namespace, &["ip", "addr", "show", "eth0"]);
    assert!(!inner.contains(taken), "{inner}");
    drop(holder);
    wait("its link to go", || !support::output("ip", &["link", "show", "bt-str"]).status.success());
    plug.attach(&pools, &wish).expect("the address once it is free");
}

#[test]
fn a_stranger_s_ipv4_address_is_not_used() {
    a_stranger_s_address_is_not_used("ten", 10, "10.20.0.2", 24);
}

#[test]
fn a_stranger_s_ipv6_address_is_not_used() {
    a_stranger_s_address_is_not_used("six", 30, "fd00:20::2", 64);
}

#[test]
fn an_address_that_was_in_service_is_not_exchanged() {
    let host = Host::start();
    let (plug, pools) = (host.plug(), host.pools());
    let made = plug.attach(&pools, &request("db1", "ten")).expect("an attach");
    // As after a reboot: the kernel has nothing, the database and the leases all.
    run("ip", &["link", "del", &made.link]);
    run("umount", &[support::text(&made.namespace)]);
    let holder = stranger(&host, 10, &format!("{}/24", made.address));
    let error = plug.attach(&pools, &request("db1", "ten")).expect_err("it is taken");
    assert!(chain(&error).contains("is in use by somebody"), "{}", chain(&error));
    assert_eq!(plug.leases().expect("the leases")[0].address, made.address);
    drop(holder);
}
