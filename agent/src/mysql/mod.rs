//! Everything the agent says to a MySQL server, as domain verbs with deadlines.
//!
//! The flow: [`initialise`] says how a data directory is made and how mysqld is started;
//! [`Server`] is one connection, over the unix socket as root by `auth_socket`, or over TLS
//! to a peer; [`Server::snapshot`] and [`Server::source_view`] read what is there; the verbs
//! change it. [`GtidSet`] and [`credentials`] are pure.
//!
//! Calls block, and each ends by its [`Deadline`] whatever the server does: a connection is
//! driven by a thread of its own, and a caller whose time is up leaves it behind, shut down.
//! Servers older than 8.0.23 and MariaDB are refused when the connection is made.
//!
//! It does not decide anything: what to do about what was read is the planner's business.
//! It starts no process and touches no data directory.

mod accounts;
mod clone;
mod connect;
mod deadline;
mod error;
mod globals;
mod gtid;
mod probe;
mod replication;
mod row;
mod session;
mod sql;
mod verbs;
mod version;

pub mod credentials;
pub mod initialise;

pub use accounts::AccountChange;
pub use clone::{CloneOutcome, Donor};
pub use connect::Server;
pub use deadline::Deadline;
pub use error::{Cause, MysqlError as Error, Result, is_transient};
pub use gtid::{GtidSet, ParseGtidError, errant};
pub use probe::{
    BufferPool, CloneStage, CloneState, CloneStatus, ConnectedReplica, HeldVariables, IoState,
    Plugins, ReplicaStatus, SemiSync, Snapshot, SourceView, WorkerError,
};
pub use replication::{SemiSyncRole, Source};
pub use verbs::{BUFFER_POOL_SIZE, GtidWait, Writer};
pub use version::Version;
