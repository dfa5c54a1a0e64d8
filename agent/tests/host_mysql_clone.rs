//! CLONE between two real servers: done, refused, abandoned, interrupted.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::{collections::BTreeMap, time::Duration};

use berth_agent::mysql::{
    CloneOutcome, CloneState, CloneStatus, Deadline, Donor, Server,
    credentials::{Purpose, Secret},
    initialise::{EXIT_RESTART, Mode},
};
use common::{Mysqld, master, passwords, soon, wait_for};
use nix::sys::signal::Signal;

fn donor(mysqld: &Mysqld, passwords: &BTreeMap<Purpose, Secret>) -> Donor {
    Donor {
        host: "127.0.0.1".to_owned(),
        port: mysqld.port,
        user: Purpose::Clone.user().to_owned(),
        password: passwords[&Purpose::Clone].clone(),
    }
}

/// A donor of enough bytes that a slowed clone of it is still under way when it is looked at.
fn large_master(passwords: &BTreeMap<Purpose, Secret>) -> Mysqld {
    let mysqld = master(passwords);
    let doubled = "INSERT INTO d.t (b) SELECT b FROM d.t; ".repeat(7);
    mysqld.judge(&format!(
        "SET sql_log_bin = 0; SET GLOBAL innodb_flush_log_at_trx_commit = 0; CREATE DATABASE d; \
         CREATE TABLE d.t (id INT PRIMARY KEY AUTO_INCREMENT, b LONGBLOB); \
         INSERT INTO d.t (b) VALUES (REPEAT('x', 1000000)); {doubled}"
    ));
    mysqld
}

fn status(server: &mut Server) -> CloneStatus {
    server.clone_status(soon()).unwrap().unwrap()
}

/// A recipient in the midst of a clone whose client is gone.
fn abandoned(from: &Donor) -> Mysqld {
    let seed = Mysqld::seed();
    seed.judge("SET GLOBAL clone_max_data_bandwidth = 1");
    let deadline = Deadline::after(Duration::from_millis(500));
    let outcome = seed.connect().clone_from(from, deadline).unwrap();
    assert!(matches!(outcome, CloneOutcome::StillRunning), "{outcome:?}");
    let mut watch = seed.connect();
    wait_for("bytes to arrive", || {
        let status = watch.clone_status(soon()).unwrap()?;
        (status.bytes_done() > 0).then_some(())
    });
    assert_eq!(status(&mut watch).state, CloneState::Running);
    seed
}

#[test]
fn a_clone_ends_with_status_16_and_the_next_start_has_the_data() {
    let passwords = passwords("orders");
    let master = master(&passwords);
    master.judge(
        "CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); INSERT INTO d.t VALUES (7)",
    );
    let mut seed = Mysqld::seed();
    let outcome = seed.connect().clone_from(&donor(&master, &passwords), soon()).unwrap();
    assert!(
        matches!(outcome, CloneOutcome::Restarting | CloneOutcome::ConnectionLost),
        "{outcome:?}"
    );
    assert_eq!(seed.wait().code(), Some(EXIT_RESTART));

    let minion = Mysqld::start(seed.into_dir(), Mode::Serve);
    let mut server = minion.connect();
    let snapshot = server.snapshot(soon()).unwrap();
    let clone = snapshot.clone.unwrap();
    assert_eq!(clone.state, CloneState::Completed);
    assert_eq!((clone.error_no, clone.session), (0, None));
    assert_eq!(clone.source, format!("127.0.0.1:{}", master.port));
    assert!(clone.bytes_done() > 0 && clone.bytes_done() >= clone.bytes_estimate());
    assert_eq!(clone.gtid_executed.to_string(), master.judge("SELECT @@gtid_executed"));
    assert_eq!(snapshot.gtid_executed, clone.gtid_executed);
    assert_ne!(snapshot.server_uuid, master.judge("SELECT @@server_uuid"));
    assert!(snapshot.super_read_only);
    assert_eq!(minion.judge("SELECT id FROM d.t"), "7");
    // The accounts came along, and root still logs in by the socket.
    assert!(server.has_accounts(soon()).unwrap());
}

#[test]
fn what_is_refused_leaves_the_recipient_as_it_was() {
    let passwords = passwords("orders");
    let master = master(&passwords);
    let seed = Mysqld::seed();
    seed.judge("CREATE DATABASE mine");
    let mut server = seed.connect();
    let good = donor(&master, &passwords);

    let literal = Donor { host: "::1".to_owned(), ..good.clone() };
    let outcome = server.clone_from(&literal, soon()).unwrap();
    assert!(
        matches!(&outcome, CloneOutcome::Refused(cause) if cause.errno() == Some(3869)),
        "{outcome:?}"
    );

    let other = Secret::new("another-password".to_owned());
    let outcome = server.clone_from(&Donor { password: other, ..good.clone() }, soon()).unwrap();
    assert!(
        matches!(&outcome, CloneOutcome::Failed(cause) if cause.errno() == Some(3862)),
        "{outcome:?}"
    );
    assert!(!format!("{outcome:?}").contains("another-password"));

    let nobody = Donor { port: common::free_port(), ..good };
    let outcome = server.clone_from(&nobody, soon()).unwrap();
    assert!(matches!(&outcome, CloneOutcome::Failed(cause) if cause.is_retryable()), "{outcome:?}");
    assert_eq!(seed.judge("SHOW DATABASES LIKE 'mine'"), "mine");
}

#[test]
fn a_clone_goes_on_and_ends_without_its_client() {
    let passwords = passwords("orders");
    let master = large_master(&passwords);
    let from = donor(&master, &passwords);
    let mut seed = abandoned(&from);
    let again = seed.connect().clone_from(&from, soon()).unwrap();
    assert!(matches!(again, CloneOutcome::Busy), "{again:?}");
    seed.judge("SET GLOBAL clone_max_data_bandwidth = 0");
    assert_eq!(seed.wait().code(), Some(EXIT_RESTART));
}

#[test]
fn a_recipient_that_died_in_mid_clone_starts_and_says_interrupted() {
    let passwords = passwords("orders");
    let master = large_master(&passwords);
    let mut seed = abandoned(&donor(&master, &passwords));
    seed.signal(Signal::SIGKILL);
    seed.wait();
    let next = Mysqld::start(seed.into_dir(), Mode::Seed);
    let clone = status(&mut next.connect());
    assert_eq!(clone.state, CloneState::Interrupted);
    assert!(clone.gtid_executed.is_empty());
}
