//! The operations on containers. All are synchronous and end within the time
//! they are given; none needs a daemon or a memory of earlier calls.
//!
//! Start writes, in this order: the container's directory (which is its lock),
//! an intent record, the bundle, the control groups (with the helper, which waits)
//! and their limits; then the helper creates init, the record gets its process, and only then init may run
//! its program. A caller that dies anywhere in between leaves a directory that
//! [`Runtime::list`] shows as [`State::Interrupted`] (or, once the program runs,
//! as running) and that [`Runtime::remove`] clears away.
//!
//! Who collects zombies: the agent makes itself a subreaper
//! ([`become_subreaper`]), so init of each container it starts becomes its child
//! when the helper exits. [`Runtime::collect`], `stop` and `remove` read its
//! status with WNOWAIT, store it, and only then reap it, always through a pidfd
//! of a process named in a record. Processes of an aborted helper are found as
//! its children and reaped the same way. Nothing here waits for "any child", so
//! that the statuses of other children of the agent stay theirs. An exec's
//! process is reaped by its helper, which is a subreaper too.

mod inspect;
mod lock;
mod start;
mod stop;

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::Signal;

pub use inspect::{Container, State};
pub use stop::Watch;

use crate::cgroup::{self, Groups, Layout, Leaf, Limits, Manager, Unapplied, Usage};
use crate::deadline::Deadline;
use crate::error::{Result, RuntimeError};
use crate::files;
use crate::helper::{Call, Helper};
use crate::id::ContainerId;
use crate::pidfd::PidFd;
use crate::record::Record;

const RECORD: &str = "record.json";
const EXIT: &str = "exit.json";
/// Time for what should take no time: a lock that readers never hold.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Where a runtime keeps its things.
#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// Directory of records, such as `/run/berth`; made if missing. It should not
    /// outlive a reboot.
    pub run_dir: PathBuf,
    /// Control group below which every container gets its own, such as `berth`;
    /// made if missing. Under systemd the slice of this name.
    pub cgroup: PathBuf,
    /// How to run helpers.
    pub helper: Helper,
}

/// The containers of one run directory. Cheap to clone; usable from many threads.
#[derive(Debug, Clone)]
pub struct Runtime {
    containers: PathBuf,
    cgroup: PathBuf,
    layout: Layout,
    manager: Manager,
    helper: Helper,
}

impl Runtime {
    /// Opens a run directory.
    ///
    /// # Errors
    /// When it can't be made, or the host's control groups can't be used.
    pub fn new(config: RuntimeConfig) -> Result<Self> {
        let layout = Layout::detect()?;
        let containers = config.run_dir.join("containers");
        std::fs::create_dir_all(&containers).map_err(RuntimeError::io("create", &containers))?;
        let containers = containers
            .canonicalize()
            .map_err(RuntimeError::io("find the real path of", &config.run_dir))?;
        Leaf::new(layout.clone(), config.cgroup.clone())?;
        let manager = Manager::detect(&layout);
        Ok(Self { containers, cgroup: config.cgroup, layout, manager, helper: config.helper })
    }

