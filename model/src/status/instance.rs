//! The status of one instance: what it should be, is, does, and why not.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DiskStatus, NetworkStatus, Usage};
use crate::{
    goal::{GoalState, Role},
    names::ClusterName,
};

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
    /// The disk of its directory; missing while that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskStatus>,
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

display_as_serialised!(InstanceState, Phase);
