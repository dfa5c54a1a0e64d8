//! Replication between two real servers, with derived passwords over TLS.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::{collections::BTreeMap, time::Duration};

use berth_agent::mysql::{
    GtidWait, IoState, ReplicaStatus, SemiSyncRole, Server, Source,
    credentials::{Purpose, Secret},
    errant,
};
use common::{Mysqld, master, passwords, soon, wait_for};

fn source(mysqld: &Mysqld, password: &Secret) -> Source {
    Source {
        host: "127.0.0.1".to_owned(),
        port: mysqld.port,
        user: Purpose::Replication.user().to_owned(),
        password: password.clone(),
        ssl: true,
        auto_position: true,
    }
}

fn status(server: &mut Server) -> Option<ReplicaStatus> {
    server.snapshot(soon()).unwrap().replica
}

/// A master and a replica that runs.
fn pair(passwords: &BTreeMap<Purpose, Secret>) -> (Mysqld, Mysqld) {
    let (master, minion) = (master(passwords), Mysqld::serve());
    let mut server = minion.connect();
    server.point_at(&source(&master, &passwords[&Purpose::Replication]), soon()).unwrap();
    server.start_replication(soon()).unwrap();
    wait_for("the receiver to connect", || {
        (status(&mut server)?.io == IoState::Running).then_some(())
    });
    (master, minion)
}

#[test]
fn a_minion_follows_its_master_over_tls() {
    let passwords = passwords("orders");
    let (master, minion) = pair(&passwords);
    let (mut source, mut server) = (master.connect(), minion.connect());
    server.start_replication(soon()).unwrap();
    master.judge(
        "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); INSERT INTO d.t VALUES (7)",
    );
    let executed = source.snapshot(soon()).unwrap().gtid_executed;
    let applied = server.wait_for_gtids(&executed, Duration::from_secs(30), soon()).unwrap();
    assert_eq!(applied, GtidWait::Applied);
    assert_eq!(minion.judge("SELECT id FROM d.t"), "7");

    let replica = status(&mut server).unwrap();
    assert_eq!((replica.source_host.as_str(), replica.source_port), ("127.0.0.1", master.port));
    assert_eq!(replica.source_user, "berth_repl");
    assert_eq!(replica.source_uuid, Some(master.judge("SELECT @@server_uuid")));
    assert!(replica.ssl && replica.auto_position && replica.sql_running);
    assert_eq!((replica.last_io_errno, replica.last_sql_errno), (0, 0));
    assert!(replica.seconds_behind.is_some());
    let connected = source.snapshot(soon()).unwrap().replicas;
    assert_eq!(connected.len(), 1);
    assert_eq!(connected[0].server_uuid, minion.judge("SELECT @@server_uuid"));
    assert_eq!((connected[0].host.as_str(), connected[0].port), ("127.0.0.1", minion.port));

    server.stop_replication(soon()).unwrap();
    server.stop_replication(soon()).unwrap();
    let stopped = status(&mut server).unwrap();
    assert!(stopped.io == IoState::Stopped && !stopped.sql_running);
    server.reset_replica_all(soon()).unwrap();
    server.reset_replica_all(soon()).unwrap();
    assert_eq!(status(&mut server), None);
    assert_eq!(server.start_replication(soon()).unwrap_err().errno(), Some(1200));
}

#[test]
fn semi_sync_acknowledges_once_both_sides_are_on() {
    let (master, minion) = pair(&passwords("orders"));
    let (mut source, mut server) = (master.connect(), minion.connect());
    source.set_semi_sync(SemiSyncRole::Source, true, soon()).unwrap();
    server.set_semi_sync(SemiSyncRole::Replica, true, soon()).unwrap();
    server.stop_replication(soon()).unwrap();
    server.start_replication(soon()).unwrap();
    wait_for("a semi-sync client", || {
        let semi_sync = source.snapshot(soon()).unwrap().held.semi_sync;
        (semi_sync.source_clients == Some(1)).then_some(())
    });
    assert_eq!(server.snapshot(soon()).unwrap().held.semi_sync.replica_active, Some(true));
}

#[test]
fn a_transaction_of_the_minions_own_is_errant() {
    let passwords = passwords("orders");
    let (master, minion) = pair(&passwords);
    let mut server = minion.connect();
    let mut check = Server::connect_tcp(
        "127.0.0.1",
        master.port,
        Purpose::Check.user(),
        &passwords[&Purpose::Check],
        soon(),
    )
    .unwrap();
    let mut errants = |server: &mut Server| {
        let replica = server.snapshot(soon()).unwrap().gtid_executed;
        let source = check.source_view(soon()).unwrap();
        errant(&replica, &source.gtid_executed, &source.server_uuid)
    };
    master.judge("CREATE DATABASE d");
    assert!(errants(&mut server).is_empty());
    server.set_writable(soon()).unwrap();
    minion.judge("CREATE DATABASE of_my_own");
    let found = errants(&mut server);
    let uuid = minion.judge("SELECT @@server_uuid");
    assert_eq!(found.to_string(), format!("{uuid}:1"));
    // The judge's view of the same question.
    let both = (minion.judge("SELECT @@gtid_executed"), master.judge("SELECT @@gtid_executed"));
    let judged = master.judge(&format!("SELECT GTID_SUBTRACT('{}', '{}')", both.0, both.1));
    assert_eq!(judged.replace('\n', ""), found.to_string());
}

#[test]
fn a_wrong_password_shows_as_the_receivers_error_and_never_itself() {
    let (master, minion) = (master(&passwords("orders")), Mysqld::serve());
    let other = &passwords("payments")[&Purpose::Replication];
    let mut server = minion.connect();
    server.point_at(&source(&master, other), soon()).unwrap();
    server.start_replication(soon()).unwrap();
    let replica = wait_for("the receiver's error", || {
        status(&mut server).filter(|replica| replica.last_io_errno != 0)
    });
    assert_eq!(replica.last_io_errno, 1045);
    assert_ne!(replica.io, IoState::Running);
    assert!(replica.last_io_error_at.is_some());
    assert!(!format!("{replica:?}").contains(other.expose()));

    let mut bad = source(&master, other);
    bad.host = "no\nhost".to_owned();
    assert!(!server.point_at(&bad, soon()).unwrap_err().is_retryable());
    bad.host = "h".repeat(300);
    let error = server.point_at(&bad, soon()).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(other.expose()));
    // Refused before anything was changed.
    assert_eq!(status(&mut server).unwrap().source_host, "127.0.0.1");
}

#[test]
fn an_applier_that_fails_says_what_and_when() {
    let (master, minion) = pair(&passwords("orders"));
    let mut server = minion.connect();
    server.set_super_read_only(false, Duration::from_secs(5), soon()).unwrap();
    minion.judge("SET sql_log_bin = 0; CREATE DATABASE d");
    master.judge("CREATE DATABASE d");
    let replica = wait_for("the applier to stop", || {
        status(&mut server).filter(|replica| !replica.sql_running && replica.last_sql_errno != 0)
    });
    assert_eq!(replica.io, IoState::Running);
    assert_eq!(replica.worker_errors.len(), 1);
    assert_eq!(replica.worker_errors[0].errno, 1007);
    assert!(replica.worker_errors[0].at.is_some());
}
