//! The moment by which a wait has to end. Every wait in this crate takes one.

use std::time::{Duration, Instant};

/// A point in time after which waiting is given up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    at: Instant,
    allowed: Duration,
}

impl Deadline {
    /// A deadline `allowed` from now.
    pub(crate) fn after(allowed: Duration) -> Self {
        Self { at: Instant::now() + allowed, allowed }
    }

    /// What is left, or `None` once it has passed.
    pub(crate) fn remaining(self) -> Option<Duration> {
        self.at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// The whole time that was allowed, for messages.
    pub(crate) fn allowed(self) -> Duration {
        self.allowed
    }
}
