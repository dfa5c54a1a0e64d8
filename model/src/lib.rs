//! Wire types of berth: what operators write (goal documents), what berth answers
//! (status documents), and the narrow types both are made of.
//!
//! Flow: text → [`goal::parse`] (one file: entries and refusals) → [`goal::resolve`]
//! (all files of a host together, beside the goals in force) → the agent. The agent
//! writes [`status::StatusDocument`].
//!
//! This crate does no I/O, reads no clock and knows nothing of containers or MySQL.

pub mod cpus;
pub mod goal;
pub mod names;
pub mod schema;
pub mod size;
pub mod sizing;
pub mod status;

pub use cpus::CpuList;
pub use names::{ClusterName, EntryKey, HostName};
pub use size::{BitRate, ByteRate, ByteSize, HostShare};
