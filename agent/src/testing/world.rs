//! A model of a host: directories, containers and servers that take the planner's steps as
//! the real ones would, refuse what those would refuse, and change by themselves as time
//! passes. It is read by [`World::observe`] as the probes read a host.
//!
//! The model also keeps watch: what must never be, whoever asked for it and whatever was
//! killed, is written down in [`World::wrongs`]:
//! - two servers of one cluster that take writes;
//! - clients let in to data whose marker is not `ready`, or that a CLONE has torn;
//! - data that was once ready thrown away, or changed under a running server;
//! - torn data marked ready, or a server that replicates taking writes;
//! - a running server whose network is taken away, or two instances at one address;
//! - a server above its memory limit, or a limit asked for below what is in use.
//!
//! It knows nothing of time spans or the network between hosts.

mod disk;
mod memory;
mod network;
mod observe;
mod server;
mod sql;
mod time;
mod wrongs;

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::Path, sync::Arc};

use berth_model::{EntryKey, goal::Goals};
use berth_runtime::{ContainerSpec, ExitInfo, ExitStatus, Limits};
use jiff::Timestamp;

use super::{entries, entries::Entry, start_of_time};
use crate::{
    config::Config,
    data::{DataState, Marker},
    mysql::{CloneState, GtidSet},
    observe::{AddressFacts, Purpose},
    plan::{Step, labels},
};

pub(crate) use disk::Disk;
pub(crate) use memory::pool_for;
pub(crate) use network::Networks;
pub(crate) use server::{Process, Server};

/// The digest of the one image of this world.
pub(crate) const DIGEST: &str =
    "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// The owner of its data.
pub(crate) const OWNER: (u32, u32) = (999, 998);

/// A host with its goals.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) goals: Arc<Goals>,
    pub(crate) places: BTreeMap<EntryKey, Place>,
    pub(crate) pulled: bool,
    pub(crate) unpacked: bool,
    pub(crate) template: bool,
    pub(crate) networks: Networks,
    pub(crate) now: Timestamp,
    pub(crate) wrongs: Vec<String>,
    servers_made: u32,
}

impl fmt::Debug for World {
    /// Short enough to be read when a property fails.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, goal) in &self.goals.own {
            writeln!(f, "{key}: {}\n    {:?}", goal.placed.text, self.places[key])?;
        }
        writeln!(f, "unpacked {}, template {}", self.unpacked, self.template)?;
        write!(f, "{:?}", self.networks)
    }
}

/// What there is of one instance.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Place {
    pub(crate) data: Option<Directory>,
    pub(crate) disk: Disk,
    pub(crate) container: Option<Container>,
    pub(crate) trash: Vec<Directory>,
}

/// A data directory.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Directory {
    pub(crate) marker: Marker,
    pub(crate) database: Database,
}

/// What a data directory holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Database {
    /// The server's number; `None` before its first start.
    pub(crate) server: Option<u32>,
    pub(crate) executed: GtidSet,
    /// How many transactions it has written itself.
    pub(crate) written: u64,
    pub(crate) accounts: bool,
    /// The source on this host that it replicates from.
    pub(crate) source: Option<SocketAddr>,
    pub(crate) clone: Option<(CloneState, SocketAddr)>,
    /// Half a copy, or what a CLONE that did not complete has left.
    pub(crate) torn: bool,
    /// Was marked ready once: it may hold what nobody else has.
    pub(crate) precious: bool,
}

/// A container.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Container {
    pub(crate) purpose: Purpose,
    pub(crate) made_from: String,
    pub(crate) limits: Limits,
    pub(crate) created_at: Timestamp,
    pub(crate) port: u16,
    pub(crate) network: Option<AddressFacts>,
    pub(crate) process: Process,
}

impl World {
    /// A host on which there is nothing but the image.
    pub(crate) fn new(config: Config, entries: &[Entry]) -> Self {
        let mut world = Self {
            goals: Arc::new(entries::goals(&config, &[])),
            config,
            places: BTreeMap::new(),
            pulled: true,
            unpacked: false,
            template: false,
            networks: Networks::default(),
            now: start_of_time(),
            wrongs: Vec::new(),
            servers_made: 0,
        };
        world.set_goals(entries);
        world
    }

