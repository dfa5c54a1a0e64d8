//! What is changed behind the agent's back, and what becomes of it.

use std::path::PathBuf;

use berth_integration::{Bed, Entry, client::Beside};
use berth_model::status::{InstanceState, Phase};
use serde_json::json;

use super::keys;

const FILE: &str = "shop.json";

#[test]
fn what_drifts_is_led_back() {
    let bed = Bed::new();
    let mut entries = bed.cluster("shop", 0, 3);
    let variables = json!({"long_query_time": 2.5, "max_connections": 77, "slow_query_log": true});
    entries[1] = entries[1].clone().data("variables", variables);
    bed.goal(FILE, &entries);
    bed.await_converged(&entries);
    bed.sql(&keys()[0], "CREATE DATABASE app; CREATE TABLE app.t (id INT PRIMARY KEY)");

    variables_are_held(&bed);
    replication_is_started_and_pointed_back(&bed, &entries);
    purged_binary_logs_mean_a_new_seed(&bed, &entries);
    errant_transactions_are_kept(&bed, &entries);
}

fn variables_are_held(bed: &Bed) {
    const GOALS: &str = "SELECT @@long_query_time, @@max_connections, @@slow_query_log";
    let [master, minion, _] = keys();
    assert_eq!(bed.sql(&minion, GOALS), "2.500000\t77\t1");
    bed.sql(
        &minion,
        "SET GLOBAL long_query_time=10, GLOBAL max_connections=50, GLOBAL slow_query_log=OFF, \
         GLOBAL sync_binlog=1, GLOBAL innodb_flush_log_at_trx_commit=1",
    );
    bed.sql(&master, "SET GLOBAL sync_binlog=0, GLOBAL innodb_flush_log_at_trx_commit=0");
    bed.await_answer(&minion, "SELECT @@long_query_time, @@max_connections", "2.500000\t77");
    bed.await_answer(&minion, GOALS, "2.500000\t77\t1");
    bed.await_answer(&minion, "SELECT @@sync_binlog, @@innodb_flush_log_at_trx_commit", "0\t2");
    bed.await_answer(&master, "SELECT @@sync_binlog, @@innodb_flush_log_at_trx_commit", "1\t1");
}

const THREADS: &str = "SELECT c.PORT, s.SERVICE_STATE, a.SERVICE_STATE \
     FROM performance_schema.replication_connection_configuration c \
     JOIN performance_schema.replication_connection_status s USING (CHANNEL_NAME) \
     JOIN performance_schema.replication_applier_status a USING (CHANNEL_NAME)";

fn replication_is_started_and_pointed_back(bed: &Bed, entries: &[Entry]) {
    let [_, minion, other] = keys();
    let right = format!("{}\tON\tON", bed.port(0));
    for thread in ["STOP REPLICA", "STOP REPLICA IO_THREAD", "STOP REPLICA SQL_THREAD"] {
        bed.sql(&minion, thread);
        bed.await_answer(&minion, THREADS, &right);
    }
    let elsewhere = [bed.port(9), bed.port(2)];
    for port in elsewhere {
        bed.sql(
            &minion,
            &format!(
                "STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_PORT={port}; START REPLICA"
            ),
        );
        bed.await_answer(&minion, THREADS, &right);
    }
    // All that it ever knew of a source is gone.
    bed.sql(&other, "STOP REPLICA; RESET REPLICA ALL");
    bed.await_answer(&other, THREADS, &right);
    bed.await_converged(entries);
    assert_eq!(bed.trash(), Vec::<PathBuf>::new());
}

fn purged_binary_logs_mean_a_new_seed(bed: &Bed, entries: &[Entry]) {
    let [master, _, minion] = keys();
    let uuid = bed.sql(&minion, "SELECT @@server_uuid");
    let mut stopped = entries.to_vec();
    stopped[2] = stopped[2].clone().state("stopped");
    bed.goal(FILE, &stopped);
    bed.await_converged(&stopped);
    bed.sql(&master, "INSERT INTO app.t VALUES (1); FLUSH BINARY LOGS");
    bed.await_answer(&keys()[1], "SELECT COUNT(*) FROM app.t", "1");
    bed.sql(
        &master,
        "PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 DAY; INSERT INTO app.t VALUES (2)",
    );
    let mut never = entries.to_vec();
    never[2] = never[2].clone().data("reseed", json!("never"));
    bed.goal(FILE, &never);
    let told = bed.await_instance(&minion, "behind what was purged", |instance| {
        instance.state == InstanceState::BehindPurged && instance.phase == Phase::Blocked
    });
    assert!(told.blocked.unwrap().contains("purged"));
    assert_eq!(bed.sql(&minion, "SELECT @@server_uuid"), uuid, "nothing was done to it");
    bed.goal(FILE, entries);
    bed.await_converged(entries);
    bed.await_answer(&minion, "SELECT COUNT(*) FROM app.t", "2");
    assert_ne!(bed.sql(&minion, "SELECT @@server_uuid"), uuid);
    let trash = bed.trash();
    assert_eq!(trash.len(), 1, "{trash:?}");
    assert!(trash[0].to_string_lossy().contains("purged"), "{trash:?}");
}

fn errant_transactions_are_kept(bed: &Bed, entries: &[Entry]) {
    let [master, minion, _] = keys();
    let uuid = bed.sql(&minion, "SELECT @@server_uuid");
    let pid = bed.pid(&minion);
    bed.sql(
        &minion,
        "SET GLOBAL super_read_only=OFF, GLOBAL read_only=OFF; CREATE DATABASE astray",
    );
    // The danger goes first.
    bed.await_answer(&minion, "SELECT @@super_read_only", "1");
    let told = bed.await_instance(&minion, "errant", |instance| {
        instance.state == InstanceState::Errant && instance.phase == Phase::Blocked
    });
    let why = told.blocked.unwrap();
    assert!(why.contains(&format!("{uuid}:1")), "{why}");
    assert_eq!(bed.pid(&minion), pid);
    bed.await_answer(&minion, THREADS, &format!("{}\tOFF\tOFF", bed.port(0)));
    bed.sql(&master, "INSERT INTO app.t VALUES (3)");
    assert_eq!(bed.sql(&minion, "SHOW DATABASES LIKE 'astray'"), "astray");
    // Started by hand it is stopped again.
    let statements = bed.dir().join("start.sql");
    std::fs::write(&statements, "START REPLICA;\n").unwrap();
    drop(Beside::start(&bed.socket(&minion), &statements, &bed.dir().join("start.err")));
    bed.await_answer(&minion, THREADS, &format!("{}\tOFF\tOFF", bed.port(0)));

    let before = bed.trash();
    let mut allowed = entries.to_vec();
    allowed[1] = allowed[1].clone().data("reseed", json!("errant"));
    bed.goal(FILE, &allowed);
    bed.await_converged(&allowed);
    bed.await_answer(&minion, "SELECT COUNT(*) FROM app.t", "3");
    assert_eq!(bed.sql(&minion, "SHOW DATABASES LIKE 'astray'"), "");
    assert_ne!(bed.sql(&minion, "SELECT @@server_uuid"), uuid);
    let after = bed.trash();
    let new: Vec<&PathBuf> = after.iter().filter(|path| !before.contains(path)).collect();
    assert_eq!(new.len(), 1, "{after:?}");
    assert!(new[0].to_string_lossy().contains("errant"), "{new:?}");
    assert!(new[0].join("mysql/astray").is_dir(), "the errant data are there");
}
