//! This process in the place of PID 1: what a killed agent leaves becomes its child, and is
//! collected when it ends, as systemd would.
//!
//! Only what belongs to another session is collected here: this process's own commands are
//! collected by whoever started them, and agents, each in a session of its own, are known by
//! pid.

use std::{
    collections::BTreeSet,
    process::{Child, Command},
    sync::{Mutex, MutexGuard, Once, PoisonError},
    thread,
    time::Duration,
};

use nix::{
    sys::{
        prctl,
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};

use crate::proc;

/// How soon what has ended is collected.
const LOOK: Duration = Duration::from_millis(20);

/// The children in sessions of their own that someone else waits for.
static KNOWN: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

fn known() -> MutexGuard<'static, BTreeSet<u32>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins to collect. Once is enough.
///
/// # Panics
/// The kernel refuses PR_SET_CHILD_SUBREAPER (PR_SET_CHILD_SUBREAPER(2const)).
pub fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        prctl::set_child_subreaper(true).expect("any process may be a subreaper");
        thread::spawn(|| {
            loop {
                collect();
                thread::sleep(LOOK);
            }
        });
    });
}

/// Starts a command that will have a session of its own, and that the caller waits for.
///
/// # Panics
/// It can't be started.
pub fn spawn(command: &mut Command) -> Child {
    let mut known = known();
    let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    known.insert(child.id());
    child
}

/// The caller has waited for a child that [`spawn`] started.
pub fn forget(pid: u32) {
    known().remove(&pid);
}

fn collect() {
    let known = known();
    let own = proc::stat(std::process::id()).map(|own| own.session);
    for child in zombies() {
        if Some(child.session) != own && !known.contains(&child.pid) {
            let pid = Pid::from_raw(child.pid.cast_signed());
            // It is a zombie, and nobody else's: it can't be missed.
            let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
        }
    }
}

/// Children of this process that have ended and aren't collected.
#[must_use]
pub fn zombies() -> Vec<proc::Stat> {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let children =
        threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let pids: Vec<u32> = children
        .flat_map(|text| {
            text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()
        })
        .collect();
    pids.into_iter().filter_map(proc::stat).filter(|stat| stat.state == 'Z').collect()
}
