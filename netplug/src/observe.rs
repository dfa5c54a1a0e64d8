//! What is there: one value per owner, gathered before anything is planned.
//!
//! A probe that fails gives [`Observed::Unknown`] with the reason, which never counts
//! as absent. Nothing here changes anything.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs::File;
use std::net::IpAddr;

use crate::addr::MacAddress;
use crate::ethtool;
use crate::name::{HostName, Owner};
use crate::netlink::{Link, NetlinkError, Root, RouteSocket, Shaper};
use crate::netns::{self, Pins};
use crate::ovsdb::{OvsdbError, SwitchState};
use crate::tag::Tag;

/// The container's end of the veth pair, inside its namespace.
pub(crate) const INNER: &str = "eth0";
const LOOPBACK: &str = "lo";

/// What a probe brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Observed<T> {
    /// It is there.
    Present(T),
    /// It is not there, for certain.
    Absent,
    /// It can't be told, and why.
    Unknown(String),
}

impl<T> Observed<T> {
    /// The value, if it is there.
    pub(crate) fn present(&self) -> Option<&T> {
        match self {
            Self::Present(value) => Some(value),
            Self::Absent | Self::Unknown(_) => None,
        }
    }
}

/// A link in the host's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OuterLink {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mtu: u32,
    pub(crate) up: bool,
    pub(crate) tag: Option<Tag>,
    pub(crate) shaper: Option<Shaper>,
}

/// The container's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamespaceState {
    pub(crate) loopback_up: bool,
    pub(crate) inner: Option<InnerLink>,
}

/// The container's end of the veth pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InnerLink {
    pub(crate) index: u32,
    /// The index of the other end.
    pub(crate) peer: Option<u32>,
    pub(crate) mac: Option<MacAddress>,
    pub(crate) mtu: u32,
    pub(crate) up: bool,
    /// Whether checksums are left to offload.
    pub(crate) tx_offload: bool,
    pub(crate) addresses: Vec<(IpAddr, u8)>,
    pub(crate) gateways: Vec<IpAddr>,
    pub(crate) shaper: Option<Shaper>,
}

/// Everything that concerns one owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnerState {
    pub(crate) switch: Observed<SwitchState>,
    /// Whatever carries the owner's tag, or has the name that its link should have.
    pub(crate) links: Observed<Vec<OuterLink>>,
    /// Whether the file for the pin is there, mounted on or not.
    pub(crate) pin_file: bool,
    pub(crate) namespace: Observed<NamespaceState>,
}

/// An error and all its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The links of the host's namespace.
#[derive(Debug)]
pub(crate) struct HostLinks {
    host: HostName,
    by_owner: BTreeMap<Owner, Vec<Link>>,
    by_name: BTreeMap<String, Link>,
    roots: BTreeMap<u32, Root>,
}

impl HostLinks {
    /// Reads all links and what limits them.
    pub(crate) fn read(host: &HostName, route: &mut RouteSocket) -> Result<Self, NetlinkError> {
        let (mut by_owner, mut by_name) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::new());
        for link in route.links()? {
            let tag = link.alias.as_deref().and_then(Tag::from_alias);
            if let Some(tag) = tag.filter(|tag| tag.host == *host) {
                by_owner.entry(tag.owner.clone()).or_default().push(link.clone());
            }
            by_name.insert(link.name.clone(), link);
        }
        Ok(Self { host: host.clone(), by_owner, by_name, roots: route.root_qdiscs()? })
    }

    /// Our links by owner, with their root queueing disciplines.
    pub(crate) fn ours(&self) -> impl Iterator<Item = (&Owner, &Link, Option<&Root>)> {
        self.by_owner.iter().flat_map(move |(owner, links)| {
            links.iter().map(move |link| (owner, link, self.roots.get(&link.index)))
        })
    }

    /// The names of the owner's links.
    pub(crate) fn names(&self, owner: &Owner) -> BTreeSet<String> {
        let ours = self.by_owner.get(owner).into_iter().flatten();
        ours.map(|link| link.name.clone()).collect()
    }

    /// Whatever carries the owner's tag, or has this name.
    pub(crate) fn of(&self, owner: &Owner, name: Option<&str>) -> Vec<OuterLink> {
        let ours = self.by_owner.get(owner).map_or(&[][..], Vec::as_slice);
        let ours = ours.iter();
        let named = name.and_then(|name| self.by_name.get(name));
        let links: BTreeMap<_, _> =
            named.into_iter().chain(ours).map(|link| (link.index, link)).collect();
        let seen =
            |link: &&Link| outer(&self.host, owner, (*link).clone(), self.roots.get(&link.index));
        links.values().map(seen).collect()
    }
}

