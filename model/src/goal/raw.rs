//! The form of a goal entry on disk, as serde reads it.
//!
//! Only types and field names are checked here; what the fields mean together is
//! checked in [`super::check`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Bootstrap, CpuLimits, GoalState, IoLimits, MemoryLimits, Network, Reseed, Role, VariableValue,
};
use crate::{names::ClusterName, size::HostShare};

/// A goal file: entries by key, and two keys that can't be entries.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(
    title = "berth goal document, version 1",
    extend("propertyNames" = {"pattern": "^([A-Za-z0-9][A-Za-z0-9._-]*|\\$schema)$"})
)]
pub struct RawFile {
    /// Version of this form; 1 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1))]
    pub version: Option<u32>,
    /// For editors; not read.
    #[serde(default, rename = "$schema", skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The entries, by `<host>-<app_id>`.
    #[serde(flatten)]
    pub entries: BTreeMap<String, RawEntry>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "entry")]
#[serde(deny_unknown_fields)]
pub struct RawEntry {
    /// What follows `<host>-` in the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// Whether it should run.
    #[serde(default)]
    pub state: GoalState,
    /// Number of this version of the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// What it should be.
    pub data: RawData,
}

/// What an instance should be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "data")]
#[serde(deny_unknown_fields)]
pub struct RawData {
    /// The member's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The cluster's name; otherwise the master's, otherwise `name` without `-db<number>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterName>,
    /// What it is in its cluster.
    pub role: Role,
    /// A disabled master is read-only; a disabled minion doesn't serve.
    #[serde(default)]
    pub disabled: bool,
    /// TCP port to listen on, 1 to 65535.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// Share of the host's memory: `all`, a fraction, or a size.
    pub size: HostShare,
    /// Where a minion replicates from: a host name, an address, or an entry's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master_host: Option<String>,
    /// TCP port of the master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub master_port: Option<u16>,
    /// Whether commits wait for a replica's receipt.
    #[serde(default)]
    pub semi_sync_repl_enabled: bool,
    /// OCI reference of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Disk limits, changed while running.
    #[serde(default)]
    pub io: IoLimits,
    /// Processor limits, changed while running.
    #[serde(default)]
    pub cpu: CpuLimits,
    /// Memory limits beside the size, changed while running.
    #[serde(default, skip_serializing_if = "MemoryLimits::is_none")]
    pub memory: MemoryLimits,
    /// Most processes and threads, changed while running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 64, max = 4_194_304))]
    pub pids: Option<u32>,
    /// How it is reached.
    #[serde(default)]
    pub network: Network,
    /// Where its first data comes from.
    #[serde(default)]
    pub bootstrap: Bootstrap,
    /// What may be done when its data can't be used any more.
    #[serde(default)]
    pub reseed: Reseed,
    /// Helpers to run beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sidecars: Vec<String>,
    /// Global variables to hold.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, VariableValue>,
}
