//! Limits, judged by the kernel's own files and by what happens to those who
//! pass them. The files are read here by path, not through the crate.

use std::fs;
use std::path::{Path, PathBuf};

use berth_runtime::{
    CgroupVersion, CpuMax, ExitStatus, IoLimit, Limits, Rlimits, RuntimeError, Signal, State,
    device_of,
};

use crate::Test;
use crate::bed::{Bed, LONG, id, until};

pub(crate) const TESTS: &[Test] = &[
    ("limits::are_in_force_before_the_first_instruction", in_force_at_once),
    ("limits::change_while_running_and_clear", change_while_running),
    ("limits::memory_beyond_the_limit_is_an_oom_kill", memory_beyond_the_limit),
    ("limits::a_memory_limit_below_what_is_in_use_is_refused", memory_in_use),
    ("limits::usage_counts_what_was_done", usage_counts),
    ("limits::rlimits_are_clamped_and_noted", rlimits_are_clamped),
    ("limits::oom_score_is_set", oom_score_is_set),
];

/// Where the kernel shows a limit, on v2 and on v1.
fn shown(bed: &Bed, name: &str, v2: &str, v1: (&str, &str)) -> String {
    let layout = bed.runtime.layout();
    let path: PathBuf = match layout.version {
        CgroupVersion::Unified => layout.mounts[0].point.join(&bed.cgroup).join(name).join(v2),
        CgroupVersion::Legacy => {
            let mount = layout.mount_of(v1.0).expect("the controller should be there");
            mount.point.join(&bed.cgroup).join(name).join(v1.1)
        }
    };
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn disk() -> berth_runtime::BlockDevice {
    device_of(Path::new("/var/tmp")).unwrap()
}

fn some_limits() -> Limits {
    Limits {
        memory_max_bytes: Some(100 << 20),
        cpu_max: Some(CpuMax::from_millicores(500)),
        cpu_weight: Some(200),
        pids_max: Some(50),
        cpuset: Some("0".to_owned()),
        io: vec![IoLimit {
            device: disk().number,
            read_bps: None,
            write_bps: Some(10 << 20),
            read_iops: None,
            write_iops: Some(1000),
        }],
        ..Limits::default()
    }
}

fn in_force_at_once() {
    let bed = Bed::new();
    let mut spec = bed.spec("a", "cat /proc/self/status; while :; do sleep 1; done");
    spec.limits = some_limits();
    let record = bed.runtime.start(&spec, LONG).unwrap();
    assert_eq!(record.unapplied, []);
    assert!(bed.logged("a", "Cpus_allowed_list:").contains("Cpus_allowed_list:\t0\n"));
    let number = disk().number.to_string();
    assert_eq!(
        shown(&bed, "a", "memory.max", ("memory", "memory.limit_in_bytes")).trim(),
        (100 << 20).to_string()
    );
    assert!(shown(&bed, "a", "cpu.max", ("cpu", "cpu.cfs_quota_us")).starts_with("50000"));
    assert_eq!(shown(&bed, "a", "pids.max", ("pids", "pids.max")).trim(), "50");
    let io = shown(&bed, "a", "io.max", ("blkio", "blkio.throttle.write_bps_device"));
    assert!(io.starts_with(&number) && io.contains("10485760"), "{io}");
    let io = shown(&bed, "a", "io.max", ("blkio", "blkio.throttle.write_iops_device"));
    assert!(io.starts_with(&number) && io.contains("1000"), "{io}");
}

fn change_while_running() {
    let bed = Bed::new();
    bed.start(&bed.spec("a", "while :; do sleep 1; done"));
    assert_eq!(bed.runtime.set_limits(&id("a"), &some_limits()).unwrap(), []);
    let mut more = some_limits();
    more.memory_max_bytes = Some(200 << 20);
    more.io[0].write_bps = Some(20 << 20);
    more.io[0].write_iops = None;
    assert_eq!(bed.runtime.set_limits(&id("a"), &more).unwrap(), []);
    let memory = shown(&bed, "a", "memory.max", ("memory", "memory.limit_in_bytes"));
    assert_eq!(memory.trim(), (200 << 20).to_string());
    let io = shown(&bed, "a", "io.max", ("blkio", "blkio.throttle.write_bps_device"));
    assert!(io.contains("20971520"), "{io}");
    let io = shown(&bed, "a", "io.max", ("blkio", "blkio.throttle.write_iops_device"));
    assert!(!io.contains("1000"), "{io}");
    assert_eq!(bed.inspect("a").record.unwrap().limits, more);

    assert_eq!(bed.runtime.set_limits(&id("a"), &Limits::default()).unwrap(), []);
    let io = shown(&bed, "a", "io.max", ("blkio", "blkio.throttle.write_bps_device"));
    assert_eq!(io.trim(), "");
    let pids = shown(&bed, "a", "pids.max", ("pids", "pids.max"));
    assert_eq!(pids.trim(), "max");

    // What can't be is said, and does not keep the rest from being done.
    let mut odd = Limits { pids_max: Some(60), ..Limits::default() };
    odd.cpuset = Some("4095".to_owned());
    let unapplied = bed.runtime.set_limits(&id("a"), &odd).unwrap();
    assert_eq!(unapplied.len(), 1, "{unapplied:?}");
    assert_eq!(unapplied[0].limit, "cpuset");
    assert_eq!(shown(&bed, "a", "pids.max", ("pids", "pids.max")).trim(), "60");
    assert!(unapplied[0].reason.contains("the CPUs to be had are 0"), "{unapplied:?}");
    let record = bed.inspect("a").record.unwrap();
    assert_eq!(record.unapplied, unapplied);
    let in_force = record.limits_in_force();
    assert_eq!((in_force.cpuset, in_force.pids_max), (None, Some(60)));
}

fn memory_beyond_the_limit() {
    let bed = Bed::new();
    // tail keeps an endless line in memory.
    let mut spec = bed.spec("a", "exec tail /dev/zero");
    spec.limits.memory_max_bytes = Some(32 << 20);
    bed.start(&spec);
    let info = bed.wait("a");
    assert_eq!(info.status, Some(ExitStatus::Signal(9)));
    assert_eq!(info.oom_killed, Some(true));
    assert_eq!(bed.inspect("a").state, State::Exited(info));

    let mut fine = bed.spec("b", "exit 0");
    fine.limits.memory_max_bytes = Some(32 << 20);
    bed.start(&fine);
    assert_eq!(bed.wait("b").oom_killed, Some(false));
}

/// A file in a tmpfs is memory that can't be taken back, and one on a disk is.
fn memory_in_use() {
    let bed = Bed::new();
    let mut spec = bed.spec(
        "a",
        "trap ': > /tmp/f; echo empty' USR1; dd if=/dev/zero of=/tmp/f bs=1M count=48 2>/dev/null; \
         echo full; while :; do sleep 1; done",
    );
    spec.limits.memory_max_bytes = Some(128 << 20);
    bed.start(&spec);
    bed.logged("a", "full");
    let limit = || shown(&bed, "a", "memory.max", ("memory", "memory.limit_in_bytes"));
    let pinned = || bed.runtime.pinned_memory(&id("a")).unwrap().unwrap();
    assert!((48 << 20..100 << 20).contains(&pinned()), "{}", pinned());
    let lower =
        Limits { memory_max_bytes: Some(32 << 20), pids_max: Some(77), ..Limits::default() };
    let error = bed.runtime.set_limits(&id("a"), &lower).unwrap_err();
    assert!(matches!(error, RuntimeError::MemoryInUse { .. }), "{error}");
    assert_eq!(limit().trim(), (128 << 20).to_string());
    assert_eq!(shown(&bed, "a", "pids.max", ("pids", "pids.max")).trim(), "77");
    let record = bed.inspect("a").record.unwrap();
    assert_eq!((record.limits.memory_max_bytes, record.unapplied), (Some(128 << 20), Vec::new()));

    assert!(bed.runtime.signal(&id("a"), Signal::SIGUSR1).unwrap());
    bed.logged("a", "empty");
    let fell = until(LONG, || Some(pinned()).filter(|bytes| *bytes < 16 << 20));
    assert!(fell.is_some(), "{}", pinned());
    assert_eq!(bed.runtime.set_limits(&id("a"), &lower).unwrap(), []);
    assert_eq!(limit().trim(), (32 << 20).to_string());
    assert!(matches!(bed.inspect("a").state, State::Running { .. }), "nobody was killed");
}

fn usage_counts() {
    let bed = Bed::new();
    let data = tempfile::Builder::new().prefix("berth-test-").tempdir_in("/var/tmp").unwrap();
    let mut spec = bed.spec(
        "a",
        "dd if=/dev/zero of=/data/f bs=64k count=32 oflag=direct 2>/dev/null; echo done; \
         while :; do sleep 1; done",
    );
    spec.mounts.push(berth_runtime::Bind {
        source: data.path().to_path_buf(),
        destination: PathBuf::from("/data"),
        read_only: false,
    });
    bed.start(&spec);
    bed.logged("a", "done");
    let usage = bed.runtime.usage(&id("a")).unwrap();
    assert!(usage.memory_bytes.unwrap() > 0 && usage.cpu_usec.unwrap() > 0, "{usage:?}");
    assert_eq!(usage.oom_kills, Some(0));
    let pids = until(LONG, || bed.runtime.usage(&id("a")).unwrap().pids.filter(|&p| p == 2));
    assert_eq!(pids, Some(2), "the shell and its sleep");
    let disk = disk().number;
    let io = usage.io.iter().find(|io| io.device == disk).unwrap_or_else(|| panic!("{usage:?}"));
    assert!(io.write_bytes >= 2 << 20 && io.write_ops >= 32, "{io:?}");
}

fn rlimits_are_clamped() {
    let bed = Bed::new();
    let facts = berth_runtime::preflight().unwrap();
    let may_raise = !facts.missing_capabilities.contains(&"CAP_SYS_RESOURCE".to_owned());
    let mut spec = bed.spec("a", "cat /proc/self/limits; echo end");
    let wanted = facts.nofile_hard + 1000;
    spec.rlimits = Rlimits { nofile: Some(wanted), core: Some(0), memlock: None };
    let record = bed.runtime.start(&spec, LONG).unwrap();
    let log = bed.logged("a", "end");
    let line = |name: &str| {
        let line = log.lines().find(|line| line.starts_with(name)).unwrap();
        line[26..].split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let granted = if may_raise { wanted } else { facts.nofile_hard }.to_string();
    assert_eq!(line("Max open files")[..2], [granted.clone(), granted]);
    assert_eq!(line("Max core file size")[..2], ["0", "0"]);
    assert_eq!(record.notes.iter().any(|note| note.contains("rlimit nofile")), !may_raise);
}

fn oom_score_is_set() {
    let bed = Bed::new();
    let own: i32 = fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap();
    let mut up = bed.spec("up", "cat /proc/self/oom_score_adj; while :; do sleep 1; done");
    up.oom_score_adj = 500;
    let record = bed.runtime.start(&up, LONG).unwrap();
    assert_eq!(bed.logged("up", "\n"), "500\n");
    assert_eq!(record.notes, Vec::<String>::new());

    let mut down = bed.spec("down", "cat /proc/self/oom_score_adj");
    down.oom_score_adj = -900;
    let record = bed.runtime.start(&down, LONG).unwrap();
    let got = bed.logged("down", "\n");
    if got == "-900\n" {
        assert_eq!(record.notes, Vec::<String>::new());
    } else {
        assert_eq!(got, format!("{own}\n"));
        assert!(record.notes[0].contains("oom_score_adj"), "{:?}", record.notes);
    }
    let after = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    assert_eq!(after.trim(), own.to_string(), "the caller's own is untouched");
}
