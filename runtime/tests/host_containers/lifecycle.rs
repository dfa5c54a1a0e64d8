//! From start to removal, as it should be.

use std::fs;
use std::thread;
use std::time::Duration;

use berth_runtime::{ExitStatus, Signal, State};

use crate::Test;
use crate::bed::{Bed, LONG, Possessions, id, until};

pub(crate) const TESTS: &[Test] = &[
    ("lifecycle::starts_stops_and_removes", starts_stops_and_removes),
    ("lifecycle::exit_codes_and_signals_are_known", exit_codes_and_signals_are_known),
    ("lifecycle::a_second_start_is_refused", a_second_start_is_refused),
    ("lifecycle::stop_kills_what_ignores_sigterm", stop_kills_what_ignores_sigterm),
    ("lifecycle::stop_reaches_what_has_no_handler_yet", stop_reaches_what_has_no_handler_yet),
    ("lifecycle::a_program_without_execute_permission_exits_126", not_executable_exits_126),
    ("lifecycle::two_hundred_starts_at_concurrency_eight", two_hundred_starts),
    ("lifecycle::runc_runs_the_same_bundle", runc_runs_the_same_bundle),
];

fn starts_stops_and_removes() {
    let bed = Bed::new();
    let mut spec =
        bed.spec("a", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done");
    spec.labels.insert("owner".to_owned(), "orders".to_owned());
    let record = bed.runtime.start(&spec, LONG).unwrap();
    bed.logged("a", "up\n");
    let container = bed.inspect("a");
    let State::Running { pid, .. } = container.state else { panic!("{container:?}") };
    assert_eq!(container.record.as_ref(), Some(&record));
    assert_eq!(record.labels["owner"], "orders");
    assert_eq!(record.process.unwrap().pid, pid);
    let listed = bed.runtime.list().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].1.as_ref().unwrap(), &container);
    assert!(bed.runtime.remove(&id("a"), LONG).is_err(), "it runs");

    let info = bed.runtime.stop(&id("a"), LONG, LONG).unwrap();
    assert_eq!(info.status, Some(ExitStatus::Code(3)));
    assert!(info.finished_at_ms.is_some());
    assert_eq!(bed.inspect("a").state, State::Exited(info.clone()));
    assert_eq!(bed.runtime.stop(&id("a"), LONG, LONG).unwrap(), info, "stop is idempotent");
    assert!(bed.logged("a", "bye").ends_with("bye\n"));
    bed.runtime.remove(&id("a"), LONG).unwrap();
    bed.runtime.remove(&id("a"), LONG).unwrap();
    assert!(bed.runtime.inspect(&id("a")).unwrap().is_none());
    bed.assert_clean();
    assert!(bed.log("a").exists(), "a log outlives its container");
}

fn exit_codes_and_signals_are_known() {
    let bed = Bed::new();
    let table = [
        ("zero", "exit 0", ExitStatus::Code(0)),
        ("sixteen", "exit 16", ExitStatus::Code(16)),
        ("missing", "exec /no/such/program", ExitStatus::Code(127)),
    ];
    for (name, script, expected) in table {
        bed.start(&bed.spec(name, script));
        assert_eq!(bed.wait(name).status, Some(expected), "{name}");
    }
    bed.start(&bed.spec("killed", "echo up; while :; do sleep 1; done"));
    bed.logged("killed", "up");
    assert!(bed.runtime.signal(&id("killed"), Signal::SIGKILL).unwrap());
    assert_eq!(bed.wait("killed").status, Some(ExitStatus::Signal(9)));
    assert!(!bed.runtime.signal(&id("killed"), Signal::SIGKILL).unwrap());
    // Before anybody collects it, inspect reads the zombie.
    bed.start(&bed.spec("zombie", "exit 5"));
    let status = until(LONG, || match bed.inspect("zombie").state {
        State::Exited(info) => Some(info.status),
        _ => None,
    });
    assert_eq!(status, Some(Some(ExitStatus::Code(5))));
}

