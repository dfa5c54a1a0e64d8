//! Networks of instances in vlan mode: by tables, and through their changes on the model.

use serde_json::{Value, json};

use super::scene::{MASTER, MINION, Scene, no_container, unknown};
use crate::{
    config::Config,
    observe::{NetworkFacts, Observed},
    plan::{Decision, Step, network::lane},
    testing::{
        agent::Agent,
        config,
        entries::{Entry, master, minion},
        key,
        world::World,
    },
};
use berth_model::status::InstanceState;

fn vlan(pool: &str) -> Value {
    json!({ "mode": "vlan", "pool": pool })
}

fn at(ip: &str) -> Value {
    json!({ "mode": "vlan", "pool": "orders", "ip": ip })
}

/// A master and a minion in vlan mode, each with this network.
fn entries(of_master: Value, of_minion: Value) -> [Entry; 2] {
    let minion = minion(MINION, 7002, 7001).with("network", of_minion);
    [master(MASTER, 7001).with("network", of_master), minion]
}

/// A host that has converged on these entries.
fn host(entries: &[Entry]) -> Agent {
    let mut agent = Agent::new(World::new(config(), entries));
    let plan = agent.settle().unwrap();
    assert_eq!((&agent.refused, &agent.world.wrongs), (&Vec::new(), &Vec::new()));
    assert!(plan.instances.values().all(|decision| decision.blocked.is_none()), "{plan:?}");
    agent
}

fn pair() -> Agent {
    host(&entries(vlan("orders"), vlan("orders")))
}

/// The host after other goals came, and all that follows from them is done.
fn then(agent: &mut Agent, entries: &[Entry]) {
    agent.world.set_goals(entries);
    agent.settle().unwrap();
    assert_eq!((&agent.refused, &agent.world.wrongs), (&Vec::new(), &Vec::new()));
}

fn pid(agent: &Agent, name: &str) -> Option<u32> {
    agent.world.places[&key(name)].server().map(|server| server.pid)
}

fn address(agent: &Agent, name: &str) -> Option<String> {
    agent.world.serves_at(&key(name)).map(|ip| ip.to_string())
}

fn decide(agent: &Agent, change: impl FnOnce(&mut Scene)) -> (Vec<String>, Decision) {
    let mut scene = Scene::of(agent);
    change(&mut scene);
    let mut plan = scene.plan();
    let words = plan.shared.remove(&lane(&key(MASTER))).unwrap_or_default();
    let words = words.iter().map(ToString::to_string).collect();
    (words, plan.instances.remove(&key(MASTER)).unwrap())
}

fn facts(scene: &mut Scene) -> &mut NetworkFacts {
    match &mut scene.observation.network {
        Observed::Present(facts) => facts,
        other => panic!("no networks in {other:?}"),
    }
}

#[test]
fn a_cluster_in_vlan_mode_converges_at_addresses_of_its_own() {
    let mut agent = pair();
    assert_eq!(address(&agent, MASTER).as_deref(), Some("10.20.0.1"));
    assert_eq!(address(&agent, MINION).as_deref(), Some("10.20.0.2"));
    let data = agent.world.places[&key(MINION)].data.as_ref().unwrap();
    assert_eq!(data.database.source.unwrap().to_string(), "10.20.0.1:7001");
    let again = agent.pass();
    assert!(again.shared.is_empty(), "{:?}", again.shared);
    assert!(again.instances.values().all(|decision| decision.steps.is_empty()));
    assert!(again.quiet.contains(&lane(&key(MASTER))));
}

#[test]
fn a_container_is_told_its_network() {
    let agent = pair();
    let (_, decision) = decide(&agent, |scene| {
        no_container(scene.observation.instances.get_mut(&key(MASTER)).unwrap());
    });
    let [Step::StartContainer { spec, .. }] = &decision.steps[..] else { panic!("{decision:?}") };
    let namespace = "/run/berth/net/netns/h1-db1".into();
    assert_eq!(spec.network, berth_runtime::Network::Namespace(namespace));
    assert_eq!(spec.labels["berth.network"], "orders/10.20.0.1");
    for argument in ["--report-host=10.20.0.1", "--bind-address=0.0.0.0"] {
        assert!(spec.args.iter().any(|arg| arg == argument), "{:?}", spec.args);
    }
}

