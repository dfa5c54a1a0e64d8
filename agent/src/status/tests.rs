//! What a pass's document says, and how it is read when the agent is well, stuck or gone.

use berth_model::status::{InstanceState, LastStep};
use berth_runtime::ExitStatus;
use jiff::{SignedDuration, ToSpan};

use super::{live::StatusError, *};
use crate::testing::{
    self,
    agent::Agent,
    config, document,
    entries::{master, minion},
    key,
    world::World,
};

/// A master and its minion, converged.
fn agent() -> Agent {
    let entries = [master("db1", 7001), minion("db2", 7002, 7001)];
    let mut agent = Agent::new(World::new(config(), &entries));
    agent.settle().unwrap();
    agent
}

fn of(agent: &Agent, name: &str) -> InstanceStatus {
    document(agent).instances.remove(&key(name)).unwrap()
}

#[test]
fn a_converged_host() {
    let agent = agent();
    let (master, minion) = (of(&agent, "db1"), of(&agent, "db2"));
    assert_eq!((master.state, master.phase), (InstanceState::Master, Phase::Converged));
    assert_eq!((minion.state, minion.phase), (InstanceState::Minion, Phase::Converged));
    assert_eq!((&master.doing, &master.blocked, &master.retry), (&None, &None, &None));
    assert!(master.since < agent.world.now);
    assert_eq!(master.address.as_deref(), Some("0.0.0.0:7001"));
    assert_eq!(master.server_version.as_deref(), Some("9.7.4"));
    assert_eq!(master.replication, None);
    let replication = minion.replication.unwrap();
    assert_eq!(replication.source, "127.0.0.1:7001");
    assert!(replication.receiver && replication.applier);
    assert_eq!((replication.lag_seconds, replication.error), (Some(0), None));
    assert_eq!(
        minion.container.unwrap().pid,
        agent.world.places[&key("db2")].server().map(|s| s.pid)
    );
    assert_eq!(
        (master.goal.cluster.as_str(), master.goal.image.as_str()),
        ("orders", testing::IMAGE)
    );
}

#[test]
fn what_is_done_now_is_apart_from_what_was_done_last() {
    let mut agent = agent();
    agent.world.kill(&key("db1"));
    agent.pass();
    let now = agent.world.now;
    agent.journal.get_mut("h1-db1").unwrap().last_step =
        Some(LastStep { step: "serve".into(), at: now, error: Vec::new() });
    let instance = of(&agent, "db1");
    assert_eq!(instance.phase, Phase::Converging);
    assert_eq!(instance.doing.unwrap().step, "note the server's end (signal 9)");
    assert_eq!(instance.last_step.unwrap().step, "serve");
    assert_eq!(instance.container.unwrap().exit.as_deref(), Some("signal 9"));
}

#[test]
fn what_is_waited_for_counts_as_doing_since_the_state_began() {
    let mut agent = agent();
    agent.world.place(&key("db1")).running().unwrap().0.answers = false;
    let since = agent.world.now;
    agent.journal.get_mut("h1-db1").unwrap().state = Some((InstanceState::Starting, since));
    agent.world.now += SignedDuration::from_secs(7);
    let instance = of(&agent, "db1");
    assert_eq!((instance.state, instance.phase), (InstanceState::Starting, Phase::Converging));
    let doing = instance.doing.unwrap();
    assert!(doing.step.starts_with("waiting for the server to answer"), "{}", doing.step);
    assert_eq!((doing.since, instance.since), (since, since));
}

#[test]
fn a_retry_shows_until_it_is_due() {
    let mut agent = agent();
    agent.world.place(&key("db1")).container = None;
    let now = agent.world.now;
    agent.journal.get_mut("h1-db1").unwrap().failed(now, 0.0);
    let waiting = of(&agent, "db1");
    assert_eq!(waiting.phase, Phase::Retrying);
    let retry = waiting.retry.unwrap();
    assert_eq!((retry.failures, retry.at), (1, now + SignedDuration::from_millis(500)));
    agent.world.now = retry.at;
    let due = of(&agent, "db1");
    assert_eq!((due.phase, due.retry), (Phase::Converging, None));
}

#[test]
fn crashes_are_counted_and_the_last_is_told() {
    let mut agent = agent();
    agent.world.kill(&key("db2"));
    agent.settle().unwrap();
    let instance = of(&agent, "db2");
    assert_eq!((instance.crashes, instance.last_exit.as_deref()), (1, Some("signal 9")));
    assert_eq!(instance.phase, Phase::Converged);
}

