//! Runs the steps of a plan, one owner's at a time. It decides nothing: each step says
//! what to do by name and number, and each can be repeated.

use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::addr::MacAddress;
use crate::config::Config;
use crate::deadline::Deadline;
use crate::ethtool;
use crate::failpoint::{Failpoint, hit};
use crate::lease::{LeaseError, LeaseStore};
use crate::name::Owner;
use crate::neighbour::{self, NeighbourError};
use crate::netlink::{Link, NetlinkError, RouteSocket, VethPair};
use crate::netns::{self, NetnsError, Pins};
use crate::observe::INNER;
use crate::ovsdb::{Client, NewPort, OvsdbError, Switch};
use crate::plan::{End, Step};
use crate::tag::Tag;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The kernel's network.
    #[error("the kernel did not do it")]
    Netlink(#[source] NetlinkError),
    /// The namespace.
    #[error("the namespace could not be used")]
    Netns(#[source] NetnsError),
    /// Open vSwitch.
    #[error("Open vSwitch did not do it")]
    Ovsdb(#[source] OvsdbError),
    /// ovs-vswitchd complains about the port.
    #[error("ovs-vswitchd can't use port {port}: {error}")]
    PortRefused {
        /// The port.
        port: String,
        /// What ovs-vswitchd wrote.
        error: String,
    },
    /// The neighbours.
    #[error("the neighbours could not be reached")]
    Neighbour(#[source] NeighbourError),
    /// Somebody else answers for the address.
    #[error("{address} is in use by somebody at {by}, unknown to this host's leases")]
    AddressTaken {
        /// The address.
        address: IpAddr,
        /// The hardware address that the answer came from.
        by: MacAddress,
    },
    /// Offload.
    #[error("can't turn checksum offload off")]
    Offload(#[source] Errno),
    /// A kernel setting.
    #[error("can't set {}", path.display())]
    Setting {
        /// The file below /proc/sys.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The lease.
    #[error("the lease could not be confirmed")]
    Lease(#[source] LeaseError),
    /// Something that was there is gone, or is no longer ours.
    #[error("{what} is gone or no longer ours")]
    Vanished {
        /// What.
        what: String,
    },
}

impl StepError {
    /// The address that a stranger holds, if that is what happened.
    #[must_use]
    pub fn address_taken(&self) -> Option<IpAddr> {
        match self {
            Self::AddressTaken { address, .. } => Some(*address),
            _ => None,
        }
    }
}

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
            Step::RemovePort { port, tag } => {
                self.switch()
                    .remove_port(port, tag)
                    .map_err(StepError::Ovsdb)?;
                hit(Failpoint::PortRemoved);
                Ok(())
            }
            Step::RemoveLink { name, tag } => self.remove_link(name, tag),
            Step::RemoveInner => self.remove_inner(),
            Step::RemoveNamespace => {
                self.pins.unpin(self.owner).map_err(StepError::Netns)?;
                hit(Failpoint::NamespaceRemoved);
                Ok(())
            }
            Step::PinNamespace { from } => self
                .pins
                .pin(self.owner, from.as_deref())
                .map_err(StepError::Netns),
            Step::CreateVeth {
                outer,
                mac,
                mtu,
                tag,
            } => {
                let pair = VethPair {
                    inner: INNER,
                    mac: *mac,
                    outer,
                    mtu: *mtu,
                };
                self.create_veth(pair, tag)
            }
            Step::SetMtu {
                end: End::Outer(name),
                mtu,
            } => {
                let index = self.outer(name)?.index;
                self.route.set_mtu(index, *mtu).map_err(StepError::Netlink)
            }
            Step::SetMtu {
                end: End::Inner,
                mtu,
            } => self.with_inner(|route, link| route.set_mtu(link.index, *mtu)),
            Step::SetMac { mac } => self.with_inner(|route, link| route.set_mac(link.index, *mac)),
            Step::CompleteChecksums => self
                .inside(|| ethtool::set_tx_offload(INNER, false))?
                .map_err(StepError::Offload),
            Step::SetUp { end, address } => self.set_up(end, *address),
            Step::LoopbackUp => self.inside(loopback_up)?.map_err(StepError::Netlink),
            Step::AddPort {
                bridge,
                name,
                vlan,
                tag,
            } => {
                let new = NewPort {
                    bridge,
                    name,
                    vlan: *vlan,
                    tag,
                };
                self.switch().add_port(new).map_err(StepError::Ovsdb)?;
                hit(Failpoint::PortAdded);
                Ok(())
            }
            Step::SetVlan { port, vlan, tag } => self
                .switch()
                .set_vlan(port, tag, *vlan)
                .map(drop)
                .map_err(StepError::Ovsdb),
            Step::AwaitPort { name, owner_tag } => self.await_port(name, owner_tag),
            Step::SetRate { .. } | Step::ClearRate { .. } => self.rate(step),
            Step::RemoveAddress { address, prefix } => {
                self.with_inner(|route, link| route.remove_address(link.index, *address, *prefix))
            }
            Step::RemoveGateway { gateway } => {
                self.with_inner(|route, link| route.remove_gateway(link.index, *gateway))
            }
            Step::Probe { address, from } => self.probe(*address, *from),
            Step::AddAddress { address, prefix } => {
                self.with_inner(|route, link| route.add_address(link.index, *address, *prefix))?;
                hit(Failpoint::AddressSet);
                Ok(())
            }
            Step::AddGateway { gateway } => {
                self.with_inner(|route, link| route.add_gateway(link.index, *gateway))?;
                hit(Failpoint::RoutesSet);
                Ok(())
            }
            Step::Announce { address } => self.announce(*address),
            Step::Confirm { lease } => {
                self.leases.confirm(lease).map_err(StepError::Lease)?;
                hit(Failpoint::LeaseConfirmed);
                Ok(())
            }
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

    /// Runs `work` on the container's link.
    fn with_inner(
        &self,
        work: impl FnOnce(&mut RouteSocket, Link) -> Result<(), NetlinkError> + Send,
    ) -> Result<(), StepError> {
        let found = self.inside(|| {
            let mut route = RouteSocket::open()?;
            let link = route.link(INNER)?;
            link.map(|link| work(&mut route, link)).transpose()
        })?;
        let vanished = || StepError::Vanished {
            what: "the container's link".to_owned(),
        };
        found.map_err(StepError::Netlink)?.ok_or_else(vanished)
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
        found
            .filter(of_owner)
            .ok_or_else(|| StepError::Vanished { what: what() })
    }

    fn remove_link(&mut self, name: &str, tag: &Tag) -> Result<(), StepError> {
        let found = self.route.link(name).map_err(StepError::Netlink)?;
        let alias = tag.to_string();
        if let Some(link) = found.filter(|link| link.alias.as_deref() == Some(&*alias)) {
            self.route
                .delete_link(link.index)
                .map_err(StepError::Netlink)?;
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
            false => Err(StepError::Vanished {
                what: format!("link {}", pair.outer),
            }),
        }
    }

    fn set_up(&mut self, end: &End, address: IpAddr) -> Result<(), StepError> {
        match end {
            End::Outer(name) => {
                let link = self.outer(name)?;
                // The switch moves its packets; the host itself must not speak on it.
                ipv6_setting(name, "disable_ipv6", "1")?;
                self.route.set_up(link.index).map_err(StepError::Netlink)
            }
            End::Inner => {
                self.inside(|| inner_settings(address))??;
                self.with_inner(|route, link| route.set_up(link.index))
            }
        }
    }

    fn await_port(&mut self, name: &str, tag: &Tag) -> Result<(), StepError> {
        let wanted = self.switch().poke().map_err(StepError::Ovsdb)?;
        let mut patient = Switch {
            deadline: Deadline::after(self.config.timeouts.apply),
            ..self.switch()
        };
        patient.wait_applied(wanted).map_err(StepError::Ovsdb)?;
        let bridge = &self.config.bridge.name;
        let seen = self
            .switch()
            .ports(bridge, Some((&tag.owner, name)))
            .map_err(StepError::Ovsdb)?;
        let port = seen.ports.into_iter().find(|port| port.name == name);
        let vanished = || StepError::Vanished {
            what: format!("port {name}"),
        };
        let port = port
            .filter(|port| port.tag.as_ref() == Some(tag))
            .ok_or_else(vanished)?;
        match port.error {
            None if port.attached => {
                hit(Failpoint::PortApplied);
                Ok(())
            }
            error => {
                let error = error.unwrap_or_else(|| "it gave no port number".to_owned());
                Err(StepError::PortRefused {
                    port: name.to_owned(),
                    error,
                })
            }
        }
    }

    fn rate(&mut self, step: &Step) -> Result<(), StepError> {
        let done = match step {
            Step::SetRate {
                end: End::Outer(name),
                shaper,
            } => {
                let index = self.outer(name)?.index;
                self.route
                    .set_shaper(index, *shaper)
                    .map_err(StepError::Netlink)
            }
            Step::ClearRate {
                end: End::Outer(name),
            } => {
                let index = self.outer(name)?.index;
                self.route.remove_shaper(index).map_err(StepError::Netlink)
            }
            Step::SetRate {
                end: End::Inner,
                shaper,
            } => self.with_inner(|route, link| route.set_shaper(link.index, *shaper)),
            _ => self.with_inner(|route, link| route.remove_shaper(link.index)),
        };
        hit(Failpoint::RatesSet);
        done
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
            let vanished = || StepError::Vanished {
                what: "the container's link".to_owned(),
            };
            work(link.ok_or_else(vanished)?.index).map_err(StepError::Neighbour)
        });
        done?
    }
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
    for (name, value) in [
        ("disable_ipv6", "0"),
        ("accept_ra", "0"),
        ("accept_dad", "0"),
    ] {
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
