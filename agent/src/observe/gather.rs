//! Gathers an [`Observation`]: one probe per instance and image, at the same time, each on
//! a thread that may block.
//!
//! A probe that has not ended within [`PROBE_WAIT`] is reported as unknown and left to
//! itself; as long as it is under way no other is begun for the same thing, so a disk that
//! hangs holds one thread per instance and delays nobody else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use berth_model::{
    EntryKey,
    goal::{GoalState, Goals},
};
use tokio::{task::JoinSet, time::timeout};

use super::{ContainerFacts, ImageFacts, InstanceObservation, Observation, Observed, probes};
use crate::host::Host;

/// How long a pass waits for its probes.
const PROBE_WAIT: Duration = Duration::from_millis(1500);

/// Begins probes, and knows which are under way.
#[derive(Debug, Clone)]
pub struct Gatherer {
    host: Arc<Host>,
    under_way: Arc<Mutex<BTreeSet<String>>>,
}

enum Found {
    Instance(EntryKey, Box<InstanceObservation>),
    Image(String, Observed<ImageFacts>),
    Disk(Observed<u64>, Observed<berth_runtime::BlockDevice>),
    Strays(Vec<ContainerFacts>),
}

impl Gatherer {
    /// A gatherer for this host.
    #[must_use]
    pub fn new(host: Arc<Host>) -> Self {
        Self { host, under_way: Arc::default() }
    }

    /// Observes everything that the goals speak of. `busy` are the lanes at work.
    pub async fn gather(&self, goals: &Arc<Goals>, busy: BTreeMap<String, String>) -> Observation {
        let mut observation = unknown(&self.host, goals, busy);
        let mut probes = JoinSet::new();
        for reference in observation.images.keys() {
            let (host, reference) = (Arc::clone(&self.host), reference.clone());
            self.begin(&mut probes, format!("image {reference}"), move || {
                Found::Image(reference.clone(), probes::image(&host, &reference))
            });
        }
        for key in goals.own.keys() {
            let (host, goals, key) = (Arc::clone(&self.host), Arc::clone(goals), key.clone());
            self.begin(&mut probes, format!("instance {key}"), move || {
                let seen = probes::instance(&host, &goals, &key);
                Found::Instance(key, Box::new(seen))
            });
        }
        let host = Arc::clone(&self.host);
        self.begin(&mut probes, "disk".to_owned(), move || {
            let (free, device) = probes::disk(&host);
            Found::Disk(free, device)
        });
        let (host, known) = (Arc::clone(&self.host), Arc::clone(goals));
        self.begin(&mut probes, "strays".to_owned(), move || {
            Found::Strays(probes::strays(&host, &known))
        });
        let all = async {
            while let Some(ended) = probes.join_next().await {
                if let Ok(found) = ended {
                    observation.take(found);
                }
            }
        };
        // What has not come by then stays unknown.
        let _ = timeout(PROBE_WAIT, all).await;
        probes.detach_all();
        observation
    }

    fn begin<F>(&self, probes: &mut JoinSet<Found>, name: String, probe: F)
    where
        F: FnOnce() -> Found + Send + 'static,
    {
        let under_way = Arc::clone(&self.under_way);
        if !under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone()) {
            return;
        }
        probes.spawn_blocking(move || {
            let found = probe();
            under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
            found
        });
    }
}

impl Observation {
    fn take(&mut self, found: Found) {
        match found {
            Found::Instance(key, seen) => {
                self.instances.insert(key, *seen);
            }
            Found::Image(reference, image) => {
                self.images.insert(reference, image);
            }
            Found::Strays(strays) => self.strays = strays,
            Found::Disk(free, device) => {
                self.data_free_bytes = free;
                self.data_device = device;
            }
        }
    }
}

/// An observation in which nothing is known yet.
fn unknown(host: &Host, goals: &Goals, busy: BTreeMap<String, String>) -> Observation {
    fn late<T>() -> Observed<T> {
        Observed::Unknown(format!("no answer within {} ms", PROBE_WAIT.as_millis()))
    }
    let started = goals.own.values().map(|goal| &goal.placed.entry);
    let references = started
        .filter(|entry| entry.state == GoalState::Started)
        .map(|entry| entry.image.clone().unwrap_or_else(|| host.config.image.clone()));
    let instance = || InstanceObservation {
        data: late(),
        container: late(),
        server: late(),
        source: late(),
        port_taken: late(),
        log_bytes: late(),
    };
    Observation {
        instances: goals.own.keys().map(|key| (key.clone(), instance())).collect(),
        images: references.map(|reference| (reference, late())).collect(),
        data_free_bytes: late(),
        data_device: late(),
        strays: Vec::new(),
        busy,
    }
}
