//! Running one more process in a running container.
//!
//! Done here and not by libcontainer's tenant builder, because that one leaves
//! out the seccomp profile (0.7), trusts a bare pid, and does not tell a program
//! that is missing from one that failed. The steps are those of
//! setns_init_linux.go of runc: join all namespaces of init at once through its
//! pidfd, fork (a pid namespace takes only children), then drop everything that
//! init dropped.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use libcontainer::capabilities::{drop_privileges, reset_effective};
use libcontainer::oci_spec::runtime::{Process, Spec};
use libcontainer::syscall::syscall::create_syscall;
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{
    ForkResult, Gid, Pid, Uid, chdir, fork, getcwd, setgroups, setresgid, setresuid, setsid,
};

use super::program;
use super::wire::{self, ExecRequest, Reply};
use crate::error::{Result, RuntimeError};
use crate::exit::ExitStatus;
use crate::pidfd::PidFd;
use crate::spec::User;

/// Exit code when something before the program failed, as docker has it.
const EXIT_NOT_STARTED: i32 = 126;

nix::ioctl_write_int_bad!(tiocsctty, nix::libc::TIOCSCTTY);

pub(super) fn run(stream: &UnixStream, request: &ExecRequest, fds: Vec<OwnedFd>) -> Result<()> {
    let spec = Spec::load(&request.config).map_err(|error| failed(error.to_string()))?;
    let process = spec.process().clone().ok_or_else(|| failed("the spec has no process"))?;
    let init = PidFd::open_exact(request.init.pid, request.init.start_time)?
        .ok_or_else(|| failed("the container has ended"))?;
    join(&init)?;
    // SAFETY: this process has one thread (checked at its start), so that the
    // child may do whatever the parent could.
    match unsafe { fork() }.map_err(RuntimeError::syscall("fork"))? {
        ForkResult::Child => {
            std::process::exit(match become_process(&spec, &process, request, &fds) {
                Ok((args, env)) => program::run(&args, &env),
                Err(error) => {
                    eprintln!("berth: {}", wire::chain(&error).join(": "));
                    EXIT_NOT_STARTED
                }
            })
        }
        ForkResult::Parent { child } => {
            drop(fds);
            attend(stream, child)
        }
    }
}

/// Tells the caller when the process is there and how it ended.
fn attend(stream: &UnixStream, child: Pid) -> Result<()> {
    let send = |reply: &Reply| {
        wire::send(stream, reply, &[]).map_err(RuntimeError::syscall("answer the caller"))
    };
    send(&Reply::ExecStarted)?;
    // As long as the process runs; the caller's deadline or death ends this helper,
    // and with it the process.
    let status = loop {
        match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, code)) => break ExitStatus::Code(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => break ExitStatus::Signal(signal as i32),
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(RuntimeError::syscall("wait for the process")(error)),
        }
    };
    send(&Reply::ExecExited(status))
}

/// Joins the namespaces of init that differ from the host's. Joining one that is
/// the same is harmless.
fn join(init: &PidFd) -> Result<()> {
    let all = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWCGROUP;
    setns(init.as_fd(), all).map_err(RuntimeError::syscall("join the container's namespaces"))
}

/// In the child: everything up to the program itself.
fn become_process(
    spec: &Spec,
    process: &Process,
    request: &ExecRequest,
    fds: &[OwnedFd],
) -> Result<(Vec<String>, Vec<String>)> {
    setsid().map_err(RuntimeError::syscall("begin a session"))?;
    let [stdin, stdout, stderr] = fds else {
        return Err(failed(format!("{} descriptors came instead of 3", fds.len())));
    };
    if request.tty {
        use std::os::fd::AsRawFd;
        // SAFETY: the argument is an integer, and the descriptor is open.
        unsafe { tiocsctty(stdin.as_raw_fd(), 0) }
            .map_err(RuntimeError::syscall("take the controlling terminal"))?;
    }
    for (fd, number) in [(stdin, 0), (stdout, 1), (stderr, 2)] {
        put_at(fd, number)?;
    }
    let user = request.user.clone().unwrap_or_else(|| User {
        uid: process.user().uid(),
        gid: process.user().gid(),
        additional_gids: process.user().additional_gids().clone().unwrap_or_default(),
    });
    enter(request.cwd.as_deref().unwrap_or(process.cwd()))?;
    drop_all(process, &user)?;
    // The user change has cleared it (PR_SET_PDEATHSIG(2const)).
    prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(RuntimeError::syscall("tie the process to its helper"))?;
    close_rest()?;
    if let Some(profile) = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref()) {
        libcontainer::seccomp::initialize_seccomp(profile)
            .map_err(|error| failed(format!("cannot load the seccomp profile: {error}")))?;
    }
    Ok((request.args.clone(), environment(process, &request.env)))
}

