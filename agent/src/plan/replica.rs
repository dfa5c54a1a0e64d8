//! A running server whose goal says minion.

use berth_model::{
    goal::{Reseed, Role},
    status::InstanceState,
};

use super::{Decision, Peer, Step, Subject, Verb, disk, variables};
use crate::{
    data::{DataState, Marker},
    mysql::{self, CloneState, GtidSet, IoState, ReplicaStatus, Snapshot, SourceView},
    observe::{Observed, ServerFacts},
};

/// Time for a minion to end before its data is put in quarantine.
const QUARANTINE_GRACE: std::time::Duration = std::time::Duration::from_secs(300);

/// The source has purged binary logs that the replica needs
/// (`ER_SOURCE_FATAL_ERROR_READING_BINLOG`, and its GTID form since 8.0).
const PURGED: [u16; 2] = [1236, 13114];

pub(super) fn minion(subject: &Subject<'_>, marker: &Marker, facts: &ServerFacts) -> Decision {
    let server = &facts.snapshot;
    if !server.super_read_only {
        let steps = vec![subject.sql(Verb::SuperReadOnly)];
        return Decision { urgent: true, ..Decision::act(InstanceState::WritableMinion, steps) };
    }
    if let DataState::Seeded { from } = &marker.state
        && let Some(decision) = unproven_seed(subject, marker, server, from)
    {
        return decision;
    }
    let source = match subject.source_peer(InstanceState::Unknown) {
        Ok(source) => source,
        Err(decision) if marker.state == DataState::Ready => {
            return keep_serving(subject, facts, decision);
        }
        // Data that was never compared with its source lets nobody in.
        Err(decision) => return decision,
    };
    let Some(replication) = &server.replica else {
        return unattached(subject, marker, server, source);
    };
    if let Some(errant) = errant(subject, server) {
        return quarantine(subject, replication, &errant);
    }
    if !points_at(replication, &source) {
        return misdirected(subject, server, replication, source);
    }
    if let Some(decision) = not_running(subject, replication) {
        return decision;
    }
    attached(subject, marker, facts, replication)
}

/// A server fresh from CLONE must say itself that the CLONE is complete.
fn unproven_seed(
    subject: &Subject<'_>,
    marker: &Marker,
    server: &Snapshot,
    from: &str,
) -> Option<Decision> {
    if server.clone.as_ref().is_some_and(|clone| clone.state == CloneState::Completed) {
        return None;
    }
    let id = subject.container_id();
    let seeding = DataState::Seeding { from: from.to_owned() };
    Some(Decision::act(
        InstanceState::Bootstrapping,
        vec![
            Step::RecordCrash { exit: "CLONE is not complete by the server's own word".to_owned() },
            Step::StopContainer { id: id.clone(), grace: QUARANTINE_GRACE },
            Step::RemoveContainer { id },
            subject.mark(Marker { state: seeding, ..marker.clone() }),
        ],
    ))
}

/// The variables are held whatever else can't be done.
fn keep_serving(subject: &Subject<'_>, server: &ServerFacts, decision: Decision) -> Decision {
    let state =
        if server.snapshot.replica.is_some() { InstanceState::Minion } else { decision.state };
    Decision { state, steps: variables::hold(subject, server), ..decision }
}

/// Transactions that the minion has and its source lacks; `None` if there are none, or the
/// source doesn't answer, which proves nothing.
fn errant(subject: &Subject<'_>, server: &Snapshot) -> Option<GtidSet> {
    let source = subject.source_server().present()?;
    let errant = mysql::errant(&server.gtid_executed, &source.gtid_executed, &source.server_uuid);
    (!errant.is_empty()).then_some(errant)
}

/// No source is set: a minion fresh from its seed, or a master of old.
fn unattached(subject: &Subject<'_>, marker: &Marker, server: &Snapshot, source: Peer) -> Decision {
    if marker.role == Some(Role::Master) {
        return Decision::blocked(
            InstanceState::Demoting,
            "it was the master; this version makes no minion of a master. It stays read-only",
        );
    }
    let state = match marker.state {
        DataState::Ready => InstanceState::Misdirected,
        _ => InstanceState::Bootstrapping,
    };
    match subject.source_server() {
        Observed::Present(_) => match errant(subject, server) {
            Some(errant) => beyond_source(state, &source, &errant),
            None => attach(subject, state, source),
        },
        Observed::Absent => Decision::waiting(state, format!("waiting for {source} to serve")),
        Observed::Unknown(why) => {
            Decision::waiting(state, format!("waiting for {source} to answer: {why}"))
        }
    }
}

fn attach(subject: &Subject<'_>, state: InstanceState, source: Peer) -> Decision {
    let steps = vec![subject.sql(Verb::PointAt { source }), subject.sql(Verb::StartReplication)];
    Decision::act(state, steps)
}

fn beyond_source(state: InstanceState, source: &Peer, extra: &GtidSet) -> Decision {
    Decision::blocked(state, format!("it has transactions that {source} lacks: {extra}"))
}

fn points_at(replication: &ReplicaStatus, source: &Peer) -> bool {
    replication.source_host == source.host.to_string()
        && replication.source_port == source.port
        && replication.auto_position
}

