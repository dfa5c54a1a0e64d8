//! Container lifecycle for database hosts, without a daemon and without anything
//! that can hang.
//!
//! A [`Runtime`] starts, inspects, stops and removes containers. It uses youki's
//! libcontainer inside short-lived helper processes only (see `helper`), makes
//! and limits each container's control group itself (see `cgroup`), and writes
//! everything down so that any later process can adopt what an earlier one
//! started (see [`Record`]). Truth is the kernel and the files, read anew by
//! every call.
//!
//! Not here: images, addresses, MySQL, and any decision about what should run.

mod bundle;
mod cgroup;
mod deadline;
mod device;
mod error;
mod exec;
mod exit;
mod facts;
mod files;
mod filesystem;
mod helper;
mod id;
pub mod logs;
mod pidfd;
mod procfs;
mod record;
mod rlimit;
mod runtime;
mod spec;
mod terminal;

pub use cgroup::{
    CpuMax, IoLimit, IoUsage, Layout, Limits, Manager as CgroupManager, Mount as CgroupMount,
    Unapplied, Usage, Version as CgroupVersion,
};
pub use device::{BlockDevice, DeviceNumber, NotADeviceNumber, Via, device_of, takes_weights};
pub use error::{Result, RuntimeError};
pub use exec::{ExecOutput, ExecSpec};
pub use exit::{ExitInfo, ExitStatus};
pub use facts::{Facts, preflight};
pub use filesystem::{FileSystem, file_system_of};
pub use helper::{Helper, run_if_helper};
pub use id::{ContainerId, InvalidId};
pub use nix::sys::signal::Signal;
pub use record::{ProcessName, Record};
pub use runtime::{Container, Runtime, RuntimeConfig, State, Watch, become_subreaper};
pub use spec::{Bind, ContainerSpec, Network, Rlimits, Tmpfs, User};
