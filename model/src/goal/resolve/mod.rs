//! All goal files of a host together, beside the goals in force.
//!
//! Flow: every valid entry is a candidate; a candidate that an older generation, a
//! second writing of the same key or a conflict with another entry forbids is refused
//! and its last good goal stays. What is in force wins every conflict, so that a new
//! mistake never disturbs what runs.
//!
//! Pure: the caller reads the files, keeps the goals in force and knows the host.

mod conflict;

use std::collections::{BTreeMap, BTreeSet};

use super::{Entry, GoalState, ParsedFile, PlacedEntry, Refusal, Role};
use crate::names::{ClusterName, EntryKey, HostName};

/// What resolving needs to know of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// Its name in the goal entries.
    pub name: HostName,
    /// Memory for instances, in bytes; `None` where goals are checked away from the host.
    pub memory_bytes: Option<u64>,
}

/// Where an instance's goal comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// From the files as they are now.
    Current,
    /// The entry in the files was refused; this is the last good one.
    LastGood,
    /// The entry has vanished from the files; the instance runs on.
    Orphaned,
}

/// The goal of one instance of this host.
#[derive(Debug, Clone, PartialEq)]
pub struct Goal {
    /// The entry.
    pub placed: PlacedEntry,
    /// Where it comes from.
    pub standing: Standing,
}

/// Everything that follows from the goal files.
#[derive(Debug, Clone, PartialEq)]
pub struct Goals {
    /// The goals of this host's instances.
    pub own: BTreeMap<EntryKey, Goal>,
    /// Entries of other hosts: used to know a source's address and cluster.
    pub peers: BTreeMap<EntryKey, PlacedEntry>,
    /// All that was refused, in the order of files and lines.
    pub refusals: Vec<Refusal>,
}

/// Lays `files`, in their order, beside the goals in force.
#[must_use]
pub fn resolve(
    host: &HostFacts,
    files: &[ParsedFile],
    in_force: &BTreeMap<EntryKey, PlacedEntry>,
) -> Goals {
    let mut refusals: Vec<Refusal> = files.iter().flat_map(|f| f.refusals.clone()).collect();
    let mut candidates = candidates(files, &mut refusals);
    refuse_old_generations(&mut candidates, in_force, &mut refusals);
    conflict::settle(host, &mut candidates, in_force, &mut refusals);
    let held = Held::new(&refusals);
    let mut goals = Goals { own: BTreeMap::new(), peers: BTreeMap::new(), refusals };
    for (key, placed) in candidates {
        goals.insert(host, key, Goal { placed, standing: Standing::Current });
    }
    for (key, placed) in in_force {
        let own = belongs_to(placed, &host.name);
        let present = goals.own.contains_key(key) || goals.peers.contains_key(key);
        let kept = held.holds(placed);
        if present || !(own || kept) {
            continue;
        }
        let standing = if kept { Standing::LastGood } else { Standing::Orphaned };
        goals.insert(host, key.clone(), Goal { placed: placed.clone(), standing });
    }
    goals.refusals.sort_by(|a, b| a.location.cmp(&b.location));
    goals
}

/// Whether an entry is one of `host`'s: exactly by its `app_id` where it has one, by the
/// key's beginning otherwise.
#[must_use]
pub fn belongs_to(placed: &PlacedEntry, host: &HostName) -> bool {
    match (&placed.entry.app_id, placed.key.app_id_on(host)) {
        (Some(app_id), Some(rest)) => app_id == rest,
        (None, Some(_)) => true,
        (_, None) => false,
    }
}

impl Goals {
    fn insert(&mut self, host: &HostFacts, key: EntryKey, goal: Goal) {
        if belongs_to(&goal.placed, &host.name) {
            self.own.insert(key, goal);
        } else {
            self.peers.insert(key, goal.placed);
        }
    }

