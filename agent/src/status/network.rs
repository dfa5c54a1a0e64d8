//! The networks in the status document.

use std::net::SocketAddr;

use berth_model::{
    EntryKey,
    goal::{Goal, Network},
    status::{HostNetworkStatus, NetworkCounters, NetworkStatus},
};
use berth_netplug::{Counters, Standing};

use super::Inputs;
use crate::{
    network,
    observe::{NetworkFacts, Observed},
};

pub(super) fn host(observed: &Observed<NetworkFacts>) -> Option<HostNetworkStatus> {
    match observed {
        Observed::Absent => None,
        Observed::Unknown(why) => Some(HostNetworkStatus {
            problems: vec![format!("the networks can't be examined: {why}")],
            ..HostNetworkStatus::default()
        }),
        Observed::Present(facts) => Some(HostNetworkStatus {
            refused_pools: facts.refused_pools.clone(),
            strays: facts.strays.clone(),
            problems: facts.problems.clone(),
        }),
    }
}

/// How an instance is reached: on the host's addresses, or at its own.
pub(super) fn address(inputs: &Inputs<'_>, key: &EntryKey, goal: &Goal) -> Option<String> {
    let entry = &goal.placed.entry;
    let ip = match &entry.network {
        Network::Host => inputs.config.bind_address,
        Network::Vlan { ip, .. } => held(inputs, key).or(*ip)?,
    };
    Some(SocketAddr::new(ip, entry.port).to_string())
}

fn standing<'a>(inputs: &Inputs<'a>, key: &EntryKey) -> Option<&'a Standing> {
    inputs.observation.network.present()?.instances.get(key)
}

/// The address that it holds; while that can't be read, the one its container was made with.
fn held(inputs: &Inputs<'_>, key: &EntryKey) -> Option<std::net::IpAddr> {
    let leased = standing(inputs, key).and_then(|standing| standing.lease.as_ref());
    let container = || {
        let seen = inputs.observation.instances.get(key)?;
        seen.container.present()?.network.as_ref().map(|at| at.ip)
    };
    leased.map(|lease| lease.address).or_else(container)
}

pub(super) fn instance(inputs: &Inputs<'_>, key: &EntryKey, goal: &Goal) -> Option<NetworkStatus> {
    let Network::Vlan { pool, .. } = &goal.placed.entry.network else { return None };
    let pools = inputs.observation.network.present().map(|facts| &facts.pool_rates);
    let none = Standing::default();
    let standing = standing(inputs, key).unwrap_or(&none);
    let place = standing.place.as_ref();
    let unknown = match &inputs.observation.network {
        Observed::Unknown(why) => Some(why.clone()),
        Observed::Present(_) | Observed::Absent => None,
    };
    let amiss = standing.todo.iter().chain(&standing.blocked).cloned().chain(unknown);
    Some(NetworkStatus {
        pool: pool.clone(),
        ip: held(inputs, key),
        prefix: place.map(|place| place.prefix),
        vlan: place.and_then(|place| place.vlan).map(berth_netplug::VlanId::get),
        link: place.map(|place| place.link.clone()),
        rate_asked: network::rates_asked(&goal.placed.entry, pools.unwrap_or(&Default::default())),
        rate_set: place.map(|place| network::goal_rates(place.rates)).unwrap_or_default(),
        counters: standing.counters.as_ref().map(counters),
        amiss: amiss.collect(),
    })
}

fn counters(counted: &Counters) -> NetworkCounters {
    NetworkCounters {
        in_bytes: counted.in_bytes,
        in_packets: counted.in_packets,
        in_dropped: counted.in_dropped,
        out_bytes: counted.out_bytes,
        out_packets: counted.out_packets,
        out_dropped: counted.out_dropped,
    }
}
