//! Facts about the host and this process that decide what containers can have.
//! Plain data; the agent puts them into words.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};
use serde::{Deserialize, Serialize};

use crate::cgroup::{Layout, Manager, Version};
use crate::error::{Result, RuntimeError};
use crate::helper::executable_memfd;

/// Bit of CAP_SYS_RESOURCE in a capability mask (linux/capability.h).
pub(crate) const CAP_SYS_RESOURCE: u32 = 24;

/// The capabilities that starting containers uses, and their bits.
const NEEDED_CAPS: [(&str, u32); 10] = [
    ("CAP_CHOWN", 0),
    ("CAP_DAC_OVERRIDE", 1),
    ("CAP_KILL", 5),
    ("CAP_SETGID", 6),
    ("CAP_SETUID", 7),
    ("CAP_SETPCAP", 8),
    ("CAP_NET_ADMIN", 12),
    ("CAP_SYS_PTRACE", 19),
    ("CAP_SYS_ADMIN", 21),
    ("CAP_SYS_RESOURCE", CAP_SYS_RESOURCE),
];

/// Namespaces that a container gets, by their names in /proc/self/ns.
const NAMESPACES: [&str; 6] = ["pid", "mnt", "ipc", "uts", "cgroup", "net"];

/// Controllers that limits need, by their v2 names, and their v1 names.
const CONTROLLERS: [(&str, &str); 5] =
    [("cpu", "cpu"), ("cpuset", "cpuset"), ("io", "blkio"), ("memory", "memory"), ("pids", "pids")];

/// What the host offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The control group hierarchies; `None` when they can't be used at all.
    pub cgroup: Option<Layout>,
    /// Who makes the groups above the containers' own; `None` as above.
    pub manager: Option<Manager>,
    /// Whether each controller that limits need is there, by its v2 name.
    pub controllers: BTreeMap<String, bool>,
    /// Whether I/O limits hold for buffered writes too: only where the io and
    /// memory controllers are both on v2.
    pub buffered_writes_throttled: bool,
    /// Whether a whole group can be killed at once (`cgroup.kill`, Linux 5.14).
    pub cgroup_kill: bool,
    /// Capabilities that are missing from this process. Without
    /// CAP_SYS_RESOURCE limits are lowered; without any of the others
    /// containers can't be started.
    pub missing_capabilities: Vec<String>,
    /// Whether the kernel can filter system calls.
    pub seccomp: bool,
    /// Whether each namespace is there.
    pub namespaces: BTreeMap<String, bool>,
    /// Whether the kernel keeps exit codes with a pidfd (Linux 6.15), so that
    /// those of adopted containers are known.
    pub pidfd_exit_info: bool,
    /// Whether a program may be run from a memfd (sysctl vm.memfd_noexec).
    pub memfd_exec: bool,
    /// The hard limit of open files, which containers can't pass without
    /// CAP_SYS_RESOURCE.
    pub nofile_hard: u64,
}

/// Looks at the host. Changes nothing.
///
/// # Errors
/// When /proc can't be read.
pub fn preflight() -> Result<Facts> {
    let cgroup = Layout::detect().ok();
    let v2 = cgroup.as_ref().is_some_and(|layout| layout.version == Version::Unified);
    let has = |name: &str| cgroup.as_ref().is_some_and(|layout| layout.mount_of(name).is_some());
    let controllers: BTreeMap<String, bool> = CONTROLLERS
        .iter()
        .map(|(new, old)| ((*new).to_owned(), has(if v2 { new } else { old })))
        .collect();
    let mut missing_capabilities = Vec::new();
    for (name, bit) in NEEDED_CAPS {
        if !has_capability(bit)? {
            missing_capabilities.push(name.to_owned());
        }
    }
    let (_, nofile_hard) = getrlimit(Resource::RLIMIT_NOFILE)
        .map_err(RuntimeError::syscall("read the limit of open files"))?;
    Ok(Facts {
        manager: cgroup.as_ref().map(Manager::detect),
        buffered_writes_throttled: v2 && has("io") && has("memory"),
        cgroup_kill: cgroup.as_ref().is_some_and(has_cgroup_kill),
        cgroup,
        controllers,
        missing_capabilities,
        seccomp: status_field("Seccomp")?.is_some(),
        namespaces: NAMESPACES
            .iter()
            .map(|name| ((*name).to_owned(), Path::new("/proc/self/ns").join(name).exists()))
            .collect(),
        pidfd_exit_info: kernel_is_at_least(6, 15)?,
        memfd_exec: executable_memfd().is_ok(),
        nofile_hard,
    })
}

/// Whether this process has a capability in force, by its bit.
pub(crate) fn has_capability(bit: u32) -> Result<bool> {
    let mask = status_field("CapEff")?.unwrap_or_default();
    Ok(u64::from_str_radix(&mask, 16).unwrap_or_default() & (1 << bit) != 0)
}

/// A field of /proc/self/status.
fn status_field(name: &str) -> Result<Option<String>> {
    let path = Path::new("/proc/self/status");
    let text = fs::read_to_string(path).map_err(RuntimeError::io("read", path))?;
    Ok(text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key == name).then(|| value.trim().to_owned())
    }))
}

/// The root of a v2 tree has no `cgroup.kill`; any group below it tells.
fn has_cgroup_kill(layout: &Layout) -> bool {
    layout.mounts.iter().filter(|mount| mount.v2).any(|mount| {
        let below = fs::read_dir(&mount.point).into_iter().flatten().flatten();
        let known = below
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.path().join("cgroup.kill").exists())
            .next();
        known.unwrap_or_else(|| kernel_is_at_least(5, 14).unwrap_or(false))
    })
}

fn kernel_is_at_least(major: u32, minor: u32) -> Result<bool> {
    let path = Path::new("/proc/sys/kernel/osrelease");
    let text = fs::read_to_string(path).map_err(RuntimeError::io("read", path))?;
    Ok(release(&text).is_some_and(|release| release >= (major, minor)))
}

/// Major and minor number of a release such as `6.1.0-13-amd64`.
fn release(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests;
