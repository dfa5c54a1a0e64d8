//! What the loop reaches beyond its own files: the time, what there is, and the work of
//! lanes. [`HostWorld`] is the host; tests put a model in its place.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use berth_model::goal::Goals;
use jiff::Timestamp;

use super::watches::Watches;
use crate::{
    act::{self, Board, StepReport},
    host::Host,
    observe::{Observation, gather::Gatherer},
    plan::Step,
    wake::Waker,
};

/// The world of one loop.
pub(super) trait World: Send + Sync + 'static {
    /// The time.
    fn now(&self) -> Timestamp;

    /// Observes all that the goals speak of, within a bound. `busy` are the lanes at work.
    fn observe(
        &self,
        goals: &Arc<Goals>,
        busy: BTreeMap<String, String>,
    ) -> impl Future<Output = Observation> + Send;

    /// Runs a lane's steps up to the first that fails, and tells the board what it does.
    fn run_lane(
        &self,
        board: Board,
        lane: String,
        steps: Vec<Step>,
    ) -> impl Future<Output = Vec<StepReport>> + Send;
}

/// The host itself.
#[derive(Debug)]
pub(super) struct HostWorld {
    host: Arc<Host>,
    waker: Waker,
    gatherer: Gatherer,
    watches: Mutex<Watches>,
}

impl HostWorld {
    pub(super) fn new(host: Arc<Host>, waker: Waker) -> Self {
        let gatherer = Gatherer::new(Arc::clone(&host));
        Self { host, waker, gatherer, watches: Mutex::default() }
    }
}

impl World for HostWorld {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn observe(&self, goals: &Arc<Goals>, busy: BTreeMap<String, String>) -> Observation {
        let observation = self.gatherer.gather(goals, busy).await;
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.renew(&self.host, &self.waker, &observation);
        observation
    }

    async fn run_lane(&self, board: Board, lane: String, steps: Vec<Step>) -> Vec<StepReport> {
        let host = Arc::clone(&self.host);
        let work = move || act::run_lane(&host, &board, &lane, steps);
        // Nothing is known of a lane that panicked; the next pass observes what it left.
        tokio::task::spawn_blocking(work).await.unwrap_or_default()
    }
}
