//! Entries of one host that can't all be true: two masters of a cluster, two servers on
//! a port or at an address, a source that may be two, more memory than there is.
//!
//! Of the entries in a conflict, those that are new or changed are refused and fall back
//! to their last good goals, which never conflict among themselves; falling back can make
//! a new conflict, so this is repeated until nothing changes. Every round refuses at least
//! one entry, so there are at most as many rounds as entries.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Entry, EntryKey, GoalState, HostFacts, PlacedEntry, Refusal, Role, ambiguous, belongs_to,
    cluster_of, refuse, source_of, sources_of,
};
use crate::{goal::check, names::ClusterName, size::HostShare};

struct Conflict {
    members: Vec<EntryKey>,
    field: &'static str,
    problem: String,
    remedy: &'static str,
}

pub(super) fn settle(
    host: &HostFacts,
    candidates: &mut BTreeMap<EntryKey, PlacedEntry>,
    in_force: &BTreeMap<EntryKey, PlacedEntry>,
    refusals: &mut Vec<Refusal>,
) {
    for _ in 0..=candidates.len() {
        let conflicts = conflicts(host, &in_effect(host, candidates, in_force));
        let mut refused = BTreeSet::new();
        for conflict in conflicts {
            for key in &conflict.members {
                let Some(new) = candidates.get(key) else {
                    continue;
                };
                let unchanged = in_force.get(key).is_some_and(|old| old.text == new.text);
                if !unchanged && refused.insert(key.clone()) {
                    let problem = conflict.problem.clone();
                    refusals.push(refuse(new, Some(conflict.field), problem, conflict.remedy));
                }
            }
        }
        if refused.is_empty() {
            return;
        }
        candidates.retain(|key, _| !refused.contains(key));
    }
}

/// What would be in effect: the candidates, and for this host's other entries the goals
/// in force.
fn in_effect<'a>(
    host: &HostFacts,
    candidates: &'a BTreeMap<EntryKey, PlacedEntry>,
    in_force: &'a BTreeMap<EntryKey, PlacedEntry>,
) -> BTreeMap<&'a EntryKey, &'a PlacedEntry> {
    let kept = in_force.iter().filter(|(_, placed)| belongs_to(placed, &host.name));
    kept.chain(candidates.iter()).collect()
}

fn conflicts(host: &HostFacts, entries: &BTreeMap<&EntryKey, &PlacedEntry>) -> Vec<Conflict> {
    let own: Vec<&PlacedEntry> = entries
        .values()
        .copied()
        .filter(|placed| belongs_to(placed, &host.name))
        .filter(|placed| placed.entry.state == GoalState::Started)
        .collect();
    let source = |entry: &Entry| {
        source_of(entry, |key| entries.get(key).copied(), entries.values().copied())
    };
    let mut found = two_masters(&own, |placed| cluster_of(placed, source));
    found.extend(one_port(&own));
    found.extend(one_address(host, entries));
    found.extend(own.iter().filter_map(|placed| one_family(placed, source(&placed.entry)?)));
    found.extend(own.iter().filter_map(|placed| one_source(placed, entries)));
    found.extend(own.iter().filter_map(|placed| high_of_share(host, placed)));
    found.extend(memory(host, &own));
    found
}

