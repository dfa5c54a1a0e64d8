//! What a bed has that could leak: compared between two moments at rest.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::{Bed, PATIENCE, cgroup, proc, reaper, until};

/// What a bed has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Possessions {
    /// Groups below the bed's cgroup, in any hierarchy.
    pub groups: Vec<String>,
    /// Files and directories of the run and the state directory, such as containers' records
    /// and sockets, and of instances' directories without the data.
    pub files: Vec<PathBuf>,
    /// Mounts on the host below the bed's directory.
    pub mounts: Vec<PathBuf>,
    /// The agent's open descriptors, by what they are.
    pub descriptors: BTreeMap<String, usize>,
    /// Processes that ended and that nobody collects.
    pub zombies: usize,
}

impl Possessions {
    /// What this bed has now. Its agent must run.
    #[must_use]
    pub fn of(bed: &Bed) -> Self {
        let agent = bed.agent().pid();
        let mut files = Vec::new();
        list(&bed.dir().join("run"), usize::MAX, &mut files);
        list(&bed.dir().join("state"), usize::MAX, &mut files);
        list(&bed.data_dir(), 1, &mut files);
        // What was moved aside is meant to stay.
        files.retain(|path| !path.starts_with(bed.data_dir().join(".trash")));
        let own_mounts = proc::mounts(std::process::id()).into_iter().map(|mount| mount.point);
        let zombie = |stat: &proc::Stat| stat.state == 'Z' && stat.parent == agent;
        Self {
            groups: cgroup::leaves(bed.name()),
            files,
            mounts: own_mounts.filter(|point| point.starts_with(bed.dir())).collect(),
            descriptors: proc::descriptors(agent),
            zombies: proc::all().iter().filter(|stat| zombie(stat)).count()
                + reaper::zombies().len(),
        }
    }

    /// Waits until the bed has this and no more. A pass opens connections and starts
    /// helpers for moments, so one look is not enough.
    ///
    /// # Panics
    /// It still has more after a long time.
    pub fn await_same(&self, bed: &Bed) {
        let mut last = Self::of(bed);
        let same = until(PATIENCE, || {
            last = Self::of(bed);
            (last == *self).then_some(())
        });
        assert!(same.is_some(), "found {last:#?}, expected {self:#?}");
    }
}

fn list(dir: &Path, levels: usize, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if levels > 0 && path.is_dir() {
            list(&path, levels - 1, found);
        }
        found.push(path);
    }
}