/// The links of these names, each looked up by itself: a reading of all links fails
/// while others come and go.
pub(crate) fn links_named(
    host: &HostName,
    owner: &Owner,
    names: &BTreeSet<String>,
    route: &mut RouteSocket,
) -> Result<Vec<OuterLink>, NetlinkError> {
    let mut links = Vec::new();
    for name in names {
        if let Some(link) = route.link(name)? {
            let root = route.root_qdisc(link.index)?;
            links.push(outer(host, owner, link, root.as_ref()));
        }
    }
    Ok(links)
}

fn outer(host: &HostName, owner: &Owner, link: Link, root: Option<&Root>) -> OuterLink {
    let tag = link.alias.as_deref().and_then(Tag::from_alias);
    OuterLink {
        index: link.index,
        name: link.name,
        mtu: link.mtu,
        up: link.up,
        tag: tag.filter(|tag| tag.host == *host && tag.owner == *owner),
        shaper: root.and_then(|root| root.shaper),
    }
}

/// What is there for one owner.
pub(crate) fn owner(
    owner: &Owner,
    switch: Observed<SwitchState>,
    links: Result<Vec<OuterLink>, String>,
    pins: &Pins,
) -> OwnerState {
    let namespace = match pins.open(owner) {
        Ok(Some(file)) => match inspect(&file) {
            Ok(state) => Observed::Present(state),
            Err(why) => Observed::Unknown(why),
        },
        Ok(None) => Observed::Absent,
        Err(error) => Observed::Unknown(chain(&error)),
    };
    let links = links.map_or_else(Observed::Unknown, Observed::Present);
    OwnerState { switch, links, pin_file: pins.file_exists(owner), namespace }
}

/// The switch as far as it could be read.
pub(crate) fn switch(read: Result<SwitchState, OvsdbError>) -> Observed<SwitchState> {
    match read {
        Ok(state) => Observed::Present(state),
        Err(error) => Observed::Unknown(chain(&error)),
    }
}

fn inspect(namespace: &File) -> Result<NamespaceState, String> {
    let read = netns::inside(namespace, || {
        // Both need a socket of this namespace; with no such link there is no offload.
        let offload = ethtool::tx_offload(INNER).unwrap_or(false);
        RouteSocket::open().and_then(|mut route| inspect_links(&mut route, offload))
    });
    match read {
        Ok(Ok(state)) => Ok(state),
        Ok(Err(error)) => Err(chain(&error)),
        Err(error) => Err(chain(&error)),
    }
}

fn inspect_links(
    route: &mut RouteSocket,
    tx_offload: bool,
) -> Result<NamespaceState, NetlinkError> {
    let loopback_up = route.link(LOOPBACK)?.is_some_and(|link| link.up);
    let inner = match route.link(INNER)? {
        None => None,
        Some(link) => Some(InnerLink {
            index: link.index,
            peer: link.peer,
            mac: link.mac,
            mtu: link.mtu,
            up: link.up,
            tx_offload,
            addresses: route.addresses(link.index)?,
            gateways: route.gateways(link.index)?,
            shaper: route.root_qdiscs()?.remove(&link.index).and_then(|root| root.shaper),
        }),
    };
    Ok(NamespaceState { loopback_up, inner })
}
