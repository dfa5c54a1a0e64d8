//! Snapshots and verbs on one real server; the `mariadb` client is the judge.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::time::{Duration, Instant};

use berth_agent::mysql::{
    AccountChange, Deadline, GtidWait, SemiSyncRole, Server,
    credentials::{Purpose, Secret},
};
use common::{Beside, Mysqld, master, passwords, soon, wait_for};

const UNKNOWN: &str = "11111111-1111-1111-1111-111111111111:1";

#[test]
fn a_server_boots_read_only_and_offline_as_its_snapshot_and_the_judge_say() {
    let mysqld = Mysqld::serve();
    let snapshot = mysqld.connect().snapshot(soon()).unwrap();
    assert!(snapshot.read_only && snapshot.super_read_only && snapshot.offline_mode);
    assert_eq!(mysqld.judge("SELECT @@read_only, @@super_read_only, @@offline_mode"), "1\t1\t1");
    assert_eq!(snapshot.port, mysqld.port);
    assert_eq!(snapshot.server_uuid, mysqld.judge("SELECT @@server_uuid"));
    assert_eq!(snapshot.server_id.to_string(), mysqld.judge("SELECT @@server_id"));
    assert!(snapshot.gtid_executed.is_empty() && snapshot.gtid_purged.is_empty());
    assert!(snapshot.plugins.auth_socket && snapshot.plugins.clone);
    assert!(snapshot.plugins.semi_sync_source && snapshot.plugins.semi_sync_replica);
    assert_eq!(snapshot.held.semi_sync.source_enabled, Some(false));
    assert_eq!((snapshot.replica, snapshot.clone), (None, None));
    assert!(snapshot.replicas.is_empty() && snapshot.other_channels.is_empty());
}

#[test]
fn variables_and_positions_follow_what_is_done() {
    let mysqld = Mysqld::writable();
    let mut server = mysqld.connect();
    server.set_global("sync_binlog", "0", soon()).unwrap();
    server.set_global("innodb_flush_log_at_trx_commit", "2", soon()).unwrap();
    server.set_semi_sync(SemiSyncRole::Source, true, soon()).unwrap();
    mysqld.judge("CREATE DATABASE d; CREATE DATABASE e; FLUSH BINARY LOGS");
    let snapshot = server.snapshot(soon()).unwrap();
    assert!(!snapshot.read_only && !snapshot.super_read_only);
    assert_eq!(mysqld.judge("SELECT @@sync_binlog, @@innodb_flush_log_at_trx_commit"), "0\t2");
    assert_eq!(snapshot.held.sync_binlog, 0);
    assert_eq!(snapshot.held.innodb_flush_log_at_trx_commit, 2);
    assert_eq!(snapshot.held.semi_sync.source_enabled, Some(true));
    assert_eq!(snapshot.gtid_executed.to_string(), mysqld.judge("SELECT @@gtid_executed"));
    assert_eq!(snapshot.gtid_executed.count(), 2);
    assert!(server.set_global("read_only", "ON", soon()).is_err());
}

#[test]
fn read_only_waits_for_writers_no_longer_than_it_was_told() {
    let mysqld = Mysqld::writable();
    mysqld.judge("CREATE TABLE mysql.bt (id INT PRIMARY KEY)");
    let _writer = Beside::run(&mysqld, "INSERT INTO mysql.bt SELECT SLEEP(600)");
    let mut server = mysqld.connect();
    let writer = wait_for("the writer", || server.writers(soon()).unwrap().first().cloned());
    assert_eq!((writer.user.as_str(), writer.host.as_str()), ("root", "localhost"));

    let lock_wait = Duration::from_secs(1);
    let error = server.set_super_read_only(true, lock_wait, soon()).unwrap_err();
    assert_eq!(error.errno(), Some(1205), "{:?}", error.cause());
    assert!(error.is_retryable());
    assert_eq!(mysqld.judge("SELECT @@read_only, @@super_read_only"), "0\t0");

    server.kill(writer.id, soon()).unwrap();
    server.kill(writer.id, soon()).unwrap();
    server.set_super_read_only(true, Duration::from_secs(30), soon()).unwrap();
    server.set_super_read_only(true, lock_wait, soon()).unwrap();
    assert_eq!(mysqld.judge("SELECT @@read_only, @@super_read_only"), "1\t1");
    server.set_super_read_only(false, lock_wait, soon()).unwrap();
    assert_eq!(mysqld.judge("SELECT @@read_only, @@super_read_only"), "1\t0");
}

