//! Why the database could not be asked, or said no.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why the database could not be asked, or said no.
#[derive(Debug, thiserror::Error)]
pub enum OvsdbError {
    /// Nobody listens there.
    #[error(
        "can't connect to Open vSwitch's database at {} (install and start Open vSwitch; \
         Debian: openvswitch-switch)",
        path.display()
    )]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to Open vSwitch's database broke during: {operation}")]
    Broken {
        /// What was asked.
        operation: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No answer in time.
    #[error("Open vSwitch's database did not answer within {allowed:?}: {operation}")]
    Late {
        /// What was asked.
        operation: String,
        /// How long was waited.
        allowed: Duration,
    },
    /// Not the protocol.
    #[error("unexpected answer from Open vSwitch's database to {operation}: {what}")]
    Protocol {
        /// What was asked.
        operation: String,
        /// What is wrong.
        what: String,
    },
    /// The transaction was refused.
    #[error("Open vSwitch's database refused to {operation}: {error}: {details}")]
    Refused {
        /// What was asked.
        operation: String,
        /// The error's name (RFC 7047).
        error: String,
        /// More about it, may be empty.
        details: String,
    },
    /// ovs-vswitchd has not applied the change.
    #[error(
        "ovs-vswitchd did not apply configuration {wanted} within {allowed:?} (it is at \
         {applied}): is it running?"
    )]
    NotApplied {
        /// The number to reach (`next_cfg`).
        wanted: i64,
        /// The number reached (`cur_cfg`).
        applied: i64,
        /// How long was waited.
        allowed: Duration,
    },
}
