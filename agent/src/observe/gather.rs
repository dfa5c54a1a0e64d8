//! Gathers an [`Observation`]: one probe per instance and image, at the same time, each on
//! a thread that may block.
//!
//! A probe that has not ended within [`pass_wait`] is reported as unknown and left to
//! itself; as long as it is under way no other is begun for the same thing, so a disk that
//! hangs holds one thread per instance and delays nobody else.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use berth_model::{
    EntryKey,
    goal::{GoalState, Goals, Role},
};

use super::{
    ContainerFacts, ImageFacts, InstanceObservation, NetworkFacts, Observation, Observed, network,
    probes,
    together::{Probe, Together},
};
use crate::host::Host;

/// How long a pass waits for its probes: for a server, its source after it, and a little.
fn pass_wait(host: &Host) -> Duration {
    host.config.probe_timeout * 3 / 2
}

/// Gathers observations of one host.
#[derive(Debug, Clone)]
pub struct Gatherer {
    host: Arc<Host>,
    probes: Together,
}

enum Found {
    Instance(EntryKey, Box<InstanceObservation>),
    Image(String, Observed<ImageFacts>),
    ImageStore(Observed<berth_images::Usage>),
    Disk(Observed<u64>, Observed<berth_runtime::BlockDevice>),
    Strays(Vec<ContainerFacts>),
    Network(Observed<NetworkFacts>),
}

impl Gatherer {
    /// A gatherer for this host.
    #[must_use]
    pub fn new(host: Arc<Host>) -> Self {
        Self { host, probes: Together::default() }
    }

    /// Observes everything that the goals speak of. `busy` are the lanes at work.
    pub async fn gather(&self, goals: &Arc<Goals>, busy: BTreeMap<String, String>) -> Observation {
        // What has not come in time stays unknown.
        let mut observation = unknown(&self.host, goals, busy);
        self.host.sources.retain(|key| {
            let entry = goals.own.get(key).map(|goal| &goal.placed.entry);
            entry.is_some_and(|e| e.role == Role::Minion && e.state == GoalState::Started)
        });
        let mut probes: Vec<(String, Probe<Found>)> = Vec::new();
        for reference in observation.images.keys() {
            let (host, reference) = (Arc::clone(&self.host), reference.clone());
            let name = format!("image {reference}");
            let probe = move || Found::Image(reference.clone(), probes::image(&host, &reference));
            probes.push((name, Box::new(probe)));
        }
        for key in goals.own.keys() {
            let (host, goals, key) = (Arc::clone(&self.host), Arc::clone(goals), key.clone());
            let name = format!("instance {key}");
            let probe = move || {
                let seen = probes::instance(&host, &goals, &key);
                Found::Instance(key, Box::new(seen))
            };
            probes.push((name, Box::new(probe)));
        }
        let host = Arc::clone(&self.host);
        let store = move || Found::ImageStore(probes::image_store(&host));
        probes.push(("image store".to_owned(), Box::new(store)));
        let host = Arc::clone(&self.host);
        let disk = move || {
            let (free, device) = probes::disk(&host);
            Found::Disk(free, device)
        };
        probes.push(("disk".to_owned(), Box::new(disk)));
        let (host, known) = (Arc::clone(&self.host), Arc::clone(goals));
        let strays = move || Found::Strays(probes::strays(&host, &known));
        probes.push(("strays".to_owned(), Box::new(strays)));
        let (host, known) = (Arc::clone(&self.host), Arc::clone(goals));
        let network = move || Found::Network(network::network(&host, &known));
        probes.push(("network".to_owned(), Box::new(network)));
        for found in self.probes.run(probes, pass_wait(&self.host)).await {
            observation.take(found);
        }
        observation
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
            Found::ImageStore(usage) => self.image_store = usage,
            Found::Strays(strays) => self.strays = strays,
            Found::Network(network) => self.network = network,
            Found::Disk(free, device) => {
                self.data_free_bytes = free;
                self.data_device = device;
            }
        }
    }
}

/// An observation in which nothing is known yet.
fn unknown(host: &Host, goals: &Goals, busy: BTreeMap<String, String>) -> Observation {
    fn late<T>(wait: Duration) -> Observed<T> {
        Observed::Unknown(format!("no answer within {} ms", wait.as_millis()))
    }
    let wait = pass_wait(host);
    let started = goals.own.values().map(|goal| &goal.placed.entry);
    let references = started
        .filter(|entry| entry.state == GoalState::Started)
        .map(|entry| entry.image.clone().unwrap_or_else(|| host.config.image.clone()));
    let instance = || InstanceObservation {
        data: late(wait),
        container: late(wait),
        server: late(wait),
        source: late(wait),
        port_taken: late(wait),
        log_bytes: late(wait),
    };
    Observation {
        instances: goals.own.keys().map(|key| (key.clone(), instance())).collect(),
        images: references.map(|reference| (reference, late(wait))).collect(),
        image_store: late(wait),
        data_free_bytes: late(wait),
        data_device: late(wait),
        network: late(wait),
        strays: Vec::new(),
        busy,
    }
}
