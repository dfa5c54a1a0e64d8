//! Addresses and default routes.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{NetlinkError, RouteSocket, absent_ok, present_ok};

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn address_message(index: u32, address: IpAddr, prefix: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = prefix;
    message.header.index = index;
    message.header.scope = AddressScope::Universe;
    message.attributes.push(AddressAttribute::Address(address));
    match address {
        IpAddr::V4(v4) => {
            message.attributes.push(AddressAttribute::Local(address));
            if prefix < 31 {
                let broadcast = v4.to_bits() | (u32::MAX >> prefix);
                let broadcast = Ipv4Addr::from_bits(broadcast);
                message.attributes.push(AddressAttribute::Broadcast(broadcast));
            }
        }
        // Whether it is a duplicate was tried before, by our own probe.
        IpAddr::V6(_) => {
            message.header.flags = AddressHeaderFlags::Nodad;
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
    }
    message
}

fn default_route(index: u32, gateway: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(gateway);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    let gateway = match gateway {
        IpAddr::V4(v4) => RouteAddress::Inet(v4),
        IpAddr::V6(v6) => RouteAddress::Inet6(v6),
    };
    message.attributes = vec![RouteAttribute::Gateway(gateway), RouteAttribute::Oif(index)];
    message
}

impl RouteSocket {
    /// The addresses of a link with their prefix lengths, link-local IPv6 left out.
    pub(crate) fn addresses(&mut self, index: u32) -> Result<Vec<(IpAddr, u8)>, NetlinkError> {
        let mut message = AddressMessage::default();
        message.header.index = index;
        let operation = format!("list the addresses of link {index}");
        let found = self.dump(operation, RouteNetlinkMessage::GetAddress(message))?;
        Ok(found.into_iter().filter_map(|message| address_of(message, index)).collect())
    }

    /// Adds an address; one that is there already is no error.
    pub(crate) fn add_address(
        &mut self,
        index: u32,
        address: IpAddr,
        prefix: u8,
    ) -> Result<(), NetlinkError> {
        let message = RouteNetlinkMessage::NewAddress(address_message(index, address, prefix));
        let operation = format!("add {address}/{prefix} to link {index}");
        self.change(operation, message, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Removes an address; one that isn't there is no error.
    pub(crate) fn remove_address(
        &mut self,
        index: u32,
        address: IpAddr,
        prefix: u8,
    ) -> Result<(), NetlinkError> {
        let message = RouteNetlinkMessage::DelAddress(address_message(index, address, prefix));
        let operation = format!("remove {address}/{prefix} from link {index}");
        absent_ok(self.change(operation, message, 0))
    }

    /// The gateways of the default routes through a link.
    pub(crate) fn gateways(&mut self, index: u32) -> Result<Vec<IpAddr>, NetlinkError> {
        let mut gateways = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            let operation = format!("list the routes of link {index}");
            let found = self.dump(operation, RouteNetlinkMessage::GetRoute(message))?;
            gateways.extend(found.into_iter().filter_map(|message| gateway_of(message, index)));
        }
        Ok(gateways)
    }

    /// Sets the default route; the same one there already is no error.
    pub(crate) fn add_gateway(&mut self, index: u32, gateway: IpAddr) -> Result<(), NetlinkError> {
        let message = RouteNetlinkMessage::NewRoute(default_route(index, gateway));
        let operation = format!("add the default route by {gateway}");
        present_ok(self.change(operation, message, NLM_F_CREATE))
    }

    /// Removes a default route; one that isn't there is no error.
    pub(crate) fn remove_gateway(
        &mut self,
        index: u32,
        gateway: IpAddr,
    ) -> Result<(), NetlinkError> {
        let message = RouteNetlinkMessage::DelRoute(default_route(index, gateway));
        absent_ok(self.change(format!("remove the default route by {gateway}"), message, 0))
    }
}

fn address_of(message: RouteNetlinkMessage, index: u32) -> Option<(IpAddr, u8)> {
    let RouteNetlinkMessage::NewAddress(message) = message else {
        return None;
    };
    if message.header.index != index || message.header.scope == AddressScope::Link {
        return None;
    }
    let find =
        |pick: fn(&AddressAttribute) -> Option<IpAddr>| message.attributes.iter().find_map(pick);
    // IFA_LOCAL is the address itself; IFA_ADDRESS is the other side of a point-to-point link.
    let address = find(|a| if let AddressAttribute::Local(ip) = a { Some(*ip) } else { None })
        .or_else(|| {
            find(|a| if let AddressAttribute::Address(ip) = a { Some(*ip) } else { None })
        })?;
    Some((address, message.header.prefix_len))
}

fn gateway_of(message: RouteNetlinkMessage, index: u32) -> Option<IpAddr> {
    let RouteNetlinkMessage::NewRoute(message) = message else {
        return None;
    };
    let through = message.attributes.contains(&RouteAttribute::Oif(index));
    if message.header.destination_prefix_length != 0 || !through {
        return None;
    }
    message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(v4)) => Some((*v4).into()),
        RouteAttribute::Gateway(RouteAddress::Inet6(v6)) => Some((*v6).into()),
        _ => None,
    })
}
