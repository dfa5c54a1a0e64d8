//! Running a program inside a container: the last step of start and of exec.
//!
//! libcontainer's own executor is not used, for three reasons: it leaves SIGPIPE
//! ignored (as every Rust program has it), it wants a program that everybody may
//! execute, and it says nothing when execve fails after the start.

use std::convert::Infallible;
use std::ffi::CString;
use std::io::Write;
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::execve;

use crate::bundle::DEFAULT_PATH;

/// Shell convention: found but not executable, and not found.
const EXIT_NOT_EXECUTABLE: i32 = 126;
const EXIT_NOT_FOUND: i32 = 127;

/// libcontainer's last step.
#[derive(Debug, Clone)]
pub(super) struct RunProgram;

impl Executor for RunProgram {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let (args, env) = words(spec);
        std::process::exit(run(&args, &env));
    }

    /// Looks for the program from inside the container, so that a missing one
    /// fails the create.
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let (args, env) = words(spec);
        let refuse = |text: String| Err(ExecutorValidationError::ArgValidationError(text));
        match args.first().and_then(|name| find(name, &env)) {
            Some(path) if path.is_file() => Ok(()),
            Some(path) => refuse(format!("program {} is not a file", path.display())),
            None => {
                let name = args.first().map_or("", String::as_str);
                refuse(format!("program {name:?} is not in the container"))
            }
        }
    }
}

fn words(spec: &Spec) -> (Vec<String>, Vec<String>) {
    let process = spec.process().as_ref();
    let args = process.and_then(|process| process.args().clone()).unwrap_or_default();
    let env = process.and_then(|process| process.env().clone()).unwrap_or_default();
    (args, env)
}

/// Where a program is: itself when it holds a slash, otherwise the first hit in PATH.
fn find(name: &str, env: &[String]) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.exists());
    }
    let path = env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    path.split(':').map(|dir| Path::new(dir).join(name)).find(|path| path.exists())
}

/// Becomes the program. Returns the exit code to use only when that fails; the
/// reason goes to stderr, which is the container's log or the exec's terminal.
pub(super) fn run(args: &[String], env: &[String]) -> i32 {
    let Some(name) = args.first() else {
        return EXIT_NOT_FOUND;
    };
    let Some(path) = find(name, env) else {
        complain(name, Errno::ENOENT);
        return EXIT_NOT_FOUND;
    };
    match try_run(&path, args, env) {
        Ok(never) => match never {},
        Err(error) => {
            complain(name, error);
            if error == Errno::ENOENT { EXIT_NOT_FOUND } else { EXIT_NOT_EXECUTABLE }
        }
    }
}

fn try_run(path: &Path, args: &[String], env: &[String]) -> nix::Result<Infallible> {
    let text = |text: &str| CString::new(text).map_err(|_| Errno::EINVAL);
    let program = text(&path.to_string_lossy())?;
    let args: Vec<CString> = args.iter().map(|arg| text(arg)).collect::<nix::Result<_>>()?;
    let env: Vec<CString> = env.iter().map(|entry| text(entry)).collect::<nix::Result<_>>()?;
    default_signals();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    execve(&program, &args, &env)
}

/// Puts every signal back to its default: Rust ignores SIGPIPE, and whoever
/// started the agent may have ignored others, which execve would keep.
fn default_signals() {
    /// Length of the kernel's signal mask, in bytes; it has 64 signals.
    const MASK_BYTES: usize = 8;
    /// `struct sigaction` of the kernel, all zero: SIG_DFL, no flags, empty mask.
    const DEFAULT: [u64; 4] = [0; 4];
    for number in 1..=64 {
        // SAFETY: the pointer is to memory as large as the kernel's struct, and a null
        // pointer asks for no old one. The C library's function would refuse its
        // own signals 32 and 33. SIGKILL and SIGSTOP fail, and need nothing.
        unsafe {
            nix::libc::syscall(
                nix::libc::SYS_rt_sigaction,
                number,
                DEFAULT.as_ptr(),
                std::ptr::null_mut::<u64>(),
                MASK_BYTES,
            )
        };
    }
}

fn complain(name: &str, error: Errno) {
    // Nobody is left to tell when stderr is gone.
    let _ = writeln!(std::io::stderr(), "berth: cannot run {name}: {}", error.desc());
}
