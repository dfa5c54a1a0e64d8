//! Led by the goal's state, the data directory and the container.

use berth_model::status::InstanceState::{
    Absent, Bootstrapping, Down, Minion, Removed, Starting, Unknown, Unresponsive,
};
use berth_runtime::{ExitInfo, ExitStatus};
use jiff::{SignedDuration, ToSpan};

use super::scene::{
    Says::{Blocked, Nothing, Waits},
    *,
};
use crate::{
    data::{DataFacts, DataState},
    observe::{ContainerState, InstanceObservation, Observed},
    plan::Decision,
    testing::{entries::master, world::exit},
};

fn exited(status: Option<ExitStatus>, oom_killed: Option<bool>) -> ContainerState {
    ContainerState::Exited(ExitInfo { status, oom_killed, finished_at_ms: None })
}

/// The master, whose goal has another state.
fn wanted(state: &str, change: impl FnOnce(&mut InstanceObservation)) -> Decision {
    let [entry, minion] = entries();
    Scene::converged().wants(&[entry.state(state), minion]).sees(MASTER, change).decide(MASTER)
}

#[test]
fn data_and_container_of_a_started_instance() {
    table([
        (
            "nothing there, a master",
            Scene::bare(&entries()).decide(MASTER),
            Absent,
            &["create data directory", "start container"],
            Nothing,
        ),
        (
            "nothing there, a minion",
            Scene::bare(&entries()).decide(MINION),
            Absent,
            &["create data directory", "start container"],
            Nothing,
        ),
        ("ready and no container", master_when(no_container), Down, &["start container"], Nothing),
        (
            "half started",
            master_when(|seen| container_is(seen, ContainerState::Creating)),
            Down,
            &["remove container"],
            Nothing,
        ),
    ]);
}

#[test]
fn a_server_that_ended_is_noted_and_cleared_away() {
    let both = &["note the server's end (exit code 1)", "remove container"][..];
    table([
        (
            "crashed",
            master_when(|seen| container_is(seen, exited(Some(ExitStatus::Code(1)), None))),
            Down,
            both,
            Nothing,
        ),
        (
            "killed by signal for want of memory",
            master_when(|seen| container_is(seen, exited(Some(ExitStatus::Signal(9)), Some(true)))),
            Down,
            &["note the server's end (signal 9, out of memory)", "remove container"],
            Nothing,
        ),
        (
            "ended while no agent was there",
            master_when(|seen| container_is(seen, exited(None, None))),
            Down,
            &[
                "note the server's end (how is not known: no one was there to see it)",
                "remove container",
            ],
            Nothing,
        ),
        (
            "crashed and the data is gone",
            master_when(|seen| {
                container_is(seen, exited(Some(ExitStatus::Code(1)), None));
                seen.data = Observed::Absent;
            }),
            Down,
            both,
            Nothing,
        ),
    ]);
}

#[test]
fn vanished_data_is_not_made_anew() {
    table([
        (
            "the data vanished under a running server",
            master_when(|seen| seen.data = Observed::Absent),
            Unknown,
            &[],
            Blocked("is gone; nothing is done while a server may have files open there"),
        ),
        (
            "the data vanished while nothing ran",
            master_when(nothing),
            Unknown,
            &[],
            Blocked("mount its disk"),
        ),
    ]);
}

#[test]
fn data_of_which_berth_is_not_sure_is_not_touched() {
    table([
        (
            "someone else's data",
            master_when(|seen| {
                seen.data =
                    Observed::Present(DataFacts::Foreign { why: "a stranger's marker".into() });
            }),
            Unknown,
            &[],
            Blocked("is not touched: a stranger's marker"),
        ),
        (
            "unknown data",
            master_when(|seen| {
                no_container(seen);
                seen.data = unknown();
            }),
            Unknown,
            &[],
            Blocked("can't be found out: the probe's reason"),
        ),
        (
            "unknown container",
            master_when(|seen| {
                no_container(seen);
                seen.container = unknown();
            }),
            Unknown,
            &[],
            Blocked("whether its container runs can't be found out"),
        ),
        (
            "another owner's data",
            master_when(|seen| {
                no_container(seen);
                if let Observed::Present(DataFacts::Own { owner, .. }) = &mut seen.data {
                    *owner = Some((0, 0));
                }
            }),
            Down,
            &[],
            Blocked("owned by 0:0, expected 999:998"),
        ),
    ]);
}

#[test]
fn a_half_made_directory_is_made_anew() {
    let half_made = |state: DataState| {
        move |seen: &mut InstanceObservation| {
            no_container(seen);
            marker(seen).state = state;
        }
    };
    let steps = &["create data directory", "start container"][..];
    let from = || "127.0.0.1:7001".to_owned();
    let minion = |state| Scene::converged().sees(MINION, half_made(state)).decide(MINION);
    table([
        (
            "initialising",
            master_when(half_made(DataState::Initialising)),
            Bootstrapping,
            steps,
            Nothing,
        ),
        ("seeding", minion(DataState::Seeding { from: from() }), Bootstrapping, steps, Nothing),
        ("seeded", minion(DataState::Seeded { from: from() }), Down, &["start container"], Nothing),
    ]);
}

