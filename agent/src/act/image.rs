//! Steps that work on images.

use std::sync::{Mutex, PoisonError};

use berth_images::{NoProgress, Progress};

use super::{Board, StepError};
use crate::host::Host;

pub(super) fn pull(
    host: &Host,
    board: &Board,
    lane: &str,
    reference: &str,
) -> Result<(), StepError> {
    let parsed = reference.parse().map_err(|_| missing(reference))?;
    let progress = OnBoard { board, lane, reference, state: Mutex::default() };
    let reach = &host.config.registries.reach;
    host.images.pull(&parsed, reach, &progress).map(drop).map_err(StepError::Pull)
}

pub(super) fn unpack(host: &Host, reference: &str) -> Result<(), StepError> {
    let parsed = reference.parse().map_err(|_| missing(reference))?;
    let image = host.images.resolve(&parsed).map_err(StepError::Unpack)?;
    let image = image.ok_or_else(|| missing(reference))?;
    host.images.unpack(&image, &NoProgress).map(drop).map_err(StepError::Unpack)
}

fn missing(reference: &str) -> StepError {
    StepError::NoImage { reference: reference.to_owned() }
}

/// Tells the board how far a pull is.
struct OnBoard<'a> {
    board: &'a Board,
    lane: &'a str,
    reference: &'a str,
    state: Mutex<Far>,
}

#[derive(Debug, Default)]
struct Far {
    total: u64,
    done: u64,
    percent: u64,
}

impl Far {
    /// The percentage, when it is another than last time.
    fn advance(&mut self, bytes: u64) -> Option<u64> {
        self.done = (self.done + bytes).min(self.total);
        let percent = u128::from(self.done) * 100 / u128::from(self.total.max(1));
        let percent = u64::try_from(percent).unwrap_or(100);
        (percent != std::mem::replace(&mut self.percent, percent)).then_some(percent)
    }
}

impl Progress for OnBoard<'_> {
    fn begin(&self, _what: &str, total: Option<u64>) {
        let total = total.unwrap_or_default();
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) =
            Far { total, ..Far::default() };
    }

    fn advance(&self, bytes: u64) {
        let mut far = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(percent) = far.advance(bytes) {
            let words =
                format!("pull image {}, {percent}% of {} MiB", self.reference, far.total >> 20);
            self.board.say(self.lane, &words);
        }
    }

    fn finish(&self) {}

    fn warn(&self, message: &str) {
        tracing::warn!(image = self.reference, "{message}");
    }
}
