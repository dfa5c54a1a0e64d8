//! The frames, as bytes. Pure.
//!
//! ARP: RFC 826 and RFC 5227. Neighbour discovery: RFC 4861.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::addr::MacAddress;

const BROADCAST: MacAddress = MacAddress([0xff; 6]);
const NOBODY: MacAddress = MacAddress([0; 6]);
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERNET: usize = 14;
const ARP_REQUEST: u16 = 1;
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
const OVERRIDE: u8 = 0x20;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The protocol in which claims on this address come.
pub(super) fn ethertype(address: IpAddr) -> u16 {
    if address.is_ipv4() { ETHERTYPE_ARP } else { ETHERTYPE_IPV6 }
}

/// The question whether anybody has `address`.
pub(super) fn probe(address: IpAddr, mac: MacAddress) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => arp_request(mac, Ipv4Addr::UNSPECIFIED, v4),
        IpAddr::V6(v6) => {
            let [.., a, b, c] = v6.octets();
            let group = Ipv6Addr::new(
                0xff02,
                0,
                0,
                0,
                0,
                1,
                0xff00 | u16::from(a),
                u16::from_be_bytes([b, c]),
            );
            let mut body = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
            body.extend(v6.octets());
            icmpv6(mac, Ipv6Addr::UNSPECIFIED, group, body)
        }
    }
}

/// The news that `address` is at `mac`.
pub(super) fn announcement(address: IpAddr, mac: MacAddress) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => arp_request(mac, v4, v4),
        IpAddr::V6(v6) => {
            let mut body = vec![ADVERTISEMENT, 0, 0, 0, OVERRIDE, 0, 0, 0];
            body.extend(v6.octets());
            body.extend([TARGET_LINK_LAYER_ADDRESS, 1]);
            body.extend(mac.0);
            icmpv6(mac, v6, ALL_NODES, body)
        }
    }
}

/// Whether a frame shows that somebody has, or is about to take, `address`: the
/// hardware address it came from.
///
/// A probe from `ours` is our own, sent back by a loop, and no claim; an answer can't be
/// ours, because we have not taken the address yet.
pub(super) fn claims(frame: &[u8], address: IpAddr, ours: MacAddress) -> Option<MacAddress> {
    let from = MacAddress(frame.get(6..12)?.try_into().ok()?);
    let ethertype = u16::from_be_bytes(frame.get(12..ETHERNET)?.try_into().ok()?);
    let body = frame.get(ETHERNET..)?;
    let claim = match (address, ethertype) {
        (IpAddr::V4(v4), ETHERTYPE_ARP) => arp_claim(body, v4)?,
        (IpAddr::V6(v6), ETHERTYPE_IPV6) => icmpv6_claim(body, v6)?,
        _ => return None,
    };
    match claim {
        Claim::Has => Some(from),
        Claim::Asks => (from != ours).then_some(from),
    }
}

enum Claim {
    Has,
    Asks,
}

fn arp_claim(body: &[u8], address: Ipv4Addr) -> Option<Claim> {
    // Ethernet and IPv4, with addresses of 6 and 4 bytes.
    if body.get(..6)? != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    let operation = u16::from_be_bytes(body.get(6..8)?.try_into().ok()?);
    let sender: [u8; 4] = body.get(14..18)?.try_into().ok()?;
    let target: [u8; 4] = body.get(24..28)?.try_into().ok()?;
    if sender == address.octets() {
        return Some(Claim::Has);
    }
    let probes = operation == ARP_REQUEST && sender == [0; 4] && target == address.octets();
    probes.then_some(Claim::Asks)
}

fn icmpv6_claim(body: &[u8], address: Ipv6Addr) -> Option<Claim> {
    let (header, message) = body.split_at_checked(40)?;
    let source: [u8; 16] = header.get(8..24)?.try_into().ok()?;
    // RFC 4861 section 7.1: neighbour discovery has not passed a router.
    if header.get(6..8)? != [ICMPV6, 255] || message.get(8..24)? != address.octets() {
        return None;
    }
    match *message.first()? {
        ADVERTISEMENT => Some(Claim::Has),
        SOLICITATION if source == [0; 16] => Some(Claim::Asks),
        _ => None,
    }
}

fn ethernet(to: MacAddress, from: MacAddress, ethertype: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(96);
    frame.extend(to.0);
    frame.extend(from.0);
    frame.extend(ethertype.to_be_bytes());
    frame
}

fn arp_request(mac: MacAddress, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, mac, ETHERTYPE_ARP);
    frame.extend([0, 1, 8, 0, 6, 4]);
    frame.extend(ARP_REQUEST.to_be_bytes());
    frame.extend(mac.0);
    frame.extend(sender.octets());
    frame.extend(NOBODY.0);
    frame.extend(target.octets());
    frame
}

fn icmpv6(mac: MacAddress, source: Ipv6Addr, group: Ipv6Addr, mut body: Vec<u8>) -> Vec<u8> {
    let checksum = checksum(source, group, &body);
    body[2..4].copy_from_slice(&checksum.to_be_bytes());
    let [.., a, b, c, d] = group.octets();
    // RFC 2464 section 7: a group's hardware address.
    let mut frame = ethernet(MacAddress([0x33, 0x33, a, b, c, d]), mac, ETHERTYPE_IPV6);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(u16::try_from(body.len()).expect("a message of a few bytes").to_be_bytes());
    frame.extend([ICMPV6, 255]);
    frame.extend(source.octets());
    frame.extend(group.octets());
    frame.extend(body);
    frame
}

/// RFC 4443 section 2.3; `body` has zeros where the checksum goes.
fn checksum(source: Ipv6Addr, group: Ipv6Addr, body: &[u8]) -> u16 {
    let length = u32::try_from(body.len()).expect("a message of a few bytes");
    let mut bytes = Vec::with_capacity(40 + body.len());
    bytes.extend(source.octets());
    bytes.extend(group.octets());
    bytes.extend(length.to_be_bytes());
    bytes.extend([0, 0, 0, ICMPV6]);
    bytes.extend(body);
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).expect("the carry was folded in")
}

#[cfg(test)]
mod tests;
