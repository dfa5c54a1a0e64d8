//! A handle on one process that no pid reuse can redirect (pidfd_open(2)).
//!
//! Opening by pid is itself a race, so a caller compares the start time after
//! the open: the fd then names the process whose start time was read, or a
//! process that has since died.
//!
//! Reaping goes through `waitid(P_PIDFD)` on processes that this crate started,
//! one at a time. It never waits for "any child": that would steal the statuses
//! of children that `std::process` or tokio wait for.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use crate::deadline::Deadline;
use crate::error::{Result, RuntimeError};
use crate::exit::ExitStatus;
use crate::procfs;

/// An open pidfd.
#[derive(Debug)]
pub(crate) struct PidFd(OwnedFd);

/// `struct pidfd_info` of linux/pidfd.h as of its first version with exit
/// information (6.15): 64 bytes; a newer kernel fills only as much as we have.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroupid: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ids: [u32; 8],
    exit_code: i32,
}

/// linux/pidfd.h: exit information is wanted, or was given.
const PIDFD_INFO_EXIT: u64 = 1 << 3;

nix::ioctl_readwrite!(pidfd_get_info, 0xFF, 11, PidfdInfo);

impl PidFd {
    /// Opens a pidfd; `None` when there is no such process.
    pub(crate) fn open(pid: i32) -> Result<Option<Self>> {
        // SAFETY: pidfd_open takes two integers and no pointer.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        match i32::try_from(fd) {
            Ok(fd) if fd >= 0 => {
                // SAFETY: the kernel has just made this descriptor for us, close-on-exec.
                Ok(Some(Self(unsafe { OwnedFd::from_raw_fd(fd) })))
            }
            _ if Errno::last() == Errno::ESRCH => Ok(None),
            _ => Err(RuntimeError::syscall("open a pidfd")(io::Error::last_os_error())),
        }
    }

    /// Opens a pidfd of the process `pid` that began at `start_time`; `None`
    /// when that process is gone, whoever has its pid now.
    pub(crate) fn open_exact(pid: i32, start_time: u64) -> Result<Option<Self>> {
        let Some(fd) = Self::open(pid)? else {
            return Ok(None);
        };
        let same = procfs::stat(pid)?.is_some_and(|stat| stat.start_time == start_time);
        Ok(same.then_some(fd))
    }

    /// Sends a signal; `false` when the process was gone already.
    pub(crate) fn signal(&self, signal: Signal) -> Result<bool> {
        // SAFETY: the info pointer may be null (pidfd_send_signal(2)); the rest are integers.
        let done = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                signal as libc::c_int,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        match done {
            0 => Ok(true),
            _ if Errno::last() == Errno::ESRCH => Ok(false),
            _ => Err(RuntimeError::syscall("signal through a pidfd")(io::Error::last_os_error())),
        }
    }

    /// Waits until the process has ended (its status need not be collected).
    /// `false` when the deadline came first.
    pub(crate) fn wait_exit(&self, deadline: Deadline) -> Result<bool> {
        loop {
            let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, deadline.poll_timeout()) {
                Ok(0) | Err(Errno::EINTR) if deadline.expired() => return Ok(false),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => return Err(RuntimeError::syscall("poll a pidfd")(error)),
            }
        }
    }

    /// The exit status of our own child, left in place; `None` when it runs
    /// still or is not our child.
    pub(crate) fn peek_child(&self) -> Result<Option<ExitStatus>> {
        self.waitid(WaitPidFlag::WNOWAIT)
    }

    /// The exit status of our own child, collected: its zombie is gone after
    /// this. `None` when it runs still or is not our child.
    pub(crate) fn reap_child(&self) -> Result<Option<ExitStatus>> {
        self.waitid(WaitPidFlag::empty())
    }

    fn waitid(&self, extra: WaitPidFlag) -> Result<Option<ExitStatus>> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | extra;
        match waitid(Id::PIDFd(self.0.as_fd()), flags) {
            Ok(WaitStatus::Exited(_, code)) => Ok(Some(ExitStatus::Code(code))),
            Ok(WaitStatus::Signaled(_, signal, _)) => Ok(Some(ExitStatus::Signal(signal as i32))),
            Ok(_) | Err(Errno::ECHILD) => Ok(None),
            Err(error) => Err(RuntimeError::syscall("wait for a process")(error)),
        }
    }

    /// The exit status that the kernel keeps with the pidfd once the process
    /// has been reaped by whoever its parent was (PIDFD_GET_INFO with
    /// PIDFD_INFO_EXIT, Linux 6.15). `None` when it is not there (yet), or the
    /// kernel is older.
    pub(crate) fn exit_info(&self) -> Option<ExitStatus> {
        let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
        // SAFETY: `info` is a valid, writable struct of the size encoded in the request.
        unsafe { pidfd_get_info(self.0.as_raw_fd(), &raw mut info) }.ok()?;
        (info.mask & PIDFD_INFO_EXIT != 0).then(|| ExitStatus::from_wait(info.exit_code))
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests;
