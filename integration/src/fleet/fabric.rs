//! The network between the hosts of a fleet: two Linux bridges in a namespace of their own,
//! which stand for the switches of a data centre. One joins the hosts' own addresses, the
//! other the uplinks of their Open vSwitches.
//!
//! The bridges do not filter VLANs, so they carry tagged frames as trunk ports do. They are cut
//! in two ways. A host that is unplugged has cards without a carrier, which it sees. Hosts that
//! are parted have ports that drop what one would send to the other (`isolated`, bridge(8));
//! nobody sees that, and both reach all others as before.

use std::path::Path;

use crate::{
    Bed,
    bed::network::{NIC, UPLINK},
    namespace::Namespace,
};

/// A bridge, and how the names of its ports begin.
const NETWORKS: [(&str, &str, &str); 2] = [("own", "o-", NIC), ("trunk", "t-", UPLINK)];

/// The network between hosts.
#[derive(Debug)]
pub struct Fabric {
    namespace: Namespace,
}

impl Fabric {
    /// A network without hosts, pinned to a file.
    pub(super) fn make(path: &Path) -> Self {
        let fabric = Self { namespace: Namespace::make(path) };
        for (bridge, ..) in NETWORKS {
            // Without spanning tree and multicast snooping it forwards from the first frame on.
            let how = ["stp_state", "0", "mcast_snooping", "0"];
            fabric.ip(&[&["link", "add", bridge, "type", "bridge"], &how[..]].concat());
            fabric.ip(&["link", "set", bridge, "up"]);
        }
        fabric
    }

    /// Gives a host its network cards: one with its address in a network of 256, and one for
    /// its switch, if it has any.
    pub(super) fn connect(&self, host: &Bed) {
        let there = host.namespace().expect("a host of a fleet has a namespace");
        let pin = there.display().to_string();
        let networks = &NETWORKS[..if host.has_switch() { 2 } else { 1 }];
        for (bridge, prefix, card) in networks {
            let port = format!("{prefix}{}", host.host());
            self.ip(&["link", "add", &port, "type", "veth", "peer", "name", card, "netns", &pin]);
            self.ip(&["link", "set", &port, "master", bridge, "up"]);
            host.run(&["ip", "link", "set", card, "up"]);
        }
        host.run(&["ip", "address", "add", &format!("{}/24", host.address()), "dev", NIC]);
    }

    /// Takes a host's cables out: it sees that its cards have no carrier.
    pub fn unplug(&self, host: &str) {
        self.set(host, &["down"]);
    }

    /// Puts a host's cables in again.
    pub fn plug(&self, host: &str) {
        self.set(host, &["up"]);
    }

    /// From now on these hosts do not reach each other; they reach all others.
    pub fn part(&self, hosts: &[&str]) {
        hosts.iter().for_each(|host| self.set(host, &["type", "bridge_slave", "isolated", "on"]));
    }

    /// Ends that.
    pub fn heal(&self, hosts: &[&str]) {
        hosts.iter().for_each(|host| self.set(host, &["type", "bridge_slave", "isolated", "off"]));
    }

    /// The interfaces through which hosts' tagged frames pass, in [`Self::namespace`].
    #[must_use]
    pub fn trunk(&self) -> &'static str {
        NETWORKS[1].0
    }

    /// Its namespace, to listen in.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// What a failed test wants to know.
    pub(super) fn show(&self) -> String {
        self.namespace.run(&["ip", "-d", "-s", "link", "show"])
    }

    /// Sets the ports of a host, of which it has one or two.
    fn set(&self, host: &str, how: &[&str]) {
        let links = self.ip(&["-br", "link", "show", "type", "veth"]);
        let names = links.lines().filter_map(|line| line.split(['@', ' ']).next());
        let own = NETWORKS.map(|(_, prefix, _)| format!("{prefix}{host}"));
        let ports: Vec<&str> = names.filter(|name| own.iter().any(|own| own == name)).collect();
        assert!(!ports.is_empty(), "{host} has no port in {links}");
        for port in ports {
            self.ip(&[&["link", "set", port], how].concat());
        }
    }

    fn ip(&self, arguments: &[&str]) -> String {
        self.namespace.run(&[&["ip"], arguments].concat())
    }
}
