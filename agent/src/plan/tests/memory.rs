//! The memory of a running server follows its goal's size. The scene's master has 4 GiB, of
//! which 2560 MiB are its pool, in 2 instances of 128 MiB chunks.

use berth_model::status::InstanceState::{
    Bootstrapping, Down, Master, Minion, Starting, Unresponsive,
};

use super::{
    host::changed,
    scene::{
        Says::{Blocked, Nothing, Waits},
        *,
    },
};
use crate::{
    mysql::BufferPool,
    observe::{InstanceObservation, Observed},
    plan::{Decision, Step, Verb},
    testing::key,
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn pool(seen: &mut InstanceObservation) -> &mut BufferPool {
    &mut server(seen).snapshot.pool
}

/// Its pool has this size, and has reached it.
fn pool_is(seen: &mut InstanceObservation, mib: u64) {
    let pool = pool(seen);
    (pool.size, pool.allocated) = (mib * MIB, mib * MIB);
}

/// The master, whose goal has another size, seen otherwise.
fn sized(size: &str, see: impl FnOnce(&mut InstanceObservation)) -> Decision {
    changed("size", size).sees(MASTER, see).decide(MASTER)
}

/// The memory limit that the only step sets.
fn limit(decision: &Decision) -> Option<u64> {
    match &decision.steps[..] {
        [Step::SetLimits { limits, .. }] => limits.memory_max_bytes,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_larger_size_is_a_limit_first_and_a_pool_then() {
    let limited = |seen: &mut InstanceObservation| {
        container(seen).limits.memory_max_bytes = Some(8 * GIB);
    };
    table([
        ("the limit", sized("8GiB", |_| {}), Master, &["change limits"], Nothing),
        (
            "the pool",
            sized("8GiB", limited),
            Master,
            &["set innodb_buffer_pool_size=5905580032"],
            Nothing,
        ),
        (
            "the pool grows",
            sized("8GiB", |seen| {
                limited(seen);
                pool(seen).size = 5632 * MIB;
            }),
            Master,
            &[],
            Nothing,
        ),
        (
            "another size meanwhile",
            sized("9GiB", |seen| {
                container(seen).limits.memory_max_bytes = Some(9 * GIB);
                pool(seen).size = 5632 * MIB;
            }),
            Master,
            &[],
            Waits("waiting for the buffer pool to become 5632MiB, it is 2560MiB"),
        ),
        (
            "done",
            sized("8GiB", |seen| {
                limited(seen);
                pool_is(seen, 5632);
            }),
            Master,
            &[],
            Nothing,
        ),
    ]);
    assert_eq!(limit(&sized("8GiB", |_| {})), Some(8 * GIB));
}

#[test]
fn a_smaller_size_is_a_pool_first_and_a_limit_last() {
    let fits = |seen: &mut InstanceObservation| {
        pool_is(seen, 1024);
        container(seen).pinned_bytes = Observed::Present(1984 * MIB);
    };
    table([
        (
            "the pool",
            sized("2GiB", |_| {}),
            Master,
            &["set innodb_buffer_pool_size=1073741824"],
            Waits("its buffer pool has to shrink from 2560MiB to 1GiB"),
        ),
        (
            "the pool shrinks",
            sized("2GiB", |seen| pool(seen).size = GIB),
            Master,
            &[],
            Waits("its buffer pool has to shrink from 2560MiB to 1GiB"),
        ),
        (
            "more is in use",
            sized("2GiB", |seen| {
                fits(seen);
                container(seen).pinned_bytes = Observed::Present(1985 * MIB);
            }),
            Master,
            &[],
            Waits(
                "from 4GiB to 2GiB: 1985 MiB are in use that can't be taken back, at most 1984 MiB \
                 may be",
            ),
        ),
        (
            "what is in use is unknown",
            sized("2GiB", |seen| {
                fits(seen);
                container(seen).pinned_bytes = unknown();
            }),
            Master,
            &[],
            Waits("what it uses can't be found out: the probe's reason"),
        ),
        ("it fits", sized("2GiB", fits), Master, &["change limits"], Nothing),
        (
            "no limits on this host",
            sized("2GiB", |seen| {
                fits(seen);
                container(seen).pinned_bytes = Observed::Absent;
            }),
            Master,
            &["change limits"],
            Nothing,
        ),
        (
            "a limit that is lost",
            sized("2GiB", |seen| {
                fits(seen);
                container(seen).limits.memory_max_bytes = None;
            }),
            Master,
            &["change limits"],
            Nothing,
        ),
        (
            "done",
            sized("2GiB", |seen| {
                fits(seen);
                container(seen).limits.memory_max_bytes = Some(2 * GIB);
            }),
            Master,
            &[],
            Nothing,
        ),
    ]);
    assert_eq!(limit(&sized("2GiB", fits)), Some(2 * GIB));
}

/// Started large, a server can't be made as small as one that is started small.
#[test]
fn what_was_fixed_at_the_start_can_keep_a_limit_up() {
    let coarse = sized("1GiB", |seen| {
        pool(seen).fixed.instances = 4;
        pool_is(seen, 512);
        container(seen).pinned_bytes = Observed::Present(1012 * MIB);
    });
    table([(
        "one chunk for each instance",
        coarse,
        Master,
        &[],
        Waits("1012 MiB are in use that can't be taken back, at most 992 MiB may be"),
    )]);
    let told = sized("1GiB", |seen| {
        pool(seen).fixed.instances = 8;
        pool_is(seen, 1024);
        container(seen).pinned_bytes = Observed::Present(1500 * MIB);
    });
    assert!(told.waiting.unwrap().ends_with("can't be smaller until it is stopped and started"));
}

#[test]
fn who_starts_is_seeded_or_does_not_answer_keeps_its_memory() {
    let silent = |seen: &mut InstanceObservation| seen.server = unknown();
    let starting = |size: &str| {
        let scene = changed("size", size).sees(MASTER, silent);
        scene.remembers(MASTER, |remembered| remembered.state = None).decide(MASTER)
    };
    let seeded = |size: &str| {
        let [entry, minion] = entries();
        let scene = Scene::converged().wants(&[entry, minion.with("size", size)]);
        let decision = scene.sees(MINION, seeding).decide(MINION);
        assert!(!decision.steps.iter().any(|step| matches!(step, Step::SetLimits { .. })));
        decision.state
    };
    table([
        ("starting, larger", starting("8GiB"), Starting, &[], Waits("the probe's reason")),
        ("starting, smaller", starting("2GiB"), Starting, &[], Waits("the probe's reason")),
        (
            // It may hang for want of memory.
            "unresponsive, larger",
            sized("8GiB", silent),
            Master,
            &["change limits"],
            Nothing,
        ),
        (
            "unresponsive, smaller",
            sized("2GiB", silent),
            Unresponsive,
            &[],
            Blocked("does not answer"),
        ),
    ]);
    assert_eq!(["8GiB", "2GiB"].map(seeded), [Bootstrapping; 2]);
}

#[test]
fn a_minion_is_resized_like_a_master_and_whatever_ails_it() {
    let [entry, minion] = entries();
    let scene = Scene::converged().wants(&[entry, minion.with("size", "2GiB")]);
    let pool = "set innodb_buffer_pool_size=1073741824";
    let away = scene.clone().sees(MINION, super::role::silent_source).decide(MINION);
    let errant = scene.clone().sees(MINION, |seen| {
        server(seen).snapshot.gtid_executed = stranger();
    });
    table([
        (
            "all right",
            scene.decide(MINION),
            Minion,
            &[pool],
            Waits("its buffer pool has to shrink"),
        ),
        ("its source is away", away, Minion, &[pool], Waits("its buffer pool has to shrink")),
    ]);
    let errant = errant.decide(MINION);
    assert!(errant.blocked.is_some() && errant.steps.last().unwrap().to_string() == pool);
    assert!(errant.notes.iter().any(|note| note.contains("its buffer pool has to shrink")));
}

/// The host has 64 GiB; the minion still has 40 of them.
#[test]
fn nobody_grows_into_what_another_still_has() {
    let [entry, minion] = entries();
    let wants = [entry.with("size", "48GiB"), minion.with("size", "8GiB")];
    let scene = Scene::converged().wants(&wants).sees(MINION, |seen| {
        container(seen).limits.memory_max_bytes = Some(40 * GIB);
    });
    let unseen = scene.clone().sees(MINION, |seen| seen.container = unknown());
    let ended = scene.clone().sees(MINION, no_container);
    table([
        (
            "it has it yet",
            scene.decide(MASTER),
            Master,
            &[],
            Waits("to grow from 4GiB to 48GiB, and the limits of the other instances leave 24GiB"),
        ),
        ("it ended", ended.decide(MASTER), Master, &["change limits"], Nothing),
        ("unknown: its goal's size", unseen.decide(MASTER), Master, &["change limits"], Nothing),
    ]);
}

#[test]
fn the_pool_is_held_and_a_slower_limit_waits_for_the_size() {
    table([(
        "changed by hand",
        master_when(|seen| pool_is(seen, 256)),
        Master,
        &["set innodb_buffer_pool_size=2684354560"],
        Nothing,
    )]);
    let [entry, minion] = entries();
    let high = serde_json::json!({ "high": "1700MiB" });
    let wants = [entry.with("size", "2GiB").with("memory", high), minion];
    let scene = Scene::converged().wants(&wants);
    let shrinking = scene.decide(MASTER);
    assert!(!shrinking.steps.iter().any(|step| matches!(step, Step::SetLimits { .. })));
    let fits = scene.sees(MASTER, |seen| {
        pool_is(seen, 1024);
        container(seen).pinned_bytes = Observed::Present(GIB);
    });
    let [Step::SetLimits { limits, .. }] = &fits.decide(MASTER).steps[..] else { panic!() };
    assert_eq!(limits.memory_max_bytes, Some(2 * GIB));
    assert_eq!(limits.memory_high_bytes, Some(1700 * MIB));
}

#[test]
fn another_way_to_write_the_same_size_changes_nothing() {
    for size in ["4096MiB", "1/16"] {
        table([(size, sized(size, |_| {}), Master, &[], Nothing)]);
    }
}

/// An upgrade of the agent restarts nobody, and neither does going back.
#[test]
fn containers_of_earlier_versions_are_known_again() {
    let labelled =
        |label: &str| master_when(|seen| label.clone_into(&mut container(seen).made_from));
    let made = Scene::converged().observation.instances[&key(MASTER)]
        .container
        .present()
        .map(|container| container.made_from.clone());
    assert_eq!(made.as_deref(), Some("image=berth/mysql:9.7 port=7001 size=4GiB"));
    table([
        ("as it is", labelled("image=berth/mysql:9.7 port=7001 size=4GiB"), Master, &[], Nothing),
        (
            "another size",
            labelled("image=berth/mysql:9.7 port=7001 size=1/2"),
            Master,
            &[],
            Nothing,
        ),
        ("without one", labelled("image=berth/mysql:9.7 port=7001"), Master, &[], Nothing),
        (
            "another port",
            labelled("image=berth/mysql:9.7 port=70011 size=4GiB"),
            Down,
            PARTS_AND_STOPS,
            Nothing,
        ),
        ("none at all", labelled(""), Down, PARTS_AND_STOPS, Nothing),
    ]);
}

#[test]
fn the_pool_is_set_by_a_verb_that_the_server_takes() {
    let decision = sized("2GiB", |_| {});
    let [Step::Sql { verb: Verb::SetGlobal { name, value }, .. }] = &decision.steps[..] else {
        panic!("{decision:?}")
    };
    assert_eq!((name.as_str(), value.as_str()), ("innodb_buffer_pool_size", "1073741824"));
}
