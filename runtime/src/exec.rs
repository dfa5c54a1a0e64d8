//! Running one more process in a running container: the caller's side.
//!
//! Three forms: with descriptors of the caller's choice, with captured output
//! for the agent's own small questions, and on this process's terminal for an
//! operator. The process has the container's capabilities (none), seccomp
//! profile and control group, and dies with its caller.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, poll};
use serde::{Deserialize, Serialize};

use crate::deadline::Deadline;
use crate::error::{Result, RuntimeError};
use crate::exit::ExitStatus;
use crate::helper::Call;
use crate::helper::wire::{ExecRequest, Reply, Request};
use crate::id::ContainerId;
use crate::runtime::{Runtime, State};
use crate::spec::User;
use crate::terminal;

const OPERATION: &str = "exec";
/// How long the process may take to come into being.
const SETUP_TIME: Duration = Duration::from_secs(10);
/// "No limit" for a process that an operator watches: a year.
const UNLIMITED: Duration = Duration::from_secs(365 * 86_400);
/// Most bytes kept of each of stdout and stderr.
const MAX_OUTPUT: usize = 1 << 20;
/// How much is read at once: what a pipe holds (pipe(7)).
const BUFFER: usize = 64 << 10;
/// How soon a reader notices that the process has ended, in milliseconds.
const LOOK_AGAIN_MS: u8 = 20;

/// What to run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// Program and arguments; without a slash the program is looked up in PATH.
    pub args: Vec<String>,
    /// Variables on top of the container's environment.
    pub env: BTreeMap<String, String>,
    /// Working directory in the container; the container's own if `None`.
    pub cwd: Option<PathBuf>,
    /// Who runs it; the container's user if `None`.
    pub user: Option<User>,
}

/// What a captured process said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// How it ended.
    pub status: ExitStatus,
    /// Its stdout, at most 1 MiB.
    pub stdout: Vec<u8>,
    /// Its stderr, at most 1 MiB.
    pub stderr: Vec<u8>,
}

impl Runtime {
    /// Runs a process with these three descriptors as stdin, stdout and stderr,
    /// and waits for its end. A program that can't be run shows as exit code 126
    /// or 127, with the reason on stderr.
    ///
    /// # Errors
    /// [`RuntimeError::NotFound`], [`RuntimeError::NotRunning`];
    /// [`RuntimeError::Helper`] when the container can't be joined;
    /// [`RuntimeError::Deadline`] when the process ran longer than `within`, and
    /// was killed; `None` does not limit it.
    pub fn exec(
        &self,
        id: &ContainerId,
        spec: &ExecSpec,
        stdio: [OwnedFd; 3],
        within: Option<Duration>,
    ) -> Result<ExitStatus> {
        let fds = stdio.each_ref().map(AsRawFd::as_raw_fd);
        let mut call = self.exec_started(id, spec, &fds, false)?;
        // Only the process may hold the other ends: a reader waits for their closing.
        drop(stdio);
        let granted = within.unwrap_or(UNLIMITED);
        call.extend(Deadline::after(granted));
        end_of(call)
    }

    /// Runs a process without input, and keeps what it says.
    ///
    /// # Errors
    /// As [`Runtime::exec`].
    pub fn exec_output(
        &self,
        id: &ContainerId,
        spec: &ExecSpec,
        within: Duration,
    ) -> Result<ExecOutput> {
        let null = File::open("/dev/null").map_err(RuntimeError::io("open", "/dev/null"))?;
        let pipe = || io::pipe().map_err(RuntimeError::syscall("make a pipe"));
        let ((stdout, out), (stderr, err)) = (pipe()?, pipe()?);
        let ended = AtomicBool::new(false);
        let stdio = [OwnedFd::from(null), OwnedFd::from(out), OwnedFd::from(err)];
        let (status, stdout, stderr) = thread::scope(|scope| {
            let readers = [stdout, stderr].map(|pipe| scope.spawn(|| read_some(pipe, &ended)));
            let status = self.exec(id, spec, stdio, Some(within));
            ended.store(true, Ordering::Release);
            let [stdout, stderr] = readers.map(|reader| reader.join().unwrap_or_default());
            (status, stdout, stderr)
        });
        let status = status?;
        Ok(ExecOutput { status, stdout, stderr })
    }

