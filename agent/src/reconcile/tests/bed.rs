//! A loop with its files in a directory of its own, and a world that can be made to fail.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use berth_model::{
    goal::Goals,
    status::{InstanceStatus, StatusDocument},
};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use super::super::{pass::Loop, world::World};
use crate::{
    act::{self, Board, Effect, StepReport},
    config::Config,
    files,
    journal::Journal,
    observe::{Observation, Observed},
    plan::Step,
    testing::{self, entries, entries::Entry, key, start_of_time, world},
    wake::Waker,
};

/// How long a step takes.
pub(super) const STEP: Duration = Duration::from_millis(10);
/// How long the gatherer waits for a probe that does not answer.
pub(super) const DEAF: Duration = Duration::from_millis(1500);

/// The model of a host as the loop's world.
#[derive(Debug)]
pub(super) struct Fake {
    started: Instant,
    state: Mutex<State>,
}

/// What a test sets, and what it reads.
#[derive(Debug)]
pub(super) struct State {
    pub(super) model: world::World,
    ticked: Duration,
    /// When each pass observed.
    pub(super) observed: Vec<Duration>,
    /// When each step was begun, in words.
    pub(super) begun: Vec<(Duration, String)>,
    /// How long observing takes.
    pub(super) looking: Duration,
    /// Lanes whose steps never end.
    pub(super) stuck: BTreeSet<String>,
    /// Instances whose probes don't answer.
    pub(super) deaf: BTreeSet<String>,
    /// Steps that fail, in words.
    pub(super) failing: BTreeSet<String>,
    /// Steps that say that they worked, and change nothing.
    pub(super) idle: BTreeSet<String>,
    /// Servers end as soon as they are started.
    pub(super) crashing: bool,
}

impl Fake {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn since_start(&self) -> Duration {
        self.started.elapsed()
    }

    fn one(&self, step: &Step) -> Vec<String> {
        let mut state = self.state();
        let words = step.to_string();
        if state.failing.contains(&words) {
            return vec![format!("cannot {words}"), "the test's reason".to_owned()];
        }
        if state.idle.contains(&words) {
            return Vec::new();
        }
        let result = state.model.apply(step);
        if let (true, Step::StartContainer { spec, .. }) = (state.crashing, step) {
            state.model.kill(&spec.id.as_str().parse().unwrap());
        }
        result.err().into_iter().collect()
    }
}

impl World for Fake {
    fn now(&self) -> Timestamp {
        start_of_time() + SignedDuration::try_from(self.since_start()).unwrap()
    }

    async fn observe(&self, goals: &Arc<Goals>, busy: BTreeMap<String, String>) -> Observation {
        let (observation, wait) = {
            let (at, now) = (self.since_start(), self.now());
            let mut state = self.state();
            state.observed.push(at);
            state.model.adopt(goals);
            if at - state.ticked > Duration::from_millis(500) {
                state.ticked = at;
                state.model.tick();
            }
            state.model.now = now;
            let deaf = state.deaf.clone();
            let mut observation = state.model.observe(busy);
            for (key, seen) in &mut observation.instances {
                if deaf.contains(key.as_str()) {
                    seen.data = Observed::Unknown("no answer".to_owned());
                    seen.container = Observed::Unknown("no answer".to_owned());
                    seen.server = Observed::Unknown("no answer".to_owned());
                }
            }
            let wait = if deaf.is_empty() { state.looking } else { DEAF };
            (observation, wait)
        };
        sleep(wait).await;
        observation
    }

    async fn run_lane(&self, board: Board, lane: String, steps: Vec<Step>) -> Vec<StepReport> {
        let mut reports = Vec::new();
        for step in steps {
            let words = step.to_string();
            board.begin(&lane, &words);
            let at = self.since_start();
            self.state().begun.push((at, words.clone()));
            if self.state().stuck.contains(&lane) {
                std::future::pending::<()>().await;
            }
            sleep(STEP).await;
            let error = self.one(&step);
            let failed = !error.is_empty();
            let effect = if failed { Effect::None } else { act::effect(&step) };
            reports.push(StepReport { step: words, at: self.now(), took: STEP, error, effect });
            if failed {
                break;
            }
        }
        reports
    }
}

/// A host, its files, and the agent that works on it.
pub(super) struct Bed {
    _dir: TempDir,
    pub(super) config: Config,
    pub(super) fake: Arc<Fake>,
    pub(super) waker: Waker,
    pub(super) agent: Loop<Fake>,
}

impl Bed {
    /// An agent that has just been started, on a host with an image and a template.
    pub(super) fn new(entries: &[Entry]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Retries are due at the same times in each run, none of them when a test looks.
        fastrand::seed(1);
        let config = Config {
            goal_dir: dir.path().join("goal.d"),
            state_dir: dir.path().join("state"),
            run_dir: dir.path().join("run"),
            ..testing::config()
        };
        for dir in [&config.goal_dir, &config.state_dir, &config.run_dir] {
            std::fs::create_dir(dir).unwrap();
        }
        let mut model = world::World::new(config.clone(), &[]);
        (model.unpacked, model.template) = (true, true);
        let state = State {
            model,
            ticked: Duration::ZERO,
            observed: Vec::new(),
            begun: Vec::new(),
            looking: Duration::from_millis(1),
            stuck: BTreeSet::new(),
            deaf: BTreeSet::new(),
            failing: BTreeSet::new(),
            idle: BTreeSet::new(),
            crashing: false,
        };
        let fake = Arc::new(Fake { started: Instant::now(), state: Mutex::new(state) });
        let waker = Waker::default();
        let agent = Loop::new(config.clone(), Arc::clone(&fake), waker.clone()).unwrap();
        let bed = Self { _dir: dir, config, fake, waker, agent };
        bed.write("10-a.json", &entries::document(entries));
        bed
    }

    /// A new agent on the same host: what the old one did not write down is gone.
    pub(super) fn restart(&mut self) {
        self.waker = Waker::default();
        self.agent =
            Loop::new(self.config.clone(), Arc::clone(&self.fake), self.waker.clone()).unwrap();
    }

    /// Writes a goal file.
    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.config.goal_dir.join(name), text).unwrap();
    }

    /// Lets the agent run for so long.
    pub(super) async fn live(&mut self, seconds: u64) {
        let _ = timeout(Duration::from_secs(seconds), self.agent.run(|| {})).await;
        // The disk's time is not the test's.
        self.agent.finish();
    }

    /// The status document on disk.
    pub(super) fn status(&self) -> StatusDocument {
        files::read_json(&self.config.status()).unwrap().expect("a pass writes the status")
    }

    /// The status of one instance.
    pub(super) fn instance(&self, name: &str) -> InstanceStatus {
        self.status().instances[&key(name)].clone()
    }

    /// The journal on disk.
    pub(super) fn journal(&self) -> Journal {
        crate::journal::load(&self.config.journal()).unwrap()
    }

    /// When a step of these words was begun.
    pub(super) fn begun(&self, words: &str) -> Vec<Duration> {
        let state = self.fake.state();
        state.begun.iter().filter(|(_, step)| step == words).map(|(at, _)| *at).collect()
    }
}
