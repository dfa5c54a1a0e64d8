//! Read-only switches, waiting for transactions, and global variables.

use std::time::Duration;

use berth_model::goal::variables::ALLOWED;

use super::{
    Cause, Deadline, Error, GtidSet, Result, Server, connect::first, row::Row,
    session::NO_SUCH_THREAD, sql,
};

/// The size of the buffer pool, in bytes; it follows the instance's memory.
pub const BUFFER_POOL_SIZE: &str = "innodb_buffer_pool_size";

/// Global variables that a role or the size holds; a goal may hold those of
/// [`berth_model::goal::variables::ALLOWED`]. All are dynamic, and none can make a server
/// writable or break replication.
const HELD: [&str; 3] = ["innodb_flush_log_at_trx_commit", "sync_binlog", BUFFER_POOL_SIZE];

fn may_be_set(name: &str) -> bool {
    HELD.contains(&name) || ALLOWED.iter().any(|(allowed, _)| *allowed == name)
}

/// How a wait for transactions ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GtidWait {
    /// All of them are applied.
    Applied,
    /// The time passed first.
    TimedOut,
}

/// A session that holds the global lock which a switch to read-only needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    /// Its connection id, for [`Server::kill`].
    pub id: u32,
    /// Its account's user.
    pub user: String,
    /// Where it comes from; empty for the server's own threads.
    pub host: String,
    /// Seconds in its present state.
    pub seconds: u64,
}

/// Sessions in a statement or transaction that writes: they hold an intention lock on the
/// whole server, or on committing (`performance_schema.metadata_locks`, on by default).
const WRITERS: &str = "SELECT DISTINCT t.PROCESSLIST_ID AS id, t.PROCESSLIST_USER AS user, \
     t.PROCESSLIST_HOST AS host, t.PROCESSLIST_TIME AS seconds \
     FROM performance_schema.metadata_locks l \
     JOIN performance_schema.threads t ON t.THREAD_ID = l.OWNER_THREAD_ID \
     WHERE l.OBJECT_TYPE IN ('GLOBAL', 'COMMIT') AND l.LOCK_TYPE = 'INTENTION_EXCLUSIVE' \
     AND l.LOCK_STATUS = 'GRANTED' AND t.PROCESSLIST_ID IS NOT NULL";

impl Server {
    /// Sets or clears `super_read_only`; set, it sets `read_only` too, and cleared, it leaves
    /// that alone.
    ///
    /// Setting it waits for the statements that write. `lock_wait` bounds that wait on the
    /// server, which then answers 1205 and has changed nothing; whole seconds, rounded up.
    ///
    /// # Errors
    /// [`Error::SetReadOnly`]; 1205 when writers held on.
    pub fn set_super_read_only(
        &mut self,
        on: bool,
        lock_wait: Duration,
        deadline: Deadline,
    ) -> Result<()> {
        let text = format!(
            "SET SESSION lock_wait_timeout = {}; SET GLOBAL super_read_only = {}",
            lock_wait_seconds(lock_wait),
            on_off(on)
        );
        self.read_only(text, deadline)
    }

    /// Makes the server writable: clears `super_read_only` and `read_only`. Only after the
    /// promotion gate.
    ///
    /// # Errors
    /// [`Error::SetReadOnly`].
    pub fn set_writable(&mut self, deadline: Deadline) -> Result<()> {
        self.read_only("SET GLOBAL read_only = OFF".to_owned(), deadline)
    }

    fn read_only(&mut self, text: String, deadline: Deadline) -> Result<()> {
        let done = self.query(text, deadline).map(drop);
        done.map_err(|cause| Error::SetReadOnly { server: self.name().to_owned(), cause })
    }

    /// Sends ordinary clients away, or lets them in (`offline_mode`).
    ///
    /// # Errors
    /// [`Error::SetGlobal`].
    pub fn set_offline_mode(&mut self, on: bool, deadline: Deadline) -> Result<()> {
        let text = format!("SET GLOBAL offline_mode = {}", on_off(on));
        let done = self.query(text, deadline).map(drop);
        done.map_err(|cause| Error::SetGlobal { server: self.name().to_owned(), cause })
    }

    /// The sessions that a switch to read-only would wait for.
    ///
    /// # Errors
    /// [`Error::Writers`].
    pub fn writers(&mut self, deadline: Deadline) -> Result<Vec<Writer>> {
        let read = self.query(WRITERS, deadline).and_then(|answer| {
            answer.first().map_or(Ok(Vec::new()), |rows| rows.iter().map(writer).collect())
        });
        read.map_err(|cause| Error::Writers { server: self.name().to_owned(), cause })
    }

