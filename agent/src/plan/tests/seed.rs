//! From the first CLONE to the first client.

use berth_model::status::InstanceState::{Bootstrapping, Minion};
use berth_runtime::{ExitInfo, ExitStatus};

use super::scene::{
    Says::{Blocked, Nothing, Waits},
    *,
};
use crate::{
    data::DataState,
    mysql::CloneState,
    observe::{ContainerState, InstanceObservation, Observed, Purpose, SourceFacts},
    plan::{Decision, Step},
    testing::{entries::master, world::exit},
};

fn source(seen: &mut InstanceObservation, change: impl FnOnce(&mut SourceFacts)) {
    match &mut seen.source {
        Observed::Present(source) => change(source),
        other => panic!("no source in {other:?}"),
    }
}

fn while_seeding(change: impl FnOnce(&mut InstanceObservation)) -> Decision {
    minion_when(|seen| {
        seeding(seen);
        change(seen);
    })
}

fn cloning(state: CloneState, dropped: &str) -> Decision {
    while_seeding(|seen| clone_is(seen, state, dropped))
}

#[test]
fn a_clone_begins_once_donor_and_server_answer() {
    let clone = &["clone from 127.0.0.1:7001"][..];
    table([
        (
            "not answering yet",
            while_seeding(|seen| seen.server = unknown()),
            Bootstrapping,
            &[],
            Waits("waiting for the seeding server: the probe's reason"),
        ),
        (
            "its container just started",
            while_seeding(|seen| seen.server = Observed::Absent),
            Bootstrapping,
            &[],
            Waits("waiting for the seeding server"),
        ),
        ("not begun", while_seeding(|_| {}), Bootstrapping, clone, Nothing),
        (
            "not begun by its own word",
            cloning(CloneState::NotStarted, "Not Started"),
            Bootstrapping,
            clone,
            Nothing,
        ),
        (
            "the donor is silent",
            while_seeding(|seen| source(seen, |source| source.server = unknown())),
            Bootstrapping,
            &[],
            Waits("waiting for the donor 127.0.0.1:7001 to answer"),
        ),
        (
            "the donor does not serve",
            while_seeding(|seen| source(seen, |source| source.server = Observed::Absent)),
            Bootstrapping,
            &[],
            Waits("waiting for the donor 127.0.0.1:7001 to serve"),
        ),
        (
            "the donor's address is unknown",
            while_seeding(|seen| seen.source = unknown()),
            Bootstrapping,
            &[],
            Blocked("the master's address is not known"),
        ),
    ]);
}

#[test]
fn how_a_clone_stands_decides() {
    let give_up = &[
        "note the server's end (CLONE failed: the donor's reason)",
        "stop container",
        "remove container",
    ][..];
    let clone = &["clone from 127.0.0.1:7001"][..];
    table([
        (
            "at work",
            cloning(CloneState::Running, "Completed"),
            Bootstrapping,
            &[],
            Waits("cloning from 127.0.0.1:7001: 16 of 128 MiB"),
        ),
        (
            "done",
            cloning(CloneState::Completed, "Completed"),
            Bootstrapping,
            &[],
            Waits("waiting for the server to end"),
        ),
        (
            "refused before anything was dropped",
            cloning(CloneState::Failed, "Not Started"),
            Bootstrapping,
            clone,
            Nothing,
        ),
        ("failed", cloning(CloneState::Failed, "Completed"), Bootstrapping, give_up, Nothing),
        (
            "failed while dropping",
            cloning(CloneState::Failed, "Failed"),
            Bootstrapping,
            give_up,
            Nothing,
        ),
        (
            "interrupted",
            cloning(CloneState::Interrupted, "Completed"),
            Bootstrapping,
            give_up,
            Nothing,
        ),
    ]);
}

