//! A cluster in mode host: its master on one host, its minions on two others. The network is
//! cut, agents are killed, and the master's host is lost for a time.

use std::time::Instant;

use berth_integration::{Entry, Fleet, Options, PATIENCE, fleet::Watch, until};
use berth_model::{
    EntryKey,
    status::{AgentState, InstanceState, InstanceStatus, Phase},
};
use nix::sys::signal::Signal;
use serde_json::json;

const FILE: &str = "shop.json";
const COUNT: &str = "SELECT COUNT(*) FROM app.t";
/// An account of the test's own, for clients over the network.
const APP: (&str, &str) = ("app", "of-the-test");

#[test]
fn a_cluster_across_hosts_outlives_a_cut_network_and_a_lost_host() {
    let mut fleet = Fleet::new(&["host1", "host2", "host3"], &Options::default());
    let entries = cluster(&fleet);
    let watch = Watch::begin(&fleet, &entries);
    fleet.start_agents();
    goals_arrive_in_another_order(&fleet, &entries);
    let servers = fleet.pids(&entries);
    rows_cross_the_network(&fleet, &entries);
    master_and_one_minion_are_cut_off_each_other(&mut fleet, &entries);
    the_masters_host_is_lost(&mut fleet, &entries);

    fleet.await_converged(&entries);
    assert_eq!(fleet.pids(&entries), servers, "no server was restarted");
    assert!(fleet.hosts().all(|host| host.trash().is_empty()), "no data was put aside");
    let seen = watch.end();
    eprintln!("figure: looked {} times for a second server that takes writes", seen.looks);
    assert!(seen.looks > 10, "it must have looked often");
    assert_eq!(seen.together, Vec::<[EntryKey; 2]>::new());
    assert_eq!(Vec::from_iter(seen.writable), [entries[0].key()]);
}

/// A master and two minions, all on the same port of their hosts.
fn cluster(fleet: &Fleet) -> Vec<Entry> {
    let port = fleet.host("host1").port(0);
    let minion = |host: &str, name: &str| {
        Entry::minion(name, port, port).on(host).data("master_host", json!("host1"))
    };
    let master = Entry::master("shop-db1", port).on("host1");
    vec![master, minion("host2", "shop-db2"), minion("host3", "shop-db3")]
}

/// The minions' hosts come first, and one of them never learns of its peers: it finds its
/// master by the `hosts` of its configuration, the other by the peers' entries.
fn goals_arrive_in_another_order(fleet: &Fleet, entries: &[Entry]) {
    let begun = Instant::now();
    fleet.host("host3").goal(FILE, &entries[2..]);
    waits_for_its_master(fleet, &entries[2]);
    fleet.host("host2").goal(FILE, entries);
    waits_for_its_master(fleet, &entries[1]);
    fleet.host("host1").goal(FILE, entries);
    fleet.await_converged(entries);
    eprintln!("figure: three hosts, the master's goal last, converged after {:?}", begun.elapsed());
}

fn waits_for_its_master(fleet: &Fleet, minion: &Entry) {
    await_told(fleet, minion, "waiting for its master", |instance| {
        doing(instance).contains("waiting for the donor 198.51.100.11:3306 to answer")
    });
}

fn doing(instance: &InstanceStatus) -> &str {
    instance.doing.as_ref().map_or("", |doing| doing.step.as_str())
}

fn await_told(fleet: &Fleet, entry: &Entry, what: &str, told: impl Fn(&InstanceStatus) -> bool) {
    fleet.host_of(entry).await_instance(&entry.key(), what, told);
}

/// Written and read by clients of another vendor, on other hosts than the server's.
fn rows_cross_the_network(fleet: &Fleet, entries: &[Entry]) {
    fleet.sql(
        &entries[0],
        "CREATE USER app@'%' IDENTIFIED BY 'of-the-test'; GRANT ALL ON app.* TO app@'%'; \
         CREATE DATABASE app; CREATE TABLE app.t (id INT AUTO_INCREMENT PRIMARY KEY)",
    );
    write(fleet, "host2", &entries[0]);
    for (from, entry) in [("host3", &entries[1]), ("host1", &entries[2])] {
        await_rows(fleet, from, entry, 1);
        let refused = ask(fleet, from, entry, "INSERT INTO app.t VALUES (2)").unwrap_err();
        assert!(refused.contains("read-only option"), "{refused}");
    }
}

