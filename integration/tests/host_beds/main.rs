//! One host, with real containers and real servers, judged by the kernel and by another
//! vendor's client. One program, so that two beds are at work at a time.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod bad_host;
mod beds;
mod converge;
mod disks;
mod drift;
mod faults;
mod goal_files;
mod images;
mod limits;
mod percona;
mod seeds;
mod service;
mod states;

use berth_integration::{Bed, Entry};
use berth_model::EntryKey;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Sends a process a signal.
fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

/// The processes of these entries' servers.
fn pids(bed: &Bed, entries: &[Entry]) -> Vec<u32> {
    entries.iter().map(|entry| bed.pid(&entry.key())).collect()
}

/// The keys of the cluster that most tests have.
fn keys() -> [EntryKey; 3] {
    ["shop-db1", "shop-db2", "shop-db3"].map(berth_integration::goal::key)
}
