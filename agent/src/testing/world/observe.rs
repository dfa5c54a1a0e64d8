//! The world as the probes would find it.

use std::{collections::BTreeMap, net::SocketAddr};

use berth_model::{
    EntryKey,
    goal::{Entry, GoalState, Role},
};

use super::{
    Container, DIGEST, Database, Directory, OWNER, Place, Process, Server, World, network::LOCAL,
    time,
};
use crate::{
    data::{DataFacts, DataState},
    mysql::{
        CloneStage, CloneState, CloneStatus, GtidSet, HeldVariables, IoState, Plugins,
        ReplicaStatus, SemiSync, Snapshot, SourceView, Version,
    },
    observe::{
        ContainerFacts, ContainerState, ImageFacts, InstanceObservation, Observation, Observed,
        ServerFacts, SourceFacts, TreeFacts,
    },
};

impl World {
    /// One pass's observation. `busy` are the lanes at work.
    pub(crate) fn observe(&self, busy: BTreeMap<String, String>) -> Observation {
        let own = self.goals.own.iter();
        let instances =
            own.map(|(key, goal)| (key.clone(), self.instance(key, &goal.placed.entry)));
        let references = self.goals.own.values().map(|goal| {
            goal.placed.entry.image.clone().unwrap_or_else(|| self.config.image.clone())
        });
        let image = ImageFacts {
            config_digest: DIGEST.to_owned(),
            tree: self.unpacked.then(|| self.tree()),
        };
        Observation {
            instances: instances.collect(),
            images: references
                .map(|name| match self.pulled {
                    true => (name, Observed::Present(image.clone())),
                    false => (name, Observed::Absent),
                })
                .collect(),
            image_store: Observed::Present(berth_images::Usage::default()),
            network: self.observe_networks(),
            strays: Vec::new(),
            busy,
        }
    }

    fn tree(&self) -> TreeFacts {
        TreeFacts {
            root: "/var/lib/berth/images/trees/0123".into(),
            mysqld: Some("/usr/sbin/mysqld".into()),
            owner: Some(OWNER),
            env: vec!["PATH=/usr/sbin:/usr/bin".to_owned()],
            volumes: vec!["/var/lib/mysql".into()],
            template: self.template,
        }
    }

    fn instance(&self, key: &EntryKey, entry: &Entry) -> InstanceObservation {
        let place = &self.places[key];
        InstanceObservation {
            data: match place.disk.hangs {
                true => Observed::Unknown("its disk has not answered for 1.5 s".to_owned()),
                false => present(place.data.as_ref().map(data_facts)),
            },
            disk: self.disk_facts(key),
            container: present(place.container.as_ref().map(|c| container_facts(key, c))),
            server: self.server(place, entry),
            source: self.source_facts(entry),
            port_taken: present(self.port_taken(place, entry)),
            log_bytes: Observed::Present(0),
        }
    }

    fn server(&self, place: &Place, entry: &Entry) -> Observed<ServerFacts> {
        let (Some(server), Some(data)) = (place.server(), &place.data) else {
            return Observed::Absent;
        };
        if !server.answers {
            return Observed::Unknown("cannot connect to mysqld.sock".to_owned());
        }
        let global = |name: &String| {
            (name.clone(), server.globals.get(name).cloned().unwrap_or_else(|| "0".to_owned()))
        };
        Observed::Present(ServerFacts {
            snapshot: self.snapshot(server, &data.database, entry.port),
            globals: entry.variables.keys().map(global).collect(),
            accounts: entry.role == Role::Minion || data.database.accounts,
        })
    }

    fn snapshot(&self, server: &Server, database: &Database, port: u16) -> Snapshot {
        Snapshot {
            version: Version { major: 9, minor: 7, patch: 4 },
            server_uuid: time::uuid(database.server.unwrap_or_default()),
            server_id: 1,
            port,
            read_only: server.super_read_only,
            super_read_only: server.super_read_only,
            offline_mode: server.offline,
            gtid_executed: database.executed.clone(),
            gtid_purged: GtidSet::default(),
            held: HeldVariables {
                sync_binlog: server.sync_binlog,
                innodb_flush_log_at_trx_commit: server.flush,
                semi_sync: SemiSync {
                    source_enabled: Some(server.semi_source),
                    replica_enabled: Some(server.semi_replica),
                    ..SemiSync::default()
                },
            },
            pool: server.pool,
            plugins: Plugins {
                auth_socket: true,
                clone: true,
                semi_sync_source: true,
                semi_sync_replica: true,
            },
            uptime_seconds: 60,
            replica: database.source.map(|at| self.replica(server, at)),
            other_channels: Vec::new(),
            replicas: Vec::new(),
            clone: database.clone.map(|(state, at)| clone_status(state, at, database)),
        }
    }

