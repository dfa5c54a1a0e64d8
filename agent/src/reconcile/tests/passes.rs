//! When passes are made, and that none waits for what has nothing to do with it.

use std::{convert::Infallible, time::Duration};

use berth_model::status::{InstanceState, Phase};
use tokio::time::{sleep, timeout};

use super::bed::Bed;
use crate::{
    testing::{
        entries::{Entry, master, minion},
        key,
    },
    wake::Reason,
};

/// Two masters that have nothing to do with each other.
fn strangers() -> [Entry; 2] {
    [master("db1", 7001), master("db9", 7009).with("cluster", "stock")]
}

#[tokio::test(start_paused = true)]
async fn a_cluster_converges_and_every_pass_writes_the_status() {
    let mut bed = Bed::new(&[master("db1", 7001), minion("db2", 7002, 7001)]);
    bed.live(60).await;
    let status = bed.status();
    for (name, state) in [("db1", InstanceState::Master), ("db2", InstanceState::Minion)] {
        let instance = &status.instances[&key(name)];
        assert_eq!((instance.state, instance.phase), (state, Phase::Converged), "{instance:?}");
    }
    let passes = bed.fake.state().observed.len();
    assert_eq!(usize::try_from(status.agent.passes).unwrap(), passes);
    assert!(bed.fake.state().model.wrongs.is_empty());
    let steps: Vec<&str> = status.recent.iter().map(|step| step.step.as_str()).collect();
    assert_eq!(steps.iter().filter(|step| **step == "create data directory").count(), 2);
    assert!(steps.contains(&"take writes"), "{steps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_converged_host_is_looked_at_once_an_interval() {
    let mut bed = Bed::new(&[master("db1", 7001)]);
    bed.live(60).await;
    let before = bed.fake.state().observed.len();
    bed.live(600).await;
    let passes = bed.fake.state().observed.len() - before;
    assert!((20..=21).contains(&passes), "{passes} passes in 20 intervals");
    assert_eq!(bed.status().agent.last_wake, "interval");
    assert!(bed.begun("start container").len() == 1);
}

#[tokio::test(start_paused = true)]
async fn an_empty_host_sleeps() {
    let mut bed = Bed::new(&[]);
    bed.live(300).await;
    let passes = bed.fake.state().observed.len();
    assert!((10..=11).contains(&passes), "{passes} passes in 10 intervals");
}

#[tokio::test(start_paused = true)]
async fn events_coalesce() {
    let mut bed = Bed::new(&[master("db1", 7001)]);
    bed.live(60).await;
    bed.fake.state().looking = Duration::from_secs(1);
    let before = bed.fake.state().observed.len();
    let waker = bed.waker.clone();
    let storm = async {
        for _ in 0..100 {
            waker.raise(Reason::Goal);
            waker.raise(Reason::Exit(key("db1")));
            sleep(Duration::from_millis(5)).await;
        }
    };
    let ((), _) = tokio::join!(storm, bed.live(10));
    assert_eq!(bed.fake.state().observed.len() - before, 2, "one under way, one after it");
    assert_eq!(bed.status().agent.last_wake, "goal files changed, h1-db1 ended");
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_hangs_delays_nobody_else() {
    let mut bed = Bed::new(&strangers());
    bed.fake.state().stuck.insert("h1-db1".to_owned());
    bed.live(60).await;
    let (stuck, other) = (bed.instance("db1"), bed.instance("db9"));
    assert_eq!((other.state, other.phase), (InstanceState::Master, Phase::Converged));
    assert_eq!(stuck.phase, Phase::Converging);
    assert_eq!(stuck.doing.unwrap().step, "create data directory");
    assert_eq!(
        bed.fake.state().begun.iter().filter(|(_, s)| s == "create data directory").count(),
        2
    );
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_never_answers_leaves_others_converging() {
    let mut bed = Bed::new(&strangers());
    bed.live(60).await;
    bed.fake.state().deaf.insert("h1-db1".to_owned());
    bed.fake.state().model.kill(&key("db9"));
    bed.live(60).await;
    let (deaf, other) = (bed.instance("db1"), bed.instance("db9"));
    assert_eq!((deaf.state, deaf.phase), (InstanceState::Unknown, Phase::Blocked));
    assert!(deaf.blocked.unwrap().contains("no answer"));
    assert_eq!(
        (other.state, other.phase, other.crashes),
        (InstanceState::Master, Phase::Converged, 1)
    );
    assert!(bed.fake.state().model.place(&key("db1")).server().is_some(), "its server runs on");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_lane_wakes_the_next_pass() {
    let mut bed = Bed::new(&[master("db1", 7001)]);
    bed.live(1).await;
    let state = bed.fake.state();
    // Looking takes 1 ms and the two steps 20: the pass after them did not wait for a timer.
    let next = state.observed.iter().find(|at| **at > Duration::from_millis(2)).unwrap();
    assert!(*next < Duration::from_millis(100), "{:?}", state.observed);
}

#[tokio::test(start_paused = true)]
async fn before_each_pass_what_must_be_renewed_is_renewed() {
    let mut bed = Bed::new(&[]);
    let renewed = std::cell::Cell::new(0);
    let run = bed.agent.run(|| renewed.set(renewed.get() + 1));
    let ended: Result<Infallible, _> = timeout(Duration::from_secs(100), run).await;
    ended.unwrap_err();
    assert_eq!(renewed.get(), bed.fake.state().observed.len());
}
