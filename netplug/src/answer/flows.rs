//! From ports and leases to flows. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::addr::{MacAddress, fnv1a};
use crate::lease::Lease;
use crate::name::Owner;
use crate::openflow::{Actions, Cookies, Flow, Instructions, Match, field, port};
use crate::ovsdb::{PortRow, UplinkRow};

/// Where the requests are sorted by VLAN, which is where every packet begins.
const SORTING: u8 = 0;
/// Where they are answered. High, so that an operator's own tables have room below.
const ANSWERING: u8 = 100;
const FINISHING: u8 = 101;

/// Above the one flow (priority 0, NORMAL) of a bridge without a controller, below what an
/// operator adds without naming a priority (32768).
const SORT: u16 = 100;
const ANSWER: u16 = 100;
const LEAVE: u16 = 200;

/// "be" and "rth": the first 16 bits of each cookie of ours.
const MARK: u64 = 0xbe47 << 48;
const MARK_MASK: u64 = 0xffff << 48;
/// The next 28 bits tell the owner, the last 20 the flow.
const OWNER_MASK: u64 = 0x0fff_ffff << 20;
const FLOW_MASK: u64 = 0x000f_ffff;

const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];
const ARP_REQUEST: [u8; 2] = [0, 1];
const ARP_REPLY: [u8; 2] = [0, 2];
const ICMPV6: [u8; 1] = [58];
const SOLICITATION: [u8; 1] = [135];
const ADVERTISEMENT: [u8; 1] = [136];
const TARGET_LINK_LAYER_ADDRESS: [u8; 1] = [2];
/// Flags of an advertisement that answers: solicited and override (RFC 4861 section 4.4).
const SOLICITED_OVERRIDE: [u8; 4] = [0x60, 0, 0, 0];
/// "There is a tag" in a VLAN field, and no VLAN at all.
const TAGGED: u16 = 0x1000;
const UNTAGGED: [u8; 2] = [0, 0];

/// All flows of ours.
pub(super) fn ours() -> Cookies {
    Cookies { value: MARK, mask: MARK_MASK }
}

/// All flows of one owner. Another owner's hash may be the same (one in 2^28): then its
/// flows go too, requests for it are flooded, and the next pass brings them back.
pub(crate) fn of_owner(owner: &Owner) -> Cookies {
    Cookies { value: MARK | owner_bits(owner.as_str()), mask: MARK_MASK | OWNER_MASK }
}

fn owner_bits(owner: &str) -> u64 {
    (fnv1a(owner.as_bytes()) << 20) & OWNER_MASK
}

/// What the bridge's own flows carry in place of an owner: no owner has an empty name.
const NOBODY: &str = "";

/// What flows follow from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) bridge: &'a str,
    pub(super) ports: &'a [PortRow],
    pub(super) leases: &'a BTreeMap<&'a Owner, &'a Lease>,
    pub(super) uplink: Option<&'a UplinkRow>,
}

impl Wanted<'_> {
    /// The flows, those first that others lead to.
    pub(super) fn flows(&self) -> Vec<Flow> {
        let pass_on = Instructions::default().apply(Actions::default().output(port::NORMAL));
        let mut flows = vec![flow(NOBODY, ANSWERING, 0, Match::default(), pass_on)];
        let mut sorting = Vec::new();
        for place in self.ports.iter().filter_map(|row| self.place(row)) {
            flows.extend(place.answers());
            sorting.extend(place.sorted());
        }
        sorting.extend(
            self.uplink
                .filter(|row| row.bridge == self.bridge)
                .map(of_uplink)
                .into_iter()
                .flatten(),
        );
        flows.extend(sorting);
        flows
    }

    /// Where an address is, once it is in service there.
    fn place(&self, row: &PortRow) -> Option<Place> {
        let tag = row.tag.as_ref()?;
        let lease = self.leases.get(&tag.owner).filter(|lease| {
            lease.confirmed && lease.address == tag.address && lease.generation == tag.generation
        })?;
        let (port, vlan) = (row.number?, row.access?);
        let on_bridge = row.bridge == self.bridge && row.error.is_none();
        on_bridge.then(|| Place {
            owner: tag.owner.as_str().to_owned(),
            address: lease.address,
            mac: MacAddress::of(lease.address),
            port,
            vlan,
        })
    }
}

