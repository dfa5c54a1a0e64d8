//! The agent's process.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{proc, reaper, until};

/// Time for a signalled agent to end.
const END_WAIT: Duration = Duration::from_secs(30);

/// A running agent. It has a session of its own, as under a service manager, and ends with
/// this value.
#[derive(Debug)]
pub struct Agent {
    child: Child,
}

impl Agent {
    /// Starts it by a command of setsid(1), which becomes the program, so that the pid is
    /// the agent's; its log is appended to `log`.
    ///
    /// # Panics
    /// It can't be started.
    #[must_use]
    pub fn start(mut setsid: Command, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).unwrap();
        setsid.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self { child: reaper::spawn(&mut setsid) }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it lives.
    #[must_use]
    pub fn lives(&self) -> bool {
        proc::lives(self.pid())
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// It has gone.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).expect("an agent to signal");
    }

    /// Sends it a signal that ends it, and waits for its end.
    ///
    /// # Panics
    /// It doesn't end.
    pub fn end(mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        let ended = until(END_WAIT, || self.child.try_wait().ok().flatten());
        ended.unwrap_or_else(|| panic!("the agent does not end by {signal}"))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Both fail if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        reaper::forget(self.child.id());
    }
}
