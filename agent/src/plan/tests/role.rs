//! A running server held in its role: the rows of docs/replication.md.

use berth_model::{
    goal::Role,
    status::InstanceState::{
        self, Demoting, Master, Minion, Promoting, Unresponsive, WritableMinion,
    },
};
use serde_json::json;

use super::scene::{
    Says::{Blocked, Nothing, Waits},
    *,
};
use crate::{
    data::{DataFacts, DataState},
    mysql::IoState,
    observe::{ContainerState, InstanceObservation, Observed},
    plan::Decision,
    testing::{entries::Entry, key},
};

/// As mysqld has just started.
pub(super) fn booted(seen: &mut InstanceObservation) {
    let snapshot = &mut server(seen).snapshot;
    (snapshot.super_read_only, snapshot.offline_mode) = (true, true);
}

pub(super) fn silent_source(seen: &mut InstanceObservation) {
    if let Observed::Present(source) = &mut seen.source {
        source.server = unknown();
    }
}

/// The goal of one instance has these fields, and what was seen of it is changed.
pub(super) fn with_goal(
    entry: usize,
    change: impl FnOnce(Entry) -> Entry,
    see: impl FnOnce(&mut InstanceObservation),
) -> Decision {
    let mut all = entries();
    all[entry] = change(all[entry].clone());
    let name = [MASTER, MINION][entry];
    Scene::converged().wants(&all).sees(name, see).decide(name)
}

#[test]
fn masters() {
    table([
        ("all right", master_when(|_| {}), Master, &[], Nothing),
        ("restarted", master_when(booted), Promoting, &["take writes", "serve"], Nothing),
        (
            "first start",
            master_when(|seen| {
                booted(seen);
                marker(seen).role = None;
                server(seen).accounts = false;
                server(seen).snapshot.held.sync_binlog = 0;
            }),
            Promoting,
            &[
                "mark data directory ready",
                "set sync_binlog=1",
                "take writes",
                "ensure accounts",
                "serve",
            ],
            Nothing,
        ),
        (
            "its accounts are missing",
            master_when(|seen| server(seen).accounts = false),
            Master,
            &["ensure accounts"],
            Nothing,
        ),
        (
            "its commits are not durable",
            master_when(|seen| {
                let held = &mut server(seen).snapshot.held;
                (held.sync_binlog, held.innodb_flush_log_at_trx_commit) = (0, 2);
            }),
            Master,
            &["set sync_binlog=1", "set innodb_flush_log_at_trx_commit=1"],
            Nothing,
        ),
        (
            "sends clients away",
            master_when(|seen| server(seen).snapshot.offline_mode = true),
            Master,
            &["serve"],
            Nothing,
        ),
    ]);
}

#[test]
fn masters_that_are_silent_or_disabled() {
    table([
        (
            "does not answer",
            master_when(|seen| seen.server = unknown()),
            Unresponsive,
            &[],
            Blocked("its server runs but does not answer"),
        ),
        (
            "disabled",
            with_goal(0, Entry::disabled, |_| {}),
            Demoting,
            &["set super_read_only"],
            Nothing,
        ),
        (
            "disabled and read-only",
            with_goal(0, Entry::disabled, |seen| {
                server(seen).snapshot.super_read_only = true;
            }),
            Demoting,
            &[],
            Nothing,
        ),
    ]);
}

#[test]
fn minions() {
    let seen = |change: fn(&mut InstanceObservation)| minion_when(change);
    let rows: [Row<'_>; 8] = [
        ("all right", seen(|_| {}), Minion, &[], Nothing),
        (
            "writable",
            seen(|seen| server(seen).snapshot.super_read_only = false),
            WritableMinion,
            &["set super_read_only"],
            Nothing,
        ),
        (
            "writable, errant, misdirected and stopped",
            seen(|seen| {
                server(seen).snapshot.super_read_only = false;
                server(seen).snapshot.gtid_executed = stranger();
                replica(seen).source_port = 7009;
                replica(seen).io = IoState::Stopped;
            }),
            WritableMinion,
            &["set super_read_only"],
            Nothing,
        ),
        ("its source is silent", seen(silent_source), Minion, &[], Nothing),
        (
            "its source's address is unknown",
            seen(|seen| seen.source = unknown()),
            Minion,
            &[],
            Blocked("the master's address is not known"),
        ),
        (
            "connecting",
            seen(|seen| {
                replica(seen).io = IoState::Connecting;
                replica(seen).last_io_error = "connection refused".into();
            }),
            Minion,
            &[],
            Waits("waiting for 127.0.0.1:7001: connection refused"),
        ),
        (
            "does not answer",
            seen(|seen| seen.server = unknown()),
            Unresponsive,
            &[],
            Blocked("its server runs but does not answer"),
        ),
        (
            "does not serve when disabled",
            with_goal(1, Entry::disabled, |_| {}),
            Minion,
            &["stop serving"],
            Nothing,
        ),
    ];
    table(rows);
}

