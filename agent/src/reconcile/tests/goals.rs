//! Goals in force: what is accepted, refused, missing, removed, and kept on disk.

use berth_model::{
    goal::GoalState,
    status::{GoalStanding, InstanceState, Phase},
};

use super::{super::pass::Loop, bed::Bed};
use crate::{
    goal::in_force,
    testing::{
        entries::{document, master, minion},
        key,
    },
    wake::{Reason, Waker},
};

#[tokio::test(start_paused = true)]
async fn a_changed_goal_is_followed_when_the_directory_changes() {
    let mut bed = Bed::new(&[master("db1", 7001)]);
    bed.live(60).await;
    bed.write("10-a.json", &document(&[master("db1", 7001).state("stopped")]));
    let waker = bed.waker.clone();
    waker.raise(Reason::Goal);
    bed.live(2).await;
    let instance = bed.instance("db1");
    assert_eq!(instance.goal.state, GoalState::Stopped);
    assert_eq!((instance.state, instance.phase), (InstanceState::Down, Phase::Converged));
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_vanishes_runs_on_as_an_orphan() {
    let mut bed = Bed::new(&[master("db1", 7001)]);
    bed.live(60).await;
    bed.write("10-a.json", "{}");
    bed.live(60).await;
    bed.restart();
    bed.fake.state().model.kill(&key("db1"));
    bed.live(60).await;
    let instance = bed.instance("db1");
    assert_eq!(instance.goal.standing, GoalStanding::Orphaned);
    assert_eq!((instance.state, instance.phase), (InstanceState::Master, Phase::Converged));
}

#[tokio::test(start_paused = true)]
async fn a_refused_entry_keeps_its_last_good_goal() {
    let mut bed = Bed::new(&[master("db1", 7001)]);
    bed.live(60).await;
    for text in ["not JSON", &document(&[master("db1", 7001).with("prot", 1)])] {
        bed.write("10-a.json", text);
        bed.restart();
        bed.live(60).await;
        let status = bed.status();
        assert_eq!(status.refusals.len(), 1, "{text}");
        let instance = &status.instances[&key("db1")];
        assert_eq!(instance.goal.standing, GoalStanding::LastGood);
        assert_eq!((instance.state, instance.phase), (InstanceState::Master, Phase::Converged));
    }
    assert_eq!(bed.begun("stop container").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_goal_directory_that_cannot_be_read_changes_nothing() {
    let mut bed = Bed::new(&[master("db1", 7001)]);
    bed.live(60).await;
    std::fs::remove_dir_all(&bed.config.goal_dir).unwrap();
    bed.live(60).await;
    let status = bed.status();
    assert_eq!(status.refusals.len(), 1);
    assert!(status.refusals[0].problem.contains("cannot list"), "{:?}", status.refusals);
    let instance = &status.instances[&key("db1")];
    assert_eq!((instance.goal.standing, instance.phase), (GoalStanding::Current, Phase::Converged));
}

#[tokio::test(start_paused = true)]
async fn what_is_removed_and_gone_from_the_files_is_forgotten() {
    let mut bed = Bed::new(&[master("db1", 7001)]);
    bed.live(60).await;
    bed.write("10-a.json", &document(&[master("db1", 7001).state("removed")]));
    bed.live(60).await;
    assert_eq!(bed.instance("db1").state, InstanceState::Removed);
    assert_eq!(bed.fake.state().model.place(&key("db1")).trash.len(), 1);
    bed.live(60).await;
    assert_eq!(bed.instance("db1").state, InstanceState::Removed, "its entry is there still");
    bed.write("10-a.json", "{}");
    bed.live(60).await;
    assert!(bed.status().instances.is_empty());
    assert!(!bed.journal().contains_key("h1-db1"));
    assert!(in_force::load(&bed.config.goals_in_force()).unwrap().is_empty());
    // The same name again is a new instance, not one whose data has vanished.
    bed.write("10-a.json", &document(&[master("db1", 7001)]));
    bed.live(60).await;
    assert_eq!(bed.instance("db1").phase, Phase::Converged);
}

#[tokio::test(start_paused = true)]
async fn data_that_vanishes_is_not_made_anew() {
    let mut bed = Bed::new(&[master("db1", 7001)]);
    bed.live(60).await;
    bed.restart();
    {
        let mut state = bed.fake.state();
        let place = state.model.place(&key("db1"));
        (place.data, place.container) = (None, None);
    }
    bed.live(60).await;
    let instance = bed.instance("db1");
    assert_eq!(instance.phase, Phase::Blocked);
    assert!(instance.blocked.unwrap().contains("mount its disk"));
    assert_eq!(bed.begun("create data directory").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn goals_in_force_and_journal_are_on_disk_after_the_pass() {
    let mut bed = Bed::new(&[master("db1", 7001), minion("db2", 7002, 7001).on("h2")]);
    bed.live(60).await;
    let kept = in_force::load(&bed.config.goals_in_force()).unwrap();
    let keys: Vec<&str> = kept.keys().map(|key| key.as_str()).collect();
    assert_eq!(keys, ["h1-db1", "h2-db2"]);
    let remembered = &bed.journal()["h1-db1"];
    assert!(remembered.has_data);
    assert_eq!(remembered.state.unwrap().0, InstanceState::Master);
}

#[tokio::test(start_paused = true)]
async fn damaged_memory_is_not_passed_over() {
    let bed = Bed::new(&[]);
    for path in [bed.config.journal(), bed.config.goals_in_force()] {
        std::fs::write(&path, "{").unwrap();
        let again = Loop::new(bed.config.clone(), bed.fake.clone(), Waker::default());
        let error = again.expect_err("a damaged file");
        assert!(error.to_string().contains("is damaged"), "{error}");
        std::fs::remove_file(&path).unwrap();
    }
}

/// Agents come and go in the middle of it; the server stays.
#[tokio::test(start_paused = true)]
async fn a_smaller_size_is_waited_for_and_reached_without_a_restart() {
    let mut bed = Bed::new(&[master("db1", 7001)]);
    bed.live(60).await;
    let limit = |bed: &Bed| {
        let mut state = bed.fake.state();
        let container = state.model.place(&key("db1")).container.clone().unwrap();
        container.limits.memory_max_bytes.unwrap() >> 20
    };
    let take = |bed: &Bed, bytes: u64| {
        let mut state = bed.fake.state();
        state.model.place(&key("db1")).running().unwrap().0.clients_bytes = bytes;
    };
    const POOL: &str = "set innodb_buffer_pool_size=1073741824";
    bed.fake.state().failing.insert(POOL.to_owned());
    bed.write("10-a.json", &document(&[master("db1", 7001).with("size", "2GiB")]));
    bed.restart();
    bed.live(20).await;
    let instance = bed.instance("db1");
    assert_eq!((instance.phase, limit(&bed)), (Phase::Retrying, 4096));

    bed.fake.state().failing.clear();
    bed.restart();
    take(&bed, 700 << 20);
    bed.live(60).await;
    let waits = bed.instance("db1").doing.expect("it waits").step;
    assert!(
        waits.contains("2224 MiB are in use that can't be taken back, at most 1984"),
        "{waits}"
    );
    assert_eq!((bed.instance("db1").phase, limit(&bed)), (Phase::Converging, 4096));

    take(&bed, 0);
    bed.live(60).await;
    assert_eq!((bed.instance("db1").phase, limit(&bed)), (Phase::Converged, 2048));
    assert_eq!(bed.begun("start container").len(), 1);
    assert_eq!(bed.fake.state().model.wrongs, [""; 0]);
}
