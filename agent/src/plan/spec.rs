//! Containers: what mysqld is started with, and what of a running one can be changed.
//!
//! All that is the same for every server is in the image's my.cnf; arguments carry only
//! what differs between instances.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Component, Path, PathBuf},
};

use berth_model::{goal as model, sizing::Sizing};
use berth_netplug::Place;
use berth_runtime::{
    Bind, ContainerId, ContainerSpec, CpuMax, IoLimit, Limits, Network, Rlimits, Tmpfs, User,
};

use super::{Step, Subject, memory::Resize};
use crate::{
    data,
    mysql::initialise::{self, Mode, ServerSpec},
    observe::{AddressFacts, ContainerFacts, Observed, Purpose, TreeFacts},
};

/// Names by which a running container is known again.
pub mod labels {
    /// Label: the entry's key, or the template's digest.
    pub const OWNER: &str = "berth.owner";
    /// Label: why the container was made.
    pub const PURPOSE: &str = "berth.purpose";
    /// Label: what of the goal it was made from.
    pub const MADE_FROM: &str = "berth.made-from";
    /// Label: the pool and the address of a container in a network of its own.
    pub const NETWORK: &str = "berth.network";
    /// Label: the port that the server was given.
    pub const PORT: &str = "berth.port";
    /// Label: digest of the image's configuration.
    pub const IMAGE: &str = "berth.image";
    /// Name of the server's socket in its directory, on the host and in the container.
    pub const SOCKET: &str = "mysqld.sock";
}

/// How the ids of the containers begin that make templates.
pub(super) const TEMPLATE_ID: &str = "template-";
const DATA_IN_CONTAINER: &str = "/var/lib/mysql";
const SOCKET_DIR_IN_CONTAINER: &str = "/run/mysqld";
const INIT_DIR_IN_CONTAINER: &str = "/run/berth";
const INIT_FILE: &str = "init.sql";
const TMP_BYTES: u64 = 64 << 20;
/// Open files: tables, connections and what mysqld keeps for itself.
const OPEN_FILES: u64 = 1 << 20;
/// Memory beside what mysqld reckons with must not let it be the first to be killed.
const OOM_SCORE_ADJ: i32 = 0;

impl Purpose {
    /// As the label says it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Seed => "seed",
            Self::Serve => "serve",
            Self::Template => "template",
        }
    }

    /// From the label.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        let all = [Self::Seed, Self::Serve, Self::Template];
        all.into_iter().find(|purpose| purpose.label() == label)
    }
}

impl AddressFacts {
    fn label(&self) -> String {
        format!("{}/{}", self.pool, self.ip)
    }

    /// From the label; `None` if there is none.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        let (pool, ip) = label.split_once('/')?;
        Some(Self { pool: pool.to_owned(), ip: ip.parse().ok()? })
    }
}

/// What of the goal a container is made from, for its label. A new version of berth alone
/// changes nothing in it, so an upgrade of the agent restarts no database. The size is in it
/// for earlier versions, which restart a server whose size differs: after a downgrade they find
/// what they expect of every server whose size was not changed meanwhile.
pub(super) fn made_from(subject: &Subject<'_>) -> String {
    let entry = subject.entry();
    format!("image={} port={} size={}", subject.image_reference(), entry.port, entry.size)
}

/// Whether a running container can follow the goal as it is. Its size it can: see
/// [`super::memory`].
pub(super) fn is_made_alike(subject: &Subject<'_>, container: &ContainerFacts) -> bool {
    fn without_size(label: &str) -> &str {
        label.rsplit_once(" size=").map_or(label, |(rest, _)| rest)
    }
    without_size(&container.made_from) == without_size(&made_from(subject))
}

/// The container of a server that serves.
pub(super) fn serve(
    subject: &Subject<'_>,
    tree: &TreeFacts,
    place: Option<&Place>,
) -> Result<Step, String> {
    container(subject, tree, place, (Purpose::Serve, Mode::Serve))
}

/// The container of a server that is being seeded.
pub(super) fn seed(
    subject: &Subject<'_>,
    tree: &TreeFacts,
    place: Option<&Place>,
) -> Result<Step, String> {
    container(subject, tree, place, (Purpose::Seed, Mode::Seed))
}

