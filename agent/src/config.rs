//! The agent's configuration, and the places on the host that follow from it.
//!
//! Configuration says where things are and what holds for the whole host; what each
//! instance should be stands in the goal files. A file that is missing means the
//! defaults; a file that is wrong is an error, never half-used.

mod network;
mod registries;

use std::{
    collections::BTreeMap,
    fs, io,
    net::{IpAddr, Ipv4Addr},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use berth_model::{ByteSize, EntryKey, HostName};
use serde::Deserialize;

pub use network::Network;
use network::RawNetwork;
use registries::RawRegistries;
pub use registries::Registries;

/// Where the configuration is read from if nothing else is said.
pub const DEFAULT_PATH: &str = "/etc/berth/berth.toml";

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not TOML, or has a field that is unknown or of a wrong type.
    #[error("the configuration {} is not valid", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where, what was found and what was expected.
        source: Box<toml::de::Error>,
    },
    /// A value that is of the right type but makes no sense.
    #[error("{} in {}: found {found}, expected {expected}", field, path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
        /// What stands there.
        found: String,
        /// What should.
        expected: &'static str,
    },
    /// The host's name or memory can't be found out.
    #[error("cannot find out the host's {what}; set `{field}` in the configuration")]
    Host {
        /// What is missing.
        what: &'static str,
        /// The field that says it.
        field: &'static str,
        /// Why.
        source: io::Error,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawConfig {
    host: Option<HostName>,
    goal_dir: PathBuf,
    state_dir: PathBuf,
    data_dir: Option<PathBuf>,
    images_dir: Option<PathBuf>,
    run_dir: PathBuf,
    log_dir: PathBuf,
    cgroup: String,
    image: String,
    fleet_key: PathBuf,
    memory: Option<ByteSize>,
    bind_address: IpAddr,
    interval: String,
    probe_timeout: String,
    hosts: BTreeMap<String, String>,
    network: RawNetwork,
    registries: RawRegistries,
}

impl Default for RawConfig {
    fn default() -> Self {
        Self {
            host: None,
            goal_dir: "/etc/berth/goal.d".into(),
            state_dir: "/var/lib/berth".into(),
            data_dir: None,
            images_dir: None,
            run_dir: "/run/berth".into(),
            log_dir: "/var/log/berth".into(),
            cgroup: "berth".into(),
            image: "berth/mysql:9.7".into(),
            fleet_key: "/etc/berth/fleet.key".into(),
            memory: None,
            bind_address: Ipv4Addr::UNSPECIFIED.into(),
            interval: "30s".into(),
            probe_timeout: "1s".into(),
            hosts: BTreeMap::new(),
            network: RawNetwork::default(),
            registries: RawRegistries::default(),
        }
    }
}

/// The configuration of a host, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The host's name in goal entries.
    pub host: HostName,
    /// Goal files.
    pub goal_dir: PathBuf,
    /// What outlives a reboot: images, goals in force, journal.
    pub state_dir: PathBuf,
    /// Data directories.
    pub data_dir: PathBuf,
    /// The image store.
    pub images_dir: PathBuf,
    /// What a reboot ends: containers' records, sockets, the status document.
    pub run_dir: PathBuf,
    /// Containers' logs.
    pub log_dir: PathBuf,
    /// Name of the cgroup above all containers'.
    pub cgroup: String,
    /// Image of entries that name none.
    pub image: String,
    /// The key that passwords derive from.
    pub fleet_key: PathBuf,
    /// Memory for instances, in bytes.
    pub memory_bytes: u64,
    /// Address that servers in host mode listen on; 0.0.0.0 is every one.
    pub bind_address: IpAddr,
    /// Time between passes when nothing happens.
    pub interval: Duration,
    /// How long a server may take to answer all that a pass asks of it.
    pub probe_timeout: Duration,
    /// Addresses of hosts that the system's resolver doesn't know.
    pub hosts: BTreeMap<String, String>,
    /// The network of instances that have addresses of their own.
    pub network: Network,
    /// Where images come from.
    pub registries: Registries,
}

