//! What happens without anyone's step.

use berth_model::EntryKey;
use berth_runtime::ExitStatus;
use jiff::SignedDuration;

use super::{Database, Process, World, exit};
use crate::mysql::{CloneState, GtidSet, initialise::EXIT_RESTART};

/// The text form of a server's number.
pub(super) fn uuid(server: u32) -> String {
    format!("{server:08x}-0000-0000-0000-000000000000")
}

impl World {
    /// kill -9 of an instance's server, if one runs.
    pub(crate) fn kill(&mut self, key: &EntryKey) {
        self.end(key, ExitStatus::Signal(9));
    }

    /// The server of an instance ends, if it runs.
    pub(super) fn end(&mut self, key: &EntryKey, how: ExitStatus) {
        let place = self.place(key);
        let Some(server) = place.server() else { return };
        let was_cloning = server.cloning.is_some();
        if let (true, Some(data)) = (was_cloning, &mut place.data) {
            data.database.torn = true;
        }
        if let Some(container) = &mut place.container {
            container.process = Process::Exited(exit(how));
        }
    }

    /// Some seconds pass: servers come up, clients write, replicas follow, clones end.
    pub(crate) fn tick(&mut self) {
        self.now += SignedDuration::from_secs(5);
        let keys: Vec<EntryKey> = self.places.keys().cloned().collect();
        for key in &keys {
            self.write(key);
        }
        for key in &keys {
            self.clone_ends(key);
            self.replicate(key);
        }
        for place in self.places.values_mut() {
            if let Some((server, _)) = place.running() {
                server.answers = true;
                server.pool_changes();
            }
        }
        self.look_for_wrongs();
    }

    /// A client's transaction, where clients are let in and may write.
    fn write(&mut self, key: &EntryKey) {
        let Some((server, database)) = self.place(key).running() else { return };
        if !server.answers || server.super_read_only || server.offline {
            return;
        }
        database.write();
    }

    fn clone_ends(&mut self, key: &EntryKey) {
        let Some((server, _)) = self.place(key).running() else { return };
        let Some(at) = server.cloning.take() else { return };
        let donor = self.source(at).map(|(_, database)| database.clone());
        self.servers_made += 1;
        let number = self.servers_made;
        let Some((_, database)) = self.place(key).running() else { return };
        let Some(donor) = donor else {
            database.clone = Some((CloneState::Failed, at));
            return;
        };
        *database = Database {
            server: Some(number),
            written: 0,
            clone: Some((CloneState::Completed, at)),
            torn: false,
            precious: false,
            ..donor
        };
        if let Some(container) = &mut self.place(key).container {
            container.process = Process::Exited(exit(ExitStatus::Code(EXIT_RESTART)));
        }
    }

    fn replicate(&mut self, key: &EntryKey) {
        let Some((server, database)) = self.place(key).running() else { return };
        let (true, true, Some(port)) = (server.answers, server.threads, database.source) else {
            return;
        };
        let Some(executed) = self.source(port).map(|(_, source)| source.executed.clone()) else {
            return;
        };
        if let Some((_, database)) = self.place(key).running() {
            database.executed = database.executed.union(&executed);
        }
    }
}

impl Database {
    /// One more transaction of its own server.
    pub(crate) fn write(&mut self) {
        self.written += 1;
        let text = format!("{}:{}", uuid(self.server.unwrap_or_default()), self.written);
        let one: GtidSet = text.parse().unwrap();
        self.executed = self.executed.union(&one);
    }
}
