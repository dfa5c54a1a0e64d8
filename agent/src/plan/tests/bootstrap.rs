//! The first data of an instance, and what must not be made.

use berth_model::status::InstanceState::{Absent, Bootstrapping};

use super::scene::{
    Says::{Blocked, Nothing, Waits},
    *,
};
use crate::{
    data::{DataState, Origin},
    mysql::CloneState,
    observe::Purpose,
    plan::{Peer, Step, Verb},
    testing::{
        entries::{master, minion},
        key,
    },
};

#[test]
fn a_masters_first_data_is_ready_and_a_minions_is_not() {
    let scene = Scene::bare(&entries());
    for (name, state, origin, purpose) in [
        (MASTER, DataState::Ready, Origin::Initialised, Purpose::Serve),
        (
            MINION,
            DataState::Seeding { from: "127.0.0.1:7001".into() },
            Origin::Cloned,
            Purpose::Seed,
        ),
    ] {
        let steps = scene.decide(name).steps;
        let [Step::CreateData { marker, instance_dir, .. }, Step::StartContainer { spec, .. }] =
            &steps[..]
        else {
            panic!("{name}: {steps:?}")
        };
        assert_eq!((&marker.state, marker.origin, marker.role), (&state, origin, None));
        assert_eq!(marker.instance, key(name));
        assert!(instance_dir.ends_with(format!("h1-{name}")), "{}", instance_dir.display());
        assert_eq!(spec.labels["berth.purpose"], purpose.label());
        let reachable = !spec.args.iter().any(|arg| arg == "--skip-networking=ON");
        assert_eq!(reachable, purpose == Purpose::Serve);
    }
}

#[test]
fn no_empty_master_is_made_beside_another() {
    let elsewhere = |entry| Scene::bare(&[master("db1", 7001), entry]);
    let other = || master("db7", 7007).on("h2");
    table([
        (
            "another host's master",
            elsewhere(other()).decide(MASTER),
            Absent,
            &[],
            Blocked("h2-db7 is a master of cluster orders already"),
        ),
        (
            "that of another cluster",
            elsewhere(other().with("cluster", "x")).decide(MASTER),
            Absent,
            &["create data directory", "start container"],
            Nothing,
        ),
        (
            "a removed one",
            elsewhere(other().state("removed")).decide(MASTER),
            Absent,
            &["create data directory", "start container"],
            Nothing,
        ),
        (
            "a disabled one of this host",
            elsewhere(master("db7", 7007).disabled()).decide(MASTER),
            Absent,
            &[],
            Blocked("h1-db7 is a master of cluster orders already"),
        ),
    ]);
}

#[test]
fn one_clone_per_donor_at_a_time() {
    let all = [master("db1", 7001), minion("db2", 7002, 7001), minion("db3", 7003, 7001)];
    let both_seed = || {
        let scene = Scene::converged();
        let minion = scene.observation.instances[&key(MINION)].clone();
        let scene = scene.wants(&all).with(|scene| {
            scene.observation.instances.insert(key("db3"), minion);
        });
        scene.sees("db2", seeding).sees("db3", seeding)
    };
    let running = both_seed().sees("db3", |seen| clone_is(seen, CloneState::Running, "Completed"));
    let asking = both_seed().with(|scene| {
        let words = Verb::Clone {
            donor: Peer {
                host: "127.0.0.1".parse().unwrap(),
                port: 7001,
                cluster: "orders".parse().unwrap(),
            },
        }
        .to_string();
        scene.observation.busy.insert("h1-db3".into(), words);
    });
    let waits = Waits("waiting for the donor 127.0.0.1:7001, from which another is being cloned");
    table([
        (
            "the first",
            both_seed().decide("db2"),
            Bootstrapping,
            &["clone from 127.0.0.1:7001"],
            Nothing,
        ),
        ("the second", both_seed().decide("db3"), Bootstrapping, &[], waits),
        ("the first, the second at work", running.decide("db2"), Bootstrapping, &[], waits),
        ("the first, the second being asked", asking.decide("db2"), Bootstrapping, &[], waits),
    ]);
}
