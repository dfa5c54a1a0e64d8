//! The helper: one process per operation, so that no thread of the agent is ever
//! forked.
//!
//! libcontainer forks with raw clone3, runs Rust code in the child, and changes
//! the directory of the whole process; none of that is safe beside other
//! threads. So the caller executes its own program again, from a sealed copy in
//! memory (a container that overwrites `/proc/self/exe`, CVE-2019-5736, can't
//! reach the file), with a hidden first argument. The helper handles one typed
//! request and exits.
//!
//! Order of a call: spawn; the caller moves the helper into a control group of
//! the container; only then the request is sent. Whatever the operation starts
//! is therefore in a group of its own from its first instruction, so that killing
//! the group and the helper leaves nothing. The helper dies with its caller
//! (PR_SET_PDEATHSIG), and ends when it gets no request.

mod child;
mod complaints;
mod exec;
mod program;
mod start;
pub(crate) mod wire;

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};

pub use child::run_if_helper;
use wire::Reply;

use crate::deadline::Deadline;
use crate::error::{Result, RuntimeError};
use crate::pidfd::PidFd;
use crate::procfs;

/// The first argument that makes a program a helper.
const MARK: &str = "__berth-helper";
/// Name of the sealed copy; shows as `/memfd:berth-helper (deleted)`.
const COPY_NAME: &std::ffi::CStr = c"berth-helper";
/// What `/proc/PID/exe` of a process says that has not yet run its own program.
pub(crate) const COPY_LINK: &str = "/memfd:berth-helper (deleted)";
/// How long a helper may take to exit after its last answer.
const EXIT_GRACE: Duration = Duration::from_secs(5);

/// How to run helpers: a sealed copy of this program in memory, made when it is first
/// needed, so that who only looks doesn't pay for it.
#[derive(Debug, Clone, Default)]
pub struct Helper {
    copy: Arc<OnceLock<OwnedFd>>,
}

impl Helper {
    /// Helpers that are copies of the running program. Its `main` must call
    /// [`run_if_helper`] before anything else. Once per process is enough; the memory is
    /// shared by all helpers.
    #[must_use]
    pub fn current() -> Self {
        Self::default()
    }

    /// Makes the copy now: what fails, fails before anything is begun.
    ///
    /// # Errors
    /// When the copy can't be made, or the kernel refuses executable memfds.
    pub fn prepare(&self) -> Result<()> {
        self.program().map(drop)
    }

    fn program(&self) -> Result<&OwnedFd> {
        if let Some(copy) = self.copy.get() {
            return Ok(copy);
        }
        // Of two threads that are first at once, one copy is thrown away.
        let copy = Self::sealed_copy()?;
        Ok(self.copy.get_or_init(|| copy))
    }

    fn sealed_copy() -> Result<OwnedFd> {
        let copy =
            executable_memfd().map_err(RuntimeError::syscall("create an executable memfd"))?;
        let path = Path::new("/proc/self/exe");
        let mut source = File::open(path).map_err(RuntimeError::io("open", path))?;
        let mut target = File::from(copy);
        io::copy(&mut source, &mut target).map_err(RuntimeError::io("copy to memory", path))?;
        let seals = SealFlag::F_SEAL_SEAL
            | SealFlag::F_SEAL_SHRINK
            | SealFlag::F_SEAL_GROW
            | SealFlag::F_SEAL_WRITE;
        fcntl(&target, FcntlArg::F_ADD_SEALS(seals))
            .map_err(RuntimeError::syscall("seal the program's copy"))?;
        Ok(target.into())
    }

    /// Starts a helper and has `attach` put it into a control group. It does
    /// nothing until it gets a request.
    pub(crate) fn launch(
        &self,
        operation: &'static str,
        attach: impl FnOnce(i32) -> Result<()>,
        deadline: Deadline,
    ) -> Result<Call> {
        let (ours, theirs) =
            UnixStream::pair().map_err(RuntimeError::syscall("make a socket pair for a helper"))?;
        let program = format!("/proc/self/fd/{}", self.program()?.as_raw_fd());
        let child = Command::new(program)
            .arg0("berth-helper")
            .arg(MARK)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()
            .map_err(RuntimeError::syscall("start a helper"))?;
        let pid = child.id().cast_signed();
        let mut call = Call { operation, child, pid, pidfd: None, socket: ours, deadline };
        // The child is not reaped yet, so that its pid can't be anybody else's.
        call.pidfd = PidFd::open(pid)?;
        attach(pid)?;
        Ok(call)
    }
}

/// One helper and the conversation with it. Dropping it kills the helper.
#[derive(Debug)]
pub(crate) struct Call {
    operation: &'static str,
    child: Child,
    pid: i32,
    pidfd: Option<PidFd>,
    socket: UnixStream,
    deadline: Deadline,
}

/// What ended a wait for an answer.
enum Event {
    Answer,
    Ended,
    Expired,
}

