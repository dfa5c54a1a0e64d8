//! Status documents: what a host's agent saw, does and can't do.
//!
//! The agent writes one document after every pass; `berth status --json` prints it with
//! the live facts of the kernel laid over it. What is being done now ([`Doing`]) is kept
//! apart from what was last completed ([`LastStep`]).

use std::{collections::BTreeMap, fmt, net::IpAddr};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    goal::{GoalState, NetworkRates, Refusal, Role},
    names::{ClusterName, EntryKey, HostName},
};

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

/// The states of design and documents, one for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    /// No data directory.
    Absent,
    /// The data directory is being made: initialised or seeded. Never served.
    Bootstrapping,
    /// The data is there, no container runs.
    Down,
    /// The container is up, the server has not answered yet.
    Starting,
    /// The server answered before and does not answer now.
    Unresponsive,
    /// The goal says minion and the server takes writes.
    WritableMinion,
    /// A minion with transactions that its source lacks.
    Errant,
    /// A minion whose source is not the goal's.
    Misdirected,
    /// A minion whose replication threads don't run.
    Stopped,
    /// A minion that needs transactions its source has purged.
    BehindPurged,
    /// A minion, all right.
    Minion,
    /// A master, writable.
    Master,
    /// A master on its way to read-only.
    Demoting,
    /// A master by its goal that is read-only yet.
    Promoting,
    /// What it is could not be found out; see `blocked`.
    Unknown,
    /// The goal says removed, and nothing is left but the trash.
    Removed,
}

/// How far an instance is from its goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// As the goal says.
    Converged,
    /// Work is under way, or is waited for.
    Converging,
    /// A step failed and will be tried again; see `retry_at`.
    Retrying,
    /// Nothing can or may be done; see `blocked`.
    Blocked,
}

macro_rules! display_as_serialised {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match serde_json::to_value(self) {
                    Ok(serde_json::Value::String(text)) => f.pad(&text),
                    _ => Err(fmt::Error),
                }
            }
        }
    )*};
}
display_as_serialised!(AgentState, InstanceState, Phase);

/// Where the goal of an instance comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GoalStanding {
    /// The goal files as they are.
    Current,
    /// The last good goal: the files' entry was refused.
    LastGood,
    /// The entry has vanished from the files; the instance runs on.
    Orphaned,
}

/// The goal of an instance in short.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GoalSummary {
    /// Whether it should run.
    pub state: GoalState,
    /// What it should be.
    pub role: Role,
    /// Whether it is disabled.
    pub disabled: bool,
    /// Where the goal comes from.
    pub standing: GoalStanding,
    /// File, line and column of the entry.
    pub location: String,
    /// Its generation, where it has one.
    pub generation: Option<u64>,
    /// The cluster it belongs to.
    pub cluster: ClusterName,
    /// The image it should run.
    pub image: String,
}

/// What is being done now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Doing {
    /// The step, in words.
    pub step: String,
    /// Since when.
    pub since: Timestamp,
}

/// What was last completed or failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LastStep {
    /// The step, in words.
    pub step: String,
    /// When it ended.
    pub at: Timestamp,
    /// The error and its causes, outermost first; empty if it worked.
    pub error: Vec<String>,
}

/// Failures in a row, and when the next try is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Retry {
    /// Failures since the instance was last all right.
    pub failures: u32,
    /// Not before this time.
    pub at: Timestamp,
}

/// The replication of a minion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplicationStatus {
    /// Address of the source that is set.
    pub source: String,
    /// Whether the receiver thread runs.
    pub receiver: bool,
    /// Whether the applier threads run.
    pub applier: bool,
    /// Seconds behind the source, as the server reckons it.
    pub lag_seconds: Option<u64>,
    /// The last error of either thread.
    pub error: Option<String>,
}

/// The container of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContainerStatus {
    /// Its id.
    pub id: String,
    /// Process id of its init on the host; `None` once it has ended.
    pub pid: Option<u32>,
    /// When it was started.
    pub started_at: Timestamp,
    /// Digest of the image's configuration.
    pub image_digest: String,
    /// How it ended, where it has.
    pub exit: Option<String>,
}

