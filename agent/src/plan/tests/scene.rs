//! Observations for tables: that of a converged master and minion, changed in one thing.

use std::sync::OnceLock;

use berth_model::{goal::Goals, status::InstanceState};
use berth_runtime::{BlockDevice, DeviceNumber, FileSystem, Via};
use jiff::Timestamp;

use crate::testing::agent::Agent;
use crate::{
    config::Config,
    data::{DataFacts, DataState, Marker},
    journal::{Journal, Remembered},
    mysql::{CloneStage, CloneState, CloneStatus, GtidSet, ReplicaStatus},
    observe::{
        ContainerFacts, ContainerState, InstanceObservation, Observation, Observed, Purpose,
        ServerFacts,
    },
    plan::{Decision, Plan, plan},
    testing::{
        config,
        entries::{Entry, goals, master, minion},
        key,
        world::World,
    },
};

/// The master of the scene, on port 7001.
pub(super) const MASTER: &str = "db1";
/// The minion of the scene, on port 7002.
pub(super) const MINION: &str = "db2";
/// The master's address.
pub(super) const MASTER_ADDRESS: &str = "127.0.0.1:7001";

/// How a source is ended.
pub(super) const PARTS_AND_STOPS: &[&str] =
    &["set super_read_only", "stop serving", "stop container", "remove container"];

/// The entries of the scene.
pub(super) fn entries() -> [Entry; 2] {
    [master(MASTER, 7001), minion(MINION, 7002, 7001)]
}

/// All that the planner is given.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    pub(super) config: Config,
    pub(super) goals: Goals,
    pub(super) observation: Observation,
    pub(super) journal: Journal,
    pub(super) now: Timestamp,
}

impl Scene {
    /// What an agent finds on this host.
    pub(super) fn of(agent: &Agent) -> Self {
        let world = &agent.world;
        Self {
            config: world.config.clone(),
            goals: (*world.goals).clone(),
            observation: world.observe(Default::default()),
            journal: agent.journal.clone(),
            now: world.now,
        }
    }

    /// A master and a minion that are as they should be.
    pub(super) fn converged() -> Self {
        static CONVERGED: OnceLock<Scene> = OnceLock::new();
        let make = || {
            let mut agent = Agent::new(World::new(config(), &entries()));
            agent.settle().unwrap();
            assert_eq!((&agent.refused, &agent.world.wrongs), (&Vec::new(), &Vec::new()));
            Self::of(&agent)
        };
        CONVERGED.get_or_init(make).clone()
    }

    /// A host with an image and a template, and nothing of these instances.
    pub(super) fn bare(entries: &[Entry]) -> Self {
        let mut world = World::new(config(), entries);
        (world.unpacked, world.template) = (true, true);
        Self::of(&Agent::new(world))
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// With other goals.
    pub(super) fn wants(mut self, entries: &[Entry]) -> Self {
        self.goals = goals(&self.config, entries);
        self
    }

    /// With one instance seen differently.
    pub(super) fn sees(self, name: &str, change: impl FnOnce(&mut InstanceObservation)) -> Self {
        self.with(|scene| {
            change(scene.observation.instances.get_mut(&key(name)).unwrap());
        })
    }

    /// With one instance remembered differently.
    pub(super) fn remembers(self, name: &str, change: impl FnOnce(&mut Remembered)) -> Self {
        self.with(|scene| change(scene.journal.entry(key(name).to_string()).or_default()))
    }

    pub(super) fn plan(&self) -> Plan {
        plan(&self.config, &self.goals, &self.observation, &self.journal, self.now)
    }

    pub(super) fn decide(&self, name: &str) -> Decision {
        self.plan().instances.remove(&key(name)).unwrap()
    }
}

/// What is decided for the master of a converged host when one thing is different.
pub(super) fn master_when(change: impl FnOnce(&mut InstanceObservation)) -> Decision {
    Scene::converged().sees(MASTER, change).decide(MASTER)
}

/// What is decided for its minion.
pub(super) fn minion_when(change: impl FnOnce(&mut InstanceObservation)) -> Decision {
    Scene::converged().sees(MINION, change).decide(MINION)
}

/// What a decision says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Says {
    Nothing,
    /// Blocked, with this among the words.
    Blocked(&'static str),
    /// Waiting, with this among the words.
    Waits(&'static str),
}

/// One row: its name, what was decided, and what should have been.
pub(super) type Row<'a> = (&'a str, Decision, InstanceState, &'a [&'a str], Says);

