//! Why the bridge could not be told about flows.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why the bridge could not be told, or said no.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenflowError {
    /// Nobody listens there.
    #[error("can't connect to the bridge at {}", path.display())]
    Connect {
        /// The bridge's socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to the bridge broke during: {operation}")]
    Broken {
        /// What was asked.
        operation: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No answer in time.
    #[error("the bridge did not answer within {allowed:?}: {operation}")]
    Late {
        /// What was asked.
        operation: &'static str,
        /// How long was waited.
        allowed: Duration,
    },
    /// Not the protocol, or another version of it.
    #[error("unexpected answer from the bridge to {operation}: {what}")]
    Protocol {
        /// What was asked.
        operation: &'static str,
        /// What is wrong.
        what: String,
    },
    /// The bridge said no (`OFPT_ERROR`).
    #[error("the bridge refused to {operation}: error type {kind}, code {code}")]
    Refused {
        /// What was asked.
        operation: &'static str,
        /// The error's type in the specification.
        kind: u16,
        /// Its code within the type.
        code: u16,
    },
}
