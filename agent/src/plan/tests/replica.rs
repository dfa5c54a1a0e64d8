//! A minion whose replication is not what the goal says.

use berth_model::{
    goal::Role,
    status::InstanceState::{BehindPurged, Demoting, Errant, Minion, Misdirected, Stopped},
};

use super::role::{silent_source, with_goal};
use super::scene::{
    Says::{Blocked, Nothing, Waits},
    *,
};
use crate::{
    mysql::IoState,
    observe::{InstanceObservation, Observed},
    plan::Decision,
    testing::entries::Entry,
};

#[test]
fn errant_minions_are_stopped_and_kept() {
    let errant = |seen: &mut InstanceObservation| {
        let executed = &mut server(seen).snapshot.gtid_executed;
        *executed = executed.union(&stranger());
    };
    let stopped = |seen: &mut InstanceObservation| {
        errant(seen);
        (replica(seen).io, replica(seen).sql_running) = (IoState::Stopped, false);
    };
    let says = Blocked("it has transactions that its source lacks: ffffffff-");
    let reseed = |entry: Entry| entry.with("reseed", "errant");
    let aside = aside("errant");
    table([
        ("replicating", minion_when(errant), Errant, &["stop replication"], says),
        ("stopped", minion_when(stopped), Errant, &[], says),
        (
            "and misdirected",
            minion_when(|seen| {
                errant(seen);
                replica(seen).source_port = 7009;
            }),
            Errant,
            &["stop replication"],
            says,
        ),
        (
            "reseeded when the goal allows it",
            with_goal(1, reseed, errant),
            Errant,
            &["stop container", "remove container", &aside],
            Nothing,
        ),
        (
            "its source is silent, which proves nothing",
            minion_when(|seen| {
                errant(seen);
                silent_source(seen);
            }),
            Minion,
            &[],
            Nothing,
        ),
    ]);
}

fn aside(why: &str) -> String {
    format!(
        "move data aside to /var/lib/berth/data/.trash/h1-db2.{why}.{}",
        Scene::converged().now.strftime("%Y%m%dT%H%M%SZ")
    )
}

#[test]
fn the_sources_own_transactions_are_never_errant() {
    let ahead = minion_when(|seen| {
        let Observed::Present(source) = &mut seen.source else { panic!("no source") };
        let Observed::Present(view) = &mut source.server else { panic!("no view") };
        let received = format!("{}:1-999", view.server_uuid).parse().unwrap();
        let executed = &mut server(seen).snapshot.gtid_executed;
        *executed = executed.union(&received);
    });
    table([("ahead by semi-sync", ahead, Minion, &[], Nothing)]);
}

#[test]
fn a_minion_is_pointed_at_the_goals_source() {
    let elsewhere = |seen: &mut InstanceObservation| replica(seen).source_port = 7009;
    let point = &["stop replication", "replicate from 127.0.0.1:7001", "start replication"][..];
    let extra = |seen: &mut InstanceObservation| {
        elsewhere(seen);
        let Observed::Present(source) = &mut seen.source else { panic!("no source") };
        let Observed::Present(view) = &mut source.server else { panic!("no view") };
        // What the new source lacks is the old source's own.
        view.gtid_executed = Default::default();
        view.server_uuid = "eeeeeeee-0000-0000-0000-000000000000".into();
    };
    table([
        ("another source", minion_when(elsewhere), Misdirected, point, Nothing),
        (
            "by file and position",
            minion_when(|seen| replica(seen).auto_position = false),
            Misdirected,
            point,
            Nothing,
        ),
        (
            "the right one is silent",
            minion_when(|seen| {
                elsewhere(seen);
                silent_source(seen);
            }),
            Misdirected,
            &[],
            Blocked("it replicates from 127.0.0.1:7009; 127.0.0.1:7001"),
        ),
        (
            "the right one lacks what it has",
            minion_when(extra),
            Errant,
            &["stop replication"],
            Blocked("it has transactions that its source lacks"),
        ),
    ]);
}

