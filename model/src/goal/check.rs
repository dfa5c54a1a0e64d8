//! What the fields of one entry must be together.

use std::net::IpAddr;

use super::{
    Bootstrap, CpuLimits, Entry, GoalState, IoLimits, MemoryLimits, Network, NetworkRates, Role,
    SourceName, raw::RawEntry, variables,
};
use crate::{
    names::EntryKey,
    size::{ByteSize, HostShare, SERVER_BYTES_MIN},
    sizing::Sizing,
};

/// The longest key of an entry in vlan mode, in bytes: with the host's name and the address
/// it has to fit the alias of a link (IFALIASZ, 256 bytes).
pub const VLAN_KEY_BYTES_MAX: usize = 120;
/// The longest name of a pool, in bytes.
const POOL_BYTES_MAX: usize = 64;
/// The rates that a port can be limited to, in bits per second.
const RATES: std::ops::RangeInclusive<u64> = 8_000..=1_000_000_000_000;
/// How many processes and threads an instance can be limited to. An idle mysqld has some 40
/// threads, and one more for each client; the kernel's PID_MAX_LIMIT is the other end.
const PIDS: std::ops::RangeInclusive<u32> = 64..=4_194_304;

/// A rule that an entry breaks.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) field: &'static str,
    pub(super) problem: String,
    pub(super) remedy: String,
}

fn broken<T>(field: &'static str, problem: impl Into<String>, remedy: &str) -> Result<T, Broken> {
    Err(Broken { field, problem: problem.into(), remedy: remedy.to_owned() })
}

/// Turns the form on disk into a validated entry.
pub(super) fn entry(key: &EntryKey, raw: RawEntry) -> Result<Entry, Broken> {
    let data = raw.data;
    check_app_id(key, raw.app_id.as_deref())?;
    check_port("data.port", data.port)?;
    check_size(data.size)?;
    let source = source(data.role, data.master_host, data.master_port)?;
    check_disk(&data.io)?;
    check_processor(&data.cpu)?;
    check_pids(data.pids)?;
    if let HostShare::Bytes(size) = data.size {
        memory(size.get(), data.memory)?;
    }
    check_network(key, &data.network)?;
    check_not_yet(&data.bootstrap, &data.sidecars, raw.state)?;
    for (name, value) in &data.variables {
        if let Err(problem) = variables::check(name, value) {
            return broken("data.variables", problem, "correct or remove the variable");
        }
    }
    Ok(Entry {
        app_id: raw.app_id,
        state: raw.state,
        role: data.role,
        disabled: data.disabled,
        port: data.port,
        size: data.size,
        name: data.name,
        cluster: data.cluster,
        source,
        semi_sync: data.semi_sync_repl_enabled,
        image: data.image,
        io: data.io,
        cpu: data.cpu,
        memory: data.memory,
        pids: data.pids,
        network: data.network,
        bootstrap: data.bootstrap,
        reseed: data.reseed,
        sidecars: data.sidecars,
        variables: data.variables,
        generation: raw.generation,
    })
}

fn check_app_id(key: &EntryKey, app_id: Option<&str>) -> Result<(), Broken> {
    let Some(app_id) = app_id else { return Ok(()) };
    let host = key.as_str().strip_suffix(app_id).and_then(|rest| rest.strip_suffix('-'));
    if host.is_some_and(|host| !host.is_empty()) {
        return Ok(());
    }
    let problem = format!("found {app_id:?}, expected what follows \"<host>-\" in the key");
    broken("app_id", problem, "write the same name in the key and in app_id")
}

fn check_port(field: &'static str, port: u16) -> Result<(), Broken> {
    if port == 0 {
        return broken(field, "found 0, expected a port from 1 to 65535", "choose a port");
    }
    Ok(())
}

fn check_size(size: HostShare) -> Result<(), Broken> {
    match size {
        HostShare::Bytes(bytes) if bytes.get() < SERVER_BYTES_MIN => broken(
            "data.size",
            format!("found {bytes}, expected at least {} MiB", SERVER_BYTES_MIN >> 20),
            "give the instance more memory",
        ),
        _ => Ok(()),
    }
}

fn source(
    role: Role,
    host: Option<String>,
    port: Option<u16>,
) -> Result<Option<SourceName>, Broken> {
    const REMEDY: &str = "name the master that this minion replicates from";
    if let Some(port) = port {
        check_port("data.master_port", port)?;
    }
    match (role, host, port) {
        (_, Some(host), Some(port)) if is_host(&host) => Ok(Some(SourceName { host, port })),
        (_, Some(host), Some(_)) => broken(
            "data.master_host",
            format!("found {host:?}, expected a host name, an address or an entry's key"),
            REMEDY,
        ),
        (Role::Master, _, _) => Ok(None),
        (Role::Minion, None, _) => {
            broken("data.master_host", "found a minion without master_host, expected one", REMEDY)
        }
        (Role::Minion, _, None) => {
            broken("data.master_port", "found a minion without master_port, expected one", REMEDY)
        }
    }
}

