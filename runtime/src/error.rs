//! What can go wrong, one variant per operation that a caller may tell apart.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::id::ContainerId;

/// Result of this crate's operations.
pub type Result<T, E = RuntimeError> = std::result::Result<T, E>;

/// A failed operation. Display says what was tried on what; the cause, when
/// there is one, is the source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// A value in a spec can't work.
    #[error("invalid {field}: {reason}")]
    InvalidSpec {
        /// The field of the spec.
        field: &'static str,
        /// What was found and what is expected.
        reason: String,
    },
    /// A file operation failed.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// The verb, such as "write".
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A system call without a path failed.
    #[error("cannot {operation}")]
    Syscall {
        /// What was tried.
        operation: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file of ours holds something that can't be read.
    #[error("cannot read {} as a record", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// A value could not be written as JSON.
    #[error("cannot encode {what}")]
    Encode {
        /// The value.
        what: &'static str,
        /// What the encoder said.
        source: serde_json::Error,
    },
    /// A kernel text file does not look as documented.
    #[error("{} holds {found:?}, expected {expected}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The text, shortened.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// The id is taken: remove the old container first.
    #[error("container {id} exists already")]
    Exists {
        /// The container.
        id: ContainerId,
    },
    /// There is no such container.
    #[error("no container {id}")]
    NotFound {
        /// The container.
        id: ContainerId,
    },
    /// The operation needs a stopped container.
    #[error("container {id} is still running")]
    StillRunning {
        /// The container.
        id: ContainerId,
    },
    /// The operation needs a running container.
    #[error("container {id} is not running")]
    NotRunning {
        /// The container.
        id: ContainerId,
    },
    /// What is recorded and what the kernel shows contradict each other: nothing is
    /// done that could hit the wrong process.
    #[error("container {id} can't be judged: {reason}")]
    Contradiction {
        /// The container.
        id: ContainerId,
        /// The contradiction.
        reason: String,
    },
    /// Another operation on the same container did not end in time.
    #[error("container {id} was busy with another operation for {waited:?}")]
    Busy {
        /// The container.
        id: ContainerId,
        /// How long was waited.
        waited: Duration,
    },
    /// An operation did not end in time; it was undone as far as the text says.
    #[error("{operation} did not end within {granted:?}")]
    Deadline {
        /// The operation.
        operation: &'static str,
        /// The time it had.
        granted: Duration,
    },
    /// Processes in a control group outlived SIGKILL for the whole deadline.
    #[error("{count} processes in {} outlived SIGKILL for {granted:?}", leaf.display())]
    Unkillable {
        /// The control group.
        leaf: PathBuf,
        /// How many are left.
        count: usize,
        /// The time they had.
        granted: Duration,
    },
    /// The helper process said why it failed.
    #[error("{operation} failed: {}", chain.join(": "))]
    Helper {
        /// The operation it was asked for.
        operation: &'static str,
        /// Its error and that error's causes, outermost first.
        chain: Vec<String>,
    },
    /// The helper process ended without an answer.
    #[error("helper for {operation} ended without an answer ({status})")]
    HelperDied {
        /// The operation it was asked for.
        operation: &'static str,
        /// Its exit status.
        status: String,
    },
    /// The helper sent something else than its protocol says.
    #[error("helper for {operation} broke the protocol: {found}")]
    HelperProtocol {
        /// The operation it was asked for.
        operation: &'static str,
        /// What it sent.
        found: String,
    },
    /// A start failed, and what it had made could not be taken away again.
    #[error("{cleanup_error}, while undoing a failed start")]
    Undo {
        /// Why the undoing failed. The container shows as interrupted; `remove` tries again.
        cleanup_error: Box<RuntimeError>,
        /// Why the start failed.
        source: Box<RuntimeError>,
    },
    /// The host's control groups are not laid out in a way that is understood.
    #[error("unsupported control group layout: {reason}")]
    CgroupLayout {
        /// What was found.
        reason: String,
    },
    /// systemd refused something, or could not be asked.
    #[error("systemd can't {operation} {unit}")]
    Systemd {
        /// What was asked.
        operation: &'static str,
        /// The unit.
        unit: String,
        /// What it answered, or why it was not reached.
        source: Box<zbus::Error>,
    },
    /// A lower memory limit was refused, by the kernel or because more is in use: with such a
    /// limit the kernel kills. The one before is in force.
    #[error("the memory limit of container {id} can't be lowered: {reason}")]
    MemoryInUse {
        /// The container.
        id: ContainerId,
        /// What is in use, or what the kernel said.
        reason: String,
    },
    /// No disk that can be limited lies under a path.
    #[error("no block device to limit under {}: {reason}", path.display())]
    NoDevice {
        /// The path.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

impl RuntimeError {
    /// `map_err` adapter for operations on a path.
    pub(crate) fn io<E: Into<io::Error>>(
        operation: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(E) -> Self {
        move |source| Self::Io {
            operation,
            path: path.as_ref().to_path_buf(),
            source: source.into(),
        }
    }

    /// `map_err` adapter for system calls.
    pub(crate) fn syscall<E: Into<io::Error>>(operation: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Syscall { operation, source: source.into() }
    }

    /// Whether what the call was about is not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    }

    /// Whether the same call may succeed later without anything being changed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Deadline { .. } | Self::HelperDied { .. })
    }
}