/// Changes into a directory of the container and checks that it is one: a
/// descriptor of the host could lead outside (CVE-2024-21626).
fn enter(cwd: &Path) -> Result<()> {
    chdir(cwd).map_err(RuntimeError::io("change into", cwd))?;
    let real = getcwd().map_err(RuntimeError::io("find the path of", cwd))?;
    if real.is_absolute() && !real.starts_with("(unreachable)") {
        return Ok(());
    }
    Err(failed(format!("{} is outside the container", PathBuf::from(cwd).display())))
}

/// Groups, user, capabilities and no_new_privs, in the order in which each may
/// still be done.
fn drop_all(process: &Process, user: &User) -> Result<()> {
    let groups: Vec<Gid> = user.additional_gids.iter().map(|&gid| Gid::from_raw(gid)).collect();
    setgroups(&groups).map_err(RuntimeError::syscall("set supplementary groups"))?;
    prctl::set_keepcaps(true)
        .map_err(RuntimeError::syscall("keep capabilities over the user change"))?;
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    setresgid(gid, gid, gid).map_err(RuntimeError::syscall("set the group"))?;
    setresuid(uid, uid, uid).map_err(RuntimeError::syscall("set the user"))?;
    prctl::set_keepcaps(false).map_err(RuntimeError::syscall("stop keeping capabilities"))?;
    let syscall = create_syscall();
    reset_effective(syscall.as_ref())
        .map_err(|error| failed(format!("cannot reset capabilities: {error}")))?;
    if let Some(caps) = process.capabilities() {
        drop_privileges(caps, syscall.as_ref())
            .map_err(|error| failed(format!("cannot drop capabilities: {error}")))?;
    }
    prctl::set_no_new_privs().map_err(RuntimeError::syscall("give up new privileges"))
}

/// Marks every descriptor but the standard ones to be closed by execve.
fn close_rest() -> Result<()> {
    // SAFETY: close_range takes three integers; with CLOEXEC it closes nothing yet.
    let done = unsafe {
        nix::libc::syscall(
            nix::libc::SYS_close_range,
            3,
            nix::libc::c_uint::MAX,
            nix::libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if done == 0 {
        return Ok(());
    }
    Err(RuntimeError::syscall("mark descriptors for closing")(std::io::Error::last_os_error()))
}

/// The container's environment, overlaid by the request's.
fn environment(process: &Process, over: &[(String, String)]) -> Vec<String> {
    let given =
        |entry: &str| over.iter().any(|(name, _)| entry.split('=').next() == Some(name.as_str()));
    let mut env: Vec<String> = process
        .env()
        .iter()
        .flatten()
        .filter(|entry| !given(entry) && CString::new(entry.as_str()).is_ok())
        .cloned()
        .collect();
    env.extend(over.iter().map(|(name, value)| format!("{name}={value}")));
    env
}

fn failed(text: impl Into<String>) -> RuntimeError {
    RuntimeError::Helper { operation: "exec", chain: vec![text.into()] }
}

/// Makes `number` another name of `fd`, kept across exec. Standard descriptors
/// (0 to 2) only.
pub(super) fn put_at(fd: &OwnedFd, number: i32) -> Result<()> {
    // SAFETY: dup2 takes two integers; the standard descriptors are nobody's property here.
    let done = unsafe { nix::libc::dup2(fd.as_raw_fd(), number) };
    if done == number {
        return Ok(());
    }
    Err(RuntimeError::syscall("set a standard descriptor")(std::io::Error::last_os_error()))
}
