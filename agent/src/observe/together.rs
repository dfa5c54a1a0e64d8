//! Probes that may block, begun at the same time and waited for within a bound.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::timeout};

/// One probe: looks at one thing, on a thread of its own.
pub(super) type Probe<T> = Box<dyn FnOnce() -> T + Send>;

/// Begins probes, and knows by name which are under way, and since when.
#[derive(Debug, Clone, Default)]
pub(super) struct Together {
    under_way: Arc<Mutex<BTreeMap<String, Instant>>>,
}

impl Together {
    /// What the probes found that have ended within `wait`. The others are left to
    /// themselves, and as long as one is under way no other of its name is begun.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        probes: Vec<(String, Probe<T>)>,
        wait: Duration,
    ) -> Vec<T> {
        let mut begun = JoinSet::new();
        for (name, probe) in probes {
            let Some(turn) = Turn::take(self, name) else { continue };
            begun.spawn_blocking(move || {
                let found = probe();
                drop(turn);
                found
            });
        }
        let mut found = Vec::new();
        let all = async {
            while let Some(ended) = begun.join_next().await {
                found.extend(ended.ok());
            }
        };
        // What has not come by then is not found.
        let _ = timeout(wait, all).await;
        begun.detach_all();
        found
    }

    /// How long the probe of this name has been under way, if it is.
    pub(super) fn age(&self, name: &str) -> Option<Duration> {
        self.names().get(name).map(Instant::elapsed)
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to probe one thing, given back when the probe ends, even by a panic.
struct Turn {
    of: Together,
    name: String,
}

impl Turn {
    fn take(of: &Together, name: String) -> Option<Self> {
        match of.names().entry(name.clone()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(free) => {
                free.insert(Instant::now());
                Some(Self { of: of.clone(), name })
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.of.names().remove(&self.name);
    }
}

#[cfg(test)]
mod tests;
