//! Changes of a size from goal to rest on the model, which rounds pools as MySQL does, and kills
//! who is above its limit.

use crate::testing::{
    agent::Agent,
    config,
    entries::{master, minion},
    key,
    world::World,
};

const MIB: u64 = 1 << 20;

#[test]
fn a_server_is_resized_without_a_restart() {
    let cluster = |size: &str| {
        [master("db1", 7001).with("size", size), minion("db2", 7002, 7001).with("size", size)]
    };
    let mut agent = Agent::new(World::new(config(), &cluster("448MiB")));
    agent.settle().unwrap();
    let pids = |agent: &Agent| {
        ["db1", "db2"].map(|name| agent.world.places[&key(name)].server().unwrap().pid)
    };
    let before = pids(&agent);
    for (size, mib) in
        [("640MiB", 240), ("20GiB", 14_880), ("3GiB", 1824), ("384MiB", 48), ("1/8", 5664)]
    {
        agent.world.set_goals(&cluster(size));
        agent.world.place(&key("db1")).running().unwrap().0.clients_bytes = 3 * MIB;
        let end = agent.settle().unwrap();
        let waits: Vec<_> = end.instances.values().filter_map(|d| d.waiting.clone()).collect();
        assert_eq!((waits, pids(&agent)), (Vec::new(), before), "{size}");
        let server = agent.world.places[&key("db2")].server().unwrap();
        assert_eq!(server.pool.size, mib * MIB, "{size}");
        let again = agent.pass();
        assert!(
            again.instances.values().all(|decision| decision.steps.is_empty()),
            "{size}: {again:?}"
        );
    }
    assert_eq!((&agent.refused, &agent.world.wrongs), (&Vec::new(), &Vec::new()));
}

/// The agent is killed after every step of a resize, and in its middle.
#[test]
fn a_resize_that_was_cut_off_is_gone_on_with() {
    let of = |size: &str| [master("db1", 7001).with("size", size)];
    for (from, to) in [("2GiB", "12GiB"), ("12GiB", "2GiB")] {
        let mut agent = Agent::new(World::new(config(), &of(from)));
        agent.settle().unwrap();
        agent.world.set_goals(&of(to));
        for _ in 0..12 {
            agent.pass();
            while !agent.lanes.is_empty() {
                for half in [0, 0xff] {
                    let mut other = agent.clone();
                    other.kill(half);
                    other.settle().unwrap();
                    assert_eq!(other.world.wrongs, [""; 0]);
                    let container = other.world.places[&key("db1")].container.as_ref().unwrap();
                    let wanted = other.world.goals.own[&key("db1")].placed.entry.size.of(0);
                    assert_eq!(container.limits.memory_max_bytes, Some(wanted));
                }
                agent.step(0);
            }
            agent.world.tick();
        }
    }
}
