//! Flows as bytes. Pure.
//!
//! Section numbers are those of the OpenFlow Switch Specification 1.3.5.

use crate::addr::fnv1a;

/// Headers of match fields: class, field, length of the value (section 7.2.3.2).
pub(crate) mod field {
    const fn basic(field: u32, length: u32) -> u32 {
        0x8000_0000 | field << 9 | length
    }

    pub(crate) const IN_PORT: u32 = basic(0, 4);
    pub(crate) const METADATA: u32 = basic(2, 8);
    pub(crate) const ETH_DST: u32 = basic(3, 6);
    pub(crate) const ETH_SRC: u32 = basic(4, 6);
    pub(crate) const ETH_TYPE: u32 = basic(5, 2);
    pub(crate) const VLAN_VID: u32 = basic(6, 2);
    pub(crate) const IP_PROTO: u32 = basic(10, 1);
    pub(crate) const ARP_OP: u32 = basic(21, 2);
    pub(crate) const ARP_SPA: u32 = basic(22, 4);
    pub(crate) const ARP_TPA: u32 = basic(23, 4);
    pub(crate) const ARP_SHA: u32 = basic(24, 6);
    pub(crate) const ARP_THA: u32 = basic(25, 6);
    pub(crate) const IPV6_SRC: u32 = basic(26, 16);
    pub(crate) const IPV6_DST: u32 = basic(27, 16);
    pub(crate) const ICMPV6_TYPE: u32 = basic(29, 1);
    pub(crate) const ICMPV6_CODE: u32 = basic(30, 1);
    pub(crate) const ND_TARGET: u32 = basic(31, 16);
    pub(crate) const ND_SLL: u32 = basic(32, 6);
    pub(crate) const ND_TLL: u32 = basic(33, 6);
    // Open vSwitch's own (ovs-fields(7): nd_reserved, nd_options_type).
    pub(crate) const ND_RESERVED: u32 = 0x1000_0204;
    pub(crate) const ND_OPTIONS_TYPE: u32 = 0x1000_0401;
}

/// Reserved port numbers (section 7.2.1).
pub(crate) mod port {
    pub(crate) const IN_PORT: u32 = 0xffff_fff8;
    pub(crate) const NORMAL: u32 = 0xffff_fffa;
}

const ANY: u32 = u32::MAX;
const NO_BUFFER: u32 = u32::MAX;
const ALL_TABLES: u8 = 0xff;
const ADD: u8 = 0;
const DELETE: u8 = 3;

/// What packets a flow is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Match(Vec<u8>);

impl Match {
    /// With this value of a field.
    pub(crate) fn with(mut self, header: u32, value: &[u8]) -> Self {
        self.0.extend(header.to_be_bytes());
        self.0.extend(value);
        self
    }

    /// With this value in those bits of a field.
    pub(crate) fn masked(mut self, header: u32, value: &[u8], mask: &[u8]) -> Self {
        // The length doubles, and the bit above it says that there is a mask.
        let header = (header + (header & 0xff)) | 0x100;
        self.0.extend(header.to_be_bytes());
        self.0.extend(value);
        self.0.extend(mask);
        self
    }

    /// As `struct ofp_match` (section 7.2.3), with its padding.
    fn bytes(&self) -> Vec<u8> {
        let length = u16::try_from(self.0.len() + 4).expect("a match of a few fields");
        let mut bytes = vec![0, 1];
        bytes.extend(length.to_be_bytes());
        bytes.extend(&self.0);
        pad(&mut bytes);
        bytes
    }
}

/// What is done to a packet, in order (section 7.2.5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Actions(Vec<u8>);

impl Actions {
    /// Sets a whole field.
    pub(crate) fn set(mut self, header: u32, value: &[u8]) -> Self {
        let mut field = header.to_be_bytes().to_vec();
        field.extend(value);
        // The padding is counted in.
        field.resize((field.len() + 4).next_multiple_of(8) - 4, 0);
        let length = u16::try_from(field.len() + 4).expect("a field is short");
        self.0.extend([0, 25]);
        self.0.extend(length.to_be_bytes());
        self.0.extend(field);
        self
    }

