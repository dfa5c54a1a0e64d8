//! Tells the service manager how the agent is, by sd_notify(3): that it is ready after its
//! first pass, a line for `systemctl status`, and after each pass that the loop still goes
//! round, so that a loop that is stuck is restarted.
//!
//! Without a service manager (`NOTIFY_SOCKET` is not set) it does nothing. What can't be told
//! is logged once: the databases don't depend on it.

use std::{io, time::Duration};

use berth_model::status::{Phase, StatusDocument};
use sd_notify::NotifyState;

/// The service manager, as far as the agent speaks to it.
#[derive(Debug)]
pub(super) struct Service {
    watchdog: Option<Duration>,
    told: String,
    ready: bool,
    failed: bool,
}

impl Service {
    /// That which started this process, if any did.
    pub(super) fn of_this_process() -> Self {
        Self {
            watchdog: sd_notify::watchdog_enabled(),
            told: String::new(),
            ready: false,
            failed: false,
        }
    }

    /// The longest time that the loop may sleep: half of what the service manager allows
    /// between two signs of life, as sd_watchdog_enabled(3) recommends.
    pub(super) fn longest_sleep(&self) -> Duration {
        self.watchdog.map_or(Duration::MAX, |watchdog| watchdog / 2)
    }

    /// Tells that a pass has ended.
    pub(super) fn passed(&mut self, document: &StatusDocument) {
        let line = summary(document);
        let mut states = Vec::with_capacity(3);
        if !self.ready {
            states.push(NotifyState::Ready);
        }
        if self.watchdog.is_some() {
            states.push(NotifyState::Watchdog);
        }
        if line != self.told {
            states.push(NotifyState::Status(&line));
        }
        let sent = if states.is_empty() { Ok(()) } else { sd_notify::notify(&states) };
        self.note(sent);
        self.ready = true;
        self.told = line;
    }

    /// Tells that the agent was asked to end.
    pub(super) fn stopping() {
        // It ends anyway.
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
    }

    fn note(&mut self, sent: io::Result<()>) {
        match sent {
            Ok(()) => self.failed = false,
            Err(error) => {
                if !self.failed {
                    tracing::warn!(%error, "the service manager can't be told");
                }
                self.failed = true;
            }
        }
    }
}

/// One line: how many instances there are, and how many in each phase that wants attention.
fn summary(document: &StatusDocument) -> String {
    let all = document.instances.len();
    let mut line = format!("{all} {}", if all == 1 { "instance" } else { "instances" });
    for (phase, word) in [
        (Phase::Converged, "converged"),
        (Phase::Converging, "converging"),
        (Phase::Retrying, "retrying"),
        (Phase::Blocked, "blocked"),
    ] {
        let count = document.instances.values().filter(|one| one.phase == phase).count();
        if count > 0 {
            line += &format!(", {count} {word}");
        }
    }
    match document.refusals.len() {
        0 => {}
        1 => line += ", 1 refusal in the goal files",
        more => line += &format!(", {more} refusals in the goal files"),
    }
    line
}

#[cfg(test)]
mod tests;