#[test]
fn host_mode_needs_nothing_of_networks() {
    let agent = host(&[master(MASTER, 7001)]);
    assert_eq!(agent.world.observe(Default::default()).network, Observed::Absent);
    let old = Config { bind_address: "10.0.0.1".parse().unwrap(), ..config() };
    let mut agent = Agent::new(World::new(old, &[master(MASTER, 7001)]));
    agent.settle().unwrap();
    let made_from = &agent.world.places[&key(MASTER)].container.as_ref().unwrap().made_from;
    assert_eq!(made_from, "image=berth/mysql:9.7 port=7001 size=4GiB", "as before vlan mode");
}

#[test]
fn rates_change_while_the_server_runs() {
    let mut agent = pair();
    let before = pid(&agent, MASTER);
    let limited = json!({ "mode": "vlan", "pool": "orders", "rate": { "in": "10Mbit" } });
    agent.world.set_goals(&entries(limited.clone(), vlan("orders")));
    let (steps, decision) = decide(&agent, |_| {});
    assert_eq!(steps, ["attach to the network of pool orders"]);
    assert!(decision.waiting.unwrap().contains("limit the link"));
    then(&mut agent, &entries(limited, vlan("orders")));
    let rates = agent.world.networks.links[&key(MASTER)].rates;
    assert_eq!(rates.inbound.unwrap().to_string(), "10Mbit");
    assert_eq!(pid(&agent, MASTER), before);
}

#[test]
fn another_address_or_pool_is_a_new_container() {
    let mut agent = pair();
    let before = pid(&agent, MASTER);
    then(&mut agent, &entries(at("10.20.0.1"), vlan("orders")));
    assert_eq!(pid(&agent, MASTER), before, "it has that address already");
    for (network, expected) in
        [(at("10.20.0.7"), "10.20.0.7"), (vlan("tiny"), "10.20.1.1"), (vlan("orders"), "10.20.0.1")]
    {
        let before = pid(&agent, MASTER);
        then(&mut agent, &entries(network, vlan("orders")));
        assert_eq!(address(&agent, MASTER).as_deref(), Some(expected));
        assert_ne!(pid(&agent, MASTER), before);
        let data = agent.world.places[&key(MINION)].data.as_ref().unwrap();
        assert_eq!(data.database.source.unwrap().ip().to_string(), expected, "its minion follows");
        assert_eq!(agent.world.networks.leases.len(), 2, "the old address is free");
    }
}

#[test]
fn a_network_that_can_t_be_had_leaves_the_old_container_running() {
    for network in [vlan("nowhere"), at("10.20.0.2"), at("10.99.0.1")] {
        let mut agent = pair();
        let before = pid(&agent, MASTER);
        agent.world.set_goals(&entries(network, vlan("orders")));
        let plan = agent.settle().unwrap();
        let decision = &plan.instances[&key(MASTER)];
        let why = decision.blocked.as_deref().unwrap();
        assert!(why.contains("the old one runs on") && why.contains("no free address"), "{why}");
        assert_eq!((pid(&agent, MASTER), &agent.world.wrongs), (before, &Vec::new()));
        assert_eq!(address(&agent, MASTER).as_deref(), Some("10.20.0.1"));
    }
}

#[test]
fn an_exhausted_pool_blocks_the_one_that_comes_late() {
    let mut agent = Agent::new(World::new(config(), &entries(vlan("tiny"), vlan("tiny"))));
    let plan = agent.settle().unwrap();
    let blocked = plan.instances.values().filter_map(|decision| decision.blocked.as_deref());
    let blocked: Vec<&str> = blocked.collect();
    assert_eq!(blocked, ["it has no network: no free address"]);
    assert_eq!(agent.world.wrongs, [""; 0]);
}

#[test]
fn modes_change_in_both_directions() {
    let mut agent = pair();
    then(&mut agent, &entries(json!({ "mode": "host" }), vlan("orders")));
    assert_eq!((address(&agent, MASTER), agent.world.networks.leases.len()), (None, 1));
    assert!(pid(&agent, MASTER).is_some());
    then(&mut agent, &entries(vlan("orders"), vlan("orders")));
    assert_eq!(address(&agent, MASTER).as_deref(), Some("10.20.0.1"));
}

