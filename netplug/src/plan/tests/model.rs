//! A model of the kernel and the switch that takes steps, and any state it may be in.
//! It refuses what the real ones would refuse.

use std::net::IpAddr;

use proptest::prelude::*;

use crate::addr::MacAddress;
use crate::lease::{Generation, Lease};
use crate::name::{HostName, Owner, PoolName, VlanId};
use crate::netlink::Shaper;
use crate::observe::{InnerLink, NamespaceState, Observed, OuterLink, OwnerState};
use crate::ovsdb::{BridgeRow, PortRow, SwitchState};
use crate::plan::{Desired, End, Step};
use crate::rate::{BitRate, Rates};
use crate::tag::Tag;

pub(super) const LINK: &str = "be000000000001";
const OLD_LINK: &str = "be000000000000";

pub(super) fn host() -> HostName {
    HostName::new("h1").expect("a good name")
}

pub(super) fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, last])
}

pub(super) fn tag(owner: &str, last: u8, generation: u64) -> Tag {
    Tag::from_parts("h1", owner, &format!("10.0.0.{last}/{generation}")).expect("a good tag")
}

pub(super) fn desired(confirmed: bool, inbound: Option<u64>, outbound: Option<u64>) -> Desired {
    let lease = Lease {
        address: ip(5),
        owner: Owner::new("db1").expect("a good name"),
        generation: Generation(7),
        pool: PoolName::new("p").expect("a good name"),
        confirmed,
    };
    let rate = |bits: Option<u64>| bits.and_then(|bits| BitRate::from_bits_per_second(bits).ok());
    Desired {
        tag: Tag::of(&host(), &lease),
        lease,
        link: LINK.to_owned(),
        bridge: "br".to_owned(),
        vlan: VlanId::new(10).expect("a good VLAN"),
        prefix: 24,
        gateway: Some(ip(1)),
        mtu: 1500,
        rates: Rates { inbound: rate(inbound), outbound: rate(outbound) },
        live_namespace: None,
    }
}

/// What the kernel and the switch do with a step; panics where they would refuse.
pub(super) fn apply(state: &mut OwnerState, confirmed: &mut bool, step: &Step) {
    let OwnerState { switch: Observed::Present(switch), links: Observed::Present(links), .. } =
        state
    else {
        panic!("a step without knowledge: {step}")
    };
    match step {
        Step::RemovePort { port, tag } => {
            assert_eq!(port.tag.as_ref(), Some(tag), "a port that is not ours");
            switch.ports.retain(|other| other.uuid != port.uuid);
        }
        Step::RemoveLink { name, tag } => {
            let gone = links.iter().find(|link| link.name == *name).expect("a link").clone();
            assert_eq!(gone.tag.as_ref(), Some(tag), "a link that is not ours");
            links.retain(|link| link.index != gone.index);
            if let Observed::Present(space) = &mut state.namespace {
                // The other end vanishes with it.
                space.inner = space.inner.take().filter(|inner| inner.peer != Some(gone.index));
            }
        }
        Step::RemoveNamespace => {
            state.pin_file = false;
            state.namespace = Observed::Absent;
        }
        Step::PinNamespace { .. } => {
            state.pin_file = true;
            state.namespace = Observed::Present(NamespaceState { loopback_up: false, inner: None });
        }
        Step::CreateVeth { outer, mac, mtu, tag } => {
            assert!(links.iter().all(|link| link.name != *outer), "the name is taken");
            let index = links.iter().map(|link| link.index).max().unwrap_or(100) + 1;
            links.push(OuterLink {
                index,
                name: outer.clone(),
                mtu: (*mtu).into(),
                up: false,
                tag: Some(tag.clone()),
                shaper: None,
            });
            let Observed::Present(space) = &mut state.namespace else { panic!("no namespace") };
            assert_eq!(space.inner, None, "the container has a link already");
            space.inner = Some(InnerLink {
                index: 2,
                peer: Some(index),
                mac: Some(*mac),
                mtu: (*mtu).into(),
                up: false,
                tx_offload: true,
                addresses: Vec::new(),
                gateways: Vec::new(),
                shaper: None,
            });
        }
        Step::RemoveInner => {
            let Observed::Present(space) = &mut state.namespace else { panic!("no namespace") };
            space.inner = None;
        }
        Step::LoopbackUp => {
            let Observed::Present(space) = &mut state.namespace else { panic!("no namespace") };
            space.loopback_up = true;
        }
        Step::AddPort { bridge, name, vlan, tag } => {
            assert!(switch.ports.iter().all(|port| port.name != *name), "the name is taken");
            assert!(links.iter().any(|link| link.name == *name && link.up), "no link for the port");
            switch.ports.push(PortRow {
                uuid: format!("new {name}"),
                name: name.clone(),
                bridge: bridge.clone(),
                access: Some(vlan.get()),
                tag: Some(tag.clone()),
                number: None,
                error: None,
            });
        }
        Step::SetVlan { port, vlan, .. } => {
            let row = switch.ports.iter_mut().find(|row| row.name == *port).expect("a port");
            row.access = Some(vlan.get());
        }
        Step::AwaitPort { name, .. } => {
            switch.behind = false;
            let row = switch.ports.iter_mut().find(|row| row.name == *name).expect("a port");
            row.number = Some(7);
        }
        Step::Confirm { .. } => *confirmed = true,
        Step::Announce { .. } | Step::Probe { .. } => {}
        inner => apply_to_link(state, inner),
    }
}

