//! The probe of the networks: all instances of the host at once, and the bridge.

use std::collections::BTreeMap;

use berth_model::{
    EntryKey,
    goal::{GoalState, Goals},
};
use berth_netplug::{Goal, Inspection, Netplug, Standing, pool::PoolSet};

use super::{NetworkFacts, Observed};
use crate::{
    files,
    host::Host,
    network::{self, NetworkError, Networks},
};

pub(super) fn network(host: &Host, goals: &Goals) -> Observed<NetworkFacts> {
    let networks = Networks::new(&host.config);
    let wanted = goals.own.values().any(|goal| goal.placed.entry.network.is_vlan());
    if !wanted && !networks.any() {
        return Observed::Absent;
    }
    look(networks, goals).map(Some).into()
}

fn look(networks: Networks<'_>, goals: &Goals) -> Result<NetworkFacts, NetworkError> {
    let plug = networks.open_to_look()?;
    let mut problems = Vec::new();
    // Without pools the instances' present networks are seen still.
    let pools = networks.pools().unwrap_or_else(|error| {
        problems.push(words(&error));
        PoolSet::default()
    });
    let bridge = plug.inspect_bridge().map_err(|error| words(&error));
    let found = plug.inspect(&pools, &asked(goals)?)?;
    let refused_pools = pools.refused().iter().map(ToString::to_string).collect();
    problems.extend(found.problems.iter().cloned());
    problems.extend(bridge.as_ref().err().filter(|_| in_use(goals, &plug)).cloned());
    Ok(NetworkFacts {
        bridge,
        strays: strays(&found),
        instances: by_key(found.owners),
        pool_rates: pools.iter().map(|pool| (pool.name.to_string(), pool.rate)).collect(),
        refused_pools,
        problems,
    })
}

/// What the goals ask for: a network for every instance in vlan mode that is not removed,
/// none for the others.
fn asked(goals: &Goals) -> Result<Goal, NetworkError> {
    let mut asked = Goal::default();
    for (key, goal) in &goals.own {
        let entry = &goal.placed.entry;
        match network::request(key, entry)? {
            Some(request) if entry.state != GoalState::Removed => asked.attached.push(request),
            // A key that is none of an owner never had a network.
            _ => asked.removed.extend(network::owner(key).ok()),
        }
    }
    Ok(asked)
}

/// Whether the switch matters to anybody.
fn in_use(goals: &Goals, plug: &Netplug) -> bool {
    let wanted = goals.own.values().any(|goal| goal.placed.entry.network.is_vlan());
    wanted || plug.leases().is_ok_and(|leases| !leases.is_empty())
}

fn by_key(owners: BTreeMap<berth_netplug::Owner, Standing>) -> BTreeMap<EntryKey, Standing> {
    let keyed = owners.into_iter().filter_map(|(owner, seen)| {
        let key = owner.as_str().parse().ok()?;
        Some((key, seen))
    });
    keyed.collect()
}

fn strays(found: &Inspection) -> Vec<String> {
    let leased = found
        .orphans
        .iter()
        .map(|lease| format!("{} of {} (pool {})", lease.address, lease.owner, lease.pool));
    leased.chain(found.strays.iter().map(|owner| format!("the network of {owner}"))).collect()
}

fn words(error: &(dyn std::error::Error + 'static)) -> String {
    files::chain(error).join(": ")
}
