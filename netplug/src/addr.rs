//! Subnets, ranges of addresses, and the names and hardware addresses made of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// FNV-1a, 64 bits: short, stable names out of longer ones. Nothing here relies on it
/// against an adversary.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// An address as a number, for comparing and stepping within one family.
pub(crate) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address after this one, or `None` after the family's last.
pub(crate) fn next(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => v4.to_bits().checked_add(1).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(v6) => v6.to_bits().checked_add(1).map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

/// Why a subnet or a range was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("found {found:?}, expected {expected}")]
pub struct AddressError {
    /// The text.
    pub found: String,
    /// What it should have been.
    pub expected: String,
}

/// A network and its prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subnet {
    network: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// The network's address.
    #[must_use]
    pub fn network(self) -> IpAddr {
        self.network
    }

    /// The prefix length in bits.
    #[must_use]
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether the address is inside.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.network.is_ipv4()
            && (number(address) ^ number(self.network)) & !self.host_mask() == 0
    }

    /// Whether the two share an address.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.network) || other.contains(self.network)
    }

    /// All addresses that a host may have: without the network's and the broadcast
    /// address (IPv4, up to /30), without the routers' anycast address (IPv6, up to
    /// /126, RFC 4291 section 2.6.1).
    #[must_use]
    pub fn hosts(self) -> AddressRange {
        let first = number(self.network);
        let last = first | self.host_mask();
        let host_bits = self.width() - self.prefix;
        let (first, last) = match self.network {
            _ if host_bits < 2 => (first, last),
            IpAddr::V4(_) => (first + 1, last - 1),
            IpAddr::V6(_) => (first + 1, last),
        };
        AddressRange { first: self.address(first), last: self.address(last) }
    }

    fn width(self) -> u8 {
        if self.network.is_ipv4() { 32 } else { 128 }
    }

    fn host_mask(self) -> u128 {
        let host_bits = u32::from(self.width() - self.prefix);
        if host_bits == 128 { u128::MAX } else { (1 << host_bits) - 1 }
    }

    fn address(self, number: u128) -> IpAddr {
        match self.network {
            IpAddr::V4(_) => {
                let bits = u32::try_from(number).expect("an IPv4 subnet holds 32-bit numbers");
                Ipv4Addr::from_bits(bits).into()
            }
            IpAddr::V6(_) => Ipv6Addr::from_bits(number).into(),
        }
    }
}

impl FromStr for Subnet {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |expected: String| AddressError { found: text.to_owned(), expected };
        let form = || refuse("an address and a prefix length, such as \"10.20.0.0/22\"".to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(form)?;
        let network: IpAddr = address.parse().map_err(|_| form())?;
        let prefix: u8 = prefix.parse().map_err(|_| form())?;
        let subnet = Self { network, prefix };
        if prefix == 0 || prefix > subnet.width() {
            return Err(refuse(format!("a prefix length from 1 to {}", subnet.width())));
        }
        let start = subnet.address(number(network) & !subnet.host_mask());
        if start != network {
            return Err(refuse(format!("the network's own address, {start}/{prefix}")));
        }
        Ok(subnet)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

/// Addresses from `first` to `last`, both included, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// The lowest address.
    #[must_use]
    pub fn first(self) -> IpAddr {
        self.first
    }

    /// The highest address.
    #[must_use]
    pub fn last(self) -> IpAddr {
        self.last
    }

    /// Whether the address is inside.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4()
            && (number(self.first)..=number(self.last)).contains(&number(address))
    }

    /// Whether the two share an address.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }

    /// How many addresses it has.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a range has at least one address")]
    pub fn len(self) -> u128 {
        (number(self.last) - number(self.first)).saturating_add(1)
    }

    /// Both as one, if they share an address.
    pub(crate) fn join(self, other: Self) -> Option<Self> {
        self.overlaps(other).then(|| Self {
            first: if number(self.first) < number(other.first) { self.first } else { other.first },
            last: if number(self.last) > number(other.last) { self.last } else { other.last },
        })
    }

    /// How many addresses the two share.
    #[must_use]
    pub fn shared(self, other: Self) -> u128 {
        if !self.overlaps(other) {
            return 0;
        }
        let first = number(self.first).max(number(other.first));
        number(self.last).min(number(other.last)) - first + 1
    }
}

impl FromStr for AddressRange {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse =
            |expected: &str| AddressError { found: text.to_owned(), expected: expected.to_owned() };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (Ok(first), Ok(last)) = (first.parse::<IpAddr>(), last.parse::<IpAddr>()) else {
            return Err(refuse("an address or first-last, such as \"10.20.0.10-10.20.0.99\""));
        };
        if first.is_ipv4() != last.is_ipv4() {
            return Err(refuse("both addresses of one family"));
        }
        if number(first) > number(last) {
            return Err(refuse("the lower address first"));
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// The hardware address of the container that holds `address`.
    ///
    /// It follows from the address alone, so that an address which moves between hosts
    /// keeps it and no neighbour's cache goes stale. IPv4: `02:be` and the address; IPv6:
    /// `06` and 40 bits of a hash. Both are locally administered unicast addresses.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                Self([0x02, 0xbe, a, b, c, d])
            }
            IpAddr::V6(v6) => {
                let [_, _, _, a, b, c, d, e] = fnv1a(&v6.octets()).to_be_bytes();
                Self([0x06, a, b, c, d, e])
            }
        }
    }

    /// The hardware address that asks whether an address is taken, on behalf of a link.
    ///
    /// Not the one that the address will have: whoever has the address may have that one
    /// too, and switches would send us what is theirs, and the answer back to them.
    pub(crate) fn for_probing(link: &str) -> Self {
        let [_, _, _, a, b, c, d, e] = fnv1a(link.as_bytes()).to_be_bytes();
        Self([0x0a, a, b, c, d, e])
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests;
