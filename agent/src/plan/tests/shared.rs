//! Work that several instances wait for: images and templates.

use berth_model::status::{InstanceState::Absent, LastStep};

use super::scene::{
    MASTER, MINION,
    Says::{Blocked, Waits},
    Scene, entries, no_container, table, unknown,
};
use crate::{
    observe::Observed,
    plan::{Plan, Step, shared},
    testing::{
        config,
        entries::master,
        world::{DIGEST, World},
    },
};

fn host(unpacked: bool, template: bool) -> Scene {
    let mut world = World::new(config(), &entries());
    (world.unpacked, world.template) = (unpacked, template);
    Scene::of(&crate::testing::agent::Agent::new(world))
}

fn lanes(plan: &Plan) -> Vec<String> {
    plan.shared.keys().cloned().collect()
}

fn image() -> String {
    shared::image_lane(DIGEST)
}

fn template() -> String {
    shared::template_lane(DIGEST)
}

/// The scene, in which this lane's last step failed.
fn failing(scene: Scene, lane: &str) -> Scene {
    scene.with(|scene| {
        let now = scene.now;
        let remembered = scene.journal.entry(lane.to_owned()).or_default();
        remembered.failed(now, 0.0);
        remembered.last_step = Some(LastStep {
            step: "some step".into(),
            at: now,
            error: vec!["outer".into(), "inner".into()],
        });
    })
}

#[test]
fn instances_wait_for_the_image_then_for_the_template() {
    let (packed, unpacked) = (host(false, false), host(true, false));
    assert_eq!(lanes(&packed.plan()), [image()]);
    assert_eq!(lanes(&unpacked.plan()), [template()]);
    assert_eq!(lanes(&host(true, true).plan()), [""; 0]);
    let fails = Blocked("which fails: outer: inner");
    table([
        (
            "to be unpacked, a master",
            packed.decide(MASTER),
            Absent,
            &[],
            Waits("image berth/mysql:9.7 to be unpacked"),
        ),
        (
            "to be unpacked, a minion",
            packed.decide(MINION),
            Absent,
            &[],
            Waits("image berth/mysql:9.7 to be unpacked"),
        ),
        ("no template", unpacked.decide(MASTER), Absent, &[], Waits("a template data directory")),
        ("unpacking fails", failing(packed.clone(), &image()).decide(MASTER), Absent, &[], fails),
        (
            "no template can be made",
            failing(unpacked.clone(), &template()).decide(MINION),
            Absent,
            &[],
            fails,
        ),
    ]);
}

#[test]
fn a_shared_lane_waits_for_its_retry_and_for_itself() {
    for (scene, lane) in [(host(false, false), image()), (host(true, false), template())] {
        let later = failing(scene.clone(), &lane);
        assert_eq!(lanes(&later.plan()), [""; 0], "{lane} is tried again before its time");
        let due = later.clone().with(|scene| scene.now = scene.journal[&lane].retry_at.unwrap());
        assert_eq!(lanes(&due.plan()), std::slice::from_ref(&lane));
        let busy = scene.with(|scene| {
            scene.observation.busy.insert(lane.clone(), "unpack".into());
        });
        assert_eq!(lanes(&busy.plan()), [""; 0], "{lane} is at work");
    }
}

#[test]
fn nothing_is_made_that_no_started_instance_needs() {
    let [first, second] = entries();
    let stopped = [first.state("stopped"), second.state("removed")];
    for (name, scene) in [
        ("nothing started", host(false, false).wants(&stopped)),
        (
            "all have data",
            Scene::converged().sees(MASTER, no_container).with(|scene| {
                for image in scene.observation.images.values_mut() {
                    if let Observed::Present(image) = image {
                        image.tree.as_mut().unwrap().template = false;
                    }
                }
            }),
        ),
        (
            "the containers are unknown",
            host(false, false)
                .sees(MASTER, |seen| seen.container = unknown())
                .sees(MINION, |seen| seen.container = unknown()),
        ),
        (
            "the image is unknown",
            host(false, false).with(|scene| {
                for image in scene.observation.images.values_mut() {
                    *image = unknown();
                }
            }),
        ),
    ] {
        assert_eq!(lanes(&scene.plan()), [""; 0], "{name}");
    }
}

