//! When waiting ends, and what it tells.

use berth_model::status::{Doing, RecentStep};
use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::testing::{converged_document, key, start_of_time};

fn wait(instances: usize) -> args::Wait {
    args::Wait { timeout: Duration::ZERO, instances, timeline: false }
}

fn judge(instances: usize, change: impl FnOnce(&mut StatusDocument)) -> Verdict {
    let mut document = converged_document();
    change(&mut document);
    verdict(&document, &wait(instances))
}

fn converged(instances: usize, change: impl FnOnce(&mut StatusDocument)) -> bool {
    judge(instances, change) == Verdict::Converged
}

#[test]
fn a_refused_entry_ends_the_waiting_though_its_last_good_goal_is_met() {
    let refuse = |document: &mut StatusDocument| {
        document.refusals.push(berth_model::goal::Refusal {
            location: berth_model::goal::Location::whole("a.json"),
            entry: None,
            field: None,
            problem: "a typo".to_owned(),
            remedy: "mend it".to_owned(),
        });
    };
    assert_eq!(judge(1, refuse), Verdict::Refused);
    let dead = |document: &mut StatusDocument| {
        refuse(document);
        document.agent.state = AgentState::Gone;
    };
    assert_eq!(judge(1, dead), Verdict::NotYet);
}

#[test]
fn all_instances_must_be_as_their_goals_say() {
    assert!(converged(1, |_| {}));
    assert!(converged(2, |_| {}));
    assert!(!converged(3, |_| {}), "one is missing yet");
    assert!(!converged(1, |document| document.instances.clear()));
    for phase in [Phase::Converging, Phase::Retrying, Phase::Blocked] {
        let open = |document: &mut StatusDocument| {
            document.instances.get_mut(&key("db2")).unwrap().phase = phase;
        };
        assert!(!converged(1, open), "{phase}");
    }
}

#[test]
fn a_document_of_a_dead_agent_is_no_answer() {
    for state in [AgentState::Stuck, AgentState::Gone] {
        assert!(!converged(1, |document| document.agent.state = state), "{state}");
    }
}

#[test]
fn what_is_still_open_is_told_with_its_reason() {
    let mut document = converged_document();
    let mut change = |name: &str, phase, blocked: Option<&str>, doing: Option<&str>| {
        let instance = document.instances.get_mut(&key(name)).unwrap();
        instance.phase = phase;
        instance.blocked = blocked.map(str::to_owned);
        instance.doing =
            doing.map(|step| Doing { step: step.to_owned(), since: Timestamp::UNIX_EPOCH });
    };
    change("db1", Phase::Blocked, Some("the reason"), Some("a step"));
    change("db2", Phase::Converging, None, Some("a step"));
    assert_eq!(
        waited_for(&document),
        "not converged in time: 2 instances\n\
         h1-db1 is master (blocked): the reason\n\
         h1-db2 is minion (converging): a step\n"
    );
}

#[test]
fn the_timeline_begins_with_the_first_step() {
    let mut document = converged_document();
    assert_eq!(timeline(&document), "no steps\n");
    let step = |lane: &str, step: &str, ended_ms, took_ms| RecentStep {
        lane: lane.to_owned(),
        step: step.to_owned(),
        at: start_of_time() + SignedDuration::from_millis(ended_ms),
        took_ms,
        error: Vec::new(),
    };
    // Written in the order of their ends: the long one began first.
    document.recent = vec![step("h1-db1", "short", 1500, 200), step("h1-db2", "long", 3000, 2000)];
    document.recent[0].error = vec!["outer".to_owned(), "inner".to_owned()];
    let lines: Vec<String> = timeline(&document)
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        lines,
        [
            "BEGAN TOOK FOR STEP",
            "0.000s 2.000s h1-db2 long",
            "0.300s 0.200s h1-db1 short outer: inner",
        ]
    );
}