#[test]
fn waiting_for_transactions_ends_in_time_and_never_waits_for_ever() {
    let mysqld = Mysqld::writable();
    mysqld.judge("CREATE DATABASE d");
    let mut server = mysqld.connect();
    let executed = server.snapshot(soon()).unwrap().gtid_executed;
    let brief = Duration::from_millis(200);
    assert_eq!(server.wait_for_gtids(&executed, brief, soon()).unwrap(), GtidWait::Applied);
    let more = executed.union(&UNKNOWN.parse().unwrap());
    let begun = Instant::now();
    assert_eq!(server.wait_for_gtids(&more, brief, soon()).unwrap(), GtidWait::TimedOut);
    assert!(begun.elapsed() >= brief);
    let error = server.wait_for_gtids(&more, Duration::ZERO, soon()).unwrap_err();
    assert!(!error.is_retryable() && error.cause().to_string().contains("for ever"));
}

#[test]
fn accounts_are_written_once_and_repaired_when_wrong() {
    let passwords = passwords("orders");
    let mysqld = Mysqld::serve();
    let mut server = mysqld.connect();
    let refused = server.ensure_accounts(&passwords, soon()).unwrap_err();
    assert_eq!(refused.errno(), Some(1290));

    server.set_writable(soon()).unwrap();
    let all = |server: &mut Server| -> Vec<AccountChange> {
        server.ensure_accounts(&passwords, soon()).unwrap().into_values().collect()
    };
    assert_eq!(all(&mut server), [AccountChange::Created; 3]);
    let after = mysqld.judge("SELECT @@gtid_executed");
    assert_eq!(all(&mut server), [AccountChange::Unchanged; 3]);
    assert_eq!(mysqld.judge("SELECT @@gtid_executed"), after);
    assert!(server.has_accounts(soon()).unwrap());

    mysqld.judge(
        "ALTER USER berth_clone IDENTIFIED BY 'else'; REVOKE BACKUP_ADMIN ON *.* FROM berth_clone",
    );
    mysqld.judge("ALTER USER berth_check REQUIRE NONE ACCOUNT LOCK");
    assert_eq!(
        all(&mut server),
        [AccountChange::Unchanged, AccountChange::Repaired, AccountChange::Repaired]
    );
    assert_eq!(all(&mut server), [AccountChange::Unchanged; 3]);
    assert_eq!(
        mysqld.judge("SHOW GRANTS FOR berth_clone").lines().collect::<Vec<_>>(),
        [
            "GRANT USAGE ON *.* TO `berth_clone`@`%`",
            "GRANT BACKUP_ADMIN ON *.* TO `berth_clone`@`%`"
        ]
    );
}

#[test]
fn the_check_account_reads_a_peer_over_tls_and_nothing_without_its_password() {
    let passwords = passwords("orders");
    let mysqld = master(&passwords);
    let user = Purpose::Check.user();
    let login =
        |password: &Secret| Server::connect_tcp("127.0.0.1", mysqld.port, user, password, soon());
    let view = login(&passwords[&Purpose::Check]).unwrap().source_view(soon()).unwrap();
    assert_eq!(view.server_uuid, mysqld.judge("SELECT @@server_uuid"));
    assert_eq!(view.gtid_executed.to_string(), mysqld.judge("SELECT @@gtid_executed"));
    assert!(!view.read_only && !view.super_read_only && !view.is_replica);

    mysqld.connect().set_offline_mode(true, soon()).unwrap();
    assert_eq!(login(&passwords[&Purpose::Check]).unwrap_err().errno(), Some(3032));
    mysqld.connect().set_offline_mode(false, soon()).unwrap();

    let wrong = login(&passwords[&Purpose::Clone]).unwrap_err();
    assert_eq!(wrong.errno(), Some(1045));
    assert!(!wrong.is_retryable());
    let shown = format!("{wrong} {wrong:?} {}", wrong.cause());
    assert!(!shown.contains(passwords[&Purpose::Clone].expose()));
    // REQUIRE SSL: the same password without TLS is not enough.
    let mut plain = std::process::Command::new("mariadb");
    plain
        .args(["--no-defaults", "--skip-ssl", "-u", user, "-e", "SELECT 1", "-S"])
        .arg(mysqld.socket());
    plain.env("MYSQL_PWD", passwords[&Purpose::Check].expose());
    assert!(!plain.output().unwrap().status.success());
}

#[test]
fn a_peer_that_is_no_mysql_is_an_error_in_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let secret = Secret::new("x".to_owned());
    let deadline = Deadline::after(Duration::from_millis(300));
    let silent = Server::connect_tcp("127.0.0.1", port, "u", &secret, deadline).unwrap_err();
    assert!(silent.is_timeout());
    drop(listener);
    let closed = Server::connect_tcp("127.0.0.1", port, "u", &secret, soon()).unwrap_err();
    assert!(closed.is_retryable() && !closed.is_timeout());
}
