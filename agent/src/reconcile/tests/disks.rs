//! Disks that hang, can't be written, or are full.

use std::time::Duration;

use berth_model::status::{InstanceState, Phase};

use super::bed::Bed;
use crate::testing::{
    entries::{Entry, document, master},
    key,
    world::Disk,
};

const START: &str = "start container";

/// Two masters that have nothing to do with each other, converged, the first on a disk of its
/// own.
async fn bed() -> Bed {
    let mut bed = Bed::new(&entries());
    bed.fake.state().model.disk(&key("db1")).own = true;
    bed.live(60).await;
    for name in ["db1", "db9"] {
        assert_eq!(bed.instance(name).phase, Phase::Converged);
    }
    bed
}

fn entries() -> [Entry; 2] {
    [master("db1", 7001), master("db9", 7009).with("cluster", "stock")]
}

fn set(bed: &Bed, change: impl FnOnce(&mut Disk)) {
    change(bed.fake.state().model.disk(&key("db1")));
}

fn blocked(bed: &Bed) -> String {
    let instance = bed.instance("db1");
    assert_eq!(instance.phase, Phase::Blocked, "{instance:?}");
    instance.blocked.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_is_told_and_nothing_is_done_to_its_server() {
    let mut bed = bed().await;
    let pid = bed.instance("db1").container.unwrap().pid;
    let begun = bed.fake.state().begun.len();
    set(&bed, |disk| disk.hangs = true);
    bed.fake.state().model.kill(&key("db9"));
    bed.live(600).await;
    let told = blocked(&bed);
    assert!(told.contains("has not answered") && told.contains("dm-1"), "{told}");
    let instance = bed.instance("db1");
    assert_eq!((instance.state, instance.retry), (InstanceState::Master, None));
    assert_eq!(instance.container.unwrap().pid, pid);
    assert!(instance.disk.unwrap().suspended);
    let steps: Vec<String> =
        bed.fake.state().begun[begun..].iter().map(|(_, step)| step.clone()).collect();
    assert_eq!(steps.iter().filter(|step| *step == START).count(), 1, "{steps:?}");
    assert_eq!(bed.instance("db9").phase, Phase::Converged, "others go on");
    set(&bed, |disk| disk.hangs = false);
    bed.live(60).await;
    assert_eq!(bed.instance("db1").phase, Phase::Converged);
    assert_eq!(bed.instance("db1").container.unwrap().pid, pid);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_starts_beside_a_disk_that_hangs_tells_it_too() {
    let mut bed = bed().await;
    set(&bed, |disk| disk.hangs = true);
    bed.restart();
    bed.live(60).await;
    assert!(blocked(&bed).contains("has not answered"));
    assert_eq!(bed.instance("db9").phase, Phase::Converged);
    assert_eq!(bed.begun(START).len(), 2, "each server once");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ended_on_a_read_only_disk_waits_for_it() {
    let mut bed = bed().await;
    set(&bed, |disk| disk.read_only = true);
    bed.live(60).await;
    assert!(blocked(&bed).contains("read-only under its server"));
    assert_eq!(bed.instance("db1").state, InstanceState::Master);
    bed.fake.state().model.kill(&key("db1"));
    bed.live(600).await;
    assert!(blocked(&bed).contains("no server is started on it"));
    assert_eq!(bed.instance("db1").last_exit.unwrap(), "signal 9; its disk (dm-1) is read-only");
    assert_eq!(bed.begun(START).len(), 2, "none on the read-only disk");
    set(&bed, |disk| disk.read_only = false);
    bed.live(120).await;
    assert_eq!(bed.instance("db1").phase, Phase::Converged);
    assert_eq!(bed.begun(START).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_told_until_there_is_room() {
    let mut bed = bed().await;
    set(&bed, |disk| disk.free_bytes = 0);
    bed.live(60).await;
    assert!(blocked(&bed).contains("is full, with 0 MiB free"));
    bed.fake.state().model.kill(&key("db1"));
    bed.live(60).await;
    assert!(bed.instance("db1").last_exit.unwrap().contains("is full"));
    assert!(blocked(&bed).contains("so no server is started on it"));
    set(&bed, |disk| disk.free_bytes = 1 << 40);
    bed.live(60).await;
    assert_eq!(bed.instance("db1").phase, Phase::Converged);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_not_mounted_any_more_is_not_begun_afresh_by_a_new_agent() {
    let mut bed = bed().await;
    let data = {
        let mut state = bed.fake.state();
        let place = state.model.place(&key("db1"));
        (place.container, place.disk.own) = (None, false);
        place.data.take()
    };
    assert!(data.is_some());
    bed.restart();
    bed.live(600).await;
    assert!(blocked(&bed).contains("none is mounted there now"), "{}", blocked(&bed));
    assert_eq!(bed.begun("create data directory").len(), 2, "each once");
    {
        let mut state = bed.fake.state();
        let place = state.model.place(&key("db1"));
        (place.data, place.disk.own) = (data, true);
    }
    bed.live(60).await;
    assert_eq!(bed.instance("db1").phase, Phase::Converged);
}

#[tokio::test(start_paused = true)]
async fn a_removed_instance_waits_for_its_disk_to_be_unmounted() {
    let mut bed = bed().await;
    let [db1, db9] = entries();
    bed.write("10-a.json", &document(&[db1.state("removed"), db9]));
    bed.live(120).await;
    assert!(blocked(&bed).contains("`umount "), "{}", blocked(&bed));
    assert_eq!(bed.begun("stop container").len(), 1);
    {
        let mut state = bed.fake.state();
        let place = state.model.place(&key("db1"));
        assert!(place.data.take().is_some() && place.trash.is_empty());
        place.disk.own = false;
    }
    bed.live(60).await;
    let instance = bed.instance("db1");
    assert_eq!((instance.state, instance.phase), (InstanceState::Removed, Phase::Converged));
    // From then on it is as if it had never been.
    bed.write("10-a.json", &document(&entries()));
    bed.live(60).await;
    assert_eq!(bed.instance("db1").phase, Phase::Converged);
    assert_eq!(bed.begun("create data directory").len(), 3);
}

#[tokio::test(start_paused = true)]
async fn passes_keep_their_time_while_a_disk_hangs() {
    let mut bed = bed().await;
    set(&bed, |disk| disk.hangs = true);
    bed.fake.state().looking = super::bed::DEAF;
    let before = bed.fake.state().observed.len();
    bed.live(630).await;
    let passes = bed.fake.state().observed.len() - before;
    let interval = Duration::from_secs(30) + super::bed::DEAF;
    assert!(passes >= 630 / usize::try_from(interval.as_secs() + 1).unwrap(), "{passes} passes");
}
