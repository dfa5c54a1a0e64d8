//! What a host must have for a container, and what of a running one can be changed.

use berth_model::status::InstanceState::{Absent, Down, Master};

use super::scene::{
    Says::{Blocked, Nothing, Waits},
    *,
};
use crate::{
    observe::{Observed, TreeFacts},
    plan::Step,
};

/// The master, whose goal has another field.
pub(super) fn changed(field: &str, value: impl Into<serde_json::Value>) -> Scene {
    let [entry, minion] = entries();
    Scene::converged().wants(&[entry.with(field, value), minion])
}

#[test]
fn an_image_must_be_fit_to_start_from() {
    let down = |change: &dyn Fn(&mut Scene)| {
        let scene = Scene::converged().sees(MASTER, no_container);
        scene.with(|scene| change(scene)).decide(MASTER)
    };
    let image =
        |scene: &mut Scene, image| scene.observation.images.insert("berth/mysql:9.7".into(), image);
    let tree = |change: &dyn Fn(&mut TreeFacts)| {
        down(&|scene| {
            for found in scene.observation.images.values_mut() {
                let Observed::Present(found) = found else { continue };
                change(found.tree.as_mut().unwrap());
            }
        })
    };
    table([
        (
            "absent",
            down(&|scene| {
                image(scene, Observed::Absent);
            }),
            Down,
            &[],
            Blocked("image berth/mysql:9.7 is not on this host"),
        ),
        (
            "unknown",
            down(&|scene| {
                image(scene, unknown());
            }),
            Down,
            &[],
            Blocked("image berth/mysql:9.7 can't be examined: the probe's reason"),
        ),
        (
            "never looked at",
            down(&|scene| scene.observation.images.clear()),
            Down,
            &[],
            Blocked("is not on this host"),
        ),
        ("without mysqld", tree(&|tree| tree.mysqld = None), Down, &[], Blocked("has no mysqld")),
        (
            "without a user",
            tree(&|tree| tree.owner = None),
            Down,
            &[],
            Blocked("has no user mysql"),
        ),
        (
            "without a template",
            tree(&|tree| tree.template = false),
            Down,
            &["start container"],
            Nothing,
        ),
    ]);
}

#[test]
fn what_a_host_lacks_blocks_with_the_reason() {
    let absent = || Scene::bare(&entries());
    let port = || Observed::Present("127.0.0.1:7001".parse().unwrap());
    table([
        (
            "the disk is full",
            absent().sees(MASTER, |seen| disk(seen).free_bytes = 511 << 20).decide(MASTER),
            Absent,
            &[],
            Blocked("511 MiB free, expected at least 512 MiB"),
        ),
        (
            "how full the disk is, is unknown",
            absent().sees(MASTER, |seen| seen.disk = unknown()).decide(MASTER),
            Absent,
            &[],
            Blocked("can't be found out: the probe's reason"),
        ),
        (
            "port taken before the data is made",
            absent().sees(MASTER, |seen| seen.port_taken = port()).decide(MASTER),
            Absent,
            &[],
            Blocked("port 7001 is in use by a stranger"),
        ),
        (
            "port taken before a start",
            master_when(|seen| {
                no_container(seen);
                seen.port_taken = port();
            }),
            Down,
            &[],
            Blocked("port 7001 is in use by a stranger"),
        ),
    ]);
}

#[test]
fn limits_that_cannot_be_set_block_a_start() {
    let small = || changed("size", "1/256").sees(MASTER, no_container);
    let io = || changed("io", serde_json::json!({ "write_bps": "10MiB/s" }));
    let no_disk = |scene: Scene| scene.sees(MASTER, |seen| seen.disk = unknown());
    table([
        ("too little memory", small().decide(MASTER), Down, &[], Blocked("too few for a server")),
        (
            "io limits on an unknown disk",
            no_disk(io()).sees(MASTER, no_container).decide(MASTER),
            Down,
            &[],
            Blocked("the goal limits io, but the disk of"),
        ),
        (
            "io limits on an unknown disk, and running",
            no_disk(io()).decide(MASTER),
            Master,
            &[],
            Nothing,
        ),
    ]);
}

/// A weight alone needs no disk, and what can't be limited is told.
#[test]
fn limits_of_an_unknown_disk_are_told_while_running() {
    let of = |io: serde_json::Value| {
        let scene = changed("io", io).sees(MASTER, |seen| seen.disk = unknown());
        scene.decide(MASTER)
    };
    let rates = of(serde_json::json!({ "write_bps": "10MiB/s" }));
    let told = rates.notes.iter().find(|note| note.starts_with("its limits stay as they are: "));
    assert!(told.is_some_and(|note| note.contains("can't be found out")), "{:?}", rates.notes);
    let weight = of(serde_json::json!({ "weight": 50 }));
    assert_eq!((weight.steps.len(), weight.notes.len()), (1, 0), "{weight:?}");
}

