//! What an instance's disk keeps from being done, and what is told of it.

use berth_model::status::{
    InstanceState::{Absent, Down, Errant, Master, Removed, Unknown, Unresponsive},
    Phase,
};
use berth_runtime::ExitStatus;

use super::scene::{
    Says::{Blocked, Nothing},
    *,
};
use crate::{
    observe::{ContainerState, InstanceObservation, Observed},
    plan::Decision,
    testing::world::exit,
};

const MIB: u64 = 1 << 20;

fn read_only(seen: &mut InstanceObservation) {
    disk(seen).read_only = true;
}

fn free(bytes: u64) -> impl Fn(&mut InstanceObservation) {
    move |seen| disk(seen).free_bytes = bytes
}

/// Nothing of the disk answers.
fn hangs(seen: &mut InstanceObservation) {
    seen.data = Observed::Unknown("its disk has not answered for 1.5 s".to_owned());
}

fn down(change: impl FnOnce(&mut InstanceObservation)) -> Decision {
    master_when(|seen| {
        no_container(seen);
        change(seen);
    })
}

#[test]
fn no_server_is_started_on_a_disk_that_cannot_serve_it() {
    let bare = |change: fn(&mut InstanceObservation)| {
        Scene::bare(&entries()).sees(MASTER, change).decide(MASTER)
    };
    table([
        (
            "read-only",
            down(read_only),
            Down,
            &[],
            Blocked("(vdb) is mounted read-only, so no server is started on it"),
        ),
        (
            "read-only, before there is data",
            bare(read_only),
            Absent,
            &[],
            Blocked("mount -o remount,rw /var/lib/berth/data"),
        ),
        (
            "full",
            down(free(4 * MIB - 1)),
            Down,
            &[],
            Blocked("is full, with 3 MiB free, so no server is started on it; make room"),
        ),
        ("almost full", down(free(4 * MIB)), Down, &["start container"], Nothing),
        ("unknown", down(|seen| seen.disk = unknown()), Down, &["start container"], Nothing),
        ("silent", down(hangs), Unknown, &[], Blocked("has not answered for 1.5 s (it is on vdb)")),
    ]);
}

#[test]
fn a_server_that_runs_on_such_a_disk_is_left_alone_and_told_of() {
    let kept = "nothing is done to it until then";
    let gone = |seen: &mut InstanceObservation| {
        hangs(seen);
        seen.server = unknown();
    };
    table([
        (
            "read-only",
            master_when(read_only),
            Master,
            &[],
            Blocked("is mounted read-only under its server"),
        ),
        ("full", master_when(free(16 * MIB - 1)), Master, &[], Blocked("is full, with 15 MiB")),
        ("silent", master_when(hangs), Master, &[], Blocked(kept)),
        ("silent, and its server too", master_when(gone), Unresponsive, &[], Blocked(kept)),
    ]);
    let silent = master_when(hangs);
    assert_eq!(silent.role, Some(berth_model::goal::Role::Master), "its server still says so");
    assert_eq!(silent.phase(false), Phase::Blocked);
}

#[test]
fn a_suspended_volume_is_called_so() {
    let decision = master_when(|seen| {
        own_disk(seen);
        disk(seen).suspended = true;
        hangs(seen);
    });
    let why = decision.blocked.unwrap();
    assert!(why.contains("dm-1, which is suspended: `dmsetup resume dm-1`"), "{why}");
}

#[test]
fn what_else_is_wrong_comes_first() {
    let decision = master_when(|seen| {
        seen.server = unknown();
        read_only(seen);
    });
    assert!(decision.blocked.unwrap().contains("does not answer"));
    assert!(decision.notes[0].contains("mounted read-only under its server"));
}

#[test]
fn little_room_is_told_before_there_is_none() {
    for (bytes, total, told) in [
        (1 << 30, 2 << 40, None),
        ((1 << 30) - 1, 2 << 40, Some("has 1023 MiB of 2097152 MiB left")),
        // A small disk is not low for ever.
        (60 * MIB, 1 << 30, None),
        (40 * MIB, 1 << 30, Some("has 40 MiB of 1024 MiB left")),
    ] {
        let decision = master_when(|seen| {
            (disk(seen).free_bytes, disk(seen).total_bytes) = (bytes, total);
        });
        assert_eq!(decision.phase(false), Phase::Converged);
        let notes = decision.notes.join("; ");
        assert_eq!(notes.contains("left"), told.is_some(), "{bytes} of {total}: {notes}");
        assert!(notes.contains(told.unwrap_or_default()), "{notes}");
    }
}

