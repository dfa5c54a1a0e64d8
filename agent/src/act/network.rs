//! Steps that work on networks.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use berth_netplug::{AttachRequest, Owner};
use berth_runtime::{ContainerId, State};

use super::StepError;
use crate::{
    host::Host,
    network::{NetworkError, Networks},
};

pub(super) fn ensure_bridge(host: &Host) -> Result<(), StepError> {
    let plug = Networks::new(&host.config).open()?;
    plug.ensure_bridge().map_err(NetworkError::from)?;
    Ok(())
}

pub(super) fn attach(
    host: &Host,
    request: &AttachRequest,
    live: Option<&ContainerId>,
) -> Result<(), StepError> {
    let networks = Networks::new(&host.config);
    let plug = networks.open()?;
    let pools = networks.pools()?;
    let live = match live {
        Some(id) => Some(namespace_of(host, id).map_err(StepError::Namespace)?),
        None => None,
    };
    let live_namespace = live.as_ref().map(path_of);
    let request = AttachRequest { live_namespace, ..request.clone() };
    let attached = plug.attach(&pools, &request).map_err(NetworkError::from)?;
    tracing::info!(
        owner = %attached.owner, address = %attached.address, vlan = %attached.vlan,
        done = attached.done.join(", "), "attached"
    );
    Ok(())
}

pub(super) fn detach(host: &Host, owner: &Owner) -> Result<(), StepError> {
    let plug = Networks::new(&host.config).open()?;
    plug.detach(owner).map_err(NetworkError::from)?;
    Ok(())
}

/// The network namespace of a container that runs. That the process which was opened is the
/// container's is asked again afterwards: its number may have gone to another meanwhile.
fn namespace_of(host: &Host, id: &ContainerId) -> io::Result<File> {
    let gone = || io::Error::new(io::ErrorKind::NotFound, format!("{id} does not run"));
    let pid = running(host, id).ok_or_else(gone)?;
    let namespace = File::open(Path::new("/proc").join(pid.to_string()).join("ns/net"))?;
    if running(host, id) == Some(pid) { Ok(namespace) } else { Err(gone()) }
}

fn running(host: &Host, id: &ContainerId) -> Option<i32> {
    match host.runtime.inspect(id).ok()??.state {
        State::Running { pid, .. } => Some(pid),
        _ => None,
    }
}

/// A path that leads to an open file, for mount(2).
fn path_of(file: &File) -> PathBuf {
    Path::new("/proc/self/fd").join(file.as_raw_fd().to_string())
}
