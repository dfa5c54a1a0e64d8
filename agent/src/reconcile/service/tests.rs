//! The line that `systemctl status` shows.

use super::*;
use crate::testing::{
    agent::Agent,
    config, document,
    entries::{master, minion},
    key,
    world::World,
};

#[test]
fn the_line_counts_what_wants_attention() {
    let entries = [master("db1", 7001), minion("db2", 7002, 7001)];
    let mut agent = Agent::new(World::new(config(), &entries));
    agent.settle().unwrap();
    assert_eq!(summary(&document(&agent)), "2 instances, 2 converged");
    agent.world.kill(&key("db2"));
    agent.pass();
    assert_eq!(summary(&document(&agent)), "2 instances, 1 converged, 1 converging");
}

#[test]
fn the_loop_sleeps_half_of_what_the_watchdog_allows() {
    let mut service = Service::of_this_process();
    service.watchdog = Some(Duration::from_secs(20));
    assert_eq!(service.longest_sleep(), Duration::from_secs(10));
    service.watchdog = None;
    assert_eq!(service.longest_sleep(), Duration::MAX);
}
