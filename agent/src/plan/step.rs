//! What a plan is made of. A step is plain data that carries every name, path and address,
//! so that whoever runs it has nothing to decide.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use berth_model::ClusterName;
use berth_netplug::{AttachRequest, Owner};
use berth_runtime::{ContainerId, ContainerSpec, Limits};

use crate::{data::Marker, mysql::SemiSyncRole};

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Pull an image from a registry.
    PullImage {
        /// Its reference.
        reference: String,
    },
    /// Unpack an image.
    UnpackImage {
        /// Its reference.
        reference: String,
    },
    /// Initialise a data directory that others are copied from.
    MakeTemplate {
        /// Where it is to be.
        dir: PathBuf,
        /// A file to write first, and its text: the statements that make root's login.
        init: (PathBuf, String),
        /// The container that runs `mysqld --initialize-insecure`.
        spec: Box<ContainerSpec>,
        /// User and group of the data.
        owner: (u32, u32),
    },
    /// Copy a template to an instance's directory.
    CreateData {
        /// The template.
        template: PathBuf,
        /// The instance's directory.
        instance_dir: PathBuf,
        /// The marker that it gets once the copy is complete.
        marker: Marker,
    },
    /// Replace the marker of an instance's directory.
    Mark {
        /// The instance's directory.
        instance_dir: PathBuf,
        /// The new marker.
        marker: Marker,
    },
    /// Move an instance's directory out of the way, keeping it.
    MoveAside {
        /// The instance's directory.
        instance_dir: PathBuf,
        /// Where it goes.
        aside: PathBuf,
    },
    /// Make a container and start it.
    StartContainer {
        /// The container.
        spec: Box<ContainerSpec>,
        /// Directories to make first, with their owner.
        dirs: Vec<(PathBuf, (u32, u32))>,
    },
    /// End a container's processes: SIGTERM, and SIGKILL after the grace.
    StopContainer {
        /// The container.
        id: ContainerId,
        /// Time for a clean shutdown.
        grace: Duration,
    },
    /// Remove what is left of a container that has ended.
    RemoveContainer {
        /// The container.
        id: ContainerId,
    },
    /// Remember that a server ended without being told to.
    RecordCrash {
        /// How it ended.
        exit: String,
    },
    /// Change the limits of a running container.
    SetLimits {
        /// The container.
        id: ContainerId,
        /// All its limits.
        limits: Box<Limits>,
    },
    /// Set up the bridge that all instances' networks share.
    EnsureBridge,
    /// Give an instance its address, namespace, link, port and limits, or repair them.
    AttachNetwork {
        /// What it asks for.
        request: Box<AttachRequest>,
        /// The container that runs in that network: should the namespace's pin be lost, its
        /// namespace is pinned again.
        live: Option<ContainerId>,
    },
    /// Take all of that away, and free the address.
    DetachNetwork {
        /// Whose.
        owner: Owner,
    },
    /// Rotate a server's log.
    RotateLog {
        /// The log.
        path: PathBuf,
    },
    /// Say something to a server.
    Sql {
        /// The directory of its socket on the host.
        socket_dir: PathBuf,
        /// What to say.
        verb: Verb,
    },
}

/// What is said to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// Take no writes, not even from administrators.
    SuperReadOnly,
    /// Take writes.
    TakeWrites,
    /// Set a global variable.
    SetGlobal {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// Semi-synchronous replication in this role, on or off.
    SemiSync {
        /// The side of the server.
        role: SemiSyncRole,
        /// Whether it is on.
        on: bool,
    },
    /// Let ordinary clients in, or send them away.
    OfflineMode {
        /// True sends them away.
        on: bool,
    },
    /// Make the accounts that replication, cloning and checking use.
    EnsureAccounts {
        /// The cluster that their passwords derive from.
        cluster: ClusterName,
    },
    /// Replicate from this source by GTID.
    PointAt {
        /// The source.
        source: Peer,
    },
    /// Start the replication threads.
    StartReplication,
    /// Stop the replication threads.
    StopReplication,
    /// Replace all data by that of the donor; the server ends when this is done.
    Clone {
        /// The donor.
        donor: Peer,
    },
}

/// Another server of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub host: IpAddr,
    /// Its port.
    pub port: u16,
    /// The cluster that passwords derive from.
    pub cluster: ClusterName,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::net::SocketAddr::new(self.host, self.port).fmt(f)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PullImage { reference } => write!(f, "pull image {reference}"),
            Self::UnpackImage { reference } => write!(f, "unpack image {reference}"),
            Self::MakeTemplate { .. } => f.write_str("initialise a template data directory"),
            Self::CreateData { .. } => f.write_str("create data directory"),
            Self::Mark { marker, .. } => write!(f, "mark data directory {}", marker.state),
            Self::MoveAside { aside, .. } => write!(f, "move data aside to {}", aside.display()),
            Self::StartContainer { .. } => f.write_str("start container"),
            Self::StopContainer { .. } => f.write_str("stop container"),
            Self::RemoveContainer { .. } => f.write_str("remove container"),
            Self::RecordCrash { exit } => write!(f, "note the server's end ({exit})"),
            Self::SetLimits { .. } => f.write_str("change limits"),
            Self::EnsureBridge => f.write_str("set up the bridge"),
            Self::AttachNetwork { request, .. } => {
                write!(f, "attach to the network of pool {}", request.pool)
            }
            Self::DetachNetwork { .. } => f.write_str("detach from the network"),
            Self::RotateLog { .. } => f.write_str("rotate log"),
            Self::Sql { verb, .. } => verb.fmt(f),
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SuperReadOnly => f.write_str("set super_read_only"),
            Self::TakeWrites => f.write_str("take writes"),
            Self::SetGlobal { name, value } => write!(f, "set {name}={value}"),
            Self::SemiSync { on, .. } => {
                write!(f, "turn semi-sync {}", if *on { "on" } else { "off" })
            }
            Self::OfflineMode { on: true } => f.write_str("stop serving"),
            Self::OfflineMode { on: false } => f.write_str("serve"),
            Self::EnsureAccounts { .. } => f.write_str("ensure accounts"),
            Self::PointAt { source } => write!(f, "replicate from {source}"),
            Self::StartReplication => f.write_str("start replication"),
            Self::StopReplication => f.write_str("stop replication"),
            Self::Clone { donor } => write!(f, "{CLONE_FROM}{donor}"),
        }
    }
}

/// How the words of a CLONE begin.
const CLONE_FROM: &str = "clone from ";

/// The donor in the words of a lane that clones.
pub(super) fn donor_in(words: &str) -> Option<String> {
    words.strip_prefix(CLONE_FROM).map(str::to_owned)
}
