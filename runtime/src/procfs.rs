//! The few facts about a process that /proc tells, and nothing else.
//!
//! A pid alone names nothing: pids are reused. [`ProcStat::start_time`] together
//! with the boot id does name one process for ever.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Result, RuntimeError};

/// linux/sched.h: the process has entered do_exit.
const PF_EXITING: u64 = 0x4;

/// The fields of `/proc/PID/stat` that this crate uses (proc_pid_stat(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcStat {
    /// Field 3: `R`, `S`, `D`, `Z`, `X`...
    pub(crate) state: char,
    /// Field 4.
    pub(crate) ppid: i32,
    /// Field 9: whether PF_EXITING is set: it is on its way out, and v1 control
    /// groups no longer show it where it was.
    pub(crate) exiting: bool,
    /// Field 20; 1 or 0 for a zombie whose threads are all gone.
    pub(crate) num_threads: i64,
    /// Field 22, in clock ticks since boot.
    pub(crate) start_time: u64,
    /// Field 52, in the form of waitpid(2); only root may read it, and it is
    /// meaningful only for a zombie.
    pub(crate) exit_code: i32,
}

impl ProcStat {
    /// Whether the whole process is over. A leader that has ended while other
    /// threads still run is a `Z` too, with more than one thread counted.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X') && self.num_threads <= 1
    }

    /// Parses the text of a stat file. The command name (field 2) may hold
    /// blanks and brackets, so fields are counted from the last bracket.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // fields[0] is field 3.
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            state: field(3)?.chars().next()?,
            ppid: field(4)?.parse().ok()?,
            exiting: field(9)?.parse::<u64>().ok()? & PF_EXITING != 0,
            num_threads: field(20)?.parse().ok()?,
            start_time: field(22)?.parse().ok()?,
            exit_code: field(52)?.parse().ok()?,
        })
    }
}

/// Whether an error says that the process is gone. ESRCH comes when it dies
/// between open and read.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ESRCH)
}

/// Reads `/proc/PID/<file>`; `None` when there is no such process.
pub(crate) fn read(pid: i32, file: &str) -> Result<Option<String>> {
    let path = PathBuf::from(format!("/proc/{pid}/{file}"));
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(RuntimeError::io("read", path)(error)),
    }
}

/// Reads a process's stat; `None` when there is no such process.
pub(crate) fn stat(pid: i32) -> Result<Option<ProcStat>> {
    let Some(text) = read(pid, "stat")? else {
        return Ok(None);
    };
    ProcStat::parse(&text).map(Some).ok_or_else(|| RuntimeError::Format {
        path: PathBuf::from(format!("/proc/{pid}/stat")),
        found: text.chars().take(120).collect(),
        expected: "the fields of proc_pid_stat(5)",
    })
}

/// The program file that a process runs; `None` when the process is gone or is
/// a zombie.
pub(crate) fn exe(pid: i32) -> Result<Option<PathBuf>> {
    let path = PathBuf::from(format!("/proc/{pid}/exe"));
    match fs::read_link(&path) {
        Ok(target) => Ok(Some(target)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(RuntimeError::io("read link", path)(error)),
    }
}

/// The kernel's random id of this boot.
pub(crate) fn boot_id() -> Result<String> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let text = fs::read_to_string(path).map_err(RuntimeError::io("read", path))?;
    Ok(text.trim().to_owned())
}

/// All processes (zombies too) whose parent is `parent`, by a walk over /proc.
/// Processes that come and go meanwhile may or may not be seen.
pub(crate) fn children_of(parent: i32) -> Result<Vec<i32>> {
    let proc = Path::new("/proc");
    let mut children = Vec::new();
    for entry in fs::read_dir(proc).map_err(RuntimeError::io("list", proc))? {
        let entry = entry.map_err(RuntimeError::io("list", proc))?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if stat(pid)?.is_some_and(|stat| stat.ppid == parent) {
            children.push(pid);
        }
    }
    Ok(children)
}

/// Whether the process `pid` that began at `start_time` still runs.
pub(crate) fn is_alive(pid: i32, start_time: u64) -> Result<bool> {
    Ok(stat(pid)?.is_some_and(|stat| stat.start_time == start_time && !stat.is_dead()))
}

#[cfg(test)]
mod tests;
