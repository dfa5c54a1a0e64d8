use super::super::layout::Version;
use super::{Content, CpuMax, Expect, IoLimit, Limits};
use crate::device::DeviceNumber;

const DISK: DeviceNumber = DeviceNumber { major: 254, minor: 0 };
const OTHER: DeviceNumber = DeviceNumber { major: 8, minor: 16 };

fn full() -> Limits {
    Limits {
        memory_max_bytes: Some(1_000_000_000),
        memory_high_bytes: Some(900_000_000),
        cpu_max: Some(CpuMax::from_millicores(1500)),
        cpu_weight: Some(200),
        pids_max: Some(4096),
        cpuset: Some("0-1".to_owned()),
        io: vec![IoLimit {
            device: DISK,
            read_bps: None,
            write_bps: Some(10 << 20),
            read_iops: Some(500),
            write_iops: None,
        }],
        io_weight: Some(2000),
    }
}

/// `file=content` of the first candidate of each setting, in order.
fn rendered(limits: &Limits, version: Version, limited: &[DeviceNumber]) -> Vec<String> {
    limits
        .settings(version, limited)
        .iter()
        .map(|setting| match setting.files.first() {
            Some((file, Content::Text(text), _)) => format!("{file}={text}"),
            Some((file, Content::Parent, _)) => format!("{file}=<parent>"),
            Some((file, Content::AllCpus, _)) => format!("{file}=<all>"),
            None => format!("{}: no file", setting.limit),
        })
        .collect()
}

#[test]
fn v2_files_of_a_full_set() {
    assert_eq!(
        rendered(&full(), Version::Unified, &[]),
        [
            "memory.high=899997696",
            "memory.max=999997440",
            "cpu.max=150000 100000",
            "cpu.weight=200",
            "pids.max=4096",
            "cpuset.cpus=0-1",
            "io.weight=2000",
            "io.max=254:0 rbps=max wbps=10485760 riops=500 wiops=max",
        ]
    );
}

#[test]
fn v1_files_of_a_full_set() {
    assert_eq!(
        rendered(&full(), Version::Legacy, &[]),
        [
            "memory.limit_in_bytes=999997440",
            "cpu.cfs_period_us=100000",
            "cpu.cfs_quota_us=150000",
            "cpu.shares=2048",
            "pids.max=4096",
            "cpuset.cpus=0-1",
            "blkio.bfq.weight=1000",
            "memory_high_bytes: no file",
            "blkio.throttle.read_bps_device=254:0 0",
            "blkio.throttle.write_bps_device=254:0 10485760",
            "blkio.throttle.read_iops_device=254:0 500",
            "blkio.throttle.write_iops_device=254:0 0",
        ]
    );
}

#[test]
fn no_limit_clears_everything() {
    assert_eq!(
        rendered(&Limits::default(), Version::Unified, &[OTHER]),
        [
            "memory.high=max",
            "memory.max=max",
            "cpu.max=max 100000",
            "cpu.weight=100",
            "pids.max=max",
            "cpuset.cpus=<all>",
            "io.weight=100",
            "io.max=8:16 rbps=max wbps=max riops=max wiops=max",
        ]
    );
    assert_eq!(
        rendered(&Limits::default(), Version::Legacy, &[]),
        [
            "memory.limit_in_bytes=-1",
            "cpu.cfs_period_us=100000",
            "cpu.cfs_quota_us=-1",
            "cpu.shares=1024",
            "pids.max=max",
            "cpuset.cpus=<parent>",
            "blkio.bfq.weight=100",
        ]
    );
    for version in [Version::Unified, Version::Legacy] {
        assert!(Limits::default().settings(version, &[OTHER]).iter().all(|s| s.clears));
    }
}

#[test]
fn a_disk_that_stays_limited_is_not_cleared() {
    let lines = rendered(&full(), Version::Unified, &[DISK, OTHER]);
    let io: Vec<&String> = lines.iter().filter(|line| line.starts_with("io.max")).collect();
    assert_eq!(
        io,
        [
            "io.max=254:0 rbps=max wbps=10485760 riops=500 wiops=max",
            "io.max=8:16 rbps=max wbps=max riops=max wiops=max",
        ]
    );
}

#[test]
fn weights_keep_proportions_within_the_ranges_of_v1() {
    for (weight, shares) in [(1, "10"), (100, "1024"), (200, "2048"), (10_000, "102400")] {
        let limits = Limits { cpu_weight: Some(weight), ..Limits::default() };
        assert!(
            rendered(&limits, Version::Legacy, &[]).contains(&format!("cpu.shares={shares}")),
            "{weight}"
        );
    }
}

#[test]
fn bfq_has_a_file_of_its_own_for_a_weight_on_v2_and_its_own_range() {
    let settings = full().settings(Version::Unified, &[]);
    let weight = settings.iter().find(|setting| setting.limit == "io_weight").unwrap();
    assert!(weight.each && weight.files[0].0 == "io.weight");
    assert_eq!(
        weight.files[1],
        (
            "io.bfq.weight",
            Content::Text("1000".to_owned()),
            Expect::Text("default 1000".to_owned())
        )
    );
}

#[test]
fn a_tiny_share_of_a_cpu_is_what_the_kernel_still_takes() {
    assert_eq!(CpuMax::from_millicores(1).quota_us, 1000);
    assert_eq!(CpuMax::from_millicores(2500), CpuMax { quota_us: 250_000, period_us: 100_000 });
}
