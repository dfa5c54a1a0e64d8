//! The fleets themselves: who reaches whom, judged by ping(8), and what is left of them.

use std::path::Path;

use berth_integration::{Fleet, Options, PATIENCE, namespace::command_in, sweep, until};

const HOSTS: [&str; 3] = ["host1", "host2", "host3"];

#[test]
fn hosts_reach_each_other_unless_they_are_cut() {
    let options = Options { template: false, ..Options::default() };
    let fleet = Fleet::new(&HOSTS, &options);
    await_pings(&fleet, [true; 3]);
    fleet.fabric().part(&["host1", "host2"]);
    await_pings(&fleet, [false, true, true]);
    fleet.fabric().heal(&["host1", "host2"]);
    await_pings(&fleet, [true; 3]);
    fleet.fabric().unplug("host3");
    await_pings(&fleet, [true, false, false]);
    fleet.fabric().plug("host3");
    await_pings(&fleet, [true; 3]);

    let names: Vec<String> = fleet.hosts().map(|host| host.name().to_owned()).collect();
    assert!(names.iter().all(|name| Path::new(sweep::PLACE).join(name).exists()));
    drop(fleet);
    assert!(!names.iter().any(|name| Path::new(sweep::PLACE).join(name).exists()));
}

/// Who reaches whom: the hosts 1 and 2, 1 and 3, 2 and 3.
fn await_pings(fleet: &Fleet, expected: [bool; 3]) {
    let pings = || [(0, 1), (0, 2), (1, 2)].map(|(from, to)| ping(fleet, HOSTS[from], HOSTS[to]));
    let mut found = [false; 3];
    let same = until(PATIENCE, || {
        found = pings();
        (found == expected).then_some(())
    });
    assert!(same.is_some(), "{found:?}, expected {expected:?}");
}

fn ping(fleet: &Fleet, from: &str, to: &str) -> bool {
    let to = fleet.host(to).address().to_string();
    let mut command = command_in(fleet.host(from).namespace(), "ping");
    command.args(["-n", "-q", "-c", "1", "-W", "0.3", &to]);
    command.output().unwrap().status.success()
}