fn ask(fleet: &Fleet, from: &str, entry: &Entry, sql: &str) -> Result<String, String> {
    let server = fleet.host_of(entry).server_address(entry.port());
    fleet.host(from).ask_at(server, APP, sql)
}

fn write(fleet: &Fleet, from: &str, master: &Entry) {
    ask(fleet, from, master, "INSERT INTO app.t VALUES ()").unwrap();
}

fn await_rows(fleet: &Fleet, from: &str, entry: &Entry, rows: usize) {
    let mut last = Ok(String::new());
    let found = until(PATIENCE, || {
        last = ask(fleet, from, entry, COUNT);
        (last.as_deref() == Ok(rows.to_string().as_str())).then_some(())
    });
    assert!(found.is_some(), "{rows} rows of {} from {from}: {last:?}", entry.key());
}

/// Silently, so that nobody is told by the network. The third host reaches both.
fn master_and_one_minion_are_cut_off_each_other(fleet: &mut Fleet, entries: &[Entry]) {
    let [master, cut, other] = entries else { panic!("three entries") };
    let begun = Instant::now();
    fleet.fabric().part(&["host1", "host2"]);
    await_told(fleet, cut, "its source does not answer", |instance| {
        source_is_silent(instance) && instance.state == InstanceState::Minion
    });
    eprintln!("figure: a silent cut shows in the status after {:?}", begun.elapsed());
    write(fleet, "host3", master);
    await_rows(fleet, "host1", other, 2);
    await_rows(fleet, "host3", cut, 1);
    receiver_waits(fleet, cut);
    eprintln!("figure: the receiver itself notices after {:?}", begun.elapsed());
    let shown = fleet.host("host2").berth(&["status", "--check"]);
    assert_eq!(shown.status.code(), Some(1), "{shown:?}");

    // The agent dies, and the next one finds the network as it is.
    fleet.host_mut("host2").end_agent(Signal::SIGKILL);
    await_rows(fleet, "host3", cut, 1);
    fleet.host_mut("host2").start_agent();
    receiver_waits(fleet, cut);
    await_told(fleet, cut, "told again", source_is_silent);
    write(fleet, "host3", master);
    await_rows(fleet, "host1", other, 3);
    assert_eq!(fleet.sql(cut, COUNT), "1");

    let begun = Instant::now();
    fleet.fabric().heal(&["host1", "host2"]);
    await_rows(fleet, "host3", cut, 3);
    eprintln!("figure: caught up after the cut was healed: {:?}", begun.elapsed());
    fleet.await_converged(entries);
}

fn source_is_silent(instance: &InstanceStatus) -> bool {
    let note = "its source 198.51.100.11:3306 does not answer this agent";
    instance.notes.iter().any(|found| found.contains(note))
}

/// The minion goes on serving, and says that it has no connection to its source.
fn receiver_waits(fleet: &Fleet, minion: &Entry) {
    await_told(fleet, minion, "its receiver waits", |instance| {
        instance.state == InstanceState::Minion
            && instance.phase == Phase::Converging
            && doing(instance).contains("waiting for 198.51.100.11:3306")
    });
}

/// Cables out, agent killed; its server runs on, as servers do, and nobody reaches it.
fn the_masters_host_is_lost(fleet: &mut Fleet, entries: &[Entry]) {
    let [master, minions @ ..] = entries else { panic!("three entries") };
    fleet.fabric().unplug("host1");
    fleet.host_mut("host1").end_agent(Signal::SIGKILL);
    assert_eq!(fleet.host("host1").status().agent.state, AgentState::Gone);
    for minion in minions {
        receiver_waits(fleet, minion);
        await_told(fleet, minion, "its source is away", source_is_silent);
    }
    // Each other's clients read what there is, and none may write.
    for (from, minion) in [("host3", &minions[0]), ("host2", &minions[1])] {
        await_rows(fleet, from, minion, 3);
        let refused = ask(fleet, from, minion, "INSERT INTO app.t VALUES ()").unwrap_err();
        assert!(refused.contains("read-only option"), "{refused}");
    }
    ask(fleet, "host2", master, COUNT).unwrap_err();

    let begun = Instant::now();
    fleet.fabric().plug("host1");
    write(fleet, "host1", master);
    for minion in minions {
        await_rows(fleet, "host1", minion, 4);
    }
    eprintln!("figure: caught up with a host that is back: {:?}", begun.elapsed());
    fleet.host_mut("host1").start_agent();
}