/// What an instance uses, beside its limits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Memory charged to its cgroup, in bytes.
    pub memory_bytes: Option<u64>,
    /// Its memory limit, in bytes.
    pub memory_max_bytes: Option<u64>,
    /// Processor time used, in microseconds.
    pub cpu_usec: Option<u64>,
    /// Its processor limit, in cores.
    pub cpu_max_cores: Option<f64>,
    /// Bytes read from disks.
    pub io_read_bytes: Option<u64>,
    /// Bytes written to disks.
    pub io_write_bytes: Option<u64>,
    /// Its disk limits, in words; empty if there is none.
    pub io_max: String,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Processes of it that the kernel killed for want of memory.
    pub oom_kills: Option<u64>,
}

/// What went through the link of an instance in vlan mode, as the instance sees directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct NetworkCounters {
    /// Bytes towards it.
    pub in_bytes: u64,
    /// Packets towards it.
    pub in_packets: u64,
    /// Packets towards it that its limit threw away.
    pub in_dropped: u64,
    /// Bytes from it.
    pub out_bytes: u64,
    /// Packets from it.
    pub out_packets: u64,
    /// Packets from it that were thrown away.
    pub out_dropped: u64,
}

/// The network of an instance in vlan mode, as the last pass found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkStatus {
    /// The pool that its address is from.
    pub pool: String,
    /// The address that it holds, running or not.
    pub ip: Option<IpAddr>,
    /// The length of the prefix of its network.
    pub prefix: Option<u8>,
    /// Its VLAN, as the switch has it.
    pub vlan: Option<u16>,
    /// The host's end of its link, and its port's name.
    pub link: Option<String>,
    /// The limits asked for: the goal's, otherwise the pool's.
    pub rate_asked: NetworkRates,
    /// The limits read back from the kernel.
    pub rate_set: NetworkRates,
    /// What went through its link since that was made.
    pub counters: Option<NetworkCounters>,
    /// What is to be done yet, and why it can't be; empty if all is right.
    pub amiss: Vec<String>,
}

/// What concerns the networks of all instances.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct HostNetworkStatus {
    /// What was refused in the pool files.
    pub refused_pools: Vec<String>,
    /// Addresses and networks whose owners no goal speaks of. They are left alone.
    pub strays: Vec<String>,
    /// What else can't be read or used, such as the switch.
    pub problems: Vec<String>,
}

/// The status of one instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceStatus {
    /// What it should be.
    pub goal: GoalSummary,
    /// What it is.
    pub state: InstanceState,
    /// Since when it is that.
    pub since: Timestamp,
    /// The role it has in fact; `None` while it has none or it isn't known.
    pub role: Option<Role>,
    /// How far it is from its goal.
    pub phase: Phase,
    /// What is being done.
    pub doing: Option<Doing>,
    /// Why nothing is done that would have to be.
    pub blocked: Option<String>,
    /// What was last completed or failed.
    pub last_step: Option<LastStep>,
    /// When the next try is, after failures.
    pub retry: Option<Retry>,
    /// How often its server ended without being told to, since it was made.
    pub crashes: u32,
    /// How the last of them ended.
    pub last_exit: Option<String>,
    /// How it is reached.
    pub address: Option<String>,
    /// Its network in vlan mode; left out in host mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkStatus>,
    /// The server's version.
    pub server_version: Option<String>,
    /// The server's UUID.
    pub server_uuid: Option<String>,
    /// Transactions it has executed.
    pub gtid_executed: Option<String>,
    /// A minion's replication.
    pub replication: Option<ReplicationStatus>,
    /// Its container.
    pub container: Option<ContainerStatus>,
    /// What it uses.
    pub usage: Usage,
    /// What an operator should know though nothing is wrong.
    pub notes: Vec<String>,
}
