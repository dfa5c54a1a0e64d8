//! One pass.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use berth_model::{
    EntryKey,
    goal::{GoalState, Goals, HostFacts, PlacedEntry, Refusal, Standing, resolve},
    status::{AgentStatus, InstanceState, Phase, StatusDocument},
};
use jiff::{SignedDuration, Timestamp};

use super::{lanes::Lanes, service::Service, world::World};
use crate::{
    config::Config,
    data::DataFacts,
    files::{self, Durability, FileError},
    goal::{in_force, read},
    journal::{Journal, Keeper},
    observe::{InstanceObservation, Observation, Observed, Purpose},
    plan::{self, Decision, LOOK_AGAIN, Plan},
    status,
    wake::{Reason, Waker},
};

/// How long reading the goal directory may take before the goals in force are kept.
const READ_WAIT: Duration = Duration::from_secs(5);
/// How long the end of the agent may wait for a write of the journal.
const FINISH_WAIT: Duration = Duration::from_secs(2);

/// What the loop keeps between passes. All of it is either on disk as well, or can be lost.
#[derive(Debug)]
pub(super) struct Loop<W> {
    config: Config,
    world: Arc<W>,
    waker: Waker,
    lanes: Lanes<W>,
    facts: HostFacts,
    agent: AgentStatus,
    goals: Arc<Goals>,
    /// As last saved.
    in_force: BTreeMap<EntryKey, PlacedEntry>,
    journal: Journal,
    keeper: Keeper,
    service: Service,
}

impl<W: World> Loop<W> {
    /// A loop that goes on where an earlier one of this host ended.
    pub(super) fn new(config: Config, world: Arc<W>, waker: Waker) -> Result<Self, FileError> {
        let in_force = in_force::load(&config.goals_in_force())?;
        let (keeper, journal) = Keeper::open(config.journal())?;
        let facts =
            HostFacts { name: config.host.clone(), memory_bytes: Some(config.memory_bytes) };
        Ok(Self {
            goals: Arc::new(resolve::resolve(&facts, &[], &in_force)),
            lanes: Lanes::new(Arc::clone(&world), waker.clone()),
            agent: status::this_agent(config.interval),
            keeper,
            config,
            world,
            waker,
            facts,
            in_force,
            journal,
            service: Service::of_this_process(),
        })
    }

    /// Makes passes for ever: at once when something has happened, otherwise when the last
    /// pass said so. `before_each` is called before each.
    pub(super) async fn run(&mut self, before_each: impl Fn()) -> Infallible {
        let interval = self.config.interval;
        let mut wait = interval;
        self.waker.raise(Reason::Start);
        loop {
            let reasons = tokio::select! {
                reasons = self.waker.wait() => reasons,
                () = tokio::time::sleep(wait) => {
                    [if wait < interval { Reason::Timer } else { Reason::Interval }].into()
                }
            };
            before_each();
            let longest = interval.min(self.service.longest_sleep());
            wait = self.pass(&reasons).await.min(longest);
        }
    }

    /// Makes a pass; tells how long the loop may sleep if nothing wakes it.
    pub(super) async fn pass(&mut self, reasons: &BTreeSet<Reason>) -> Duration {
        let begun = Instant::now();
        // The board first: a lane that ends after this counts as busy for this pass, so that
        // nothing is planned for it before its end is in the journal.
        let busy = self.lanes.board().read();
        self.lanes.collect(&mut self.journal);
        self.read_goals().await;
        let words = busy.into_iter().map(|(lane, doing)| (lane, doing.step)).collect();
        let observation = self.world.observe(&self.goals, words).await;
        self.learn(&observation);
        let now = self.world.now();
        let plan = plan::plan(&self.config, &self.goals, &observation, &self.journal, now);
        self.start_lanes(&plan, now);
        self.note_states(&plan, now);
        self.forget_removed(&plan);
        self.agent.passes += 1;
        self.agent.last_pass_at = now;
        self.agent.last_pass_ms = status::millis(begun.elapsed());
        self.agent.last_wake = words_of(reasons);
        let document = self.document(&plan, &observation, now);
        self.save(&document);
        self.service.passed(&document);
        self.sleep(&plan, now)
    }

    /// Reads the goal files and brings them into force. What can't be read, or can't be brought
    /// to the disk, changes nothing.
    async fn read_goals(&mut self) {
        let dir = self.config.goal_dir.clone();
        let known = self.agent.goal_files.clone();
        let reading = tokio::task::spawn_blocking(move || {
            // The fingerprint first: a change while the files are read shows as another one.
            let fingerprint = read::fingerprint(&dir)?;
            let files = read::directory(&dir)?;
            if fingerprint != known {
                read::settle(&dir)?;
            }
            Ok((fingerprint, files))
        });
        let (fingerprint, files) = match tokio::time::timeout(READ_WAIT, reading).await {
            Ok(Ok(Ok(read))) => read,
            Ok(Ok(Err::<_, read::ReadError>(error))) => {
                return self.keep_goals(&files::chain(&error).join(": "));
            }
            Ok(Err(_)) | Err(_) => {
                return self.keep_goals(
                    "the goal directory can't be read, and brought to the disk, in time",
                );
            }
        };
        self.agent.goal_files = fingerprint;
        self.goals = Arc::new(resolve::resolve(&self.facts, &files, &self.in_force));
        let accepted = self.goals.in_force();
        if accepted != self.in_force {
            match in_force::save(&self.config.goals_in_force(), &accepted) {
                Ok(()) => self.in_force = accepted,
                Err(error) => tracing::warn!(error = files::chain(&error).join(": "), "goals"),
            }
        }
    }