    /// Gives the host other goals. What there is, stays.
    pub(crate) fn set_goals(&mut self, entries: &[Entry]) {
        self.adopt(&Arc::new(entries::goals(&self.config, entries)));
    }

    /// Gives the host the goals that its agent has read.
    pub(crate) fn adopt(&mut self, goals: &Arc<Goals>) {
        self.goals = Arc::clone(goals);
        for key in self.goals.own.keys() {
            self.places.entry(key.clone()).or_default();
        }
    }

    pub(crate) fn place(&mut self, key: &EntryKey) -> &mut Place {
        self.places.entry(key.clone()).or_default()
    }

    /// Does one step. The error is what the real one would refuse it with.
    pub(crate) fn apply(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::PullImage { .. } => self.pulled = true,
            Step::UnpackImage { .. } => self.unpacked = true,
            Step::MakeTemplate { .. } => {
                if !self.unpacked {
                    return Err("the image is not unpacked".to_owned());
                }
                self.template = true;
            }
            Step::CreateData { instance_dir, marker, .. } => {
                self.create(&key_of(instance_dir), marker)?;
            }
            Step::Mark { instance_dir, marker } => self.mark(&key_of(instance_dir), marker)?,
            Step::MoveAside { instance_dir, .. } => self.move_aside(&key_of(instance_dir))?,
            Step::StartContainer { spec, .. } => self.start(spec)?,
            Step::StopContainer { id, .. } => self.end(&parse(id.as_str()), ExitStatus::Code(0)),
            Step::RemoveContainer { id } => {
                let place = self.place(&parse(id.as_str()));
                if place.server().is_some() {
                    return Err("the container still runs".to_owned());
                }
                place.container = None;
            }
            Step::RecordCrash { .. } | Step::RotateLog { .. } => {}
            Step::SetLimits { id, limits } => self.limit(id.as_str(), limits)?,
            Step::EnsureBridge => self.ensure_bridge()?,
            Step::AttachNetwork { request, live } => self.attach(request, live.as_ref())?,
            Step::DetachNetwork { owner } => self.detach(owner)?,
            Step::Sql { socket_dir, verb } => self.say(&key_of(socket_dir), verb)?,
        }
        self.look_for_wrongs();
        Ok(())
    }

    /// The agent dies in the middle of a step: what a step of several acts leaves.
    pub(crate) fn interrupt(&mut self, step: &Step) {
        match step {
            Step::CreateData { instance_dir, marker, .. } => {
                let key = key_of(instance_dir);
                let half = Marker { state: DataState::Initialising, ..marker.clone() };
                if self.create(&key, &half).is_ok()
                    && let Some(data) = &mut self.place(&key).data
                {
                    data.database.torn = true;
                }
            }
            Step::StartContainer { spec, .. } => {
                if self.start(spec).is_ok()
                    && let Some(container) = &mut self.place(&parse(spec.id.as_str())).container
                {
                    container.process = Process::Creating;
                }
            }
            Step::AttachNetwork { request, live } => self.half_attach(request, live.as_ref()),
            // One act each, which is done or not; done but not noted is the harder case.
            _ => drop(self.apply(step)),
        }
        self.look_for_wrongs();
    }

    fn create(&mut self, key: &EntryKey, marker: &Marker) -> Result<(), String> {
        if !self.template {
            return Err("there is no template".to_owned());
        }
        let place = self.place(key);
        place.disk.writable()?;
        if place.data.as_ref().is_some_and(|data| data.marker.state == DataState::Ready) {
            return Err("the data is marked ready".to_owned());
        }
        let mut wrongs = Vec::new();
        if place.server().is_some() {
            wrongs.push(format!("{key}: data made anew under a running server"));
        }
        if place.data.as_ref().is_some_and(|data| data.database.precious) {
            wrongs.push(format!("{key}: data that was ready is thrown away"));
        }
        let precious = marker.state == DataState::Ready;
        let database = Database { precious, ..Database::default() };
        place.data = Some(Directory { marker: marker.clone(), database });
        self.wrongs.extend(wrongs);
        Ok(())
    }

    fn mark(&mut self, key: &EntryKey, marker: &Marker) -> Result<(), String> {
        self.place(key).disk.writable()?;
        let data = self.place(key).data.as_mut().ok_or("no such directory")?;
        data.marker = marker.clone();
        let ready = marker.state == DataState::Ready;
        data.database.precious |= ready;
        if ready && data.database.torn {
            self.wrongs.push(format!("{key}: torn data marked ready"));
        }
        Ok(())
    }

    fn move_aside(&mut self, key: &EntryKey) -> Result<(), String> {
        let place = self.place(key);
        if place.disk.own {
            return Err("Device or resource busy".to_owned());
        }
        let runs = place.server().is_some();
        let data = place.data.take();
        place.trash.extend(data);
        if runs {
            self.wrongs.push(format!("{key}: data moved away under a running server"));
        }
        Ok(())
    }

    fn start(&mut self, spec: &ContainerSpec) -> Result<(), String> {
        let key: EntryKey = parse(spec.id.as_str());
        let label = |name: &str| spec.labels.get(name).cloned().unwrap_or_default();
        let purpose = Purpose::from_label(&label(labels::PURPOSE)).ok_or("no purpose")?;
        let port = spec.args.iter().find_map(|arg| arg.strip_prefix("--port=")?.parse().ok());
        let port = port.ok_or("no port")?;
        self.servers_made += 1;
        let pid = 1000 + self.servers_made;
        let network = self.network_of(&label(labels::NETWORK), &key)?;
        let at = SocketAddr::new(network.as_ref().map_or(network::LOCAL, |at| at.ip), port);
        let taken = purpose == Purpose::Serve && self.serving(at).is_some();
        let now = self.now;
        let place = self.place(&key);
        if place.container.is_some() {
            return Err("the container exists".to_owned());
        }
        let data = place.data.as_mut().ok_or("the data directory is missing")?;
        let number = data.database.server.get_or_insert(pid);
        debug_assert!(*number > 0);
        if let Some((state @ CloneState::Running, _)) = &mut data.database.clone {
            *state = CloneState::Interrupted;
        }
        let process = match taken || place.disk.writable().is_err() {
            true => Process::Exited(exit(ExitStatus::Code(1))),
            false => Process::Running(Server::booted(purpose, pid, memory::pool_of(&spec.args))),
        };
        place.container = Some(Container {
            purpose,
            made_from: label(labels::MADE_FROM),
            limits: spec.limits.clone(),
            created_at: now,
            port,
            network,
            process,
        });
        Ok(())
    }

    /// The instance whose server can be reached there, if there is one.
    fn serving(&self, at: SocketAddr) -> Option<&EntryKey> {
        let reachable = self.places.iter().find(|(_, place)| {
            place.server().is_some()
                && place.container.as_ref().is_some_and(|container| {
                    container.purpose == Purpose::Serve && container.address() == at
                })
        });
        reachable.map(|(key, _)| key)
    }

    /// The data of the server there, if it lets in the accounts of other hosts.
    fn source(&self, at: SocketAddr) -> Option<(&Server, &Database)> {
        let place = &self.places[self.serving(at)?];
        let (server, data) = (place.server()?, place.data.as_ref()?);
        let open = server.answers && !server.offline && data.database.accounts;
        open.then_some((server, &data.database))
    }
}

impl Container {
    /// Where its server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(self.network.as_ref().map_or(network::LOCAL, |at| at.ip), self.port)
    }
}

impl Place {
    /// The server, if one runs.
    pub(crate) fn server(&self) -> Option<&Server> {
        match &self.container.as_ref()?.process {
            Process::Running(server) => Some(server),
            _ => None,
        }
    }

    /// The server and its data, if one runs.
    pub(crate) fn running(&mut self) -> Option<(&mut Server, &mut Database)> {
        match (&mut self.container.as_mut()?.process, &mut self.data) {
            (Process::Running(server), Some(data)) => Some((server, &mut data.database)),
            _ => None,
        }
    }
}

/// How a process ended, and nothing more known.
pub(crate) fn exit(status: ExitStatus) -> ExitInfo {
    ExitInfo { status: Some(status), ..ExitInfo::default() }
}

/// Directories of an instance are named by its key.
fn key_of(dir: &Path) -> EntryKey {
    parse(dir.file_name().unwrap().to_str().unwrap())
}

fn parse(name: &str) -> EntryKey {
    name.parse().unwrap()
}