#[test]
fn how_a_seeding_server_ended_decides() {
    let ended = |status| {
        while_seeding(|seen| {
            container_is(seen, ContainerState::Exited(ExitInfo { status, ..ExitInfo::default() }));
        })
    };
    let done = ended(Some(ExitStatus::Code(16)));
    let Some(Step::Mark { marker, .. }) = done.steps.first() else { panic!("{:?}", done.steps) };
    assert_eq!(marker.state, DataState::Seeded { from: "127.0.0.1:7001".into() });
    table([
        (
            "asks to be started again",
            done,
            Bootstrapping,
            &[
                "mark data directory seeded from 127.0.0.1:7001",
                "remove container",
                "start container",
            ],
            Nothing,
        ),
        (
            "crashed",
            ended(Some(ExitStatus::Signal(9))),
            Bootstrapping,
            &["note the server's end (signal 9)", "remove container"],
            Nothing,
        ),
        (
            "clean, which is no end of a CLONE",
            ended(Some(ExitStatus::Code(0))),
            Bootstrapping,
            &["note the server's end (exit code 0)", "remove container"],
            Nothing,
        ),
        (
            "unseen",
            ended(None),
            Bootstrapping,
            &[
                "note the server's end (how is not known: no one was there to see it)",
                "remove container",
            ],
            Nothing,
        ),
    ]);
}

#[test]
fn a_ready_server_that_asks_to_be_started_again_is_no_clone() {
    let decision = minion_when(|seen| {
        container_is(seen, ContainerState::Exited(exit(ExitStatus::Code(16))));
    });
    assert!(!decision.steps.iter().any(|step| matches!(step, Step::Mark { .. })));
}

#[test]
fn what_clone_left_must_prove_itself() {
    let after = |change: fn(&mut InstanceObservation)| {
        minion_when(|seen| {
            seeded(seen);
            change(seen);
        })
    };
    table([
        (
            "complete",
            after(|_| {}),
            Bootstrapping,
            &["replicate from 127.0.0.1:7001", "start replication"],
            Nothing,
        ),
        (
            "complete, its source silent",
            after(|seen| {
                if let Observed::Present(source) = &mut seen.source {
                    source.server = unknown();
                }
            }),
            Bootstrapping,
            &[],
            Waits("waiting for 127.0.0.1:7001 to answer"),
        ),
        (
            "crashed while it was completed",
            after(|seen| {
                container_is(seen, ContainerState::Exited(exit(ExitStatus::Signal(6))));
            }),
            Bootstrapping,
            &[
                "note the server's end (signal 6)",
                "remove container",
                "mark data directory seeding from 127.0.0.1:7001",
            ],
            Nothing,
        ),
    ]);
}

#[test]
fn an_unproven_seed_is_ended_before_it_is_marked() {
    let unproven = minion_when(|seen| {
        seeded(seen);
        server(seen).snapshot.clone = None;
    });
    let ends = |step: &Step| matches!(step, Step::StopContainer { .. });
    let unmarks = |step: &Step| matches!(step, Step::Mark { .. });
    let stop = unproven.steps.iter().position(ends);
    let unmark = unproven.steps.iter().position(unmarks);
    assert!(
        stop < unmark,
        "a server that runs must not be marked as seeding: {:?}",
        unproven.steps
    );
}

#[test]
fn a_clone_that_is_done_is_not_done_again_after_a_kill() {
    let decision = minion_when(|seen| {
        seeded(seen);
        container(seen).purpose = Some(Purpose::Seed);
        container_is(seen, ContainerState::Exited(exit(ExitStatus::Code(16))));
    });
    table([(
        "killed after the mark",
        decision,
        Bootstrapping,
        &["remove container", "start container"],
        Nothing,
    )]);
}

#[test]
fn a_seed_is_marked_ready_and_opened_once_it_replicates() {
    let decision = minion_when(|seen| {
        marker(seen).state = DataState::Seeded { from: "127.0.0.1:7001".into() };
        marker(seen).role = None;
        server(seen).snapshot.offline_mode = true;
    });
    table([("replicating", decision, Minion, &["mark data directory ready", "serve"], Nothing)]);
}

#[test]
fn no_empty_master_is_made_of_a_seed() {
    let scene = Scene::converged().wants(&[master("db2", 7002)]).sees(MINION, |seen| {
        seeding(seen);
        seen.source = Observed::Absent;
    });
    table([(
        "a master now",
        scene.decide(MINION),
        Bootstrapping,
        &[],
        Blocked("its seed is not complete; no empty master is made of it"),
    )]);
}