    /// The control group layout that was found.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    fn dir(&self, id: &ContainerId) -> PathBuf {
        self.containers.join(id)
    }

    fn groups(&self, id: &ContainerId) -> Result<Groups> {
        Groups::new(&self.layout, self.manager, &self.cgroup, id)
    }

    fn leaf(&self, id: &ContainerId) -> Result<Leaf> {
        Ok(self.groups(id)?.leaf)
    }

    /// Where a container's OCI spec is.
    pub(crate) fn config_of(&self, id: &ContainerId) -> PathBuf {
        self.dir(id).join("bundle/config.json")
    }

    /// Starts a helper inside a running container's control group.
    pub(crate) fn launch_inside(
        &self,
        operation: &'static str,
        id: &ContainerId,
        deadline: Deadline,
    ) -> Result<Call> {
        let leaf = self.leaf(id)?;
        self.helper.launch(operation, |pid| leaf.attach(pid), deadline)
    }

    /// Sends a signal to init. `false` when the container was not running.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`], or when the record or /proc can't be read.
    pub fn signal(&self, id: &ContainerId, signal: Signal) -> Result<bool> {
        self.init(id)?.map_or(Ok(false), |fd| fd.signal(signal))
    }

    /// A pidfd of a running container's init, checked by start time.
    fn init(&self, id: &ContainerId) -> Result<Option<PidFd>> {
        let container = self.existing(id)?;
        let (State::Running { .. }, Some(process)) =
            (&container.state, container.record.and_then(|record| record.process))
        else {
            return Ok(None);
        };
        PidFd::open_exact(process.pid, process.start_time)
    }

    fn existing(&self, id: &ContainerId) -> Result<Container> {
        self.inspect(id)?.ok_or_else(|| RuntimeError::NotFound { id: id.clone() })
    }

    /// Changes the limits of a container while it runs. What is `None` in
    /// `limits` is cleared. Returns the limits that are not in force afterwards
    /// (each was read back), and keeps both in the record.
    ///
    /// # Errors
    /// [`RuntimeError::InvalidSpec`] for values out of range, [`RuntimeError::NotFound`],
    /// [`RuntimeError::Busy`]; [`RuntimeError::MemoryInUse`] for a memory limit below what is in
    /// use: then it stays as it was, and the others are changed.
    pub fn set_limits(&self, id: &ContainerId, limits: &Limits) -> Result<Vec<Unapplied>> {
        limits.validate()?;
        let lock = self.lock(id, Deadline::after(LOCK_WAIT))?;
        let path = lock.path().join(RECORD);
        let mut record: Record =
            files::read_json(&path)?.ok_or_else(|| RuntimeError::NotFound { id: id.clone() })?;
        let leaf = self.leaf(id)?;
        let before = record.limits.memory_max_bytes;
        let lower = limits.memory_max_bytes.filter(|new| before.is_none_or(|old| *new < old));
        // Without a memory controller nothing is in use that a limit could hit.
        let lower = lower.zip(cgroup::pinned_memory(&leaf)?);
        let mut refused = lower.filter(|(limit, used)| used >= limit).map(|(limit, used)| {
            format!("{used} bytes are in use that can't be taken back, {limit} are asked for")
        });
        let mut limits = limits.clone();
        if refused.is_some() {
            limits.memory_max_bytes = before;
        }
        let mut unapplied = cgroup::apply(&leaf, &limits)?;
        if lower.is_some()
            && refused.is_none()
            && let Some(at) = unapplied.iter().position(|limit| limit.limit == "memory_max_bytes")
        {
            refused = Some(unapplied.remove(at).reason);
            limits.memory_max_bytes = before;
        }
        record.limits = limits;
        record.unapplied.clone_from(&unapplied);
        write_record(lock.path(), &record)?;
        match refused {
            Some(reason) => Err(RuntimeError::MemoryInUse { id: id.clone(), reason }),
            None => Ok(unapplied),
        }
    }

    /// How much of a container's memory the kernel can't take back, in bytes; `None` where
    /// there is no memory controller.
    ///
    /// # Errors
    /// The container's control group can't be read.
    pub fn pinned_memory(&self, id: &ContainerId) -> Result<Option<u64>> {
        cgroup::pinned_memory(&self.leaf(id)?)
    }

    /// What a container uses and has used.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`], or when a counter can't be read.
    pub fn usage(&self, id: &ContainerId) -> Result<Usage> {
        if !self.dir(id).is_dir() {
            return Err(RuntimeError::NotFound { id: id.clone() });
        }
        cgroup::usage(&self.leaf(id)?)
    }
}

/// Makes this process the parent of orphans among its descendants, so that it
/// can collect the exit status of every container it starts (PR_SET_CHILD_SUBREAPER).
///
/// # Errors
/// When the kernel refuses.
pub fn become_subreaper() -> Result<()> {
    prctl::set_child_subreaper(true).map_err(RuntimeError::syscall("become a subreaper"))
}

fn write_record(dir: &Path, record: &Record) -> Result<()> {
    files::write_json(dir, RECORD, "container record", record)
}
