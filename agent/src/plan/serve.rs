//! A server that runs on complete data: held in its role. The rules stand in the order of
//! docs/replication.md, and the first that matches wins; those of a minion are in
//! [`super::replica`].

use berth_model::{
    EntryKey,
    goal::{GoalState, PlacedEntry, Role},
    status::InstanceState,
};
use jiff::SignedDuration;

use super::{Decision, Step, Subject, Verb, replica, variables};
use crate::{
    data::{DataFacts, DataState, Marker, Origin},
    mysql::Snapshot,
    observe::{ContainerState, Observed, Purpose, ServerFacts},
};

/// A server that has not answered for this long after its start is called unresponsive.
/// Nothing is done then either: crash recovery of a large server takes long, and killing
/// it would only begin it again.
const START_TIME: SignedDuration = SignedDuration::from_mins(10);

pub(super) fn hold(subject: &Subject<'_>, marker: &Marker) -> Decision {
    let server = match &subject.seen.server {
        Observed::Present(server) => server,
        Observed::Absent => return unanswered(subject, marker, "no answer yet"),
        Observed::Unknown(why) => return unanswered(subject, marker, why),
    };
    let mut decision = match subject.entry().role {
        Role::Master if marker.state != DataState::Ready => Decision::blocked(
            InstanceState::Promoting,
            "its data was cloned and has not been verified; this version makes no master of a minion",
        ),
        Role::Master => master(subject, marker, server),
        Role::Minion => replica::minion(subject, marker, server),
    };
    decision.role = decision.role.or_else(|| role_now(&server.snapshot));
    decision.notes.extend(variables::notes(subject, server));
    decision
}

/// The role a server has in fact.
pub(super) fn role_now(server: &Snapshot) -> Option<Role> {
    match (&server.replica, server.super_read_only) {
        (Some(_), _) => Some(Role::Minion),
        (None, false) => Some(Role::Master),
        (None, true) => None,
    }
}

/// The state before any rule: what a decision about the container alone reports.
pub(super) fn state_now(subject: &Subject<'_>, marker: &Marker) -> InstanceState {
    let remembered = subject.remembered().and_then(|remembered| remembered.state);
    match (remembered, &marker.state) {
        (Some((state, _)), _) => state,
        (None, DataState::Ready) => InstanceState::Starting,
        (None, _) => InstanceState::Bootstrapping,
    }
}

/// Whether the server has answered since it was started, as far as is remembered.
fn answered_before(subject: &Subject<'_>) -> bool {
    let remembered = subject.remembered().and_then(|remembered| remembered.state);
    remembered.is_some_and(|(state, _)| {
        !matches!(
            state,
            InstanceState::Absent
                | InstanceState::Bootstrapping
                | InstanceState::Down
                | InstanceState::Starting
        )
    })
}

/// Whether the server doesn't answer, and may be starting.
pub(super) fn may_be_starting(subject: &Subject<'_>) -> bool {
    subject.seen.server.present().is_none() && !answered_before(subject)
}

fn unanswered(subject: &Subject<'_>, marker: &Marker, why: &str) -> Decision {
    let answered_before = answered_before(subject);
    let created = subject.seen.container.present().map(|container| container.created_at);
    let late = created.is_some_and(|at| subject.now.duration_since(at) > START_TIME);
    if answered_before || late {
        return Decision::blocked(
            InstanceState::Unresponsive,
            format!(
                "its server runs but does not answer: {why}; nothing is done to it, see \
                 `berth logs {}`",
                subject.key
            ),
        );
    }
    let state = match marker.state {
        DataState::Ready => InstanceState::Starting,
        _ => InstanceState::Bootstrapping,
    };
    Decision::waiting(state, format!("waiting for the server to answer: {why}"))
}

fn master(subject: &Subject<'_>, marker: &Marker, server: &ServerFacts) -> Decision {
    if subject.entry().disabled {
        return disabled_master(subject, server);
    }
    if !server.snapshot.super_read_only && server.snapshot.replica.is_none() {
        return writable_master(subject, server);
    }
    match gate(subject, marker, &server.snapshot) {
        Err(why) => Decision::blocked(InstanceState::Promoting, why),
        Ok(()) => promote(subject, marker, server),
    }
}

fn disabled_master(subject: &Subject<'_>, server: &ServerFacts) -> Decision {
    if !server.snapshot.super_read_only {
        let steps = vec![subject.sql(Verb::SuperReadOnly)];
        return Decision { urgent: true, ..Decision::act(InstanceState::Demoting, steps) };
    }
    let mut decision = Decision::act(InstanceState::Demoting, variables::hold(subject, server));
    decision.notes.push("disabled by its goal: read-only".to_owned());
    decision.with_role(Role::Master)
}

