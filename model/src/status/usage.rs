//! What an instance uses of its host, beside the limits that are in force.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an instance uses, beside its limits; one that the host can't keep is left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Memory charged to its cgroup, in bytes.
    pub memory_bytes: Option<u64>,
    /// Its memory limit, in bytes.
    pub memory_max_bytes: Option<u64>,
    /// Where it is slowed down and its page cache taken away (`memory.high`), in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_high_bytes: Option<u64>,
    /// Processor time used, in microseconds.
    pub cpu_usec: Option<u64>,
    /// Its processor limit, in cores.
    pub cpu_max_cores: Option<f64>,
    /// Its share of the processors against others, 100 being ordinary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<u64>,
    /// The processors that it may run on, such as `0-3,8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpuset: Option<String>,
    /// Bytes read from disks.
    pub io_read_bytes: Option<u64>,
    /// Bytes written to disks.
    pub io_write_bytes: Option<u64>,
    /// Its disk limits, in words; empty if there is none.
    pub io_max: String,
    /// Its share of the disks against others, 100 being ordinary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_weight: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Most processes and threads that it may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids_max: Option<u64>,
    /// Processes of it that the kernel killed for want of memory.
    pub oom_kills: Option<u64>,
}
