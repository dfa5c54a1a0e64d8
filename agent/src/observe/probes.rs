//! The probes: each looks at one thing, and may block up to the deadlines given here.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::PoisonError,
    time::Duration,
};

use berth_images::{Reference, Tree};
use berth_model::{
    EntryKey,
    goal::{Entry, GoalState, Goals, Role},
};
use berth_runtime::{Container, ContainerId, State};
use jiff::Timestamp;

use super::{
    AddressFacts, ContainerFacts, ContainerState, ImageFacts, Observed, Purpose, ServerFacts,
    SourceFacts, TreeFacts, source,
};
use crate::{
    config::Config,
    data::{self, DataFacts},
    files,
    host::Host,
    mysql::{self, Deadline, Server},
    plan::{labels, template_dir},
};

/// What is asked of the kernel and of servers about one instance. Nothing of it touches the
/// instance's disk.
pub(super) struct Live {
    pub(super) container: Observed<ContainerFacts>,
    pub(super) server: Observed<ServerFacts>,
    pub(super) source: Observed<SourceFacts>,
    pub(super) port_taken: Observed<SocketAddr>,
    pub(super) log_bytes: Observed<u64>,
}

pub(super) fn live(host: &Host, goals: &Goals, key: &EntryKey) -> Live {
    let placed = &goals.own[key].placed;
    let container = container(host, key);
    let runs = matches!(
        &container,
        Observed::Present(ContainerFacts { state: ContainerState::Running { .. }, .. })
    );
    // The instance's own transactions are read first, its source's second: see mysql::errant.
    let server = if runs { server(host, key, &placed.entry) } else { Observed::Absent };
    Live {
        source: source::source(host, goals, placed),
        port_taken: port_taken(&host.config, &placed.entry, &container),
        log_bytes: log_bytes(&host.config.log_file(key)),
        container,
        server,
    }
}

/// What is in an instance's directory, once its disk has answered.
pub(super) fn data(host: &Host, key: &EntryKey) -> Observed<DataFacts> {
    let dir = host.config.instance_dir(key);
    match data::reach_disk(&dir) {
        Ok(()) => data::inspect(&dir, key).into(),
        Err(error) => Observed::Unknown(format!("its disk can't be read: {error}")),
    }
}

fn container(host: &Host, key: &EntryKey) -> Observed<ContainerFacts> {
    let id = match ContainerId::new(key.as_str()) {
        Ok(id) => id,
        Err(error) => return Observed::Unknown(error.to_string()),
    };
    let mut found = match host.runtime.inspect(&id) {
        Ok(None) => Observed::Absent,
        Ok(Some(container)) => container_facts(container),
        Err(error) => Observed::Unknown(files::chain(&error).join(": ")),
    };
    if let Observed::Present(facts) = &mut found
        && matches!(facts.state, ContainerState::Running { .. })
    {
        facts.pinned_bytes = host.runtime.pinned_memory(&id).into();
    }
    found
}

fn container_facts(container: Container) -> Observed<ContainerFacts> {
    let state = match container.state {
        State::Creating { .. } | State::Interrupted { .. } => ContainerState::Creating,
        State::Running { pid, .. } => ContainerState::Running { pid: pid.unsigned_abs() },
        State::Exited(exit) => ContainerState::Exited(exit),
        State::Unknown { reason } => return Observed::Unknown(reason),
    };
    let Some(record) = container.record else {
        return Observed::Present(ContainerFacts::unrecorded(container.id.to_string(), state));
    };
    let label = |name: &str| record.labels.get(name).cloned().unwrap_or_default();
    let unapplied =
        record.unapplied.iter().map(|limit| format!("no limit {}: {}", limit.limit, limit.reason));
    Observed::Present(ContainerFacts {
        id: container.id.to_string(),
        state,
        purpose: Purpose::from_label(&label(labels::PURPOSE)),
        made_from: label(labels::MADE_FROM),
        image_digest: label(labels::IMAGE),
        port: label(labels::PORT).parse().ok(),
        network: AddressFacts::from_label(&label(labels::NETWORK)),
        created_at: i64::try_from(record.created_at_ms)
            .ok()
            .and_then(|ms| Timestamp::from_millisecond(ms).ok())
            .unwrap_or_default(),
        notes: unapplied.chain(record.notes.iter().cloned()).collect(),
        limits: record.limits,
        pinned_bytes: Observed::Absent,
    })
}

impl ContainerFacts {
    /// A container whose start was cut off before anything was written down.
    fn unrecorded(id: String, state: ContainerState) -> Self {
        Self {
            id,
            state,
            purpose: None,
            made_from: String::new(),
            image_digest: String::new(),
            port: None,
            network: None,
            limits: berth_runtime::Limits::default(),
            pinned_bytes: Observed::Absent,
            created_at: Timestamp::UNIX_EPOCH,
            notes: Vec::new(),
        }
    }
}

