//! What to do: a pure function of the goals, what was observed, what is remembered, and
//! the time. No I/O, no clock, no randomness, no decision left to whoever runs the steps.
//!
//! Flow: [`instance`] leads by the goal's state; [`bootstrap`] makes data; [`serve`] holds
//! a running server in its role, by the table in docs/replication.md; [`shared`] makes
//! what several instances need; [`network`] gives them their networks; [`disk`] judges what
//! their data is on; [`spec`] describes containers.
//!
//! Removals come before additions, and an instance gets at most one change of its
//! replication per pass: what follows is planned from a new observation.

mod bootstrap;
mod disk;
mod instance;
mod memory;
pub mod network;
mod replica;
mod serve;
mod shared;
mod spec;
mod step;
mod subject;
mod variables;

use std::{collections::BTreeMap, time::Duration};

use berth_model::{
    EntryKey,
    goal::{Goals, Role},
    status::{InstanceState, Phase},
};
use jiff::Timestamp;

use crate::{
    config::Config,
    journal::Journal,
    observe::{Observation, Observed},
};
pub use instance::describe as describe_exit;
pub use shared::template_dir;
pub use spec::labels;
pub use step::{Peer, Step, Verb};
use subject::Subject;

/// What is to be done for one instance, and why nothing more.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What it is.
    pub state: InstanceState,
    /// The role it has in fact.
    pub role: Option<Role>,
    /// What to do, in order; the rest is given up when one fails.
    pub steps: Vec<Step>,
    /// The steps may not wait for a retry: they take away a danger.
    pub urgent: bool,
    /// Why nothing is done that would have to be, in words to act on.
    pub blocked: Option<String>,
    /// What is waited for.
    pub waiting: Option<String>,
    /// What an operator should know though nothing is wrong.
    pub notes: Vec<String>,
}

/// What is to be done on a host.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// Work that several instances wait for, by lane.
    pub shared: BTreeMap<String, Vec<Step>>,
    /// Work for each instance.
    pub instances: BTreeMap<EntryKey, Decision>,
    /// Lanes of networks that have nothing to do.
    pub quiet: Vec<String>,
}

/// How soon to look again while something is waited for.
pub const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A log that has grown beyond this is rotated.
pub const LOG_BYTES_MAX: u64 = 64 << 20;

/// Plans one pass.
#[must_use]
pub fn plan(
    config: &Config,
    goals: &Goals,
    observation: &Observation,
    journal: &Journal,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan { shared: shared::plan(config, goals, observation), ..Plan::default() };
    for (key, goal) in &goals.own {
        let Some(seen) = observation.instances.get(key) else {
            continue;
        };
        let subject = Subject { config, goals, observation, journal, now, key, goal, seen };
        network::plan(&subject, &mut plan);
        let mut decision = instance::decide(&subject);
        disk::tell(&subject, &mut decision);
        network::tell(&subject, &mut decision);
        if decision.steps.is_empty()
            && matches!(seen.log_bytes, Observed::Present(size) if size > LOG_BYTES_MAX)
        {
            decision.steps.push(Step::RotateLog { path: config.log_file(key) });
        }
        if let Some(doing) = observation.busy.get(key.as_str()) {
            decision.steps.clear();
            decision.waiting = Some(doing.clone());
        }
        plan.instances.insert(key.clone(), decision);
    }
    network::settle_bridge(observation, &config.network.bridge.name, &mut plan);
    plan.shared.retain(|lane, _| {
        let waits = journal.get(lane).is_some_and(|remembered| remembered.waits(now));
        !waits && !observation.busy.contains_key(lane)
    });
    shared::bound_pulls(&mut plan.shared, observation);
    bootstrap::one_clone_per_donor(&mut plan, observation);
    plan
}

impl Decision {
    /// The instance is in this state, and nothing is to be done.
    fn settled(state: InstanceState) -> Self {
        Self {
            state,
            role: None,
            steps: Vec::new(),
            urgent: false,
            blocked: None,
            waiting: None,
            notes: Vec::new(),
        }
    }

    /// These steps are to be run.
    fn act(state: InstanceState, steps: Vec<Step>) -> Self {
        Self { steps, ..Self::settled(state) }
    }

    /// Nothing can or may be done, for this reason.
    fn blocked(state: InstanceState, why: impl Into<String>) -> Self {
        Self { blocked: Some(why.into()), ..Self::settled(state) }
    }

    /// Something else has to happen first, and will without an operator.
    fn waiting(state: InstanceState, what: impl Into<String>) -> Self {
        Self { waiting: Some(what.into()), ..Self::settled(state) }
    }

    fn with_role(self, role: Role) -> Self {
        Self { role: Some(role), ..self }
    }

    /// How far the instance is from its goal. `waits` says that a retry is not due yet.
    #[must_use]
    pub fn phase(&self, waits: bool) -> Phase {
        if self.blocked.is_some() {
            Phase::Blocked
        } else if !self.steps.is_empty() && waits && !self.urgent {
            Phase::Retrying
        } else if self.steps.is_empty() && self.waiting.is_none() {
            Phase::Converged
        } else {
            Phase::Converging
        }
    }
}

#[cfg(test)]
mod tests;