fn grouped<'a, K: Ord>(
    entries: &[&'a PlacedEntry],
    key: impl Fn(&'a PlacedEntry) -> K,
) -> Vec<(K, Vec<EntryKey>)> {
    let mut groups: BTreeMap<K, Vec<EntryKey>> = BTreeMap::new();
    for placed in entries {
        groups.entry(key(placed)).or_default().push(placed.key.clone());
    }
    groups.into_iter().filter(|(_, members)| members.len() > 1).collect()
}

fn names(members: &[EntryKey]) -> String {
    members.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

fn two_masters<'a>(
    own: &[&'a PlacedEntry],
    cluster: impl Fn(&'a PlacedEntry) -> ClusterName,
) -> Vec<Conflict> {
    let writable =
        |placed: &&PlacedEntry| placed.entry.role == Role::Master && !placed.entry.disabled;
    let masters: Vec<&PlacedEntry> = own.iter().copied().filter(writable).collect();
    let groups = grouped(&masters, cluster);
    let conflict = |(cluster, members): (ClusterName, Vec<EntryKey>)| Conflict {
        problem: format!(
            "found {} as masters of cluster {cluster}, expected one master",
            names(&members)
        ),
        members,
        field: "data.role",
        remedy: "make all but one a minion, disable it, or give it another cluster",
    };
    groups.into_iter().map(conflict).collect()
}

/// In vlan mode each has all ports of its own address.
fn one_port(own: &[&PlacedEntry]) -> Vec<Conflict> {
    let on_host: Vec<&PlacedEntry> =
        own.iter().copied().filter(|placed| !placed.entry.network.is_vlan()).collect();
    let conflict = |(port, members): (u16, Vec<EntryKey>)| Conflict {
        problem: format!("found port {port} in {}, expected a port for each", names(&members)),
        members,
        field: "data.port",
        remedy: "choose another port",
    };
    grouped(&on_host, |placed| placed.entry.port).into_iter().map(conflict).collect()
}

/// An address is one instance's, of whichever host, also while that is stopped.
fn one_address(host: &HostFacts, entries: &BTreeMap<&EntryKey, &PlacedEntry>) -> Vec<Conflict> {
    let holds = |placed: &&PlacedEntry| {
        placed.entry.network.ip().is_some() && placed.entry.state != GoalState::Removed
    };
    let holders: Vec<&PlacedEntry> = entries.values().copied().filter(holds).collect();
    let own =
        |key: &EntryKey| entries.get(key).is_some_and(|placed| belongs_to(placed, &host.name));
    grouped(&holders, |placed| placed.entry.network.ip())
        .into_iter()
        .filter(|(_, members)| members.iter().any(own))
        .filter_map(|(ip, members)| {
            Some(Conflict {
                problem: format!(
                    "found the address {} in {}, expected it once",
                    ip?,
                    names(&members)
                ),
                members,
                field: "data.network.ip",
                remedy: "choose another address, or none, for all but one",
            })
        })
        .collect()
}

/// A minion and its source speak to each other, which IPv4 and IPv6 don't.
fn one_family(minion: &PlacedEntry, source: &PlacedEntry) -> Option<Conflict> {
    let (ip, at) = (minion.entry.network.ip()?, source.entry.network.ip()?);
    (ip.is_ipv4() != at.is_ipv4()).then(|| Conflict {
        members: vec![minion.key.clone(), source.key.clone()],
        field: "data.network.ip",
        problem: format!(
            "found {ip} of {} and {at} of its master {}, expected both IPv4 or both IPv6",
            minion.key, source.key
        ),
        remedy: "give both addresses of one family",
    })
}

fn one_source(
    minion: &PlacedEntry,
    entries: &BTreeMap<&EntryKey, &PlacedEntry>,
) -> Option<Conflict> {
    let found =
        sources_of(&minion.entry, |key| entries.get(key).copied(), entries.values().copied());
    let several = ambiguous(&found);
    let source = minion.entry.source.as_ref()?;
    (!several.is_empty()).then(|| Conflict {
        members: vec![minion.key.clone()],
        field: "data.master_host",
        problem: format!(
            "found {}:{}, which {} in vlan mode may be, expected one",
            source.host,
            source.port,
            names(&several)
        ),
        remedy: "name the master by the key of its entry",
    })
}

/// What a share is in bytes is known on its host only, and so is what `memory.high` can be.
fn high_of_share(host: &HostFacts, placed: &PlacedEntry) -> Option<Conflict> {
    let broken = check::memory(placed.entry.size.of(host.memory_bytes?), placed.entry.memory);
    let broken = broken.err()?;
    Some(Conflict {
        members: vec![placed.key.clone()],
        field: broken.field,
        problem: broken.problem,
        remedy: check::NO_LIMIT,
    })
}

/// Shares of a host whose memory isn't known here are added up on a host of this size.
const IMAGINED_HOST_BYTES: u64 = 1 << 50;

fn memory(host: &HostFacts, own: &[&PlacedEntry]) -> Option<Conflict> {
    let fixed = |placed: &&&PlacedEntry| matches!(placed.entry.size, HostShare::Bytes(_));
    let (counted, total): (Vec<&PlacedEntry>, u64) = match host.memory_bytes {
        Some(bytes) => (own.to_vec(), bytes),
        None => (own.iter().filter(|p| !fixed(p)).copied().collect(), IMAGINED_HOST_BYTES),
    };
    let asked: u128 = counted.iter().map(|placed| u128::from(placed.entry.size.of(total))).sum();
    if asked <= u128::from(total) {
        return None;
    }
    let each: Vec<String> =
        counted.iter().map(|placed| format!("{} ({})", placed.key, placed.entry.size)).collect();
    let has = match host.memory_bytes {
        Some(bytes) => format!("the {} MiB that this host has for instances", bytes >> 20),
        None => "the whole host".to_owned(),
    };
    Some(Conflict {
        members: counted.iter().map(|placed| placed.key.clone()).collect(),
        field: "data.size",
        problem: format!("found sizes of {} that together exceed {has}", each.join(", ")),
        remedy: "make the sizes smaller, or stop or move an instance",
    })
}