fn apply_to_link(state: &mut OwnerState, step: &Step) {
    let Observed::Present(links) = &mut state.links else { panic!("the links are unknown") };
    let Observed::Present(space) = &mut state.namespace else { panic!("no namespace") };
    let mut outer =
        |name: &str| links.iter_mut().position(|link| link.name == name).expect("a link");
    let inner = space.inner.as_mut().expect("the container's link");
    match step {
        Step::SetMtu { end: End::Inner, mtu } => inner.mtu = (*mtu).into(),
        Step::SetMac { mac } => inner.mac = Some(*mac),
        Step::SetUp { end: End::Inner, .. } => inner.up = true,
        Step::CompleteChecksums => inner.tx_offload = false,
        Step::SetRate { end: End::Inner, shaper } => inner.shaper = Some(*shaper),
        Step::ClearRate { end: End::Inner } => inner.shaper = None,
        Step::RemoveAddress { address, prefix } => {
            inner.addresses.retain(|found| found != &(*address, *prefix));
            // The kernel drops routes whose gateway is no longer reachable.
            inner.gateways.retain(|_| !inner.addresses.is_empty());
        }
        Step::RemoveGateway { gateway } => inner.gateways.retain(|found| found != gateway),
        Step::AddAddress { address, prefix } => inner.addresses.push((*address, *prefix)),
        Step::AddGateway { gateway } => {
            assert!(!inner.addresses.is_empty(), "the gateway is not reachable");
            inner.gateways.push(*gateway);
        }
        Step::SetMtu { end: End::Outer(name), mtu } => {
            let at = outer(name);
            links[at].mtu = (*mtu).into();
        }
        Step::SetUp { end: End::Outer(name), .. } => {
            let at = outer(name);
            links[at].up = true;
        }
        Step::SetRate { end: End::Outer(name), shaper } => {
            let at = outer(name);
            links[at].shaper = Some(*shaper);
        }
        Step::ClearRate { end: End::Outer(name) } => {
            let at = outer(name);
            links[at].shaper = None;
        }
        other => panic!("not a step on a link: {other}"),
    }
}

fn shaper() -> impl Strategy<Value = Option<Shaper>> {
    prop::option::of(prop::sample::select(vec![1_000_000, 5_000_000])).prop_map(|bits| {
        bits.map(|bits| Shaper::of(BitRate::from_bits_per_second(bits).expect("a good rate")))
    })
}

/// Tags of this owner's present and earlier leases.
fn own_tag() -> impl Strategy<Value = Tag> {
    prop::sample::select(vec![tag("db1", 5, 7), tag("db1", 5, 6), tag("db1", 9, 3)])
}

