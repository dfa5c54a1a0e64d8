//! The helper's side: become one, take one request, answer, exit.

use std::fs::OpenOptions;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::prctl;
use nix::sys::signal::Signal;

use super::wire::{self, Reply, Request};
use super::{MARK, exec, start, thread_count};
use crate::error::{Result, RuntimeError};

/// Exit code of a helper that could not even talk.
const EXIT_NO_TALK: i32 = 70;

/// Call this first thing in `main`, before any thread exists. In a helper it
/// does the helper's work and never returns; otherwise it returns at once.
pub fn run_if_helper() {
    if std::env::args_os().nth(1).is_some_and(|arg| arg == MARK) {
        std::process::exit(serve());
    }
}

fn serve() -> i32 {
    let stream = match become_helper() {
        Ok(stream) => stream,
        Err(_) => return EXIT_NO_TALK,
    };
    let (request, fds) = match wire::receive::<Request>(&stream) {
        Ok(Some(request)) => request,
        // The caller died before it asked for anything.
        Ok(None) => return 0,
        Err(_) => return EXIT_NO_TALK,
    };
    let done = match request {
        Request::Start(request) => start::run(&stream, &request),
        Request::Exec(request) => exec::run(&stream, &request, fds),
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            let reply = Reply::Failed { chain: wire::chain(&error) };
            i32::from(wire::send(&stream, &reply, &[]).is_err()) * EXIT_NO_TALK
        }
    }
}

/// Ties this process's life to its caller's, makes orphans of its children its
/// own, and moves the socket away from stdin, which becomes /dev/null.
fn become_helper() -> Result<UnixStream> {
    prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(RuntimeError::syscall("tie the helper to its caller"))?;
    prctl::set_name(c"berth-helper").map_err(RuntimeError::syscall("name the helper"))?;
    prctl::set_child_subreaper(true).map_err(RuntimeError::syscall("become a subreaper"))?;
    if thread_count()? != 1 {
        return Err(RuntimeError::HelperProtocol {
            operation: "starting",
            found: "run_if_helper was called after a thread had been started".to_owned(),
        });
    }
    let moved = fcntl(std::io::stdin(), FcntlArg::F_DUPFD_CLOEXEC(10))
        .map_err(RuntimeError::syscall("move the helper's socket"))?;
    // SAFETY: the kernel has just made this descriptor; nobody else has it.
    let stream = unsafe { UnixStream::from_raw_fd(moved) };
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(RuntimeError::io("open", "/dev/null"))?;
    exec::put_at(&OwnedFd::from(null), 0)?;
    Ok(stream)
}
