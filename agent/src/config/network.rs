//! The `[network]` table: where `netplug` finds its pools, its switch and its uplink.
//!
//! Nothing here is looked at, and none of it has to be there, as long as every instance of
//! the host is in host mode.

use std::{path::PathBuf, time::Duration};

use berth_netplug::{
    BridgeConfig, Config as NetplugConfig, DatapathChoice, HostName, NameError, Probing, Uplink,
    VlanId,
};
use serde::Deserialize;

use super::Config;

/// What a link's name may be at most (`IFNAMSIZ` less its end, netdevice(7)).
const LINK_NAME_MAX: usize = 15;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawNetwork {
    pools_dir: PathBuf,
    bridge: String,
    datapath: RawDatapath,
    uplink: Option<String>,
    trunks: Vec<VlanId>,
    ovsdb_socket: PathBuf,
    probe_count: u32,
    probe_interval: String,
    probe_wait: String,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawDatapath {
    #[default]
    Auto,
    Kernel,
    Userspace,
}

impl Default for RawNetwork {
    fn default() -> Self {
        let probing = Probing::default();
        Self {
            pools_dir: "/etc/berth/pools.d".into(),
            bridge: "br-berth".into(),
            datapath: RawDatapath::default(),
            uplink: None,
            trunks: Vec::new(),
            ovsdb_socket: "/run/openvswitch/db.sock".into(),
            probe_count: probing.count,
            probe_interval: humantime::format_duration(probing.interval).to_string(),
            probe_wait: humantime::format_duration(probing.wait).to_string(),
        }
    }
}

/// The network of instances with addresses of their own, checked.
#[derive(Debug, Clone)]
pub struct Network {
    /// Pool files.
    pub pools_dir: PathBuf,
    /// The bridge that all instances share, and its way out.
    pub bridge: BridgeConfig,
    /// Where Open vSwitch's database listens.
    pub ovsdb_socket: PathBuf,
    /// How an address is tried before it is used.
    pub probing: Probing,
}

/// A field and what is wrong with it.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) field: &'static str,
    pub(super) found: String,
    pub(super) expected: &'static str,
}

impl RawNetwork {
    pub(super) fn check(self) -> Result<Network, Wrong> {
        let wrong =
            |field, found: &str, expected| Wrong { field, found: format!("{found:?}"), expected };
        let link = |field, name: &str| match is_link_name(name) {
            true => Ok(()),
            false => Err(wrong(field, name, "the name of a link, at most 15 characters")),
        };
        link("network.bridge", &self.bridge)?;
        if let Some(uplink) = &self.uplink {
            link("network.uplink", uplink)?;
            if *uplink == self.bridge {
                return Err(wrong("network.uplink", uplink, "another link than the bridge itself"));
            }
        } else if !self.trunks.is_empty() {
            let found = "VLANs without an uplink";
            return Err(wrong("network.trunks", found, "`uplink` beside it"));
        }
        let paths =
            [("network.pools_dir", &self.pools_dir), ("network.ovsdb_socket", &self.ovsdb_socket)];
        for (field, path) in paths {
            if !path.is_absolute() {
                return Err(wrong(field, &path.to_string_lossy(), "an absolute path"));
            }
        }
        if self.probe_count > 10 {
            return Err(wrong("network.probe_count", &self.probe_count.to_string(), "0 to 10"));
        }
        let wait = |field, text: &str| {
            let most = Duration::from_secs(5);
            humantime::parse_duration(text)
                .ok()
                .filter(|wait| (Duration::from_millis(1)..=most).contains(wait))
                .ok_or_else(|| wrong(field, text, "1ms to 5s, such as \"100ms\""))
        };
        let probing = Probing {
            count: self.probe_count,
            interval: wait("network.probe_interval", &self.probe_interval)?,
            wait: wait("network.probe_wait", &self.probe_wait)?,
        };
        let trunks = self.trunks;
        let bridge = BridgeConfig {
            name: self.bridge,
            datapath: match self.datapath {
                RawDatapath::Auto => DatapathChoice::Auto,
                RawDatapath::Kernel => DatapathChoice::Kernel,
                RawDatapath::Userspace => DatapathChoice::Userspace,
            },
            uplink: self.uplink.map(|interface| Uplink { interface, trunks }),
        };
        Ok(Network { pools_dir: self.pools_dir, bridge, ovsdb_socket: self.ovsdb_socket, probing })
    }
}

/// As the kernel's `dev_valid_name` has it, and without what a shell would stumble over.
fn is_link_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=LINK_NAME_MAX).contains(&name.len())
        && !name.starts_with(['.', '-'])
        && name.chars().all(plain)
}

impl Config {
    /// What `netplug` needs to know. Its leases are kept in `net` below `state_dir`, its
    /// namespaces are pinned in `net` below `run_dir`.
    ///
    /// # Errors
    /// The host's name is too long for the tags that Open vSwitch and the kernel keep.
    pub fn netplug(&self) -> Result<NetplugConfig, NameError> {
        let host = HostName::new(self.host.as_str())?;
        let network = &self.network;
        Ok(NetplugConfig {
            state_dir: self.state_dir.join("net"),
            run_dir: self.run_dir.join("net"),
            ovsdb_socket: network.ovsdb_socket.clone(),
            probing: network.probing,
            ..NetplugConfig::new(host, network.bridge.clone())
        })
    }
}

impl Default for Network {
    fn default() -> Self {
        RawNetwork::default().check().expect("the defaults are valid")
    }
}
