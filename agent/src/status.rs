//! The status document: made by the agent after each pass, and read again with the facts
//! of the kernel laid over it.
//!
//! [`document`] is pure. [`live`] is for the command line: it takes no lock and needs no
//! agent, only the document's file, /proc and the cgroup.

mod disk;
pub mod live;
mod network;

use std::{collections::BTreeMap, time::Duration};

use berth_model::{
    EntryKey,
    goal::{Goal, Goals, Standing},
    status::{
        AgentState, AgentStatus, ContainerStatus, Doing, GoalStanding, GoalSummary, ImagesStatus,
        InstanceStatus, Phase, RecentStep, ReplicationStatus, Retry, STATUS_VERSION,
        StatusDocument, Usage,
    },
};
use jiff::Timestamp;

use crate::{
    config::Config,
    journal::{Journal, Remembered},
    mysql::{IoState, ReplicaStatus},
    observe::{ContainerFacts, ContainerState, InstanceObservation, Observation},
    plan::{Decision, Plan},
};

/// The status of the agent that is this process, before its first pass.
#[must_use]
pub fn this_agent(interval: Duration) -> AgentStatus {
    let pid = std::process::id();
    let now = Timestamp::now();
    AgentStatus {
        state: AgentState::Running,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid,
        pid_start_ticks: live::start_ticks(pid).unwrap_or_default(),
        boot_id: live::boot_id(),
        started_at: now,
        passes: 0,
        last_pass_at: now,
        last_pass_ms: 0,
        interval_ms: millis(interval),
        goal_files: String::new(),
        last_wake: String::new(),
    }
}

/// Whole milliseconds.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// All that a status document is made of.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The agent.
    pub agent: &'a AgentStatus,
    /// The goals.
    pub goals: &'a Goals,
    /// What was planned.
    pub plan: &'a Plan,
    /// What was observed.
    pub observation: &'a Observation,
    /// What is remembered.
    pub journal: &'a Journal,
    /// What the lanes are doing.
    pub doing: &'a BTreeMap<String, Doing>,
    /// The steps completed last.
    pub recent: Vec<RecentStep>,
    /// The time.
    pub now: Timestamp,
}

/// Makes the status document of a pass.
#[must_use]
pub fn document(inputs: &Inputs<'_>) -> StatusDocument {
    let instances = inputs.goals.own.iter().filter_map(|(key, goal)| {
        let decision = inputs.plan.instances.get(key)?;
        let seen = inputs.observation.instances.get(key)?;
        Some((key.clone(), instance(inputs, key, goal, decision, seen)))
    });
    StatusDocument {
        version: STATUS_VERSION,
        host: inputs.config.host.clone(),
        agent: inputs.agent.clone(),
        refusals: inputs.goals.refusals.clone(),
        instances: instances.collect(),
        network: network::host(&inputs.observation.network),
        images: inputs.observation.image_store.present().map(images),
        strays: inputs.observation.strays.iter().map(|stray| stray.id.clone()).collect(),
        recent: inputs.recent.clone(),
    }
}

fn instance(
    inputs: &Inputs<'_>,
    key: &EntryKey,
    goal: &Goal,
    decision: &Decision,
    seen: &InstanceObservation,
) -> InstanceStatus {
    let none = Remembered::default();
    let remembered = inputs.journal.get(key.as_str()).unwrap_or(&none);
    let waits = remembered.waits(inputs.now);
    let doing = inputs.doing.get(key.as_str()).cloned();
    let server = seen.server.present().map(|server| &server.snapshot);
    let container = seen.container.present();
    let since = remembered.state.map_or(inputs.now, |(_, since)| since);
    let waited_for = decision.waiting.clone().map(|what| Doing { step: what, since });
    let phase = match (&doing, decision.phase(waits)) {
        (Some(_), Phase::Converged) => Phase::Converging,
        (_, phase) => phase,
    };
    InstanceStatus {
        goal: summary(inputs, goal),
        state: decision.state,
        since,
        role: decision.role,
        phase,
        doing: doing.or(waited_for),
        blocked: decision.blocked.clone(),
        last_step: remembered.last_step.clone(),
        retry: remembered
            .retry_at
            .filter(|_| waits)
            .map(|at| Retry { failures: remembered.failures, at }),
        crashes: remembered.crashes,
        last_exit: remembered.last_exit.clone(),
        address: network::address(inputs, key, goal),
        network: network::instance(inputs, key, goal),
        disk: disk::instance(&seen.disk),
        server_version: server.map(|server| server.version.to_string()),
        server_uuid: server.map(|server| server.server_uuid.clone()),
        gtid_executed: server.map(|server| server.gtid_executed.to_string()),
        replication: server.and_then(|server| server.replica.as_ref()).map(replication),
        container: container.map(container_status),
        usage: Usage::default(),
        notes: notes(decision, container),
    }
}

fn images(usage: &berth_images::Usage) -> ImagesStatus {
    ImagesStatus {
        blobs: usage.blobs,
        blob_bytes: usage.blob_bytes,
        trees: usage.trees,
        tree_bytes: usage.tree_bytes,
        partial_bytes: usage.partial_bytes,
        free_bytes: usage.free_bytes,
    }
}

fn summary(inputs: &Inputs<'_>, goal: &Goal) -> GoalSummary {
    let entry = &goal.placed.entry;
    GoalSummary {
        state: entry.state,
        role: entry.role,
        disabled: entry.disabled,
        standing: match goal.standing {
            Standing::Current => GoalStanding::Current,
            Standing::LastGood => GoalStanding::LastGood,
            Standing::Orphaned => GoalStanding::Orphaned,
        },
        location: goal.placed.location.to_string(),
        generation: entry.generation,
        cluster: inputs.goals.cluster_of(&goal.placed),
        image: entry.image.clone().unwrap_or_else(|| inputs.config.image.clone()),
    }
}

fn replication(replica: &ReplicaStatus) -> ReplicationStatus {
    let errors = [&replica.last_sql_error, &replica.last_io_error];
    ReplicationStatus {
        source: format!("{}:{}", replica.source_host, replica.source_port),
        receiver: replica.io == IoState::Running,
        applier: replica.sql_running,
        lag_seconds: replica.seconds_behind,
        error: errors.into_iter().find(|error| !error.is_empty()).cloned(),
    }
}

fn container_status(container: &ContainerFacts) -> ContainerStatus {
    let (pid, exit) = match &container.state {
        ContainerState::Running { pid } => (Some(*pid), None),
        ContainerState::Creating => (None, None),
        ContainerState::Exited(exit) => (None, Some(crate::plan::describe_exit(exit))),
    };
    ContainerStatus {
        id: container.id.clone(),
        pid,
        started_at: container.created_at,
        image_digest: container.image_digest.clone(),
        exit,
    }
}

fn notes(decision: &Decision, container: Option<&ContainerFacts>) -> Vec<String> {
    let container = container.into_iter().flat_map(|container| container.notes.iter());
    decision.notes.iter().chain(container).cloned().collect()
}

#[cfg(test)]
mod tests;