#[test]
fn what_is_stopped_keeps_its_address_and_what_is_removed_does_not() {
    let mut agent = pair();
    let [one, two] = entries(vlan("orders"), vlan("orders"));
    then(&mut agent, &[one.clone().state("stopped"), two.clone()]);
    assert_eq!((pid(&agent, MASTER), agent.world.networks.links.len()), (None, 2));
    // Another that starts meanwhile gets another address.
    let third = minion("db3", 7003, 7001).with("network", vlan("orders"));
    then(&mut agent, &[one.clone().state("stopped"), two.clone(), third.clone()]);
    then(&mut agent, &[one.clone(), two.clone(), third.clone()]);
    assert_eq!(address(&agent, MASTER).as_deref(), Some("10.20.0.1"));
    then(&mut agent, &[one, two.state("removed"), third]);
    assert_eq!(agent.world.networks.leases.len(), 2);
    assert!(!agent.world.networks.links.contains_key(&key(MINION)));
}

#[test]
fn what_is_stopped_moves_to_another_pool_too() {
    let mut agent = pair();
    let [one, two] = entries(vlan("tiny"), vlan("orders"));
    then(&mut agent, &[one.state("stopped"), two]);
    assert_eq!(agent.world.networks.leases[&key(MASTER)].pool.as_str(), "tiny");
}

#[test]
fn after_a_reboot_everything_comes_back_at_its_address() {
    let mut agent = pair();
    for name in [MASTER, MINION] {
        agent.world.place(&key(name)).container = None;
    }
    agent.world.networks.links.clear();
    // With a database of its switch that is new, and knows of no bridge.
    agent.world.networks.bridge = false;
    let plan = agent.settle().unwrap();
    assert!(plan.instances.values().all(|decision| decision.blocked.is_none()), "{plan:?}");
    assert_eq!(address(&agent, MASTER).as_deref(), Some("10.20.0.1"));
    assert_eq!(address(&agent, MINION).as_deref(), Some("10.20.0.2"));
    assert_eq!(agent.world.wrongs, [""; 0]);
}

#[test]
fn a_bridge_that_lacks_something_is_mended_while_all_serve() {
    let agent = pair();
    let mut scene = Scene::of(&agent);
    facts(&mut scene).bridge = Ok(vec!["answer for addresses".to_owned()]);
    let plan = scene.plan();
    assert_eq!(plan.shared.keys().collect::<Vec<_>>(), ["bridge:br-berth"]);
    assert!(plan.instances.values().all(|decision| decision.steps.is_empty()));
}

#[test]
fn a_lost_pin_is_made_from_the_server_that_runs() {
    let mut agent = pair();
    let before = (pid(&agent, MASTER), pid(&agent, MINION));
    agent.world.wipe_pins();
    let plan = Scene::of(&agent).plan();
    let [Step::AttachNetwork { live, .. }] = &plan.shared[&lane(&key(MASTER))][..] else {
        panic!("{:?}", plan.shared)
    };
    assert_eq!(live.as_ref().map(|id| id.as_str()), Some("h1-db1"));
    agent.settle().unwrap();
    assert_eq!((pid(&agent, MASTER), pid(&agent, MINION)), before);
    assert_eq!(agent.world.wrongs, [""; 0]);
}

#[test]
fn a_server_that_runs_keeps_its_address_though_all_leases_are_lost() {
    let mut agent = host(&entries(at("10.20.0.5"), vlan("orders")));
    let before = (pid(&agent, MASTER), pid(&agent, MINION));
    agent.world.set_goals(&entries(vlan("orders"), vlan("orders")));
    agent.world.networks.leases.clear();
    agent.world.networks.links.clear();
    agent.settle().unwrap();
    assert_eq!((pid(&agent, MASTER), pid(&agent, MINION)), before);
    assert_eq!(agent.world.networks.leases[&key(MASTER)].address.to_string(), "10.20.0.5");
}

#[test]
fn the_bridge_comes_before_all_networks() {
    let world = World::new(config(), &entries(vlan("orders"), vlan("orders")));
    let plan = Scene::of(&Agent::new(world)).plan();
    let bridge: Vec<_> = plan.shared.iter().filter(|(lane, _)| lane.contains("bridge")).collect();
    assert_eq!(bridge, [(&"bridge:br-berth".to_owned(), &vec![Step::EnsureBridge])]);
    assert!(!plan.shared.contains_key(&lane(&key(MASTER))));
}

