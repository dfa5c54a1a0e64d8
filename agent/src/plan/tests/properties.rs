//! What must hold in every state, whatever is killed and in whatever order lanes advance.
//!
//! **Destructive** steps are those that end a server, remove or replace what is on the
//! disk, or let writes in: see [`is_destructive`]. An unknown never *yields* one: whatever
//! destructive step is planned while something is unknown, is planned also when it is
//! known, whatever it is. So a container may be stopped although its server doesn't answer
//! if its goal says `stopped`; but nothing is thrown away, begun anew or promoted because a
//! probe failed.
//!
//! What the model itself watches for is in [`crate::testing::world`].

mod strategy;

use berth_model::goal::{GoalState, Role};
use proptest::prelude::*;

use super::scene::unknown;
use crate::testing::agent::Agent;
use crate::{
    data::{DataFacts, DataState},
    observe::{InstanceObservation, Observation, Observed},
    plan::{Plan, Step, Verb, network, plan},
    testing::{config, key, world::World},
};
use strategy::{
    Event, GOALS, NAMES, SIZES, arbitrary_world, events, goals_at, steady_goals, unknowns,
};

/// Steps that end a server, take or replace data, or let writes in. `ready` says whether the
/// data is complete: what a CLONE left that has never served can be had again.
fn is_destructive(step: &Step, ready: bool) -> bool {
    match step {
        Step::StopContainer { .. }
        | Step::RemoveContainer { .. }
        | Step::CreateData { .. }
        | Step::MoveAside { .. } => true,
        // To call ready data anything less would have it thrown away.
        Step::Mark { marker, .. } => ready && marker.state != DataState::Ready,
        Step::Sql { verb, .. } => matches!(verb, Verb::Clone { .. } | Verb::TakeWrites),
        Step::DetachNetwork { .. } => true,
        _ => false,
    }
}

fn plan_of(agent: &Agent, observation: &Observation) -> Plan {
    let world = &agent.world;
    plan(&world.config, &world.goals, observation, &agent.journal, world.now)
}

fn destructive(agent: &Agent, plan: &Plan, name: &str) -> Vec<Step> {
    let data = agent.world.places[&key(name)].data.as_ref();
    let ready = data.is_some_and(|data| data.marker.state == DataState::Ready);
    let own = plan.instances.get(&key(name)).into_iter().flat_map(|decision| &decision.steps);
    let of_network = plan.shared.get(&network::lane(&key(name))).into_iter().flatten();
    let gives_up = |step: &Step| match step {
        Step::AttachNetwork { request, .. } => {
            let lease = agent.world.networks.leases.get(&key(name));
            lease.is_some_and(|lease| lease.pool != request.pool)
        }
        step => is_destructive(step, ready),
    };
    own.chain(of_network).filter(|step| gives_up(step)).cloned().collect()
}

/// What is unknown of an instance, a bit each.
fn forget(seen: &mut InstanceObservation, which: u8) {
    if which & 1 != 0 {
        seen.data = unknown();
    }
    if which & 2 != 0 {
        (seen.container, seen.server) = (unknown(), unknown());
    }
    if which & 4 != 0 && seen.server != Observed::Absent {
        seen.server = unknown();
    }
    if which & 8 != 0 && seen.source != Observed::Absent {
        seen.source = unknown();
    }
    if which & 16 != 0
        && let Observed::Present(source) = &mut seen.source
    {
        source.server = unknown();
    }
}

fn forget_host(observation: &mut Observation, which: u8) {
    if which & 1 != 0 {
        observation.instances.values_mut().for_each(|seen| seen.disk = unknown());
    }
    if which & 2 != 0 {
        observation.images.values_mut().for_each(|image| *image = unknown());
    }
    if which & 8 != 0 && observation.network != Observed::Absent {
        observation.network = unknown();
    }
}

/// Does what the events say, and then passes in peace until all is done.
fn live(agent: &mut Agent, events: &[Event]) -> Result<Plan, String> {
    for event in events {
        match event {
            Event::Pass => drop(agent.pass()),
            Event::Step(which) => agent.step(*which),
            Event::Tick => agent.world.tick(),
            Event::KillAgent(half) => agent.kill(*half),
            Event::KillServer(which) => agent.world.kill(&key(NAMES[*which])),
            Event::Goals(which) => agent.world.set_goals(&goals_at(*which)),
            Event::WipePins => agent.world.wipe_pins(),
            Event::Disk(which, state) => agent.world.set_disk(&key(NAMES[*which]), *state),
            Event::Switch(up) => agent.world.networks.switch_up = *up,
        }
    }
    agent.world.networks.switch_up = true;
    NAMES.iter().for_each(|name| agent.world.set_disk(&key(name), 0));
    agent.settle()
}

