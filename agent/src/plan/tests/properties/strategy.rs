//! Worlds, goals and events to try the planner on.

use std::net::SocketAddr;

use berth_model::goal::Role;
use berth_runtime::{ExitStatus, Limits};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

use crate::{
    data::{DataState, Marker, Origin},
    mysql::CloneState,
    observe::Purpose,
    testing::{
        config,
        entries::{Entry, master, minion},
        key, start_of_time,
        world::{Container, Database, Directory, Place, Process, Server, World, exit, pool_for},
    },
};

/// The instances of a cluster.
pub(super) const NAMES: [&str; 3] = ["db1", "db2", "db3"];
const PORTS: [u16; 3] = [7001, 7002, 7003];

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A master and two minions.
pub(super) fn steady_goals() -> [Entry; 3] {
    [master("db1", 7001), minion("db2", 7002, 7001), minion("db3", 7003, 7001)]
}

/// What operators may want of the cluster, one after the other in any order.
pub(super) fn goals_at(which: usize) -> [Entry; 3] {
    let [db1, db2, db3] = steady_goals();
    let follower = |name, port| minion(name, port, 7002);
    match which {
        0 => [db1, db2, db3],
        1 => [db1.disabled(), db2, db3.disabled()],
        2 => [db1.state("stopped"), db2, db3.state("removed")],
        // The second is to be the master: before it was made, this is a new cluster.
        3 => [follower("db1", 7001), master("db2", 7002), follower("db3", 7003)],
        4 => [db1.state("stopped"), master("db2", 7002), follower("db3", 7003)],
        5 => [db1.with("port", 7011), minion("db2", 7012, 7011), minion("db3", 7003, 7011)],
        // With networks of their own, and from one to another.
        6 => [db1, db2, db3].map(|entry| entry.with("network", vlan("orders"))),
        7 => [
            db1.with("network", vlan("tiny")),
            db2.with("network", vlan("orders")),
            db3.with("network", vlan("orders")).state("removed"),
        ],
        8 => [
            db1.with("network", at("10.20.0.2")),
            db2.with("network", vlan("tiny")).state("stopped"),
            db3.with("network", vlan("tiny")),
        ],
        9 => [db1, db2.with("network", at("10.20.0.1")), db3.with("network", at("10.20.0.8"))],
        // In other sizes: of all 64 GiB, so that one grows only after another has shrunk.
        10 => [db1.with("size", "40GiB"), db2.with("size", "3GiB"), db3.with("size", "1/4")],
        11 => [db1.with("size", "8GiB"), db2.with("size", "5GiB"), db3.with("size", "3/4")],
        _ => [db1.with("size", "2GiB"), db2.with("size", "60GiB"), db3.with("size", "2GiB")],
    }
}

/// How many goals [`goals_at`] has.
pub(super) const GOALS: usize = 13;
/// Those that differ in their sizes only.
pub(super) const SIZES: std::ops::Range<usize> = 10..13;

fn vlan(pool: &str) -> Value {
    json!({ "mode": "vlan", "pool": pool })
}

fn at(ip: &str) -> Value {
    json!({ "mode": "vlan", "pool": "orders", "ip": ip })
}

/// What happens to a host.
#[derive(Debug, Clone)]
pub(super) enum Event {
    Pass,
    /// One step of one of the lanes at work.
    Step(usize),
    Tick,
    /// Lanes that were in the middle of a step, a bit each.
    KillAgent(u8),
    KillServer(usize),
    Goals(usize),
    WipePins,
    /// The switch's database ends, or comes back.
    Switch(bool),
    /// The disk of one is sound, read-only, full or silent from now on.
    Disk(usize, u8),
}

/// A life of a host, in which the goals are among these.
pub(super) fn events(goals: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => Just(Event::Pass),
        12 => (0usize..4).prop_map(Event::Step),
        6 => Just(Event::Tick),
        2 => any::<u8>().prop_map(Event::KillAgent),
        2 => (0..NAMES.len()).prop_map(Event::KillServer),
        2 => goals.prop_map(Event::Goals),
        1 => Just(Event::WipePins),
        1 => any::<bool>().prop_map(Event::Switch),
        2 => (0..NAMES.len(), 0u8..4).prop_map(|(which, state)| Event::Disk(which, state)),
    ];
    vec(event, 0..120)
}

/// What is not known of each instance, and of the host; a bit each. Mostly nothing.
pub(super) fn unknowns() -> impl Strategy<Value = ([u8; 3], u8)> {
    let one = || prop_oneof![2 => Just(0u8), 3 => 0u8..32];
    ([one(), one(), one()], prop_oneof![2 => Just(0u8), 1 => 0u8..16])
}

/// Any world in which no two servers take writes already; the rest is the planner's task.
pub(super) fn arbitrary_world() -> impl Strategy<Value = World> {
    let places = [place(0), place(1), place(2)];
    (0usize..GOALS, any::<bool>(), any::<bool>(), places).prop_map(
        |(goals, unpacked, template, places)| {
            let mut world = World::new(config(), &goals_at(goals));
            (world.unpacked, world.template) = (unpacked || template, template);
            let mut writer = false;
            for (name, mut place) in NAMES.into_iter().zip(places) {
                if let Some(container) = &mut place.container
                    && let Process::Running(server) = &mut container.process
                    && container.purpose == Purpose::Serve
                {
                    server.super_read_only |= writer;
                    writer |= !server.super_read_only;
                }
                *world.place(&key(name)) = place;
            }
            world
        },
    )
}