#[test]
fn a_stopped_instance_keeps_its_data() {
    let stop = &["stop container", "remove container"][..];
    table([
        ("running", wanted("stopped", |_| {}), Down, PARTS_AND_STOPS, Nothing),
        (
            "running, and closed already",
            wanted("stopped", |seen| {
                let server = &mut server(seen).snapshot;
                (server.super_read_only, server.offline_mode) = (true, true);
            }),
            Down,
            stop,
            Nothing,
        ),
        (
            "running, and what was tried before failed",
            Scene::converged()
                .wants(&[entries()[0].clone().state("stopped"), entries()[1].clone()])
                .remembers(MASTER, |remembered| remembered.failures = 1)
                .decide(MASTER),
            Down,
            stop,
            Nothing,
        ),
        (
            "running, its server doesn't answer",
            wanted("stopped", |seen| seen.server = unknown()),
            Down,
            stop,
            Nothing,
        ),
        (
            "half started",
            wanted("stopped", |seen| container_is(seen, ContainerState::Creating)),
            Down,
            &["remove container"],
            Nothing,
        ),
        (
            "ended",
            wanted("stopped", |seen| {
                container_is(seen, ContainerState::Exited(exit(ExitStatus::Code(0))))
            }),
            Down,
            &["remove container"],
            Nothing,
        ),
        ("stopped", wanted("stopped", no_container), Down, &[], Nothing),
        ("never made", wanted("stopped", nothing), Absent, &[], Nothing),
        (
            "unknown container",
            wanted("stopped", |seen| seen.container = unknown()),
            Unknown,
            &[],
            Blocked("whether its container runs"),
        ),
    ]);
}

#[test]
fn a_removed_instance_leaves_its_data_in_the_trash() {
    let aside = format!(
        "move data aside to /var/lib/berth/data/.trash/h1-db1.removed.{}",
        Scene::converged().now.strftime("%Y%m%dT%H%M%SZ")
    );
    table([
        ("running", wanted("removed", |_| {}), Down, PARTS_AND_STOPS, Nothing),
        ("ended", wanted("removed", no_container), Down, &[&aside], Nothing),
        ("gone", wanted("removed", nothing), Removed, &[], Nothing),
        (
            "someone else's data",
            wanted("removed", |seen| {
                no_container(seen);
                seen.data = Observed::Present(DataFacts::Foreign { why: "no marker".into() });
            }),
            Unknown,
            &[],
            Blocked("is not touched: no marker"),
        ),
        (
            "unknown data",
            wanted("removed", |seen| {
                no_container(seen);
                seen.data = unknown();
            }),
            Unknown,
            &[],
            Blocked("can't be found out"),
        ),
        (
            "unknown container",
            wanted("removed", |seen| {
                nothing(seen);
                seen.container = unknown();
            }),
            Unknown,
            &[],
            Blocked("whether its container runs"),
        ),
    ]);
}

#[test]
fn a_server_is_given_time_to_start() {
    let silent = |seen: &mut InstanceObservation| seen.server = unknown();
    let starting = |age: SignedDuration| {
        let scene = Scene::converged().sees(MASTER, silent).remembers(MASTER, |r| r.state = None);
        let at = scene.now.checked_sub(age).unwrap();
        scene.sees(MASTER, |seen| container(seen).created_at = at).decide(MASTER)
    };
    table([
        (
            "just started",
            starting(SignedDuration::from_secs(1)),
            Starting,
            &[],
            Waits("the probe's reason"),
        ),
        (
            "in crash recovery",
            starting(SignedDuration::from_mins(9)),
            Starting,
            &[],
            Waits("the probe's reason"),
        ),
        (
            "too late",
            starting(SignedDuration::from_mins(11)),
            Unresponsive,
            &[],
            Blocked("nothing is done to it"),
        ),
        (
            "answered before",
            master_when(silent),
            Unresponsive,
            &[],
            Blocked("nothing is done to it"),
        ),
        (
            "no answer to be had",
            master_when(|seen| seen.server = Observed::Absent),
            Unresponsive,
            &[],
            Blocked("no answer yet"),
        ),
    ]);
}

#[test]
fn a_lane_at_work_is_not_planned_for() {
    let busy = Scene::converged().sees(MASTER, no_container).with(|scene| {
        scene.observation.busy.insert("h1-db1".into(), "start container".into());
    });
    let far = busy.clone().with(|scene| {
        scene.now = scene.now.checked_add(1.hour()).unwrap();
    });
    table([
        ("at work", busy.decide(MASTER), Down, &[], Waits("start container")),
        ("for long", far.decide(MASTER), Down, &[], Waits("start container")),
        ("its minion", busy.decide(MINION), Minion, &[], Nothing),
    ]);
}

#[test]
fn an_instance_not_yet_observed_is_left_out() {
    let scene =
        Scene::converged().wants(&[master("db1", 7001), master("db9", 7009).with("cluster", "x")]);
    let plan = scene.plan();
    assert_eq!(plan.instances.len(), 1);
}
