//! What the kernel says of processes: proc(5), read and never guessed.

use std::{collections::BTreeMap, fs, path::PathBuf};

/// A process, as `/proc/PID/stat` shows it (proc_pid_stat(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Its id.
    pub pid: u32,
    /// Its state, such as `S`, `T` (stopped) or `Z` (ended, not collected).
    pub state: char,
    /// Its parent.
    pub parent: u32,
    /// Its session.
    pub session: u32,
    /// When it started, in ticks since the boot: with the pid it names one process.
    pub start_ticks: u64,
}

/// Looks at a process; `None` if there is none.
#[must_use]
pub fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field may hold blanks and parentheses.
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        pid,
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
    })
}

/// Whether a process lives; one that has ended and isn't collected doesn't.
#[must_use]
pub fn lives(pid: u32) -> bool {
    stat(pid).is_some_and(|stat| !matches!(stat.state, 'Z' | 'X'))
}

/// All processes.
#[must_use]
pub fn all() -> Vec<Stat> {
    numbers("/proc").into_iter().filter_map(stat).collect()
}

/// The numbers among the names in a directory.
fn numbers(dir: &str) -> Vec<u32> {
    let names = fs::read_dir(dir).into_iter().flatten().flatten();
    names.filter_map(|name| name.file_name().to_str()?.parse().ok()).collect()
}

/// The arguments of a process, each followed by a blank.
#[must_use]
pub fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// The environment of a process as it was started, each variable followed by a blank.
#[must_use]
pub fn environment(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// A field of `/proc/PID/status`, such as `Seccomp`.
///
/// # Panics
/// There is no such process or field.
#[must_use]
pub fn status(pid: u32, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let found = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    found.unwrap_or_else(|| panic!("{field} in the status of {pid}")).trim().to_owned()
}

/// The open descriptors of a process and what each is; pipes and sockets without their
/// numbers, so that two moments can be compared.
#[must_use]
pub fn descriptors(pid: u32) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for number in numbers(&format!("/proc/{pid}/fd")) {
        let Ok(link) = fs::read_link(format!("/proc/{pid}/fd/{number}")) else { continue };
        let text = link.display().to_string();
        let kind = text.split_once(":[").map_or(text.as_str(), |(kind, _)| kind);
        *found.entry(kind.to_owned()).or_default() += 1;
    }
    found
}

/// A mount as a process sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub point: PathBuf,
    /// The directory of the file system that is mounted there.
    pub root: PathBuf,
    /// Its options, such as `ro`.
    pub options: Vec<String>,
    /// The file system's type.
    pub kind: String,
}

/// The mounts that a process sees (proc_pid_mountinfo(5)); none if there is no process.
#[must_use]
pub fn mounts(pid: u32) -> Vec<Mount> {
    let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    text.lines().filter_map(mount).collect()
}

fn mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let fields: Vec<&str> = left.split(' ').collect();
    Some(Mount {
        root: fields.get(3)?.into(),
        point: fields.get(4)?.into(),
        options: fields.get(5)?.split(',').map(str::to_owned).collect(),
        kind: right.split(' ').next()?.to_owned(),
    })
}
