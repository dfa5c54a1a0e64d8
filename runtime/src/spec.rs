//! What a container is to be: plain data, checked before anything is touched.
//!
//! What is not here can't be asked for: the root is always read-only, there are
//! never new privileges, and the devices, masked paths and the seccomp profile
//! are fixed (see `bundle`).

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cgroup::{Limits, check_cpu_list};
use crate::error::{Result, RuntimeError};
use crate::id::ContainerId;

/// Fewest processes a container must be allowed: the helper and libcontainer's
/// two processes are in the group while it starts.
const MIN_PIDS: u64 = 16;
/// Least memory a container must be allowed, for the same reason.
const MIN_MEMORY_BYTES: u64 = 16 << 20;

/// User and groups inside the container; the numbers are the host's too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub additional_gids: Vec<u32>,
}

/// A file or directory of the host inside the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Absolute path on the host; must exist.
    pub source: PathBuf,
    /// Absolute path in the container; the mount point is made if missing.
    pub destination: PathBuf,
    /// Whether writing is refused.
    pub read_only: bool,
}

/// An empty file system in memory; its pages count as the container's memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tmpfs {
    /// Absolute path in the container.
    pub destination: PathBuf,
    /// Most bytes it may hold.
    pub size_bytes: u64,
    /// Mode of its top directory, such as 0o1777.
    pub mode: u32,
}

/// The network a container sees.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// The host's own.
    #[default]
    Host,
    /// A network namespace that exists at this path (as `ip netns` pins them).
    Namespace(PathBuf),
}

/// Resource limits of the init process, soft and hard alike. `None` inherits
/// the agent's. Values beyond the agent's hard limit are lowered to it where
/// CAP_SYS_RESOURCE is missing, and the record says so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimits {
    /// Open files.
    pub nofile: Option<u64>,
    /// Locked memory, in bytes.
    pub memlock: Option<u64>,
    /// Size of a core file, in bytes.
    pub core: Option<u64>,
}

/// Everything about one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Its name.
    pub id: ContainerId,
    /// The unpacked image on the host. Missing mount points are made in it,
    /// nothing else; the container can't write to it.
    pub rootfs: PathBuf,
    /// Program and arguments. Without a slash the program is looked up in the
    /// container's PATH.
    pub args: Vec<String>,
    /// The whole environment; PATH gets a usual value when it is missing.
    pub env: BTreeMap<String, String>,
    /// Working directory in the container.
    pub cwd: PathBuf,
    /// Who runs it.
    pub user: User,
    /// Paths of the host.
    pub mounts: Vec<Bind>,
    /// Memory file systems.
    pub tmpfs: Vec<Tmpfs>,
    /// Network.
    pub network: Network,
    /// Host name inside.
    pub hostname: String,
    /// What it may use.
    pub limits: Limits,
    /// File on the host to which stdout and stderr are appended; made if missing.
    pub log: PathBuf,
    /// Limits of the init process.
    pub rlimits: Rlimits,
    /// -1000 (never killed for memory) to 1000 (killed first). Lowering it below
    /// the agent's own needs CAP_SYS_RESOURCE; otherwise the record says that
    /// the agent's was kept.
    pub oom_score_adj: i32,
    /// Whether the processes keep CAP_SYS_NICE (mysqld's resource groups and
    /// NUMA interleaving use it). It is the only capability that can be kept.
    pub sys_nice: bool,
    /// Free text by name, kept in the record: owner key, image digest, spec digest.
    pub labels: BTreeMap<String, String>,
}

impl ContainerSpec {
    /// A container with usual settings: `/` as working directory, root without
    /// capabilities, 64 MiB each on `/run` and `/tmp`, host network, no limits.
    #[must_use]
    pub fn new(id: ContainerId, rootfs: PathBuf, args: Vec<String>, log: PathBuf) -> Self {
        let tmpfs = |path: &str, mode| Tmpfs {
            destination: PathBuf::from(path),
            size_bytes: 64 << 20,
            mode,
        };
        Self {
            hostname: id.as_str().to_owned(),
            id,
            rootfs,
            args,
            env: BTreeMap::new(),
            cwd: PathBuf::from("/"),
            user: User::default(),
            mounts: Vec::new(),
            tmpfs: vec![tmpfs("/run", 0o755), tmpfs("/tmp", 0o1777)],
            network: Network::Host,
            limits: Limits::default(),
            log,
            rlimits: Rlimits::default(),
            oom_score_adj: 0,
            sys_nice: false,
            labels: BTreeMap::new(),
        }
    }