proptest! {
    #[test]
    fn an_unknown_yields_no_destructive_step(
        world in arbitrary_world(), (of_each, of_host) in unknowns(),
    ) {
        let agent = Agent::new(world);
        let known = agent.world.observe(Default::default());
        let mut seen = known.clone();
        for (name, which) in NAMES.iter().zip(of_each) {
            if let Some(seen) = seen.instances.get_mut(&key(name)) {
                forget(seen, which);
            }
        }
        forget_host(&mut seen, of_host);
        let (blind, sighted) = (plan_of(&agent, &seen), plan_of(&agent, &known));
        for (name, which) in NAMES.iter().zip(of_each) {
            let would = destructive(&agent, &sighted, name);
            // While the image or the networks are unknown, a container that was to be replaced
            // stays, and is held in its role.
            let kept = of_host & 10 != 0 && would.iter().any(|s| matches!(s, Step::StopContainer { .. }));
            for step in destructive(&agent, &blind, name) {
                let as_before = kept && matches!(step, Step::Sql { .. });
                prop_assert!(as_before || would.contains(&step),
                    "{name} {which:05b}: {step}, expected {would:?}");
            }
            // An instance's own directory or container: then nothing at all is done to it.
            let started = agent.world.goals.own.get(&key(name))
                .is_some_and(|goal| goal.placed.entry.state == GoalState::Started);
            if let Some(decision) = blind.instances.get(&key(name))
                && (which & 2 != 0 || (which & 1 != 0 && started))
            {
                prop_assert_eq!(&decision.steps, &Vec::new());
                prop_assert!(decision.blocked.is_some());
            }
        }
    }

    #[test]
    fn only_an_enabled_master_that_does_not_replicate_takes_writes(world in arbitrary_world()) {
        let agent = Agent::new(world);
        let observation = agent.world.observe(Default::default());
        for (key, decision) in plan_of(&agent, &observation).instances {
            let takes = |step: &Step| matches!(step, Step::Sql { verb: Verb::TakeWrites, .. });
            let opens = |step: &Step| {
                matches!(step, Step::Sql { verb: Verb::OfflineMode { on: false }, .. })
            };
            let entry = &agent.world.goals.own[&key].placed.entry;
            let seen = &observation.instances[&key];
            if decision.steps.iter().any(takes) {
                prop_assert_eq!((entry.role, entry.disabled, entry.state),
                    (Role::Master, false, GoalState::Started));
                let server = seen.server.present().expect("a server that answers");
                prop_assert!(server.snapshot.replica.is_none());
            }
            if let Some(at) = decision.steps.iter().position(opens) {
                let ready = |state: &DataState| *state == DataState::Ready;
                let marked = decision.steps[..at].iter().any(|step| {
                    matches!(step, Step::Mark { marker, .. } if ready(&marker.state))
                });
                let found = matches!(&seen.data,
                    Observed::Present(DataFacts::Own { marker, .. }) if ready(&marker.state));
                prop_assert!(marked || found, "{key}: opened before its data is ready");
            }
        }
    }

    #[test]
    fn a_plan_ends_from_any_state(world in arbitrary_world()) {
        let mut agent = Agent::new(world);
        let end = agent.settle();
        prop_assert!(end.is_ok(), "{end:?}; refused {:?}", agent.refused);
        prop_assert_eq!(&agent.world.wrongs, &Vec::<String>::new());
    }

    #[test]
    fn nothing_is_ever_wrong_whatever_is_killed_and_wanted(events in events(0..GOALS)) {
        let mut agent = Agent::new(World::new(config(), &goals_at(0)));
        let end = live(&mut agent, &events);
        prop_assert!(end.is_ok(), "{end:?}; refused {:?}", agent.refused);
        prop_assert_eq!(&agent.world.wrongs, &Vec::<String>::new());
    }

    #[test]
    fn a_cluster_converges_whatever_is_killed(events in events(0..1)) {
        let mut agent = Agent::new(World::new(config(), &steady_goals()));
        let plan = live(&mut agent, &events);
        let plan = plan.map_err(|why| TestCaseError::fail(format!("{why}; {:?}", agent.refused)))?;
        prop_assert_eq!(&agent.world.wrongs, &Vec::<String>::new());
        for (key, decision) in &plan.instances {
            prop_assert_eq!(&decision.blocked, &None, "{}", key);
            let place = agent.world.place(key);
            let (server, database) = place.running().expect("a server that runs");
            prop_assert!(server.answers && !server.offline);
            prop_assert_eq!(server.super_read_only, database.source.is_some());
        }
    }
}

