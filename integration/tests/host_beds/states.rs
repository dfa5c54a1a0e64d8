//! What goals can ask of an instance while it runs: stopped, started again, removed,
//! forgotten, disabled, limited otherwise, moved to another port.

use std::{fs, net::TcpStream, path::Path, time::Instant};

use berth_integration::{Bed, Entry, PATIENCE, cgroup, client, proc, until};
use berth_model::status::{GoalStanding, InstanceState, Phase};
use serde_json::json;

use super::keys;

const FILE: &str = "shop.json";

#[test]
fn goals_change_while_servers_run() {
    let bed = Bed::new();
    let entries = bed.cluster("shop", 0, 3);
    bed.goal(FILE, &entries);
    bed.await_converged(&entries);
    bed.sql(
        &keys()[0],
        "CREATE USER app@'%' IDENTIFIED BY 'of-the-test'; GRANT ALL ON app.* TO app@'%'; \
         CREATE DATABASE app; CREATE TABLE app.t (id INT PRIMARY KEY)",
    );

    limits_change_under_a_running_server(&bed, &entries);
    a_disabled_master_is_read_only(&bed, &entries);
    a_disabled_minion_serves_nobody(&bed, &entries);
    a_stopped_instance_keeps_its_data(&bed, &entries);
    a_server_that_starts_can_be_stopped(&bed, &entries);
    a_source_stops_and_its_replicas_follow_it_again(&bed, &entries);
    a_vanished_entry_is_an_orphan(&bed, &entries);
    another_port_is_another_container(&bed, &entries);
    removed_data_are_kept_in_the_trash(&bed, &entries);
}

/// The entries with the last one changed.
fn with_last(entries: &[Entry], change: impl Fn(Entry) -> Entry) -> Vec<Entry> {
    let mut changed = entries.to_vec();
    let last = changed.pop().unwrap();
    changed.push(change(last));
    changed
}