#[test]
fn a_blocked_instance_says_why() {
    let mut agent = agent();
    agent.world.place(&key("db1")).data = None;
    let instance = of(&agent, "db1");
    assert_eq!((instance.state, instance.phase), (InstanceState::Unknown, Phase::Blocked));
    assert!(instance.blocked.unwrap().contains("is gone"));
}

#[test]
fn an_end_is_told_in_words() {
    let exit =
        |status, oom_killed| berth_runtime::ExitInfo { status, oom_killed, finished_at_ms: None };
    for (exit, words) in [
        (exit(Some(ExitStatus::Code(1)), None), "exit code 1"),
        (exit(Some(ExitStatus::Signal(9)), Some(true)), "signal 9, out of memory"),
        (exit(Some(ExitStatus::Signal(9)), Some(false)), "signal 9"),
        (exit(None, None), "how is not known: no one was there to see it"),
    ] {
        assert_eq!(crate::plan::describe_exit(&exit), words);
    }
}

#[test]
fn a_document_outlives_its_file() {
    let written = testing::converged_document();
    let text = serde_json::to_string(&written).unwrap();
    assert_eq!(serde_json::from_str::<StatusDocument>(&text).unwrap(), written);
}

/// The document as `live::read` finds it after this change.
fn read(change: impl FnOnce(&mut StatusDocument)) -> AgentState {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { run_dir: dir.path().to_owned(), ..config() };
    let mut document = testing::converged_document();
    document.agent.last_pass_at = Timestamp::now();
    change(&mut document);
    let text = serde_json::to_string(&document).unwrap();
    std::fs::write(config.status(), text).unwrap();
    live::read(&config, None).unwrap().agent.state
}

#[test]
fn an_agent_is_running_stuck_or_gone() {
    let hour_ago = || Timestamp::now().checked_sub(1.hour()).unwrap();
    assert_eq!(read(|_| {}), AgentState::Running);
    assert_eq!(read(|document| document.agent.last_pass_at = hour_ago()), AgentState::Stuck);
    assert_eq!(read(|document| document.agent.boot_id = "another".into()), AgentState::Gone);
    // Another process has the pid now.
    assert_eq!(read(|document| document.agent.pid_start_ticks += 1), AgentState::Gone);
    assert_eq!(read(|document| document.agent.pid = u32::MAX), AgentState::Gone);
}

#[test]
fn no_document_and_a_damaged_one_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { run_dir: dir.path().to_owned(), ..config() };
    assert!(matches!(live::read(&config, None), Err(StatusError::None { .. })));
    std::fs::write(config.status(), "{").unwrap();
    assert!(matches!(live::read(&config, None), Err(StatusError::Read(_))));
}

#[test]
fn an_instance_in_vlan_mode_shows_its_network() {
    let document = testing::vlan_document();
    let instance = &document.instances[&key("db1")];
    assert_eq!(instance.address.as_deref(), Some("10.20.0.1:7001"));
    let network = instance.network.as_ref().unwrap();
    assert_eq!((network.pool.as_str(), network.prefix), ("orders", Some(24)));
    assert_eq!(network.rate_asked.inward.unwrap().to_string(), "10Mbit/s");
    assert_eq!(network.rate_asked, network.rate_set);
    assert_eq!(network.amiss, [""; 0]);
    assert_eq!(document.network, Some(Default::default()));
    let on_host = testing::converged_document();
    assert_eq!((&on_host.network, &on_host.instances[&key("db1")].network), (&None, &None));
}

#[test]
fn what_an_unknown_network_was_is_told_by_the_container() {
    let network = serde_json::json!({ "mode": "vlan", "pool": "orders" });
    let entries = [master("db1", 7001).with("network", network)];
    let mut agent = Agent::new(World::new(config(), &entries));
    agent.settle().unwrap();
    let (world, now) = (&agent.world, agent.world.now);
    let mut observation = world.observe(BTreeMap::new());
    observation.network = crate::observe::Observed::Unknown("no answer".to_owned());
    let plan = crate::plan::plan(&world.config, &world.goals, &observation, &agent.journal, now);
    let document = super::document(&Inputs {
        config: &world.config,
        agent: &this_agent(world.config.interval),
        goals: &world.goals,
        plan: &plan,
        observation: &observation,
        journal: &agent.journal,
        doing: &BTreeMap::new(),
        recent: Vec::new(),
        now,
    });
    let instance = &document.instances[&key("db1")];
    assert_eq!(instance.address.as_deref(), Some("10.20.0.1:7001"));
    assert_eq!(instance.network.as_ref().unwrap().amiss, ["no answer"]);
    assert!(document.network.unwrap().problems[0].contains("can't be examined: no answer"));
    assert_eq!(instance.phase, Phase::Converged, "what runs goes on");
}
