//! The OCI runtime spec of a container, built purely from its [`ContainerSpec`].
//!
//! Fixed for every container: read-only root, no new privileges, no capability
//! (or CAP_SYS_NICE alone), own pid, mount, ipc, uts and cgroup namespaces, the
//! OCI default devices, masked and read-only paths, and the seccomp profile in
//! `seccomp.json`. `linux.resources` is left out on purpose: the limits are in
//! force before libcontainer attaches anything.
//!
//! About the profile: it follows the allow-list that container engines share,
//! less what a database server without capabilities has no use for (mount
//! family, namespaces, keyrings, file handles). What is unknown answers ENOSYS,
//! so that libraries fall back. io_uring is refused with EPERM: InnoDB uses
//! libaio, and io_uring works past the filter. clone3 answers ENOSYS because a
//! filter can't see its flags; clone is allowed without new namespaces. Sockets
//! of families from AF_ALG (38) on are refused.

use std::path::{Path, PathBuf};

use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Capabilities, Capability, LinuxBuilder, LinuxCapabilities, LinuxCapabilitiesBuilder,
    LinuxNamespace, LinuxNamespaceBuilder, LinuxNamespaceType, LinuxSeccomp, Mount, MountBuilder,
    PosixRlimit, PosixRlimitBuilder, PosixRlimitType, ProcessBuilder, RootBuilder, Spec,
    SpecBuilder, UserBuilder, get_default_maskedpaths, get_default_readonly_paths,
};

use crate::error::{Result, RuntimeError};
use crate::rlimit::EffectiveRlimits;
use crate::spec::{ContainerSpec, Network};

/// The PATH of containers whose environment has none.
pub(crate) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Sysctls, firmware and hardware that no database needs to see, beyond the
/// OCI defaults.
const MORE_MASKED: [&str; 3] =
    ["/sys/devices/virtual/powercap", "/sys/kernel/security", "/proc/interrupts"];

/// The seccomp profile, as data in the form of the OCI runtime spec.
const SECCOMP: &str = include_str!("seccomp.json");

/// Builds the spec. `cgroup` is absolute below the hierarchies.
pub(crate) fn build(
    spec: &ContainerSpec,
    cgroup: &Path,
    rlimits: &EffectiveRlimits,
) -> Result<Spec> {
    assemble(spec, cgroup, rlimits)
        .map_err(|error| RuntimeError::InvalidSpec { field: "spec", reason: error.to_string() })
}

fn assemble(
    spec: &ContainerSpec,
    cgroup: &Path,
    rlimits: &EffectiveRlimits,
) -> Result<Spec, OciSpecError> {
    let user = UserBuilder::default()
        .uid(spec.user.uid)
        .gid(spec.user.gid)
        .additional_gids(spec.user.additional_gids.clone())
        .build()?;
    let mut process = ProcessBuilder::default()
        .terminal(false)
        .user(user)
        .args(spec.args.clone())
        .env(environment(spec))
        .cwd(spec.cwd.clone())
        .capabilities(capabilities(spec.sys_nice)?)
        .rlimits(posix_rlimits(rlimits)?)
        .no_new_privileges(true)
        .build()?;
    // The helper sets it before libcontainer runs, and copes when it may not.
    process.set_oom_score_adj(None);

    let mut masked = get_default_maskedpaths();
    masked.extend(MORE_MASKED.map(str::to_owned));
    let mut linux = LinuxBuilder::default()
        .namespaces(namespaces(&spec.network)?)
        .cgroups_path(cgroup)
        .masked_paths(masked)
        .readonly_paths(get_default_readonly_paths())
        .seccomp(seccomp()?)
        .build()?;
    linux.set_resources(None);

    SpecBuilder::default()
        .version("1.0.2")
        .root(RootBuilder::default().path(&spec.rootfs).readonly(true).build()?)
        .process(process)
        .hostname(spec.hostname.clone())
        .mounts(mounts(spec)?)
        .linux(linux)
        .annotations(spec.labels.clone().into_iter().collect::<std::collections::HashMap<_, _>>())
        .build()
}

