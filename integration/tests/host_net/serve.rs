//! A cluster in vlan mode through its life: made, moved, limited, killed, cut off from the
//! switch, rebooted, removed.

use std::{
    fs,
    io::{ErrorKind, Read},
    net::IpAddr,
    time::{Duration, Instant},
};

use berth_integration::{Bed, Entry, PATIENCE, namespace::command_in, proc, switch::Daemon, until};
use berth_model::{
    EntryKey,
    status::{InstanceState, NetworkStatus, Phase},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

use super::{
    VLAN,
    census::{self, Census, wipe_pins},
    client::Client,
    cluster, host, vlan,
};

#[test]
fn a_cluster_in_vlan_mode() {
    let mut bed = host();
    let entries = cluster("shop", 3);
    bed.goal("shop.json", &entries);
    bed.start_agent();
    bed.await_converged(&entries);
    eprintln!("figure: a master and two minions in vlan mode after {:?}", bed.age());
    let client = Client::join(&bed, "shop");

    everyone_has_an_address(&bed, &entries);
    rows_arrive(&bed, &client, &entries);
    what_the_operator_sees(&bed, &entries);
    an_agent_that_dies_costs_no_packet(&mut bed, &client, &entries);
    rates_change_in_flight(&bed, &entries);
    clients_of_a_killed_server_know_at_once(&bed, &client, &entries);
    without_the_switch_all_goes_on(&mut bed, &entries);
    a_lost_pin_is_made_good(&bed, &entries);
    after_a_reboot_all_is_as_before(&mut bed, &client, &entries);
    another_pool_is_another_network(&bed, &client, &entries);
    what_is_removed_leaves_nothing(&bed, &entries);
}

fn network(bed: &Bed, key: &EntryKey) -> NetworkStatus {
    bed.document().unwrap().instances[key].network.clone().expect("a network of its own")
}

fn ip(bed: &Bed, entry: &Entry) -> IpAddr {
    network(bed, &entry.key()).ip.expect("an address")
}

fn ips(bed: &Bed, entries: &[Entry]) -> Vec<IpAddr> {
    entries.iter().map(|entry| ip(bed, entry)).collect()
}

fn pids(bed: &Bed, entries: &[Entry]) -> Vec<u32> {
    entries.iter().map(|entry| bed.pid(&entry.key())).collect()
}

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

fn everyone_has_an_address(bed: &Bed, entries: &[Entry]) {
    Census::await_right(bed);
    for entry in entries {
        let (key, network) = (entry.key(), network(bed, &entry.key()));
        // The container is in the namespace that is pinned for it.
        let pinned = fs::metadata(bed.instance_namespace(&key)).unwrap();
        let own = fs::metadata(format!("/proc/{}/ns/net", bed.pid(&key))).unwrap();
        assert_eq!(inode(&pinned), inode(&own), "{key}");
        let link = network.link.unwrap();
        let tag = bed.switch().vsctl(&["get", "Port", &link, "tag"]);
        assert_eq!(tag.trim(), VLAN.to_string());
        assert_eq!(network.vlan, Some(VLAN));
        let report = bed.sql(&key, "SELECT @@report_host, @@port");
        assert_eq!(report, format!("{}\t{}", network.ip.unwrap(), super::PORT));
    }
}

fn inode(file: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    file.ino()
}

/// Judged by a client in the VLAN, at each server's own address.
fn rows_arrive(bed: &Bed, client: &Client, entries: &[Entry]) {
    let [master, minions @ ..] = entries else { panic!("a cluster") };
    bed.sql(&master.key(), "CREATE DATABASE IF NOT EXISTS app");
    bed.sql(&master.key(), "CREATE TABLE IF NOT EXISTS app.t (id INT PRIMARY KEY AUTO_INCREMENT)");
    bed.sql(&master.key(), "INSERT INTO app.t VALUES ()");
    let end = bed.sql(&master.key(), "SELECT @@gtid_executed");
    let source = format!("{}\t{}", ip(bed, master), super::PORT);
    for minion in minions {
        bed.await_answer(&minion.key(), "SELECT @@gtid_executed", &end);
        let at = "SELECT HOST, PORT FROM performance_schema.replication_connection_configuration";
        assert_eq!(bed.sql(&minion.key(), at), source);
    }
    for entry in entries {
        let uuid = bed.sql(&entry.key(), "SELECT @@server_uuid");
        assert_eq!(client.ask(ip(bed, entry), "SELECT @@server_uuid").unwrap(), uuid);
    }
}

fn what_the_operator_sees(bed: &Bed, entries: &[Entry]) {
    let shown =
        |arguments: &[&str]| String::from_utf8_lossy(&bed.berth(arguments).stdout).into_owned();
    let (key, address) = (entries[1].key(), ip(bed, &entries[1]).to_string());
    let table = shown(&["status"]);
    assert!(table.contains("ADDRESS") && table.contains(&address), "{table}");
    let all = shown(&["status", key.as_str()]);
    for part in ["pool shop", "/24, VLAN 10", "2Gbit/s asked, 2Gbit/s set", "traffic in"] {
        assert!(all.contains(part), "{part}: {all}");
    }
    assert!(network(bed, &key).counters.unwrap().in_bytes > 10_000, "a CLONE went through it");
    bed.pools("20.json", r#"{"bad": {"vlan": 5000, "subnet": "10.99.0.0/24"}}"#);
    bed.await_status("the refused pool", |status| {
        let network = status.network.as_ref();
        network.is_some_and(|network| network.refused_pools.concat().contains("5000"))
    });
    fs::remove_file(bed.pools_dir().join("20.json")).unwrap();
    bed.await_converged(entries);
}

fn an_agent_that_dies_costs_no_packet(bed: &mut Bed, client: &Client, entries: &[Entry]) {
    let before = pids(bed, entries);
    let pings = client.ping(ip(bed, &entries[0]));
    let stream = client.connect(ip(bed, &entries[0]));
    for _ in 0..3 {
        bed.end_agent(Signal::SIGKILL);
        bed.start_agent();
        bed.await_converged(entries);
    }
    let (sent, answered) = pings.end(Duration::from_secs(3));
    eprintln!("figure: pings over three kills of the agent: {sent} sent, {answered} answered");
    assert_eq!(sent, answered);
    assert!(sent > 100);
    drop(stream);
    assert_eq!(pids(bed, entries), before);
    Census::await_right(bed);
}

fn rates_change_in_flight(bed: &Bed, entries: &[Entry]) {
    let before = pids(bed, entries);
    let limited = json!({ "mode": "vlan", "pool": super::POOL,
        "rate": { "in": "30Mbit", "out": "20Mbit" } });
    let mut changed = entries.to_vec();
    changed[2] = changed[2].clone().data("network", limited);
    bed.goal("shop.json", &changed);
    bed.await_converged(&changed);
    let key = entries[2].key();
    let seen = network(bed, &key);
    assert_eq!(seen.rate_set, seen.rate_asked);
    let outer = bed.run(&["tc", "qdisc", "show", "dev", &seen.link.unwrap()]);
    assert!(outer.contains("rate 30Mbit"), "{outer}");
    let mut inner = command_in(Some(&bed.instance_namespace(&key)), "tc");
    let inner = inner.args(["qdisc", "show", "dev", "eth0"]).output().unwrap().stdout;
    assert!(String::from_utf8_lossy(&inner).contains("rate 20Mbit"));
    assert_eq!(pids(bed, entries), before);
    bed.goal("shop.json", entries);
    bed.await_converged(entries);
}

fn clients_of_a_killed_server_know_at_once(bed: &Bed, client: &Client, entries: &[Entry]) {
    let (before, addresses) = (pids(bed, entries), ips(bed, entries));
    let mut open = client.connect(addresses[1]);
    // Without an agent the server stays away, so that what new clients get is its absence.
    bed.agent().signal(Signal::SIGSTOP);
    send(before[1], Signal::SIGKILL);
    let begun = Instant::now();
    let mut rest = [0; 64];
    let ended = open.read(&mut rest);
    let took = begun.elapsed();
    assert!(matches!(&ended, Ok(0) | Err(_)), "{ended:?}");
    if let Err(error) = &ended {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    // The listener goes with the last thread of the server.
    let refused = until(PATIENCE, || match client.try_connect(addresses[1]) {
        Ok(_) => None,
        Err(error) => {
            assert_ne!(error.kind(), ErrorKind::TimedOut, "nobody answers at {}", addresses[1]);
            (error.kind() == ErrorKind::ConnectionRefused).then(|| begun.elapsed())
        }
    });
    let refused = refused.expect("an address without a server refuses");
    eprintln!(
        "figure: a killed server's client knows after {took:?}, new ones are refused after \
         {refused:?}"
    );
    bed.agent().signal(Signal::SIGCONT);
    bed.await_instance(&entries[1].key(), "another container", |instance| {
        let pid = instance.container.as_ref().and_then(|container| container.pid);
        instance.phase == Phase::Converged && pid.is_some_and(|pid| pid != before[1])
    });
    assert_eq!(ips(bed, entries), addresses);
    rows_arrive(bed, client, entries);
}

fn without_the_switch_all_goes_on(bed: &mut Bed, entries: &[Entry]) {
    let (before, addresses) = (pids(bed, entries), ips(bed, entries));
    bed.switch_mut().kill_daemon(Daemon::Database);
    bed.await_status("the switch's absence", |status| {
        let network = status.network.as_ref();
        network.is_some_and(|network| network.problems.concat().contains("openvswitch-switch"))
    });
    assert_eq!(pids(bed, entries), before);
    // One that ends meanwhile comes back, in the network that is there.
    send(before[0], Signal::SIGKILL);
    bed.await_instance(&entries[0].key(), "another container", |instance| {
        let pid = instance.container.as_ref().and_then(|container| container.pid);
        instance.state == InstanceState::Master && pid.is_some_and(|pid| pid != before[0])
    });
    // And one that is new says what it waits for.
    let late = Entry::master("late-db1", super::PORT).data("network", vlan(super::POOL));
    bed.goal("late.json", std::slice::from_ref(&late));
    bed.await_blocked(&late.key(), "the switch can't be read");
    bed.switch_mut().start_daemon(Daemon::Database);
    bed.await_instance(&late.key(), "an address", |instance| {
        instance.network.as_ref().is_some_and(|network| network.ip.is_some())
    });
    bed.goal("late.json", &[late.clone().state("removed")]);
    bed.await_state(&late.key(), InstanceState::Removed);
    bed.remove_goal("late.json");
    bed.await_converged(entries);
    assert_eq!(ips(bed, entries), addresses);
    assert_eq!(pids(bed, &entries[1..]), before[1..]);
    Census::await_right(bed);
}

fn a_lost_pin_is_made_good(bed: &Bed, entries: &[Entry]) {
    let (before, addresses) = (pids(bed, entries), ips(bed, entries));
    wipe_pins(bed);
    bed.await_status("a pass after it", |_| bed.instance_namespace(&entries[0].key()).exists());
    bed.await_converged(entries);
    Census::await_right(bed);
    assert_eq!((pids(bed, entries), ips(bed, entries)), (before, addresses));
    everyone_has_an_address(bed, entries);
}

fn after_a_reboot_all_is_as_before(bed: &mut Bed, client: &Client, entries: &[Entry]) {
    let addresses = ips(bed, entries);
    let servers = pids(bed, entries);
    bed.end_agent(Signal::SIGKILL);
    bed.switch_mut().kill_daemon(Daemon::Switch);
    for pid in servers {
        send(pid, Signal::SIGKILL);
        let gone = until(PATIENCE, || (!proc::lives(pid)).then_some(()));
        assert!(gone.is_some());
    }
    for link in census::links(bed) {
        bed.run(&["ip", "link", "del", &link]);
    }
    wipe_pins(bed);
    fs::remove_dir_all(bed.dir().join("run")).unwrap();
    bed.switch_mut().start_daemon(Daemon::Switch);
    bed.start_agent();
    bed.await_converged(entries);
    assert_eq!(ips(bed, entries), addresses);
    Census::await_right(bed);
    rows_arrive(bed, client, entries);
}

fn another_pool_is_another_network(bed: &Bed, client: &Client, entries: &[Entry]) {
    let (before, old) = (pids(bed, entries), ip(bed, &entries[2]));
    let mut changed = entries.to_vec();
    // What can't be had leaves the server where it is.
    changed[2] = changed[2].clone().data("network", vlan("nowhere"));
    bed.goal("shop.json", &changed);
    bed.await_blocked(&entries[2].key(), "the old one runs on");
    assert_eq!(pids(bed, entries), before);
    // Another VLAN: its master can't be reached from there, but it serves.
    changed[2] = changed[2].clone().data("network", vlan("side"));
    bed.goal("shop.json", &changed);
    let moved = bed.await_instance(&entries[2].key(), "another address", |instance| {
        let network = instance.network.as_ref();
        network.is_some_and(|network| network.vlan == Some(20) && network.amiss.is_empty())
            && instance.server_uuid.is_some()
            && instance.container.as_ref().and_then(|c| c.pid) != Some(before[2])
    });
    assert!(moved.address.unwrap().starts_with("10.88.0."));
    Census::await_right(bed);
    assert_eq!(pids(bed, &entries[..2]), before[..2]);
    let (sent, answered) = client.ping(old).end(Duration::from_millis(300));
    assert!(sent > 5 && answered == 0, "{answered} of {sent}");
    bed.goal("shop.json", entries);
    bed.await_converged(entries);
    rows_arrive(bed, client, entries);
}

fn what_is_removed_leaves_nothing(bed: &Bed, entries: &[Entry]) {
    let servers = pids(bed, entries);
    let removed: Vec<Entry> = entries.iter().map(|entry| entry.clone().state("removed")).collect();
    bed.goal("shop.json", &removed);
    // A master takes its time to end, which is not what is tested here.
    for pid in servers {
        let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    }
    for entry in entries {
        bed.await_state(&entry.key(), InstanceState::Removed);
    }
    assert_eq!(Census::of(bed), Census::default());
}