    /// Copies that many low bits of a field to another's (`NXAST_REG_MOVE`,
    /// ovs-actions(7)).
    pub(crate) fn copy(mut self, from: u32, to: u32, bits: u16) -> Self {
        self.0.extend([0xff, 0xff, 0, 24, 0, 0, 0x23, 0x20, 0, 6]);
        self.0.extend(bits.to_be_bytes());
        self.0.extend([0; 4]);
        self.0.extend(from.to_be_bytes());
        self.0.extend(to.to_be_bytes());
        self
    }

    /// Sends it out of a port.
    pub(crate) fn output(mut self, port: u32) -> Self {
        self.0.extend([0, 0, 0, 16]);
        self.0.extend(port.to_be_bytes());
        self.0.extend([0; 8]);
        self
    }
}

/// What a flow does (section 7.2.4).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Instructions(Vec<u8>);

impl Instructions {
    /// Does these at once.
    pub(crate) fn apply(mut self, actions: Actions) -> Self {
        let length = u16::try_from(actions.0.len() + 8).expect("a few actions");
        self.0.extend([0, 4]);
        self.0.extend(length.to_be_bytes());
        self.0.extend([0; 4]);
        self.0.extend(actions.0);
        self
    }

    /// Notes a number for later tables.
    pub(crate) fn note(mut self, metadata: u64) -> Self {
        self.0.extend([0, 2, 0, 24, 0, 0, 0, 0]);
        self.0.extend(metadata.to_be_bytes());
        self.0.extend(u64::MAX.to_be_bytes());
        self
    }

    /// Goes on in a later table.
    pub(crate) fn goto(mut self, table: u8) -> Self {
        self.0.extend([0, 1, 0, 8, table, 0, 0, 0]);
        self
    }
}

/// Which cookies are meant: those that are `value` in the bits of `mask`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cookies {
    pub(crate) value: u64,
    pub(crate) mask: u64,
}

/// One flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) cookie: u64,
    pub(crate) table: u8,
    pub(crate) priority: u16,
    pub(crate) matches: Match,
    pub(crate) instructions: Instructions,
}

impl Flow {
    /// A hash of everything but the cookie.
    pub(crate) fn digest(&self) -> u64 {
        fnv1a(&self.modification(ADD, Cookies { value: 0, mask: 0 }))
    }

    /// The body of the message that adds it, or replaces the flow with the same match.
    pub(super) fn addition(&self) -> Vec<u8> {
        self.modification(ADD, Cookies { value: self.cookie, mask: 0 })
    }

    /// The body of `struct ofp_flow_mod` (section 7.3.4.1).
    fn modification(&self, command: u8, cookies: Cookies) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend(cookies.value.to_be_bytes());
        bytes.extend(cookies.mask.to_be_bytes());
        bytes.extend([self.table, command]);
        // It stays until it is removed.
        bytes.extend([0; 4]);
        bytes.extend(self.priority.to_be_bytes());
        for number in [NO_BUFFER, ANY, ANY] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend([0; 4]);
        bytes.extend(self.matches.bytes());
        bytes.extend(&self.instructions.0);
        bytes
    }
}

/// The body of the message that removes flows.
pub(super) fn removal(cookies: Cookies) -> Vec<u8> {
    let all = Flow {
        cookie: 0,
        table: ALL_TABLES,
        priority: 0,
        matches: Match::default(),
        instructions: Instructions::default(),
    };
    all.modification(DELETE, cookies)
}

/// The body of the request for all flows with such cookies (sections 7.3.5 and 7.3.5.2).
pub(super) fn listing(cookies: Cookies) -> Vec<u8> {
    let mut bytes = vec![0, 1, 0, 0, 0, 0, 0, 0, ALL_TABLES, 0, 0, 0];
    bytes.extend(ANY.to_be_bytes());
    bytes.extend(ANY.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(cookies.value.to_be_bytes());
    bytes.extend(cookies.mask.to_be_bytes());
    bytes.extend(Match::default().bytes());
    bytes
}

/// The cookies in the body of one part of the answer; `None` if it is malformed.
pub(super) fn listed(part: &[u8]) -> Option<Vec<u64>> {
    let mut cookies = Vec::new();
    let mut rest = part;
    while !rest.is_empty() {
        let length = u16::from_be_bytes(rest.get(..2)?.try_into().ok()?);
        cookies.push(u64::from_be_bytes(rest.get(24..32)?.try_into().ok()?));
        rest = rest.get(usize::from(length).max(32)..)?;
    }
    Some(cookies)
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(8), 0);
}

#[cfg(test)]
mod tests;
