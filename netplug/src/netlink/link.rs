//! Links: lookup, veth pairs, names, tags, state.

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, Stats64,
};
use nix::errno::Errno;

use super::{NetlinkError, RouteSocket, absent_ok};
use crate::addr::MacAddress;

/// What the kernel says about one link.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mac: Option<MacAddress>,
    pub(crate) mtu: u32,
    pub(crate) up: bool,
    pub(crate) alias: Option<String>,
    /// The index of a veth's other end, in that end's namespace.
    pub(crate) peer: Option<u32>,
    pub(crate) stats: Option<Stats64>,
}

impl Link {
    fn of(message: LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            up: message.header.flags.contains(LinkFlags::Up),
            ..Self::default()
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
                LinkAttribute::Link(peer) => link.peer = Some(peer),
                LinkAttribute::Stats64(stats) => link.stats = Some(stats),
                LinkAttribute::Address(bytes) => {
                    link.mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(MacAddress);
                }
                _ => {}
            }
        }
        link
    }
}

/// A veth pair to create.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VethPair<'a> {
    pub(crate) inner: &'a str,
    pub(crate) mac: MacAddress,
    pub(crate) outer: &'a str,
    pub(crate) mtu: u16,
}

fn links(messages: Vec<RouteNetlinkMessage>) -> impl Iterator<Item = Link> {
    messages.into_iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewLink(message) => Some(Link::of(message)),
        _ => None,
    })
}

impl RouteSocket {
    /// The link of that name.
    pub(crate) fn link(&mut self, name: &str) -> Result<Option<Link>, NetlinkError> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match self.get(format!("look up link {name}"), RouteNetlinkMessage::GetLink(message)) {
            Ok(found) => Ok(links(found).next()),
            Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every link of the namespace.
    pub(crate) fn links(&mut self) -> Result<Vec<Link>, NetlinkError> {
        let message = RouteNetlinkMessage::GetLink(LinkMessage::default());
        self.dump("list the links", message).map(|found| links(found).collect())
    }

    /// Creates both ends of a veth pair in the socket's namespace.
    pub(crate) fn create_veth(&mut self, pair: VethPair<'_>) -> Result<(), NetlinkError> {
        let mtu = LinkAttribute::Mtu(pair.mtu.into());
        let mut outer = LinkMessage::default();
        outer.attributes = vec![LinkAttribute::IfName(pair.outer.to_owned()), mtu.clone()];
        let mut inner = LinkMessage::default();
        inner.attributes = vec![
            LinkAttribute::IfName(pair.inner.to_owned()),
            mtu,
            LinkAttribute::Address(pair.mac.0.to_vec()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(outer))),
            ]),
        ];
        let operation = format!("create the veth pair {} and {}", pair.inner, pair.outer);
        self.change(operation, RouteNetlinkMessage::NewLink(inner), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Sets the alias, which carries our tag.
    pub(crate) fn set_alias(&mut self, index: u32, alias: &str) -> Result<(), NetlinkError> {
        let attribute = LinkAttribute::IfAlias(alias.to_owned());
        self.set_link(format!("tag link {index}"), index, vec![attribute])
    }

    /// Moves a link to another namespace.
    pub(crate) fn move_link(
        &mut self,
        index: u32,
        namespace: BorrowedFd<'_>,
    ) -> Result<(), NetlinkError> {
        let attribute = LinkAttribute::NetNsFd(namespace.as_raw_fd());
        self.set_link(format!("move link {index} to its namespace"), index, vec![attribute])
    }

    /// Sets the MTU in bytes.
    pub(crate) fn set_mtu(&mut self, index: u32, mtu: u16) -> Result<(), NetlinkError> {
        let attribute = LinkAttribute::Mtu(mtu.into());
        self.set_link(format!("set the MTU of link {index} to {mtu}"), index, vec![attribute])
    }

    /// Sets the hardware address.
    pub(crate) fn set_mac(&mut self, index: u32, mac: MacAddress) -> Result<(), NetlinkError> {
        let attribute = LinkAttribute::Address(mac.0.to_vec());
        self.set_link(format!("set the address of link {index} to {mac}"), index, vec![attribute])
    }

    /// Brings a link up.
    pub(crate) fn set_up(&mut self, index: u32) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.change(format!("bring up link {index}"), RouteNetlinkMessage::SetLink(message), 0)
    }

    /// Deletes a link, and with a veth its other end. One that isn't there is no error.
    pub(crate) fn delete_link(&mut self, index: u32) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        let message = RouteNetlinkMessage::DelLink(message);
        absent_ok(self.change(format!("delete link {index}"), message, 0))
    }

    fn set_link(
        &mut self,
        operation: String,
        index: u32,
        attributes: Vec<LinkAttribute>,
    ) -> Result<(), NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes = attributes;
        self.change(operation, RouteNetlinkMessage::SetLink(message), 0)
    }
}
