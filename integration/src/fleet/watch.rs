//! Looks all the time, on all hosts of a fleet, for two servers of a cluster that take writes.
//!
//! It asks over the servers' unix sockets, so a cut network does not blind it.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use berth_model::EntryKey;

use super::Fleet;
use crate::{Entry, client};

/// Between two looks: a server that takes writes by mistake does so for longer, as its agent
/// looks less often; and each look starts a client per server.
const PAUSE: Duration = Duration::from_millis(500);
/// A server that is being seeded is writable, and has no network over which it could be written.
const WRITABLE: &str = "SELECT @@super_read_only = 0 AND @@skip_networking = 0";

/// A watch over one cluster. Only [`end`](Self::end) tells what it saw.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Seen>,
}

/// What a watch saw.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// Looks at all servers.
    pub looks: usize,
    /// Who was seen to take writes.
    pub writable: BTreeSet<EntryKey>,
    /// Who took writes at the same time as another.
    pub together: Vec<[EntryKey; 2]>,
}

impl Watch {
    /// Begins to watch the servers of these entries.
    #[must_use]
    pub fn begin(fleet: &Fleet, entries: &[Entry]) -> Self {
        let socket = |entry: &Entry| (entry.key(), fleet.host_of(entry).socket(&entry.key()));
        let servers: Vec<(EntryKey, PathBuf)> = entries.iter().map(socket).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut seen = Seen::default();
            while !end.load(Ordering::Relaxed) {
                look(&servers, &mut seen);
                thread::sleep(PAUSE);
            }
            seen
        });
        Self { stop, thread }
    }

    /// Ends the watch and tells what it saw.
    ///
    /// # Panics
    /// The watch itself failed.
    #[must_use]
    pub fn end(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a watch does not fail")
    }
}

fn look(servers: &[(EntryKey, PathBuf)], seen: &mut Seen) {
    let takes_writes = |socket: &PathBuf| client::ask(socket, WRITABLE).as_deref() == Ok("1");
    let found: Vec<_> = servers.iter().filter(|(_, socket)| takes_writes(socket)).collect();
    seen.looks += 1;
    seen.writable.extend(found.iter().map(|(key, _)| key.clone()));
    // They were asked one after the other. Only if the first still takes writes after the
    // second was seen to, did they at the same time.
    for pair in found.windows(2) {
        if takes_writes(&pair[0].1) {
            seen.together.push([pair[0].0.clone(), pair[1].0.clone()]);
        }
    }
}
