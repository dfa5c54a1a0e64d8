//! Steps that work on containers.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    time::Duration,
};

use berth_runtime::{
    ContainerId, ContainerSpec, ExitStatus, Limits, RuntimeError, State,
    logs::{self, Policy},
};

use super::StepError;
use crate::{
    data::{self, directory, directory::DirectoryError},
    files,
    host::Host,
    plan::LOG_BYTES_MAX,
};

/// Time for a container to be made and started: 12 ms when all is well.
const START_WAIT: Duration = Duration::from_secs(20);
/// Time to remove what is left of one.
const REMOVE_WAIT: Duration = Duration::from_secs(20);
/// Time beyond the grace for SIGKILL to end what runs.
const KILL_WAIT: Duration = Duration::from_secs(30);
/// Time to initialise a data directory: 3 s on an ordinary machine, a minute on a slow one.
const INITIALISE_WAIT: Duration = Duration::from_secs(300);
/// Rotated logs that are kept.
const LOGS_KEPT: u32 = 4;
/// How much of a log goes into an error.
const LOG_BYTES: usize = 1500;

fn failed(what: &'static str) -> impl FnOnce(RuntimeError) -> StepError {
    move |source| StepError::Container { what, source }
}

pub(super) fn start(
    host: &Host,
    spec: &ContainerSpec,
    dirs: &[(PathBuf, (u32, u32))],
) -> Result<(), StepError> {
    for (dir, owner) in dirs {
        make_owned(dir, *owner)?;
    }
    if let Some(dir) = spec.log.parent() {
        directory::make_dir(dir)?;
    }
    host.runtime.start(spec, START_WAIT).map_err(failed("start"))?;
    Ok(())
}

pub(super) fn stop(host: &Host, id: &ContainerId, grace: Duration) -> Result<(), StepError> {
    match host.runtime.stop(id, grace, grace + KILL_WAIT) {
        Ok(_) | Err(RuntimeError::NotFound { .. }) => Ok(()),
        Err(error) => Err(failed("stop")(error)),
    }
}

pub(super) fn remove(host: &Host, id: &ContainerId) -> Result<(), StepError> {
    host.runtime.remove(id, REMOVE_WAIT).map_err(failed("remove"))?;
    // The directory of its socket was made for it, and is made again for the next.
    let sockets = host.config.sockets_dir().join(id.as_str());
    match fs::remove_dir_all(&sockets) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(DirectoryError::Remove { path: sockets, source }.into())
        }
        _ => Ok(()),
    }
}

pub(super) fn set_limits(host: &Host, id: &ContainerId, limits: &Limits) -> Result<(), StepError> {
    // What could not be applied is in the record, and from there in the status.
    host.runtime.set_limits(id, limits).map(drop).map_err(failed("limit"))
}

pub(super) fn rotate_log(path: &Path) -> Result<(), StepError> {
    let policy = Policy { max_bytes: LOG_BYTES_MAX, keep: LOGS_KEPT };
    logs::rotate(path, policy).map(drop).map_err(failed("rotate the log of"))
}

/// Makes a directory that the container's user may write to.
fn make_owned(dir: &Path, owner: (u32, u32)) -> Result<(), DirectoryError> {
    directory::make_dir(dir)?;
    chown(dir, Some(owner.0), Some(owner.1)).map_err(make_error(dir))
}

fn make_error(path: &Path) -> impl FnOnce(io::Error) -> DirectoryError {
    let path = path.to_owned();
    move |source| DirectoryError::Make { path, source }
}

/// Initialises a template: what is there half-made goes first, the file that says `ready`
/// comes last.
pub(super) fn make_template(
    host: &Host,
    dir: &Path,
    init: &(PathBuf, String),
    spec: &ContainerSpec,
    owner: (u32, u32),
) -> Result<(), StepError> {
    clear_template(host, dir, &spec.id)?;
    directory::make_dir(dir)?;
    make_owned(&data::mysql_dir(dir), owner)?;
    let init_dir = init.0.parent().unwrap_or(dir);
    directory::make_dir(init_dir)?;
    fs::write(&init.0, &init.1).map_err(make_error(&init.0))?;
    let readable = fs::Permissions::from_mode(0o644);
    fs::set_permissions(&init.0, readable).map_err(make_error(&init.0))?;
    host.runtime.start(spec, START_WAIT).map_err(failed("start"))?;
    let ended = wait_for_end(host, &spec.id);
    // Whatever came of it, nothing of it may run on.
    stop(host, &spec.id, Duration::ZERO)?;
    remove(host, &spec.id)?;
    let exit = ended?;
    if exit != Some(ExitStatus::Code(0)) {
        let exit = exit.map_or("an unknown status".to_owned(), |status| status.to_string());
        return Err(StepError::Initialise { exit, log: log_end(&spec.log) });
    }
    directory::sync_file_system(dir)?;
    let ready = data::template_ready_path(dir);
    fs::write(&ready, "").map_err(make_error(&ready))?;
    files::sync_dir(dir).map_err(make_error(dir))?;
    Ok(())
}

fn clear_template(host: &Host, dir: &Path, id: &ContainerId) -> Result<(), StepError> {
    stop(host, id, Duration::ZERO)?;
    remove(host, id)?;
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DirectoryError::Remove { path: dir.to_owned(), source: error }.into())
        }
        _ => Ok(()),
    }
}

fn wait_for_end(host: &Host, id: &ContainerId) -> Result<Option<ExitStatus>, StepError> {
    if let Some(watch) = host.runtime.watch(id).map_err(failed("watch"))? {
        watch.wait(INITIALISE_WAIT).map_err(failed("watch"))?;
        let exit = host.runtime.collect(&watch).map_err(failed("watch"))?;
        return Ok(exit.and_then(|exit| exit.status));
    }
    let container = host.runtime.inspect(id).map_err(failed("inspect"))?;
    Ok(match container.map(|container| container.state) {
        Some(State::Exited(exit)) => exit.status,
        _ => None,
    })
}

fn log_end(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let start = bytes.len().saturating_sub(LOG_BYTES);
    String::from_utf8_lossy(&bytes[start..]).trim().replace('\n', " | ")
}
