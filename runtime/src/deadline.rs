//! A point in time by which an operation ends, whatever happens.
//!
//! Every wait in this crate takes its timeout from a [`Deadline`], so that the
//! sum of the steps of an operation is bounded, not only each step. It does not
//! cancel anything by itself.

use std::time::{Duration, Instant};

use nix::poll::PollTimeout;

/// The instant (monotonic clock) at which an operation gives up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    at: Instant,
    after: Duration,
}

impl Deadline {
    /// A deadline `after` from now.
    pub(crate) fn after(after: Duration) -> Self {
        Self { at: Instant::now() + after, after }
    }

    /// Time left, zero once expired.
    pub(crate) fn remaining(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// Whether the time is up.
    pub(crate) fn expired(&self) -> bool {
        self.remaining().is_zero()
    }

    /// The whole time that was granted, for messages.
    pub(crate) fn granted(&self) -> Duration {
        self.after
    }

    /// The earlier of this deadline and one `limit` from now.
    pub(crate) fn at_most(&self, limit: Duration) -> Self {
        let capped = Self::after(limit);
        if capped.at < self.at { capped } else { *self }
    }

    /// The remaining time for poll(2), rounded up to a millisecond so that a
    /// sub-millisecond rest does not become a busy loop.
    pub(crate) fn poll_timeout(&self) -> PollTimeout {
        let ms = self.remaining().as_micros().div_ceil(1000);
        let ms = i32::try_from(ms).unwrap_or(i32::MAX);
        PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
    }
}
