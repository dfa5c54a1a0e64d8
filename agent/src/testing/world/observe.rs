//! The world as the probes would find it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use berth_model::{
    EntryKey,
    goal::{Entry, GoalState, Role},
};
use berth_runtime::{BlockDevice, DeviceNumber, Via};

use super::{Container, DIGEST, Database, Directory, OWNER, Place, Process, Server, World, time};
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
    plan::Peer,
};

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

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
            images: references.map(|name| (name, Observed::Present(image.clone()))).collect(),
            data_free_bytes: Observed::Present(1 << 40),
            data_device: Observed::Present(BlockDevice {
                number: DeviceNumber { major: 254, minor: 16 },
                name: "vdb".to_owned(),
                via: Via::Disk,
            }),
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
            template: self.template,
        }
    }

    fn instance(&self, key: &EntryKey, entry: &Entry) -> InstanceObservation {
        let place = &self.places[key];
        InstanceObservation {
            data: present(place.data.as_ref().map(data_facts)),
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
            plugins: Plugins {
                auth_socket: true,
                clone: true,
                semi_sync_source: true,
                semi_sync_replica: true,
            },
            uptime_seconds: 60,
            replica: database.source.map(|port| self.replica(server, port)),
            other_channels: Vec::new(),
            replicas: Vec::new(),
            clone: database.clone.map(|(state, port)| clone_status(state, port, database)),
        }
    }

    fn replica(&self, server: &Server, port: u16) -> ReplicaStatus {
        let io = match (server.threads, self.source(port)) {
            (false, _) => IoState::Stopped,
            (true, None) => IoState::Connecting,
            (true, Some(_)) => IoState::Running,
        };
        ReplicaStatus {
            source_host: LOCAL.to_string(),
            source_port: port,
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
        let server = match self.source(name.port) {
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
        Observed::Present(SourceFacts { address: (LOCAL, name.port), server })
    }

    fn port_taken(&self, place: &Place, entry: &Entry) -> Option<SocketAddr> {
        let own = place.server().and(place.container.as_ref()).map(|container| container.port);
        let asked = entry.state == GoalState::Started && own != Some(entry.port);
        let taken = asked && self.serving(entry.port).is_some();
        taken.then(|| SocketAddr::new(LOCAL, entry.port))
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
        image_digest: DIGEST.to_owned(),
        limits: container.limits.clone(),
        created_at: container.created_at,
        notes: Vec::new(),
    }
}

fn clone_status(state: CloneState, port: u16, database: &Database) -> CloneStatus {
    let dropped = if database.torn { "Completed" } else { "Not Started" };
    CloneStatus {
        state,
        error_no: if state == CloneState::Failed { 3862 } else { 0 },
        error_message: String::new(),
        source: Peer { host: LOCAL, port, cluster: "orders".parse().unwrap() }.to_string(),
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
