//! Ending a container, learning how it ended, and removing it.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::inspect::now_ms;
use super::start::clear;
use super::{EXIT, LOCK_WAIT, Runtime, State};
use crate::deadline::Deadline;
use crate::error::{Result, RuntimeError};
use crate::exit::{ExitInfo, ExitStatus};
use crate::files;
use crate::id::ContainerId;
use crate::pidfd::PidFd;
use crate::procfs;
use crate::record::{ProcessName, Record};

/// A handle on a running container's init. Poll it: it becomes readable when the
/// container has ended. Keep it until [`Runtime::collect`]: for a container that
/// an earlier agent started, it is the only source of the exit code.
#[derive(Debug)]
pub struct Watch {
    id: ContainerId,
    process: ProcessName,
    fd: PidFd,
}

impl Watch {
    /// The container.
    #[must_use]
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// Waits for the container's end; `false` when `within` came first.
    ///
    /// # Errors
    /// When the kernel refuses to poll.
    pub fn wait(&self, within: Duration) -> Result<bool> {
        self.fd.wait_exit(Deadline::after(within))
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// How long a SIGTERM may take to show before it is sent again.
const TERM_AGAIN: Duration = Duration::from_secs(1);

/// Asks init to end, again and again until the deadline: init of a PID namespace doesn't get
/// a signal that it has no handler for yet (pid_namespaces(7)), as while it starts.
fn terminate(init: &PidFd, deadline: Deadline) -> Result<()> {
    loop {
        init.signal(Signal::SIGTERM)?;
        if init.wait_exit(deadline.at_most(TERM_AGAIN))? || deadline.expired() {
            return Ok(());
        }
    }
}

impl Runtime {
    /// A handle on a running container; `None` when it is not running.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`], or when the record or /proc can't be read.
    pub fn watch(&self, id: &ContainerId) -> Result<Option<Watch>> {
        let container = self.existing(id)?;
        let (State::Running { .. }, Some(process)) =
            (&container.state, container.record.and_then(|record| record.process))
        else {
            return Ok(None);
        };
        let fd = PidFd::open_exact(process.pid, process.start_time)?;
        Ok(fd.map(|fd| Watch { id: id.clone(), process, fd }))
    }

    /// Learns how a watched container ended, stores it beside the record, and
    /// collects its zombie if it is ours. `None` while it still runs.
    ///
    /// # Errors
    /// [`RuntimeError::Busy`], or when files or /proc can't be read or written.
    pub fn collect(&self, watch: &Watch) -> Result<Option<ExitInfo>> {
        if !watch.fd.wait_exit(Deadline::after(Duration::ZERO))? {
            return Ok(None);
        }
        let Some(lock) = self.try_lock(&watch.id, Deadline::after(LOCK_WAIT))? else {
            // Removed meanwhile; whoever removed it has collected it.
            let status = find_status(&watch.fd, watch.process)?;
            return Ok(Some(ExitInfo { status, ..ExitInfo::default() }));
        };
        self.settle(lock.path(), &watch.id, watch.process, &watch.fd).map(Some)
    }

    /// Stores the end of a process that has ended, then reaps it. What is stored
    /// already stays.
    fn settle(
        &self,
        dir: &Path,
        id: &ContainerId,
        process: ProcessName,
        fd: &PidFd,
    ) -> Result<ExitInfo> {
        let path = dir.join(EXIT);
        let info = match files::read_json::<ExitInfo>(&path)? {
            Some(stored) => stored,
            None => {
                let status = find_status(fd, process)?;
                let oom_killed = self.groups(id)?.oom_kills()?.map(|kills| kills > 0);
                let info = ExitInfo { status, oom_killed, finished_at_ms: Some(now_ms()) };
                files::write_json(dir, EXIT, "exit status", &info)?;
                info
            }
        };
        fd.reap_child()?;
        Ok(info)
    }

    /// Ends a container: SIGTERM, up to `grace` for it to end by itself, then
    /// SIGKILL for everything in its control group. On return nothing of it runs.
    /// A container that has ended already is fine. `Interrupted` leftovers are
    /// killed at once.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`]; [`RuntimeError::Busy`]; [`RuntimeError::Unkillable`] when SIGKILL
    /// did not help within `within`, which includes `grace`.
    pub fn stop(&self, id: &ContainerId, grace: Duration, within: Duration) -> Result<ExitInfo> {
        let deadline = Deadline::after(within);
        let lock = self.lock(id, deadline)?;
        let container = self.existing(id)?;
        if let State::Unknown { reason } = container.state {
            return Err(RuntimeError::Contradiction { id: id.clone(), reason });
        }
        let process = container.record.and_then(|record| record.process);
        let init = match process {
            Some(named) => PidFd::open_exact(named.pid, named.start_time)?,
            None => None,
        };
        if let (Some(fd), State::Running { .. }) = (&init, &container.state) {
            terminate(fd, deadline.at_most(grace))?;
        }
        self.groups(id)?.kill(deadline)?;
        match (process, &init) {
            (Some(named), Some(fd)) => {
                if !fd.wait_exit(deadline)? {
                    return Err(RuntimeError::Deadline { operation: "stop", granted: within });
                }
                self.settle(lock.path(), id, named, fd)
            }
            _ => match self.existing(id)?.state {
                State::Exited(info) => Ok(info),
                _ => Ok(ExitInfo::default()),
            },
        }
    }

    /// Removes a container that does not run: what is left of its processes, its
    /// control groups and its files (its log and its mounts' sources stay). One
    /// that is not there is fine.
    ///
    /// # Errors
    /// [`RuntimeError::StillRunning`]; [`RuntimeError::Busy`] while it is being started or
    /// stopped; otherwise what could not be removed.
    pub fn remove(&self, id: &ContainerId, within: Duration) -> Result<()> {
        let deadline = Deadline::after(within);
        let Some(lock) = self.try_lock(id, deadline)? else {
            return Ok(());
        };
        let Some(container) = self.inspect(id)? else {
            return Ok(());
        };
        let groups = self.groups(id)?;
        match container.state {
            State::Running { .. } => return Err(RuntimeError::StillRunning { id: id.clone() }),
            State::Unknown { reason } => {
                return Err(RuntimeError::Contradiction { id: id.clone(), reason });
            }
            // Creating can't be: its creator would hold the lock.
            State::Creating { .. } | State::Interrupted { .. } | State::Exited(_) => {}
        }
        let mut zombies = Vec::new();
        for pid in groups.pids()? {
            zombies.extend(PidFd::open(pid)?);
        }
        zombies.extend(init_of(container.record.as_ref())?);
        groups.kill(deadline)?;
        for zombie in zombies {
            if zombie.wait_exit(deadline)? {
                zombie.reap_child()?;
            }
        }
        clear(&lock, &groups, deadline)
    }
}

fn init_of(record: Option<&Record>) -> Result<Option<PidFd>> {
    let named = record.and_then(|record| record.process);
    named.map_or(Ok(None), |named| PidFd::open_exact(named.pid, named.start_time))
}

/// How a process that has ended did so, from the first source that knows: our own
/// child's status; the zombie of another parent; what the kernel keeps with the
/// pidfd after the zombie was collected. A zombie that is collected between the
/// second question and the third has left its status for the third.
fn find_status(fd: &PidFd, process: ProcessName) -> Result<Option<ExitStatus>> {
    if let Some(status) = fd.peek_child()? {
        return Ok(Some(status));
    }
    if let Some(stat) = procfs::stat(process.pid)?
        && stat.start_time == process.start_time
        && stat.is_dead()
    {
        return Ok(Some(ExitStatus::from_wait(stat.exit_code)));
    }
    Ok(fd.exit_info())
}
