//! What must never be, looked for after every step and every while.

use std::collections::BTreeMap;

use berth_model::EntryKey;

use super::World;
use crate::{data::DataState, observe::Purpose};

impl World {
    /// Writes down each wrong once.
    pub(super) fn look_for_wrongs(&mut self) {
        let mut writers: BTreeMap<_, Vec<&EntryKey>> = BTreeMap::new();
        let mut wrongs = self.killed_for_memory();
        for (key, place) in &self.places {
            let (Some(server), Some(container)) = (place.server(), &place.container) else {
                continue;
            };
            if container.purpose != Purpose::Serve {
                continue;
            }
            if let Some(goal) = self.goals.entry(key)
                && !server.super_read_only
            {
                writers.entry(self.goals.cluster_of(goal)).or_default().push(key);
            }
            let unfit = place
                .data
                .as_ref()
                .is_some_and(|data| data.marker.state != DataState::Ready || data.database.torn);
            if !server.offline && unfit {
                wrongs.push(format!("{key}: clients are let in to data that is not ready"));
            }
        }
        for (cluster, keys) in writers.into_iter().filter(|(_, keys)| keys.len() > 1) {
            wrongs.push(format!("cluster {cluster}: {keys:?} take writes"));
        }
        let mut at = BTreeMap::new();
        let leased = self.networks.leases.iter().map(|(key, lease)| (key, lease.address));
        let used = self.places.keys().filter_map(|key| Some((key, self.serves_at(key)?)));
        for (key, ip) in leased.chain(used) {
            let holder = *at.entry(ip).or_insert(key);
            if holder != key {
                wrongs.push(format!("{ip} is {holder}'s and {key}'s"));
            }
        }
        wrongs.retain(|wrong| !self.wrongs.contains(wrong));
        self.wrongs.extend(wrongs);
    }
}
