//! Creating and starting a container: the one use of libcontainer's builder.

use std::fs::{self, File, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use libcontainer::container::Container;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::error::LibcontainerError;
use libcontainer::syscall::syscall::SyscallType;

use super::complaints::Complaints;
use super::program::RunProgram;
use super::wire::{self, Go, Reply, StartRequest};
use crate::error::{Result, RuntimeError};
use crate::files;
use crate::procfs;
use crate::record::ProcessName;

/// What failures of this step are called.
const CREATE: &str = "create";

pub(super) fn run(stream: &UnixStream, request: &StartRequest) -> Result<()> {
    let notes = set_oom_score_adj(request.oom_score_adj)?.into_iter().collect();
    let complaints = Complaints::listen()?;
    let mut container = match create(request) {
        Ok(container) => container,
        Err(error) => {
            collect_children();
            return Err(with_causes(error, &complaints));
        }
    };
    let pid = container.pid().map(|pid| pid.as_raw()).ok_or_else(|| failed("init has no pid"))?;
    let stat = procfs::stat(pid)?.ok_or_else(|| failed("init ended at once"))?;
    let process = ProcessName { pid, start_time: stat.start_time };
    let send = |reply: &Reply| {
        wire::send(stream, reply, &[]).map_err(RuntimeError::syscall("answer the caller"))
    };
    send(&Reply::Created { process, notes })?;
    // Without leave nothing may run: the caller has died, or could not write the record.
    match wire::receive::<Go>(stream) {
        Ok(Some((Go {}, _))) => {}
        _ => return Err(failed("the caller gave no leave to start")),
    }
    container.start().map_err(|error| translated("start", &error))?;
    send(&Reply::Started)
}

fn create(request: &StartRequest) -> Result<Container> {
    let log = open_log(&request.log)?;
    let second = log.try_clone().map_err(RuntimeError::io("duplicate", &request.log))?;
    let null = File::open("/dev/null").map_err(RuntimeError::io("open", "/dev/null"))?;
    fs::create_dir_all(&request.state).map_err(RuntimeError::io("create", &request.state))?;
    ContainerBuilder::new(request.id.clone(), SyscallType::default())
        .with_root_path(&request.state)
        .map_err(|error| translated(CREATE, &error))?
        .with_executor(RunProgram)
        .with_stdin(OwnedFd::from(null))
        .with_stdout(OwnedFd::from(log))
        .with_stderr(OwnedFd::from(second))
        .validate_id()
        .map_err(|error| translated(CREATE, &error))?
        .as_init(&request.bundle)
        .with_systemd(false)
        .with_detach(true)
        .build()
        .map_err(|error| translated(CREATE, &error))
}

/// Opens the log for appending. Not through a link, and not anything else than a
/// file: a FIFO would block, and a device would be written to.
fn open_log(path: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY)
        .open(path)
        .map_err(RuntimeError::io("open the log", path))?;
    let kind = file.metadata().map_err(RuntimeError::io("examine", path))?.file_type();
    if kind.is_fifo() || kind.is_char_device() || !kind.is_file() {
        return Err(RuntimeError::InvalidSpec {
            field: "log",
            reason: format!("{} is not a regular file", path.display()),
        });
    }
    Ok(file)
}

/// Sets the score of this helper, which init inherits. Without
/// CAP_SYS_RESOURCE it can be raised but not lowered; then a note says so.
fn set_oom_score_adj(wanted: i32) -> Result<Option<String>> {
    let path = Path::new("/proc/self/oom_score_adj");
    match files::write_kernel(path, &wanted.to_string()) {
        Ok(()) => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let kept = fs::read_to_string(path).map_err(RuntimeError::io("read", path))?;
            let kept = kept.trim();
            Ok(Some(format!(
                "oom_score_adj is {kept} instead of {wanted}: lowering it needs CAP_SYS_RESOURCE"
            )))
        }
        Err(error) => Err(RuntimeError::io("write", path)(error)),
    }
}

/// After a failed create libcontainer leaves its two processes behind. They are
/// children of this helper, which is their subreaper: end them and collect them.
fn collect_children() {
    let me = std::process::id().cast_signed();
    for pid in procfs::children_of(me).unwrap_or_default() {
        let pid = nix::unistd::Pid::from_raw(pid);
        // Both fail only when the child is gone already.
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        let _ = nix::sys::wait::waitpid(pid, None);
    }
}

fn failed(text: &str) -> RuntimeError {
    RuntimeError::Helper { operation: CREATE, chain: vec![text.to_owned()] }
}

/// libcontainer's error in the words it used where it happened, which name paths
/// and errnos; its own text if it said nothing.
fn with_causes(error: RuntimeError, complaints: &Complaints) -> RuntimeError {
    let texts = complaints.texts();
    let (RuntimeError::Helper { operation, .. }, Some(first)) = (&error, texts.first()) else {
        return error;
    };
    let end = |text: &str| text.rsplit(": ").next().map(str::to_owned);
    let mut chain: Vec<String> =
        texts.iter().skip(1).filter(|text| end(text) != end(first)).cloned().collect();
    chain.push(first.clone());
    RuntimeError::Helper { operation, chain }
}

/// libcontainer's error with all its causes.
fn translated(operation: &'static str, error: &LibcontainerError) -> RuntimeError {
    RuntimeError::Helper { operation, chain: wire::chain(error) }
}
