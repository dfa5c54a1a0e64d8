use std::path::PathBuf;

use super::{Bind, ContainerSpec};
use crate::cgroup::CpuMax;
use crate::id::ContainerId;

fn spec() -> ContainerSpec {
    ContainerSpec::new(
        ContainerId::new("db1").unwrap(),
        PathBuf::from("/images/1"),
        vec!["/bin/true".to_owned()],
        PathBuf::from("/var/log/db1"),
    )
}

#[test]
fn the_usual_settings_are_valid() {
    spec().validate().unwrap();
}

#[test]
fn each_impossible_value_is_named() {
    type Change = fn(&mut ContainerSpec);
    let table: [(&str, Change); 14] = [
        ("args", |s| s.args.clear()),
        ("args", |s| s.args.push("a\0b".to_owned())),
        ("env", |s| drop(s.env.insert("A=B".to_owned(), String::new()))),
        ("hostname", |s| s.hostname = "x".repeat(65)),
        ("oom_score_adj", |s| s.oom_score_adj = -1001),
        ("rootfs", |s| s.rootfs = PathBuf::from("relative")),
        ("cwd", |s| s.cwd = PathBuf::from("/a/../b")),
        ("mounts.source", |s| {
            s.mounts.push(Bind {
                source: PathBuf::from("x"),
                destination: PathBuf::from("/x"),
                read_only: true,
            });
        }),
        ("limits.memory_max_bytes", |s| s.limits.memory_max_bytes = Some(4096)),
        ("limits.cpu_weight", |s| s.limits.cpu_weight = Some(0)),
        ("limits.pids_max", |s| s.limits.pids_max = Some(2)),
        ("limits.cpu_max.quota_us", |s| {
            s.limits.cpu_max = Some(CpuMax { quota_us: 1, period_us: 100_000 });
        }),
        ("limits.cpuset", |s| s.limits.cpuset = Some("x".to_owned())),
        ("tmpfs.destination", |s| s.tmpfs[0].destination = PathBuf::from("run")),
    ];
    for (field, change) in table {
        let mut spec = spec();
        change(&mut spec);
        let error = spec.validate().unwrap_err().to_string();
        assert!(error.starts_with(&format!("invalid {field}:")), "{error}");
    }
}