/// An address and the port it is at.
struct Place {
    owner: String,
    address: IpAddr,
    mac: MacAddress,
    port: u32,
    vlan: u16,
}

impl Place {
    /// Notes the VLAN of the port's requests.
    fn sorted(&self) -> Vec<Flow> {
        let request = match self.address {
            IpAddr::V4(_) => arp_broadcast(self.port, &UNTAGGED, None),
            IpAddr::V6(_) => solicitation_multicast(self.port, &UNTAGGED, None),
        };
        let noted = Instructions::default().note(self.vlan.into()).goto(ANSWERING);
        vec![flow(&self.owner, SORTING, SORT, request, noted)]
    }

    fn answers(&self) -> Vec<Flow> {
        match self.address {
            IpAddr::V4(address) => self.arp_answers(address),
            IpAddr::V6(address) => self.advertisements(address),
        }
    }

    fn in_vlan(&self) -> Match {
        Match::default().with(field::METADATA, &u64::from(self.vlan).to_be_bytes())
    }

    fn left(&self, matches: Match) -> Flow {
        let normal = Instructions::default().apply(Actions::default().output(port::NORMAL));
        flow(&self.owner, ANSWERING, LEAVE, matches, normal)
    }

    fn arp_answers(&self, address: Ipv4Addr) -> Vec<Flow> {
        let asked = |matches: Match| {
            matches
                .with(field::ETH_TYPE, &ARP)
                .with(field::ARP_OP, &ARP_REQUEST)
                .with(field::ARP_TPA, &address.octets())
        };
        let own = self.in_vlan().with(field::IN_PORT, &self.port.to_be_bytes());
        let announced = asked(self.in_vlan()).with(field::ARP_SPA, &address.octets());
        let answer = Actions::default()
            .copy(field::ETH_SRC, field::ETH_DST, 48)
            .set(field::ETH_SRC, &self.mac.0)
            .set(field::ARP_OP, &ARP_REPLY)
            .copy(field::ARP_SHA, field::ARP_THA, 48)
            .copy(field::ARP_SPA, field::ARP_TPA, 32)
            .set(field::ARP_SHA, &self.mac.0)
            .set(field::ARP_SPA, &address.octets())
            .output(port::IN_PORT);
        let answer = Instructions::default().apply(answer);
        vec![
            self.left(asked(own)),
            self.left(announced),
            flow(&self.owner, ANSWERING, ANSWER, asked(self.in_vlan()), answer),
        ]
    }

    /// The link-layer address can be set once the solicitation is an advertisement, which
    /// the bridge believes in the next table.
    fn advertisements(&self, address: Ipv6Addr) -> Vec<Flow> {
        let message = |matches: Match, kind: &[u8]| {
            matches
                .with(field::ETH_TYPE, &IPV6)
                .with(field::IP_PROTO, &ICMPV6)
                .with(field::ICMPV6_TYPE, kind)
                .with(field::ICMPV6_CODE, &[0])
                .with(field::ND_TARGET, &address.octets())
        };
        let asked = |matches: Match| message(matches, &SOLICITATION);
        let own = self.in_vlan().with(field::IN_PORT, &self.port.to_be_bytes());
        // One without its sender's link-layer address is a probe, and has no place for ours.
        let probe = asked(self.in_vlan()).with(field::ND_SLL, &[0; 6]);
        let turn = Actions::default()
            .copy(field::ETH_SRC, field::ETH_DST, 48)
            .set(field::ETH_SRC, &self.mac.0)
            .copy(field::IPV6_SRC, field::IPV6_DST, 128)
            .set(field::IPV6_SRC, &address.octets())
            .set(field::ND_OPTIONS_TYPE, &TARGET_LINK_LAYER_ADDRESS)
            .set(field::ND_RESERVED, &SOLICITED_OVERRIDE)
            .set(field::ICMPV6_TYPE, &ADVERTISEMENT);
        let turn = Instructions::default().apply(turn).goto(FINISHING);
        let finish = Actions::default().set(field::ND_TLL, &self.mac.0).output(port::IN_PORT);
        let finish = Instructions::default().apply(finish);
        let turned = message(self.in_vlan(), &ADVERTISEMENT);
        vec![
            flow(&self.owner, FINISHING, ANSWER, turned, finish),
            self.left(asked(own)),
            self.left(probe),
            flow(&self.owner, ANSWERING, ANSWER, asked(self.in_vlan()), turn),
        ]
    }
}

