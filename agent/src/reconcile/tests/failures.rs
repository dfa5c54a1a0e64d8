//! What fails is tried again, later each time, and is told.

use std::time::Duration;

use berth_model::status::{InstanceState, Phase};

use super::bed::{Bed, STEP};
use crate::testing::{
    entries::{Entry, master},
    key,
};

const START: &str = "start container";

/// The waits that are due after each failure, until they grow no more.
const WAITS_MS: [u64; 9] = [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000];

/// How much a pass and the clock's grain may add.
const GRAIN: Duration = Duration::from_millis(50);

fn gaps(times: &[Duration]) -> Vec<Duration> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

fn assert_backs_off(gaps: &[Duration], waits: &[u64]) {
    assert!(gaps.len() >= waits.len(), "only {gaps:?}");
    for (gap, wait) in gaps.iter().zip(waits) {
        let (least, most) = (Duration::from_millis(wait * 3 / 4), Duration::from_millis(*wait));
        assert!((least..=most + STEP + GRAIN).contains(gap), "{gap:?} of {wait} ms in {gaps:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_fails_is_tried_again_later_each_time() {
    let mut bed = Bed::new(&[master("db1", 7001)]);
    bed.fake.state().failing.insert(START.to_owned());
    bed.live(300).await;
    assert_backs_off(&gaps(&bed.begun(START)), &WAITS_MS);
    let instance = bed.instance("db1");
    let retry = instance.retry.clone().unwrap();
    assert_eq!(
        (instance.phase, retry.failures as usize),
        (Phase::Retrying, bed.begun(START).len())
    );
    assert_eq!(bed.journal()["h1-db1"].retry_at, Some(retry.at));
    let last = instance.last_step.unwrap();
    assert_eq!(last.error, ["cannot start container", "the test's reason"]);
    assert_eq!(bed.status().recent.last().unwrap().error, last.error);
}

#[tokio::test(start_paused = true)]
async fn failures_are_forgotten_once_all_is_well_for_long() {
    let mut bed = Bed::new(&[master("db1", 7001)]);
    bed.fake.state().failing.insert(START.to_owned());
    bed.live(10).await;
    bed.fake.state().failing.clear();
    bed.live(120).await;
    let instance = bed.instance("db1");
    assert_eq!((instance.phase, instance.retry), (Phase::Converged, None));
    assert!(bed.journal()["h1-db1"].failures > 3, "too early to forget");
    bed.live(700).await;
    let remembered = &bed.journal()["h1-db1"];
    assert_eq!((remembered.failures, remembered.retry_at), (0, None));
}

#[tokio::test(start_paused = true)]
async fn a_new_agent_keeps_the_retry_of_the_old_one() {
    let mut bed = Bed::new(&[master("db1", 7001)]);
    bed.fake.state().failing.insert(START.to_owned());
    bed.live(40).await;
    let (tries, due) = (bed.begun(START).len(), bed.journal()["h1-db1"].retry_at);
    bed.restart();
    bed.live(1).await;
    assert_eq!(bed.begun(START).len(), tries, "tried at once by the new agent");
    assert_eq!(bed.journal()["h1-db1"].retry_at, due);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_keeps_ending_is_started_later_each_time() {
    let mut bed = Bed::new(&[master("db1", 7001)]);
    bed.live(60).await;
    let before = bed.begun(START).len();
    bed.fake.state().crashing = true;
    bed.fake.state().model.kill(&key("db1"));
    bed.live(300).await;
    let starts = &bed.begun(START)[before..];
    let gaps = gaps(starts);
    assert!(starts.len() < 20, "{} starts in 5 minutes", starts.len());
    assert!(gaps.last().unwrap() > &Duration::from_secs(40), "{gaps:?}");
    let instance = bed.instance("db1");
    assert_eq!(instance.last_exit.as_deref(), Some("signal 9"));
    assert_eq!(instance.crashes as usize, 1 + starts.len(), "the kill, and each start after it");
}

#[tokio::test(start_paused = true)]
async fn one_crash_is_mended_at_once() {
    let mut bed = Bed::new(&[master("db1", 7001)]);
    bed.live(60).await;
    bed.fake.state().model.kill(&key("db1"));
    bed.live(3).await;
    let instance = bed.instance("db1");
    assert_eq!((instance.state, instance.phase), (InstanceState::Master, Phase::Converged));
    assert_eq!((instance.crashes, instance.retry), (1, None));
}

#[tokio::test(start_paused = true)]
async fn steps_that_work_and_change_nothing_are_not_repeated_hot() {
    let mut bed = Bed::new(&[master("db1", 7001)]);
    bed.fake.state().idle.insert(START.to_owned());
    bed.live(300).await;
    let tries = bed.begun(START).len();
    assert!((5..25).contains(&tries), "{tries} tries in 5 minutes");
    assert_eq!(bed.instance("db1").phase, Phase::Retrying);
}

#[tokio::test(start_paused = true)]
async fn a_failing_instance_delays_nobody_else() {
    let other = master("db9", 7009).with("cluster", "stock");
    let mut bed = Bed::new(&[
        master("db1", 7001).with(
            "variables",
            serde_json::json!({
                "max_connections": 7,
            }),
        ),
        other,
    ]);
    bed.fake.state().failing.insert("set max_connections=7".to_owned());
    bed.live(60).await;
    assert_eq!(bed.instance("db9").phase, Phase::Converged);
    assert_eq!(bed.instance("db1").phase, Phase::Retrying);
}

#[tokio::test(start_paused = true)]
async fn what_takes_away_a_danger_does_not_wait_for_a_retry() {
    const AWAY: &str = "set super_read_only";
    let mut bed = Bed::new(&[master("db1", 7001)]);
    bed.live(60).await;
    bed.fake.state().failing.insert("set sync_binlog=1".to_owned());
    if let Some((server, _)) = bed.fake.state().model.place(&key("db1")).running() {
        server.sync_binlog = 0;
    }
    bed.live(60).await;
    assert_eq!(bed.instance("db1").phase, Phase::Retrying);
    bed.write(
        "10-a.json",
        &crate::testing::entries::document(&[Entry::disabled(master("db1", 7001))]),
    );
    bed.live(1).await;
    assert_eq!(bed.begun(AWAY).len(), 1, "it waited for the retry of something else");
}

#[tokio::test(start_paused = true)]
async fn a_shared_lane_that_fails_blocks_with_its_error_and_is_tried_again() {
    let mut bed = Bed::new(&[master("db1", 7001)]);
    bed.fake.state().model.template = false;
    let words = "initialise a template data directory";
    bed.fake.state().failing.insert(words.to_owned());
    bed.live(60).await;
    assert_backs_off(&gaps(&bed.begun(words)), &WAITS_MS[..6]);
    let blocked = bed.instance("db1").blocked.unwrap();
    assert!(blocked.contains("the test's reason"), "{blocked}");
    bed.fake.state().failing.clear();
    bed.live(120).await;
    assert_eq!(bed.instance("db1").phase, Phase::Converged);
}
