//! Reading a server's state.
//!
//! A snapshot is one round trip, and a second one where the clone plugin is loaded. Its parts
//! are read one after the other, not at one instant. For the errant check read the replica's
//! [`Snapshot`] first and the source's [`SourceView`] second, and hand both to
//! [`errant`](super::errant).

use std::str::FromStr;

use super::{Cause, Deadline, Error, GtidSet, Result, Server, Version, connect::first, row::Row};

mod clone;
mod pool;
mod replica;

pub use clone::{CloneStage, CloneState, CloneStatus};
pub use pool::BufferPool;
pub use replica::{IoState, ReplicaStatus, WorkerError};

/// What one server is and does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its release.
    pub version: Version,
    /// `server_uuid`.
    pub server_uuid: String,
    /// `server_id`.
    pub server_id: u32,
    /// `port`; 0 when it runs with `skip_networking`.
    pub port: u16,
    /// `read_only`.
    pub read_only: bool,
    /// `super_read_only`.
    pub super_read_only: bool,
    /// `offline_mode`.
    pub offline_mode: bool,
    /// `gtid_executed`.
    pub gtid_executed: GtidSet,
    /// `gtid_purged`: executed, and no longer in the binary logs.
    pub gtid_purged: GtidSet,
    /// The variables that a role holds.
    pub held: HeldVariables,
    /// Its buffer pool.
    pub pool: BufferPool,
    /// Which plugins are active.
    pub plugins: Plugins,
    /// Seconds since the server started.
    pub uptime_seconds: u64,
    /// The default replication channel, if one is configured.
    pub replica: Option<ReplicaStatus>,
    /// Names of further replication channels, which berth does not use.
    pub other_channels: Vec<String>,
    /// The replicas that are connected.
    pub replicas: Vec<ConnectedReplica>,
    /// The last clone into this server; `None` without the plugin or before any clone.
    pub clone: Option<CloneStatus>,
}

/// The variables that a role holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldVariables {
    /// `sync_binlog`: 1 makes every commit durable, 0 leaves it to the system.
    pub sync_binlog: u32,
    /// `innodb_flush_log_at_trx_commit`: 1 makes every commit durable.
    pub innodb_flush_log_at_trx_commit: u32,
    /// Semi-synchronous replication.
    pub semi_sync: SemiSync,
}

/// Semi-synchronous replication; the fields of a plugin that is not loaded are `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SemiSync {
    /// `rpl_semi_sync_source_enabled`.
    pub source_enabled: Option<bool>,
    /// `Rpl_semi_sync_source_status`: commits do wait for replicas.
    pub source_active: Option<bool>,
    /// `Rpl_semi_sync_source_clients`: connected replicas that acknowledge.
    pub source_clients: Option<u32>,
    /// `Rpl_semi_sync_source_wait_sessions`: sessions that wait for an acknowledgement.
    pub waiting_sessions: Option<u32>,
    /// `rpl_semi_sync_replica_enabled`.
    pub replica_enabled: Option<bool>,
    /// `Rpl_semi_sync_replica_status`: this replica does acknowledge.
    pub replica_active: Option<bool>,
}

/// Which of the plugins that berth needs are active.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Plugins {
    /// `auth_socket`.
    pub auth_socket: bool,
    /// `clone`.
    pub clone: bool,
    /// `rpl_semi_sync_source`.
    pub semi_sync_source: bool,
    /// `rpl_semi_sync_replica`.
    pub semi_sync_replica: bool,
}

/// A replica that is connected, as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectedReplica {
    /// Its `server_id`.
    pub server_id: u32,
    /// Its `server_uuid`.
    pub server_uuid: String,
    /// Its `report_host`; empty when it reports none.
    pub host: String,
    /// Its `report_port`.
    pub port: u16,
}

