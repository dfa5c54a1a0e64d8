//! Which read-only server may become the writable master, and which may never.

use berth_model::{
    goal::Role,
    status::InstanceState::{self, Promoting},
};

use super::role::booted;
use super::scene::{
    Says::{Blocked, Nothing},
    *,
};
use crate::{
    data::Origin,
    observe::{InstanceObservation, Observed},
    plan::Decision,
    testing::{
        entries::{Entry, master, minion},
        key,
    },
};

/// The master of a converged host after a restart, beside another instance of its cluster
/// that is seen like this.
fn beside(entry: &Entry, rival: impl FnOnce(&mut InstanceObservation)) -> Decision {
    let scene = Scene::converged();
    let mut seen = scene.observation.instances[&key(MASTER)].clone();
    rival(&mut seen);
    let scene = scene.wants(&[master(MASTER, 7001), entry.clone()]).with(|scene| {
        scene.observation.instances.insert(key("db7"), seen);
    });
    scene.sees(MASTER, booted).decide(MASTER)
}

#[test]
fn no_master_takes_writes_while_another_might() {
    const GATE: InstanceState = Promoting;
    let minion = minion("db7", 7007, 7001);
    let stopped = minion.clone().state("stopped");
    let removed = minion.clone().state("removed");
    let says = Blocked("h1-db7");
    let open = &["take writes", "serve"][..];
    let down = |seen: &mut InstanceObservation| {
        (seen.container, seen.server) = (Observed::Absent, Observed::Absent);
    };
    let late = |seen: &mut InstanceObservation| {
        (seen.container, seen.server, seen.data) = (unknown(), unknown(), unknown());
    };
    table([
        ("a master of old that is writable", beside(&minion, |_| {}), GATE, &[], says),
        ("it is to stop, and still runs", beside(&stopped, |_| {}), GATE, &[], says),
        ("it is to go, and still runs", beside(&removed, |_| {}), GATE, &[], says),
        ("it does not answer", beside(&minion, |seen| seen.server = unknown()), GATE, &[], says),
        (
            "its container is unknown",
            beside(&minion, |seen| {
                (seen.container, seen.server) = (unknown(), Observed::Absent);
            }),
            GATE,
            &[],
            says,
        ),
        (
            "its directory is unknown",
            beside(&minion, |seen| seen.data = unknown()),
            GATE,
            &[],
            says,
        ),
        ("nothing of it could be found out", beside(&minion, late), GATE, &[], says),
        (
            "it is read-only",
            beside(&minion, |seen| server(seen).snapshot.super_read_only = true),
            GATE,
            open,
            Nothing,
        ),
        ("it is down", beside(&minion, down), GATE, open, Nothing),
        (
            "it never was a master",
            beside(&minion, |seen| {
                seen.server = unknown();
                marker(seen).role = Some(Role::Minion);
            }),
            GATE,
            open,
            Nothing,
        ),
    ]);
}

#[test]
fn a_master_whose_lane_is_at_work_might_be_taking_writes() {
    let scene = Scene::converged();
    let rival = scene.observation.instances[&key(MASTER)].clone();
    let scene = scene
        .wants(&[master(MASTER, 7001), minion("db7", 7007, 7001)])
        .with(|scene| {
            scene.observation.instances.insert(key("db7"), rival);
            scene.observation.busy.insert("h1-db7".into(), "set sync_binlog=1".into());
        })
        .sees(MASTER, booted)
        .sees("db7", booted);
    table([(
        "its promotion is under way",
        scene.decide(MASTER),
        Promoting,
        &[],
        Blocked("h1-db7"),
    )]);
}

#[test]
fn the_gate_is_for_servers_that_never_replicated() {
    let gate = |change: fn(&mut InstanceObservation)| {
        master_when(|seen| {
            booted(seen);
            change(seen);
        })
    };
    table([
        (
            "cloned, and has been the master",
            gate(|seen| marker(seen).origin = Origin::Cloned),
            Promoting,
            &["take writes", "serve"],
            Nothing,
        ),
        (
            "cloned, and never served",
            gate(|seen| {
                (marker(seen).origin, marker(seen).role) = (Origin::Cloned, None);
            }),
            Promoting,
            &[],
            Blocked("its data was cloned from a master"),
        ),
        (
            "was a minion",
            gate(|seen| marker(seen).role = Some(Role::Minion)),
            Promoting,
            &[],
            Blocked("it was a minion"),
        ),
    ]);
}

#[test]
fn a_cloned_directory_makes_no_master() {
    let scene = Scene::converged().wants(&[master("db2", 7002)]);
    let as_master = |change: fn(&mut InstanceObservation)| {
        let scene = scene.clone().sees(MINION, change);
        scene.decide(MINION)
    };
    table([
        (
            "it replicates",
            as_master(|_| {}),
            Promoting,
            &[],
            Blocked("it replicates from 127.0.0.1:7001"),
        ),
        (
            "its data was cloned",
            as_master(|seen| {
                server(seen).snapshot.replica = None;
                marker(seen).role = None;
            }),
            Promoting,
            &[],
            Blocked("its data was cloned from a master"),
        ),
        (
            "it was a minion",
            as_master(|seen| {
                server(seen).snapshot.replica = None;
                marker(seen).origin = Origin::Initialised;
            }),
            Promoting,
            &[],
            Blocked("it was a minion"),
        ),
        (
            "its data is unknown",
            as_master(|seen| seen.data = unknown()),
            InstanceState::Minion,
            &[],
            Blocked("can't be found out"),
        ),
    ]);
}
