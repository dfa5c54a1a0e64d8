//! What an instance uses of its host, beside what it may use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