/// Compares all rows, and tells all that differ.
pub(super) fn table<const N: usize>(rows: [Row<'_>; N]) {
    let wrong: Vec<String> = rows.iter().filter_map(differs).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn differs((name, decision, state, steps, says): &Row<'_>) -> Option<String> {
    let words: Vec<String> = decision.steps.iter().map(ToString::to_string).collect();
    let said = match (says, &decision.blocked, &decision.waiting) {
        (Says::Nothing, None, None) => true,
        (Says::Blocked(part), Some(why), None) => why.contains(part),
        (Says::Waits(part), None, Some(what)) => what.contains(part),
        _ => false,
    };
    let same = decision.state == *state && words == *steps && said;
    (!same).then(|| {
        format!(
            "{name}:\n  expected {state} {steps:?} {says:?}\n  found    {} {words:?} blocked {:?} \
             waiting {:?}",
            decision.state, decision.blocked, decision.waiting
        )
    })
}

pub(super) fn unknown<T>() -> Observed<T> {
    Observed::Unknown("the probe's reason".to_owned())
}

pub(super) fn marker(seen: &mut InstanceObservation) -> &mut Marker {
    match &mut seen.data {
        Observed::Present(DataFacts::Own { marker, .. }) => marker,
        other => panic!("no marker in {other:?}"),
    }
}

pub(super) fn container(seen: &mut InstanceObservation) -> &mut ContainerFacts {
    match &mut seen.container {
        Observed::Present(container) => container,
        other => panic!("no container in {other:?}"),
    }
}

pub(super) fn disk(seen: &mut InstanceObservation) -> &mut FileSystem {
    match &mut seen.disk {
        Observed::Present(disk) => &mut disk.on,
        other => panic!("no disk in {other:?}"),
    }
}

/// The instance has a disk of its own, mounted at its directory.
pub(super) fn own_disk(seen: &mut InstanceObservation) {
    mounted(seen, MASTER);
}

/// The same for the instance of this name.
pub(super) fn mounted(seen: &mut InstanceObservation, name: &str) {
    let Observed::Present(disk) = &mut seen.disk else { panic!("no disk") };
    disk.path = config().instance_dir(&key(name));
    disk.on.mount_point = disk.path.clone();
    disk.on.device = Ok(BlockDevice {
        number: DeviceNumber { major: 253, minor: 1 },
        name: "dm-1".to_owned(),
        via: Via::DeviceMapper,
    });
}

pub(super) fn server(seen: &mut InstanceObservation) -> &mut ServerFacts {
    match &mut seen.server {
        Observed::Present(server) => server,
        other => panic!("no server in {other:?}"),
    }
}

pub(super) fn replica(seen: &mut InstanceObservation) -> &mut ReplicaStatus {
    server(seen).snapshot.replica.as_mut().unwrap()
}

/// The container is in this state, and no server answers.
pub(super) fn container_is(seen: &mut InstanceObservation, state: ContainerState) {
    container(seen).state = state;
    seen.server = Observed::Absent;
}

pub(super) fn no_container(seen: &mut InstanceObservation) {
    (seen.container, seen.server) = (Observed::Absent, Observed::Absent);
}

pub(super) fn nothing(seen: &mut InstanceObservation) {
    no_container(seen);
    seen.data = Observed::Absent;
}

/// The instance is being seeded from the master.
pub(super) fn seeding(seen: &mut InstanceObservation) {
    let marker = marker(seen);
    (marker.state, marker.role) = (DataState::Seeding { from: MASTER_ADDRESS.to_owned() }, None);
    container(seen).purpose = Some(Purpose::Seed);
    let snapshot = &mut server(seen).snapshot;
    (snapshot.super_read_only, snapshot.offline_mode) = (false, false);
    (snapshot.replica, snapshot.clone) = (None, None);
}

/// CLONE is done, and the server was started again.
pub(super) fn seeded(seen: &mut InstanceObservation) {
    let marker = marker(seen);
    (marker.state, marker.role) = (DataState::Seeded { from: MASTER_ADDRESS.to_owned() }, None);
    let snapshot = &mut server(seen).snapshot;
    (snapshot.replica, snapshot.offline_mode) = (None, true);
}

/// The last CLONE, with its stage `DROP DATA` in this state.
pub(super) fn clone_is(seen: &mut InstanceObservation, state: CloneState, dropped: &str) {
    let stage = |name: &str, state: &str, data| CloneStage {
        name: name.to_owned(),
        state: state.to_owned(),
        data,
        estimate: 64 << 20,
    };
    server(seen).snapshot.clone = Some(CloneStatus {
        state,
        error_no: 0,
        error_message: "the donor's reason".to_owned(),
        source: MASTER_ADDRESS.to_owned(),
        gtid_executed: GtidSet::default(),
        session: None,
        stages: vec![stage("DROP DATA", dropped, 0), stage("FILE COPY", "In Progress", 16 << 20)],
    });
}

/// A transaction that no server of the scene has written.
pub(super) fn stranger() -> GtidSet {
    "ffffffff-0000-0000-0000-000000000000:1".parse().unwrap()
}