fn open(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn limits_change_under_a_running_server(bed: &Bed, entries: &[Entry]) {
    let last = keys()[2].clone();
    let pid = bed.pid(&last);
    let limited = with_last(entries, |entry| {
        entry
            .data("cpu", json!({"cores": 0.5, "weight": 50}))
            .data("io", json!({"write_bps": "20MiB/s", "read_iops": 2000}))
    });
    bed.goal(FILE, &limited);
    bed.await_converged(&limited);
    let disk = disk_of(&bed.data_dir());
    let file =
        |controller, v1, v2| cgroup::file(bed.name(), last.as_str(), controller, v1, v2).unwrap();
    let cpu = file("cpu", "cpu.cfs_quota_us", "cpu.max");
    let io = file("blkio", "blkio.throttle.write_bps_device", "io.max");
    let reads = file("blkio", "blkio.throttle.read_iops_device", "io.max");
    if cgroup::is_unified() {
        assert_eq!(cpu, "50000 100000");
        assert_eq!(file("cpu", "", "cpu.weight"), "50");
        assert!(
            io.starts_with(&disk) && io.contains("wbps=20971520") && io.contains("riops=2000"),
            "{io}"
        );
    } else {
        let period: u64 = file("cpu", "cpu.cfs_period_us", "").parse().unwrap();
        assert_eq!(cpu.parse::<u64>().unwrap() * 2, period);
        assert_eq!(file("cpu", "cpu.shares", ""), "512");
        assert_eq!(io, format!("{disk} 20971520"));
        assert_eq!(reads, format!("{disk} 2000"));
    }
    let usage = &bed.status().instances[&last].usage;
    assert_eq!(usage.cpu_max_cores, Some(0.5));
    assert!(usage.io_max.contains("wbps=20971520"), "{usage:?}");

    bed.goal(FILE, entries);
    bed.await_converged(entries);
    let none = file("cpu", "cpu.cfs_quota_us", "cpu.max");
    assert!(none == "-1" || none.starts_with("max"), "{none}");
    assert!(!file("blkio", "blkio.throttle.write_bps_device", "io.max").contains("20971520"));
    assert_eq!(bed.pid(&last), pid, "the server ran on");
}

/// Major and minor number of the disk that a directory is on: the parent's, where it is a
/// partition (proc_pid_mountinfo(5), sysfs(5)).
fn disk_of(dir: &Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let device = fs::metadata(dir).unwrap().dev();
    let number = format!("{}:{}", nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let sys = fs::canonicalize(format!("/sys/dev/block/{number}")).unwrap();
    if !sys.join("partition").exists() {
        return number;
    }
    fs::read_to_string(sys.parent().unwrap().join("dev")).unwrap().trim().to_owned()
}

fn a_disabled_master_is_read_only(bed: &Bed, entries: &[Entry]) {
    let [master, ..] = keys();
    let pid = bed.pid(&master);
    let mut disabled = entries.to_vec();
    disabled[0] = disabled[0].clone().data("disabled", json!(true));
    bed.goal(FILE, &disabled);
    bed.await_converged(&disabled);
    assert_eq!(bed.sql(&master, "SELECT @@super_read_only"), "1");
    let error = bed.ask(&master, "INSERT INTO app.t VALUES (1)").unwrap_err();
    assert!(error.contains("super-read-only"), "{error}");
    let instance = bed.document().unwrap().instances[&master].clone();
    assert!(instance.goal.disabled);
    assert!(instance.notes.iter().any(|note| note.contains("disabled")), "{instance:?}");
    bed.goal(FILE, entries);
    bed.await_converged(entries);
    bed.sql(&master, "INSERT INTO app.t VALUES (1)");
    assert_eq!(bed.pid(&master), pid);
}

fn a_disabled_minion_serves_nobody(bed: &Bed, entries: &[Entry]) {
    let minion = &keys()[2];
    let pid = bed.pid(minion);
    let read = || client::ask_as("app", "of-the-test", bed.port(2), "SELECT COUNT(*) FROM app.t");
    bed.await_answer(minion, "SELECT COUNT(*) FROM app.t", "1");
    assert_eq!(read().as_deref(), Ok("1"));
    let disabled = with_last(entries, |entry| entry.data("disabled", json!(true)));
    bed.goal(FILE, &disabled);
    bed.await_converged(&disabled);
    let error = read().unwrap_err();
    assert!(error.contains("offline mode"), "{error}");
    // It replicates on all the same.
    bed.sql(&keys()[0], "INSERT INTO app.t VALUES (2)");
    bed.await_answer(minion, "SELECT COUNT(*) FROM app.t", "2");
    bed.goal(FILE, entries);
    bed.await_converged(entries);
    assert_eq!(read().as_deref(), Ok("2"));
    assert_eq!(bed.pid(minion), pid);
}

fn a_stopped_instance_keeps_its_data(bed: &Bed, entries: &[Entry]) {
    let minion = &keys()[2];
    let uuid = bed.sql(minion, "SELECT @@server_uuid");
    let stopped = with_last(entries, |entry| entry.state("stopped"));
    bed.goal(FILE, &stopped);
    bed.await_converged(&stopped);
    let instance = bed.status().instances[minion].clone();
    assert_eq!(instance.state, InstanceState::Down);
    assert!(instance.container.is_none_or(|container| container.pid.is_none()));
    assert!(!open(bed.port(2)));
    assert!(!cgroup::leaves(bed.name()).contains(&minion.to_string()));
    assert!(bed.server_log(minion).contains("Shutdown complete"), "it was asked, not killed");
    bed.sql(&keys()[0], "INSERT INTO app.t VALUES (3)");
    bed.goal(FILE, entries);
    bed.await_converged(entries);
    bed.await_answer(minion, "SELECT COUNT(*) FROM app.t", "3");
    assert_eq!(bed.sql(minion, "SELECT @@server_uuid"), uuid, "the same data");
    assert_eq!(bed.trash(), Vec::<std::path::PathBuf>::new());
}

/// mysqld is the first process of its namespace, and until it has a handler for SIGTERM the
/// kernel drops that signal (pid_namespaces(7)).
fn a_server_that_starts_can_be_stopped(bed: &Bed, entries: &[Entry]) {
    let minion = &keys()[2];
    let stopped = with_last(entries, |entry| entry.state("stopped"));
    for _ in 0..2 {
        bed.goal(FILE, &stopped);
        let begun = Instant::now();
        bed.await_converged(&stopped);
        eprintln!("figure: a server is stopped after {:?}", begun.elapsed());
        bed.goal(FILE, entries);
        let started = until(PATIENCE, || {
            bed.status().instances[minion].container.as_ref()?.pid.filter(|pid| proc::lives(*pid))
        });
        assert!(started.is_some(), "{minion} must be started");
    }
    bed.await_converged(entries);
}

fn a_source_stops_and_its_replicas_follow_it_again(bed: &Bed, entries: &[Entry]) {
    let [source, replica, other] = keys();
    let mut stopped = entries.to_vec();
    stopped[0] = stopped[0].clone().state("stopped");
    bed.sql(&source, "INSERT INTO app.t VALUES (33)");
    bed.goal(FILE, &stopped);
    let begun = Instant::now();
    bed.await_state(&source, InstanceState::Down);
    let gone = until(PATIENCE, || (!open(bed.port(0))).then_some(()));
    assert!(gone.is_some(), "a stopped server must listen no longer");
    eprintln!("figure: a source with two replicas is stopped after {:?}", begun.elapsed());
    for key in [&replica, &other] {
        assert_eq!(bed.sql(key, "SELECT COUNT(*) FROM app.t WHERE id = 33"), "1");
    }
    bed.goal(FILE, entries);
    bed.await_converged(entries);
    bed.sql(&source, "DELETE FROM app.t WHERE id = 33");
    for key in [&replica, &other] {
        bed.await_answer(key, "SELECT COUNT(*) FROM app.t WHERE id = 33", "0");
    }
}

fn a_vanished_entry_is_an_orphan(bed: &Bed, entries: &[Entry]) {
    let minion = &keys()[2];
    let pid = bed.pid(minion);
    bed.goal(FILE, &entries[..2]);
    bed.await_instance(minion, "orphaned and running on", |instance| {
        instance.goal.standing == GoalStanding::Orphaned && instance.phase == Phase::Converged
    });
    bed.sql(&keys()[0], "INSERT INTO app.t VALUES (4)");
    bed.await_answer(minion, "SELECT COUNT(*) FROM app.t", "4");
    let shown = String::from_utf8_lossy(&bed.berth(&["status"]).stdout).into_owned();
    assert!(shown.contains("orphaned"), "{shown}");
    bed.goal(FILE, entries);
    bed.await_instance(minion, "an entry again", |instance| {
        instance.goal.standing == GoalStanding::Current
    });
    bed.await_converged(entries);
    assert_eq!(bed.pid(minion), pid);
}

fn another_port_is_another_container(bed: &Bed, entries: &[Entry]) {
    let before = keys().map(|key| bed.pid(&key));
    let moved = with_last(entries, |entry| entry.data("port", json!(bed.port(5))));
    bed.goal(FILE, &moved);
    bed.await_converged(&moved);
    assert_eq!(bed.sql(&keys()[2], "SELECT @@port"), bed.port(5).to_string());
    assert!(open(bed.port(5)) && !open(bed.port(2)));
    let after = keys().map(|key| bed.pid(&key));
    assert_eq!(before[..2], after[..2]);
    assert_ne!(before[2], after[2]);
    bed.await_answer(&keys()[2], "SELECT COUNT(*) FROM app.t", "4");
    bed.goal(FILE, entries);
    bed.await_converged(entries);
}

fn removed_data_are_kept_in_the_trash(bed: &Bed, entries: &[Entry]) {
    let minion = &keys()[2];
    let uuid = bed.sql(minion, "SELECT @@server_uuid");
    let removed = with_last(entries, |entry| entry.state("removed"));
    bed.goal(FILE, &removed);
    bed.await_state(minion, InstanceState::Removed);
    assert!(!bed.instance_dir(minion).exists() && !open(bed.port(2)));
    let trash = bed.trash();
    assert_eq!(trash.len(), 1, "{trash:?}");
    let kept = fs::read_to_string(trash[0].join("mysql/auto.cnf")).unwrap();
    assert!(kept.contains(&uuid), "{kept}");
    assert!(trash[0].join("mysql/app/t.ibd").exists());
    // Started again it is a new server, seeded anew; the trash stays.
    bed.goal(FILE, entries);
    bed.await_converged(entries);
    bed.await_answer(minion, "SELECT COUNT(*) FROM app.t", "4");
    assert_ne!(bed.sql(minion, "SELECT @@server_uuid"), uuid);
    assert_eq!(bed.trash(), trash);
}
