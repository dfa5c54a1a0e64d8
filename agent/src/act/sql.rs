//! Steps that speak to a server.

use std::{collections::BTreeMap, path::Path, time::Duration};

use super::StepError;
use crate::{
    host::Host,
    mysql::{
        CloneOutcome, Deadline, Donor, Server, Source,
        credentials::{FleetKey, Purpose, Secret},
    },
    plan::{Peer, Verb, labels},
};

/// Time for what takes milliseconds when all is well.
const SHORT: Duration = Duration::from_secs(10);
/// Time that a switch to read-only waits for writers, on the server.
const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Time for STOP REPLICA, which waits for the transaction that is being applied.
const STOP_WAIT: Duration = Duration::from_secs(60);
/// Time that the lane stays with a CLONE. It goes on without the lane, and the planner
/// follows it by the server's own tables.
const CLONE_WAIT: Duration = Duration::from_secs(5);

pub(super) fn run(host: &Host, socket_dir: &Path, verb: &Verb) -> Result<(), StepError> {
    let socket = socket_dir.join(labels::SOCKET);
    let mut server = Server::connect(&socket, Deadline::after(SHORT))?;
    let soon = || Deadline::after(SHORT);
    match verb {
        Verb::SuperReadOnly => {
            let deadline = Deadline::after(LOCK_WAIT + SHORT);
            server.set_super_read_only(true, LOCK_WAIT, deadline)?;
        }
        Verb::TakeWrites => server.set_writable(soon())?,
        Verb::SetGlobal { name, value } => server.set_global(name, value, soon())?,
        Verb::OfflineMode { on } => server.set_offline_mode(*on, soon())?,
        Verb::SemiSync { role, on } => server.set_semi_sync(*role, *on, soon())?,
        Verb::EnsureAccounts { cluster } => {
            let passwords = passwords(host, cluster.as_str())?;
            server.ensure_accounts(&passwords, soon())?;
        }
        Verb::PointAt { source } => {
            let source = replication_source(host, source)?;
            server.point_at(&source, Deadline::after(STOP_WAIT))?;
        }
        Verb::StartReplication => server.start_replication(soon())?,
        Verb::StopReplication => server.stop_replication(Deadline::after(STOP_WAIT))?,
        Verb::Clone { donor } => clone(host, &mut server, donor)?,
    }
    Ok(())
}

fn passwords(host: &Host, cluster: &str) -> Result<BTreeMap<Purpose, Secret>, StepError> {
    let key = FleetKey::read(&host.config.fleet_key)?;
    Ok(Purpose::ALL.iter().map(|purpose| (*purpose, key.password(cluster, *purpose))).collect())
}

fn password(host: &Host, peer: &Peer, purpose: Purpose) -> Result<Secret, StepError> {
    let key = FleetKey::read(&host.config.fleet_key)?;
    Ok(key.password(peer.cluster.as_str(), purpose))
}

fn replication_source(host: &Host, peer: &Peer) -> Result<Source, StepError> {
    Ok(Source {
        host: peer.host.to_string(),
        port: peer.port,
        user: Purpose::Replication.user().to_owned(),
        password: password(host, peer, Purpose::Replication)?,
        ssl: true,
        auto_position: true,
    })
}

fn clone(host: &Host, server: &mut Server, peer: &Peer) -> Result<(), StepError> {
    let donor = Donor {
        host: peer.host.to_string(),
        port: peer.port,
        user: Purpose::Clone.user().to_owned(),
        password: password(host, peer, Purpose::Clone)?,
    };
    let why = match server.clone_from(&donor, Deadline::after(CLONE_WAIT))? {
        CloneOutcome::Restarting | CloneOutcome::StillRunning | CloneOutcome::ConnectionLost => {
            return Ok(());
        }
        CloneOutcome::Busy => "the donor is being cloned from by another".to_owned(),
        CloneOutcome::Refused(cause) => format!("refused: {cause}"),
        CloneOutcome::Failed(cause) => format!("failed: {cause}"),
    };
    Err(StepError::Clone { why })
}
