//! The agent is killed at every named point of attach and detach, and a new one ends what it
//! began. `BERTH_SOAK_COUNT` kills in all; between them a server is killed, and the pins are
//! wiped.
//!
//! The instances that come and go are stopped ones: they have a network and no server, so
//! that hundreds of kills take minutes.

use std::time::Instant;

use berth_integration::{Bed, Entry, PATIENCE, proc, seed, until};
use berth_model::{
    EntryKey,
    status::{InstanceState, Phase},
};
use berth_netplug::failpoint::Failpoint;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    POOL, PORT,
    census::{Census, wipe_pins},
    cluster, host, vlan,
};

/// Kills in an ordinary test run: each point once.
const USUAL: usize = Failpoint::ATTACH.len() + Failpoint::DETACH.len();
/// Those that come and go.
const INSTANCES: [&str; 2] = ["come-db1", "come-db2"];

#[test]
fn an_agent_that_dies_at_any_point_leaves_no_network_behind() {
    let kills = seed::count(USUAL);
    let mut bed = host();
    let anchor = cluster("anchor", 1);
    bed.goal("anchor.json", &anchor);
    bed.start_agent();
    bed.await_converged(&anchor);
    let mut run = Run { key: anchor[0].key(), server: 0, at_rest: Census::await_right(&bed), bed };
    run.server = run.bed.pid(&run.key);
    run.bed.end_agent(Signal::SIGKILL);

    let begun = Instant::now();
    let mut done = 0;
    while done < kills {
        for (number, point) in Failpoint::ATTACH.into_iter().enumerate() {
            done += run.cycle(point, Failpoint::DETACH.get(number).copied(), number);
        }
        eprintln!("{done} kills");
    }
    eprintln!("figure: {done} kills at named points in {:?}", begun.elapsed());
}

/// A host with a server that stays.
struct Run {
    bed: Bed,
    key: EntryKey,
    server: u32,
    at_rest: Census,
}

impl Run {
    /// An agent dies while it attaches, and maybe another while it detaches; those that come
    /// after them finish. Tells how many died.
    fn cycle(&mut self, attach: Failpoint, detach: Option<Failpoint>, number: usize) -> usize {
        dies_at(&mut self.bed, attach, "stopped");
        match number % 5 {
            2 => wipe_pins(&self.bed),
            4 => self.kill_server(),
            _ => {}
        }
        self.bed.start_agent();
        let come = entries("stopped");
        self.bed.await_status("all attached", |status| {
            come.iter().all(|entry| {
                let instance = status.instances.get(&entry.key());
                let network = instance.and_then(|instance| instance.network.as_ref());
                network.is_some_and(|network| network.ip.is_some() && network.amiss.is_empty())
            })
        });
        Census::await_right(&self.bed);
        self.serves(number % 5 == 4);
        self.bed.end_agent(Signal::SIGKILL);

        if let Some(point) = detach {
            dies_at(&mut self.bed, point, "removed");
        }
        goal(&self.bed, "removed");
        self.bed.start_agent();
        for entry in &come {
            self.bed.await_state(&entry.key(), InstanceState::Removed);
        }
        let left = Census::await_right(&self.bed);
        assert_eq!(left.by_owner(), self.at_rest.by_owner(), "{attach:?}, {detach:?}");
        self.serves(false);
        self.bed.end_agent(Signal::SIGKILL);
        1 + usize::from(detach.is_some())
    }

    fn kill_server(&self) {
        kill(Pid::from_raw(self.server.cast_signed()), Signal::SIGKILL).unwrap();
        let gone = until(PATIENCE, || (!proc::lives(self.server)).then_some(()));
        assert!(gone.is_some());
    }

    /// The server that stays is the same, or another after it was killed.
    fn serves(&mut self, killed: bool) {
        if killed {
            self.bed.await_instance(&self.key, "another container", |instance| {
                let pid = instance.container.as_ref().and_then(|container| container.pid);
                instance.phase == Phase::Converged && pid.is_some_and(|pid| pid != self.server)
            });
            self.server = self.bed.pid(&self.key);
        }
        assert!(proc::lives(self.server), "the server that stays has gone");
        assert_eq!(self.bed.pid(&self.key), self.server);
    }
}

fn entries(state: &str) -> Vec<Entry> {
    let one = |name: &&str| Entry::master(name, PORT).data("network", vlan(POOL)).state(state);
    INSTANCES.iter().map(one).collect()
}

fn goal(bed: &Bed, state: &str) {
    bed.goal("come.json", &entries(state));
}

/// Starts an agent with this goal that kills itself at a point, and waits for its end.
fn dies_at(bed: &mut Bed, point: Failpoint, state: &str) {
    goal(bed, state);
    bed.launch_agent_with(&[(Failpoint::VARIABLE, &point.name())]);
    let gone = until(PATIENCE, || (!bed.agent().lives()).then_some(()));
    assert!(gone.is_some(), "the agent never came to {point:?}");
    bed.end_agent(Signal::SIGKILL);
}