#[test]
fn variables_follow_the_role_and_the_goal() {
    let lax = minion_when(|seen| {
        let held = &mut server(seen).snapshot.held;
        (held.sync_binlog, held.innodb_flush_log_at_trx_commit) = (1, 1);
    });
    let semi_sync = |entry: Entry| entry.with("semi_sync_repl_enabled", true);
    let wants = |entry: Entry| {
        entry.with("variables", json!({ "max_connections": 300, "binlog_row_image": "MINIMAL" }))
    };
    let has = |seen: &mut InstanceObservation| {
        let globals = &mut server(seen).globals;
        globals.insert("max_connections".into(), "151".into());
        globals.insert("binlog_row_image".into(), "minimal".into());
    };
    table([
        (
            "a minion's commits need not be durable",
            lax,
            Minion,
            &["set sync_binlog=0", "set innodb_flush_log_at_trx_commit=2"],
            Nothing,
        ),
        (
            "semi-sync, the source's side",
            with_goal(0, semi_sync, |_| {}),
            Master,
            &["turn semi-sync on"],
            Nothing,
        ),
        (
            "semi-sync, the replica's side",
            with_goal(1, semi_sync, |_| {}),
            Minion,
            &["turn semi-sync on"],
            Nothing,
        ),
        (
            "the goal's own variables",
            with_goal(0, wants, has),
            Master,
            &["set max_connections=300"],
            Nothing,
        ),
        (
            "while the source's address is unknown",
            minion_when(|seen| {
                seen.source = unknown();
                server(seen).snapshot.held.sync_binlog = 1;
            }),
            Minion,
            &["set sync_binlog=0"],
            Blocked("the master's address is not known"),
        ),
    ]);
    let lacks = with_goal(0, wants, |seen| server(seen).globals.clear());
    assert!(lacks.notes.iter().any(|note| note == "the server has no variable max_connections"));
}

#[test]
fn what_takes_away_a_danger_is_urgent_and_nothing_else_is() {
    let errant = minion_when(|seen| server(seen).snapshot.gtid_executed = stranger());
    let writable = minion_when(|seen| server(seen).snapshot.super_read_only = false);
    for (name, decision, urgent) in [
        ("a writable minion", writable, true),
        ("a disabled master", with_goal(0, Entry::disabled, |_| {}), true),
        ("an errant minion", errant, true),
        ("a promotion", master_when(booted), false),
        ("missing accounts", master_when(|seen| server(seen).accounts = false), false),
    ] {
        assert!(!decision.steps.is_empty(), "{name}");
        assert_eq!(decision.urgent, urgent, "{name}");
    }
}

#[test]
fn notes_tell_what_is_not_berths() {
    let decision = minion_when(|seen| server(seen).snapshot.other_channels = vec!["dc2".into()]);
    assert!(decision.notes.iter().any(|note| note.contains("doesn't lead: dc2")));
    assert_eq!(decision.role, Some(Role::Minion));
}

#[test]
fn data_of_a_running_server_that_is_unknown_stops_everything() {
    for change in [
        |seen: &mut InstanceObservation| seen.data = unknown(),
        |seen: &mut InstanceObservation| {
            seen.data = Observed::Present(DataFacts::Foreign { why: "no marker".into() });
        },
    ] {
        let decision = minion_when(change);
        assert_eq!(decision.steps, []);
        assert!(decision.blocked.is_some());
    }
    let half_made = minion_when(|seen| marker(seen).state = DataState::Initialising);
    table([(
        "a server on half-made data",
        half_made,
        InstanceState::Bootstrapping,
        &["stop container", "remove container"],
        Nothing,
    )]);
    assert!(matches!(
        Scene::converged().observation.instances[&key(MASTER)].container.present(),
        Some(container) if matches!(container.state, ContainerState::Running { .. })
    ));
}
