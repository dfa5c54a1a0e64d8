//! The probe of a minion's source: where it is, by the goals and the leases, and what it
//! answers, asked as its replicas would ask it.
//!
//! A minion in vlan mode asks from inside its own network namespace: the host itself has no
//! address in the VLAN. The thread of the connection enters the namespace and stays there;
//! see [`Server::connect_tcp_in`].

use std::{
    fs::File,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    os::unix::fs::MetadataExt,
    time::Duration,
};

use berth_model::goal::{GoalState, Goals, PlacedEntry, Role, SourceName};

use super::{Observed, SourceFacts};
use crate::{
    config::Config,
    files,
    host::{Host, Way},
    mysql::{
        Deadline, Server, SourceView,
        credentials::{FleetKey, Purpose},
    },
    network::Networks,
};

/// How long a source may take, which is asked after the instance's own server.
fn source_wait(host: &Host) -> Duration {
    host.config.probe_timeout * 2 / 5
}

/// Finds and asks the source of an instance; absent for a master.
pub(super) fn source(host: &Host, goals: &Goals, placed: &PlacedEntry) -> Observed<SourceFacts> {
    let entry = &placed.entry;
    let (Role::Minion, GoalState::Started, Some(name)) =
        (entry.role, entry.state, entry.source.as_ref())
    else {
        return Observed::Absent;
    };
    let address = match address(&host.config, goals, placed, name) {
        Ok(address) => address,
        Err(why) => return Observed::Unknown(why),
    };
    let cluster = goals.cluster_of(placed);
    let server = match source_view(host, placed, SocketAddr::from(address), cluster.as_str()) {
        Ok(view) => Observed::Present(view),
        Err(why) => Observed::Unknown(why),
    };
    Observed::Present(SourceFacts { address, server })
}

/// The source's address. A name is looked for among the entries first, then in the
/// configuration's `hosts`, then by the system's resolver (getaddrinfo(3)). IPv4 comes
/// first, because CLONE takes no IPv6 literal.
fn address(
    config: &Config,
    goals: &Goals,
    minion: &PlacedEntry,
    name: &SourceName,
) -> Result<(IpAddr, u16), String> {
    let peer = goals.source_of(&minion.entry);
    let port = peer.map_or(name.port, |peer| peer.entry.port);
    if let Some(peer) = peer.filter(|peer| peer.entry.network.is_vlan()) {
        return Ok((own_address_of(config, goals, peer)?, port));
    }
    let several = goals.ambiguous_source(&minion.entry);
    if !several.is_empty() {
        let several = several.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
        return Err(format!(
            "{}:{} may be {several}, which are in vlan mode; name the master by its key",
            name.host, name.port
        ));
    }
    let host = peer.map_or(name.host.as_str(), |peer| host_of(peer, name));
    let listed = config.hosts.get(host).map_or(host, String::as_str);
    if host == config.host.as_str() {
        return Ok((this_host(config, minion, listed)?, port));
    }
    if let Ok(address) = listed.parse() {
        return Ok((address, port));
    }
    let found = (listed, port)
        .to_socket_addrs()
        .map_err(|error| format!("{listed} can't be resolved ({error}); name it in `hosts`"))?;
    let mut addresses: Vec<SocketAddr> = found.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let first = addresses.first().ok_or_else(|| format!("{listed} has no address"))?;
    Ok((first.ip(), port))
}

/// The address of a peer in vlan mode: what its entry names, or what it holds here.
fn own_address_of(config: &Config, goals: &Goals, peer: &PlacedEntry) -> Result<IpAddr, String> {
    let key = &peer.key;
    if let Some(ip) = peer.entry.network.ip() {
        return Ok(ip);
    }
    if !goals.own.contains_key(key) {
        return Err(format!(
            "{key} is in vlan mode on another host, and its entry names no address; add `ip` to \
             its `network`"
        ));
    }
    match Networks::new(config).address_of(key) {
        Ok(Some(address)) => Ok(address),
        Ok(None) => Err(format!("{key} has no address yet")),
        Err(error) => Err(files::chain(&error).join(": ")),
    }
}

/// The host part of a peer's key: what the goal wrote, unless that is the whole key or the
/// member's name.
fn host_of<'a>(peer: &'a PlacedEntry, name: &'a SourceName) -> &'a str {
    let key = peer.key.as_str();
    if name.host != key && peer.entry.name.as_ref() != Some(&name.host) {
        return &name.host;
    }
    let by_app_id = peer.entry.app_id.as_deref().and_then(|app_id| key.strip_suffix(app_id));
    match by_app_id {
        Some(host) => host.trim_end_matches('-'),
        None => key.split_once('-').map_or(key, |(host, _)| host),
    }
}

/// Where servers in host mode of this host are reached from a minion of it. One in vlan mode
/// has a loopback of its own, so it needs an address that is known outside. `listed` is what
/// `hosts` says of this host, or its name.
fn this_host(config: &Config, minion: &PlacedEntry, listed: &str) -> Result<IpAddr, String> {
    let bound = config.bind_address;
    if !minion.entry.network.is_vlan() {
        return Ok(if bound.is_unspecified() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            bound
        });
    }
    let known = [listed.parse().ok(), Some(bound)].into_iter().flatten();
    let mut reachable = known.filter(|ip| !ip.is_unspecified() && !ip.is_loopback());
    reachable.next().ok_or_else(|| {
        "its master is on this host in host mode, and this host's own address is not known; set \
         `bind_address`, or name this host in `hosts`"
            .to_owned()
    })
}

/// Asks the source as its replicas would, over TCP and TLS: an answer also proves that it
/// serves, and that the accounts are there.
fn source_view(
    host: &Host,
    minion: &PlacedEntry,
    to: SocketAddr,
    cluster: &str,
) -> Result<SourceView, String> {
    let words = |error: &(dyn std::error::Error + 'static)| files::chain(error).join(": ");
    let key = &minion.key;
    let inside = match minion.entry.network.is_vlan() {
        true => Some(namespace(host, minion)?),
        false => None,
    };
    let way = Way { to, inside: inside.as_ref().map(identity).transpose()? };
    let deadline = Deadline::after(source_wait(host));
    if let Some(mut server) = host.sources.take(key, way)
        && let Ok(view) = server.source_view(deadline)
    {
        host.sources.keep(key, way, server);
        return Ok(view);
    }
    let fleet_key = FleetKey::read(&host.config.fleet_key).map_err(|error| words(&error))?;
    let password = fleet_key.password(cluster, Purpose::Check);
    let (ip, port, user) = (to.ip().to_string(), to.port(), Purpose::Check.user());
    let connected = match inside {
        Some(space) => Server::connect_tcp_in(space, &ip, port, user, &password, deadline),
        None => Server::connect_tcp(&ip, port, user, &password, deadline),
    };
    let mut server = connected.map_err(|error| words(&error))?;
    let view = server.source_view(deadline).map_err(|error| words(&error))?;
    host.sources.keep(key, way, server);
    Ok(view)
}

fn namespace(host: &Host, minion: &PlacedEntry) -> Result<File, String> {
    match Networks::new(&host.config).namespace_of(&minion.key) {
        Ok(Some(namespace)) => Ok(namespace),
        Ok(None) => Err("its own network is not there yet".to_owned()),
        Err(error) => Err(files::chain(&error).join(": ")),
    }
}

/// What tells one namespace from another (namespaces(7)). A connection that is kept keeps
/// its namespace, so the number is not given to another one meanwhile.
fn identity(namespace: &File) -> Result<(u64, u64), String> {
    let found = namespace.metadata().map_err(|error| error.to_string())?;
    Ok((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests;
