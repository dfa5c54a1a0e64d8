//! Test beds: whole hosts on the real kernel, with real containers and real servers.
//!
//! A [`Bed`] is one host: directories, a cgroup, ports and an agent of its own. It starts,
//! stops and kills the agent, drops in goal files, reads the status, asks servers through
//! another vendor's client, and when it is dropped nothing of it is left.
//!
//! A [`Fleet`] is several such hosts, each in a network namespace of its own, with a network
//! between them that can be cut and healed.
//!
//! Several test programs, and several threads of each, may run at once: [`lease`] bounds how
//! many beds there are, and keeps their ports apart. What a killed test program leaves is
//! recognised by its name, which holds its owner, and removed by the next ([`sweep`]).
//!
//! [`vm`] has a host of another kind: a virtual machine with systemd, disks and a plug.
//!
//! [`image`] has the image that all beds run, built once per checkout by the program itself.
//!
//! No expectation of any test is here; and what goes wrong here is a panic, because a bed
//! that doesn't work is a failed test.

#![allow(clippy::unwrap_used, reason = "a bed that does not work is a failed test")]

pub mod agent;
pub mod bed;
pub mod cgroup;
pub mod client;
pub mod fleet;
pub mod goal;
pub mod image;
pub mod lease;
pub mod namespace;
pub mod possessions;
pub mod proc;
pub mod program;
pub mod reaper;
pub mod seed;
pub mod sweep;
pub mod switch;
pub mod vm;
pub mod wait;

pub use bed::{Bed, Options, Site};
pub use fleet::Fleet;
pub use goal::Entry;
pub use possessions::Possessions;
pub use wait::{PATIENCE, until};