    /// Checks everything that can be checked without looking at the host.
    ///
    /// # Errors
    /// [`RuntimeError::InvalidSpec`] with the first field that can't work.
    pub fn validate(&self) -> Result<()> {
        let refuse = |field, reason: &str| {
            Err(RuntimeError::InvalidSpec { field, reason: reason.to_owned() })
        };
        if self.args.first().is_none_or(String::is_empty) {
            return refuse("args", "a program is needed");
        }
        if self.args.iter().any(|arg| arg.contains('\0')) {
            return refuse("args", "an argument holds a zero byte");
        }
        let bad_env = |(key, value): (&String, &String)| {
            key.is_empty() || key.contains(['=', '\0']) || value.contains('\0')
        };
        if self.env.iter().any(bad_env) {
            return refuse("env", "a name is empty or holds =, or something holds a zero byte");
        }
        if self.hostname.is_empty() || self.hostname.len() > 64 {
            return refuse("hostname", "1 to 64 bytes are possible");
        }
        if !(-1000..=1000).contains(&self.oom_score_adj) {
            return refuse("oom_score_adj", "-1000 to 1000 are possible");
        }
        check_absolute("rootfs", &self.rootfs)?;
        check_absolute("cwd", &self.cwd)?;
        check_absolute("log", &self.log)?;
        for bind in &self.mounts {
            check_absolute("mounts.source", &bind.source)?;
            check_absolute("mounts.destination", &bind.destination)?;
        }
        for tmpfs in &self.tmpfs {
            check_absolute("tmpfs.destination", &tmpfs.destination)?;
        }
        if let Network::Namespace(path) = &self.network {
            check_absolute("network", path)?;
        }
        self.limits.validate()
    }
}

impl Limits {
    /// Checks the ranges that the kernel accepts.
    ///
    /// # Errors
    /// [`RuntimeError::InvalidSpec`] with the first field that is out of range.
    pub fn validate(&self) -> Result<()> {
        let within = |field, value: Option<u64>, low: u64, high: u64| match value {
            Some(value) if !(low..=high).contains(&value) => Err(RuntimeError::InvalidSpec {
                field,
                reason: format!("{value} is not within {low} to {high}"),
            }),
            _ => Ok(()),
        };
        let most = i64::MAX.unsigned_abs();
        within("limits.memory_max_bytes", self.memory_max_bytes, MIN_MEMORY_BYTES, most)?;
        within("limits.memory_high_bytes", self.memory_high_bytes, MIN_MEMORY_BYTES, most)?;
        within("limits.cpu_weight", self.cpu_weight, 1, 10_000)?;
        within("limits.io_weight", self.io_weight, 1, 10_000)?;
        within("limits.pids_max", self.pids_max, MIN_PIDS, 4_194_304)?;
        if let Some(cpu) = self.cpu_max {
            within("limits.cpu_max.period_us", Some(cpu.period_us), 1000, 1_000_000)?;
            within("limits.cpu_max.quota_us", Some(cpu.quota_us), 1000, most)?;
        }
        if let Some(list) = &self.cpuset {
            check_cpu_list(list)?;
        }
        for io in &self.io {
            within("limits.io.read_bps", io.read_bps, 1, most)?;
            within("limits.io.write_bps", io.write_bps, 1, most)?;
            within("limits.io.read_iops", io.read_iops, 1, u64::from(u32::MAX))?;
            within("limits.io.write_iops", io.write_iops, 1, u64::from(u32::MAX))?;
        }
        Ok(())
    }
}

/// Absolute, and without `..` that could lead elsewhere than it says.
fn check_absolute(field: &'static str, path: &Path) -> Result<()> {
    let up = path.components().any(|part| part == Component::ParentDir);
    if path.is_absolute() && !up {
        return Ok(());
    }
    Err(RuntimeError::InvalidSpec {
        field,
        reason: format!("{} must be absolute and without ..", path.display()),
    })
}

#[cfg(test)]
mod tests;
