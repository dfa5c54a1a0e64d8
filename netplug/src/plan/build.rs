//! The steps of an attach, once nothing stands in the way. Pure.

use crate::addr::MacAddress;
use crate::netlink::Shaper;
use crate::observe::{InnerLink, NamespaceState, OuterLink};
use crate::ovsdb::{PortRow, SwitchState};

use super::{Desired, End, Plan, Step, remove_link, remove_port};

/// Both ends of the veth pair, when they belong together and to this lease.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair<'a> {
    pub(super) outer: &'a OuterLink,
    pub(super) inner: &'a InnerLink,
}

impl<'a> Pair<'a> {
    pub(super) fn of(
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
    pub(super) fn tune(self, desired: &Desired) -> Vec<Step> {
        let outer = || End::Outer(desired.link.clone());
        let (mac, mtu) = (MacAddress::of(desired.lease.address), desired.mtu);
        let mut steps = Vec::new();
        if self.outer.mtu != u32::from(mtu) {
            steps.push(Step::SetMtu { end: outer(), mtu });
        }
        if self.inner.mtu != u32::from(mtu) {
            steps.push(Step::SetMtu { end: End::Inner, mtu });
        }
        if self.inner.mac != Some(mac) {
            steps.push(Step::SetMac { mac });
        }
        // Each end limits what it sends: the outer one what comes in.
        let rates = desired.rates;
        steps.extend(rate(outer(), rates.inbound.map(Shaper::of), self.outer.shaper));
        steps.extend(rate(End::Inner, rates.outbound.map(Shaper::of), self.inner.shaper));
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

/// What there is to plan with, once nothing stands in the way.
pub(super) struct Builder<'a> {
    pub(super) desired: &'a Desired,
    pub(super) switch: &'a SwitchState,
    pub(super) links: &'a [OuterLink],
    pub(super) namespace: Option<&'a NamespaceState>,
    pub(super) pair: Option<Pair<'a>>,
}

impl Builder<'_> {
    /// The steps, in their order.
    pub(super) fn build(&self) -> Plan {
        let mut steps = self.remove();
        steps.extend(self.link());
        let port = self.port();
        let moved = self.pair.is_none() || port.iter().any(changes_place);
        steps.extend(port);
        steps.extend(self.limits());
        steps.extend(self.address(moved));
        if !self.desired.lease.confirmed {
            steps.push(Step::Confirm { lease: self.desired.lease.clone() });
        }
        Plan { steps, blocked: Vec::new() }
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
        let ports = self.switch.ports.iter().filter(|port| Some(*port) != good_port);
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
        let Desired { lease, link, mtu, tag, .. } = self.desired;
        let outer = End::Outer(link.clone());
        let up = |end| Step::SetUp { end, address: lease.address };
        let mut steps = Vec::new();
        if self.namespace.is_none() {
            steps.push(Step::PinNamespace { from: None });
        }
        if self.pair.is_none() {
            let (outer, tag) = (link.clone(), tag.clone());
            let mac = MacAddress::of(lease.address);
            steps.push(Step::CreateVeth { outer, mac, mtu: *mtu, tag });
        }
        let userspace = self.switch.bridge.as_ref().is_some_and(|bridge| bridge.userspace);
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
        let Desired { bridge, link, vlan, tag, .. } = self.desired;
        let change = match self.good_port() {
            None => Some(Step::AddPort {
                bridge: bridge.clone(),
                name: link.clone(),
                vlan: *vlan,
                tag: tag.clone(),
            }),
            Some(port) if port.access != Some(vlan.get()) => {
                Some(Step::SetVlan { port: link.clone(), vlan: *vlan, tag: tag.clone() })
            }
            Some(_) => None,
        };
        let attached = self.good_port().is_some_and(|port| port.number.is_some());
        if change.is_none() && attached && !self.unconfirmed_and_behind() {
            return Vec::new();
        }
        let wait = Step::AwaitPort { name: link.clone(), owner_tag: tag.clone() };
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
        let (addresses, gateways) =
            inner.map_or((&[][..], &[][..]), |inner| (&inner.addresses, &inner.gateways));
        let mut steps = Vec::new();
        for (other, prefix) in addresses.iter().filter(|found| **found != (address, prefix)) {
            steps.push(Step::RemoveAddress { address: *other, prefix: *prefix });
        }
        for gateway in gateways.iter().filter(|found| Some(**found) != self.desired.gateway) {
            steps.push(Step::RemoveGateway { gateway: *gateway });
        }
        let missing = !addresses.contains(&(address, prefix));
        if missing {
            let from = MacAddress::for_probing(&self.desired.link);
            steps.push(Step::Probe { address, from });
            steps.push(Step::AddAddress { address, prefix });
        }
        // Removing an address takes the routes by it along.
        let gateway = self.desired.gateway.filter(|gateway| missing || !gateways.contains(gateway));
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
