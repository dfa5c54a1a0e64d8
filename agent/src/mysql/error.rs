//! What can go wrong, and whether trying again may help.
//!
//! One [`MysqlError`] variant per operation, each with the [`Cause`]. No message carries a
//! password: a statement's text is never part of one, and what the server answers to a
//! statement that carries a password is cleaned first (see `sql::Sql`).

use std::{io, path::PathBuf};

/// The result of a call to a server.
pub type Result<T> = std::result::Result<T, MysqlError>;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The server refused or failed the statement.
    #[error("server error {errno} ({state}): {message}")]
    Server {
        /// MySQL's error number.
        errno: u16,
        /// SQLSTATE.
        state: String,
        /// The server's message.
        message: String,
    },
    /// The deadline passed. Whether the statement took effect is unknown.
    #[error("no answer before the deadline")]
    Timeout,
    /// There is no connection, or it broke. Whether the statement took effect is unknown.
    #[error("connection failed: {detail}")]
    Connection {
        /// What the driver said.
        detail: String,
        /// The system's word for it, where there is one.
        kind: Option<io::ErrorKind>,
    },
    /// Earlier attempts to connect to this server have not come back; no more are started.
    #[error("{waiting} earlier attempts to connect are still stuck")]
    Stuck {
        /// How many.
        waiting: usize,
    },
    /// The server answered something that can't be understood.
    #[error("answer not understood: {0}")]
    Answer(String),
    /// The request can't be made at all.
    #[error("refused: {0}")]
    Request(String),
    /// The server is too old, or something else than MySQL.
    #[error("version {found:?} is not supported: MySQL or Percona Server 8.0.23 or later is")]
    Version {
        /// What the server said it is.
        found: String,
    },
    /// A file or directory could not be read.
    #[error("{}: {error}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
}

impl Cause {
    /// MySQL's error number, if the server gave one.
    #[must_use]
    pub fn errno(&self) -> Option<u16> {
        match self {
            Self::Server { errno, .. } => Some(*errno),
            _ => None,
        }
    }

    /// Whether the same call may succeed later with nothing repaired in between.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Server { errno, .. } => is_transient(*errno),
            Self::Timeout | Self::Connection { .. } | Self::Stuck { .. } => true,
            Self::Answer(_) | Self::Request(_) | Self::Version { .. } | Self::File { .. } => false,
        }
    }
}

/// Whether an error number, from a statement or from a replication thread, names a condition
/// that passes by itself. Unknown numbers do not: they are reported.
///
/// Numbers: MySQL 9.x Error Message Reference, server and client parts.
#[must_use]
pub fn is_transient(errno: u16) -> bool {
    matches!(
        errno,
        1040 // too many connections
        | 1053 // server shutdown in progress
        | 1077 | 1079 // normal and forced shutdown
        | 1158
            ..=1161 // network read and write errors and timeouts
        | 1203 // too many connections of this user
        | 1205 // lock wait timeout
        | 1213 // deadlock
        | 1290 // the server runs read-only: another agent's step is still to come
        | 1317 // statement interrupted
        | 1836 // running in read-only mode
        | 1977 // the source is being reset
        | 2002 | 2003 | 2005 | 2006 | 2013 | 2055 // can't connect, unknown host yet, lost
        | 3024 // statement timeout
        | 3032 // server in offline mode
        | 3169 // session was killed
        | 3634 // too many concurrent clones
        | 3862 // the clone donor failed
    )
}

macro_rules! operations {
    ($($(#[$doc:meta])* $variant:ident => $what:literal,)+) => {
        /// A failed operation on a server; `mysql::Error` to the rest of the crate.
        #[derive(Debug, thiserror::Error)]
        pub enum MysqlError {
            $(
                $(#[$doc])*
                #[error("{} on {server}", $what)]
                $variant {
                    /// Which server: its socket, or its host and port.
                    server: String,
                    /// Why.
                    #[source]
                    cause: Cause,
                },
            )+
        }

        impl MysqlError {
            /// Which server it happened on.
            #[must_use]
            pub fn server(&self) -> &str {
                match self { $(Self::$variant { server, .. } => server,)+ }
            }

            /// Why it failed.
            #[must_use]
            pub fn cause(&self) -> &Cause {
                match self { $(Self::$variant { cause, .. } => cause,)+ }
            }
        }
    };
}

operations! {
    /// Logging in.
    Connect => "can't connect",
    /// Reading a snapshot.
    Snapshot => "can't read the server's state",
    /// Reading what a replica needs to know of its source.
    SourceView => "can't read the source's state",
    /// Reading the clone tables.
    CloneStatus => "can't read the clone status",
    /// Setting or clearing the read-only flags.
    SetReadOnly => "can't change the read-only state",
    /// Reading who holds up a read-only switch.
    Writers => "can't read which sessions write",
    /// Ending a session.
    Kill => "can't end a session",
    /// Waiting for transactions.
    WaitForGtids => "can't wait for transactions",
    /// Stopping the replication threads.
    StopReplication => "can't stop replication",
    /// Starting the replication threads.
    StartReplication => "can't start replication",
    /// Changing the replication source.
    PointAt => "can't change the replication source",
    /// Forgetting the replication source.
    ResetReplica => "can't forget the replication source",
    /// Switching semi-synchronous replication.
    SetSemiSync => "can't switch semi-sync",
    /// Reading global variables.
    Globals => "can't read global variables",
    /// Setting a global variable.
    SetGlobal => "can't set a global variable",
    /// Cloning from a donor.
    Clone => "can't clone",
    /// Making the accounts that other hosts log in with.
    EnsureAccounts => "can't set up the accounts",
}

impl MysqlError {
    /// MySQL's error number, if the server gave one.
    #[must_use]
    pub fn errno(&self) -> Option<u16> {
        self.cause().errno()
    }

    /// Whether the same call may succeed later with nothing repaired in between.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.cause().is_retryable()
    }

    /// Whether the deadline passed, which leaves the effect unknown.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.cause(), Cause::Timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(errno: u16) -> Cause {
        Cause::Server { errno, state: "HY000".into(), message: "why".into() }
    }

    #[test]
    fn retries_what_passes_by_itself() {
        for errno in [1205, 1213, 1040, 2003, 3634] {
            assert!(server(errno).is_retryable(), "{errno}");
        }
        for errno in [1045, 1064, 1227, 1236, 1396, 3869, 13114, 60000] {
            assert!(!server(errno).is_retryable(), "{errno}");
        }
        assert!(Cause::Timeout.is_retryable());
        assert!(!Cause::Version { found: "5.7.44".into() }.is_retryable());
    }

    #[test]
    fn display_names_operation_and_server_and_leaves_the_cause_to_the_chain() {
        let error = MysqlError::PointAt { server: "/run/x.sock".into(), cause: server(1205) };
        assert_eq!(error.to_string(), "can't change the replication source on /run/x.sock");
        assert_eq!(error.errno(), Some(1205));
        assert!(!error.is_timeout());
        let chain = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(chain, "server error 1205 (HY000): why");
    }
}
