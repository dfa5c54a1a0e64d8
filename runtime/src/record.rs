//! What is written down about a container, so that any later process finds it.
//!
//! Layout of `RUN_DIR/containers/ID/`:
//! - `record.json`: this record. First without a process (an intent, before the
//!   kernel is touched), then with the process, before its first instruction.
//! - `exit.json`: how it ended, stored before its zombie is collected.
//! - `bundle/config.json`: the OCI spec.
//! - `state/`: libcontainer's own files, which nobody else reads.
//!
//! The directory itself is the lock of operations that change something
//! (flock(2)); reading takes no lock. `record.json` is removed last but for the
//! directory, so that a removal that was cut off is still found.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cgroup::{Limits, Unapplied};
use crate::id::ContainerId;

/// A process, named so that pid reuse can't confuse it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessName {
    /// Its pid in the host's namespace.
    pub pid: i32,
    /// Its start time, in clock ticks since boot (field 22 of proc_pid_stat(5)).
    pub start_time: u64,
}

/// Everything that was decided when a container was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The container.
    pub id: ContainerId,
    /// The boot in which it was made; a record of another boot names no process.
    pub boot_id: String,
    /// When, in milliseconds since 1970.
    pub created_at_ms: u64,
    /// Who is making it; matters only until `process` is there and has started.
    pub creator: ProcessName,
    /// Its init process, once libcontainer has made it.
    pub process: Option<ProcessName>,
    /// Its control groups, one directory per hierarchy.
    pub cgroups: Vec<PathBuf>,
    /// The limits that were asked for, at the start or by the last change.
    pub limits: Limits,
    /// Which of them are not in force, and why.
    pub unapplied: Vec<Unapplied>,
    /// What else had to be done otherwise than asked, in words for an operator.
    pub notes: Vec<String>,
    /// Its image's directory.
    pub rootfs: PathBuf,
    /// Its log file.
    pub log: PathBuf,
    /// Free text by name, as given at the start.
    pub labels: BTreeMap<String, String>,
}

impl Record {
    /// The limits that are in force: what was asked for, without what the host can't keep.
    #[must_use]
    pub fn limits_in_force(&self) -> Limits {
        let mut limits = self.limits.clone();
        for refused in &self.unapplied {
            limits.clear(&refused.limit);
        }
        limits
    }
}
