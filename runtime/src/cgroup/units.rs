//! The systemd units of one container: their names, and where their groups are.
//!
//! Under systemd the cgroup tree is its own ("single writer",
//! <https://systemd.io/CGROUP_DELEGATION/>), and what others may change is what it delegates.
//! Each container gets
//! - a transient scope with Delegate=yes, in which this crate makes groups as it likes: that
//!   of the container with its limits, and that of its start. systemd takes a scope away as
//!   soon as the last process in it has ended;
//! - a transient slice around the scope, which stays until the container is removed, and with
//!   it the count of processes that were killed for want of memory (`memory.events` counts
//!   descendants, those that are gone too).
//!
//! Pure: nothing is asked or changed here.

use std::path::PathBuf;

use crate::id::ContainerId;

/// The container's own group, in its scope.
const PAYLOAD: &str = "payload";
/// The group of its start, in its scope.
const START: &str = "start";

/// The units of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Units {
    /// The slice above all containers', such as `berth.slice`.
    pub(crate) parent: String,
    /// The container's slice.
    pub(crate) slice: String,
    /// Its scope.
    pub(crate) scope: String,
}

impl Units {
    /// Names the units of a container below `parent`, such as `berth`.
    ///
    /// A dash in a slice's name is a level of the tree (systemd.slice(5)), so that the id's
    /// dashes become colons, which no id has.
    pub(crate) fn new(parent: &str, id: &ContainerId) -> Self {
        Self {
            parent: format!("{parent}.slice"),
            slice: format!("{parent}-{}.slice", id.as_str().replace('-', ":")),
            scope: format!("{parent}-{id}.scope"),
        }
    }

    /// The group of the slice, below the root of the tree.
    pub(crate) fn slice_path(&self) -> PathBuf {
        slice_path(&self.slice)
    }

    /// The group of the scope.
    pub(crate) fn scope_path(&self) -> PathBuf {
        self.slice_path().join(&self.scope)
    }

    /// The container's own group.
    pub(crate) fn payload_path(&self) -> PathBuf {
        self.scope_path().join(PAYLOAD)
    }

    /// The group in which its start begins.
    pub(crate) fn start_path(&self) -> PathBuf {
        self.scope_path().join(START)
    }
}

/// Where systemd puts a slice: `a-b.slice` is in `a.slice` (systemd.slice(5)).
fn slice_path(name: &str) -> PathBuf {
    let stem = name.strip_suffix(".slice").unwrap_or(name);
    let ends = stem.match_indices('-').map(|(at, _)| at).chain([stem.len()]);
    ends.map(|end| format!("{}.slice", &stem[..end])).collect()
}

#[cfg(test)]
mod tests;