impl Call {
    /// Sends a frame.
    pub(crate) fn send<T: serde::Serialize>(&self, value: &T, fds: &[RawFd]) -> Result<()> {
        self.limit_io()?;
        wire::send(&self.socket, value, fds)
            .map_err(RuntimeError::syscall("send a request to a helper"))
    }

    /// Waits for the next answer. `Failed` comes as [`RuntimeError::Helper`].
    pub(crate) fn receive(&mut self) -> Result<Reply> {
        match self.wait()? {
            Event::Answer => {}
            Event::Ended => return Err(self.died()?),
            Event::Expired => {
                return Err(RuntimeError::Deadline {
                    operation: self.operation,
                    granted: self.deadline.granted(),
                });
            }
        }
        self.limit_io()?;
        match wire::receive::<Reply>(&self.socket) {
            Ok(Some((Reply::Failed { chain }, _))) => {
                Err(RuntimeError::Helper { operation: self.operation, chain })
            }
            Ok(Some((reply, _))) => Ok(reply),
            Ok(None) => Err(self.died()?),
            Err(error) => Err(RuntimeError::HelperProtocol {
                operation: self.operation,
                found: error.to_string(),
            }),
        }
    }

    /// What the error is when an answer is of the wrong kind.
    pub(crate) fn unexpected(&self, reply: &Reply) -> RuntimeError {
        RuntimeError::HelperProtocol { operation: self.operation, found: format!("{reply:?}") }
    }

    /// From now on the answer may take until `deadline`.
    pub(crate) fn extend(&mut self, deadline: Deadline) {
        self.deadline = deadline;
    }

    /// The socket, to poll it together with other descriptors. It is readable
    /// when an answer is there or the helper is gone.
    pub(crate) fn socket(&self) -> &UnixStream {
        &self.socket
    }

    /// Whether the helper has ended by SIGKILL.
    pub(crate) fn was_killed(&mut self) -> bool {
        use std::os::unix::process::ExitStatusExt;
        matches!(self.child.try_wait(), Ok(Some(status)) if status.signal() == Some(nix::libc::SIGKILL))
    }

    /// Waits for the helper's exit after its last answer, and collects it.
    pub(crate) fn finish(mut self) -> Result<()> {
        if let Some(fd) = &self.pidfd {
            fd.wait_exit(Deadline::after(EXIT_GRACE))?;
        }
        self.kill();
        Ok(())
    }

    /// Kills the helper and, by `kill_rest`, whatever it started; collects the
    /// zombies of both. The helper's children are looked up while it lives:
    /// afterwards they would be anybody's.
    pub(crate) fn abort(mut self, kill_rest: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut strays = Vec::new();
        for pid in procfs::children_of(self.pid)? {
            strays.extend(PidFd::open(pid)?);
        }
        self.kill();
        kill_rest()?;
        let deadline = Deadline::after(EXIT_GRACE);
        for stray in strays {
            // Ours only if this process is a subreaper; otherwise pid 1 collects it.
            if stray.wait_exit(deadline)? {
                stray.reap_child()?;
            }
        }
        Ok(())
    }

    fn kill(&mut self) {
        // Both fail only when the helper has been collected already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Reads and writes on the socket end with the deadline, too.
    fn limit_io(&self) -> Result<()> {
        let rest = self.deadline.remaining().max(Duration::from_millis(1));
        self.socket
            .set_read_timeout(Some(rest))
            .and_then(|()| self.socket.set_write_timeout(Some(rest)))
            .map_err(RuntimeError::syscall("set the timeout of a helper's socket"))
    }

    fn wait(&self) -> Result<Event> {
        loop {
            let mut fds = vec![PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            if let Some(fd) = &self.pidfd {
                fds.push(PollFd::new(fd.as_fd(), PollFlags::POLLIN));
            }
            match poll(&mut fds, self.deadline.poll_timeout()) {
                Ok(0) | Err(Errno::EINTR) if self.deadline.expired() => return Ok(Event::Expired),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) if fds[0].any() == Some(true) => return Ok(Event::Answer),
                Ok(_) => return Ok(Event::Ended),
                Err(error) => return Err(RuntimeError::syscall("wait for a helper")(error)),
            }
        }
    }

    fn died(&mut self) -> Result<RuntimeError> {
        let status =
            match self.child.try_wait().map_err(RuntimeError::syscall("wait for a helper"))? {
                Some(status) => status.to_string(),
                None => "it closed its socket".to_owned(),
            };
        Ok(RuntimeError::HelperDied { operation: self.operation, status })
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An empty memory file that a program may be run from (memfd_create(2)).
pub(crate) fn executable_memfd() -> nix::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    match memfd_create(COPY_NAME, flags | MFdFlags::from_bits_retain(nix::libc::MFD_EXEC)) {
        // Before Linux 6.3 there is no MFD_EXEC, and every memfd is executable.
        Err(Errno::EINVAL) => memfd_create(COPY_NAME, flags),
        other => other,
    }
}

/// Number of threads of this process.
fn thread_count() -> Result<usize> {
    let path = Path::new("/proc/self/task");
    Ok(fs::read_dir(path).map_err(RuntimeError::io("list", path))?.count())
}
