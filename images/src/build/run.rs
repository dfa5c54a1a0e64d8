//! Runs mmdebstrap: its output becomes the layer, its complaints the error, and
//! nothing of it outlives the deadline or this process.
//!
//! It runs as init of a PID namespace with a mount namespace of its own
//! (unshare(1)), and setpriv(1) has the kernel kill that when the thread that
//! called dies. dpkg starts sessions of its own, so a process group would not
//! do: killing the namespace's init takes all, mounts included.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::layer::{self, Layered};
use super::{BuildError, BuildOptions, Recipe, Work};
use crate::progress::Progress;

/// How much of the end of standard error an error quotes.
const OUTPUT_BYTES_MAX: usize = 4096;
const LINE_BYTES_MAX: u64 = 64 << 10;
/// apt's words for a Release file that is past its date.
const EXPIRED: &str = "is expired (invalid since";

/// Runs mmdebstrap with `arguments` and writes its output as a layer.
pub(super) fn run(
    arguments: &[String],
    recipe: &Recipe,
    work: &Work,
    options: &BuildOptions,
    progress: &dyn Progress,
) -> Result<Layered, BuildError> {
    let program = &options.mmdebstrap;
    let failed = |source| BuildError::Run { program: program.clone(), source };
    check_program(options)?;
    let mut child = command(arguments, recipe, work, options).spawn().map_err(failed)?;
    let missing = || failed(io::Error::other("the child has no pipe"));
    let stdout = child.stdout.take().ok_or_else(missing)?;
    let stderr = child.stderr.take().ok_or_else(missing)?;
    let expired = &AtomicBool::new(false);
    thread::scope(|scope| {
        let (done, stop) = channel::<()>();
        let group = group_of(&child);
        let watchdog = scope.spawn(move || watch(group, options.deadline, stop, expired));
        let complaints = scope.spawn(|| read_complaints(stderr));
        let layered = layer::write(stdout, &work.layer, options.compression, |bytes| {
            progress.advance(bytes);
        });
        if layered.is_err() {
            // It would write on for nobody.
            kill(group);
        }
        // Not reaped yet, so that the watchdog can't hit another process.
        let ended = wait_unreaped(group);
        drop(done);
        let watched = watchdog.join();
        let status = child.wait().map_err(failed)?;
        let output = complaints.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        ended.and(watched.map_err(|_| io::Error::other("the watchdog died"))).map_err(failed)?;
        if expired.load(Ordering::Acquire) {
            let (program, after) = (program.clone(), options.deadline);
            return Err(BuildError::Deadline { program, after, output: output.tail });
        }
        let layered =
            layered.map_err(|source| BuildError::Layer { path: work.layer.clone(), source })?;
        if status.success() {
            return Ok(layered);
        }
        if let Some(line) = output.expired {
            return Err(BuildError::Expired { output: line });
        }
        let (program, status) = (program.clone(), status.to_string());
        Err(BuildError::Failed { program, status, output: output.tail })
    })
}

/// unshare would report a missing program in its own words; this says what to
/// install.
fn check_program(options: &BuildOptions) -> Result<(), BuildError> {
    let program = &options.mmdebstrap;
    let found = if program.components().count() > 1 {
        program.exists()
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| directory.join(program).exists())
    };
    if found {
        return Ok(());
    }
    Err(BuildError::MissingProgram { program: program.clone(), package: "mmdebstrap" })
}

fn command(arguments: &[String], recipe: &Recipe, work: &Work, options: &BuildOptions) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"])
        .arg("--mount-proc")
        .arg(&options.mmdebstrap)
        .args(arguments)
        .env("SOURCE_DATE_EPOCH", recipe.epoch().to_string())
        .env("TMPDIR", &work.scratch)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    command
}

fn group_of(child: &Child) -> Pid {
    // A process id is positive and fits: pid_max is 2^22 (proc_sys_kernel(5)).
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

fn kill(group: Pid) {
    match killpg(group, Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(errno) => tracing::warn!(%group, %errno, "cannot kill mmdebstrap"),
    }
}

/// Waits until the child is dead, and leaves it a zombie.
fn wait_unreaped(child: Pid) -> io::Result<()> {
    loop {
        match waitid(Id::Pid(child), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Err(Errno::EINTR) => {}
            result => return result.map(drop).map_err(Into::into),
        }
    }
}

/// Kills the group when nobody says stop in time.
fn watch(group: Pid, deadline: Duration, stop: Receiver<()>, expired: &AtomicBool) {
    if stop.recv_timeout(deadline) == Err(RecvTimeoutError::Timeout) {
        expired.store(true, Ordering::Release);
        kill(group);
    }
}

/// What mmdebstrap and apt said.
#[derive(Debug, Default)]
struct Complaints {
    tail: String,
    expired: Option<String>,
}

fn read_complaints(stderr: ChildStderr) -> Complaints {
    let mut reader = BufReader::new(stderr);
    let mut complaints = Complaints::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            // A pipe that can't be read has nothing more to say.
            Ok(0) | Err(_) => return complaints,
            Ok(_) => complaints.hear(String::from_utf8_lossy(&line).trim_end()),
        }
    }
}

impl Complaints {
    fn hear(&mut self, line: &str) {
        tracing::debug!(line, "mmdebstrap");
        if line.contains(EXPIRED) {
            self.expired = Some(line.to_owned());
        }
        if !self.tail.is_empty() {
            self.tail.push('\n');
        }
        self.tail.push_str(line);
        if self.tail.len() > OUTPUT_BYTES_MAX {
            let mut start = self.tail.len() - OUTPUT_BYTES_MAX;
            while !self.tail.is_char_boundary(start) {
                start += 1;
            }
            self.tail.drain(..start);
        }
    }
}