fn container(
    subject: &Subject<'_>,
    tree: &TreeFacts,
    place: Option<&Place>,
    (purpose, mode): (Purpose, Mode),
) -> Result<Step, String> {
    let limits = limits(subject)?;
    let entry = subject.entry();
    let memory = entry.size.of(subject.config.memory_bytes);
    let server = ServerSpec {
        data_dir: DATA_IN_CONTAINER.into(),
        socket: Path::new(SOCKET_DIR_IN_CONTAINER).join(labels::SOCKET),
        bind_address: place.map_or(subject.config.bind_address, |place| any_of(place.address)),
        port: entry.port,
        server_id: initialise::server_id(subject.key.as_str()),
        report_host: place
            .map_or_else(|| subject.config.host.to_string(), |place| place.address.to_string()),
        sizing: Sizing::for_limit(memory).map_err(|error| error.to_string())?,
    };
    let arguments = initialise::server_args(&server, mode);
    let socket_dir = subject.config.socket_dir(subject.key);
    let tmp_dir = subject.dir().join("tmp");
    let data_dir = data::mysql_dir(&subject.dir());
    let owner = tree.owner.ok_or("the image has no user mysql")?;
    let log = subject.config.log_file(subject.key);
    let mut spec = mysqld(subject.container_id(), tree, owner, arguments, log)?;
    spec.mounts = vec![
        bind(data_dir, DATA_IN_CONTAINER),
        bind(socket_dir.clone(), SOCKET_DIR_IN_CONTAINER),
        // Sorts and temporary tables can be large: they belong on the instance's disk.
        bind(tmp_dir.clone(), "/tmp"),
    ];
    spec.tmpfs.retain(|tmpfs| tmpfs.destination != Path::new("/tmp"));
    let mut dirs = vec![(socket_dir, owner), (tmp_dir, owner)];
    for (dir, destination) in volumes(&subject.dir(), tree) {
        spec.mounts.push(Bind { source: dir.clone(), destination, read_only: false });
        dirs.push((dir, owner));
    }
    spec.limits = limits;
    if let Some(place) = place {
        spec.network = Network::Namespace(place.namespace.clone());
    }
    spec.hostname = subject.key.as_str().chars().take(63).collect();
    let digest = match subject.observation.images.get(subject.image_reference()) {
        Some(Observed::Present(image)) => image.config_digest.clone(),
        _ => return Err("the image is not known".to_owned()),
    };
    spec.labels = label(subject.key.as_str(), purpose.label(), &made_from(subject), &digest);
    spec.labels.insert(labels::PORT.to_owned(), entry.port.to_string());
    if let (Some(place), model::Network::Vlan { pool, .. }) = (place, &entry.network) {
        let at = AddressFacts { pool: pool.clone(), ip: place.address };
        spec.labels.insert(labels::NETWORK.to_owned(), at.label());
    }
    Ok(Step::StartContainer { spec: Box::new(spec), dirs })
}

/// Directories of the instance for what the image expects to write besides its data: its
/// VOLUMEs, as far as nothing else is mounted there.
fn volumes(instance_dir: &Path, tree: &TreeFacts) -> Vec<(PathBuf, PathBuf)> {
    let mounted = [DATA_IN_CONTAINER, "/run", "/tmp"].map(Path::new);
    let free = |volume: &&PathBuf| {
        // Neither below one of them nor above: `/var/run` is `/run` in every image.
        let clash = |other: &Path| volume.starts_with(other) || other.starts_with(volume);
        volume.is_absolute()
            && !volume.components().any(|part| part == Component::ParentDir)
            && !volume.starts_with("/var/run")
            && !mounted.iter().any(|other| clash(other))
    };
    let named = |volume: &PathBuf| {
        let parts: Vec<_> = volume.iter().skip(1).map(|part| part.to_string_lossy()).collect();
        (instance_dir.join(format!("volume-{}", parts.join("-"))), volume.clone())
    };
    tree.volumes.iter().filter(free).map(named).collect()
}