fn misdirected(
    subject: &Subject<'_>,
    server: &Snapshot,
    replication: &ReplicaStatus,
    source: Peer,
) -> Decision {
    const STATE: InstanceState = InstanceState::Misdirected;
    let at = format!("{}:{}", replication.source_host, replication.source_port);
    match subject.source_server() {
        Observed::Present(view) if server.gtid_executed.is_subset_of(&view.gtid_executed) => {
            let mut steps = vec![subject.sql(Verb::StopReplication)];
            steps.extend(attach(subject, STATE, source).steps);
            Decision::act(STATE, steps)
        }
        Observed::Present(view) => {
            beyond_source(STATE, &source, &server.gtid_executed.subtract(&view.gtid_executed))
        }
        Observed::Absent | Observed::Unknown(_) => Decision::blocked(
            STATE,
            format!("it replicates from {at}; {source}, which the goal names, does not answer"),
        ),
    }
}

fn quarantine(subject: &Subject<'_>, replication: &ReplicaStatus, errant: &GtidSet) -> Decision {
    const STATE: InstanceState = InstanceState::Errant;
    let wanted = subject.entry().reseed == Reseed::Errant;
    let what = match (wanted, disk::fixed(subject)) {
        (true, None) => return Decision::act(STATE, reseed(subject, "errant")),
        (true, Some(why)) => format!("It is to be seeded anew, but {}", by_hand(subject, &why)),
        (false, _) => {
            "Apply them to the master if they matter, then set `reseed` to `errant`".to_owned()
        }
    };
    let mut decision = Decision::blocked(
        STATE,
        format!(
            "it has transactions that its source lacks: {errant}; replication is stopped and its \
             data kept. {what}"
        ),
    );
    if replication.io != IoState::Stopped || replication.sql_running {
        decision.steps.push(subject.sql(Verb::StopReplication));
        decision.urgent = true;
    }
    decision
}

/// Ends the container and keeps the data directory in the trash folder; the next pass finds
/// nothing and seeds anew.
fn reseed(subject: &Subject<'_>, why: &str) -> Vec<Step> {
    let id = subject.container_id();
    vec![
        Step::StopContainer { id: id.clone(), grace: QUARANTINE_GRACE },
        Step::RemoveContainer { id },
        subject.move_aside(why),
    ]
}

/// What an operator does instead of [`reseed`] where the data can't be moved aside.
fn by_hand(subject: &Subject<'_>, why: &str) -> String {
    format!(
        "{why}; set its state to removed, mount an empty file system at {} in place of the old \
         one, and set it to started",
        subject.dir().display()
    )
}

/// A replication thread that doesn't run: started, reseeded or reported by its error.
fn not_running(subject: &Subject<'_>, replication: &ReplicaStatus) -> Option<Decision> {
    let purged = PURGED.contains(&replication.last_io_errno);
    if purged && replication.io == IoState::Stopped {
        return Some(behind_purged(subject, replication));
    }
    if replication.io != IoState::Stopped && replication.sql_running {
        return None;
    }
    let start = vec![subject.sql(Verb::StartReplication)];
    let failed = [
        (replication.last_sql_errno, &replication.last_sql_error),
        (replication.last_io_errno, &replication.last_io_error),
    ];
    let decision = match failed.into_iter().find(|(errno, _)| *errno != 0) {
        None => Decision::act(InstanceState::Stopped, start),
        Some((errno, _)) if mysql::is_transient(errno) => {
            Decision::act(InstanceState::Stopped, start)
        }
        Some((errno, error)) => Decision::blocked(
            InstanceState::Stopped,
            format!("replication stopped with error {errno}: {error}; mend it, then START REPLICA"),
        ),
    };
    Some(decision)
}

fn behind_purged(subject: &Subject<'_>, replication: &ReplicaStatus) -> Decision {
    const STATE: InstanceState = InstanceState::BehindPurged;
    let answers: Option<&SourceView> = subject.source_server().present();
    match (subject.entry().reseed, answers) {
        (Reseed::Never, _) => Decision::blocked(
            STATE,
            format!("{}; set `reseed` to `purged` to seed it anew", replication.last_io_error),
        ),
        (_, None) => Decision::blocked(
            STATE,
            "it has to be seeded anew, but its source does not answer; its data is kept until then",
        ),
        (_, Some(_)) => match disk::fixed(subject) {
            None => Decision::act(STATE, reseed(subject, "purged")),
            Some(why) => Decision::blocked(
                STATE,
                format!("it has to be seeded anew, but {}", by_hand(subject, &why)),
            ),
        },
    }
}

/// Replicating from the right source: opened, and its variables held.
fn attached(
    subject: &Subject<'_>,
    marker: &Marker,
    server: &ServerFacts,
    replication: &ReplicaStatus,
) -> Decision {
    let mut steps = subject.mark_ready(marker, Role::Minion);
    steps.extend(variables::hold(subject, server));
    let mut decision = Decision::act(InstanceState::Minion, steps).with_role(Role::Minion);
    if replication.io == IoState::Connecting {
        let error = match replication.last_io_error.as_str() {
            "" => "connecting",
            error => error,
        };
        decision.waiting = Some(format!(
            "waiting for {}:{}: {error}",
            replication.source_host, replication.source_port
        ));
    }
    if let Observed::Unknown(why) = subject.source_server() {
        // Replication may go on nevertheless, so nothing is wrong with the minion itself.
        let source = format!("{}:{}", replication.source_host, replication.source_port);
        decision.notes.push(format!("its source {source} does not answer this agent: {why}"));
    }
    decision
}
