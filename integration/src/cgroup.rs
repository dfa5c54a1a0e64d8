//! The cgroups of a bed, on a unified host and on one with a hierarchy per controller.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::until;

const ROOT: &str = "/sys/fs/cgroup";
/// Time for killed processes to leave a group.
const END_WAIT: Duration = Duration::from_secs(60);

/// The directories of a group of this name, in every hierarchy.
#[must_use]
pub fn dirs(name: &str) -> Vec<PathBuf> {
    hierarchies().iter().map(|root| root.join(name)).filter(|dir| dir.is_dir()).collect()
}

/// The roots of all hierarchies; on a unified host there is one.
fn hierarchies() -> Vec<PathBuf> {
    let root = PathBuf::from(ROOT);
    if root.join("cgroup.controllers").exists() {
        return vec![root];
    }
    subdirs(&root)
}

fn subdirs(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Makes a group for a container below a bed's, in every hierarchy that takes processes at
/// once (a cpuset wants to be filled in first).
///
/// # Panics
/// It can't be made.
#[must_use]
pub fn make(name: &str, leaf: &str) -> Vec<PathBuf> {
    let takes = |root: &&PathBuf| !root.ends_with("cpuset");
    let dirs: Vec<PathBuf> =
        hierarchies().iter().filter(takes).map(|root| root.join(name).join(leaf)).collect();
    for dir in &dirs {
        fs::create_dir_all(dir).unwrap();
    }
    dirs
}

/// Groups of test beds in any hierarchy, by name.
#[must_use]
pub fn names(prefix: &str) -> Vec<String> {
    let dirs = hierarchies().into_iter().flat_map(|root| subdirs(&root));
    let names = dirs.filter_map(|dir| Some(dir.file_name()?.to_str()?.to_owned()));
    let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names.dedup();
    names
}

/// The groups below a bed's, in any hierarchy: one name for each container.
#[must_use]
pub fn leaves(name: &str) -> Vec<String> {
    let below = dirs(name).into_iter().flat_map(|dir| subdirs(&dir));
    let names = below.filter_map(|dir| Some(dir.file_name()?.to_str()?.to_owned()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names.dedup();
    names
}

/// The text of a container's interface file: `v2` on a unified host, otherwise `v1` of the
/// controller's own hierarchy. `None` if there is no such group.
#[must_use]
pub fn file(group: &str, leaf: &str, controller: &str, v1: &str, v2: &str) -> Option<String> {
    let root = Path::new(ROOT);
    let unified = root.join("cgroup.controllers").exists();
    let (root, file) = if unified { (root.to_owned(), v2) } else { (root.join(controller), v1) };
    fs::read_to_string(root.join(group).join(leaf).join(file))
        .ok()
        .map(|text| text.trim().to_owned())
}

/// Whether the host has one hierarchy for everything.
#[must_use]
pub fn is_unified() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

/// Kills whatever is in a bed's groups, and removes them.
///
/// # Panics
/// They can't be emptied in time.
pub fn end(name: &str) {
    let gone = until(END_WAIT, || {
        for dir in dirs(name) {
            end_tree(&dir);
        }
        dirs(name).is_empty().then_some(())
    });
    assert!(gone.is_some(), "the control group {name} can't be emptied");
}

fn end_tree(dir: &Path) {
    for below in subdirs(dir) {
        end_tree(&below);
    }
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    for pid in text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    // Busy until the killed have gone; tried again.
    let _ = fs::remove_dir(dir);
}