/// What others need to know of a source; all that the check account can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceView {
    /// `server_uuid`.
    pub server_uuid: String,
    /// `read_only`.
    pub read_only: bool,
    /// `super_read_only`.
    pub super_read_only: bool,
    /// `gtid_executed`.
    pub gtid_executed: GtidSet,
    /// `gtid_purged`.
    pub gtid_purged: GtidSet,
    /// Whether it replicates from another server itself.
    pub is_replica: bool,
}

/// GTID sets come from here: `performance_schema.global_variables` cuts at 1024 characters.
const GLOBALS: &str = "SELECT @@GLOBAL.server_uuid AS server_uuid, \
     @@GLOBAL.server_id AS server_id, @@GLOBAL.port AS port, \
     @@GLOBAL.read_only AS read_only, @@GLOBAL.super_read_only AS super_read_only, \
     @@GLOBAL.offline_mode AS offline_mode, @@GLOBAL.gtid_executed AS gtid_executed, \
     @@GLOBAL.gtid_purged AS gtid_purged, @@GLOBAL.sync_binlog AS sync_binlog, \
     @@GLOBAL.innodb_flush_log_at_trx_commit AS innodb_flush_log_at_trx_commit";

/// What may be missing: a plugin's variables and counters exist only with the plugin.
const NAMED: &str = "SELECT VARIABLE_NAME AS name, VARIABLE_VALUE AS value \
     FROM performance_schema.global_variables WHERE VARIABLE_NAME IN \
     ('rpl_semi_sync_source_enabled', 'rpl_semi_sync_replica_enabled') \
     UNION ALL SELECT VARIABLE_NAME, VARIABLE_VALUE \
     FROM performance_schema.global_status WHERE VARIABLE_NAME IN ('Uptime', 'Innodb_buffer_pool_pages_total', \
     'Rpl_semi_sync_source_status', 'Rpl_semi_sync_source_clients', \
     'Rpl_semi_sync_source_wait_sessions', 'Rpl_semi_sync_replica_status') \
     UNION ALL SELECT PLUGIN_NAME, PLUGIN_STATUS FROM information_schema.PLUGINS \
     WHERE PLUGIN_NAME IN \
     ('auth_socket', 'clone', 'rpl_semi_sync_source', 'rpl_semi_sync_replica')";

impl Server {
    /// Reads the whole state; as root.
    ///
    /// # Errors
    /// [`Error::Snapshot`].
    pub fn snapshot(&mut self, deadline: Deadline) -> Result<Snapshot> {
        self.read_snapshot(deadline)
            .map_err(|cause| Error::Snapshot { server: self.name().to_owned(), cause })
    }

    /// Reads what a source's replicas and a promotion gate need; as root or as the check
    /// account.
    ///
    /// # Errors
    /// [`Error::SourceView`].
    pub fn source_view(&mut self, deadline: Deadline) -> Result<SourceView> {
        let answer = self.query(format!("{GLOBALS}; SHOW REPLICA STATUS"), deadline);
        answer
            .and_then(|answer| source_view(&answer))
            .map_err(|cause| Error::SourceView { server: self.name().to_owned(), cause })
    }

