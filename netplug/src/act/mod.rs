//! Runs the steps of a plan, one owner's at a time. It decides nothing: each step says
//! what to do by name and number, and each can be repeated.

mod error;

use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::Path;

pub use error::StepError;

use crate::addr::MacAddress;
use crate::config::Config;
use crate::deadline::Deadline;
use crate::ethtool;
use crate::failpoint::{Failpoint, hit};
use crate::lease::{Lease, LeaseStore};
use crate::name::Owner;
use crate::neighbour::{self, NeighbourError};
use crate::netlink::{Link, NetlinkError, RouteSocket, Shaper, VethPair};
use crate::netns::{self, Pins};
use crate::observe::INNER;
use crate::ovsdb::{Client, NewPort, PortRow, Switch};
use crate::plan::{End, Step};
use crate::tag::Tag;

/// What steps need to be run with.
#[derive(Debug)]
pub(crate) struct Executor<'a> {
    pub(crate) config: &'a Config,
    pub(crate) owner: &'a Owner,
    pub(crate) pins: &'a Pins,
    pub(crate) leases: &'a LeaseStore,
    pub(crate) client: &'a mut Client,
    pub(crate) route: &'a mut RouteSocket,
}

impl Executor<'_> {
    /// Does one step.
    pub(crate) fn run(&mut self, step: &Step) -> Result<(), StepError> {
        match step {
            Step::RemovePort { port, tag } => self.remove_port(port, tag),
            Step::RemoveLink { name, tag } => self.remove_link(name, tag),
            Step::RemoveInner => self.remove_inner(),
            Step::RemoveNamespace => self.remove_namespace(),
            Step::PinNamespace { from } => {
                self.pins.pin(self.owner, from.as_deref()).map_err(StepError::Netns)
            }
            Step::CreateVeth { outer, mac, mtu, tag } => {
                self.create_veth(VethPair { inner: INNER, mac: *mac, outer, mtu: *mtu }, tag)
            }
            Step::SetMtu { end, mtu } => self.on(end, |route, index| route.set_mtu(index, *mtu)),
            Step::SetMac { mac } => self.on(&End::Inner, |route, index| route.set_mac(index, *mac)),
            Step::CompleteChecksums => {
                let set = self.inside(|| ethtool::set_tx_offload(INNER, false))?;
                set.map_err(StepError::Offload)
            }
            Step::SetUp { end, address } => self.set_up(end, *address),
            Step::LoopbackUp => self.inside(loopback_up)?.map_err(StepError::Netlink),
            Step::AddPort { bridge, name, vlan, tag } => {
                self.add_port(NewPort { bridge, name, vlan: *vlan, tag })
            }
            Step::SetVlan { port, vlan, tag } => {
                self.switch().set_vlan(port, tag, *vlan).map(drop).map_err(StepError::Ovsdb)
            }
            Step::AwaitPort { name, owner_tag } => self.await_port(name, owner_tag),
            Step::SetRate { end, shaper } => self.limit(end, Some(*shaper)),
            Step::ClearRate { end } => self.limit(end, None),
            Step::RemoveAddress { address, prefix } => {
                self.on(&End::Inner, |route, index| route.remove_address(index, *address, *prefix))
            }
            Step::RemoveGateway { gateway } => {
                self.on(&End::Inner, |route, index| route.remove_gateway(index, *gateway))
            }
            Step::Probe { address, from } => self.probe(*address, *from),
            Step::AddAddress { address, prefix } => self.add_address(*address, *prefix),
            Step::AddGateway { gateway } => self.add_gateway(*gateway),
            Step::Announce { address } => self.announce(*address),
            Step::Confirm { lease } => self.confirm(lease),
        }
    }

    fn switch(&mut self) -> Switch<'_> {
        Switch {
            client: self.client,
            host: &self.config.host,
            deadline: Deadline::after(self.config.timeouts.database),
        }
    }

    fn namespace(&self) -> Result<File, StepError> {
        let what = || format!("the namespace of {}", self.owner);
        let found = self.pins.open(self.owner).map_err(StepError::Netns)?;
        found.ok_or_else(|| StepError::Vanished { what: what() })
    }

    /// Runs `work` inside the owner's namespace.
    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, StepError> {
        netns::inside(&self.namespace()?, work).map_err(StepError::Netns)
    }

    /// Runs `work` on one end of the veth pair.
    fn on(
        &mut self,
        end: &End,
        work: impl FnOnce(&mut RouteSocket, u32) -> Result<(), NetlinkError> + Send,
    ) -> Result<(), StepError> {
        let End::Outer(name) = end else {
            let done = self.inside(|| {
                let mut route = RouteSocket::open()?;
                let link = route.link(INNER)?;
                link.map(|link| work(&mut route, link.index)).transpose()
            })?;
            return done.map_err(StepError::Netlink)?.ok_or_else(inner_vanished);
        };
        let index = self.outer(name)?.index;
        work(self.route, index).map_err(StepError::Netlink)
    }

    fn remove_port(&mut self, port: &PortRow, tag: &Tag) -> Result<(), StepError> {
        self.switch().remove_port(port, tag).map_err(StepError::Ovsdb)?;
        hit(Failpoint::PortRemoved);
        Ok(())
    }

    fn remove_namespace(&self) -> Result<(), StepError> {
        self.pins.unpin(self.owner).map_err(StepError::Netns)?;
        hit(Failpoint::NamespaceRemoved);
        Ok(())
    }

    fn add_port(&mut self, new: NewPort<'_>) -> Result<(), StepError> {
        self.switch().add_port(new).map_err(StepError::Ovsdb)?;
        hit(Failpoint::PortAdded);
        Ok(())
    }

    fn limit(&mut self, end: &End, shaper: Option<Shaper>) -> Result<(), StepError> {
        self.on(end, |route, index| match shaper {
            Some(shaper) => route.set_shaper(index, shaper),
            None => route.remove_shaper(index),
        })?;
        hit(Failpoint::RatesSet);
        Ok(())
    }

    fn add_address(&mut self, address: IpAddr, prefix: u8) -> Result<(), StepError> {
        self.on(&End::Inner, |route, index| route.add_address(index, address, prefix))?;
        hit(Failpoint::AddressSet);
        Ok(())
    }

    fn add_gateway(&mut self, gateway: IpAddr) -> Result<(), StepError> {
        self.on(&End::Inner, |route, index| route.add_gateway(index, gateway))?;
        hit(Failpoint::RoutesSet);
        Ok(())
    }

    fn confirm(&self, lease: &Lease) -> Result<(), StepError> {
        self.leases.confirm(lease).map_err(StepError::Lease)?;
        hit(Failpoint::LeaseConfirmed);
        Ok(())
    }

    /// The container's link may have gone with its other end.
    fn remove_inner(&self) -> Result<(), StepError> {
        let removed = self.inside(|| {
            let mut route = RouteSocket::open()?;
            match route.link(INNER)? {
                Some(link) => route.delete_link(link.index),
                None => Ok(()),
            }
        })?;
        removed.map_err(StepError::Netlink)
    }

    /// The outer link of that name, as long as it is tagged for this owner.
    fn outer(&mut self, name: &str) -> Result<Link, StepError> {
        let found = self.route.link(name).map_err(StepError::Netlink)?;
        let of_owner = |link: &Link| {
            let tag = link.alias.as_deref().and_then(Tag::from_alias);
            tag.is_some_and(|tag| tag.host == self.config.host && tag.owner == *self.owner)
        };
        let what = || format!("link {name}");
        found.filter(of_owner).ok_or_else(|| StepError::Vanished { what: what() })
    }

    fn remove_link(&mut self, name: &str, tag: &Tag) -> Result<(), StepError> {
        let found = self.route.link(name).map_err(StepError::Netlink)?;
        let alias = tag.to_string();
        if let Some(link) = found.filter(|link| link.alias.as_deref() == Some(&*alias)) {
            self.route.delete_link(link.index).map_err(StepError::Netlink)?;
        }
        hit(Failpoint::VethRemoved);
        Ok(())
    }

    /// Creates both ends where only ours can be, tags the outer one there, and moves it
    /// out: no link without a tag is ever seen in the host's namespace.
    fn create_veth(&self, pair: VethPair<'_>, tag: &Tag) -> Result<(), StepError> {
        let host = netns::own().map_err(StepError::Netns)?;
        let created = self.inside(|| {
            let mut route = RouteSocket::open()?;
            route.create_veth(pair)?;
            hit(Failpoint::VethCreated);
            let Some(outer) = route.link(pair.outer)? else {
                return Ok(false);
            };
            route.set_alias(outer.index, &tag.to_string())?;
            hit(Failpoint::VethTagged);
            route.move_link(outer.index, host.as_fd())?;
            hit(Failpoint::VethMoved);
            Ok(true)
        })?;
        match created.map_err(StepError::Netlink)? {
            true => Ok(()),
            false => Err(StepError::Vanished { what: format!("link {}", pair.outer) }),
        }
    }

    fn set_up(&mut self, end: &End, address: IpAddr) -> Result<(), StepError> {
        match end {
            // The switch moves its packets; the host itself must not speak on it.
            End::Outer(name) => ipv6_setting(name, "disable_ipv6", "1")?,
            End::Inner => self.inside(|| inner_settings(address))??,
        }
        self.on(end, |route, index| route.set_up(index))
    }

    fn await_port(&mut self, name: &str, tag: &Tag) -> Result<(), StepError> {
        let wanted = self.switch().poke().map_err(StepError::Ovsdb)?;
        let mut patient =
            Switch { deadline: Deadline::after(self.config.timeouts.apply), ..self.switch() };
        patient.wait_applied(wanted).map_err(StepError::Ovsdb)?;
        let bridge = &self.config.bridge.name;
        let seen =
            self.switch().ports(bridge, Some((&tag.owner, name))).map_err(StepError::Ovsdb)?;
        let port = seen.ports.into_iter().find(|port| port.name == name);
        let vanished = || StepError::Vanished { what: format!("port {name}") };
        let port = port.filter(|port| port.tag.as_ref() == Some(tag)).ok_or_else(vanished)?;
        match port.error {
            None if port.number.is_some() => {
                hit(Failpoint::PortApplied);
                Ok(())
            }
            error => {
                let error = error.unwrap_or_else(|| "it gave no port number".to_owned());
                Err(StepError::PortRefused { port: name.to_owned(), error })
            }
        }
    }

    fn probe(&mut self, address: IpAddr, from: MacAddress) -> Result<(), StepError> {
        let probing = self.config.probing;
        let stranger =
            self.neighbours(move |index| neighbour::probe(index, address, from, probing))?;
        if let Some(by) = stranger {
            return Err(StepError::AddressTaken { address, by });
        }
        hit(Failpoint::AddressProbed);
        Ok(())
    }

    fn announce(&mut self, address: IpAddr) -> Result<(), StepError> {
        self.neighbours(move |index| neighbour::announce(index, address))?;
        hit(Failpoint::Announced);
        Ok(())
    }

    fn neighbours<T: Send>(
        &self,
        work: impl FnOnce(u32) -> Result<T, NeighbourError> + Send,
    ) -> Result<T, StepError> {
        let done = self.inside(|| {
            let link = RouteSocket::open().and_then(|mut route| route.link(INNER));
            let link = link.map_err(StepError::Netlink)?;
            let vanished = || StepError::Vanished { what: "the container's link".to_owned() };
            work(link.ok_or_else(vanished)?.index).map_err(StepError::Neighbour)
        });
        done?
    }
}

