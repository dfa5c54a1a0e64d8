//! The loop in small: passes, lanes that may be interleaved in any order, a journal, and
//! an agent that can be killed between any two steps or in the middle of one.

use std::collections::{BTreeMap, VecDeque};

use super::world::World;
use crate::{
    journal::Journal,
    plan::{Plan, Step, plan},
};

/// How many passes a host may need. Seeding one instance takes about eight, and instances
/// that clone from one donor go one after the other.
const PASSES_MAX: usize = 80;
/// After so many passes without a step nothing will change any more: what changes by itself
/// (a server that starts, a CLONE) shows after one or two.
const QUIET_PASSES: usize = 4;

/// A host with its agent.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub(crate) world: World,
    pub(crate) journal: Journal,
    pub(crate) lanes: BTreeMap<String, VecDeque<Step>>,
    /// What steps were refused with.
    pub(crate) refused: Vec<String>,
}

impl Agent {
    pub(crate) fn new(world: World) -> Self {
        Self { world, journal: Journal::new(), lanes: BTreeMap::new(), refused: Vec::new() }
    }

    /// Plans, and starts the lanes that are at rest and not waiting for a retry.
    pub(crate) fn pass(&mut self) -> Plan {
        let busy = self.lanes.iter().map(|(lane, steps)| (lane.clone(), steps[0].to_string()));
        let observation = self.world.observe(busy.collect());
        let now = self.world.now;
        let plan = plan(&self.world.config, &self.world.goals, &observation, &self.journal, now);
        let instances = plan
            .instances
            .iter()
            .map(|(key, decision)| (key.as_str(), &decision.steps, decision.urgent));
        let shared = plan.shared.iter().map(|(lane, steps)| (lane.as_str(), steps, false));
        for (lane, steps, urgent) in instances.chain(shared) {
            let waits = self.journal.get(lane).is_some_and(|remembered| remembered.waits(now));
            if !steps.is_empty() && (urgent || !waits) {
                self.lanes.insert(lane.to_owned(), steps.iter().cloned().collect());
            }
        }
        for (key, decision) in &plan.instances {
            self.journal.entry(key.to_string()).or_default().enter(decision.state, now);
        }
        plan
    }

    /// Runs one step of the lane that is the `which`th of those at work.
    pub(crate) fn step(&mut self, which: usize) {
        let number = self.lanes.len();
        let Some(lane) = self.lanes.keys().nth(which.checked_rem(number).unwrap_or(0)).cloned()
        else {
            return;
        };
        let steps = self.lanes.get_mut(&lane).expect("its key was just read");
        let step = steps.pop_front().expect("an empty lane is removed");
        let at_end = steps.is_empty();
        let result = self.world.apply(&step);
        let remembered = self.journal.entry(lane.clone()).or_default();
        match (&result, &step) {
            (Ok(()), Step::RecordCrash { exit }) => remembered.crashed(self.world.now, exit, 0.0),
            (Ok(()), Step::CreateData { .. }) => remembered.has_data = true,
            (Ok(()), Step::MoveAside { .. }) => remembered.has_data = false,
            (Ok(()), _) => {}
            (Err(_), _) => remembered.failed(self.world.now, 0.0),
        }
        if let Err(why) = &result {
            self.refused.push(format!("{lane}: {step}: {why}"));
        }
        if at_end || result.is_err() {
            self.lanes.remove(&lane);
        }
    }

    /// kill -9, and a new agent. `half` are the lanes that were in the middle of a step, a
    /// bit each. The journal is on disk.
    pub(crate) fn kill(&mut self, half: u8) {
        for (number, (_, steps)) in std::mem::take(&mut self.lanes).into_iter().enumerate() {
            if half & (1 << (number % 8)) != 0 {
                self.world.interrupt(&steps[0]);
            }
        }
    }

    /// Passes without faults until nothing is to be done any more. What is only waited for
    /// does not count: a minion may wait for ever for a master that is stopped.
    pub(crate) fn settle(&mut self) -> Result<Plan, String> {
        let (mut last, mut quiet) = (Vec::new(), 0);
        for _ in 0..PASSES_MAX {
            let plan = self.pass();
            let at_rest = plan.shared.is_empty()
                && plan.instances.values().all(|decision| decision.steps.is_empty());
            quiet = if at_rest { quiet + 1 } else { 0 };
            if quiet == QUIET_PASSES {
                return Ok(plan);
            }
            if !at_rest {
                last = self.lanes.values().flatten().map(ToString::to_string).collect();
            }
            while !self.lanes.is_empty() {
                self.step(0);
            }
            self.world.tick();
        }
        Err(format!("no end after {PASSES_MAX} passes; the last did {last:?}"))
    }
}
