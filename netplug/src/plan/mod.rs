//! From what should be and what is there to steps. Pure.
//!
//! A [`Step`] carries every name, number and address it needs. The rules:
//! - removals come before additions, and nothing is removed that does not carry this
//!   owner's tag or stand inside the owner's own namespace;
//! - what is unknown removes nothing: the plan says why it is blocked, and holds only
//!   steps that are right whatever the unknown part turns out to be;
//! - a plan made again after all its steps took effect is empty.
//!
//! The address comes late, after the port: until it is set, nobody is answered, so that
//! it can be tried first without disturbing whoever has it.

mod build;
mod step;

use std::net::IpAddr;
use std::path::PathBuf;

use crate::lease::Lease;
use crate::name::{HostName, VlanId};
use crate::observe::{Observed, OuterLink, OwnerState};
use crate::ovsdb::{BridgeRow, PortRow, SwitchState};
use crate::rate::Rates;
use crate::tag::Tag;

use build::{Builder, Pair};
pub(crate) use step::{End, Step};

/// What an owner should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Desired {
    pub(crate) lease: Lease,
    pub(crate) tag: Tag,
    /// The name of the outer link and of the port.
    pub(crate) link: String,
    pub(crate) bridge: String,
    pub(crate) vlan: VlanId,
    pub(crate) prefix: u8,
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) mtu: u16,
    pub(crate) rates: Rates,
    /// A namespace that a running container lives in, should the pin be lost.
    pub(crate) live_namespace: Option<PathBuf>,
}

/// What to do, and what can't be done and why.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) blocked: Vec<String>,
}

impl Plan {
    fn blocked(reasons: Vec<String>) -> Self {
        Self { steps: Vec::new(), blocked: reasons }
    }
}

fn unknown<T>(what: &str, observed: &Observed<T>) -> Option<String> {
    match observed {
        Observed::Unknown(why) => Some(format!("{what} can't be read: {why}")),
        Observed::Present(_) | Observed::Absent => None,
    }
}

/// How to remove everything the owner has but its lease.
pub(crate) fn detach(observed: &OwnerState) -> Plan {
    let unknown: Vec<_> = [
        unknown("the switch", &observed.switch),
        unknown("the links", &observed.links),
        unknown("the namespace", &observed.namespace),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !unknown.is_empty() {
        return Plan::blocked(unknown);
    }
    let ports = observed.switch.present().map_or(&[][..], |switch| &switch.ports);
    let links = observed.links.present().map_or(&[][..], Vec::as_slice);
    let mut steps: Vec<_> = ports.iter().filter_map(remove_port).collect();
    steps.extend(links.iter().filter_map(remove_link));
    if observed.pin_file || observed.namespace.present().is_some() {
        steps.push(Step::RemoveNamespace);
    }
    Plan { steps, blocked: Vec::new() }
}

fn remove_port(port: &PortRow) -> Option<Step> {
    let tag = port.tag.clone()?;
    Some(Step::RemovePort { port: port.clone(), tag })
}

fn remove_link(link: &OuterLink) -> Option<Step> {
    Some(Step::RemoveLink { name: link.name.clone(), tag: link.tag.clone()? })
}

/// How to give the owner what it should have.
pub(crate) fn attach(desired: &Desired, host: &HostName, observed: &OwnerState) -> Plan {
    let unknown: Vec<_> =
        [unknown("the links", &observed.links), unknown("the namespace", &observed.namespace)]
            .into_iter()
            .flatten()
            .collect();
    if !unknown.is_empty() {
        return Plan::blocked(unknown);
    }
    let links = observed.links.present().map_or(&[][..], Vec::as_slice);
    let pair = Pair::of(desired, links, observed.namespace.present());
    let switch = match &observed.switch {
        Observed::Present(switch) => switch,
        Observed::Absent | Observed::Unknown(_) => {
            let reason = unknown_switch(&observed.switch);
            return Plan {
                steps: pair.map(|pair| pair.tune(desired)).unwrap_or_default(),
                blocked: vec![reason],
            };
        }
    };
    let foreign = foreign(desired, host, switch, links);
    if !foreign.is_empty() {
        return Plan::blocked(foreign);
    }
    // What a running container's namespace holds is seen once it is pinned.
    if observed.namespace == Observed::Absent && desired.live_namespace.is_some() {
        let from = desired.live_namespace.clone();
        return Plan { steps: vec![Step::PinNamespace { from }], blocked: Vec::new() };
    }
    Builder { desired, switch, links, namespace: observed.namespace.present(), pair }.build()
}

fn unknown_switch(switch: &Observed<SwitchState>) -> String {
    unknown("the switch", switch).unwrap_or_else(|| "the switch is not there".to_owned())
}

/// What stands in the way and is not ours.
fn foreign(
    desired: &Desired,
    host: &HostName,
    switch: &SwitchState,
    links: &[OuterLink],
) -> Vec<String> {
    let mut reasons = Vec::new();
    match &switch.bridge {
        None => reasons.push(format!("bridge {} is not there", desired.bridge)),
        Some(BridgeRow { host: Some(owner), .. }) if owner == host.as_str() => {}
        Some(BridgeRow { .. }) => reasons.push(format!("bridge {} is not ours", desired.bridge)),
    }
    let ports = switch.ports.iter().filter(|port| port.tag.is_none());
    reasons.extend(ports.map(|port| format!("port {} is there and is not ours", port.name)));
    let links = links.iter().filter(|link| link.tag.is_none());
    reasons.extend(links.map(|link| format!("link {} is there and is not ours", link.name)));
    reasons
}

#[cfg(test)]
mod tests;