fn a_second_start_is_refused() {
    let bed = Bed::new();
    let spec = bed.spec("a", "exit 0");
    bed.start(&spec);
    bed.wait("a");
    let error = bed.runtime.start(&spec, LONG).unwrap_err();
    assert_eq!(error.to_string(), "container a exists already");
    assert!(matches!(bed.inspect("a").state, State::Exited(_)), "the first is untouched");
}

fn stop_kills_what_ignores_sigterm() {
    let bed = Bed::new();
    bed.start(&bed.spec("a", "trap '' TERM; (sleep 1000 &); echo up; while :; do sleep 1; done"));
    bed.logged("a", "up");
    let info = bed.runtime.stop(&id("a"), Duration::from_millis(50), LONG).unwrap();
    assert_eq!(info.status, Some(ExitStatus::Signal(9)));
    bed.runtime.remove(&id("a"), LONG).unwrap();
    bed.assert_clean();
}

fn stop_reaches_what_has_no_handler_yet() {
    let bed = Bed::new();
    // The kernel drops a SIGTERM for init as long as init has no handler for it.
    let program = "echo up; sleep 2; trap 'exit 7' TERM; while :; do sleep 0.1; done";
    bed.start(&bed.spec("a", program));
    bed.logged("a", "up");
    let info = bed.runtime.stop(&id("a"), LONG, LONG).unwrap();
    assert_eq!(info.status, Some(ExitStatus::Code(7)));
    bed.runtime.remove(&id("a"), LONG).unwrap();
    bed.assert_clean();
}

fn not_executable_exits_126() {
    let bed = Bed::new();
    let program = bed.dir.path().join("root/bin/plain");
    fs::write(&program, "not a program").unwrap();
    let mut spec = bed.spec("a", "");
    spec.args = vec!["/bin/plain".to_owned()];
    bed.start(&spec);
    assert_eq!(bed.wait("a").status, Some(ExitStatus::Code(126)));
    assert!(bed.logged("a", "berth:").contains("cannot run /bin/plain"));
}

fn two_hundred_starts() {
    let bed = Bed::new();
    let before = Possessions::now();
    thread::scope(|scope| {
        for worker in 0..8 {
            let bed = &bed;
            scope.spawn(move || {
                for round in 0..25 {
                    let name = format!("w{worker}-{round}");
                    bed.start(&bed.spec(&name, &format!("exit {worker}")));
                    let expected = Some(ExitStatus::Code(worker));
                    assert_eq!(bed.wait(&name).status, expected, "{name}");
                    bed.runtime.remove(&id(&name), LONG).unwrap();
                }
            });
        }
    });
    bed.assert_clean();
    assert_eq!(Possessions::now(), before);
}

/// The second opinion on the bundle: runc takes it and comes to the same end.
fn runc_runs_the_same_bundle() {
    let bed = Bed::new();
    bed.start(&bed.spec("a", "id -u; cat /proc/self/status | sed -n 's/^Seccomp:\\s*//p'; exit 9"));
    assert_eq!(bed.wait("a").status, Some(ExitStatus::Code(9)));
    let run = bed.dir.path().join("run/containers/a");
    let name = format!("berth-test-{}", std::process::id());
    // runc would share the control group, which belongs to the container.
    let config = fs::read_to_string(run.join("bundle/config.json")).unwrap();
    let bundle = bed.dir.path().join("runc-bundle");
    fs::create_dir(&bundle).unwrap();
    let own_group = format!("/{}/runc", bed.cgroup.display());
    let config = config.replace(&format!("/{}/a", bed.cgroup.display()), &own_group);
    fs::write(bundle.join("config.json"), config).unwrap();
    let out = std::process::Command::new("runc")
        .arg("--root")
        .arg(bed.dir.path().join("runc"))
        .args(["run", "--bundle"])
        .arg(&bundle)
        .arg(&name)
        .output()
        .unwrap();
    // runc also makes a group in the named hierarchy, where berth makes none.
    let _ = fs::remove_dir(std::path::Path::new("/sys/fs/cgroup/systemd").join(&bed.cgroup));
    assert_eq!(out.status.code(), Some(9), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(String::from_utf8_lossy(&out.stdout), bed.logged("a", "2\n"));
}
