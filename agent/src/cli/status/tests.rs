//! The table, the details, and the exit code.

use berth_model::status::{LastStep, Retry};
use jiff::{SignedDuration, ToSpan};

use super::*;
use crate::testing::{converged_document, key, vlan_document};

/// Where the document's two instances are looked up.
const MASTER: &str = "db1";
const MINION: &str = "db2";

fn document() -> StatusDocument {
    let mut document = converged_document();
    document.agent.last_pass_at = Timestamp::now();
    for instance in document.instances.values_mut() {
        instance.since = Timestamp::now().checked_sub(3.minutes()).unwrap();
    }
    document
}

fn instance(change: impl FnOnce(&mut InstanceStatus)) -> InstanceStatus {
    let mut instance = document().instances.remove(&key(MINION)).unwrap();
    change(&mut instance);
    instance
}

/// A text without its colours (ECMA-48 SGR).
fn plain(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').map_or(part, |(_, rest)| rest))
}

#[test]
fn the_table_has_a_row_for_each_instance() {
    let text = overview(&document(), false);
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..3], ["h1:", "agent", env!("CARGO_PKG_VERSION")]);
    assert_eq!(lines[1][..4], ["INSTANCE", "GOAL", "STATE", "PHASE"]);
    assert_eq!(lines[2][..6], ["h1-db1", "master", "master", "converged", "3m0s", "master"]);
    assert_eq!(lines[3][..7], ["h1-db2", "minion", "minion", "converged", "3m0s", "minion", "0s"]);
    assert_eq!(lines[4], ["images", "take", "0B,", "0B", "are", "free"]);
    assert_eq!(lines.len(), 5);
}

#[test]
fn colours_are_for_terminals_and_do_not_move_columns() {
    let document = document();
    let (without, with) = (overview(&document, false), overview(&document, true));
    assert!(!without.contains('\u{1b}'));
    assert!(with.contains('\u{1b}'));
    assert_eq!(plain(&with), without);
    let mut gone = document;
    gone.agent.state = AgentState::Gone;
    assert!(!overview(&gone, false).contains('\u{1b}'));
    assert!(overview(&gone, true).contains('\u{1b}'));
    assert!(!details(&key(MASTER), &gone.instances[&key(MASTER)]).contains('\u{1b}'));
}

#[test]
fn an_agent_that_is_not_at_work_is_told_first() {
    for (state, words) in [
        (AgentState::Running, "runs (pid"),
        (AgentState::Stuck, "is stopped or stuck"),
        (AgentState::Gone, "no agent runs; this is from its last pass"),
    ] {
        let mut document = document();
        document.agent.state = state;
        let text = overview(&document, false);
        assert!(text.lines().next().unwrap().contains(words), "{text}");
    }
}

#[test]
fn what_is_blocked_or_refused_stands_below_the_table() {
    let mut document = document();
    document.instances.get_mut(&key(MASTER)).unwrap().blocked = Some("the reason".to_owned());
    let file = berth_model::goal::parse::file("10-a.json", "not JSON");
    document.refusals = file.refusals;
    let text = overview(&document, false);
    assert!(text.contains("\nh1-db1 is blocked: the reason\n"), "{text}");
    assert!(text.contains("\nrefused: 10-a.json:1:"), "{text}");
    document.instances.clear();
    assert!(overview(&document, false).contains("\nno instances\n"));
}

#[test]
fn the_goal_in_a_word() {
    let words = |change: fn(&mut berth_model::status::GoalSummary)| {
        goal_words(&instance(|instance| change(&mut instance.goal)))
    };
    assert_eq!(words(|_| {}), "minion");
    assert_eq!(words(|goal| goal.disabled = true), "minion,disabled");
    assert_eq!(words(|goal| goal.standing = GoalStanding::Orphaned), "minion,orphaned");
    assert_eq!(words(|goal| goal.standing = GoalStanding::LastGood), "minion,last-good");
    assert_eq!(words(|goal| goal.state = berth_model::goal::GoalState::Removed), "removed");
}

#[test]
fn a_retry_is_told_before_what_is_waited_for() {
    let failing = instance(|instance| {
        let at = Timestamp::now() + SignedDuration::from_secs(90);
        instance.retry = Some(Retry { failures: 4, at });
        let error = vec!["outer".to_owned(), "inner".to_owned()];
        instance.last_step = Some(LastStep { step: "serve".to_owned(), at, error });
    });
    let words = doing(&failing).unwrap();
    assert!(words.starts_with("again in 1m"), "{words}");
    assert!(words.contains("after 4 failures: outer"), "{words}");
    let crashing = instance(|instance| {
        let at = Timestamp::now() + SignedDuration::from_secs(5);
        instance.retry = Some(Retry { failures: 2, at });
        instance.last_exit = Some("signal 9".to_owned());
    });
    assert!(doing(&crashing).unwrap().ends_with("signal 9"));
}