proptest! {
    #[test]
    fn a_cluster_in_vlan_mode_converges_whatever_is_killed(events in events(6..7)) {
        let mut agent = Agent::new(World::new(config(), &goals_at(6)));
        let plan = live(&mut agent, &events);
        let plan = plan.map_err(|why| TestCaseError::fail(format!("{why}; {:?}", agent.refused)))?;
        prop_assert_eq!(&agent.world.wrongs, &Vec::<String>::new());
        for (key, decision) in &plan.instances {
            prop_assert_eq!(&decision.blocked, &None, "{}", key);
            let leased = agent.world.networks.leases.get(key).map(|lease| lease.address);
            prop_assert!(leased.is_some() && agent.world.serves_at(key) == leased, "{key}");
        }
        prop_assert!(plan.shared.is_empty());
    }
}

proptest! {
    /// Sizes change in any order, and in the end each has its memory, without a restart but
    /// for those that the test's own kills brought.
    #[test]
    fn memory_follows_the_sizes_whatever_is_killed(events in events(SIZES)) {
        let mut agent = Agent::new(World::new(config(), &goals_at(SIZES.start)));
        let plan = live(&mut agent, &events);
        let plan = plan.map_err(|why| TestCaseError::fail(format!("{why}; {:?}", agent.refused)))?;
        prop_assert_eq!(&agent.world.wrongs, &Vec::<String>::new());
        for (key, decision) in &plan.instances {
            prop_assert_eq!(&decision.blocked, &None, "{}", key);
            prop_assert_eq!(&decision.waiting, &None, "{}", key);
            let size = agent.world.goals.own[key].placed.entry.size.of(config().memory_bytes);
            let container = agent.world.place(key).container.as_ref().expect("it runs");
            prop_assert_eq!(container.limits.memory_max_bytes, Some(size), "{}", key);
            let pool = agent.world.place(key).server().expect("it runs").pool;
            prop_assert_eq!(pool.size, pool.fixed.size_for(size), "{}", key);
        }
    }
}

#[test]
fn a_fresh_cluster_converges_without_a_refused_step() {
    let mut agent = Agent::new(World::new(config(), &steady_goals()));
    agent.settle().unwrap();
    assert_eq!((&agent.refused, &agent.world.wrongs), (&Vec::new(), &Vec::new()));
    agent.world.tick();
    let again = agent.pass();
    assert!(again.instances.values().all(|decision| decision.steps.is_empty()), "{again:?}");
    let sets: Vec<_> = agent
        .world
        .places
        .values()
        .map(|place| &place.data.as_ref().unwrap().database.executed)
        .collect();
    assert!(!sets[0].is_empty() && sets[1..].iter().all(|set| set.is_subset_of(sets[0])));
}

/// Every place between two steps, one after the other: the agent is killed there, before the
/// step and in its middle, and a new one ends what it began.
#[test]
fn a_kill_between_any_two_steps_is_made_good() {
    let mut killed = 0;
    let mut agent = Agent::new(World::new(config(), &steady_goals()));
    for _ in 0..40 {
        agent.pass();
        while !agent.lanes.is_empty() {
            for half in [0, 0xff] {
                let mut other = agent.clone();
                other.kill(half);
                let plan = other.settle().unwrap();
                assert_eq!(other.world.wrongs, [""; 0]);
                assert!(plan.instances.values().all(|d| d.blocked.is_none()), "{plan:?}");
                killed += 1;
            }
            agent.step(0);
        }
        agent.world.tick();
    }
    assert!(killed > 40, "only {killed} kills");
}