/// Notes the VLAN of requests that come over the uplink, of those VLANs that it carries.
fn of_uplink(row: &UplinkRow) -> Vec<Flow> {
    let Some(port) = row.number else { return Vec::new() };
    let mut flows = Vec::new();
    let mut sort = |vlan: [u8; 2], mask: Option<&[u8]>, noted: Instructions| {
        let noted = noted.goto(ANSWERING);
        let arp = arp_broadcast(port, &vlan, mask);
        let solicitation = solicitation_multicast(port, &vlan, mask);
        flows.push(flow(NOBODY, SORTING, SORT, arp, noted.clone()));
        flows.push(flow(NOBODY, SORTING, SORT, solicitation, noted));
    };
    if row.trunks.is_empty() {
        let tag = Actions::default().copy(field::VLAN_VID, field::METADATA, 12);
        let noted = Instructions::default().apply(tag);
        sort(TAGGED.to_be_bytes(), Some(&TAGGED.to_be_bytes()), noted);
    }
    for vlan in &row.trunks {
        let noted = Instructions::default().note((*vlan).into());
        sort((TAGGED | vlan).to_be_bytes(), None, noted);
    }
    flows
}

fn from(port: u32) -> Match {
    Match::default().with(field::IN_PORT, &port.to_be_bytes())
}

fn in_vlan(matches: Match, vlan: &[u8], mask: Option<&[u8]>) -> Match {
    match mask {
        Some(mask) => matches.masked(field::VLAN_VID, vlan, mask),
        None => matches.with(field::VLAN_VID, vlan),
    }
}

fn arp_broadcast(port: u32, vlan: &[u8], mask: Option<&[u8]>) -> Match {
    let to_all = from(port).with(field::ETH_DST, &[0xff; 6]).with(field::ETH_TYPE, &ARP);
    in_vlan(to_all, vlan, mask).with(field::ARP_OP, &ARP_REQUEST)
}

/// To a solicited-node group (RFC 4291 section 2.7.1, RFC 2464 section 7).
fn solicitation_multicast(port: u32, vlan: &[u8], mask: Option<&[u8]>) -> Match {
    let to_group = from(port)
        .masked(field::ETH_DST, &[0x33, 0x33, 0xff, 0, 0, 0], &[0xff, 0xff, 0xff, 0, 0, 0])
        .with(field::ETH_TYPE, &IPV6);
    in_vlan(to_group, vlan, mask)
        .with(field::IP_PROTO, &ICMPV6)
        .with(field::ICMPV6_TYPE, &SOLICITATION)
}

fn flow(owner: &str, table: u8, priority: u16, matches: Match, instructions: Instructions) -> Flow {
    let flow = Flow { cookie: 0, table, priority, matches, instructions };
    let cookie = MARK | owner_bits(owner) | (flow.digest() & FLOW_MASK);
    Flow { cookie, ..flow }
}

/// What has to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Cookies of flows that nothing asks for.
    pub(crate) remove: BTreeSet<u64>,
    /// Flows that are missing.
    pub(crate) add: Vec<Flow>,
}

impl Difference {
    pub(super) fn between(present: &BTreeSet<u64>, wanted: Vec<Flow>) -> Self {
        let cookies: BTreeSet<u64> = wanted.iter().map(|flow| flow.cookie).collect();
        let remove = present.difference(&cookies).copied().collect();
        let add = wanted.into_iter().filter(|flow| !present.contains(&flow.cookie)).collect();
        Self { remove, add }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }

    /// What it is in words, if it is anything.
    pub(crate) fn words(&self) -> Option<String> {
        let (add, remove) = (self.add.len(), self.remove.len());
        (!self.is_empty()).then(|| {
            format!("answer for addresses: {add} flows are missing, {remove} are too many")
        })
    }

    pub(super) fn removals(&self) -> Vec<Cookies> {
        self.remove.iter().map(|cookie| Cookies { value: *cookie, mask: u64::MAX }).collect()
    }
}

#[cfg(test)]
mod tests;