fn server(host: &Host, key: &EntryKey, entry: &Entry) -> Observed<ServerFacts> {
    let socket = host.config.socket_dir(key).join(labels::SOCKET);
    if !socket.exists() {
        return Observed::Unknown("it does not listen yet".to_owned());
    }
    match ask(&socket, entry, host.config.probe_timeout) {
        Ok(facts) => Observed::Present(facts),
        Err(error) => Observed::Unknown(files::chain(&error).join(": ")),
    }
}

fn ask(socket: &Path, entry: &Entry, within: Duration) -> mysql::Result<ServerFacts> {
    let deadline = Deadline::after(within);
    let mut server = Server::connect(socket, deadline)?;
    let names: Vec<&str> = entry.variables.keys().map(String::as_str).collect();
    Ok(ServerFacts {
        snapshot: server.snapshot(deadline)?,
        globals: server.globals(&names, deadline)?,
        accounts: entry.role == Role::Minion || server.has_accounts(deadline)?,
    })
}

fn log_bytes(path: &Path) -> Observed<u64> {
    match std::fs::metadata(path) {
        Ok(meta) => Observed::Present(meta.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Observed::Absent,
        Err(error) => Observed::Unknown(format!("cannot examine {}: {error}", path.display())),
    }
}

/// The containers that are no own instance's. One that can't be read is left out.
pub(super) fn strays(host: &Host, goals: &Goals) -> Vec<ContainerFacts> {
    let own = |id: &ContainerId| {
        id.as_str().parse().is_ok_and(|key: EntryKey| goals.own.contains_key(&key))
    };
    let listed = host.runtime.list().unwrap_or_default();
    let others = listed.into_iter().filter(|(id, _)| !own(id));
    others
        .filter_map(|(_, container)| match container_facts(container.ok()?) {
            Observed::Present(facts) => Some(facts),
            Observed::Absent | Observed::Unknown(_) => None,
        })
        .collect()
}

/// Whether someone else listens on the instance's port, tried by bind(2). Not asked while
/// its own container may hold it; one with another port, from an earlier goal, doesn't.
fn port_taken(
    config: &Config,
    entry: &Entry,
    container: &Observed<ContainerFacts>,
) -> Observed<SocketAddr> {
    let free = match container {
        Observed::Absent => true,
        Observed::Present(container) => {
            matches!(container.state, ContainerState::Exited(_))
                || container.port.is_some_and(|port| port != entry.port)
                || container.network.is_some()
        }
        Observed::Unknown(_) => false,
    };
    // At an address of its own it has every port.
    if entry.state != GoalState::Started || !free || entry.network.is_vlan() {
        return Observed::Absent;
    }
    let address = SocketAddr::new(config.bind_address, entry.port);
    match TcpListener::bind(address) {
        Ok(_) => Observed::Absent,
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Observed::Present(address),
        Err(error) => Observed::Unknown(error.to_string()),
    }
}

pub(super) fn image_store(host: &Host) -> Observed<berth_images::Usage> {
    let mut meter = host.image_meter.lock().unwrap_or_else(PoisonError::into_inner);
    meter.measure(&host.images).map(Some).into()
}

pub(super) fn image(host: &Host, reference: &str) -> Observed<ImageFacts> {
    let reference: Reference = match reference.parse() {
        Ok(reference) => reference,
        Err(error) => return Observed::Unknown(format!("{error}")),
    };
    let facts = host.images.inspect(&reference).and_then(|found| {
        let Some(found) = found else { return Ok(None) };
        let digest = found.image.config_digest.to_string();
        let config = found.image.config.config().as_ref();
        let env = config.and_then(|config| config.env().clone()).unwrap_or_default();
        let volumes = config.and_then(|config| config.volumes().clone()).unwrap_or_default();
        let facts = |tree| tree_facts(host, &tree, &digest, env, &volumes);
        let tree = found.tree.map(facts).transpose()?;
        Ok(Some(ImageFacts { config_digest: digest, tree }))
    });
    facts.into()
}

fn tree_facts(
    host: &Host,
    tree: &Tree,
    digest: &str,
    env: Vec<String>,
    wanted: &[String],
) -> berth_images::Result<TreeFacts> {
    let template = template_dir(&host.config, digest);
    let mut volumes = Vec::new();
    for volume in wanted.iter().map(PathBuf::from) {
        if tree.has_directory(&volume)? {
            volumes.push(volume);
        }
    }
    Ok(TreeFacts {
        root: tree.root.clone(),
        mysqld: tree.find_executable("mysqld")?,
        owner: tree.user("mysql")?.map(|user| (user.uid, user.gid)),
        env,
        volumes,
        template: data::template_is_ready(&template),
    })
}
