//! Networks of the model: pools, leases, and what hangs on them. The switch can be out of
//! reach, and a run directory can be wiped.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use berth_model::{EntryKey, goal::GoalState};
use berth_netplug::{
    AttachRequest, Owner, Place as NetworkPlace, PoolName, Rates, Standing,
    lease::{Generation, Lease},
};
use berth_runtime::ContainerId;

use super::World;
use crate::{
    network,
    observe::{AddressFacts, NetworkFacts, Observed},
};

/// The host's own address as its servers use it.
pub(super) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Why nothing can be read from the switch.
const SWITCH_DOWN: &str = "the switch can't be read";

/// The networks of a host.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Networks {
    /// The pools with their addresses.
    pub(crate) pools: BTreeMap<String, Vec<IpAddr>>,
    pub(crate) leases: BTreeMap<EntryKey, Lease>,
    /// What hangs on the leases: a link with an address and limits.
    pub(crate) links: BTreeMap<EntryKey, Link>,
    pub(crate) bridge: bool,
    pub(crate) switch_up: bool,
    generation: u64,
}

/// What an instance has in the kernel and the switch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Link {
    pub(crate) address: IpAddr,
    pub(crate) rates: Rates,
    /// Whether its namespace is pinned still.
    pub(crate) pinned: bool,
}

impl Default for Networks {
    fn default() -> Self {
        let pool = |third: u8, count: u8| {
            (1..=count).map(|last| IpAddr::from([10, 20, third, last])).collect()
        };
        Self {
            pools: [("orders".to_owned(), pool(0, 8)), ("tiny".to_owned(), pool(1, 1))].into(),
            leases: BTreeMap::new(),
            links: BTreeMap::new(),
            bridge: false,
            switch_up: true,
            generation: 0,
        }
    }
}

impl World {
    pub(super) fn ensure_bridge(&mut self) -> Result<(), String> {
        if !self.networks.switch_up {
            return Err(SWITCH_DOWN.to_owned());
        }
        self.networks.bridge = true;
        Ok(())
    }

    pub(super) fn attach(
        &mut self,
        request: &AttachRequest,
        live: Option<&ContainerId>,
    ) -> Result<(), String> {
        let key: EntryKey = request.owner.as_str().parse().unwrap();
        let pool = request.pool.to_string();
        let addresses =
            self.networks.pools.get(&pool).cloned().ok_or_else(|| format!("no pool {pool}"))?;
        if self.unfit(&key, request) {
            self.give_up(&key)?;
        }
        if !self.networks.leases.contains_key(&key) {
            if !self.networks.switch_up {
                return Err(SWITCH_DOWN.to_owned());
            }
            let taken = |ip: &IpAddr| self.networks.leases.values().any(|l| l.address == *ip);
            let address = match request.address {
                Some(ip) if addresses.contains(&ip) && !taken(&ip) => ip,
                Some(ip) => return Err(format!("{ip} can't be had")),
                None => *addresses.iter().find(|ip| !taken(ip)).ok_or("no free address")?,
            };
            self.lease(&key, &pool, address);
        }
        self.hang(&key, request, live)
    }

    fn lease(&mut self, key: &EntryKey, pool: &str, address: IpAddr) {
        self.networks.generation += 1;
        let lease = Lease {
            address,
            owner: Owner::new(key.as_str()).unwrap(),
            generation: Generation(self.networks.generation),
            pool: PoolName::new(pool).unwrap(),
            confirmed: true,
        };
        self.networks.leases.insert(key.clone(), lease);
    }

    /// The link of a lease, made or repaired.
    fn hang(
        &mut self,
        key: &EntryKey,
        request: &AttachRequest,
        live: Option<&ContainerId>,
    ) -> Result<(), String> {
        let address = self.networks.leases[key].address;
        let rates = request.rates;
        let (up, bridge) = (self.networks.switch_up, self.networks.bridge);
        let serves = self.serves_at(key).is_some();
        match self.networks.links.get_mut(key) {
            Some(link) if link.pinned => link.rates = rates,
            _ if !up => return Err(SWITCH_DOWN.to_owned()),
            _ if !bridge => return Err("the bridge is not there".to_owned()),
            found => {
                if found.is_some() && serves && live.is_none() {
                    self.wrongs.push(format!("{key}: a running server lost its namespace"));
                }
                let link = Link { address, rates, pinned: true };
                self.networks.links.insert(key.clone(), link);
            }
        }
        if up { Ok(()) } else { Err(SWITCH_DOWN.to_owned()) }
    }

    pub(super) fn detach(&mut self, owner: &Owner) -> Result<(), String> {
        self.give_up(&owner.as_str().parse().unwrap())
    }

    fn give_up(&mut self, key: &EntryKey) -> Result<(), String> {
        if !self.networks.switch_up {
            return Err(SWITCH_DOWN.to_owned());
        }
        if self.serves_at(key).is_some() {
            self.wrongs.push(format!("{key}: the network of a running server is taken away"));
        }
        self.networks.links.remove(key);
        self.networks.leases.remove(key);
        Ok(())
    }

