//! What is remembered of each lane of work between passes: failures, endings, since when it
//! is in its state.
//!
//! The journal decides only when something is tried again and what an operator is told;
//! what runs and what data there is, is always read anew. It is kept on disk so that a
//! restart of the agent doesn't turn a server that keeps failing into a fresh one.

mod keeper;

pub use keeper::Keeper;

use std::{collections::BTreeMap, path::Path, time::Duration};

use berth_model::status::{InstanceState, LastStep};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::files::{self, Durability, FileError};

/// Endings further apart than this don't belong to one row of failures.
const ROW_GAP: SignedDuration = SignedDuration::from_mins(10);
/// The first wait after a failure; each further failure doubles it.
const WAIT_FIRST: Duration = Duration::from_millis(500);
/// The longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What is remembered of one instance.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Remembered {
    /// The state it was in at the last pass, and since when.
    pub state: Option<(InstanceState, Timestamp)>,
    /// Failures in a row: steps that failed, and servers that ended by themselves.
    pub failures: u32,
    /// When the last of them was.
    pub last_failure: Option<Timestamp>,
    /// Not tried again before this time.
    pub retry_at: Option<Timestamp>,
    /// How often its server ended without being told to.
    pub crashes: u32,
    /// How the last of them ended.
    pub last_exit: Option<String>,
    /// What was last completed or failed.
    pub last_step: Option<LastStep>,
    /// The digest of the image configuration that its server last served with. That image
    /// is kept until another has served.
    pub image_ran: Option<String>,
    /// Whether it has a data directory. One that is gone then was not removed by berth:
    /// a disk that isn't mounted must not look like an instance that was never made.
    pub has_data: bool,
    /// Whether a disk of its own was mounted at that directory.
    #[serde(default)]
    pub own_disk: bool,
}

impl Remembered {
    /// A step failed, or a server ended by itself: one more failure, and a later try.
    /// `jitter` is from 0 to 1.
    pub fn failed(&mut self, now: Timestamp, jitter: f64) {
        let apart = self.last_failure.is_some_and(|last| now.duration_since(last) > ROW_GAP);
        self.failures = if apart { 1 } else { self.failures.saturating_add(1) };
        self.last_failure = Some(now);
        let wait = wait_after(self.failures, jitter);
        self.retry_at =
            SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok());
    }

    /// A server ended by itself. The first time in a row it is started again at once.
    pub fn crashed(&mut self, now: Timestamp, exit: &str, jitter: f64) {
        self.crashes = self.crashes.saturating_add(1);
        self.last_exit = Some(exit.to_owned());
        self.failed(now, jitter);
        if self.failures == 1 {
            self.retry_at = None;
        }
    }

    /// The instance is as it should be: forgets failures that lie [`ROW_GAP`] back.
    pub fn settle(&mut self, now: Timestamp) {
        if self.last_failure.is_some_and(|last| now.duration_since(last) > ROW_GAP) {
            self.failures = 0;
            self.last_failure = None;
            self.retry_at = None;
        }
    }

    /// Notes the state of this pass; the time stays while the state does.
    pub fn enter(&mut self, state: InstanceState, now: Timestamp) -> Timestamp {
        match self.state {
            Some((same, since)) if same == state => since,
            _ => {
                self.state = Some((state, now));
                now
            }
        }
    }

    /// Whether a try is to wait still.
    #[must_use]
    pub fn waits(&self, now: Timestamp) -> bool {
        self.retry_at.is_some_and(|at| at > now)
    }
}

/// Doubles from [`WAIT_FIRST`] to [`WAIT_MAX`], less up to a quarter by jitter, so that
/// many instances that failed together don't come back together.
fn wait_after(failures: u32, jitter: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let full = WAIT_FIRST.saturating_mul(1 << doublings).min(WAIT_MAX);
    full.mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0))
}

/// The journal of a host, by lane: an entry's key, or the name of what is shared.
pub type Journal = BTreeMap<String, Remembered>;

/// Reads the journal; an empty one if there is none.
///
/// # Errors
/// The file can't be read or is damaged.
pub fn load(path: &Path) -> Result<Journal, FileError> {
    Ok(files::read_json(path)?.unwrap_or_default())
}

/// Keeps the journal, over a power cut too: it knows which instances have data, and without
/// it a disk that isn't mounted would look like an instance that was never made.
///
/// # Errors
/// The file can't be written.
pub fn save(path: &Path, journal: &Journal) -> Result<(), FileError> {
    files::write_json(path, journal, Durability::PowerCut)
}

#[cfg(test)]
mod tests;
