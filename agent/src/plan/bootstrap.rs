//! The first data of an instance: a copy of the image's template, and for a minion a CLONE
//! of its master on top of it. Nothing here is ever served: the seeding server has no
//! network, and only a marker that says `ready` opens one that has.

use std::{collections::BTreeSet, time::Duration};

use berth_model::{
    goal::{GoalState, Role},
    status::InstanceState,
};

use super::{Decision, Plan, Step, Subject, Verb, disk, network, shared, spec, step::donor_in};
use crate::{
    data::{DataFacts, DataState, Marker, Origin, marker::MARKER_VERSION},
    mysql::CloneState,
    observe::{Observation, Observed, ServerFacts},
};

/// What a data directory needs at least beside the template, for logs and temporary files.
const FREE_BYTES_MIN: u64 = 512 << 20;

/// How long a seeding server that must be given up gets to end.
const SEED_GRACE: Duration = Duration::from_secs(5);

/// Makes the data directory, anew if it was left half-made, and starts its container.
pub(super) fn make(subject: &Subject<'_>, state: InstanceState) -> Decision {
    let tree = match subject.tree(state) {
        Ok(tree) => tree,
        Err(decision) => return decision,
    };
    if let Some(decision) = half_seeded(subject, state)
        .or_else(|| another_master(subject, state))
        .or_else(|| subject.port_taken(state))
        .or_else(|| disk::unfit(subject, state))
        .or_else(|| disk::too_small(subject, state, FREE_BYTES_MIN))
    {
        return decision;
    }
    let digest = match subject.observation.images.get(subject.image_reference()) {
        Some(Observed::Present(image)) => &image.config_digest,
        _ => return Decision::waiting(state, "waiting for the image"),
    };
    if !tree.template {
        let lane = shared::template_lane(digest);
        return subject.wait_for(state, &lane, "a template data directory to be initialised");
    }
    let place = match network::ready(subject, state) {
        Ok(place) => place,
        Err(decision) => return decision,
    };
    let template = crate::data::mysql_dir(&shared::template_dir(subject.config, digest));
    let marker = |state, origin| Marker {
        version: MARKER_VERSION,
        instance: subject.key.clone(),
        state,
        origin,
        role: None,
        created_at: subject.now,
    };
    let (marker, start) = match subject.entry().role {
        Role::Master => {
            (marker(DataState::Ready, Origin::Initialised), spec::serve(subject, tree, place))
        }
        Role::Minion => {
            let donor = match subject.source_peer(state) {
                Ok(donor) => donor,
                Err(decision) => return decision,
            };
            let seeding = DataState::Seeding { from: donor.to_string() };
            (marker(seeding, Origin::Cloned), spec::seed(subject, tree, place))
        }
    };
    match start {
        Ok(start) => {
            let create = Step::CreateData { template, instance_dir: subject.dir(), marker };
            Decision::act(state, vec![create, start])
        }
        Err(why) => Decision::blocked(state, why),
    }
}

/// Blocked, if the goal made a master of what was to be seeded: its cluster has, or had, data
/// elsewhere, so an empty one must not take its place.
fn half_seeded(subject: &Subject<'_>, state: InstanceState) -> Option<Decision> {
    let Observed::Present(DataFacts::Own { marker, .. }) = &subject.seen.data else { return None };
    let master = subject.entry().role == Role::Master;
    (master && marker.origin == Origin::Cloned).then(|| {
        Decision::blocked(
            state,
            "the goal was minion, and its seed is not complete; no empty master is made of it. \
             Make it a minion again, or set its state to removed first",
        )
    })
}

/// Blocked, if another entry of the cluster is a master: an empty one beside it would be
/// a second.
fn another_master(subject: &Subject<'_>, state: InstanceState) -> Option<Decision> {
    let cluster = subject.cluster();
    let other = subject.goals.entries().find(|other| {
        subject.entry().role == Role::Master
            && other.key != *subject.key
            && other.entry.role == Role::Master
            && other.entry.state != GoalState::Removed
            && subject.goals.cluster_of(other) == cluster
    })?;
    Some(Decision::blocked(
        state,
        format!(
            "{} is a master of cluster {cluster} already, so no empty one is made here; make \
             one of them a minion",
            other.key
        ),
    ))
}