fn place(which: usize) -> impl Strategy<Value = Place> {
    (option::weighted(0.9, directory(which)), option::weighted(0.8, container(which))).prop_map(
        |(data, container)| {
            let mut place = Place { data, container, ..Place::default() };
            make_possible(&mut place);
            place
        },
    )
}

fn directory(which: usize) -> impl Strategy<Value = Directory> {
    let from = || "127.0.0.1:7001".to_owned();
    let state = select(vec![
        DataState::Initialising,
        DataState::Seeding { from: from() },
        DataState::Seeded { from: from() },
        DataState::Ready,
        DataState::Ready,
    ]);
    let origin = select(vec![Origin::Initialised, Origin::Cloned]);
    let role = select(vec![None, Some(Role::Master), Some(Role::Minion)]);
    let marker = (state, origin, role).prop_map(move |(state, origin, role)| Marker {
        version: 1,
        instance: key(NAMES[which]),
        state,
        origin,
        role,
        created_at: start_of_time(),
    });
    (marker, database(which)).prop_map(|(marker, database)| Directory { marker, database })
}

fn database(which: usize) -> impl Strategy<Value = Database> {
    let source = option::of(select(PORTS.map(local).to_vec()));
    let clone = option::of(select(vec![
        CloneState::NotStarted,
        CloneState::Interrupted,
        CloneState::Completed,
        CloneState::Failed,
    ]));
    let number = u32::try_from(which).unwrap() + 1;
    (0u64..3, any::<bool>(), source, clone).prop_map(move |(written, accounts, source, clone)| {
        let mut database = Database {
            server: Some(number),
            accounts,
            source,
            clone: clone.map(|state| (state, local(7001))),
            ..Database::default()
        };
        (0..written).for_each(|_| database.write());
        database
    })
}

fn container(which: usize) -> impl Strategy<Value = Container> {
    let purpose = select(vec![Purpose::Seed, Purpose::Serve, Purpose::Serve]);
    let limit = select(vec![None, Some(1 << 30), Some(4 << 30), Some(4 << 30), Some(9 << 30)]);
    // How its pool was changed since it was started for that, and what its clients took.
    let since = (select(vec![1u64, 1, 2]), select(vec![0u64, 0, 1 << 30]));
    let process = prop_oneof![
        1 => Just(Process::Creating),
        4 => server().prop_map(Process::Running),
        1 => select(vec![ExitStatus::Code(0), ExitStatus::Code(16), ExitStatus::Signal(9)])
            .prop_map(|status| Process::Exited(exit(status))),
    ];
    (purpose, process, any::<bool>(), limit, since).prop_map(
        move |(purpose, process, old, limit, since)| Container {
            purpose,
            made_from: match old {
                true => "an older goal".to_owned(),
                false => format!("image=berth/mysql:9.7 port={} size=9GiB", PORTS[which]),
            },
            limits: Limits { memory_max_bytes: limit, ..Limits::default() },
            created_at: start_of_time(),
            port: PORTS[which],
            network: None,
            process: match process {
                Process::Running(server) => Process::Running(with_memory(server, limit, since)),
                other => other,
            },
        },
    )
}

/// A server as it was started under a limit, its pool changed since, and below the limit.
fn with_memory(mut server: Server, limit: Option<u64>, (part, clients): (u64, u64)) -> Server {
    let limit = limit.unwrap_or(9 << 30);
    server.pool = pool_for(limit);
    let step = server.pool.fixed.instances * server.pool.fixed.chunk;
    server.pool.size = (server.pool.size / part).next_multiple_of(step);
    server.clients_bytes = if server.memory() + clients < limit { clients } else { 0 };
    server
}

fn server() -> impl Strategy<Value = Server> {
    (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(answers, super_read_only, offline, threads)| Server {
            answers,
            super_read_only,
            offline,
            threads,
            ..Server::booted(Purpose::Serve, 7, pool_for(4 << 30))
        },
    )
}

/// Takes away what no history leads to, so that what the model calls wrong is the planner's
/// doing.
fn make_possible(place: &mut Place) {
    let purpose = place.container.as_ref().map(|container| container.purpose);
    if let Some(data) = &mut place.data {
        data.database.precious = data.marker.state == DataState::Ready;
        let half_made = data.marker.state == DataState::Initialising;
        let cloned = data.database.clone.is_some_and(|(state, _)| state == CloneState::Completed);
        data.database.torn = half_made || (!data.database.precious && !cloned);
    }
    let ready = place.data.as_ref().is_some_and(|data| data.database.precious);
    let minion = place.data.as_ref().is_some_and(|data| data.marker.role == Some(Role::Minion));
    if let Some((server, database)) = place.running() {
        // A hand may open a minion, and then it answers; berth marks it a master first.
        server.super_read_only |= minion && !server.answers;
        server.threads &= database.source.is_some();
        server.offline |= !ready;
        if purpose == Some(Purpose::Seed) {
            server.super_read_only = false;
        }
    }
}
