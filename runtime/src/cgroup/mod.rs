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
mod usage;

pub(crate) use apply::apply;
pub(crate) use apply::check_cpu_list;
pub(crate) use groups::Groups;
pub use layout::{Layout, Mount, Version};
pub(crate) use leaf::Leaf;
pub use limits::{CpuMax, IoLimit, Limits, Unapplied};
pub use usage::{IoUsage, Usage};
pub(crate) use usage::{oom_kills, usage};
