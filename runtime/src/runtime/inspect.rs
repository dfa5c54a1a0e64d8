//! What is there, from files and /proc alone: no lock, no helper, no agent.
//!
//! A record is believed only when boot, pid, start time and control group agree.
//! The decision is [`judge`], which is pure; around it the facts are gathered.

use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{EXIT, RECORD, Runtime};
use crate::error::{Result, RuntimeError};
use crate::exit::{ExitInfo, ExitStatus};
use crate::files;
use crate::helper::COPY_LINK;
use crate::id::ContainerId;
use crate::procfs;
use crate::record::Record;

/// What a container is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Somebody who is alive is starting it.
    Creating {
        /// Since when, in milliseconds since 1970.
        since_ms: u64,
    },
    /// A start (or a removal) was cut off. Nothing of it has run its program, or
    /// will; [`Runtime::remove`] clears it away.
    Interrupted {
        /// Since when, in milliseconds since 1970.
        since_ms: u64,
    },
    /// It runs.
    Running {
        /// Its init, in the host's pid namespace.
        pid: i32,
        /// Since when, in milliseconds since 1970.
        since_ms: u64,
    },
    /// It has ended, and will not be started again.
    Exited(ExitInfo),
    /// What is there contradicts itself. It counts neither as running nor as gone.
    Unknown {
        /// The contradiction.
        reason: String,
    },
}

/// A container as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its name.
    pub id: ContainerId,
    /// What it is doing.
    pub state: State,
    /// What was decided at its start; `None` only for an interrupted one that
    /// had not written it yet.
    pub record: Option<Record>,
}

/// What /proc says about a recorded process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Process {
    /// No such process, or the pid is another's now.
    Gone,
    /// It has ended and waits to be collected.
    Zombie(ExitStatus),
    /// It is alive.
    Alive {
        /// In the container's control group.
        in_group: bool,
        /// Still the helper's copy: has not run its own program.
        waiting: bool,
    },
}

impl Runtime {
    /// One container; `None` when there is none of that name.
    ///
    /// # Errors
    /// When its files or /proc can't be read: then nothing is known about it.
    pub fn inspect(&self, id: &ContainerId) -> Result<Option<Container>> {
        let dir = self.dir(id);
        let since_ms = match fs::metadata(&dir).and_then(|metadata| metadata.modified()) {
            Ok(time) => files::unix_ms(time),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(RuntimeError::io("examine", &dir)(error)),
        };
        let Some(record) = files::read_json::<Record>(&dir.join(RECORD))? else {
            // Between the reading of the directory and of the record it may have been removed.
            let state = State::Interrupted { since_ms };
            let there = dir.is_dir();
            return Ok(there.then(|| Container { id: id.clone(), state, record: None }));
        };
        let state = self.state(&dir, &record)?;
        Ok(Some(Container { id: id.clone(), state, record: Some(record) }))
    }

    /// All containers, by name, each on its own: one that can't be read does not
    /// hide the others.
    ///
    /// # Errors
    /// When the run directory can't be read.
    pub fn list(&self) -> Result<Vec<(ContainerId, Result<Container>)>> {
        let mut ids: Vec<ContainerId> = Vec::new();
        let entries =
            fs::read_dir(&self.containers).map_err(RuntimeError::io("list", &self.containers))?;
        for entry in entries {
            let entry = entry.map_err(RuntimeError::io("list", &self.containers))?;
            // What has another name was not made here.
            ids.extend(entry.file_name().to_str().and_then(|name| ContainerId::new(name).ok()));
        }
        ids.sort();
        let inspected = |id: ContainerId| match self.inspect(&id) {
            Ok(None) => None,
            Ok(Some(container)) => Some((id, Ok(container))),
            Err(error) => Some((id, Err(error))),
        };
        Ok(ids.into_iter().filter_map(inspected).collect())
    }

    fn state(&self, dir: &Path, record: &Record) -> Result<State> {
        let same_boot = record.boot_id == procfs::boot_id()?;
        let process = if same_boot { self.process(record)? } else { Process::Gone };
        let creator_alive =
            same_boot && procfs::is_alive(record.creator.pid, record.creator.start_time)?;
        let state = judge(record, process, creator_alive);
        let State::Exited(mut info) = state else {
            return Ok(state);
        };
        if let Some(stored) = files::read_json::<ExitInfo>(&dir.join(EXIT))? {
            return Ok(State::Exited(stored));
        }
        info.oom_killed = self.groups(&record.id)?.oom_kills()?.map(|kills| kills > 0);
        Ok(State::Exited(info))
    }

    fn process(&self, record: &Record) -> Result<Process> {
        let Some(named) = record.process else {
            return Ok(Process::Gone);
        };
        let stat = match procfs::stat(named.pid)? {
            Some(stat) if stat.start_time == named.start_time => stat,
            _ => return Ok(Process::Gone),
        };
        if stat.is_dead() {
            return Ok(Process::Zombie(ExitStatus::from_wait(stat.exit_code)));
        }
        let waiting = procfs::exe(named.pid)?.is_some_and(|exe| exe.as_os_str() == COPY_LINK);
        if self.leaf(&record.id)?.holds(named.pid)? == Some(true) {
            return Ok(Process::Alive { in_group: true, waiting });
        }
        // One that has begun to exit is shown elsewhere by v1; it was in its group before.
        match procfs::stat(named.pid)? {
            Some(stat) if stat.start_time != named.start_time => Ok(Process::Gone),
            Some(stat) if stat.is_dead() => {
                Ok(Process::Zombie(ExitStatus::from_wait(stat.exit_code)))
            }
            Some(stat) => Ok(Process::Alive { in_group: stat.exiting, waiting }),
            None => Ok(Process::Gone),
        }
    }
}

/// The state that follows from a record and the facts.
fn judge(record: &Record, process: Process, creator_alive: bool) -> State {
    let since_ms = record.created_at_ms;
    let unfinished =
        if creator_alive { State::Creating { since_ms } } else { State::Interrupted { since_ms } };
    let Some(named) = record.process else {
        return unfinished;
    };
    match process {
        Process::Alive { waiting: true, .. } => unfinished,
        Process::Alive { in_group: true, .. } => State::Running { pid: named.pid, since_ms },
        Process::Alive { in_group: false, .. } => State::Unknown {
            reason: format!("process {} is its init but not in its control group", named.pid),
        },
        Process::Zombie(status) => {
            State::Exited(ExitInfo { status: Some(status), ..ExitInfo::default() })
        }
        Process::Gone => State::Exited(ExitInfo::default()),
    }
}

/// The present, for records.
pub(super) fn now_ms() -> u64 {
    files::unix_ms(SystemTime::now())
}

#[cfg(test)]
mod tests;
