//! What a bed is called and where it is: on the machine itself, in a network namespace, or a
//! host of a fleet; and its switch and pools, if it has them.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use berth_model::EntryKey;

use super::{Bed, Options};
use crate::{goal, image, namespace::Namespace, switch::Switch};

/// The bridge of a bed with a switch; what a test asks is [`Bed::bridge`].
pub(super) const BRIDGE: &str = "btbr0";
/// The card of a fleet's host with its own address.
pub(crate) const NIC: &str = "eth0";
/// The card of a fleet's host that is its bridge's uplink.
pub(crate) const UPLINK: &str = "eth1";

/// A host of a fleet. Its network namespace is its own.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its name in goal entries.
    pub host: String,
    /// The address on which its servers in host mode listen.
    pub address: Ipv4Addr,
    /// The fleet's hosts and their addresses, for the configuration's `hosts`.
    pub hosts: BTreeMap<String, Ipv4Addr>,
    /// The fleet's key.
    pub fleet_key: String,
}

impl Bed {
    /// The host's name in goal entries.
    #[must_use]
    pub fn host(&self) -> &str {
        self.site.as_ref().map_or(goal::HOST, |site| &site.host)
    }

    /// The address on which servers in host mode listen.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.site.as_ref().map_or(Ipv4Addr::LOCALHOST, |site| site.address)
    }

    /// Where the server with this port is reached.
    #[must_use]
    pub fn server_address(&self, port: u16) -> SocketAddr {
        SocketAddr::from((self.address(), port))
    }

    /// The file of the host's network namespace; none if that is the machine's.
    #[must_use]
    pub fn namespace(&self) -> Option<&Path> {
        self.namespace.as_ref().map(Namespace::path)
    }

    /// Runs a tool in the host's network namespace, and tells what it prints.
    ///
    /// # Panics
    /// It fails, or the bed has no namespace of its own.
    pub fn run(&self, arguments: &[&str]) -> String {
        self.namespace.as_ref().expect("a namespace of its own").run(arguments)
    }

    /// The bed's switch.
    ///
    /// # Panics
    /// It has none.
    #[must_use]
    pub fn switch(&self) -> &Switch {
        self.switch.as_ref().expect("a bed with a switch")
    }

    /// The bed's switch, to stop and start its daemons.
    ///
    /// # Panics
    /// It has none.
    pub fn switch_mut(&mut self) -> &mut Switch {
        self.switch.as_mut().expect("a bed with a switch")
    }

    /// Whether it has a switch.
    #[must_use]
    pub fn has_switch(&self) -> bool {
        self.switch.is_some()
    }

    /// The name of the agent's bridge.
    #[must_use]
    pub fn bridge(&self) -> &'static str {
        BRIDGE
    }

    pub(super) fn switch_dir(&self) -> PathBuf {
        self.dir.join("ovs")
    }

    /// Where pool files are.
    #[must_use]
    pub fn pools_dir(&self) -> PathBuf {
        self.dir.join("pools.d")
    }

    /// Replaces a pool file: written beside and renamed.
    ///
    /// # Panics
    /// It can't be written.
    pub fn pools(&self, file: &str, text: &str) {
        let new = self.pools_dir().join(format!(".{file}.new"));
        fs::write(&new, text).unwrap();
        fs::rename(new, self.pools_dir().join(file)).unwrap();
    }

    /// The file to which the agent pins an instance's network namespace.
    #[must_use]
    pub fn instance_namespace(&self, key: &EntryKey) -> PathBuf {
        self.dir.join("run/net/netns").join(key.as_str())
    }

    /// The text of the agent's configuration.
    pub(super) fn configuration(&self, options: &Options) -> String {
        let dir = self.dir.display();
        let memory =
            options.memory.map(|size| format!("memory = \"{size}\"\n")).unwrap_or_default();
        let mut text = format!(
            "host = \"{host}\"\n\
             goal_dir = \"{dir}/goal.d\"\n\
             state_dir = \"{dir}/state\"\n\
             data_dir = \"{dir}/data\"\n\
             images_dir = \"{images}\"\n\
             run_dir = \"{dir}/run\"\n\
             log_dir = \"{dir}/log\"\n\
             fleet_key = \"{dir}/fleet.key\"\n\
             cgroup = \"{cgroup}\"\n\
             image = \"{image}\"\n\
             bind_address = \"{address}\"\n\
             interval = \"{interval}\"\n\
             {memory}",
            host = self.host(),
            images = self.images.display(),
            cgroup = self.name,
            image = image::REFERENCE,
            address = self.address(),
            interval = options.interval,
        );
        if options.switch {
            text.push_str(&format!(
                "[network]\npools_dir = \"{dir}/pools.d\"\nbridge = \"{BRIDGE}\"\n\
                 ovsdb_socket = \"{}/db.sock\"\n",
                self.switch_dir().display()
            ));
            if self.site.is_some() {
                text.push_str(&format!("uplink = \"{UPLINK}\"\n"));
            }
        }
        if let Some(site) = &self.site {
            text.push_str("[hosts]\n");
            for (host, address) in &site.hosts {
                text.push_str(&format!("{host} = \"{address}\"\n"));
            }
        }
        text
    }
}
