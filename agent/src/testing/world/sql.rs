//! What is said to a server, and what it refuses.

use std::net::SocketAddr;

use berth_model::EntryKey;

use super::World;
use crate::{
    mysql::{BUFFER_POOL_SIZE, CloneState, SemiSyncRole},
    plan::Verb,
};

impl World {
    pub(super) fn say(&mut self, key: &EntryKey, verb: &Verb) -> Result<(), String> {
        if let Verb::Clone { donor } = verb {
            return self.begin_clone(key, SocketAddr::new(donor.host, donor.port));
        }
        let mut wrong = None;
        let (server, database) = self.place(key).running().ok_or("no server runs")?;
        if !server.answers {
            return Err("the server does not answer yet".to_owned());
        }
        match verb {
            Verb::SuperReadOnly => server.super_read_only = true,
            Verb::TakeWrites => {
                server.super_read_only = false;
                if database.source.is_some() {
                    wrong = Some(format!("{key}: a server that replicates takes writes"));
                }
            }
            Verb::SetGlobal { name, value } => match (name.as_str(), value.parse()) {
                ("sync_binlog", Ok(number)) => server.sync_binlog = number,
                ("innodb_flush_log_at_trx_commit", Ok(number)) => server.flush = number,
                (BUFFER_POOL_SIZE, _) => server.set_pool(value.parse().unwrap())?,
                _ => drop(server.globals.insert(name.clone(), value.clone())),
            },
            Verb::SemiSync { role: SemiSyncRole::Source, on } => server.semi_source = *on,
            Verb::SemiSync { role: SemiSyncRole::Replica, on } => server.semi_replica = *on,
            Verb::OfflineMode { on } => server.offline = *on,
            Verb::EnsureAccounts { .. } if server.super_read_only => {
                return Err("1290: the server is running with --super-read-only".to_owned());
            }
            Verb::EnsureAccounts { .. } => database.accounts = true,
            Verb::PointAt { source } => {
                server.threads = false;
                database.source = Some(SocketAddr::new(source.host, source.port));
            }
            Verb::StartReplication if database.source.is_none() => {
                return Err("1200: the server is not configured as replica".to_owned());
            }
            Verb::StartReplication => server.threads = true,
            Verb::StopReplication => server.threads = false,
            Verb::Clone { .. } => {}
        }
        self.wrongs.extend(wrong);
        Ok(())
    }

    /// CLONE runs on by itself; see [`World::tick`].
    fn begin_clone(&mut self, key: &EntryKey, donor: SocketAddr) -> Result<(), String> {
        let busy = self
            .places
            .values()
            .any(|place| place.server().is_some_and(|server| server.cloning == Some(donor)));
        let reachable = self.source(donor).is_some();
        let (server, database) = self.place(key).running().ok_or("no server runs")?;
        if !server.answers {
            return Err("the server does not answer yet".to_owned());
        }
        if server.super_read_only {
            return Err("1290: the server is running with --super-read-only".to_owned());
        }
        if server.cloning.is_some() || busy {
            return Err("3634: too many concurrent clones".to_owned());
        }
        if !reachable {
            database.clone = Some((CloneState::Failed, donor));
            return Err("3862: the donor can't be reached".to_owned());
        }
        server.cloning = Some(donor);
        database.clone = Some((CloneState::Running, donor));
        let precious = database.precious;
        database.torn = true;
        if precious {
            self.wrongs.push(format!("{key}: CLONE over data that was ready"));
        }
        Ok(())
    }
}