    /// Ends a session and its statement. One that has ended by itself is no error.
    ///
    /// # Errors
    /// [`Error::Kill`].
    pub fn kill(&mut self, id: u32, deadline: Deadline) -> Result<()> {
        match self.query(format!("KILL {id}"), deadline) {
            Ok(_) | Err(Cause::Server { errno: NO_SUCH_THREAD, .. }) => Ok(()),
            Err(cause) => Err(Error::Kill { server: self.name().to_owned(), cause }),
        }
    }

    /// Waits until all of `set` is applied, at most `wait` (to the millisecond).
    ///
    /// # Errors
    /// [`Error::WaitForGtids`]; a `wait` below one millisecond is refused, because to the
    /// server zero means for ever.
    pub fn wait_for_gtids(
        &mut self,
        set: &GtidSet,
        wait: Duration,
        deadline: Deadline,
    ) -> Result<GtidWait> {
        self.wait_until_applied(set, wait, deadline)
            .map_err(|cause| Error::WaitForGtids { server: self.name().to_owned(), cause })
    }

    fn wait_until_applied(
        &mut self,
        set: &GtidSet,
        wait: Duration,
        deadline: Deadline,
    ) -> std::result::Result<GtidWait, Cause> {
        let millis = wait.as_millis();
        if millis == 0 {
            return Err(Cause::Request("a wait of zero would be one for ever".to_owned()));
        }
        let (seconds, millis) = (millis / 1000, millis % 1000);
        let text = format!(
            "SELECT WAIT_FOR_EXECUTED_GTID_SET('{set}', {seconds}.{millis:03}) AS timed_out"
        );
        let answer = self.query(text, deadline)?;
        match first(&answer)?.flag("timed_out")? {
            true => Ok(GtidWait::TimedOut),
            false => Ok(GtidWait::Applied),
        }
    }

    /// Sets a global variable that a role or a goal may hold, until the next start.
    ///
    /// # Errors
    /// [`Error::SetGlobal`]: a name that is not allowed, a value that is neither a number nor
    /// a word, or the server's refusal.
    pub fn set_global(&mut self, name: &str, value: &str, deadline: Deadline) -> Result<()> {
        let done = assignment(name, value).and_then(|text| self.query(text, deadline).map(drop));
        done.map_err(|cause| Error::SetGlobal { server: self.name().to_owned(), cause })
    }
}

pub(super) fn on_off(on: bool) -> &'static str {
    if on { "ON" } else { "OFF" }
}

/// The server takes 1 second to a year.
fn lock_wait_seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1000).clamp(1, 31_536_000) as u64
}

fn assignment(name: &str, value: &str) -> std::result::Result<String, Cause> {
    if !may_be_set(name) {
        return Err(Cause::Request(format!("the variable {name:?} is not on the allowed list")));
    }
    let is_number = value.parse::<f64>().is_ok_and(f64::is_finite)
        && value.chars().all(|c| c.is_ascii_digit() || c == '.');
    let value = if is_number {
        value.to_owned()
    } else if !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        sql::literal(value)?
    } else {
        return Err(Cause::Request(format!("{name} takes a number or a word, not {value:?}")));
    };
    Ok(format!("SET GLOBAL {name} = {value}"))
}

fn writer(row: &Row) -> std::result::Result<Writer, Cause> {
    Ok(Writer {
        id: row.parse("id")?,
        user: row.optional("user")?.unwrap_or_default().to_owned(),
        host: row.optional("host")?.unwrap_or_default().to_owned(),
        seconds: row.parse_optional("seconds")?.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_allowed_variables_and_plain_values_become_sql() {
        let sql = |name, value| assignment(name, value).map_err(|cause| cause.to_string());
        assert_eq!(sql("sync_binlog", "1").unwrap(), "SET GLOBAL sync_binlog = 1");
        assert_eq!(sql("long_query_time", "0.5").unwrap(), "SET GLOBAL long_query_time = 0.5");
        assert_eq!(sql("slow_query_log", "ON").unwrap(), "SET GLOBAL slow_query_log = 'ON'");
        for name in ["read_only", "super_read_only", "gtid_purged", "sync_binlog ", ""] {
            assert!(sql(name, "1").unwrap_err().contains("allowed list"), "{name}");
        }
        for value in ["", "1; DROP", "a'b", "1 2", "--", "1e5x "] {
            assert!(sql("sync_binlog", value).is_err(), "{value}");
        }
    }

    #[test]
    fn lock_waits_are_whole_seconds_and_never_zero() {
        assert_eq!(lock_wait_seconds(Duration::ZERO), 1);
        assert_eq!(lock_wait_seconds(Duration::from_millis(1001)), 2);
        assert_eq!(lock_wait_seconds(Duration::MAX), 31_536_000);
    }
}
