//! Removes what test programs left that were killed.
//!
//! A bed's directory and cgroup have the same name, and it tells the owner: a process id and
//! the time that process was started. What belongs to a process that lives is not touched.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use nix::{
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{cgroup, proc};

/// How the names of beds begin.
pub const PREFIX: &str = "berth-test-host-";
/// Where beds are: on a disk, and with a short path, because a socket's path has at most 107
/// bytes (unix(7)).
pub const PLACE: &str = "/var/tmp";

/// A name for a bed of this process.
///
/// # Panics
/// /proc is not there.
#[must_use]
pub fn name(number: u32) -> String {
    let own = proc::stat(std::process::id()).expect("/proc shows this process");
    name_of(&own, number)
}

/// A name that no bed of this process has had.
///
/// # Panics
/// /proc is not there.
#[must_use]
pub fn next_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    name(NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A name for a bed of this owner.
#[must_use]
pub fn name_of(owner: &proc::Stat, number: u32) -> String {
    format!("{PREFIX}{}-{}-{number}", owner.pid, owner.start_ticks)
}

/// Whether the owner of a bed of this name lives; `None` if the name is none of a bed.
fn owner_lives(name: &str) -> Option<bool> {
    let mut parts = name.strip_prefix(PREFIX)?.split('-');
    let pid: u32 = parts.next()?.parse().ok()?;
    let ticks: u64 = parts.next()?.parse().ok()?;
    Some(proc::stat(pid).is_some_and(|stat| stat.start_ticks == ticks))
}

/// Removes the beds of processes that have ended.
pub fn leftovers() {
    let entries = fs::read_dir(PLACE).into_iter().flatten().flatten();
    let dirs = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = dirs.chain(cgroup::names(PREFIX)).collect();
    names.sort();
    names.dedup();
    for name in names.iter().filter(|name| owner_lives(name) == Some(false)) {
        eprintln!("removing what an earlier run left: {name}");
        remove(name);
    }
}

/// Ends all processes of a bed and removes all it has.
pub fn remove(name: &str) {
    let dir = Path::new(PLACE).join(name);
    kill_daemons(&dir);
    cgroup::end(name);
    unmount(&dir);
    if let Err(error) = fs::remove_dir_all(&dir)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        eprintln!("cannot remove {}: {error}", dir.display());
    }
}

/// Kills the agents whose configuration is in this directory, and the daemons of switches
/// that are controlled from there.
fn kill_daemons(dir: &Path) {
    let marks = [" --config ", " --unixctl="].map(|mark| format!("{mark}{}/", dir.display()));
    for process in proc::all() {
        let line = proc::command_line(process.pid);
        if marks.iter().any(|mark| line.contains(mark)) {
            let _ = kill(Pid::from_raw(process.pid.cast_signed()), Signal::SIGKILL);
        }
    }
}

/// Unmounts what is mounted below a directory, the latest first.
fn unmount(dir: &Path) {
    let points: Vec<PathBuf> = proc::mounts(std::process::id())
        .into_iter()
        .map(|mount| mount.point)
        .filter(|point| point.starts_with(dir))
        .collect();
    for point in points.iter().rev() {
        let _ = umount2(point, MntFlags::MNT_DETACH);
    }
}

/// Fails, with the reason, where beds can't be made.
///
/// # Panics
/// Without root, or when a program is missing.
pub fn require() {
    assert!(nix::unistd::geteuid().is_root(), "these tests start containers and need root");
    for (program, package) in [("mariadb", "mariadb-client-core"), ("setsid", "util-linux")] {
        let found = Command::new(program).arg("--version").stdout(Stdio::null()).status();
        assert!(
            found.is_ok_and(|status| status.success()),
            "{program} is missing: install {package}"
        );
    }
}
