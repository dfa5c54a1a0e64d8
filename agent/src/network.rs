//! Networks of instances in vlan mode, between what goals say and what `netplug` takes.
//!
//! [`request`] is pure. [`Networks`] is how probes and executors reach the host's side: it
//! opens `netplug` anew each time, so that directories that vanished (a run directory that
//! was wiped) are made again, and nothing is held open meanwhile.
//!
//! Not here: what is done when (the planner), and how (`netplug`).

use std::{collections::BTreeMap, fs::File, net::IpAddr, path::PathBuf, time::Duration};

use berth_model::{
    EntryKey,
    goal::{Entry, Network, NetworkRates},
};
use berth_netplug::{
    AttachRequest, BitRate, BitRateError, NameError, Netplug, Owner, PlugError, PoolName, Rates,
    Timeouts, pool::PoolSet, pool::PoolSetError,
};

use crate::config::Config;

/// Why networks can't be worked with.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A name or a rate of the goal or the configuration is none for `netplug`.
    #[error("the network can't be asked for")]
    Name(#[from] NameError),
    /// The same of a rate.
    #[error("the network's rate can't be asked for")]
    Rate(#[from] BitRateError),
    /// The pools can't be read.
    #[error("the pools can't be read")]
    Pools(#[from] PoolSetError),
    /// `netplug` failed.
    #[error("the network can't be had")]
    Plug(#[from] PlugError),
}

/// What an entry asks for; `None` in host mode.
///
/// # Errors
/// [`NetworkError::Name`] and [`NetworkError::Rate`]: what the goal's own rules let pass
/// and `netplug`'s don't.
pub fn request(key: &EntryKey, entry: &Entry) -> Result<Option<AttachRequest>, NetworkError> {
    let Network::Vlan { pool, ip, rate } = &entry.network else { return Ok(None) };
    Ok(Some(AttachRequest {
        owner: owner(key)?,
        pool: PoolName::new(pool.as_str())?,
        address: *ip,
        rates: rates(rate)?,
        live_namespace: None,
    }))
}

/// The rates that an entry asks for, its pool's where it names none.
#[must_use]
pub fn rates_asked(entry: &Entry, pools: &BTreeMap<String, Rates>) -> NetworkRates {
    let Network::Vlan { pool, rate, .. } = &entry.network else { return NetworkRates::default() };
    let of_pool = pools.get(pool).copied().map(goal_rates).unwrap_or_default();
    NetworkRates {
        inward: rate.inward.or(of_pool.inward),
        outward: rate.outward.or(of_pool.outward),
    }
}

/// Rates in the goal's terms.
#[must_use]
pub fn goal_rates(rates: Rates) -> NetworkRates {
    let bits = |rate: BitRate| berth_model::BitRate::new(rate.bits_per_second());
    NetworkRates { inward: rates.inbound.map(bits), outward: rates.outbound.map(bits) }
}

/// The owner of an instance's network.
///
/// # Errors
/// The key is too long for one; an entry with such a key is never in vlan mode.
pub fn owner(key: &EntryKey) -> Result<Owner, NameError> {
    Owner::new(key.as_str())
}

fn rates(rate: &NetworkRates) -> Result<Rates, BitRateError> {
    let one = |rate: Option<berth_model::BitRate>| {
        rate.map(|rate| BitRate::from_bits_per_second(rate.get())).transpose()
    };
    Ok(Rates { inbound: one(rate.inward)?, outbound: one(rate.outward)? })
}

/// How long the switch's database may take to answer a probe, which asks it twice.
const PROBE_DATABASE: Duration = Duration::from_millis(500);

/// The networks of one host.
#[derive(Debug, Clone, Copy)]
pub struct Networks<'a> {
    config: &'a Config,
}

impl<'a> Networks<'a> {
    /// Those of the host with this configuration.
    #[must_use]
    pub fn new(config: &'a Config) -> Self {
        Self { config }
    }

    /// Whether this host has, or had, any: without, nothing of `netplug` is touched.
    #[must_use]
    pub fn any(&self) -> bool {
        self.dir().exists()
    }

    fn dir(&self) -> PathBuf {
        self.config.state_dir.join("net")
    }

    /// For steps, which may wait.
    ///
    /// # Errors
    /// The host's name is none, or the directories can't be made.
    pub fn open(&self) -> Result<Netplug, NetworkError> {
        Ok(Netplug::open(self.config.netplug()?)?)
    }

    /// For probes, which may not.
    ///
    /// # Errors
    /// As [`Networks::open`].
    pub fn open_to_look(&self) -> Result<Netplug, NetworkError> {
        let config = self.config.netplug()?;
        let timeouts = Timeouts { database: PROBE_DATABASE, ..config.timeouts };
        Ok(Netplug::open(berth_netplug::Config { timeouts, ..config })?)
    }

    /// The pools as the files are now.
    ///
    /// # Errors
    /// They can't be read.
    pub fn pools(&self) -> Result<PoolSet, NetworkError> {
        Ok(PoolSet::load(&self.config.network.pools_dir)?)
    }

    /// The address that an instance of this host holds, if it holds one.
    ///
    /// # Errors
    /// The leases can't be read.
    pub fn address_of(&self, key: &EntryKey) -> Result<Option<IpAddr>, NetworkError> {
        if !self.any() {
            return Ok(None);
        }
        let leases = self.open_to_look()?.leases()?;
        let own = leases.into_iter().find(|lease| lease.owner.as_str() == key.as_str());
        Ok(own.map(|lease| lease.address))
    }

    /// The network namespace of an instance, if there is one.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn namespace_of(&self, key: &EntryKey) -> Result<Option<File>, NetworkError> {
        if !self.any() {
            return Ok(None);
        }
        Ok(self.open_to_look()?.namespace(&owner(key)?)?)
    }
}

#[cfg(test)]
mod tests;