/// Leads a seeding server through CLONE. It ends by itself when that is done.
pub(super) fn seed(subject: &Subject<'_>, from: &str) -> Decision {
    const STATE: InstanceState = InstanceState::Bootstrapping;
    if let Some(decision) = half_seeded(subject, STATE) {
        return decision;
    }
    let server = match &subject.seen.server {
        Observed::Present(server) => server,
        Observed::Absent => return Decision::waiting(STATE, "waiting for the seeding server"),
        Observed::Unknown(why) => {
            return Decision::waiting(STATE, format!("waiting for the seeding server: {why}"));
        }
    };
    match server.snapshot.clone.as_ref().map(|clone| clone.state) {
        Some(CloneState::Running) => Decision::waiting(STATE, progress(server, from)),
        Some(CloneState::Completed) => {
            Decision::waiting(STATE, "waiting for the server to end after CLONE")
        }
        Some(CloneState::Failed) if is_untouched(server) => begin(subject),
        Some(CloneState::Failed | CloneState::Interrupted) => give_up(subject, server),
        Some(CloneState::NotStarted) | None => begin(subject),
    }
}

fn progress(server: &ServerFacts, from: &str) -> String {
    match &server.snapshot.clone {
        Some(clone) => format!(
            "cloning from {from}: {} of {} MiB",
            clone.bytes_done() >> 20,
            clone.bytes_estimate() >> 20
        ),
        None => format!("cloning from {from}"),
    }
}

fn begin(subject: &Subject<'_>) -> Decision {
    const STATE: InstanceState = InstanceState::Bootstrapping;
    let donor = match subject.source_peer(STATE) {
        Ok(donor) => donor,
        Err(decision) => return decision,
    };
    if donor.host.is_ipv6() {
        return Decision::blocked(
            STATE,
            format!(
                "CLONE takes no IPv6 address, and {donor} is one; name the master by an IPv4 \
                 address, or give it one of an IPv4 pool"
            ),
        );
    }
    match subject.source_server() {
        Observed::Present(_) => Decision::act(STATE, vec![subject.sql(Verb::Clone { donor })]),
        Observed::Absent => {
            Decision::waiting(STATE, format!("waiting for the donor {donor} to serve"))
        }
        Observed::Unknown(why) => {
            Decision::waiting(STATE, format!("waiting for the donor {donor} to answer: {why}"))
        }
    }
}

/// Whether a CLONE that failed had not begun to drop the old data, so that another can
/// follow on the same server.
fn is_untouched(server: &ServerFacts) -> bool {
    let stages = server.snapshot.clone.iter().flat_map(|clone| &clone.stages);
    stages.filter(|stage| stage.name == "DROP DATA").all(|stage| stage.state == "Not Started")
}

/// CLONE failed: what it left is removed, and the seed is begun afresh.
fn give_up(subject: &Subject<'_>, server: &ServerFacts) -> Decision {
    let why = server.snapshot.clone.as_ref().map_or("", |clone| clone.error_message.as_str());
    let id = subject.container_id();
    Decision::act(
        InstanceState::Bootstrapping,
        vec![
            Step::RecordCrash { exit: format!("CLONE failed: {why}") },
            Step::StopContainer { id: id.clone(), grace: SEED_GRACE },
            Step::RemoveContainer { id },
        ],
    )
}

/// A donor serves one CLONE at a time, and refuses others; so only one is begun, and the
/// rest wait for it. The first in the order of keys goes first.
pub(super) fn one_clone_per_donor(plan: &mut Plan, observation: &Observation) {
    let running = observation.instances.values().filter_map(|seen| {
        let clone = seen.server.present()?.snapshot.clone.as_ref()?;
        (clone.state == CloneState::Running).then(|| clone.source.clone())
    });
    let mut in_use: BTreeSet<String> = running.collect();
    in_use.extend(observation.busy.values().filter_map(|words| donor_in(words)));
    for decision in plan.instances.values_mut() {
        let donor = decision.steps.iter().find_map(|step| match step {
            Step::Sql { verb: Verb::Clone { donor }, .. } => Some(donor.to_string()),
            _ => None,
        });
        if let Some(donor) = donor
            && !in_use.insert(donor.clone())
        {
            *decision = Decision::waiting(
                decision.state,
                format!("waiting for the donor {donor}, from which another is being cloned"),
            );
        }
    }
}
