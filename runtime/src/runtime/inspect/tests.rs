use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Process, State, judge};
use crate::cgroup::Limits;
use crate::exit::{ExitInfo, ExitStatus};
use crate::id::ContainerId;
use crate::record::{ProcessName, Record};

fn record(process: Option<ProcessName>) -> Record {
    Record {
        id: ContainerId::new("db1").unwrap(),
        boot_id: "boot".to_owned(),
        created_at_ms: 5,
        creator: ProcessName { pid: 10, start_time: 1 },
        process,
        cgroups: Vec::new(),
        limits: Limits::default(),
        unapplied: Vec::new(),
        notes: Vec::new(),
        rootfs: PathBuf::from("/r"),
        log: PathBuf::from("/l"),
        labels: BTreeMap::new(),
    }
}

#[test]
fn every_combination_has_one_state() {
    let init = Some(ProcessName { pid: 77, start_time: 9 });
    let alive = |in_group, waiting| Process::Alive { in_group, waiting };
    let creating = State::Creating { since_ms: 5 };
    let interrupted = State::Interrupted { since_ms: 5 };
    let running = State::Running { pid: 77, since_ms: 5 };
    let unknown = State::Exited(ExitInfo::default());
    let killed =
        State::Exited(ExitInfo { status: Some(ExitStatus::Signal(9)), ..ExitInfo::default() });
    let table = [
        (None, Process::Gone, true, &creating),
        (None, Process::Gone, false, &interrupted),
        (init, alive(true, true), true, &creating),
        (init, alive(true, true), false, &interrupted),
        (init, alive(true, false), true, &running),
        (init, alive(true, false), false, &running),
        (init, Process::Zombie(ExitStatus::Signal(9)), true, &killed),
        (init, Process::Gone, true, &unknown),
        (init, Process::Gone, false, &unknown),
    ];
    for (process, facts, creator, expected) in table {
        assert_eq!(
            &judge(&record(process), facts, creator),
            expected,
            "{process:?} {facts:?} {creator}"
        );
    }
}

#[test]
fn a_process_outside_its_group_is_neither_running_nor_gone() {
    let record = record(Some(ProcessName { pid: 77, start_time: 9 }));
    let state = judge(&record, Process::Alive { in_group: false, waiting: false }, true);
    assert!(matches!(state, State::Unknown { .. }));
}