impl Config {
    /// Reads the file at `path`, or takes the defaults if it is the default path and
    /// nothing is there.
    ///
    /// # Errors
    /// What can't be read, parsed or used.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && path == Path::new(DEFAULT_PATH) =>
            {
                String::new()
            }
            Err(source) => {
                return Err(ConfigError::Read { path: path.to_owned(), source });
            }
        };
        let raw = toml::from_str(&text).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        Self::check(path, raw)
    }

    fn check(path: &Path, raw: RawConfig) -> Result<Self, ConfigError> {
        let value = |field, found: String, expected| ConfigError::Value {
            path: path.to_owned(),
            field,
            found,
            expected,
        };
        let time = |field, text: &str, seconds: RangeInclusive<u64>, expected| {
            humantime::parse_duration(text)
                .ok()
                .filter(|time| seconds.contains(&time.as_secs()))
                .ok_or_else(|| value(field, format!("{text:?}"), expected))
        };
        let interval = time("interval", &raw.interval, 1..=3600, "1s to 1h, such as \"30s\"")?;
        let probe_timeout =
            time("probe_timeout", &raw.probe_timeout, 1..=59, "1s to 59s, such as \"1s\"")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
        if raw.cgroup.is_empty() || raw.cgroup.contains("..") || !raw.cgroup.chars().all(plain) {
            let found = format!("{:?}", raw.cgroup);
            return Err(value("cgroup", found, "a path below the cgroup root"));
        }
        let dirs = [
            ("goal_dir", &raw.goal_dir),
            ("state_dir", &raw.state_dir),
            ("run_dir", &raw.run_dir),
            ("log_dir", &raw.log_dir),
        ];
        for (field, dir) in dirs {
            if !dir.is_absolute() {
                return Err(value(field, format!("{:?}", dir.display()), "an absolute path"));
            }
        }
        let wrong = |wrong: network::Wrong| value(wrong.field, wrong.found, wrong.expected);
        let network = raw.network.check().map_err(wrong)?;
        let registries = raw.registries.check().map_err(wrong)?;
        Ok(Self {
            host: raw.host.map_or_else(host_name, Ok)?,
            goal_dir: raw.goal_dir,
            data_dir: raw.data_dir.unwrap_or_else(|| raw.state_dir.join("data")),
            images_dir: raw.images_dir.unwrap_or_else(|| raw.state_dir.join("images")),
            state_dir: raw.state_dir,
            run_dir: raw.run_dir,
            log_dir: raw.log_dir,
            cgroup: raw.cgroup.trim_matches('/').to_owned(),
            image: raw.image,
            fleet_key: raw.fleet_key,
            memory_bytes: raw.memory.map_or_else(memory_for_instances, |size| Ok(size.get()))?,
            bind_address: raw.bind_address,
            interval,
            probe_timeout,
            hosts: raw.hosts,
            network,
            registries,
        })
    }

    /// Initialised data directories to copy from, on the file system of the data.
    #[must_use]
    pub fn templates_dir(&self) -> PathBuf {
        self.data_dir.join(".templates")
    }

    /// The goals in force, kept over restarts.
    #[must_use]
    pub fn goals_in_force(&self) -> PathBuf {
        self.state_dir.join("goals-in-force.json")
    }

    /// What is remembered of failures.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.state_dir.join("journal.json")
    }

    /// The status document.
    #[must_use]
    pub fn status(&self) -> PathBuf {
        self.run_dir.join("status.json")
    }

    /// The lock that one agent per host holds.
    #[must_use]
    pub fn agent_lock(&self) -> PathBuf {
        self.run_dir.join("agent.lock")
    }

    /// The directory of an instance: its marker and its data.
    #[must_use]
    pub fn instance_dir(&self, key: &EntryKey) -> PathBuf {
        self.data_dir.join(key.as_str())
    }

    /// Where data directories go that are in use no longer.
    #[must_use]
    pub fn trash_dir(&self) -> PathBuf {
        self.data_dir.join(".trash")
    }

    /// The directory of an instance's socket, on the host.
    #[must_use]
    pub fn socket_dir(&self, key: &EntryKey) -> PathBuf {
        self.sockets_dir().join(key.as_str())
    }

    /// The directories of all sockets.
    #[must_use]
    pub fn sockets_dir(&self) -> PathBuf {
        self.run_dir.join("sockets")
    }

    /// The log of an instance's server.
    #[must_use]
    pub fn log_file(&self, key: &EntryKey) -> PathBuf {
        self.log_dir.join(format!("{key}.log"))
    }
}

/// The host's name up to its first dot, as gethostname(2) gives it.
fn host_name() -> Result<HostName, ConfigError> {
    let wrong = |source| ConfigError::Host { what: "name", field: "host", source };
    let name = nix::unistd::gethostname().map_err(|errno| wrong(errno.into()))?;
    let name = name.to_string_lossy();
    let short = name.split('.').next().unwrap_or_default();
    short.parse().map_err(|error| wrong(io::Error::new(io::ErrorKind::InvalidData, error)))
}

/// The host's own share: the kernel, the agent and the page cache need something.
const RESERVE_BYTES_MIN: u64 = 512 << 20;
const RESERVE_DIVISOR: u64 = 20;

/// The host's memory (`MemTotal` of proc_meminfo(5)) less a twentieth, at least 512 MiB.
fn memory_for_instances() -> Result<u64, ConfigError> {
    let wrong = |source| ConfigError::Host { what: "memory", field: "memory", source };
    let text = fs::read_to_string("/proc/meminfo").map_err(wrong)?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|digits| digits.trim().parse::<u64>().ok())
        .ok_or_else(|| wrong(io::Error::new(io::ErrorKind::InvalidData, "no MemTotal")))?;
    let total = kib << 10;
    Ok(total.saturating_sub(RESERVE_BYTES_MIN.max(total / RESERVE_DIVISOR)))
}

#[cfg(test)]
mod tests;
