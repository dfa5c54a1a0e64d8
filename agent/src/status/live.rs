//! The status as it is now: the agent's last document, with what the kernel says of the
//! agent, the containers and their cgroups.

use std::{fs, time::Duration};

use berth_model::status::{AgentState, StatusDocument, Usage};
use berth_runtime::{ContainerId, IoUsage, Record, Runtime, State};
use jiff::{SignedDuration, Timestamp};

use crate::{
    config::Config,
    files::{self, FileError},
};

/// How late a pass may be before its agent is called stuck.
const OVERDUE: Duration = Duration::from_secs(10);

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// No agent has written one.
    #[error("there is no status in {path}; has the agent (`berth agent`) run since the boot?")]
    None {
        /// Where it would be.
        path: String,
    },
    /// It can't be read.
    #[error("cannot read the status")]
    Read(#[from] FileError),
}

/// Reads the last document and lays the present over it. Takes no lock, asks no agent and
/// no server.
///
/// # Errors
/// There is no document, or it can't be read.
pub fn read(config: &Config, runtime: Option<&Runtime>) -> Result<StatusDocument, StatusError> {
    let path = config.status();
    let mut document: StatusDocument = files::read_json(&path)?
        .ok_or_else(|| StatusError::None { path: path.display().to_string() })?;
    document.agent.state = agent_state(&document, Timestamp::now());
    let Some(runtime) = runtime else {
        return Ok(document);
    };
    for (key, instance) in &mut document.instances {
        let Ok(id) = ContainerId::new(key.as_str()) else {
            continue;
        };
        let Ok(Some(container)) = runtime.inspect(&id) else {
            continue;
        };
        if let Some(shown) = &mut instance.container {
            shown.pid = match container.state {
                State::Running { pid, .. } => Some(pid.unsigned_abs()),
                _ => None,
            };
        }
        instance.usage = usage(runtime, &id, container.record.as_ref());
    }
    Ok(document)
}

fn agent_state(document: &StatusDocument, now: Timestamp) -> AgentState {
    let agent = &document.agent;
    let alive = agent.boot_id == boot_id() && start_ticks(agent.pid) == Some(agent.pid_start_ticks);
    if !alive || is_zombie(agent.pid) {
        return AgentState::Gone;
    }
    let late = Duration::from_millis(agent.interval_ms) + OVERDUE;
    let overdue = now.duration_since(agent.last_pass_at)
        > SignedDuration::try_from(late).unwrap_or(SignedDuration::MAX);
    if overdue || is_stopped(agent.pid) { AgentState::Stuck } else { AgentState::Running }
}

fn usage(runtime: &Runtime, id: &ContainerId, record: Option<&Record>) -> Usage {
    let read = runtime.usage(id).ok();
    let sum = |bytes: fn(&IoUsage) -> u64| Some(read.as_ref()?.io.iter().map(bytes).sum());
    let (io_read_bytes, io_write_bytes) = (sum(|io| io.read_bytes), sum(|io| io.write_bytes));
    let used = read.unwrap_or_default();
    let limits = record.map(Record::limits_in_force).unwrap_or_default();
    Usage {
        memory_bytes: used.memory_bytes,
        memory_max_bytes: limits.memory_max_bytes,
        memory_high_bytes: limits.memory_high_bytes,
        cpu_usec: used.cpu_usec,
        cpu_max_cores: limits.cpu_max.map(|cpu| {
            #[expect(clippy::cast_precision_loss, reason = "microseconds far below 2^52")]
            let cores = cpu.quota_us as f64 / cpu.period_us as f64;
            cores
        }),
        cpu_weight: limits.cpu_weight,
        cpuset: limits.cpuset.clone(),
        io_read_bytes,
        io_write_bytes,
        io_max: io_max(&limits),
        io_weight: limits.io_weight,
        pids: used.pids,
        pids_max: limits.pids_max,
        oom_kills: used.oom_kills,
    }
}

/// The disk limits as cgroup v2's io.max writes them.
fn io_max(limits: &berth_runtime::Limits) -> String {
    let one = |io: &berth_runtime::IoLimit| {
        let pairs = [
            ("rbps", io.read_bps),
            ("wbps", io.write_bps),
            ("riops", io.read_iops),
            ("wiops", io.write_iops),
        ];
        let set = pairs.into_iter().filter_map(|(name, value)| Some(format!(" {name}={}", value?)));
        format!("{}{}", io.device, set.collect::<String>())
    };
    limits.io.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// The boot's id (random(4)); empty if it can't be read.
#[must_use]
pub fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// When a process started, in clock ticks since boot (field 22 of proc_pid_stat(5)).
#[must_use]
pub fn start_ticks(pid: u32) -> Option<u64> {
    stat_field(pid, 22)?.parse().ok()
}

/// Whether a process has ended, as far as it can: nobody has asked how yet, or a thread of it
/// still waits in the kernel.
pub(crate) fn is_zombie(pid: u32) -> bool {
    stat_field(pid, 3).is_some_and(|state| state == "Z" || state == "X")
}

fn is_stopped(pid: u32) -> bool {
    stat_field(pid, 3).is_some_and(|state| state == "T" || state == "t")
}

/// A field of proc_pid_stat(5), counted from 1. The second may hold blanks, so the count
/// begins after its closing parenthesis.
fn stat_field(pid: u32, field: usize) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(field.checked_sub(3)?).map(str::to_owned)
}
