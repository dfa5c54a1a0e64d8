//! Agents that die: what they started lives on, what they had half started is
//! found and cleared away.

use std::thread;
use std::time::{Duration, Instant};

use berth_runtime::{ExitStatus, State};

use crate::Test;
use crate::bed::{Bed, LONG, id, until};
use crate::roles::{agent, collect_orphans};

pub(crate) const TESTS: &[Test] = &[
    ("crash::a_container_outlives_its_agent_and_is_adopted", outlives_and_is_adopted),
    ("crash::the_exit_code_of_an_adopted_container_is_known", adopted_exit_code),
    ("crash::an_agent_killed_while_starting_leaves_nothing_lost", killed_while_starting),
];

fn outlives_and_is_adopted() {
    let bed = Bed::new();
    let mut first =
        agent(&bed, "a", "trap 'exit 4' TERM; echo up; while :; do sleep 0.01; done", true);
    bed.logged("a", "up");
    first.kill().unwrap();
    first.wait().unwrap();
    let State::Running { pid, .. } = bed.inspect("a").state else { panic!("it should run on") };
    assert!(pid > 0);
    // It has come to this process, the next subreaper, as to a restarted agent's parent.
    let info = bed.runtime.stop(&id("a"), LONG, LONG).unwrap();
    assert_eq!(info.status, Some(ExitStatus::Code(4)));
    bed.runtime.remove(&id("a"), LONG).unwrap();
    bed.assert_clean();
}

/// The container's parent is an agent that never collects it, so that this
/// process must read the zombie; then the parent dies.
fn adopted_exit_code() {
    let bed = Bed::new();
    let mut other =
        agent(&bed, "a", "echo up; while ! [ -e /data/go ]; do sleep 0.01; done; exit 21", true);
    bed.logged("a", "up");
    let watch = bed.runtime.watch(&id("a")).unwrap().unwrap();
    assert_eq!(bed.runtime.collect(&watch).unwrap(), None, "it runs");
    std::fs::write(bed.dir.path().join("root/data/go"), "").unwrap();
    assert!(watch.wait(LONG).unwrap());
    let info = bed.runtime.collect(&watch).unwrap().unwrap();
    assert_eq!(info.status, Some(ExitStatus::Code(21)));
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(bed.inspect("a").state, State::Exited(info), "it was stored");
}

/// Kills an agent at moments spread over the whole length of a start. The order
/// of moments follows from a seed that is printed.
fn killed_while_starting() {
    const ROUNDS: u64 = 40;
    let bed = Bed::new();
    let begin = Instant::now();
    assert!(agent(&bed, "measure", "exit 0", false).wait().unwrap().success());
    let whole = begin.elapsed();
    bed.wait("measure");
    bed.runtime.remove(&id("measure"), LONG).unwrap();
    let mut seed = u64::from(std::process::id());
    println!("  seed {seed}, a start takes {whole:?}");
    let (mut running, mut interrupted, mut nothing) = (0, 0, 0);
    for round in 0..ROUNDS {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let at = whole.mul_f64((seed >> 33) as f64 / f64::from(1u32 << 31) * 1.2);
        let name = format!("r{round}");
        let mut victim = agent(&bed, &name, "while :; do sleep 1; done", true);
        thread::sleep(at);
        victim.kill().unwrap();
        victim.wait().unwrap();
        match settled(&bed, &name) {
            None => nothing += 1,
            Some(State::Running { .. }) => {
                running += 1;
                let info = bed.runtime.stop(&id(&name), Duration::ZERO, LONG).unwrap();
                assert_eq!(info.status, Some(ExitStatus::Signal(9)), "{name}");
            }
            Some(State::Interrupted { .. }) => interrupted += 1,
            Some(other) => panic!("{name} after {at:?}: {other:?}"),
        }
        bed.runtime.remove(&id(&name), LONG).unwrap();
        bed.assert_clean();
    }
    println!("  {nothing} had not begun, {interrupted} were interrupted, {running} ran");
    collect_orphans();
}

/// The state once nobody is starting it any more: a helper may outlive its
/// killed caller by a moment.
fn settled(bed: &Bed, name: &str) -> Option<State> {
    until(LONG, || match bed.runtime.inspect(&id(name)).unwrap().map(|c| c.state) {
        Some(State::Creating { .. }) => None,
        other => Some(other),
    })
    .expect("somebody is still starting it, though the agent is dead")
}