/// What a read-only server must be to become its cluster's writable master. Only a server
/// that was initialised here and has never replicated, or has been the master already,
/// passes; making a master of a minion is not in this version.
fn gate(subject: &Subject<'_>, marker: &Marker, server: &Snapshot) -> Result<(), String> {
    if let Some(replication) = &server.replica {
        return Err(format!(
            "it replicates from {}:{}; this version makes no master of a minion",
            replication.source_host, replication.source_port
        ));
    }
    if marker.origin == Origin::Cloned && marker.role != Some(Role::Master) {
        return Err("its data was cloned from a master; this version makes no master of a \
                    minion"
            .to_owned());
    }
    if marker.role == Some(Role::Minion) {
        return Err("it was a minion; this version makes no master of a minion".to_owned());
    }
    no_rival(subject)
}

/// Whether no other entry of the cluster is a writable master, as far as can be seen. Not
/// knowing is no leave.
fn no_rival(subject: &Subject<'_>) -> Result<(), String> {
    let cluster = subject.cluster();
    let same = |other: &&PlacedEntry| {
        other.key != *subject.key && subject.goals.cluster_of(other) == cluster
    };
    let peer = subject.goals.peers.values().filter(same).find(|peer| {
        let entry = &peer.entry;
        entry.role == Role::Master && !entry.disabled && entry.state == GoalState::Started
    });
    if let Some(peer) = peer {
        return Err(format!("the goal of {} is to be the master of cluster {cluster}", peer.key));
    }
    // Whatever their goals: one that is to stop may run on for minutes.
    let own = subject.goals.own.values().map(|goal| &goal.placed);
    own.filter(same).try_for_each(|other| harmless(subject, &other.key))
}

/// Says why another instance of this host takes writes, or might.
fn harmless(subject: &Subject<'_>, key: &EntryKey) -> Result<(), String> {
    let unknown = |what: &str| Err(format!("whether {key} takes writes is not known: {what}"));
    let Some(seen) = subject.observation.instances.get(key) else {
        return unknown("it was not observed");
    };
    let purpose = match &seen.container {
        Observed::Absent => return Ok(()),
        Observed::Unknown(why) => return unknown(why),
        Observed::Present(container) => match container.state {
            ContainerState::Running { .. } => container.purpose,
            ContainerState::Creating | ContainerState::Exited(_) => return Ok(()),
        },
    };
    if purpose == Some(Purpose::Seed) {
        // Writable for its CLONE, but without a network.
        return Ok(());
    }
    let never_master = matches!(
        &seen.data,
        Observed::Present(DataFacts::Own { marker, .. }) if marker.role == Some(Role::Minion)
    );
    match &seen.server {
        Observed::Present(server) if !server.snapshot.super_read_only => {
            Err(format!("{key} of the same cluster takes writes"))
        }
        // Steps of an earlier plan may be about to let it take writes.
        Observed::Present(server)
            if server.snapshot.replica.is_none()
                && subject.observation.busy.contains_key(key.as_str()) =>
        {
            unknown("it is at work")
        }
        Observed::Present(_) => Ok(()),
        Observed::Absent | Observed::Unknown(_) if never_master => Ok(()),
        Observed::Absent => unknown("it runs"),
        Observed::Unknown(why) => unknown(why),
    }
}

fn promote(subject: &Subject<'_>, marker: &Marker, server: &ServerFacts) -> Decision {
    let mut steps = Vec::new();
    if marker.role != Some(Role::Master) {
        // Written down before the first write, so that no later pass takes it for fresh.
        steps.push(subject.mark(Marker { role: Some(Role::Master), ..marker.clone() }));
    }
    // Durable first, then writable, then the accounts, and clients last.
    let (open, durable): (Vec<Step>, Vec<Step>) =
        variables::hold(subject, server).into_iter().partition(is_opening);
    steps.extend(durable);
    steps.push(subject.sql(Verb::TakeWrites));
    if !server.accounts {
        steps.push(subject.sql(Verb::EnsureAccounts { cluster: subject.cluster() }));
    }
    steps.extend(open);
    Decision::act(InstanceState::Promoting, steps)
}

fn is_opening(step: &Step) -> bool {
    matches!(step, Step::Sql { verb: Verb::OfflineMode { on: false }, .. })
}

fn writable_master(subject: &Subject<'_>, server: &ServerFacts) -> Decision {
    let mut steps = variables::hold(subject, server);
    if !server.accounts {
        steps.push(subject.sql(Verb::EnsureAccounts { cluster: subject.cluster() }));
    }
    Decision::act(InstanceState::Master, steps).with_role(Role::Master)
}
