//! When to try again, and after which wait.

use std::time::Duration;

use super::error::{PullError, Result};
use super::registries::Registries;

const WAIT_FIRST: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Counts the tries that brought nothing.
#[derive(Debug, Default)]
pub(super) struct Patience {
    failures: u32,
}

impl Patience {
    /// Something came: what fails from now on is a new row of failures.
    pub(super) fn restore(&mut self) {
        self.failures = 0;
    }

    /// Waits before another try, or gives the error back if there should be none.
    pub(super) async fn after(&mut self, error: PullError, registries: &Registries) -> Result<()> {
        let wait = self.next(error, registries, fastrand::f64())?;
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// How long to wait. `jitter` is from 0 to 1.
    fn next(&mut self, error: PullError, registries: &Registries, jitter: f64) -> Result<Duration> {
        let Some(rest) = error.retry() else {
            return Err(error);
        };
        self.failures += 1;
        if self.failures >= registries.tries {
            return Err(error);
        }
        let granted = registries.rest_max;
        if let (Some(asked), PullError::Status { registry, status, .. }) = (rest, &error)
            && asked > granted
        {
            let (registry, status) = (registry.clone(), *status);
            return Err(PullError::Busy { registry, status, asked, granted });
        }
        tracing::debug!(error = &error as &dyn std::error::Error, "trying again");
        Ok(backoff(self.failures, jitter).max(rest.unwrap_or_default()))
    }
}

/// Doubles from [`WAIT_FIRST`] to [`WAIT_MAX`], less up to a quarter by jitter, so that
/// hosts that failed together don't come back together.
fn backoff(failures: u32, jitter: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let full = WAIT_FIRST.saturating_mul(1 << doublings).min(WAIT_MAX);
    full.mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests;
