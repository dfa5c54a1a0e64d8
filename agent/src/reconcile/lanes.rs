//! Lanes at work: started by a pass, reported to a later one.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use berth_model::status::{LastStep, RECENT_MAX, RecentStep};

use super::world::World;
use crate::{
    act::{Board, Effect, StepReport},
    journal::Journal,
    plan::Step,
    status,
    wake::{Reason, Waker},
};

/// What lanes did that have ended, until a pass collects it.
type Ended = Arc<Mutex<Vec<(String, Vec<StepReport>)>>>;

/// The lanes of a host.
#[derive(Debug)]
pub(super) struct Lanes<W> {
    world: Arc<W>,
    waker: Waker,
    board: Board,
    ended: Ended,
    /// What each lane did last. Doing the same again with success means that it has no
    /// effect, which counts as a failure, so that it is not done for ever without a wait.
    last: BTreeMap<String, Vec<Step>>,
    recent: VecDeque<RecentStep>,
}

impl<W: World> Lanes<W> {
    pub(super) fn new(world: Arc<W>, waker: Waker) -> Self {
        Self {
            world,
            waker,
            board: Board::default(),
            ended: Arc::default(),
            last: BTreeMap::new(),
            recent: VecDeque::new(),
        }
    }

    /// What the lanes are doing.
    pub(super) fn board(&self) -> &Board {
        &self.board
    }

    /// The steps completed last, oldest first.
    pub(super) fn recent(&self) -> Vec<RecentStep> {
        self.recent.iter().cloned().collect()
    }

    /// Starts a lane. The caller has seen that it is at rest.
    pub(super) fn start(&mut self, lane: &str, steps: Vec<Step>, journal: &mut Journal) {
        if self.last.get(lane) == Some(&steps) {
            let now = self.world.now();
            journal.entry(lane.to_owned()).or_default().failed(now, fastrand::f64());
            tracing::warn!(lane, "the same steps again: they worked, but changed nothing");
        }
        self.last.insert(lane.to_owned(), steps.clone());
        if let Some(first) = steps.first() {
            self.board.begin(lane, &first.to_string());
        }
        let (world, waker) = (Arc::clone(&self.world), self.waker.clone());
        let (board, ended, lane) = (self.board.clone(), Arc::clone(&self.ended), lane.to_owned());
        tokio::spawn(async move {
            let reports = world.run_lane(board.clone(), lane.clone(), steps).await;
            ended.lock().unwrap_or_else(PoisonError::into_inner).push((lane.clone(), reports));
            board.end(&lane);
            waker.raise(Reason::Lane(lane));
        });
    }

    /// The lane needs nothing: the next time it does the same, it is no repetition.
    pub(super) fn settled(&mut self, lane: &str) {
        self.last.remove(lane);
    }

    /// Writes what ended lanes did into the journal.
    pub(super) fn collect(&mut self, journal: &mut Journal) {
        let ended = std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner));
        for (lane, reports) in ended {
            for report in reports {
                self.remember(&lane, report, journal);
            }
        }
    }

    fn remember(&mut self, lane: &str, report: StepReport, journal: &mut Journal) {
        let took_ms = status::millis(report.took);
        let remembered = journal.entry(lane.to_owned()).or_default();
        if report.error.is_empty() {
            tracing::info!(lane, step = report.step, took_ms, "done");
        } else {
            let error = report.error.join(": ");
            tracing::warn!(lane, step = report.step, took_ms, error, "failed");
            remembered.failed(report.at, fastrand::f64());
            self.last.remove(lane);
        }
        match &report.effect {
            Effect::None => {}
            Effect::Crashed(exit) => remembered.crashed(report.at, exit, fastrand::f64()),
            Effect::DataMade => remembered.has_data = true,
            Effect::DataGone => remembered.has_data = false,
        }
        remembered.last_step = Some(LastStep {
            step: report.step.clone(),
            at: report.at,
            error: report.error.clone(),
        });
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(RecentStep {
            lane: lane.to_owned(),
            step: report.step,
            at: report.at,
            took_ms,
            error: report.error,
        });
    }
}