#[test]
fn a_server_that_ended_on_a_full_or_read_only_disk_is_told_with_it() {
    let ended = |change: &dyn Fn(&mut InstanceObservation)| {
        master_when(|seen| {
            container_is(seen, ContainerState::Exited(exit(ExitStatus::Signal(6))));
            change(seen);
        })
    };
    table([
        (
            "full",
            ended(&free(MIB)),
            Down,
            &["note the server's end (signal 6; its disk (vdb) is full, with 1 MiB free)", REMOVE],
            Nothing,
        ),
        (
            "read-only",
            ended(&read_only),
            Down,
            &["note the server's end (signal 6; its disk (vdb) is read-only)", REMOVE],
            Nothing,
        ),
        ("silent", ended(&hangs), Unknown, &[], Blocked("has not answered")),
    ]);
}

const REMOVE: &str = "remove container";

#[test]
fn data_on_a_disk_of_its_own_is_not_moved() {
    let [entry, minion] = entries();
    let removed = |change: &dyn Fn(&mut InstanceObservation)| {
        let scene = Scene::converged().wants(&[entry.clone().state("removed"), minion.clone()]);
        let see = |seen: &mut InstanceObservation| {
            no_container(seen);
            own_disk(seen);
            change(seen);
        };
        scene.sees(MASTER, see).decide(MASTER)
    };
    table([
        (
            "with its data",
            removed(&|_| {}),
            Down,
            &[],
            Blocked(
                "unmount it (`umount /var/lib/berth/data/h1-db1`) to have the instance removed",
            ),
        ),
        ("unmounted", removed(&|seen| seen.data = Observed::Absent), Removed, &[], Nothing),
        ("silent", removed(&hangs), Unknown, &[], Blocked("has not answered")),
    ]);
}

#[test]
fn an_errant_minion_on_a_disk_of_its_own_is_stopped_and_not_moved() {
    let [master, minion] = entries();
    let scene = Scene::converged().wants(&[master, minion.with("reseed", "errant")]);
    let decision = scene.sees(MINION, |seen| {
        let executed = &mut server(seen).snapshot.gtid_executed;
        *executed = executed.union(&stranger());
        mounted(seen, MINION);
    });
    table([(
        "errant",
        decision.decide(MINION),
        Errant,
        &["stop replication"],
        Blocked("set its state to removed, mount an empty file system at"),
    )]);
}

#[test]
fn a_disk_that_is_not_mounted_is_not_begun_afresh() {
    let remembered = |own: bool, change: fn(&mut InstanceObservation)| {
        let scene = Scene::converged().remembers(MASTER, |remembered| remembered.own_disk = own);
        scene.sees(MASTER, change).decide(MASTER)
    };
    fn empty(seen: &mut InstanceObservation) {
        nothing(seen);
        own_disk(seen);
    }
    table([
        (
            "not mounted after a boot",
            remembered(true, nothing),
            Unknown,
            &[],
            Blocked("none is mounted there now; mount it (`mount /var/lib/berth/data/h1-db1`)"),
        ),
        (
            "another one mounted",
            remembered(true, empty),
            Unknown,
            &[],
            Blocked("mounted there now (dm-1) has none; mount the right one"),
        ),
        (
            "never had one of its own",
            remembered(false, nothing),
            Unknown,
            &[],
            Blocked("which is gone; mount its disk, or restore it"),
        ),
    ]);
}

#[test]
fn io_limits_name_the_disk_of_the_instance() {
    let [master, minion] = entries();
    let limited = master.with("io", serde_json::json!({ "write_bps": "10MiB/s" }));
    let scene = Scene::converged().wants(&[limited, minion]).sees(MASTER, own_disk);
    let [crate::plan::Step::SetLimits { limits, .. }] = &scene.decide(MASTER).steps[..] else {
        panic!("{:?}", scene.decide(MASTER))
    };
    assert_eq!(limits.io[0].device.to_string(), "253:1");
    let none = scene.sees(MASTER, |seen| {
        no_container(seen);
        disk(seen).device = Err("it is on tmpfs, which has no disk of its own".to_owned());
    });
    let why = none.decide(MASTER).blocked.unwrap();
    assert!(why.contains("the disk of /var/lib/berth/data/h1-db1 can't be found out: it is on"));
}

#[test]
fn data_that_is_known_is_its_own_whatever_the_disk_is() {
    let decision = master_when(|seen| seen.disk = unknown());
    assert_eq!((decision.phase(false), decision.blocked), (Phase::Converged, None));
}

#[test]
fn a_weight_that_nothing_heeds_is_told() {
    let notes = |takes_weights: bool, io: serde_json::Value| {
        let scene = super::host::changed("io", io).sees(MASTER, |seen| {
            let Observed::Present(disk) = &mut seen.disk else { panic!("{:?}", seen.disk) };
            disk.takes_weights = takes_weights;
        });
        scene.decide(MASTER).notes
    };
    let weight = || serde_json::json!({ "weight": 50 });
    let told = notes(false, weight());
    assert!(
        told.len() == 1 && told[0].contains("neither BFQ nor iocost is at work on"),
        "{told:?}"
    );
    assert!(notes(true, weight()).is_empty());
    assert!(notes(false, serde_json::json!({ "write_bps": "1MiB/s" })).is_empty());
}
