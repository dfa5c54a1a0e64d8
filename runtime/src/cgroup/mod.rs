//! Control groups: where they are, one leaf per container, its limits and usage.
//!
//! [`Layout`] is the only place that knows whether the host is unified (v2), or
//! legacy/hybrid (v1); [`Leaf`] is one container's group in every hierarchy, and
//! [`Groups`] adds the one in which its start begins;
//! `limits` renders wanted values into file contents, purely; `apply` writes
//! and reads them back; `usage` reads the counters.
//!
//! The leaf is made, and its limits are written, before the container's first
//! instruction: libcontainer then only attaches. Groups that this crate did not
//! make are not touched, except that on v2 the controllers it needs are enabled
//! downwards from the root.

mod apply;
mod groups;
mod layout;
mod leaf;
mod limits;
mod systemd;
mod units;
mod usage;

use serde::{Deserialize, Serialize};

pub(crate) use apply::apply;
pub(crate) use apply::check_cpu_list;
pub(crate) use groups::Groups;
pub use layout::{Layout, Mount, Version};
pub(crate) use leaf::Leaf;
pub use limits::{CpuMax, IoLimit, Limits, Unapplied};
pub use usage::{IoUsage, Usage};
pub(crate) use usage::{pinned_memory, usage};

/// Who makes the groups above the containers' own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Manager {
    /// This crate, in a subtree of its own.
    Own,
    /// systemd, which delegates a scope for each container. Only where the whole tree is v2.
    Systemd,
}

impl Manager {
    /// Who it must be on this host.
    #[must_use]
    pub fn detect(layout: &Layout) -> Self {
        if layout.version == Version::Unified && systemd::is_there() {
            Self::Systemd
        } else {
            Self::Own
        }
    }
}
