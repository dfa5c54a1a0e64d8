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

mod step;

use std::net::IpAddr;
use std::path::PathBuf;

use crate::addr::MacAddress;
use crate::lease::Lease;
use crate::name::{HostName, VlanId};
use crate::netlink::Shaper;
use crate::observe::{InnerLink, NamespaceState, Observed, OuterLink, OwnerState};
use crate::ovsdb::{BridgeRow, PortRow, SwitchState};
use crate::rate::Rates;
use crate::tag::Tag;

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
        Self {
            steps: Vec::new(),
            blocked: reasons,
        }
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
    let ports = observed
        .switch
        .present()
        .map_or(&[][..], |switch| &switch.ports);
    let links = observed.links.present().map_or(&[][..], Vec::as_slice);
    let mut steps: Vec<_> = ports.iter().filter_map(remove_port).collect();
    steps.extend(links.iter().filter_map(remove_link));
    if observed.pin_file || observed.namespace.present().is_some() {
        steps.push(Step::RemoveNamespace);
    }
    Plan {
        steps,
        blocked: Vec::new(),
    }
}

fn remove_port(port: &PortRow) -> Option<Step> {
    let tag = port.tag.clone()?;
    Some(Step::RemovePort {
        port: port.clone(),
        tag,
    })
}

fn remove_link(link: &OuterLink) -> Option<Step> {
    Some(Step::RemoveLink {
        name: link.name.clone(),
        tag: link.tag.clone()?,
    })
}

/// How to give the owner what it should have.
pub(crate) fn attach(desired: &Desired, host: &HostName, observed: &OwnerState) -> Plan {
    let unknown: Vec<_> = [
        unknown("the links", &observed.links),
        unknown("the namespace", &observed.namespace),
    ]
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
        return Plan {
            steps: vec![Step::PinNamespace { from }],
            blocked: Vec::new(),
        };
    }
    Builder {
        desired,
        switch,
        links,
        namespace: observed.namespace.present(),
        pair,
    }
    .build()
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
        Some(BridgeRow {
            host: Some(owner), ..
        }) if owner == host.as_str() => {}
        Some(BridgeRow { .. }) => reasons.push(format!("bridge {} is not ours", desired.bridge)),
    }
    let ports = switch.ports.iter().filter(|port| port.tag.is_none());
    reasons.extend(ports.map(|port| format!("port {} is there and is not ours", port.name)));
    let links = links.iter().filter(|link| link.tag.is_none());
    reasons.extend(links.map(|link| format!("link {} is there and is not ours", link.name)));
    reasons
}

/// Both ends of the veth pair, when they belong together and to this lease.
#[derive(Debug, Clone, Copy)]
struct Pair<'a> {
    outer: &'a OuterLink,
    inner: &'a InnerLink,
}

impl<'a> Pair<'a> {
    fn of(
        desired: &Desired,
        links: &'a [OuterLink],
        namespace: Option<&'a NamespaceState>,
    ) -> Option<Self> {
        let outer = links
            .iter()
            .find(|link| link.name == desired.link && link.tag.as_ref() == Some(&desired.tag))?;
        let inner = namespace?.inner.as_ref()?;
        (inner.peer == Some(outer.index)).then_some(Self { outer, inner })
    }

    /// What needs neither the switch nor the address.
    fn tune(self, desired: &Desired) -> Vec<Step> {
        let outer = || End::Outer(desired.link.clone());
        let (mac, mtu) = (MacAddress::of(desired.lease.address), desired.mtu);
        let mut steps = Vec::new();
        if self.outer.mtu != u32::from(mtu) {
            steps.push(Step::SetMtu { end: outer(), mtu });
        }
        if self.inner.mtu != u32::from(mtu) {
            steps.push(Step::SetMtu {
                end: End::Inner,
                mtu,
            });
        }
        if self.inner.mac != Some(mac) {
            steps.push(Step::SetMac { mac });
        }
        // Each end limits what it sends: the outer one what comes in.
        let rates = desired.rates;
        steps.extend(rate(
            outer(),
            rates.inbound.map(Shaper::of),
            self.outer.shaper,
        ));
        steps.extend(rate(
            End::Inner,
            rates.outbound.map(Shaper::of),
            self.inner.shaper,
        ));
        steps
    }
}

fn rate(end: End, desired: Option<Shaper>, present: Option<Shaper>) -> Option<Step> {
    match desired {
        _ if desired == present => None,
        Some(shaper) => Some(Step::SetRate { end, shaper }),
        None => Some(Step::ClearRate { end }),
    }
}

struct Builder<'a> {
    desired: &'a Desired,
    switch: &'a SwitchState,
    links: &'a [OuterLink],
    namespace: Option<&'a NamespaceState>,
    pair: Option<Pair<'a>>,
}

