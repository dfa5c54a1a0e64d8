//! Goal documents: what each instance of a fleet should be.
//!
//! Flow: [`parse::file`] turns one file's text into entries and refusals;
//! [`resolve::resolve`] lays the entries of all files beside the goals in force and
//! yields the goals of this host, what it knows of its peers, and what was refused.
//! [`raw`] is the form on disk, [`Entry`] the validated one that everything else uses.
//!
//! Nothing here reads a file or knows what runs.

mod check;
pub mod parse;
pub mod raw;
pub mod refusal;
pub mod resolve;
pub mod variables;

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    cpus::CpuList,
    names::{ClusterName, EntryKey},
    size::{BitRate, ByteRate, ByteSize, HostShare},
};
pub use check::VLAN_KEY_BYTES_MAX;
pub use parse::ParsedFile;
pub use refusal::{Location, Refusal};
pub use resolve::{Goal, Goals, HostFacts, Standing};
pub use variables::VariableValue;

/// The version of the goal document's form that this crate reads.
pub const GOAL_VERSION: u32 = 1;

/// Whether an instance should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GoalState {
    /// A container runs and serves in its role.
    #[default]
    Started,
    /// No container; the data directory stays.
    Stopped,
    /// No container, the address freed, the data directory moved to the trash folder.
    Removed,
}

/// What an instance is in its replication cluster. `primary` and `source` are other words
/// for master, `replica` for minion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(transform = other_words)]
pub enum Role {
    /// Takes the writes.
    #[serde(alias = "primary", alias = "source")]
    Master,
    /// Replicates from a master, read-only.
    #[serde(alias = "replica")]
    Minion,
}

/// schemars doesn't know serde's aliases.
fn other_words(schema: &mut schemars::Schema) {
    schema.remove("oneOf");
    schema.insert("type".to_owned(), "string".into());
    let words = ["master", "primary", "source", "minion", "replica"];
    schema.insert("enum".to_owned(), words.as_slice().into());
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Master => "master",
            Self::Minion => "minion",
        })
    }
}

/// Where a minion replicates from, as the goal names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceName {
    /// A host name, an address, or the key of another entry.
    pub host: String,
    /// TCP port of the source's server.
    pub port: u16,
}

/// Limits on the data directory's disk; what is left out is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IoLimits {
    /// Bytes read per second.
    pub read_bps: Option<ByteRate>,
    /// Bytes written per second.
    pub write_bps: Option<ByteRate>,
    /// Read operations per second.
    pub read_iops: Option<u32>,
    /// Write operations per second.
    pub write_iops: Option<u32>,
    /// Share against others when the disk is busy, 1 to 10000, 100 being ordinary
    /// (`io.weight` of cgroup v2). Needs the BFQ scheduler or iocost.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub weight: Option<u16>,
}

impl IoLimits {
    /// Whether any rate is limited.
    #[must_use]
    pub fn has_rates(&self) -> bool {
        *self != Self { weight: self.weight, ..Self::default() }
    }
}

/// Limits on memory beside `size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryLimits {
    /// Beyond it the instance is slowed down and its page cache taken away, before the kernel
    /// kills at `size` (`memory.high` of cgroup v2).
    pub high: Option<ByteSize>,
}

impl MemoryLimits {
    /// Whether nothing is limited.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Limits on processor time; what is left out is not limited.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CpuLimits {
    /// Processors' worth of time, such as 2.5.
    pub cores: Option<f64>,
    /// Share against others when time is short, 1 to 10000, 100 being ordinary
    /// (`cpu.weight` of cgroup v2).
    pub weight: Option<u16>,
    /// The CPUs to run on, such as `0-3,8`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuset: Option<CpuList>,
}

/// Rates of an instance's own network port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkRates {
    /// Towards the instance.
    #[serde(rename = "in")]
    pub inward: Option<BitRate>,
    /// From the instance.
    #[serde(rename = "out")]
    pub outward: Option<BitRate>,
}

/// How an instance is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "mode", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Network {
    /// The host's own addresses, on the instance's port.
    #[default]
    Host,
    /// An address of its own from a pool, on that pool's VLAN.
    Vlan {
        /// Name of the pool.
        pool: String,
        /// A certain address of the pool; otherwise any free one.
        #[serde(default)]
        ip: Option<std::net::IpAddr>,
        /// Rates; otherwise the pool's.
        #[serde(default)]
        rate: NetworkRates,
    },
}

impl Network {
    /// Whether the instance has an address of its own.
    #[must_use]
    pub fn is_vlan(&self) -> bool {
        matches!(self, Self::Vlan { .. })
    }

    /// The address of its own that the entry names, if it does.
    #[must_use]
    pub fn ip(&self) -> Option<std::net::IpAddr> {
        match self {
            Self::Host => None,
            Self::Vlan { ip, .. } => *ip,
        }
    }
}

/// Where the first data of an instance comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Bootstrap {
    /// A minion clones its master; a master is initialised empty.
    #[default]
    Master,
    /// A backup at this URL.
    Snapshot(String),
}

/// What berth may do by itself when a minion's data can't be used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reseed {
    /// Seed again when the source has purged what the minion needs; the old data
    /// directory is kept in quarantine. Errant transactions are only reported.
    #[default]
    Purged,
    /// Also when the minion holds transactions that its source lacks.
    Errant,
    /// Report and wait for the operator, whatever it is.
    Never,
}

/// One entry, validated by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What follows the host's name in the key, where the entry says it.
    pub app_id: Option<String>,
    /// Whether it should run.
    pub state: GoalState,
    /// What it is in its cluster.
    pub role: Role,
    /// A disabled master is read-only; a disabled minion doesn't serve.
    pub disabled: bool,
    /// TCP port it listens on.
    pub port: u16,
    /// Share of the host's memory.
    pub size: HostShare,
    /// The member's name, such as `orders-us1-cluster8-db4`.
    pub name: Option<String>,
    /// The cluster's name where the entry says it; see [`resolve::Goals::cluster_of`].
    pub cluster: Option<ClusterName>,
    /// Where a minion replicates from. A minion always has one.
    pub source: Option<SourceName>,
    /// Whether commits wait for a replica's receipt.
    pub semi_sync: bool,
    /// OCI reference; otherwise the agent's default.
    pub image: Option<String>,
    /// Disk limits.
    pub io: IoLimits,
    /// Processor limits.
    pub cpu: CpuLimits,
    /// Memory limits beside the size.
    pub memory: MemoryLimits,
    /// Most processes and threads.
    pub pids: Option<u32>,
    /// How it is reached.
    pub network: Network,
    /// Where its first data comes from.
    pub bootstrap: Bootstrap,
    /// What may be done when its data can't be used any more.
    pub reseed: Reseed,
    /// Helpers beside it.
    pub sidecars: Vec<String>,
    /// Global variables to hold, each from [`variables::ALLOWED`].
    pub variables: BTreeMap<String, VariableValue>,
    /// Number of this version of the entry; a smaller one never replaces a greater one.
    pub generation: Option<u64>,
}

/// An entry with its key, its text and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct PlacedEntry {
    /// Its key.
    pub key: EntryKey,
    /// Where it stands.
    pub location: Location,
    /// The entry as JSON text, white space removed: two entries are the same if this is.
    pub text: String,
    /// The validated entry.
    pub entry: Entry,
}
