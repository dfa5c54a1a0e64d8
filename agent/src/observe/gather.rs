//! Gathers an [`Observation`]: probes of each instance and image, at the same time, each on
//! a thread that may block. What is on an instance's disk is asked apart from its container
//! and its server, so that these are known while the disk hangs.
//!
//! A probe that has not ended within [`pass_wait`] is reported as unknown and left to
//! itself; as long as it is under way no other is begun for the same thing, so a disk that
//! hangs holds one thread for each instance on it and delays nobody else.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use berth_model::{
    EntryKey,
    goal::{GoalState, Goals, Role},
};

use super::{
    ContainerFacts, DiskFacts, ImageFacts, InstanceObservation, NetworkFacts, Observation,
    Observed, disk, network,
    probes::{self, Live},
    together::{Probe, Together},
};
use crate::{
    data::{self, DataFacts},
    host::Host,
};

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
    Live(EntryKey, Box<Live>),
    Data(EntryKey, Observed<DataFacts>),
    Disk(EntryKey, Observed<DiskFacts>),
    Writes { key: EntryKey, refused: bool },
    Image(String, Observed<ImageFacts>),
    ImageStore(Observed<berth_images::Usage>),
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
            probes.extend(self.of_instance(goals, key));
        }
        let host = Arc::clone(&self.host);
        let store = move || Found::ImageStore(probes::image_store(&host));
        probes.push(("image store".to_owned(), Box::new(store)));
        let (host, known) = (Arc::clone(&self.host), Arc::clone(goals));
        let strays = move || Found::Strays(probes::strays(&host, &known));
        probes.push(("strays".to_owned(), Box::new(strays)));
        let (host, known) = (Arc::clone(&self.host), Arc::clone(goals));
        let network = move || Found::Network(network::network(&host, &known));
        probes.push(("network".to_owned(), Box::new(network)));
        let mut refused = Vec::new();
        for found in self.probes.run(probes, pass_wait(&self.host)).await {
            match found {
                Found::Writes { key, refused: true } => refused.push(key),
                found => observation.take(found),
            }
        }
        for key in refused {
            observation.change(&key, |seen| {
                if let Observed::Present(disk) = &mut seen.disk {
                    disk.on.read_only = true;
                }
            });
        }
        self.name_silent_disks(&mut observation);
        observation
    }

    fn of_instance(&self, goals: &Arc<Goals>, key: &EntryKey) -> [(String, Probe<Found>); 4] {
        let (host, known, own) = (Arc::clone(&self.host), Arc::clone(goals), key.clone());
        let live = move || {
            let seen = probes::live(&host, &known, &own);
            Found::Live(own, Box::new(seen))
        };
        let (host, own) = (Arc::clone(&self.host), key.clone());
        let data = move || {
            let seen = probes::data(&host, &own);
            Found::Data(own, seen)
        };
        let (dir, own) = (self.host.config.instance_dir(key), key.clone());
        let disk = move || Found::Disk(own, disk::look(&dir));
        let (dir, own) = (self.host.config.instance_dir(key), key.clone());
        let writes = move || Found::Writes { key: own, refused: data::refuses_writes(&dir) };
        [
            (format!("instance {key}"), Box::new(live)),
            (data_probe(key), Box::new(data)),
            (format!("disk {key}"), Box::new(disk)),
            // By itself: on a busy disk it may come too late, which says nothing.
            (format!("writes {key}"), Box::new(writes)),
        ]
    }

    /// The disks that have not answered by now, and for how long they haven't.
    fn name_silent_disks(&self, observation: &mut Observation) {
        for (key, seen) in &mut observation.instances {
            let age = self.probes.age(&data_probe(key));
            if let (Observed::Unknown(why), Some(age)) = (&mut seen.data, age) {
                *why = format!("its disk has not answered for {:.1} s", age.as_secs_f64());
            }
        }
    }
}

/// The name of the probe that waits for an instance's disk.
fn data_probe(key: &EntryKey) -> String {
    format!("data {key}")
}

impl Observation {
    fn take(&mut self, found: Found) {
        match found {
            Found::Live(key, live) => {
                self.change(&key, |seen| {
                    let Live { container, server, source, port_taken, log_bytes } = *live;
                    (seen.container, seen.server, seen.source) = (container, server, source);
                    (seen.port_taken, seen.log_bytes) = (port_taken, log_bytes);
                });
            }
            Found::Data(key, data) => self.change(&key, |seen| seen.data = data),
            Found::Disk(key, disk) => self.change(&key, |seen| seen.disk = disk),
            Found::Image(reference, image) => {
                self.images.insert(reference, image);
            }
            Found::ImageStore(usage) => self.image_store = usage,
            Found::Strays(strays) => self.strays = strays,
            Found::Network(network) => self.network = network,
            Found::Writes { .. } => {}
        }
    }

    fn change(&mut self, key: &EntryKey, change: impl FnOnce(&mut InstanceObservation)) {
        if let Some(seen) = self.instances.get_mut(key) {
            change(seen);
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
        disk: late(wait),
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
        network: late(wait),
        strays: Vec::new(),
        busy,
    }
}