fn inner_vanished() -> StepError {
    StepError::Vanished { what: "the container's link".to_owned() }
}

fn loopback_up() -> Result<(), NetlinkError> {
    let mut route = RouteSocket::open()?;
    match route.link("lo")? {
        Some(link) => route.set_up(link.index),
        None => Ok(()),
    }
}

/// In an IPv4 pool the container speaks no IPv6. In an IPv6 pool it takes no addresses
/// or routes from whoever advertises some, and its link-local address, made of a
/// hardware address that is its own, needs no trial.
fn inner_settings(address: IpAddr) -> Result<(), StepError> {
    if address.is_ipv4() {
        return ipv6_setting(INNER, "disable_ipv6", "1");
    }
    for (name, value) in [("disable_ipv6", "0"), ("accept_ra", "0"), ("accept_dad", "0")] {
        ipv6_setting(INNER, name, value)?;
    }
    Ok(())
}

fn ipv6_setting(link: &str, name: &str, value: &str) -> Result<(), StepError> {
    let path = Path::new("/proc/sys/net/ipv6/conf").join(link).join(name);
    match fs::write(&path, value) {
        Ok(()) => Ok(()),
        // A kernel without IPv6 has none to disable.
        Err(error) if error.kind() == io::ErrorKind::NotFound && name == "disable_ipv6" => Ok(()),
        Err(source) => Err(StepError::Setting { path, source }),
    }
}