    /// Every entry that is in force after this, the peers' included.
    #[must_use]
    pub fn in_force(&self) -> BTreeMap<EntryKey, PlacedEntry> {
        let own = self.own.iter().map(|(key, goal)| (key.clone(), goal.placed.clone()));
        own.chain(self.peers.iter().map(|(key, placed)| (key.clone(), placed.clone()))).collect()
    }

    /// The entry of this key, on whichever host.
    #[must_use]
    pub fn entry(&self, key: &EntryKey) -> Option<&PlacedEntry> {
        self.own.get(key).map(|goal| &goal.placed).or_else(|| self.peers.get(key))
    }

    /// Every entry, this host's first.
    pub fn entries(&self) -> impl Iterator<Item = &PlacedEntry> {
        self.own.values().map(|goal| &goal.placed).chain(self.peers.values())
    }

    /// The entry that a minion replicates from, if it is known here.
    #[must_use]
    pub fn source_of(&self, entry: &Entry) -> Option<&PlacedEntry> {
        source_of(entry, |key| self.entry(key), self.entries())
    }

    /// The entries that a minion's source might be when its name and port tell no single
    /// one: several in vlan mode may have one port of one host.
    #[must_use]
    pub fn ambiguous_source(&self, entry: &Entry) -> Vec<EntryKey> {
        ambiguous(&sources_of(entry, |key| self.entry(key), self.entries()))
    }

    /// The cluster an entry belongs to: its `cluster`, else that of the source it names
    /// where that is known, else its name without a trailing `-db<number>`. The name is
    /// `data.name`, else `app_id`, else the whole key.
    #[must_use]
    pub fn cluster_of(&self, placed: &PlacedEntry) -> ClusterName {
        cluster_of(placed, |entry| self.source_of(entry))
    }
}

/// The longest chain of sources that is followed to find a cluster's name.
const CHAIN_MAX: usize = 16;

fn cluster_of<'a>(
    placed: &'a PlacedEntry,
    source_of: impl Fn(&Entry) -> Option<&'a PlacedEntry>,
) -> ClusterName {
    let mut at = placed;
    for _ in 0..CHAIN_MAX {
        if let Some(cluster) = &at.entry.cluster {
            return cluster.clone();
        }
        match source_of(&at.entry) {
            Some(source) if at.entry.role == Role::Minion => at = source,
            _ => break,
        }
    }
    let named = at.entry.name.as_deref().or(at.entry.app_id.as_deref());
    let name = named.unwrap_or(at.key.as_str());
    let stem = match name.rsplit_once("-db") {
        Some((stem, digits)) if is_number(digits) => stem,
        _ => name,
    };
    // A name given in `data.name` is free text: where it is no name, the key is one.
    stem.parse().or_else(|_| at.key.as_str().parse()).expect("a key has the alphabet of a name")
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit())
}

/// The entry that a minion replicates from.
fn source_of<'a>(
    entry: &Entry,
    by_key: impl Fn(&EntryKey) -> Option<&'a PlacedEntry>,
    entries: impl Iterator<Item = &'a PlacedEntry>,
) -> Option<&'a PlacedEntry> {
    the_one(&sources_of(entry, by_key, entries))
}

/// Of those that a source may be, the one in host mode, of which a port has only one;
/// otherwise the only one in vlan mode; otherwise the only master among them.
fn the_one<'a>(found: &[&'a PlacedEntry]) -> Option<&'a PlacedEntry> {
    if let [only] = found {
        return Some(only);
    }
    let mut masters = found.iter().filter(|placed| placed.entry.role == Role::Master);
    let master = masters.next().filter(|_| masters.next().is_none());
    found.iter().find(|placed| !placed.entry.network.is_vlan()).or(master).copied()
}