impl Builder<'_> {
    fn build(&self) -> Plan {
        let mut steps = self.remove();
        steps.extend(self.link());
        let port = self.port();
        let moved = self.pair.is_none() || port.iter().any(changes_place);
        steps.extend(port);
        steps.extend(self.limits());
        steps.extend(self.address(moved));
        if !self.desired.lease.confirmed {
            steps.push(Step::Confirm {
                lease: self.desired.lease.clone(),
            });
        }
        Plan {
            steps,
            blocked: Vec::new(),
        }
    }

    fn good_port(&self) -> Option<&PortRow> {
        let desired = self.desired;
        self.switch.ports.iter().find(|port| {
            // A port that was added before its link was is added again with it.
            self.pair.is_some()
                && port.error.is_none()
                && port.name == desired.link
                && port.bridge == desired.bridge
                && port.tag.as_ref() == Some(&desired.tag)
        })
    }

    fn remove(&self) -> Vec<Step> {
        let good_port = self.good_port();
        let ports = self
            .switch
            .ports
            .iter()
            .filter(|port| Some(*port) != good_port);
        let mut steps: Vec<_> = ports.filter_map(remove_port).collect();
        let good_link = self.pair.map(|pair| pair.outer);
        let links = self.links.iter().filter(|link| Some(*link) != good_link);
        steps.extend(links.filter_map(remove_link));
        if self.pair.is_none() && self.namespace.is_some_and(|space| space.inner.is_some()) {
            steps.push(Step::RemoveInner);
        }
        steps
    }

    fn link(&self) -> Vec<Step> {
        let Desired {
            lease,
            link,
            mtu,
            tag,
            ..
        } = self.desired;
        let outer = End::Outer(link.clone());
        let up = |end| Step::SetUp {
            end,
            address: lease.address,
        };
        let mut steps = Vec::new();
        if self.namespace.is_none() {
            steps.push(Step::PinNamespace { from: None });
        }
        if self.pair.is_none() {
            let (outer, tag) = (link.clone(), tag.clone());
            let mac = MacAddress::of(lease.address);
            steps.push(Step::CreateVeth {
                outer,
                mac,
                mtu: *mtu,
                tag,
            });
        }
        let userspace = self
            .switch
            .bridge
            .as_ref()
            .is_some_and(|bridge| bridge.userspace);
        if userspace && self.pair.is_none_or(|pair| pair.inner.tx_offload) {
            steps.push(Step::CompleteChecksums);
        }
        if !self.namespace.is_some_and(|space| space.loopback_up) {
            steps.push(Step::LoopbackUp);
        }
        if !self.pair.is_some_and(|pair| pair.outer.up) {
            steps.push(up(outer));
        }
        if !self.pair.is_some_and(|pair| pair.inner.up) {
            steps.push(up(End::Inner));
        }
        steps
    }

    fn port(&self) -> Vec<Step> {
        let Desired {
            bridge,
            link,
            vlan,
            tag,
            ..
        } = self.desired;
        let change = match self.good_port() {
            None => Some(Step::AddPort {
                bridge: bridge.clone(),
                name: link.clone(),
                vlan: *vlan,
                tag: tag.clone(),
            }),
            Some(port) if port.access != Some(vlan.get()) => Some(Step::SetVlan {
                port: link.clone(),
                vlan: *vlan,
                tag: tag.clone(),
            }),
            Some(_) => None,
        };
        let attached = self.good_port().is_some_and(|port| port.attached);
        if change.is_none() && attached && !self.unconfirmed_and_behind() {
            return Vec::new();
        }
        let wait = Step::AwaitPort {
            name: link.clone(),
            owner_tag: tag.clone(),
        };
        change.into_iter().chain([wait]).collect()
    }

    /// A port that may not have been applied yet. Once the lease is confirmed it was,
    /// and what else the switch has to do is others' business.
    fn unconfirmed_and_behind(&self) -> bool {
        self.switch.behind && !self.desired.lease.confirmed
    }

    fn limits(&self) -> Vec<Step> {
        match self.pair {
            Some(pair) => pair.tune(self.desired),
            None => {
                let rates = self.desired.rates;
                let outer = End::Outer(self.desired.link.clone());
                let outer = rate(outer, rates.inbound.map(Shaper::of), None);
                let inner = rate(End::Inner, rates.outbound.map(Shaper::of), None);
                outer.into_iter().chain(inner).collect()
            }
        }
    }

    fn address(&self, moved: bool) -> Vec<Step> {
        let (address, prefix) = (self.desired.lease.address, self.desired.prefix);
        let inner = self.pair.map(|pair| pair.inner);
        let (addresses, gateways) = inner.map_or((&[][..], &[][..]), |inner| {
            (&inner.addresses, &inner.gateways)
        });
        let mut steps = Vec::new();
        for (other, prefix) in addresses
            .iter()
            .filter(|found| **found != (address, prefix))
        {
            steps.push(Step::RemoveAddress {
                address: *other,
                prefix: *prefix,
            });
        }
        for gateway in gateways
            .iter()
            .filter(|found| Some(**found) != self.desired.gateway)
        {
            steps.push(Step::RemoveGateway { gateway: *gateway });
        }
        let missing = !addresses.contains(&(address, prefix));
        if missing {
            let from = MacAddress::for_probing(&self.desired.link);
            steps.push(Step::Probe { address, from });
            steps.push(Step::AddAddress { address, prefix });
        }
        // Removing an address takes the routes by it along.
        let gateway = self
            .desired
            .gateway
            .filter(|gateway| missing || !gateways.contains(gateway));
        steps.extend(gateway.map(|gateway| Step::AddGateway { gateway }));
        if missing || moved {
            steps.push(Step::Announce { address });
        }
        steps
    }
}

/// Whether neighbours and switches have to learn anew where the address is.
fn changes_place(step: &Step) -> bool {
    matches!(step, Step::AddPort { .. } | Step::SetVlan { .. })
}

#[cfg(test)]
mod tests;
