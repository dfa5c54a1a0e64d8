//! Starts that fail, hang, or are asked for the impossible: nothing is left.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use berth_runtime::{Bind, CpuMax, Network, RuntimeError, Signal, State};

use crate::Test;
use crate::bed::{Bed, LONG, Possessions, id, until};

pub(crate) const TESTS: &[Test] = &[
    ("failure::failed_creates_leave_nothing", failed_creates_leave_nothing),
    ("failure::a_hung_helper_is_killed_and_leaves_nothing", a_hung_helper_leaves_nothing),
    ("failure::a_start_starved_of_cpu_ends_at_its_deadline", a_starved_start_ends),
    ("failure::a_record_of_another_boot_names_no_process", another_boot),
    ("failure::a_reused_pid_is_not_the_container", a_reused_pid_is_not_the_container),
    ("failure::a_corrupt_record_is_not_absence", a_corrupt_record_is_not_absence),
];

fn failed_creates_leave_nothing() {
    let bed = Bed::new();
    let plain = bed.dir.path().join("plain");
    fs::write(&plain, "x").unwrap();
    let bind = |source: PathBuf, destination: &str| Bind {
        source,
        destination: PathBuf::from(destination),
        read_only: false,
    };
    let good = || bed.spec("a", "exit 0");
    let mut missing_program = good();
    missing_program.args = vec!["/bin/nothing".to_owned()];
    let mut missing_in_path = good();
    missing_in_path.args = vec!["nothing".to_owned()];
    let mut missing_source = good();
    missing_source.mounts.push(bind(PathBuf::from("/no/such/source"), "/data"));
    let mut file_over_directory = good();
    file_over_directory.mounts.push(bind(plain.clone(), "/data"));
    let mut bad_cwd = good();
    bad_cwd.cwd = PathBuf::from("/no/such/directory");
    let mut bad_network = good();
    bad_network.network = Network::Namespace(plain);
    let mut bad_log = good();
    bad_log.log = bed.dir.path().to_path_buf();
    let mut fifo_log = good();
    fifo_log.log = bed.dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo_log.log, nix::sys::stat::Mode::S_IRWXU).unwrap();

    let before = Possessions::now();
    for (what, spec, expected) in [
        ("missing program", missing_program, "/bin/nothing"),
        ("missing in path", missing_in_path, "nothing"),
        ("missing source", missing_source, "/no/such/source"),
        ("file over directory", file_over_directory, "start failed"),
        ("bad cwd", bad_cwd, "start failed"),
        ("bad network", bad_network, "start failed"),
        ("log is a directory", bad_log, "log"),
        ("log is a fifo", fifo_log, "log"),
    ] {
        let error = bed.runtime.start(&spec, LONG).unwrap_err().to_string();
        assert!(error.contains(expected), "{what}: {error}");
        println!("  {what}: {error}");
        bed.assert_clean();
    }
    assert_eq!(Possessions::now(), before);
    bed.start(&good());
}

/// The first process in the nursery of a start is its helper. Stopped by SIGSTOP
/// it hangs as a helper in a dead mount would.
fn a_hung_helper_leaves_nothing() {
    let bed = Bed::new();
    let before = Possessions::now();
    let leaf = crate::bed::hierarchies()[0].join(&bed.cgroup).join("a~start/cgroup.procs");
    thread::scope(|scope| {
        scope.spawn(|| {
            until(LONG, || {
                let pid = fs::read_to_string(&leaf).ok()?.lines().next()?.parse().ok()?;
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGSTOP).ok()
            })
            .unwrap();
        });
        let error =
            bed.runtime.start(&bed.spec("a", "exit 0"), Duration::from_secs(1)).unwrap_err();
        assert!(matches!(error, RuntimeError::Deadline { .. }), "{error}");
        assert!(error.is_retryable());
    });
    bed.assert_clean();
    assert_eq!(Possessions::now(), before);
    bed.start(&bed.spec("a", "exit 0"));
}

fn a_starved_start_ends() {
    let bed = Bed::new();
    let before = Possessions::now();
    let mut spec = bed.spec("a", "exit 0");
    spec.limits.cpu_max = Some(CpuMax { quota_us: 1000, period_us: 1_000_000 });
    let error = bed.runtime.start(&spec, Duration::from_millis(500)).unwrap_err();
    assert!(matches!(error, RuntimeError::Deadline { .. }), "{error}");
    bed.assert_clean();
    assert_eq!(Possessions::now(), before);
}

/// Changes a field of a record on disk.
fn edit(bed: &Bed, name: &str, change: impl FnOnce(&mut serde_json::Value)) -> serde_json::Value {
    let path = bed.dir.path().join("run/containers").join(name).join("record.json");
    let before: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let mut after = before.clone();
    change(&mut after);
    fs::write(&path, serde_json::to_vec(&after).unwrap()).unwrap();
    before
}

fn another_boot() {
    let bed = Bed::new();
    bed.start(&bed.spec("a", "while :; do sleep 1; done"));
    let before = edit(&bed, "a", |record| record["boot_id"] = "another".into());
    match bed.inspect("a").state {
        State::Exited(info) => assert_eq!(info.status, None),
        other => panic!("{other:?}"),
    }
    edit(&bed, "a", |record| *record = before);
    assert!(matches!(bed.inspect("a").state, State::Running { .. }));
}

fn a_reused_pid_is_not_the_container() {
    let bed = Bed::new();
    bed.start(&bed.spec("a", "while :; do sleep 1; done"));
    let me = std::process::id();
    let before = edit(&bed, "a", |record| record["process"]["pid"] = me.into());
    assert!(matches!(bed.inspect("a").state, State::Exited(_)), "the start time differs");
    assert!(!bed.runtime.signal(&id("a"), Signal::SIGTERM).unwrap(), "or this test would die");
    edit(&bed, "a", |record| *record = before.clone());

    // Even with the right start time: the control group is another one.
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let start: u64 = stat.rsplit_once(')').unwrap().1.split(' ').nth(20).unwrap().parse().unwrap();
    edit(&bed, "a", |record| {
        record["process"]["pid"] = me.into();
        record["process"]["start_time"] = start.into();
    });
    assert!(matches!(bed.inspect("a").state, State::Unknown { .. }));
    let refused = bed.runtime.stop(&id("a"), LONG, LONG).unwrap_err();
    assert!(matches!(refused, RuntimeError::Contradiction { .. }), "{refused}");
    assert!(bed.runtime.remove(&id("a"), LONG).is_err(), "nothing destructive follows");
    edit(&bed, "a", |record| *record = before);
}

fn a_corrupt_record_is_not_absence() {
    let bed = Bed::new();
    bed.start(&bed.spec("a", "exit 0"));
    bed.start(&bed.spec("b", "exit 0"));
    let before = edit(&bed, "a", |record| *record = serde_json::Value::Null);
    assert!(matches!(bed.runtime.inspect(&id("a")), Err(RuntimeError::Record { .. })));
    let listed = bed.runtime.list().unwrap();
    assert!(listed[0].1.is_err() && listed[1].1.is_ok(), "one does not hide the other");
    edit(&bed, "a", |record| *record = before);
}