/// The entries that a minion's `master_host` and `master_port` may mean: by key, else by
/// host and port, else by name and port.
fn sources_of<'a>(
    entry: &Entry,
    by_key: impl Fn(&EntryKey) -> Option<&'a PlacedEntry>,
    entries: impl Iterator<Item = &'a PlacedEntry>,
) -> Vec<&'a PlacedEntry> {
    let Some(source) = &entry.source else { return Vec::new() };
    if let Some(found) = source.host.parse().ok().and_then(|key| by_key(&key)) {
        return vec![found];
    }
    let at_port: Vec<&PlacedEntry> = entries
        .filter(|peer| peer.entry.port == source.port && peer.entry.state == GoalState::Started)
        .collect();
    let having = |is: &dyn Fn(&PlacedEntry) -> bool| -> Vec<&'a PlacedEntry> {
        at_port.iter().copied().filter(|peer| is(peer)).collect()
    };
    let host: Option<HostName> = source.host.parse().ok();
    let on_host = having(&|peer| host.as_ref().is_some_and(|host| belongs_to(peer, host)));
    if on_host.is_empty() {
        having(&|peer| peer.entry.name.as_ref() == Some(&source.host))
    } else {
        on_host
    }
}

fn ambiguous(found: &[&PlacedEntry]) -> Vec<EntryKey> {
    match the_one(found) {
        Some(_) => Vec::new(),
        None => found.iter().map(|placed| placed.key.clone()).collect(),
    }
}

/// The entries of all files by key; a key that stands twice is refused in both places.
fn candidates(
    files: &[ParsedFile],
    refusals: &mut Vec<Refusal>,
) -> BTreeMap<EntryKey, PlacedEntry> {
    let mut places: BTreeMap<&EntryKey, Vec<&PlacedEntry>> = BTreeMap::new();
    for placed in files.iter().flat_map(|file| &file.entries) {
        places.entry(&placed.key).or_default().push(placed);
    }
    let mut single = BTreeMap::new();
    for (key, entries) in places {
        if let [only] = entries[..] {
            single.insert(key.clone(), only.clone());
            continue;
        }
        let all: Vec<String> = entries.iter().map(|entry| entry.location.to_string()).collect();
        for entry in entries {
            let problem = format!("found the same key at {}, expected it once", all.join(" and "));
            refusals.push(refuse(entry, None, problem, "remove all but one"));
        }
    }
    single
}

fn refuse(placed: &PlacedEntry, field: Option<&str>, problem: String, remedy: &str) -> Refusal {
    Refusal {
        location: placed.location.clone(),
        entry: Some(placed.key.to_string()),
        field: field.map(str::to_owned),
        problem,
        remedy: remedy.to_owned(),
    }
}

fn refuse_old_generations(
    candidates: &mut BTreeMap<EntryKey, PlacedEntry>,
    in_force: &BTreeMap<EntryKey, PlacedEntry>,
    refusals: &mut Vec<Refusal>,
) {
    candidates.retain(|key, new| {
        let old = in_force.get(key);
        let (Some(number), Some(old_number)) =
            (new.entry.generation, old.and_then(|old| old.entry.generation))
        else {
            return true;
        };
        let other = old.is_some_and(|old| old.text != new.text);
        let problem = if number < old_number {
            format!("found generation {number}, expected at least {old_number}, which is in force")
        } else if number == old_number && other {
            format!("found generation {number} with other content than the one in force")
        } else {
            return true;
        };
        let remedy = "raise the generation with every change";
        refusals.push(refuse(new, Some("generation"), problem, remedy));
        false
    });
}

/// What the refusals keep in its last good state: entries by key, and whole files.
struct Held {
    keys: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Held {
    fn new(refusals: &[Refusal]) -> Self {
        let keys = refusals.iter().filter_map(|refusal| refusal.entry.clone()).collect();
        let whole = refusals.iter().filter(|refusal| refusal.entry.is_none());
        let files = whole.map(|refusal| refusal.location.file.clone()).collect();
        Self { keys, files }
    }

    fn holds(&self, placed: &PlacedEntry) -> bool {
        self.keys.contains(placed.key.as_str()) || self.files.contains(&placed.location.file)
    }
}

#[cfg(test)]
mod tests;
