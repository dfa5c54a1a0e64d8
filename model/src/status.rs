//! Status documents: what a host's agent saw, does and can't do.
//!
//! The agent writes one document after every pass; `berth status --json` prints it with
//! the live facts of the kernel laid over it. What is being done now ([`Doing`]) is kept
//! apart from what was last completed ([`LastStep`]).

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    goal::Refusal,
    names::{EntryKey, HostName},
};

macro_rules! display_as_serialised {
    ($($name:ident),*) => {$(
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match serde_json::to_value(self) {
                    Ok(serde_json::Value::String(text)) => f.pad(&text),
                    _ => Err(std::fmt::Error),
                }
            }
        }
    )*};
}

mod disk;
mod instance;
mod network;
mod usage;

pub use disk::{DiskDevice, DiskKind, DiskStatus};
pub use instance::{
    ContainerStatus, Doing, GoalStanding, GoalSummary, InstanceState, InstanceStatus, LastStep,
    Phase, ReplicationStatus, Retry,
};
pub use network::{HostNetworkStatus, NetworkCounters, NetworkStatus};
pub use usage::Usage;

/// The version of the status document's form.
pub const STATUS_VERSION: u32 = 1;

/// The status of one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "berth status document, version 1")]
pub struct StatusDocument {
    /// Version of this form.
    pub version: u32,
    /// The host's name in goal entries.
    pub host: HostName,
    /// The agent that wrote the document.
    pub agent: AgentStatus,
    /// What was refused in the goal files.
    pub refusals: Vec<Refusal>,
    /// Every instance by its entry's key.
    pub instances: BTreeMap<EntryKey, InstanceStatus>,
    /// What the image store takes; missing while that is not known.
    #[serde(default)]
    pub images: Option<ImagesStatus>,
    /// Containers that no goal speaks of. They are left alone.
    pub strays: Vec<String>,
    /// The networks of instances in vlan mode; left out where there never was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<HostNetworkStatus>,
    /// The steps that were completed last, oldest first; at most [`RECENT_MAX`].
    pub recent: Vec<RecentStep>,
}

/// How many completed steps a status document keeps.
pub const RECENT_MAX: usize = 200;

/// What the image store takes on its disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImagesStatus {
    /// How many blobs (layers, configurations, manifests) it has.
    pub blobs: usize,
    /// Their bytes.
    pub blob_bytes: u64,
    /// How many images are unpacked.
    pub trees: usize,
    /// Their bytes.
    pub tree_bytes: u64,
    /// Beginnings of blobs, of pulls under way or broken off.
    pub partial_bytes: u64,
    /// What can still be written to its disk.
    pub free_bytes: u64,
}

/// A step that was completed, or failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecentStep {
    /// The entry's key, or the image or template that the step was for.
    pub lane: String,
    /// The step, in words.
    pub step: String,
    /// When it ended.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// The error and its causes; empty if it worked.
    pub error: Vec<String>,
}

/// Whether the agent is at work, as the reader of the document finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AgentState {
    /// The process that wrote the document lives, and its passes are in time.
    Running,
    /// The process lives but is stopped or stuck: its last pass is overdue.
    Stuck,
    /// The process is gone; instances run on, but nothing is repaired.
    Gone,
}

/// The agent behind a status document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentStatus {
    /// Whether it is at work.
    pub state: AgentState,
    /// Its version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// When that process started, in clock ticks since boot (proc_pid_stat(5), field 22);
    /// with the pid it names one process.
    pub pid_start_ticks: u64,
    /// The boot it runs in (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: String,
    /// When it started.
    pub started_at: Timestamp,
    /// Passes since then.
    pub passes: u64,
    /// When the last pass ended: how old the document is.
    pub last_pass_at: Timestamp,
    /// How long the last pass took, in milliseconds.
    pub last_pass_ms: u64,
    /// How often it makes a pass when nothing happens, in milliseconds.
    pub interval_ms: u64,
    /// What the goal directory looked like at the last pass: who waits for a change of goals
    /// to take effect compares it with the directory as it is.
    pub goal_files: String,
    /// What woke it for the last pass.
    pub last_wake: String,
}

display_as_serialised!(AgentState);
