//! What tests of several modules share: goals from real documents, and a model of a host
//! that takes steps as the real one would.
//!
//! [`entries`] writes goal documents; [`world`] is the model, [`agent`] a small agent on it. Nothing here is compiled into
//! the program.

pub(crate) mod agent;
pub(crate) mod entries;
pub(crate) mod world;

use std::{collections::BTreeMap, time::Duration};

use berth_model::{
    EntryKey,
    status::{Doing, StatusDocument},
};
use jiff::Timestamp;

use crate::{config::Config, plan::plan, status};

/// The host of all entries in tests.
pub(crate) const HOST: &str = "h1";
/// The image of entries that name none.
pub(crate) const IMAGE: &str = "berth/mysql:9.7";

/// When tests begin.
pub(crate) fn start_of_time() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// The key of the entry called `name` on [`HOST`].
pub(crate) fn key(name: &str) -> EntryKey {
    format!("{HOST}-{name}").parse().unwrap()
}

/// A host of 64 GiB. Nothing is at its paths unless a test puts them below a directory.
pub(crate) fn config() -> Config {
    Config {
        host: HOST.parse().unwrap(),
        goal_dir: "/etc/berth/goal.d".into(),
        state_dir: "/var/lib/berth".into(),
        data_dir: "/var/lib/berth/data".into(),
        images_dir: "/var/lib/berth/images".into(),
        run_dir: "/run/berth".into(),
        log_dir: "/var/log/berth".into(),
        cgroup: "berth".into(),
        image: IMAGE.into(),
        fleet_key: "/etc/berth/fleet.key".into(),
        memory_bytes: 64 << 30,
        bind_address: std::net::Ipv4Addr::UNSPECIFIED.into(),
        interval: Duration::from_secs(30),
        probe_timeout: Duration::from_secs(1),
        hosts: BTreeMap::new(),
        network: crate::config::Network::default(),
        registries: crate::config::Registries::default(),
    }
}

/// The status document of a pass made now.
pub(crate) fn document(agent: &agent::Agent) -> StatusDocument {
    let (world, now) = (&agent.world, agent.world.now);
    let doing = agent
        .lanes
        .iter()
        .map(|(lane, steps)| (lane.clone(), Doing { step: steps[0].to_string(), since: now }));
    let doing = doing.collect::<BTreeMap<_, _>>();
    let busy = doing.iter().map(|(lane, doing)| (lane.clone(), doing.step.clone()));
    let observation = world.observe(busy.collect());
    let plan = plan(&world.config, &world.goals, &observation, &agent.journal, now);
    status::document(&status::Inputs {
        config: &world.config,
        agent: &status::this_agent(world.config.interval),
        goals: &world.goals,
        plan: &plan,
        observation: &observation,
        journal: &agent.journal,
        doing: &doing,
        recent: Vec::new(),
        now,
    })
}

/// The status document of a converged master `db1` in vlan mode.
pub(crate) fn vlan_document() -> StatusDocument {
    let network = serde_json::json!({
        "mode": "vlan", "pool": "orders", "rate": { "in": "10Mbit" },
    });
    let entries = [entries::master("db1", 7001).with("network", network)];
    let mut agent = agent::Agent::new(world::World::new(config(), &entries));
    agent.settle().unwrap();
    document(&agent)
}

/// The status document of a converged master `db1` and its minion `db2`.
pub(crate) fn converged_document() -> StatusDocument {
    let entries = [entries::master("db1", 7001), entries::minion("db2", 7002, 7001)];
    let mut agent = agent::Agent::new(world::World::new(config(), &entries));
    agent.settle().unwrap();
    document(&agent)
}
