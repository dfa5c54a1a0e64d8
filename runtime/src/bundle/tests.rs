use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, LinuxSeccompAction, Spec};

use super::{build, seccomp};
use crate::id::ContainerId;
use crate::rlimit::EffectiveRlimits;
use crate::spec::{Bind, ContainerSpec, Network};

fn container() -> ContainerSpec {
    let mut spec = ContainerSpec::new(
        ContainerId::new("db1").unwrap(),
        PathBuf::from("/images/1"),
        vec!["/usr/sbin/mysqld".to_owned()],
        PathBuf::from("/var/log/db1"),
    );
    spec.mounts.push(Bind {
        source: PathBuf::from("/srv/db1"),
        destination: PathBuf::from("/var/lib/mysql"),
        read_only: false,
    });
    spec
}

fn built(container: &ContainerSpec) -> Spec {
    let rlimits = EffectiveRlimits { nofile: Some(10_000), ..EffectiveRlimits::default() };
    build(container, Path::new("/berth/db1"), &rlimits).unwrap()
}

#[test]
fn least_privilege_is_not_optional() {
    let spec = built(&container());
    assert_eq!(spec.root().as_ref().unwrap().readonly(), Some(true));
    let process = spec.process().as_ref().unwrap();
    assert_eq!(process.no_new_privileges(), Some(true));
    let caps = process.capabilities().as_ref().unwrap();
    for set in
        [caps.bounding(), caps.effective(), caps.permitted(), caps.inheritable(), caps.ambient()]
    {
        assert!(set.as_ref().unwrap().is_empty());
    }
    let linux = spec.linux().as_ref().unwrap();
    assert!(linux.resources().is_none(), "limits are in force before the create");
    assert!(linux.devices().as_ref().is_none_or(Vec::is_empty));
    assert!(linux.masked_paths().as_ref().unwrap().contains(&"/proc/kcore".to_owned()));
    assert!(linux.readonly_paths().as_ref().unwrap().contains(&"/proc/sys".to_owned()));
    assert!(linux.seccomp().is_some());
    assert_eq!(process.oom_score_adj(), None);
}

#[test]
fn sys_nice_is_the_only_capability_that_can_be_kept() {
    let mut container = container();
    container.sys_nice = true;
    let spec = built(&container);
    let caps = spec.process().as_ref().unwrap().capabilities().clone().unwrap();
    assert_eq!(caps.ambient().as_ref().unwrap().len(), 1);
    assert_eq!(caps.ambient(), caps.bounding());
}

#[test]
fn the_network_namespace_is_joined_only_when_given() {
    let kinds = |spec: &Spec| -> Vec<LinuxNamespaceType> {
        let linux = spec.linux().as_ref().unwrap();
        linux.namespaces().as_ref().unwrap().iter().map(|ns| ns.typ()).collect()
    };
    let mut container = container();
    assert!(!kinds(&built(&container)).contains(&LinuxNamespaceType::Network));
    container.network = Network::Namespace(PathBuf::from("/run/netns/x"));
    let spec = built(&container);
    assert!(kinds(&spec).contains(&LinuxNamespaceType::Network));
    let path = spec
        .linux()
        .as_ref()
        .unwrap()
        .namespaces()
        .as_ref()
        .unwrap()
        .last()
        .unwrap()
        .path()
        .clone();
    assert_eq!(path, Some(PathBuf::from("/run/netns/x")));
}

#[test]
fn mounts_come_system_first_and_binds_last() {
    let spec = built(&container());
    let mounts = spec.mounts().as_ref().unwrap();
    let destinations: Vec<_> = mounts.iter().map(|m| m.destination().to_str().unwrap()).collect();
    assert_eq!(
        destinations,
        [
            "/proc",
            "/dev",
            "/dev/pts",
            "/dev/shm",
            "/dev/mqueue",
            "/sys",
            "/run",
            "/tmp",
            "/var/lib/mysql"
        ]
    );
    let bind = mounts.last().unwrap();
    let options = bind.options().as_ref().unwrap();
    assert!(options.contains(&"nosuid".to_owned()) && options.contains(&"rw".to_owned()));
}

#[test]
fn a_path_is_always_there() {
    let env = |container: &ContainerSpec| {
        built(container).process().as_ref().unwrap().env().clone().unwrap()
    };
    let mut container = container();
    assert!(env(&container).iter().any(|entry| entry.starts_with("PATH=/usr/local/sbin")));
    container.env.insert("PATH".to_owned(), "/x".to_owned());
    assert_eq!(env(&container), ["PATH=/x"]);
}

#[test]
fn the_profile_allows_what_mysqld_needs_and_refuses_ways_out() {
    let profile = seccomp().unwrap();
    assert_eq!(profile.default_action(), LinuxSeccompAction::ScmpActErrno);
    assert_eq!(profile.default_errno_ret(), Some(38));
    let allowed: Vec<&String> = profile
        .syscalls()
        .as_ref()
        .unwrap()
        .iter()
        .filter(|rule| rule.action() == LinuxSeccompAction::ScmpActAllow && rule.args().is_none())
        .flat_map(|rule| rule.names())
        .collect();
    for name in
        ["io_setup", "io_submit", "io_getevents", "fallocate", "fdatasync", "futex", "mbind"]
    {
        assert!(allowed.iter().any(|allowed| *allowed == name), "{name}");
    }
    for name in [
        "mount",
        "unshare",
        "setns",
        "bpf",
        "io_uring_setup",
        "clone3",
        "keyctl",
        "init_module",
        "pivot_root",
        "userfaultfd",
        "perf_event_open",
        "open_by_handle_at",
    ] {
        assert!(!allowed.iter().any(|allowed| *allowed == name), "{name}");
    }
}