/// All addresses of a network namespace of its own, which has one, and its loopback.
fn any_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn label(owner: &str, purpose: &str, made_from: &str, image: &str) -> BTreeMap<String, String> {
    let pairs = [
        (labels::OWNER, owner),
        (labels::PURPOSE, purpose),
        (labels::MADE_FROM, made_from),
        (labels::IMAGE, image),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn bind(source: PathBuf, destination: &str) -> Bind {
    Bind { source, destination: destination.into(), read_only: false }
}

/// mysqld, run directly: the image's entrypoint would write transactions of its own.
fn mysqld(
    id: ContainerId,
    tree: &TreeFacts,
    owner: (u32, u32),
    arguments: Vec<OsString>,
    log: PathBuf,
) -> Result<ContainerSpec, String> {
    let program = tree.mysqld.as_ref().ok_or("the image has no mysqld")?;
    let mut args = vec![program.display().to_string()];
    args.extend(arguments.into_iter().map(|argument| argument.to_string_lossy().into_owned()));
    let mut spec = ContainerSpec::new(id, tree.root.clone(), args, log);
    spec.user = User { uid: owner.0, gid: owner.1, additional_gids: Vec::new() };
    spec.env = tree
        .env
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    for (name, value) in initialise::ENVIRONMENT {
        spec.env.insert((*name).to_owned(), (*value).to_owned());
    }
    spec.tmpfs = ["/run", "/tmp"]
        .map(|path| Tmpfs { destination: path.into(), size_bytes: TMP_BYTES, mode: 0o1777 })
        .into();
    spec.rlimits = Rlimits { nofile: Some(OPEN_FILES), core: Some(0), ..Rlimits::default() };
    spec.oom_score_adj = OOM_SCORE_ADJ;
    Ok(spec)
}

/// The container that initialises the template of an image; `None` if the image can't.
pub(super) fn template(dir: &Path, config_digest: &str, tree: &TreeFacts) -> Option<Step> {
    let owner = tree.owner?;
    let name = config_digest.rsplit(':').next()?.get(..16)?;
    let id = ContainerId::new(format!("{TEMPLATE_ID}{name}")).ok()?;
    let log = dir.join("initialise.log");
    let init_dir = dir.join("init");
    let init_file = Path::new(INIT_DIR_IN_CONTAINER).join(INIT_FILE);
    let arguments = initialise::initialise_args(Path::new(DATA_IN_CONTAINER), &init_file);
    let mut spec = mysqld(id, tree, owner, arguments, log).ok()?;
    spec.mounts = vec![
        bind(data::mysql_dir(dir), DATA_IN_CONTAINER),
        Bind { read_only: true, ..bind(init_dir.clone(), INIT_DIR_IN_CONTAINER) },
    ];
    spec.labels = label(name, Purpose::Template.label(), "", config_digest);
    Some(Step::MakeTemplate {
        dir: dir.to_owned(),
        init: (init_dir.join(INIT_FILE), initialise::INIT_SQL.to_owned()),
        spec: Box::new(spec),
        owner,
    })
}

/// What the goal limits.
pub(super) fn limits(subject: &Subject<'_>) -> Result<Limits, String> {
    let entry = subject.entry();
    let io = entry.io;
    let mut limits = Limits {
        memory_max_bytes: Some(entry.size.of(subject.config.memory_bytes)),
        cpu_max: entry.cpu.cores.map(|cores| CpuMax::from_millicores(millicores(cores))),
        cpu_weight: entry.cpu.weight.map(u64::from),
        cpuset: entry.cpu.cpuset.as_ref().map(ToString::to_string),
        memory_high_bytes: entry.memory.high.map(berth_model::ByteSize::get),
        pids_max: entry.pids.map(u64::from),
        io_weight: io.weight.map(u64::from),
        io: Vec::new(),
    };
    if io.has_rates() {
        let device = match &subject.seen.disk {
            Observed::Present(disk) => disk.on.device.as_ref().map(|device| device.number),
            Observed::Unknown(why) => Err(why),
            Observed::Absent => return Err("the data directory is on no disk".to_owned()),
        };
        let device = device.map_err(|why| {
            format!(
                "the goal limits io, but the disk of {} can't be found out: {why}",
                subject.dir().display()
            )
        })?;
        limits.io = vec![IoLimit {
            device,
            read_bps: io.read_bps.map(berth_model::ByteRate::get),
            write_bps: io.write_bps.map(berth_model::ByteRate::get),
            read_iops: io.read_iops.map(u64::from),
            write_iops: io.write_iops.map(u64::from),
        }];
    }
    Ok(limits)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a goal's cores are from 0.01 to 4096"
)]
fn millicores(cores: f64) -> u64 {
    (cores * 1000.0).round() as u64
}

/// The step that gives a running container the limits of its goal, if they differ, with the
/// memory that it is to have now. The error is why they stay.
pub(super) fn limits_change(
    subject: &Subject<'_>,
    container: &ContainerFacts,
    resize: &Resize,
) -> Result<Option<Step>, String> {
    let mut wanted = Limits { memory_max_bytes: resize.limit, ..limits(subject)? };
    if resize.is_shrinking(subject) {
        // The goal's is meant for the smaller size: it would slow down who is on the way there.
        wanted.memory_high_bytes = container.limits.memory_high_bytes;
    }
    let step = || Step::SetLimits { id: subject.container_id(), limits: Box::new(wanted.clone()) };
    Ok((wanted != container.limits).then(step))
}

#[cfg(test)]
mod tests;