    /// An attach that dies: the address is leased, and nothing hangs on it yet.
    pub(super) fn half_attach(&mut self, request: &AttachRequest, live: Option<&ContainerId>) {
        let key: EntryKey = request.owner.as_str().parse().unwrap();
        if self.attach(request, live).is_ok() && self.serves_at(&key).is_none() {
            self.networks.links.remove(&key);
        }
    }

    /// The run directory is wiped: no namespace is pinned any more.
    pub(crate) fn wipe_pins(&mut self) {
        self.networks.links.values_mut().for_each(|link| link.pinned = false);
    }

    /// The address of its own at which an instance's server runs.
    pub(crate) fn serves_at(&self, key: &EntryKey) -> Option<IpAddr> {
        let place = self.places.get(key)?;
        place.server()?;
        place.container.as_ref()?.network.as_ref().map(|at| at.ip)
    }

    /// Where a container is that is put into an instance's network.
    pub(super) fn network_of(
        &self,
        label: &str,
        key: &EntryKey,
    ) -> Result<Option<AddressFacts>, String> {
        let Some(at) = AddressFacts::from_label(label) else { return Ok(None) };
        match self.networks.links.get(key) {
            Some(link) if link.pinned && link.address == at.ip => Ok(Some(at)),
            _ => Err("there is no such network namespace".to_owned()),
        }
    }

    fn unfit(&self, key: &EntryKey, request: &AttachRequest) -> bool {
        self.networks.leases.get(key).is_some_and(|lease| {
            lease.pool != request.pool || request.address.is_some_and(|ip| ip != lease.address)
        })
    }

    pub(super) fn observe_networks(&self) -> Observed<NetworkFacts> {
        let vlan = self.goals.own.values().any(|goal| goal.placed.entry.network.is_vlan());
        if !vlan && self.networks.leases.is_empty() {
            return Observed::Absent;
        }
        let instances = self.goals.own.iter().map(|(key, goal)| {
            let entry = &goal.placed.entry;
            let request = network::request(key, entry).unwrap();
            let standing = match request.filter(|_| entry.state != GoalState::Removed) {
                Some(request) => self.standing(key, &request),
                None => self.leftover(key),
            };
            (key.clone(), standing)
        });
        Observed::Present(NetworkFacts {
            bridge: match (self.networks.switch_up, self.networks.bridge) {
                (false, _) => Err(SWITCH_DOWN.to_owned()),
                (true, false) => Ok(vec!["Create".to_owned()]),
                (true, true) => Ok(Vec::new()),
            },
            instances: instances.collect(),
            pool_rates: BTreeMap::new(),
            refused_pools: Vec::new(),
            strays: Vec::new(),
            problems: Vec::new(),
        })
    }

    fn found(&self, key: &EntryKey) -> Standing {
        let lease = self.networks.leases.get(key).cloned();
        let link = self.networks.links.get(key).filter(|link| link.pinned);
        let place = link.filter(|_| lease.is_some()).map(|link| NetworkPlace {
            address: link.address,
            prefix: 24,
            namespace: format!("/run/berth/net/netns/{key}").into(),
            link: "be0".to_owned(),
            vlan: None,
            rates: link.rates,
        });
        let down = match (self.networks.switch_up, self.networks.bridge) {
            (false, _) => Some(SWITCH_DOWN.to_owned()),
            (true, false) => Some("the bridge is not there".to_owned()),
            (true, true) => None,
        };
        let blocked = down.filter(|_| lease.is_some()).into_iter().collect();
        Standing { lease, place, blocked, ..Standing::default() }
    }

    fn leftover(&self, key: &EntryKey) -> Standing {
        let mut found = self.found(key);
        let lease = found.lease.iter().filter(|_| self.networks.switch_up);
        found.todo = lease.map(|lease| format!("release {}", lease.address)).collect();
        found
    }

    fn standing(&self, key: &EntryKey, request: &AttachRequest) -> Standing {
        let mut found = self.found(key);
        let pool = self.networks.pools.get(request.pool.as_str()).cloned().unwrap_or_default();
        let free = |ip: &IpAddr| {
            let others = self.networks.leases.iter().filter(|(of, _)| *of != key);
            others.map(|(_, lease)| lease.address).all(|taken| taken != *ip)
        };
        let offered = pool.iter().any(|ip| free(ip) && request.address.is_none_or(|a| a == *ip));
        found.replaces = self.unfit(key, request);
        if found.replaces || found.lease.is_none() {
            found.todo = vec![format!("lease an address of pool {}", request.pool)];
            found.blocked.extend((!offered).then(|| "no free address".to_owned()));
            if !self.networks.switch_up && found.blocked.is_empty() {
                found.blocked.push(SWITCH_DOWN.to_owned());
            }
            return found;
        }
        match &found.place {
            Some(place) if place.rates != request.rates => {
                found.todo = vec!["limit the link".to_owned()];
            }
            None if found.blocked.is_empty() => found.todo = vec!["make the link".to_owned()],
            _ => {}
        }
        found
    }
}
