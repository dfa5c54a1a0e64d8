//! Several hosts and the network between them.
//!
//! Each host is a [`Bed`] in a network namespace, with an agent, directories and a cgroup of
//! its own. `eth0` of each, and `eth1` as the uplink of its switch if it has one, are
//! connected by the [`Fabric`], which can be cut and healed.
//!
//! A goal is given to all hosts, as a fleet's program would; an agent takes the entries of
//! its own host and knows its peers by the others. [`Watch`] looks all the time for what may
//! never be.

mod capture;
mod fabric;
mod watch;

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    thread,
};

use berth_model::EntryKey;

pub use capture::{Capture, Frames};
pub use fabric::Fabric;
pub use watch::{Seen, Watch};

use crate::{
    Bed, Entry, Options,
    bed::{self, Site},
    goal,
    lease::Place,
    sweep,
};

/// The hosts' own network; of RFC 5737, and never outside the fleet's namespaces.
const NETWORK: [u8; 3] = [198, 51, 100];

/// Hosts, and the network between them. All ends with this value.
#[derive(Debug)]
pub struct Fleet {
    // Dropped in this order: what is in the network first.
    hosts: BTreeMap<String, Bed>,
    fabric: Fabric,
    name: String,
    _place: Place,
}

impl Fleet {
    /// Hosts of these names, whose agents do not run yet.
    ///
    /// # Panics
    /// They can't be made, or these tests can't run here.
    #[must_use]
    pub fn new(names: &[&str], options: &Options) -> Self {
        bed::prepare();
        let place = Place::wait();
        let name = sweep::next_name();
        let dir = Path::new(sweep::PLACE).join(&name);
        fs::create_dir_all(&dir).unwrap();
        let fabric = Fabric::make(&dir.join("netns"));
        let mut fleet = Self { hosts: BTreeMap::new(), fabric, name, _place: place };
        let addresses: BTreeMap<String, Ipv4Addr> = names
            .iter()
            .zip(11..)
            .map(|(name, last)| ((*name).to_owned(), address(last)))
            .collect();
        let fleet_key = bed::new_key();
        for (host, address) in &addresses {
            let site = Site {
                host: host.clone(),
                address: *address,
                hosts: addresses.clone(),
                fleet_key: fleet_key.clone(),
            };
            let bed = Bed::in_fleet(options, site);
            fleet.fabric.connect(&bed);
            fleet.hosts.insert(host.clone(), bed);
        }
        fleet
    }

    /// A host.
    ///
    /// # Panics
    /// There is none of this name.
    #[must_use]
    pub fn host(&self, name: &str) -> &Bed {
        self.hosts.get(name).unwrap_or_else(|| panic!("no host {name}"))
    }

    /// A host, to start and end its agent.
    ///
    /// # Panics
    /// There is none of this name.
    pub fn host_mut(&mut self, name: &str) -> &mut Bed {
        self.hosts.get_mut(name).unwrap_or_else(|| panic!("no host {name}"))
    }

    /// All hosts, by name.
    pub fn hosts(&self) -> impl Iterator<Item = &Bed> {
        self.hosts.values()
    }

    /// A directory for files of the fleet as a whole.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        Path::new(sweep::PLACE).join(&self.name)
    }

    /// The network.
    #[must_use]
    pub fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    /// The host of an entry.
    #[must_use]
    pub fn host_of(&self, entry: &Entry) -> &Bed {
        self.host(entry.host())
    }

    /// Starts all agents, and waits for their first pass.
    pub fn start_agents(&mut self) {
        for bed in self.hosts.values_mut() {
            bed.start_agent();
        }
    }

    /// Replaces a goal file on all hosts.
    pub fn goal(&self, file: &str, entries: &[Entry]) {
        for bed in self.hosts.values() {
            bed.goal_text(file, &goal::text(entries));
        }
    }

    /// Waits until each host has its share of these entries, and no others, and is converged.
    pub fn await_converged(&self, entries: &[Entry]) {
        for bed in self.hosts.values() {
            let own = entries.iter().filter(|entry| entry.host() == bed.host());
            bed.await_converged(&own.cloned().collect::<Vec<Entry>>());
        }
    }

    /// The processes of these entries' servers.
    #[must_use]
    pub fn pids(&self, entries: &[Entry]) -> BTreeMap<EntryKey, u32> {
        entries.iter().map(|entry| (entry.key(), self.host_of(entry).pid(&entry.key()))).collect()
    }

    /// Asks an entry's server by the second client, which must succeed.
    pub fn sql(&self, entry: &Entry, sql: &str) -> String {
        self.host_of(entry).sql(&entry.key(), sql)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("== the network\n{}", self.fabric.show());
        }
        self.hosts.clear();
        sweep::remove(&self.name);
    }
}

fn address(last: u8) -> Ipv4Addr {
    let [a, b, c] = NETWORK;
    Ipv4Addr::new(a, b, c, last)
}