#[test]
fn a_minion_without_a_source_gets_the_goals() {
    table([
        (
            "no source at all",
            minion_when(|seen| server(seen).snapshot.replica = None),
            Misdirected,
            &["replicate from 127.0.0.1:7001", "start replication"],
            Nothing,
        ),
        (
            "no source at all, and the right one is silent",
            minion_when(|seen| {
                server(seen).snapshot.replica = None;
                silent_source(seen);
            }),
            Misdirected,
            &[],
            Waits("waiting for 127.0.0.1:7001 to answer"),
        ),
        (
            "no source at all, and errant",
            minion_when(|seen| {
                server(seen).snapshot.replica = None;
                server(seen).snapshot.gtid_executed = stranger();
            }),
            Misdirected,
            &[],
            Blocked("it has transactions that 127.0.0.1:7001 lacks"),
        ),
        (
            "it was the master",
            minion_when(|seen| {
                server(seen).snapshot.replica = None;
                marker(seen).role = Some(Role::Master);
            }),
            Demoting,
            &[],
            Blocked("it was the master"),
        ),
    ]);
}

/// The minion's threads have ended with these errors.
fn ended(io: IoState, io_errno: u16, sql: bool, sql_errno: u16) -> Decision {
    minion_when(|seen| stop(seen, io, io_errno, sql, sql_errno))
}

fn stop(seen: &mut InstanceObservation, io: IoState, io_errno: u16, sql: bool, sql_errno: u16) {
    let replica = replica(seen);
    (replica.io, replica.sql_running) = (io, sql);
    (replica.last_io_errno, replica.last_sql_errno) = (io_errno, sql_errno);
    replica.last_io_error = "the receiver's error".into();
    replica.last_sql_error = "the applier's error".into();
}

#[test]
fn the_error_code_decides_whether_threads_are_started() {
    let start = &["start replication"][..];
    table([
        ("told to stop", ended(IoState::Stopped, 0, false, 0), Stopped, start, Nothing),
        ("the applier alone", ended(IoState::Running, 0, false, 0), Stopped, start, Nothing),
        ("the receiver alone", ended(IoState::Stopped, 0, true, 0), Stopped, start, Nothing),
        ("a lost connection", ended(IoState::Stopped, 2003, true, 0), Stopped, start, Nothing),
        ("a lock wait timeout", ended(IoState::Running, 0, false, 1205), Stopped, start, Nothing),
        (
            "a duplicate key",
            ended(IoState::Running, 0, false, 1062),
            Stopped,
            &[],
            Blocked("replication stopped with error 1062: the applier's error"),
        ),
        (
            "a wrong password",
            ended(IoState::Stopped, 1045, true, 0),
            Stopped,
            &[],
            Blocked("replication stopped with error 1045: the receiver's error"),
        ),
    ]);
}

#[test]
fn a_minion_behind_what_is_purged_is_reseeded() {
    let purged = |seen: &mut InstanceObservation| stop(seen, IoState::Stopped, 13114, true, 0);
    let never = |entry: Entry| entry.with("reseed", "never");
    let aside = aside("purged");
    let reseed = &["stop container", "remove container", &aside][..];
    table([
        ("purged", minion_when(purged), BehindPurged, reseed, Nothing),
        (
            "by the older number",
            ended(IoState::Stopped, 1236, true, 0),
            BehindPurged,
            reseed,
            Nothing,
        ),
        (
            "its source is silent",
            minion_when(|seen| {
                purged(seen);
                silent_source(seen);
            }),
            BehindPurged,
            &[],
            Blocked("its source does not answer; its data is kept until then"),
        ),
        (
            "the goal forbids it",
            with_goal(1, never, purged),
            BehindPurged,
            &[],
            Blocked("set `reseed` to `purged`"),
        ),
        (
            "an old error, and replicating",
            ended(IoState::Running, 13114, true, 0),
            Minion,
            &[],
            Nothing,
        ),
    ]);
}

#[test]
fn a_source_that_does_not_answer_is_noted_on_a_minion_that_replicates() {
    let cut = minion_when(silent_source);
    assert_eq!((cut.state, &cut.blocked, &cut.waiting), (Minion, &None, &None));
    let [note] = &cut.notes[..] else { panic!("{:?}", cut.notes) };
    assert!(note.starts_with("its source 127.0.0.1:7001 does not answer this agent: "), "{note}");
    assert_eq!(minion_when(|_| {}).notes, Vec::<String>::new());
}
