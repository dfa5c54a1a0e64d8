//! What runs in a container of the model.

use std::{collections::BTreeMap, net::SocketAddr};

use berth_runtime::ExitInfo;

use crate::{mysql::BufferPool, observe::Purpose};

/// What runs in a container.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Process {
    /// The agent died while it made the container.
    Creating,
    /// A server.
    Running(Server),
    /// A server that has ended.
    Exited(ExitInfo),
}

/// A server as it runs: what a restart forgets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Server {
    pub(crate) pid: u32,
    pub(crate) answers: bool,
    pub(crate) super_read_only: bool,
    pub(crate) offline: bool,
    pub(crate) sync_binlog: u32,
    pub(crate) flush: u32,
    pub(crate) semi_source: bool,
    pub(crate) semi_replica: bool,
    /// Whether the replication threads are started.
    pub(crate) threads: bool,
    pub(crate) globals: BTreeMap<String, String>,
    pub(crate) pool: BufferPool,
    /// What its clients took.
    pub(crate) clients_bytes: u64,
    /// The donor that it clones from.
    pub(crate) cloning: Option<SocketAddr>,
}

impl Server {
    /// As mysqld starts by the arguments of `initialise::server_args`.
    pub(crate) fn booted(purpose: Purpose, pid: u32, pool: BufferPool) -> Self {
        Self {
            pid,
            answers: false,
            super_read_only: purpose == Purpose::Serve,
            offline: purpose == Purpose::Serve,
            sync_binlog: 1,
            flush: 1,
            semi_source: false,
            semi_replica: false,
            threads: false,
            globals: BTreeMap::new(),
            pool,
            clients_bytes: 0,
            cloning: None,
        }
    }
}
