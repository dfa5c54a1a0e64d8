//! How a process ended.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The end of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExitStatus {
    /// It exited with this code, 0 to 255.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

impl ExitStatus {
    /// From the form of waitpid(2): the low 7 bits are a signal, the next byte
    /// is the code.
    #[must_use]
    pub fn from_wait(status: i32) -> Self {
        match status & 0x7f {
            0 => Self::Code((status >> 8) & 0xff),
            signal => Self::Signal(signal),
        }
    }

    /// One number, as a shell reports it: the code, or 128 plus the signal.
    #[must_use]
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// What is known about the end of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExitInfo {
    /// How init ended; `None` when nobody who could know was there to see it.
    pub status: Option<ExitStatus>,
    /// Whether the kernel killed something in the container for want of memory;
    /// `None` when the memory controller can't tell.
    pub oom_killed: Option<bool>,
    /// When the end was noticed, in milliseconds since 1970; `None` when it has
    /// not been stored yet.
    pub finished_at_ms: Option<u64>,
}

#[cfg(test)]
mod tests;
