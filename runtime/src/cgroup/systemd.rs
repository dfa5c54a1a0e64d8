//! Asking systemd for transient units, over D-Bus.
//!
//! The interface is org.freedesktop.systemd1(5). Every call is made on a connection of its own
//! and within a deadline; only starting and removing a container makes any. What a call has
//! done is then read from the cgroup file system: systemd's answer only says that it began.

use std::path::Path;
use std::thread;
use std::time::Duration;

use zbus::{Connection, DynamicType, Variant};

use super::units::Units;
use crate::deadline::Deadline;
use crate::error::{Result, RuntimeError};

const SERVICE: &str = "org.freedesktop.systemd1";
const OBJECT: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
/// An answer that means that there is nothing to stop.
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
/// How to queue a job: fail if another one is in the way.
const FAIL: &str = "fail";
/// How long a server may take to end when the host goes down, before it is killed.
const STOP_TIME: Duration = Duration::from_secs(600);
/// Ends before the servers do when the host goes down, so that it does not start them again.
const AGENT: &str = "berth-agent.service";

/// Whether systemd is the service manager of this host (sd_booted(3)).
pub(crate) fn is_there() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

type Properties<'a> = Vec<(&'a str, Variant<'a>)>;

/// Asks for the container's slice.
pub(crate) fn start_slice(units: &Units, deadline: Deadline) -> Result<()> {
    let on = |name| (name, Variant::from(true));
    let properties: Properties<'_> = vec![
        ("Description", Variant::from("A MySQL container and what is counted of it")),
        on("CPUAccounting"),
        on("IOAccounting"),
        on("MemoryAccounting"),
        on("TasksAccounting"),
    ];
    start(&units.slice, properties, deadline)
}

/// Asks for the container's scope, with a process in it.
pub(crate) fn start_scope(units: &Units, pid: u32, deadline: Deadline) -> Result<()> {
    let stop_usec = u64::try_from(STOP_TIME.as_micros()).unwrap_or(u64::MAX);
    let properties: Properties<'_> = vec![
        ("Description", Variant::from("A MySQL container")),
        ("PIDs", Variant::from(vec![pid])),
        ("Slice", Variant::from(units.slice.as_str())),
        ("Delegate", Variant::from(true)),
        // A scope that failed to stop must not keep its name.
        ("CollectMode", Variant::from("inactive-or-failed")),
        ("TimeoutStopUSec", Variant::from(stop_usec)),
        // The reverse of the order at the end: the agent, the servers, the file systems.
        ("Before", Variant::from(vec![AGENT])),
        ("After", Variant::from(vec!["local-fs.target", "remote-fs.target", "network.target"])),
    ];
    start(&units.scope, properties, deadline)
}

fn start(unit: &str, properties: Properties<'_>, deadline: Deadline) -> Result<()> {
    let others: Vec<(&str, Properties<'_>)> = Vec::new();
    let body = (unit, FAIL, properties, others);
    call("start", unit, "StartTransientUnit", &body, deadline).map(drop)
}

/// Asks for the end of the container's slice, and of all that is in it. One that is not
/// there is fine.
pub(crate) fn stop_slice(units: &Units, deadline: Deadline) -> Result<()> {
    let unit = units.slice.as_str();
    match call("stop", unit, "StopUnit", &(unit, "replace"), deadline) {
        Err(RuntimeError::Systemd { source, .. }) if is_named(&source, NO_SUCH_UNIT) => Ok(()),
        other => other,
    }
}

fn is_named(error: &zbus::Error, name: &str) -> bool {
    matches!(error, zbus::Error::MethodError(found, ..) if found.as_str() == name)
}

/// Makes one call and waits for its answer. On a thread of its own, for the caller's may
/// belong to an asynchronous runtime.
fn call<B>(
    operation: &'static str,
    unit: &str,
    method: &'static str,
    body: &B,
    deadline: Deadline,
) -> Result<()>
where
    B: serde::Serialize + DynamicType + Sync,
{
    let ask = || -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(RuntimeError::syscall("wait for systemd"))?;
        let answer = runtime.block_on(async {
            let conversation = async {
                let bus = Connection::system().await?;
                bus.call_method(Some(SERVICE), OBJECT, Some(MANAGER), method, body).await
            };
            tokio::time::timeout(deadline.remaining(), conversation).await
        });
        match answer {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(source)) => Err(RuntimeError::Systemd {
                operation,
                unit: unit.to_owned(),
                source: Box::new(source),
            }),
            Err(_) => Err(RuntimeError::Deadline { operation, granted: deadline.granted() }),
        }
    };
    thread::scope(|scope| scope.spawn(ask).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