fn ports() -> impl Strategy<Value = Vec<PortRow>> {
    let bridge = prop::sample::select(vec!["br", "other"]);
    let access = prop::option::of(prop::sample::select(vec![10, 20]));
    let error = prop::option::of(Just("no such device".to_owned()));
    let port = (bridge, access, own_tag(), any::<bool>(), error);
    prop::collection::btree_map(prop::sample::select(vec![LINK, OLD_LINK]), port, 0..=2).prop_map(
        |ports| {
            let row =
                |(name, (bridge, access, tag, attached, error)): (&str, (_, _, _, bool, _))| {
                    let bridge: &str = bridge;
                    PortRow {
                        uuid: format!("old {name}"),
                        name: name.to_owned(),
                        bridge: bridge.to_owned(),
                        access,
                        tag: Some(tag),
                        number: attached.then_some(7),
                        error,
                    }
                };
            ports.into_iter().map(row).collect()
        },
    )
}

fn links() -> impl Strategy<Value = Vec<OuterLink>> {
    let link = (prop::sample::select(vec![1500, 9000]), any::<bool>(), own_tag(), shaper());
    prop::collection::btree_map(prop::sample::select(vec![LINK, OLD_LINK]), link, 0..=2).prop_map(
        |links| {
            let numbered = links.into_iter().zip(40..);
            let row = |((name, (mtu, up, tag, shaper)), index): ((&str, _), u32)| OuterLink {
                index,
                name: name.to_owned(),
                mtu,
                up,
                tag: Some(tag),
                shaper,
            };
            numbered.map(row).collect()
        },
    )
}

fn inner() -> impl Strategy<Value = InnerLink> {
    let address = prop::sample::select(vec![(ip(5), 24), (ip(5), 16), (ip(9), 24)]);
    let addresses = prop::collection::btree_set(address, 0..3);
    let gateways = prop::collection::btree_set(prop::sample::select(vec![ip(1), ip(2)]), 0..2);
    let place = (prop::sample::select(vec![40, 41, 99]), prop::sample::select(vec![1500, 9000]));
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (addresses, gateways, place, flags, shaper()).prop_map(
        |(addresses, gateways, (peer, mtu), (up, tx_offload, mac), shaper)| InnerLink {
            index: 2,
            peer: Some(peer),
            mac: mac.then(|| MacAddress::of(ip(5))),
            mtu,
            up,
            tx_offload,
            gateways: gateways.into_iter().filter(|_| !addresses.is_empty()).collect(),
            addresses: addresses.into_iter().collect(),
            shaper,
        },
    )
}

pub(super) fn bridge(host: Option<&str>) -> BridgeRow {
    BridgeRow { name: "br".to_owned(), host: host.map(str::to_owned), userspace: true }
}

/// Any state in which everything is known and ours.
pub(super) fn state() -> impl Strategy<Value = OwnerState> {
    let space = (any::<bool>(), prop::option::of(inner()))
        .prop_map(|(loopback_up, inner)| NamespaceState { loopback_up, inner });
    let space = prop::option::of(space);
    (ports(), any::<bool>(), links(), space, any::<bool>()).prop_map(
        |(ports, behind, links, space, pin_file)| OwnerState {
            switch: Observed::Present(SwitchState {
                bridge: Some(bridge(Some("h1"))),
                ports,
                behind,
            }),
            links: Observed::Present(links),
            pin_file: pin_file || space.is_some(),
            namespace: space.map_or(Observed::Absent, Observed::Present),
        },
    )
}

pub(super) fn goal() -> impl Strategy<Value = Desired> {
    let rate = || prop::option::of(prop::sample::select(vec![1_000_000, 8_000_000]));
    (any::<bool>(), rate(), rate()).prop_map(|(confirmed, i, o)| desired(confirmed, i, o))
}

pub(super) fn empty() -> OwnerState {
    OwnerState {
        switch: Observed::Present(SwitchState {
            bridge: Some(bridge(Some("h1"))),
            ports: Vec::new(),
            behind: false,
        }),
        links: Observed::Present(Vec::new()),
        pin_file: false,
        namespace: Observed::Absent,
    }
}