    fn read_snapshot(&mut self, deadline: Deadline) -> std::result::Result<Snapshot, Cause> {
        let batch =
            [GLOBALS, NAMED, "SHOW REPLICA STATUS", replica::ERRORS, "SHOW REPLICAS", pool::POOL];
        let answer = self.query(batch.join("; "), deadline)?;
        let [globals, named, channels, errors, replicas, pool] = answer.as_slice() else {
            return Err(Cause::Answer(format!("{} result sets", answer.len())));
        };
        let named = Named(named);
        let plugins = plugins(&named)?;
        let clone = if plugins.clone { self.read_clone_status(deadline)? } else { None };
        let globals = globals.first().ok_or_else(|| Cause::Answer("no variables".to_owned()))?;
        Ok(Snapshot {
            version: self.version(),
            server_uuid: globals.text("server_uuid")?.to_owned(),
            server_id: globals.parse("server_id")?,
            port: globals.parse("port")?,
            read_only: globals.flag("read_only")?,
            super_read_only: globals.flag("super_read_only")?,
            offline_mode: globals.flag("offline_mode")?,
            gtid_executed: globals.parse("gtid_executed")?,
            gtid_purged: globals.parse("gtid_purged")?,
            held: HeldVariables {
                sync_binlog: globals.parse("sync_binlog")?,
                innodb_flush_log_at_trx_commit: globals.parse("innodb_flush_log_at_trx_commit")?,
                semi_sync: semi_sync(&named)?,
            },
            pool: pool::read(pool, named.counter("Innodb_buffer_pool_pages_total")?)?,
            plugins,
            uptime_seconds: named.counter("Uptime")?,
            replica: replica::default_channel(channels, errors)?,
            other_channels: replica::other_channels(channels)?,
            replicas: replicas.iter().map(connected).collect::<std::result::Result<_, _>>()?,
            clone,
        })
    }
}

fn source_view(answer: &[Vec<Row>]) -> std::result::Result<SourceView, Cause> {
    let globals = first(answer)?;
    Ok(SourceView {
        server_uuid: globals.text("server_uuid")?.to_owned(),
        read_only: globals.flag("read_only")?,
        super_read_only: globals.flag("super_read_only")?,
        gtid_executed: globals.parse("gtid_executed")?,
        gtid_purged: globals.parse("gtid_purged")?,
        is_replica: answer.get(1).is_some_and(|channels| !channels.is_empty()),
    })
}

/// Rows of a name and a value, of which any can be missing.
struct Named<'a>(&'a [Row]);

impl Named<'_> {
    fn get(&self, name: &str) -> std::result::Result<Option<&Row>, Cause> {
        for row in self.0 {
            if row.text("name")?.eq_ignore_ascii_case(name) {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    fn parse<T: FromStr>(&self, name: &str) -> std::result::Result<Option<T>, Cause> {
        self.get(name)?.map(|row| row.parse("value")).transpose()
    }

    /// One that every server has.
    fn counter(&self, name: &str) -> std::result::Result<u64, Cause> {
        self.parse(name)?.ok_or_else(|| Cause::Answer(format!("no status {name}")))
    }

    fn flag(&self, name: &str) -> std::result::Result<Option<bool>, Cause> {
        self.get(name)?.map(|row| row.flag("value")).transpose()
    }
}

fn plugins(named: &Named<'_>) -> std::result::Result<Plugins, Cause> {
    let active = |name| -> std::result::Result<bool, Cause> {
        Ok(named.get(name)?.map(|row| row.text("value")).transpose()? == Some("ACTIVE"))
    };
    Ok(Plugins {
        auth_socket: active("auth_socket")?,
        clone: active("clone")?,
        semi_sync_source: active("rpl_semi_sync_source")?,
        semi_sync_replica: active("rpl_semi_sync_replica")?,
    })
}

fn semi_sync(named: &Named<'_>) -> std::result::Result<SemiSync, Cause> {
    Ok(SemiSync {
        source_enabled: named.flag("rpl_semi_sync_source_enabled")?,
        source_active: named.flag("Rpl_semi_sync_source_status")?,
        source_clients: named.parse("Rpl_semi_sync_source_clients")?,
        waiting_sessions: named.parse("Rpl_semi_sync_source_wait_sessions")?,
        replica_enabled: named.flag("rpl_semi_sync_replica_enabled")?,
        replica_active: named.flag("Rpl_semi_sync_replica_status")?,
    })
}

fn connected(row: &Row) -> std::result::Result<ConnectedReplica, Cause> {
    Ok(ConnectedReplica {
        server_id: row.parse("server_id")?,
        server_uuid: row.text("replica_uuid")?.to_owned(),
        host: row.optional("host")?.unwrap_or_default().to_owned(),
        port: row.parse("port")?,
    })
}