    fn replica(&self, server: &Server, at: SocketAddr) -> ReplicaStatus {
        let io = match (server.threads, self.source(at)) {
            (false, _) => IoState::Stopped,
            (true, None) => IoState::Connecting,
            (true, Some(_)) => IoState::Running,
        };
        ReplicaStatus {
            source_host: at.ip().to_string(),
            source_port: at.port(),
            source_user: "berth_replication".to_owned(),
            source_uuid: None,
            auto_position: true,
            ssl: true,
            io,
            sql_running: server.threads,
            last_io_errno: 0,
            last_io_error: String::new(),
            last_io_error_at: None,
            last_sql_errno: 0,
            last_sql_error: String::new(),
            retrieved: GtidSet::default(),
            seconds_behind: Some(0),
            worker_errors: Vec::new(),
        }
    }

    fn source_facts(&self, entry: &Entry) -> Observed<SourceFacts> {
        let (Role::Minion, GoalState::Started, Some(name)) =
            (entry.role, entry.state, &entry.source)
        else {
            return Observed::Absent;
        };
        let at = match self.address_of_source(entry, name.port) {
            Some(at) => at,
            None => return Observed::Unknown("it has no address yet".to_owned()),
        };
        let server = match self.source(at) {
            None => Observed::Unknown("connection refused".to_owned()),
            Some((server, database)) => Observed::Present(SourceView {
                server_uuid: time::uuid(database.server.unwrap_or_default()),
                read_only: server.super_read_only,
                super_read_only: server.super_read_only,
                gtid_executed: database.executed.clone(),
                gtid_purged: GtidSet::default(),
                is_replica: database.source.is_some(),
            }),
        };
        Observed::Present(SourceFacts { address: (at.ip(), at.port()), server })
    }

    /// By the goals and the leases.
    fn address_of_source(&self, entry: &Entry, port: u16) -> Option<SocketAddr> {
        let peer = self.goals.source_of(entry);
        let vlan = peer.filter(|peer| peer.entry.network.is_vlan());
        let own = |key| self.networks.leases.get(key).map(|lease| lease.address);
        let ip =
            vlan.map_or(Some(LOCAL), |peer| peer.entry.network.ip().or_else(|| own(&peer.key)));
        Some(SocketAddr::new(ip?, port))
    }

    fn port_taken(&self, place: &Place, entry: &Entry) -> Option<SocketAddr> {
        let at = SocketAddr::new(LOCAL, entry.port);
        let own = place.server().and(place.container.as_ref()).map(Container::address);
        let on_host = entry.state == GoalState::Started && !entry.network.is_vlan();
        let taken = on_host && own != Some(at) && self.serving(at).is_some();
        taken.then_some(at)
    }
}

fn present<T>(value: Option<T>) -> Observed<T> {
    value.map_or(Observed::Absent, Observed::Present)
}

fn data_facts(data: &Directory) -> DataFacts {
    let half_made = data.marker.state == DataState::Initialising;
    DataFacts::Own { marker: data.marker.clone(), owner: (!half_made).then_some(OWNER) }
}

fn container_facts(key: &EntryKey, container: &Container) -> ContainerFacts {
    let state = match &container.process {
        Process::Creating => ContainerState::Creating,
        Process::Running(server) => ContainerState::Running { pid: server.pid },
        Process::Exited(exit) => ContainerState::Exited(exit.clone()),
    };
    ContainerFacts {
        id: key.to_string(),
        state,
        purpose: Some(container.purpose),
        made_from: container.made_from.clone(),
        port: Some(container.port),
        network: container.network.clone(),
        image_digest: DIGEST.to_owned(),
        limits: container.limits.clone(),
        pinned_bytes: match &container.process {
            Process::Running(server) => Observed::Present(server.memory()),
            _ => Observed::Absent,
        },
        created_at: container.created_at,
        notes: Vec::new(),
    }
}

fn clone_status(state: CloneState, at: SocketAddr, database: &Database) -> CloneStatus {
    let dropped = if database.torn { "Completed" } else { "Not Started" };
    CloneStatus {
        state,
        error_no: if state == CloneState::Failed { 3862 } else { 0 },
        error_message: String::new(),
        source: at.to_string(),
        gtid_executed: GtidSet::default(),
        session: (state == CloneState::Running).then_some(8),
        stages: vec![CloneStage {
            name: "DROP DATA".to_owned(),
            state: dropped.to_owned(),
            data: 0,
            estimate: 0,
        }],
    }
}