#[test]
fn every_limit_of_a_goal_is_passed_on() {
    let scene = changed("cpu", serde_json::json!({ "cores": 2.5, "weight": 7, "cpuset": "8,0-3" }))
        .decide(MASTER);
    let [Step::SetLimits { limits, .. }] = &scene.steps[..] else { panic!("{:?}", scene.steps) };
    assert_eq!(limits.cpuset.as_deref(), Some("0-3,8"));
    assert_eq!(
        (limits.cpu_weight, limits.cpu_max.map(|max| max.quota_us)),
        (Some(7), Some(250_000))
    );
    let others = [
        ("memory", serde_json::json!({ "high": "3584MiB" })),
        ("pids", 4096.into()),
        ("io", serde_json::json!({ "weight": 50 })),
    ];
    let given =
        others.map(|(field, value)| match &changed(field, value).decide(MASTER).steps[..] {
            [Step::SetLimits { limits, .. }] => {
                (limits.memory_high_bytes, limits.pids_max, limits.io_weight)
            }
            other => panic!("{field}: {other:?}"),
        });
    let [memory, pids, io] = given;
    assert_eq!(memory, (Some(3584 << 20), None, None));
    assert_eq!((pids, io), ((None, Some(4096), None), (None, None, Some(50))));
}

#[test]
fn a_port_of_which_nothing_is_known_is_not_free() {
    let absent = Scene::bare(&entries()).sees(MASTER, |seen| seen.port_taken = unknown());
    let decision = absent.decide(MASTER);
    assert_eq!(decision.state, Absent);
    assert!(decision.steps.is_empty(), "{:?}", decision.steps);
}

#[test]
fn limits_change_while_the_server_runs() {
    for (field, value) in [
        ("cpu", serde_json::json!({ "cores": 1.5, "weight": 200 })),
        ("io", serde_json::json!({ "write_bps": "10MiB/s", "read_iops": 500 })),
        ("cpu", serde_json::json!({ "cpuset": "0-3,8" })),
        ("io", serde_json::json!({ "weight": 50 })),
        ("memory", serde_json::json!({ "high": "3584MiB" })),
        ("pids", 4096.into()),
    ] {
        let scene = changed(field, value);
        let decision = scene.decide(MASTER);
        let [Step::SetLimits { limits, .. }] = &decision.steps[..] else {
            panic!("{field}: {:?}", decision.steps)
        };
        let limits = (**limits).clone();
        table([
            (field, decision, Master, &["change limits"], Nothing),
            (
                "the same limits again",
                scene.sees(MASTER, |seen| container(seen).limits = limits).decide(MASTER),
                Master,
                &[],
                Nothing,
            ),
        ]);
    }
    let left = master_when(|seen| container(seen).limits.cpu_weight = Some(7));
    table([("a limit that the goal no longer has", left, Master, &["change limits"], Nothing)]);
}

#[test]
fn only_a_new_container_has_another_port_or_image() {
    let stop = &["stop container", "remove container"][..];
    let [entry, minion] = entries();
    let other_minion = Scene::converged().wants(&[entry, minion.with("port", 7003)]);
    let image = changed("image", "berth/mysql:8.4").with(|scene| {
        let same = scene.observation.images["berth/mysql:9.7"].clone();
        scene.observation.images.insert("berth/mysql:8.4".into(), same);
    });
    let variables = changed("variables", serde_json::json!({ "max_connections": 7 }));
    table([
        ("port", changed("port", 7011).decide(MASTER), Down, PARTS_AND_STOPS, Nothing),
        ("image", image.decide(MASTER), Down, PARTS_AND_STOPS, Nothing),
        ("a minion's port", other_minion.decide(MINION), Down, stop, Nothing),
        ("variables", variables.decide(MASTER), Master, &[], Nothing),
    ]);
}

#[test]
fn a_server_is_not_ended_for_a_goal_that_cannot_be_met() {
    let port = || Observed::Present("127.0.0.1:7011".parse().unwrap());
    let taken = changed("port", 7011).sees(MASTER, |seen| seen.port_taken = port());
    let lax = taken.clone().sees(MASTER, |seen| server(seen).snapshot.held.sync_binlog = 0);
    let packed = changed("port", 7011).with(|scene| {
        for image in scene.observation.images.values_mut() {
            if let Observed::Present(image) = image {
                image.tree = None;
            }
        }
    });
    let why = "so the old one runs on";
    table([
        (
            "no such image",
            changed("image", "berth/mysql:typo").decide(MASTER),
            Master,
            &[],
            Blocked("image berth/mysql:typo is not on this host"),
        ),
        (
            "too little memory",
            changed("size", "1/256").decide(MASTER),
            Master,
            &[],
            Blocked("so it keeps the one it has: 256 MiB of memory are too few"),
        ),
        ("the port is taken", taken.decide(MASTER), Master, &[], Blocked("port 7011 is in use")),
        (
            "and its variables are held",
            lax.decide(MASTER),
            Master,
            &["set sync_binlog=1"],
            Blocked(why),
        ),
        (
            "the image is yet to be unpacked",
            packed.decide(MASTER),
            Master,
            &[],
            Waits("to be unpacked"),
        ),
    ]);
}
