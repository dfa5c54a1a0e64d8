//! Replication: start, stop, where from, and semi-sync.

use super::{
    Cause, Deadline, Error, Result, Server,
    credentials::Secret,
    sql::{Sql, literal},
    verbs::on_off,
};

/// Seconds between a receiver's attempts to connect.
const CONNECT_RETRY: u32 = 2;
/// Seconds without an event after which a source sends a heartbeat, much less than
/// [`super::initialise::REPLICA_NET_TIMEOUT`].
const HEARTBEAT_PERIOD: u32 = 2;
/// Attempts before the receiver stops for good: the agent decides, so as good as never.
const RETRY_COUNT: u32 = 1_000_000_000;

/// The longest `SOURCE_HOST`: the server cuts a longer one without a word.
const MAX_HOST: usize = 255;
/// The longest `SOURCE_USER` and `SOURCE_PASSWORD`, in characters.
const MAX_LOGIN: usize = 32;

/// Where a replica replicates from.
#[derive(Debug, Clone)]
pub struct Source {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// The replication account's user.
    pub user: String,
    /// Its password, at most 32 characters (`SOURCE_PASSWORD`).
    pub password: Secret,
    /// Whether to replicate over TLS. Without it the password goes by the source's RSA key.
    pub ssl: bool,
    /// Whether to position by GTID.
    pub auto_position: bool,
}

/// Which side of semi-synchronous replication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SemiSyncRole {
    /// Waits for acknowledgements.
    Source,
    /// Acknowledges. Takes effect when the receiver is next started.
    Replica,
}

impl Server {
    /// Stops the replication threads. Already stopped, or never configured, is no error.
    ///
    /// # Errors
    /// [`Error::StopReplication`].
    pub fn stop_replication(&mut self, deadline: Deadline) -> Result<()> {
        let done = self.query("STOP REPLICA", deadline).map(drop);
        done.map_err(|cause| Error::StopReplication { server: self.name().to_owned(), cause })
    }

    /// Starts the replication threads. Already running is no error. That they can connect and
    /// apply shows in the next snapshot.
    ///
    /// # Errors
    /// [`Error::StartReplication`]; 1200 when no source is configured.
    pub fn start_replication(&mut self, deadline: Deadline) -> Result<()> {
        let done = self.query("START REPLICA", deadline).map(drop);
        done.map_err(|cause| Error::StartReplication { server: self.name().to_owned(), cause })
    }

    /// Stops replication and makes `source` the one to replicate from. Does not start it.
    ///
    /// # Errors
    /// [`Error::PointAt`].
    pub fn point_at(&mut self, source: &Source, deadline: Deadline) -> Result<()> {
        let done = point_at(source).and_then(|sql| self.query(sql, deadline).map(drop));
        done.map_err(|cause| Error::PointAt { server: self.name().to_owned(), cause })
    }

    /// Stops replication and forgets the source, the relay logs and the password, of every
    /// channel.
    ///
    /// # Errors
    /// [`Error::ResetReplica`].
    pub fn reset_replica_all(&mut self, deadline: Deadline) -> Result<()> {
        let done = self.query("STOP REPLICA; RESET REPLICA ALL", deadline).map(drop);
        done.map_err(|cause| Error::ResetReplica { server: self.name().to_owned(), cause })
    }

    /// Switches one side of semi-synchronous replication.
    ///
    /// # Errors
    /// [`Error::SetSemiSync`]; 1193 when the plugin is not loaded.
    pub fn set_semi_sync(
        &mut self,
        role: SemiSyncRole,
        on: bool,
        deadline: Deadline,
    ) -> Result<()> {
        let name = match role {
            SemiSyncRole::Source => "rpl_semi_sync_source_enabled",
            SemiSyncRole::Replica => "rpl_semi_sync_replica_enabled",
        };
        let done = self.query(format!("SET GLOBAL {name} = {}", on_off(on)), deadline).map(drop);
        done.map_err(|cause| Error::SetSemiSync { server: self.name().to_owned(), cause })
    }
}

fn point_at(source: &Source) -> std::result::Result<Sql, Cause> {
    let parts = [
        ("host", source.host.as_str(), MAX_HOST),
        ("user", source.user.as_str(), MAX_LOGIN),
        ("password", source.password.expose(), MAX_LOGIN),
    ];
    for (what, value, most) in parts {
        let length = value.chars().count();
        if length > most {
            return Err(Cause::Request(format!(
                "the source's {what} has {length} characters, at most {most} are possible"
            )));
        }
    }
    let security = if source.ssl {
        "SOURCE_SSL = 1, GET_SOURCE_PUBLIC_KEY = 0"
    } else {
        "SOURCE_SSL = 0, GET_SOURCE_PUBLIC_KEY = 1"
    };
    let text = format!(
        "STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_HOST = {}, SOURCE_PORT = {}, \
         SOURCE_USER = {}, SOURCE_PASSWORD = {}, {security}, SOURCE_AUTO_POSITION = {}, \
         SOURCE_CONNECT_RETRY = {CONNECT_RETRY}, SOURCE_RETRY_COUNT = {RETRY_COUNT}, \
         SOURCE_HEARTBEAT_PERIOD = {HEARTBEAT_PERIOD}",
        literal(&source.host)?,
        source.port,
        literal(&source.user)?,
        literal(source.password.expose())?,
        u8::from(source.auto_position),
    );
    Ok(Sql::new(text).with_secret(&source.password))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> Source {
        Source {
            host: "dbhost30".to_owned(),
            port: 7335,
            user: "berth_repl".to_owned(),
            password: Secret::new("it's".to_owned()),
            ssl: true,
            auto_position: true,
        }
    }

    #[test]
    fn the_statement_names_all_and_quotes_it() {
        let sql = point_at(&source()).unwrap();
        assert_eq!(
            sql.text(),
            "STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'dbhost30', \
             SOURCE_PORT = 7335, SOURCE_USER = 'berth_repl', SOURCE_PASSWORD = 'it''s', \
             SOURCE_SSL = 1, GET_SOURCE_PUBLIC_KEY = 0, SOURCE_AUTO_POSITION = 1, \
             SOURCE_CONNECT_RETRY = 2, SOURCE_RETRY_COUNT = 1000000000, \
             SOURCE_HEARTBEAT_PERIOD = 2"
        );
        let plain = point_at(&Source { ssl: false, ..source() }).unwrap();
        assert!(plain.text().contains("SOURCE_SSL = 0, GET_SOURCE_PUBLIC_KEY = 1"));
    }

    #[test]
    fn what_the_server_would_cut_is_refused_without_showing_it() {
        let host = Source { host: "h".repeat(256), ..source() };
        assert!(point_at(&host).unwrap_err().to_string().contains("host has 256"));
        let secret = "p".repeat(33);
        let password = Source { password: Secret::new(secret.clone()), ..source() };
        let refused = point_at(&password).unwrap_err().to_string();
        assert!(refused.contains("password has 33") && !refused.contains(&secret));
    }
}