#[test]
fn a_template_is_made_without_a_network_of_its_own_data() {
    let mut plan = host(true, false).plan();
    let steps = plan.shared.remove(&template()).unwrap();
    let [Step::MakeTemplate { dir, init, spec, .. }] = &steps[..] else { panic!("{steps:?}") };
    assert!(dir.starts_with("/var/lib/berth/data/.templates"), "{}", dir.display());
    assert!(init.0.starts_with(dir) && init.1.contains("auth_socket"));
    assert!(spec.args.iter().any(|arg| arg == "--initialize-insecure"), "{:?}", spec.args);
}

#[test]
fn each_image_has_its_own_lane() {
    let other = master("db7", 7007).with("cluster", "x").with("image", "berth/mysql:8.4");
    let mut world = World::new(config(), &[master("db1", 7001), other]);
    (world.unpacked, world.template) = (false, false);
    let mut scene = Scene::of(&crate::testing::agent::Agent::new(world));
    if let Some(Observed::Present(image)) = scene.observation.images.get_mut("berth/mysql:8.4") {
        image.config_digest = DIGEST.replace("sha256:0123", "sha256:4567");
    }
    assert_eq!(lanes(&scene.plan()).len(), 2);
}

/// A host whose goals' images are in a registry only.
fn far_away(change: impl FnOnce(&mut World)) -> Scene {
    let mut config = config();
    config.image = FAR.to_owned();
    let mut world = World::new(config, &entries());
    world.pulled = false;
    change(&mut world);
    Scene::of(&crate::testing::agent::Agent::new(world))
}

const FAR: &str = "registry.lan/mysql:8.4";

#[test]
fn instances_wait_for_the_image_to_be_pulled() {
    let far = far_away(|_| {});
    let lane = format!("pull:{FAR}");
    assert_eq!(lanes(&far.plan()), std::slice::from_ref(&lane));
    let pulling = far.clone().with(|scene| {
        let words = format!("pull image {FAR}, 45% of 190 MiB");
        scene.observation.busy.insert(lane.clone(), words);
    });
    assert_eq!(lanes(&pulling.plan()), [""; 0]);
    let fails = failing(far.clone(), &lane);
    assert_eq!(lanes(&fails.plan()), [""; 0], "not before its retry is due");
    let forbidden = far_away(|world| world.config.registries.by_agent = false);
    assert_eq!(lanes(&forbidden.plan()), [""; 0]);
    table([
        (
            "not begun",
            far.decide(MASTER),
            Absent,
            &[],
            Waits("waiting for image registry.lan/mysql:8.4 to be pulled"),
        ),
        (
            "under way",
            pulling.decide(MINION),
            Absent,
            &[],
            Waits("image registry.lan/mysql:8.4 to be pulled, 45% of 190 MiB"),
        ),
        (
            "failing",
            fails.decide(MASTER),
            Absent,
            &[],
            Blocked("to be pulled, which fails: outer: inner"),
        ),
        (
            "forbidden",
            forbidden.decide(MASTER),
            Absent,
            &[],
            Blocked("image registry.lan/mysql:8.4 is not on this host"),
        ),
    ]);
}

#[test]
fn only_so_many_pulls_are_under_way() {
    let three = |busy: usize| {
        let mut config = config();
        config.image = FAR.to_owned();
        let entries = ["a", "b", "c"].map(|name| {
            let port = 7000 + u16::from(name.as_bytes()[0]);
            let image = format!("registry.lan/{name}:1");
            master(name, port).with("cluster", name).with("image", image)
        });
        let mut world = World::new(config, &entries);
        world.pulled = false;
        let scene = Scene::of(&crate::testing::agent::Agent::new(world));
        scene.with(|scene| {
            for number in 0..busy {
                scene.observation.busy.insert(format!("pull:x/{number}"), String::new());
            }
        })
    };
    assert_eq!(lanes(&three(0).plan()), ["pull:registry.lan/a:1", "pull:registry.lan/b:1"]);
    assert_eq!(lanes(&three(1).plan()).len(), 1);
    assert_eq!(lanes(&three(2).plan()).len(), 0);
    // One that waits for its retry takes no other's place.
    let failed = failing(three(0), "pull:registry.lan/a:1");
    assert_eq!(lanes(&failed.plan()), ["pull:registry.lan/b:1", "pull:registry.lan/c:1"]);
}
