//! What this host can do, found out by trying, without touching its network.

use std::path::Path;

use nix::sched::{CloneFlags, unshare};

use crate::addr::MacAddress;
use crate::bridge::kernel_datapath;
use crate::deadline::Deadline;
use crate::error::PlugError;
use crate::netlink::{NetlinkError, RouteSocket, Shaper, VethPair};
use crate::netns::{self, NetnsError};
use crate::observe::chain;
use crate::ovsdb::{OvsdbError, Switch};
use crate::plug::Netplug;
use crate::rate::BitRate;
use crate::session::Session;

/// The facts. A reason stands where something can't be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preflight {
    /// Namespaces, veth pairs and token buckets work, tried in a namespace of their own.
    pub kernel: Result<(), String>,
    /// Whether the kernel has Open vSwitch's data path.
    pub kernel_datapath: Result<bool, String>,
    /// Whether the userspace data path has the device it needs.
    pub tun: bool,
    /// Open vSwitch's version, if its database answers.
    pub database: Result<String, String>,
    /// The configuration that ovs-vswitchd has applied, if it keeps up.
    pub daemon: Result<i64, String>,
    /// The bridge, if the database answers; `None` when it is not there yet.
    pub bridge: Result<Option<BridgeStanding>, String>,
    /// Where the configured uplink is, if one is configured.
    pub uplink: Option<UplinkStanding>,
    /// Whether instances can be attached, and if not what to do about it.
    pub vlan_mode: Result<(), String>,
}

/// A bridge that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeStanding {
    /// Whether it carries this host's tag.
    pub ours: bool,
    /// The host whose tag it carries.
    pub of: Option<String>,
    /// Whether ovs-vswitchd itself moves its packets.
    pub userspace: bool,
}

/// An uplink that is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UplinkStanding {
    /// Its name.
    pub interface: String,
    /// Whether there is such a link, and it is up.
    pub link: Result<bool, String>,
    /// The bridge whose port it is.
    pub port_of: Option<String>,
}

impl Netplug {
    /// Finds out what this host can do.
    ///
    /// # Errors
    /// [`PlugError::Netlink`] when there is no netlink socket to be had.
    pub fn preflight(&self) -> Result<Preflight, PlugError> {
        let mut session = self.session()?;
        let database = self.switch(&mut session.client).facts().map(|facts| facts.version);
        let daemon = match &database {
            Ok(_) => self.daemon(&mut self.switch(&mut session.client)),
            Err(error) => Err(chain(error)),
        };
        let (bridge, uplink) = self.bridge_standing(&mut session);
        self.give_back(session);
        let database = database.map_err(|error| chain(&error));
        let kernel = try_kernel();
        let vlan_mode = match (&kernel, &database, &daemon) {
            (Err(why), _, _) => Err(format!("the kernel or our privileges don't suffice: {why}")),
            (_, Err(why), _) => Err(format!(
                "Open vSwitch is needed and can't be reached: install and start it \
                 (Debian: openvswitch-switch): {why}"
            )),
            (_, _, Err(why)) => Err(format!("start ovs-vswitchd: {why}")),
            (Ok(()), Ok(_), Ok(_)) => Ok(()),
        };
        Ok(Preflight {
            kernel,
            kernel_datapath: kernel_datapath().map_err(|error| chain(&error)),
            tun: Path::new("/dev/net/tun").exists(),
            database,
            daemon,
            bridge,
            uplink,
            vlan_mode,
        })
    }

    fn bridge_standing(
        &self,
        session: &mut Session,
    ) -> (Result<Option<BridgeStanding>, String>, Option<UplinkStanding>) {
        let wanted = &self.config.bridge;
        let uplink = wanted.uplink.as_ref().map(|uplink| uplink.interface.clone());
        let read = self.switch(&mut session.client).bridge(&wanted.name, uplink.as_deref());
        let port_of = match &read {
            Ok((_, row)) => row.as_ref().map(|row| row.bridge.clone()),
            Err(_) => None,
        };
        let bridge = read.map_err(|error| chain(&error)).map(|(row, _)| {
            row.map(|row| BridgeStanding {
                ours: row.host.as_deref() == Some(self.config.host.as_str()),
                of: row.host,
                userspace: row.userspace,
            })
        });
        let uplink = uplink.map(|interface| {
            let link = match session.route.link(&interface) {
                Ok(Some(link)) => Ok(link.up),
                Ok(None) => Err("there is no such link".to_owned()),
                Err(error) => Err(chain(&error)),
            };
            UplinkStanding { interface, link, port_of }
        });
        (bridge, uplink)
    }

    fn daemon(&self, switch: &mut Switch<'_>) -> Result<i64, String> {
        let applied = switch.poke().and_then(|number| {
            switch.deadline = Deadline::after(self.config.timeouts.apply);
            switch.wait_applied(number).map(|()| number)
        });
        applied.map_err(|error: OvsdbError| chain(&error))
    }
}

fn try_kernel() -> Result<(), String> {
    let tried = netns::on_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).map_err(NetnsError::Create)?;
        Ok(try_links())
    });
    match tried {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(chain(&error)),
        Err(error) => Err(chain(&error)),
    }
}

fn try_links() -> Result<(), NetlinkError> {
    let mut route = RouteSocket::open()?;
    let mac = MacAddress([2, 0, 0, 0, 0, 1]);
    route.create_veth(VethPair { inner: "try0", mac, outer: "try1", mtu: 1500 })?;
    let rate = BitRate::from_bits_per_second(1_000_000).expect("a rate within the range");
    match route.link("try0")? {
        Some(link) => route.set_shaper(link.index, Shaper::of(rate)),
        None => Ok(()),
    }
}
