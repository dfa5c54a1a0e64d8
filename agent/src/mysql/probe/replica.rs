//! The replica's side of replication, from `SHOW REPLICA STATUS` and the error tables.

use crate::mysql::{Cause, GtidSet, row::Row};

/// The default replication channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// `SOURCE_HOST`.
    pub source_host: String,
    /// `SOURCE_PORT`.
    pub source_port: u16,
    /// `SOURCE_USER`.
    pub source_user: String,
    /// The source's `server_uuid`; `None` until it was reached.
    pub source_uuid: Option<String>,
    /// `SOURCE_AUTO_POSITION`.
    pub auto_position: bool,
    /// `SOURCE_SSL`.
    pub ssl: bool,
    /// The thread that receives.
    pub io: IoState,
    /// Whether the threads that apply run.
    pub sql_running: bool,
    /// The receiver's last error number; 0 when there is none.
    pub last_io_errno: u16,
    /// The receiver's last error.
    pub last_io_error: String,
    /// When the receiver's last error was; seconds since the epoch.
    pub last_io_error_at: Option<u64>,
    /// The applier's last error number; 0 when there is none.
    pub last_sql_errno: u16,
    /// The applier's last error.
    pub last_sql_error: String,
    /// Received since the receiver was last started from nothing.
    pub retrieved: GtidSet,
    /// Seconds that the applier is behind; `None` when the server doesn't know.
    pub seconds_behind: Option<u64>,
    /// Errors of single applier workers.
    pub worker_errors: Vec<WorkerError>,
}

/// The state of the thread that receives from the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoState {
    /// Connected.
    Running,
    /// Started, and not connected.
    Connecting,
    /// Not started.
    Stopped,
}

/// The last error of one applier worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerError {
    /// The worker's number.
    pub worker: u32,
    /// The error number.
    pub errno: u16,
    /// The message.
    pub message: String,
    /// When it was; seconds since the epoch.
    pub at: Option<u64>,
}

/// Errors with their times; worker 0 with `io` set is the receiver.
pub(super) const ERRORS: &str = "SELECT 1 AS io, 0 AS worker, LAST_ERROR_NUMBER AS errno, \
     LAST_ERROR_MESSAGE AS message, CAST(UNIX_TIMESTAMP(LAST_ERROR_TIMESTAMP) AS UNSIGNED) AS at \
     FROM performance_schema.replication_connection_status \
     WHERE CHANNEL_NAME = '' AND LAST_ERROR_NUMBER <> 0 \
     UNION ALL SELECT 0, WORKER_ID, LAST_ERROR_NUMBER, LAST_ERROR_MESSAGE, \
     CAST(UNIX_TIMESTAMP(LAST_ERROR_TIMESTAMP) AS UNSIGNED) \
     FROM performance_schema.replication_applier_status_by_worker \
     WHERE CHANNEL_NAME = '' AND LAST_ERROR_NUMBER <> 0";

/// The channel without a name, if it is configured.
pub(super) fn default_channel(
    channels: &[Row],
    errors: &[Row],
) -> Result<Option<ReplicaStatus>, Cause> {
    for row in channels {
        if row.text("channel_name")?.is_empty() {
            return status(row, errors).map(Some);
        }
    }
    Ok(None)
}

/// The names of the other channels.
pub(super) fn other_channels(channels: &[Row]) -> Result<Vec<String>, Cause> {
    let mut names = Vec::new();
    for row in channels {
        let name = row.text("channel_name")?;
        if !name.is_empty() {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn status(row: &Row, errors: &[Row]) -> Result<ReplicaStatus, Cause> {
    let mut worker_errors = Vec::new();
    let mut last_io_error_at = None;
    for error in errors {
        let at = error.parse_optional("at")?.filter(|at| *at != 0);
        if error.flag("io")? {
            last_io_error_at = at;
        } else {
            worker_errors.push(WorkerError {
                worker: error.parse("worker")?,
                errno: error.parse("errno")?,
                message: error.text("message")?.to_owned(),
                at,
            });
        }
    }
    let source_uuid = row.optional("source_uuid")?.filter(|uuid| !uuid.is_empty());
    Ok(ReplicaStatus {
        source_host: row.text("source_host")?.to_owned(),
        source_port: row.parse("source_port")?,
        source_user: row.text("source_user")?.to_owned(),
        source_uuid: source_uuid.map(str::to_owned),
        auto_position: row.flag("auto_position")?,
        ssl: row.flag("source_ssl_allowed")?,
        io: io_state(row.text("replica_io_running")?)?,
        sql_running: row.flag("replica_sql_running")?,
        last_io_errno: row.parse("last_io_errno")?,
        last_io_error: row.text("last_io_error")?.to_owned(),
        last_io_error_at,
        last_sql_errno: row.parse("last_sql_errno")?,
        last_sql_error: row.text("last_sql_error")?.to_owned(),
        retrieved: row.parse("retrieved_gtid_set")?,
        seconds_behind: row.parse_optional("seconds_behind_source")?,
        worker_errors,
    })
}

fn io_state(text: &str) -> Result<IoState, Cause> {
    match text {
        "Yes" => Ok(IoState::Running),
        "Connecting" => Ok(IoState::Connecting),
        "No" => Ok(IoState::Stopped),
        other => Err(Cause::Answer(format!("the receiver's state is {other:?}"))),
    }
}