    fn keep_goals(&mut self, why: &str) {
        let mut goals = (*self.goals).clone();
        goals.refusals = vec![Refusal {
            location: berth_model::goal::Location::whole(
                &self.config.goal_dir.display().to_string(),
            ),
            entry: None,
            field: None,
            problem: why.to_owned(),
            remedy: "the goals in force are kept until it can be read".to_owned(),
        }];
        self.goals = Arc::new(goals);
    }

    /// Remembers which instances have data, and which image served. That of a removed one may be gone.
    fn learn(&mut self, observation: &Observation) {
        for (key, seen) in &observation.instances {
            let removed = self.goals.own[key].placed.entry.state == GoalState::Removed;
            if removed && seen.data == Observed::Absent {
                self.journal.entry(key.to_string()).or_default().has_data = false;
            }
            if let Some(image) = serving_image(seen) {
                self.journal.entry(key.to_string()).or_default().image_ran = Some(image.clone());
            }
            if matches!(seen.data, Observed::Present(DataFacts::Own { .. })) {
                let dir = self.config.instance_dir(key);
                let remembered = self.journal.entry(key.to_string()).or_default();
                remembered.has_data = true;
                if let Observed::Present(disk) = &seen.disk {
                    remembered.own_disk = disk.is_mounted_at(&dir);
                }
            }
        }
    }

    fn start_lanes(&mut self, plan: &Plan, now: Timestamp) {
        for lane in &plan.quiet {
            self.lanes.settled(lane);
            if let Some(remembered) = self.journal.get_mut(lane) {
                remembered.settle(now);
            }
        }
        for (lane, steps) in &plan.shared {
            self.lanes.start(lane, steps.clone(), &mut self.journal);
        }
        for (key, decision) in &plan.instances {
            if decision.steps.is_empty() {
                if decision.waiting.is_none() {
                    self.lanes.settled(key.as_str());
                }
                continue;
            }
            let waits = self.journal.get(key.as_str()).is_some_and(|r| r.waits(now));
            if decision.urgent || !waits {
                self.lanes.start(key.as_str(), decision.steps.clone(), &mut self.journal);
            }
        }
    }

    fn note_states(&mut self, plan: &Plan, now: Timestamp) {
        for (key, decision) in &plan.instances {
            let remembered = self.journal.entry(key.to_string()).or_default();
            remembered.enter(decision.state, now);
            if decision.phase(false) == Phase::Converged {
                remembered.settle(now);
            }
        }
    }

    /// An instance that is removed and has vanished from the files needs no memory.
    fn forget_removed(&mut self, plan: &Plan) {
        let gone = |key: &EntryKey| {
            let removed =
                plan.instances.get(key).is_some_and(|d| d.state == InstanceState::Removed);
            let orphaned =
                self.goals.own.get(key).is_some_and(|goal| goal.standing == Standing::Orphaned);
            removed && orphaned
        };
        let gone: Vec<EntryKey> = self.in_force.keys().filter(|key| gone(key)).cloned().collect();
        if gone.is_empty() {
            return;
        }
        let mut kept = self.in_force.clone();
        for key in &gone {
            kept.remove(key);
            for lane in plan::network::lanes_of(key) {
                self.journal.remove(&lane);
            }
        }
        match in_force::save(&self.config.goals_in_force(), &kept) {
            Ok(()) => self.in_force = kept,
            Err(error) => tracing::warn!(error = files::chain(&error).join(": "), "goals"),
        }
    }

    fn document(&self, plan: &Plan, observation: &Observation, now: Timestamp) -> StatusDocument {
        status::document(&status::Inputs {
            config: &self.config,
            agent: &self.agent,
            goals: &self.goals,
            plan,
            observation,
            journal: &self.journal,
            doing: &self.lanes.board().read(),
            recent: self.lanes.recent(),
            now,
        })
    }

    fn save(&mut self, document: &StatusDocument) {
        let config = &self.config;
        if let Err(error) = files::write_json(&config.status(), document, Durability::Process) {
            tracing::warn!(error = files::chain(&error).join(": "), "status");
        }
        self.keeper.keep(&self.journal);
    }

    /// Writes down what the next agent is to know, before this one ends.
    pub(super) fn finish(&mut self) {
        self.keeper.finish(&self.journal, FINISH_WAIT);
    }

    /// Until the next retry, or until what is waited for is worth another look: a tenth of
    /// the time it has taken so far.
    fn sleep(&self, plan: &Plan, now: Timestamp) -> Duration {
        let busy = self.lanes.board().read();
        let each = plan.instances.iter().filter(|(key, _)| !busy.contains_key(key.as_str()));
        let instances = each.filter_map(|(key, decision)| self.look_again(key, decision, now));
        let retries =
            self.journal.values().filter_map(|r| r.retry_at).map(|at| at.duration_since(now));
        let due = retries.filter(|wait| wait.is_positive()).map(unsigned);
        instances.chain(due).min().unwrap_or(Duration::MAX)
    }

    fn look_again(&self, key: &EntryKey, decision: &Decision, now: Timestamp) -> Option<Duration> {
        decision.waiting.as_ref()?;
        let (_, since) = self.journal.get(key.as_str())?.state?;
        let tenth = unsigned(now.duration_since(since)) / 10;
        Some(tenth.max(LOOK_AGAIN))
    }
}

/// The image of a server that answers and was started to serve.
fn serving_image(seen: &InstanceObservation) -> Option<&String> {
    let container = seen.container.present()?;
    let serves = container.purpose == Some(Purpose::Serve) && seen.server.present().is_some();
    Some(&container.image_digest).filter(|image| serves && !image.is_empty())
}

fn unsigned(duration: SignedDuration) -> Duration {
    Duration::try_from(duration).unwrap_or_default()
}

fn words_of(reasons: &BTreeSet<Reason>) -> String {
    reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
