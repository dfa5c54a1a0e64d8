//! What is there: one value per pass, gathered concurrently, every probe with a deadline.
//!
//! The types here are plain data, and all that the planner sees of the world; [`gather`]
//! fills them. `Unknown` never counts as `Absent`: no destructive step follows from it.

mod disk;
pub mod gather;
mod network;
mod probes;
mod source;
mod together;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use berth_model::EntryKey;
use berth_netplug::{Rates, Standing};
use berth_runtime::{ExitInfo, Limits};
pub use disk::DiskFacts;
use jiff::Timestamp;

use crate::{
    data::DataFacts,
    mysql::{Snapshot, SourceView},
};

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observed<T> {
    /// It is there.
    Present(T),
    /// It is certainly not there.
    Absent,
    /// It could not be found out, for this reason.
    Unknown(String),
}

impl<T> Observed<T> {
    /// The value, if it is there.
    pub fn present(&self) -> Option<&T> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent | Self::Unknown(_) => None,
        }
    }
}

impl<T, E: std::error::Error + 'static> From<Result<Option<T>, E>> for Observed<T> {
    fn from(result: Result<Option<T>, E>) -> Self {
        match result {
            Ok(Some(value)) => Self::Present(value),
            Ok(None) => Self::Absent,
            Err(error) => Self::Unknown(crate::files::chain(&error).join(": ")),
        }
    }
}

/// Why a container was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To receive a CLONE, without a network.
    Seed,
    /// To serve.
    Serve,
    /// To initialise a template.
    Template,
}

/// The life of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContainerState {
    /// Its making was begun; whoever began it may have been killed.
    Creating,
    /// Its init runs.
    Running {
        /// Process id on the host.
        pid: u32,
    },
    /// Its init has ended.
    Exited(ExitInfo),
}

/// An address of an instance's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressFacts {
    /// The pool it is from.
    pub pool: String,
    /// The address.
    pub ip: IpAddr,
}

/// A container of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerFacts {
    /// Its id: the entry's key.
    pub id: String,
    /// Whether it lives.
    pub state: ContainerState,
    /// Why it was made; `None` if its labels don't say, so that it isn't one of ours.
    pub purpose: Option<Purpose>,
    /// What of the goal it was made from, where a change needs a new container.
    pub made_from: String,
    /// Digest of the image's configuration.
    pub image_digest: String,
    /// The port that its server was given.
    pub port: Option<u16>,
    /// The network that it was put into; `None` for the host's.
    pub network: Option<AddressFacts>,
    /// The limits it was last given.
    pub limits: Limits,
    /// Memory of a running one that the kernel can't take back, in bytes; absent where nothing
    /// limits memory.
    pub pinned_bytes: Observed<u64>,
    /// When it was made.
    pub created_at: Timestamp,
    /// What the host could not give it, in words.
    pub notes: Vec<String>,
}

/// An image and its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// Digest of its configuration, which also names its tree.
    pub config_digest: String,
    /// The tree, if it is unpacked.
    pub tree: Option<TreeFacts>,
}

/// What the planner must know of an unpacked tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeFacts {
    /// Its root on the host.
    pub root: PathBuf,
    /// Path of mysqld within it; `None` if there is none.
    pub mysqld: Option<PathBuf>,
    /// User and group id of its user `mysql`; `None` if there is none.
    pub owner: Option<(u32, u32)>,
    /// The environment that the image asks for.
    pub env: Vec<String>,
    /// The image's VOLUMEs that are directories in it: it expects to write there.
    pub volumes: Vec<PathBuf>,
    /// Whether a data directory initialised from it is there to copy.
    pub template: bool,
}

/// What an instance's own server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its state.
    pub snapshot: Snapshot,
    /// The values of the variables that the goal names.
    pub globals: BTreeMap<String, String>,
    /// Whether it has the accounts that its replicas use.
    pub accounts: bool,
}

/// The server that a minion replicates from, as seen by the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFacts {
    /// Where it is reached.
    pub address: (IpAddr, u16),
    /// What it answers. Read after the minion's own snapshot, see [`crate::mysql::errant`].
    pub server: Observed<SourceView>,
}

/// The networks of a host's instances, and the bridge that they share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkFacts {
    /// What the bridge and its uplink lack; why they can't be used, otherwise.
    pub bridge: Result<Vec<String>, String>,
    /// How each instance stands to its goal's network; in host mode, and when removed, to
    /// having none.
    pub instances: BTreeMap<EntryKey, Standing>,
    /// The rates of the pools, for entries that name none.
    pub pool_rates: BTreeMap<String, Rates>,
    /// What was refused in the pool files.
    pub refused_pools: Vec<String>,
    /// Whose addresses and networks no goal speaks of. They are left alone.
    pub strays: Vec<String>,
    /// What else an operator has to look at.
    pub problems: Vec<String>,
}

/// Everything observed of one instance.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceObservation {
    /// Its directory; unknown also while its disk does not answer.
    pub data: Observed<DataFacts>,
    /// The disk of its directory.
    pub disk: Observed<DiskFacts>,
    /// Its container.
    pub container: Observed<ContainerFacts>,
    /// Its server; absent while no container runs.
    pub server: Observed<ServerFacts>,
    /// Its source; absent for a master.
    pub source: Observed<SourceFacts>,
    /// Who listens on its port while its own container does not run.
    pub port_taken: Observed<SocketAddr>,
    /// How large its server's log is, in bytes.
    pub log_bytes: Observed<u64>,
}

/// Everything observed in one pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The instances that have a goal.
    pub instances: BTreeMap<EntryKey, InstanceObservation>,
    /// The images that goals name, by reference.
    pub images: BTreeMap<String, Observed<ImageFacts>>,
    /// What the image store takes.
    pub image_store: Observed<berth_images::Usage>,
    /// Networks; absent where no goal asks for one, nor ever did.
    pub network: Observed<NetworkFacts>,
    /// Containers that are no instance's: what is left of making templates, or a
    /// stranger's.
    pub strays: Vec<ContainerFacts>,
    /// The lanes that are at work, and what they do.
    pub busy: BTreeMap<String, String>,
}