fn environment(spec: &ContainerSpec) -> Vec<String> {
    let mut env: Vec<String> =
        spec.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if !spec.env.contains_key("PATH") {
        env.push(format!("PATH={DEFAULT_PATH}"));
    }
    env
}

/// No capability at all, or CAP_SYS_NICE alone: inheritable and ambient too,
/// because a process that is not root keeps none otherwise (capabilities(7)).
fn capabilities(sys_nice: bool) -> Result<LinuxCapabilities, OciSpecError> {
    let set: Capabilities = sys_nice.then_some(Capability::SysNice).into_iter().collect();
    LinuxCapabilitiesBuilder::default()
        .bounding(set.clone())
        .effective(set.clone())
        .permitted(set.clone())
        .inheritable(set.clone())
        .ambient(set)
        .build()
}

fn posix_rlimits(rlimits: &EffectiveRlimits) -> Result<Vec<PosixRlimit>, OciSpecError> {
    [
        (PosixRlimitType::RlimitNofile, rlimits.nofile),
        (PosixRlimitType::RlimitMemlock, rlimits.memlock),
        (PosixRlimitType::RlimitCore, rlimits.core),
    ]
    .into_iter()
    .filter_map(|(kind, value)| value.map(|value| (kind, value)))
    .map(|(kind, value)| PosixRlimitBuilder::default().typ(kind).soft(value).hard(value).build())
    .collect()
}

fn namespaces(network: &Network) -> Result<Vec<LinuxNamespace>, OciSpecError> {
    let mut namespaces: Vec<LinuxNamespace> = [
        LinuxNamespaceType::Pid,
        LinuxNamespaceType::Mount,
        LinuxNamespaceType::Ipc,
        LinuxNamespaceType::Uts,
        LinuxNamespaceType::Cgroup,
    ]
    .into_iter()
    .map(|kind| LinuxNamespaceBuilder::default().typ(kind).build())
    .collect::<Result<_, _>>()?;
    if let Network::Namespace(path) = network {
        namespaces.push(
            LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::Network).path(path).build()?,
        );
    }
    Ok(namespaces)
}

/// The seccomp profile.
pub(crate) fn seccomp() -> Result<LinuxSeccomp, OciSpecError> {
    Ok(serde_json::from_str(SECCOMP)?)
}

fn mounts(spec: &ContainerSpec) -> Result<Vec<Mount>, OciSpecError> {
    let system: [(&str, &str, &str, &[&str]); 6] = [
        ("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        ("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        (
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
        ),
        ("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        ("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        ("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ];
    let owned = |options: &[&str]| options.iter().map(|option| (*option).to_owned()).collect();
    let mut mounts: Vec<Mount> = Vec::new();
    for (destination, kind, source, options) in system {
        mounts.push(mount(Path::new(destination), kind, Path::new(source), owned(options))?);
    }
    for tmpfs in &spec.tmpfs {
        let mut options: Vec<String> = owned(&["nosuid", "nodev", "noexec"]);
        options.push(format!("mode={:o}", tmpfs.mode));
        options.push(format!("size={}", tmpfs.size_bytes));
        mounts.push(mount(&tmpfs.destination, "tmpfs", Path::new("tmpfs"), options)?);
    }
    for bind in &spec.mounts {
        let access = if bind.read_only { "ro" } else { "rw" };
        let options = owned(&["bind", "rprivate", "nosuid", "nodev", access]);
        mounts.push(mount(&bind.destination, "bind", &bind.source, options)?);
    }
    Ok(mounts)
}

fn mount(
    destination: &Path,
    kind: &str,
    source: &Path,
    options: Vec<String>,
) -> Result<Mount, OciSpecError> {
    MountBuilder::default()
        .destination(PathBuf::from(destination))
        .typ(kind)
        .source(PathBuf::from(source))
        .options(options)
        .build()
}

#[cfg(test)]
mod tests;