#[test]
fn while_the_switch_is_down_everything_goes_on() {
    let mut agent = pair();
    agent.world.networks.switch_up = false;
    let (steps, running) = decide(&agent, |_| {});
    assert_eq!((steps, &running.steps, &running.blocked), (Vec::new(), &Vec::new(), &None));
    assert!(running.notes.concat().contains("left as it is: the switch can't be read"));
    // A server that ends meanwhile is started again, for its namespace is there.
    let before = pid(&agent, MASTER);
    agent.world.kill(&key(MASTER));
    agent.settle().unwrap();
    assert!(pid(&agent, MASTER) > before);
    assert_eq!(address(&agent, MASTER).as_deref(), Some("10.20.0.1"));
    // What is not there yet has to wait, and what is to go stays until all of it can.
    let [one, two] = entries(vlan("orders"), vlan("orders"));
    let third = minion("db3", 7003, 7001).with("network", vlan("orders"));
    agent.world.set_goals(&[one, two.state("removed"), third]);
    let plan = agent.settle().unwrap();
    let blocked = |name| plan.instances[&key(name)].blocked.clone().unwrap_or_default();
    assert!(blocked("db3").contains("it has no network: the switch can't be read"));
    assert!(blocked(MINION).contains("its network can't be removed: the switch can't be read"));
    assert!(agent.world.networks.leases.contains_key(&key(MINION)));
    agent.world.networks.switch_up = true;
    let plan = agent.settle().unwrap();
    assert!(plan.instances.values().all(|decision| decision.blocked.is_none()), "{plan:?}");
    assert_eq!(plan.instances[&key(MINION)].state, InstanceState::Removed);
    assert_eq!(agent.world.wrongs, [""; 0]);
}

#[test]
fn an_unknown_network_stops_nothing_and_starts_nothing() {
    let agent = pair();
    let blind = |scene: &mut Scene| scene.observation.network = unknown();
    let (steps, running) = decide(&agent, blind);
    assert_eq!((steps, &running.steps, &running.blocked), (Vec::new(), &Vec::new(), &None));
    assert!(running.notes.concat().contains("the probe's reason"), "{running:?}");
    let (steps, down) = decide(&agent, |scene| {
        blind(scene);
        no_container(scene.observation.instances.get_mut(&key(MASTER)).unwrap());
    });
    assert_eq!((steps, &down.steps), (Vec::new(), &Vec::new()));
    assert!(down.blocked.unwrap().contains("can't be examined"));
    for goal in [vlan("tiny"), json!({ "mode": "host" })] {
        let mut agent = agent.clone();
        agent.world.set_goals(&entries(goal, vlan("orders")));
        let (steps, decision) = decide(&agent, blind);
        assert_eq!(steps, [""; 0]);
        let stops = decision.steps.iter().any(|step| matches!(step, Step::StopContainer { .. }));
        assert_eq!(
            stops,
            agent.world.goals.own[&key(MASTER)].placed.entry.network.ip().is_none()
                && !agent.world.goals.own[&key(MASTER)].placed.entry.network.is_vlan()
        );
    }
}

#[test]
fn a_network_that_fails_to_be_made_shows_why() {
    let mut agent = pair();
    agent.world.networks.links.remove(&key(MASTER));
    let lane = agent.journal.entry(lane(&key(MASTER))).or_default();
    lane.last_step = Some(berth_model::status::LastStep {
        step: "attach".to_owned(),
        at: crate::testing::start_of_time(),
        error: vec!["cannot change the network".to_owned(), "a stranger".to_owned()],
    });
    let (steps, decision) = decide(&agent, |_| {});
    assert_eq!(steps.len(), 1);
    assert!(decision.blocked.unwrap().contains("cannot change the network: a stranger"));
}

#[test]
fn a_bridge_of_somebody_else_blocks_and_leaves_what_runs() {
    let agent = pair();
    let foreign = |scene: &mut Scene| {
        facts(scene).bridge = Err("bridge br-berth belongs to nobody known".to_owned());
        let standing = facts(scene).instances.get_mut(&key(MASTER)).unwrap();
        (standing.todo, standing.blocked) =
            (Vec::new(), vec!["bridge br-berth is not ours".into()]);
    };
    let (steps, decision) = decide(&agent, foreign);
    assert_eq!((steps, decision.steps, decision.blocked), (Vec::new(), Vec::new(), None));
}