    /// Runs a process on this process's terminal (stdin), which is in raw mode
    /// meanwhile and restored afterwards; changes of its size are passed on.
    ///
    /// # Errors
    /// As [`Runtime::exec`]; and when stdin is not a terminal.
    pub fn exec_tty(&self, id: &ContainerId, spec: &ExecSpec) -> Result<ExitStatus> {
        let pair = terminal::Pair::open()?;
        let fd = pair.inner.as_raw_fd();
        let mut call = self.exec_started(id, spec, &[fd, fd, fd], true)?;
        call.extend(Deadline::after(UNLIMITED));
        terminal::relay(pair, call.socket())?;
        end_of(call)
    }

    /// Starts the helper and, in it, the process.
    fn exec_started(
        &self,
        id: &ContainerId,
        spec: &ExecSpec,
        fds: &[RawFd],
        tty: bool,
    ) -> Result<Call> {
        if spec.args.first().is_none_or(String::is_empty) {
            let reason = "a program is needed".to_owned();
            return Err(RuntimeError::InvalidSpec { field: "args", reason });
        }
        let container =
            self.inspect(id)?.ok_or_else(|| RuntimeError::NotFound { id: id.clone() })?;
        let (State::Running { .. }, Some(init)) =
            (container.state, container.record.and_then(|record| record.process))
        else {
            return Err(RuntimeError::NotRunning { id: id.clone() });
        };
        let request = ExecRequest {
            init,
            config: self.config_of(id),
            args: spec.args.clone(),
            env: spec.env.clone().into_iter().collect(),
            cwd: spec.cwd.clone(),
            user: spec.user.clone(),
            tty,
        };
        let mut call = self.launch_inside(OPERATION, id, Deadline::after(SETUP_TIME))?;
        call.send(&Request::Exec(request), fds)?;
        match call.receive() {
            Ok(Reply::ExecStarted) => Ok(call),
            Ok(other) => Err(call.unexpected(&other)),
            Err(error) => {
                call.abort(|| Ok(()))?;
                Err(error)
            }
        }
    }
}

/// Waits for the process's end. A helper that was killed together with its
/// container (they share the control group) means the process was killed too.
fn end_of(mut call: Call) -> Result<ExitStatus> {
    match call.receive() {
        Ok(Reply::ExecExited(status)) => {
            call.finish()?;
            Ok(status)
        }
        Ok(other) => Err(call.unexpected(&other)),
        Err(RuntimeError::HelperDied { .. }) if call.was_killed() => Ok(ExitStatus::Signal(9)),
        Err(error) => {
            call.abort(|| Ok(()))?;
            Err(error)
        }
    }
}

/// The beginning of what a pipe delivers; the rest is read and dropped, so that
/// the writer does not block. It is over when all writers have closed the pipe,
/// or when the process has `ended` and the pipe is empty: something that it left
/// running in the container may hold the pipe for ever.
fn read_some(mut pipe: io::PipeReader, ended: &AtomicBool) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = vec![0; BUFFER];
    // What the process wrote before its end fits into the pipe; more comes from others.
    let mut rest = BUFFER;
    while rest > 0 {
        let over = ended.load(Ordering::Acquire);
        let timeout = if over { 0 } else { LOOK_AGAIN_MS };
        let mut fds = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut fds, timeout).is_ok_and(|ready| ready > 0);
        if !ready {
            if over {
                break;
            }
            continue;
        }
        match pipe.read(&mut buffer) {
            // An error ends it like the end of the file: what came before still counts.
            Ok(0) | Err(_) => break,
            Ok(got) => {
                rest = if over { rest.saturating_sub(got) } else { rest };
                let room = MAX_OUTPUT.saturating_sub(kept.len()).min(got);
                kept.extend_from_slice(&buffer[..room]);
            }
        }
    }
    kept
}