fn is_host(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | ':');
    !text.is_empty() && text.len() <= 253 && text.chars().all(plain) && !text.starts_with('-')
}

/// What a limit that is out of its range is told.
pub(super) const NO_LIMIT: &str = "leave the field out for no limit";

fn check_disk(io: &IoLimits) -> Result<(), Broken> {
    for (field, iops) in
        [("data.io.read_iops", io.read_iops), ("data.io.write_iops", io.write_iops)]
    {
        if iops == Some(0) {
            return broken(field, "found 0, expected at least 1 operation per second", NO_LIMIT);
        }
    }
    check_weight("data.io.weight", io.weight)
}

fn check_processor(cpu: &CpuLimits) -> Result<(), Broken> {
    if let Some(cores) = cpu.cores
        && !(0.01..=4096.0).contains(&cores)
    {
        let problem = format!("found {cores}, expected a number of cores from 0.01 to 4096");
        return broken("data.cpu.cores", problem, NO_LIMIT);
    }
    check_weight("data.cpu.weight", cpu.weight)
}

fn check_weight(field: &'static str, weight: Option<u16>) -> Result<(), Broken> {
    match weight {
        Some(weight) if !(1..=10_000).contains(&weight) => {
            broken(field, format!("found {weight}, expected a weight from 1 to 10000"), NO_LIMIT)
        }
        _ => Ok(()),
    }
}

fn check_pids(pids: Option<u32>) -> Result<(), Broken> {
    match pids {
        Some(pids) if !PIDS.contains(&pids) => {
            let (low, high) = (PIDS.start(), PIDS.end());
            let problem = format!("found {pids}, expected {low} to {high} processes and threads");
            broken("data.pids", problem, NO_LIMIT)
        }
        _ => Ok(()),
    }
}

/// Checks the memory limits of an instance of `size` bytes. A `high` below what its server
/// takes would have it slowed down for ever; one that is not below the size does nothing.
pub(super) fn memory(size: u64, memory: MemoryLimits) -> Result<(), Broken> {
    let (Some(high), Ok(sizing)) = (memory.high, Sizing::for_limit(size)) else { return Ok(()) };
    let low = sizing.server_bytes();
    if (low..size).contains(&high.get()) {
        return Ok(());
    }
    let (low, size) = (ByteSize::new(low), ByteSize::new(size));
    broken(
        "data.memory.high",
        format!(
            "found {high}, expected at least {low}, which the server takes, and less than {size}, \
             its size"
        ),
        NO_LIMIT,
    )
}

fn check_network(key: &EntryKey, network: &Network) -> Result<(), Broken> {
    let Network::Vlan { pool, ip, rate } = network else { return Ok(()) };
    let bytes = key.as_str().len();
    if bytes > VLAN_KEY_BYTES_MAX {
        return broken(
            "data.network",
            format!(
                "found the mode \"vlan\" under a key of {bytes} bytes, expected at most {VLAN_KEY_BYTES_MAX}"
            ),
            "shorten the key, or use the mode \"host\"",
        );
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !(1..=POOL_BYTES_MAX).contains(&pool.len())
        || !pool.chars().all(plain)
        || pool.starts_with(['.', '-'])
    {
        return broken(
            "data.network.pool",
            format!(
                "found {pool:?}, expected the name of a pool: 1 to {POOL_BYTES_MAX} letters, digits, '.', '_' and '-'"
            ),
            "name a pool of the host's pools directory",
        );
    }
    if let Some(ip) = ip.filter(|ip| !is_of_one_host(*ip)) {
        return broken(
            "data.network.ip",
            format!("found {ip}, expected an address that a server can have"),
            "name an address of the pool, or none",
        );
    }
    check_rates(rate)
}

fn is_of_one_host(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.to_ipv4_mapped().is_some(),
    };
    !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || link_local)
}

fn check_rates(rate: &NetworkRates) -> Result<(), Broken> {
    let both = [("data.network.rate.in", rate.inward), ("data.network.rate.out", rate.outward)];
    for (field, rate) in both {
        if let Some(rate) = rate.filter(|rate| !RATES.contains(&rate.get())) {
            let problem = format!("found {rate}, expected 8kbit/s to 1000Gbit/s");
            return broken(field, problem, "leave the field out for the pool's rate");
        }
    }
    Ok(())
}

/// Fields that have their meaning but no implementation in this version are refused:
/// an operator must not believe in a limit or a helper that isn't there.
fn check_not_yet(
    bootstrap: &Bootstrap,
    sidecars: &[String],
    state: GoalState,
) -> Result<(), Broken> {
    if state != GoalState::Started {
        return Ok(());
    }
    if let Bootstrap::Snapshot(url) = bootstrap {
        let problem = format!("found the snapshot {url:?}, expected \"master\"");
        return broken("data.bootstrap", problem, "this version of berth seeds only by CLONE");
    }
    if let Some(first) = sidecars.first() {
        let problem = format!("found the sidecar {first:?}, expected none");
        return broken("data.sidecars", problem, "this version of berth runs no sidecars");
    }
    Ok(())
}
