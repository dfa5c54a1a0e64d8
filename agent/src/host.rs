//! The host as probes and executors reach it: its configuration, its image store and its
//! container runtime.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use berth_images::{Store, UsageMeter};
use berth_model::EntryKey;
use berth_runtime::{Helper, Runtime, RuntimeConfig};

use crate::{config::Config, mysql::Server};

/// Why a host can't be worked with at all.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The image store can't be opened.
    #[error("cannot open the image store")]
    Images(#[source] berth_images::ImageError),
    /// No agent has made the run directory.
    #[error("there is no {}; has the agent (`berth agent`) run since the boot?", path.display())]
    NoRunDir {
        /// The run directory.
        path: PathBuf,
    },
    /// Containers can't be managed.
    #[error("cannot manage containers")]
    Runtime(#[source] berth_runtime::RuntimeError),
}

/// A host.
#[derive(Debug)]
pub struct Host {
    /// Its configuration.
    pub config: Config,
    /// Its images.
    pub images: Store,
    /// Measures them. A tree is walked once.
    pub image_meter: Mutex<UsageMeter>,
    /// Its containers.
    pub runtime: Runtime,
    /// Connections to sources, kept from one pass to the next: making one costs 50 ms of
    /// processor time, for the TLS library reads the system's certificates each time.
    pub sources: Sources,
}

/// How a source is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// Its address.
    pub to: SocketAddr,
    /// The network namespace that it is reached from, by device and inode of the file that
    /// stands for it; `None` for the agent's own.
    pub inside: Option<(u64, u64)>,
}

/// A connection to the source of each minion that has one. What is read through it is read
/// anew; one that fails is thrown away.
#[derive(Debug, Default)]
pub struct Sources(Mutex<BTreeMap<EntryKey, (Way, Server)>>);

impl Sources {
    /// Takes the connection of a minion, if it goes this way. One that goes another is
    /// closed: it would keep a namespace that is in use no longer.
    #[must_use]
    pub fn take(&self, key: &EntryKey, way: Way) -> Option<Server> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        kept.filter(|(kept, _)| *kept == way).map(|(_, server)| server)
    }

    /// Closes the connections of all but these minions.
    pub fn retain(&self, minion: impl Fn(&EntryKey) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| minion(key));
    }

    /// Keeps a connection that works.
    pub fn keep(&self, key: &EntryKey, way: Way, server: Server) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(key.clone(), (way, server));
    }
}

impl Host {
    /// Opens what the configuration names, and makes the directories that are missing.
    ///
    /// # Errors
    /// What can't be opened or made.
    pub fn open(config: Config) -> Result<Self, HostError> {
        let images = Store::open(&config.images_dir).map_err(HostError::Images)?;
        let helper = Helper::current();
        helper.prepare().map_err(HostError::Runtime)?;
        let runtime = runtime(&config, helper).map_err(HostError::Runtime)?;
        images.sweep().map_err(HostError::Images)?;
        Ok(Self {
            config,
            images,
            image_meter: Mutex::default(),
            runtime,
            sources: Sources::default(),
        })
    }
}

/// Opens the container runtime alone, which is all that looking needs. Makes nothing.
///
/// # Errors
/// No agent has been here, or as [`Runtime::new`].
pub fn open_runtime(config: &Config) -> Result<Runtime, HostError> {
    if !config.run_dir.is_dir() {
        return Err(HostError::NoRunDir { path: config.run_dir.clone() });
    }
    runtime(config, Helper::current()).map_err(HostError::Runtime)
}

fn runtime(config: &Config, helper: Helper) -> berth_runtime::Result<Runtime> {
    Runtime::new(RuntimeConfig {
        run_dir: config.run_dir.clone(),
        cgroup: config.cgroup.clone().into(),
        helper,
    })
}