#[test]
fn memory_beside_its_limit() {
    let used = |used, limit| {
        memory(&instance(|instance| {
            (instance.usage.memory_bytes, instance.usage.memory_max_bytes) = (used, limit);
        }))
    };
    assert_eq!(used(Some(512 << 20), Some(4 << 30)), "512MiB/4.0GiB");
    assert_eq!(used(Some(512 << 20), None), "512MiB");
    assert_eq!(used(None, Some(4 << 30)), "-");
}

#[test]
fn details_are_a_fact_a_line() {
    let shown = instance(|instance| {
        instance.crashes = 2;
        instance.last_exit = Some("signal 9".to_owned());
        instance.usage.cpu_usec = Some(61_230_000);
        instance.usage.oom_kills = Some(0);
        instance.usage.memory_high_bytes = Some(3 << 30);
        instance.usage.cpuset = Some("0-3,8".to_owned());
        (instance.usage.cpu_weight, instance.usage.io_weight) = (Some(200), Some(50));
        (instance.usage.pids, instance.usage.pids_max) = (Some(41), Some(4096));
        instance.notes = vec!["one".to_owned(), "two".to_owned()];
    });
    let text = details(&key(MINION), &shown);
    for line in [
        "instance    h1-db2",
        "cluster     orders",
        "source      127.0.0.1:7001",
        "receiver    runs",
        "lag         0s",
        "crashes     2, the last by signal 9",
        "cpu time    61.23s",
        "memory high 3.0GiB",
        "cpu weight  200",
        "cpus        0-3,8",
        "disk weight 50",
        "threads     41/4096",
        "note        one",
        "note        two",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line:?} in\n{text}");
    }
    assert!(!text.contains("blocked") && !text.contains("oom kills"), "{text}");
}

#[test]
fn one_instance_or_an_error_that_says_how_to_find_it() {
    let mut one = document();
    keep_only(&mut one, &key(MINION)).unwrap();
    assert_eq!(one.instances.keys().collect::<Vec<_>>(), [&key(MINION)]);
    let error = keep_only(&mut document(), &key("db7")).unwrap_err();
    assert!(error.to_string().contains("`berth status` lists them"), "{error}");
}

#[test]
fn the_exit_code_is_bad_news_if_anything_is_bad() {
    let code = |change: fn(&mut StatusDocument)| {
        let mut document = document();
        change(&mut document);
        verdict(&document)
    };
    assert_eq!(code(|_| {}), ExitCode::SUCCESS);
    assert_eq!(code(|document| document.agent.state = AgentState::Stuck), ExitCode::FAILURE);
    assert_eq!(code(|document| document.agent.state = AgentState::Gone), ExitCode::FAILURE);
    assert_eq!(
        code(|document| {
            document.refusals = berth_model::goal::parse::file("a.json", "[]").refusals;
        }),
        ExitCode::FAILURE
    );
    for phase in [Phase::Converging, Phase::Retrying, Phase::Blocked] {
        let mut document = document();
        document.instances.get_mut(&key(MASTER)).unwrap().phase = phase;
        assert_eq!(verdict(&document), ExitCode::FAILURE, "{phase}");
    }
}

#[test]
fn addresses_are_shown_where_an_instance_has_one_of_its_own() {
    assert!(!overview(&document(), false).contains("ADDRESS"));
    let mut document = vlan_document();
    let text = overview(&document, false);
    assert!(text.contains("ADDRESS") && text.contains("10.20.0.1:7001"), "{text}");
    let all = details(&key(MASTER), &document.instances[&key(MASTER)]);
    for line in
        ["network     pool orders, 10.20.0.1/24", "rate in     10Mbit/s asked, 10Mbit/s set"]
    {
        assert!(all.contains(line), "{all}");
    }
    let network = document.network.as_mut().unwrap();
    network.refused_pools.push("a.json:1:1: pool x: vlan: found 0".to_owned());
    network.problems.push("the switch can't be read".to_owned());
    network.strays.push("10.20.0.9 of h1-old (pool orders)".to_owned());
    let text = overview(&document, false);
    for line in [
        "refused pool: a.json:1:1: pool x",
        "network: the switch can't be read",
        "no goal speaks of 10.20.0.9 of h1-old",
    ] {
        assert!(text.contains(line), "{text}");
    }
}
