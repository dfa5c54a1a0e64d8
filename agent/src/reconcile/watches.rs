//! A pidfd for each container that runs: its end wakes the loop, and is written down.
//!
//! A container that an earlier agent started is no child of this one; the pidfd, held from
//! before its end, is then the only way to its exit code.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use berth_model::EntryKey;
use berth_runtime::{ContainerId, Watch};

use crate::{
    files,
    host::Host,
    observe::{ContainerState, Observation, Observed},
    wake::{Reason, Waker, readiness},
};

/// The containers that are watched, by entry, with the pid that each watch is for.
#[derive(Debug, Default)]
pub(super) struct Watches {
    held: BTreeMap<EntryKey, u32>,
}

impl Watches {
    /// Watches what runs and isn't watched yet; forgets what no longer runs.
    pub(super) fn renew(&mut self, host: &Arc<Host>, waker: &Waker, observation: &Observation) {
        for (key, seen) in &observation.instances {
            let pid = match &seen.container {
                Observed::Present(container) => match container.state {
                    ContainerState::Running { pid } => Some(pid),
                    _ => None,
                },
                Observed::Absent => None,
                Observed::Unknown(_) => continue,
            };
            match pid {
                None => {
                    self.held.remove(key);
                }
                Some(pid) if self.held.get(key) == Some(&pid) => {}
                Some(pid) => {
                    if watch(host, waker, key) {
                        self.held.insert(key.clone(), pid);
                    }
                }
            }
        }
    }
}

/// Begins to watch; false if it can't be, which the next pass tries again.
fn watch(host: &Arc<Host>, waker: &Waker, key: &EntryKey) -> bool {
    let Ok(id) = ContainerId::new(key.as_str()) else {
        return false;
    };
    let watch = match host.runtime.watch(&id) {
        Ok(Some(watch)) => watch,
        Ok(None) => return false,
        Err(error) => {
            tracing::warn!(instance = %key, error = files::chain(&error).join(": "), "cannot watch");
            return false;
        }
    };
    let Ok(fd) = watch.as_fd().try_clone_to_owned() else {
        return false;
    };
    tokio::spawn(await_end(Arc::clone(host), waker.clone(), key.clone(), watch, fd));
    true
}

async fn await_end(host: Arc<Host>, waker: Waker, key: EntryKey, watch: Watch, fd: OwnedFd) {
    let Ok(fd) = readiness(fd) else { return };
    if fd.readable().await.is_err() {
        return;
    }
    let ended = tokio::task::spawn_blocking(move || host.runtime.collect(&watch)).await;
    if let Ok(Err(error)) = ended {
        let error = files::chain(&error).join(": ");
        tracing::warn!(instance = %key, error, "cannot learn how the container ended");
    }
    waker.raise(Reason::Exit(key));
}
