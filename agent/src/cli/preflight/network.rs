//! The lines about addresses of their own: pools, kernel, Open vSwitch, bridge, uplink.
//!
//! A host without pools has host mode only, which needs none of it: what is lacking is then
//! a limit and no fault.

use std::{path::Path, time::Duration};

use berth_netplug::{DatapathChoice, Netplug, Preflight, Timeouts, pool::PoolSet};

use super::{Line, Verdict};
use crate::{config::Config, files};

/// How long Open vSwitch may take to answer somebody who waits in front of a terminal.
const PATIENCE: Duration = Duration::from_secs(3);
const DAEMON: &str = "/usr/sbin/ovs-vswitchd";
const INSTALL: &str = "install and start Open vSwitch (Debian: openvswitch-switch)";

pub(super) fn lines(config: &Config) -> Vec<Line> {
    let dir = &config.network.pools_dir;
    let pools = match PoolSet::load(dir) {
        Ok(pools) => pools,
        Err(error) => {
            return vec![Line::new(
                files::chain(&error).join(": "),
                Verdict::Missing,
                "whether instances may have addresses of their own is not known",
                "make it readable",
            )];
        }
    };
    let mut lines = of_pools(dir, &pools);
    if !nix::unistd::geteuid().is_root() {
        lines.push(Line::new(
            "the network was not looked at",
            Verdict::Limited,
            "only root may ask Open vSwitch and make namespaces",
            "sudo",
        ));
        return lines;
    }
    let timeouts = Timeouts { database: PATIENCE, apply: PATIENCE, ..Timeouts::default() };
    let facts = config.netplug().map_err(|error| error.to_string()).and_then(|plug| {
        let plug = Netplug::look(berth_netplug::Config { timeouts, ..plug });
        plug.preflight().map_err(|error| files::chain(&error).join(": "))
    });
    let wanted = pools.iter().next().is_some();
    let lacking = if wanted { Verdict::Missing } else { Verdict::Limited };
    match facts {
        Ok(facts) => lines.extend(Host { config, facts: &facts, lacking }.lines()),
        Err(why) => lines.push(no_vlan_mode(why, lacking, "see what the kernel refuses")),
    }
    lines
}

fn of_pools(dir: &Path, pools: &PoolSet) -> Vec<Line> {
    let mut lines: Vec<Line> = pools
        .refused()
        .iter()
        .map(|refusal| {
            Line::new(
                format!("a pool is refused: {refusal}"),
                Verdict::Missing,
                "entries that name it are blocked; other pools are in force",
                "correct the file",
            )
        })
        .collect();
    let names: Vec<_> = pools.iter().map(|pool| pool.name.to_string()).collect();
    lines.push(if names.is_empty() {
        Line::good(format!(
            "no pools in {}: host mode only, which needs no network lines",
            dir.display()
        ))
    } else {
        Line::good(format!("pools {}", names.join(", ")))
    });
    lines
}

fn no_vlan_mode(what: impl Into<String>, lacking: Verdict, remedy: &str) -> Line {
    Line::new(what, lacking, "no vlan mode; instances in host mode do not need it", remedy)
}

/// What is known of a host.
struct Host<'a> {
    config: &'a Config,
    facts: &'a Preflight,
    /// How bad it is if vlan mode can't be had.
    lacking: Verdict,
}

impl Host<'_> {
    fn lines(&self) -> Vec<Line> {
        let mut lines = vec![match &self.facts.kernel {
            Ok(()) => Line::good("network namespaces, veth pairs and token buckets"),
            Err(why) => no_vlan_mode(
                format!("no veth pairs or no token buckets: {why}"),
                self.lacking,
                "a kernel with CONFIG_VETH and CONFIG_NET_SCH_TBF",
            ),
        }];
        lines.extend(self.switch());
        if self.facts.database.is_ok() {
            lines.extend(self.datapath());
            lines.push(self.bridge());
        }
        lines.push(self.uplink());
        lines
    }

    fn switch(&self) -> Vec<Line> {
        let version = match &self.facts.database {
            Ok(version) => version,
            Err(why) if Path::new(DAEMON).exists() => {
                let what = format!("Open vSwitch is installed and does not answer: {why}");
                let remedy = "start it: systemctl start openvswitch-switch, or see `ovsdb_socket`";
                return vec![no_vlan_mode(what, self.lacking, remedy)];
            }
            Err(_) => return vec![no_vlan_mode("no Open vSwitch", self.lacking, INSTALL)],
        };
        let database = Line::good(format!("Open vSwitch {version}, its database answers"));
        let daemon = match &self.facts.daemon {
            Ok(_) => Line::good("ovs-vswitchd applies changes"),
            Err(why) => Line::new(
                format!("ovs-vswitchd applies no changes: {why}"),
                self.lacking,
                "nothing is attached; what is there goes on (with the kernel's datapath)",
                "start it; if it hangs, look at its log and restart it",
            ),
        };
        vec![database, daemon]
    }

    fn datapath(&self) -> Vec<Line> {
        let kernel = match &self.facts.kernel_datapath {
            Ok(there) => *there,
            Err(why) => {
                let what = format!("can't tell whether the kernel has the datapath: {why}");
                return vec![no_vlan_mode(what, self.lacking, "set `datapath`")];
            }
        };
        let of_bridge = self.facts.bridge.as_ref().ok().and_then(Option::as_ref);
        let userspace = match (of_bridge, self.config.network.bridge.datapath) {
            (Some(bridge), _) => bridge.userspace,
            (None, DatapathChoice::Userspace) => true,
            (None, DatapathChoice::Kernel) => false,
            (None, DatapathChoice::Auto) => !kernel,
        };
        match (userspace, kernel, self.facts.tun) {
            (false, true, _) => vec![Line::good("the kernel moves the packets")],
            (false, false, _) => vec![no_vlan_mode(
                "no kernel datapath, which the bridge asks for",
                self.lacking,
                "modprobe openvswitch; or a bridge with `datapath = \"userspace\"`, for tests",
            )],
            (true, _, false) => vec![no_vlan_mode(
                "no /dev/net/tun, which the userspace datapath needs",
                self.lacking,
                "modprobe tun",
            )],
            (true, there, true) => vec![Line::new(
                "ovs-vswitchd itself moves the packets (userspace datapath)",
                Verdict::Limited,
                "slow, and traffic rests while ovs-vswitchd does: for tests",
                if there {
                    "a bridge with `datapath = \"kernel\"`"
                } else {
                    "modprobe openvswitch"
                },
            )],
        }
    }

    fn bridge(&self) -> Line {
        let name = &self.config.network.bridge.name;
        match &self.facts.bridge {
            Ok(None) => Line::good(format!("bridge {name} is not there yet; the agent makes it")),
            Ok(Some(bridge)) if bridge.ours => Line::good(format!("bridge {name} is ours")),
            Ok(Some(bridge)) => Line::new(
                format!(
                    "bridge {name} belongs to {}",
                    bridge.of.as_deref().unwrap_or("nobody known")
                ),
                self.lacking,
                "it is not touched, and nothing is attached to it",
                &format!(
                    "another name in `bridge`; or hand it over: \
                     ovs-vsctl set bridge {name} external_ids:berth-host={}",
                    self.config.host
                ),
            ),
            Err(why) => no_vlan_mode(format!("bridge {name}: {why}"), self.lacking, INSTALL),
        }
    }

    fn uplink(&self) -> Line {
        let bridge = &self.config.network.bridge.name;
        let Some(uplink) = &self.facts.uplink else {
            return Line::new(
                "no uplink",
                Verdict::Limited,
                "instances with addresses of their own reach each other on this host only",
                "`uplink` of `network` in the configuration",
            );
        };
        let name = &uplink.interface;
        let elsewhere = uplink.port_of.as_ref().filter(|of| *of != bridge && !of.is_empty());
        match (&uplink.link, elsewhere) {
            (_, Some(other)) => no_vlan_mode(
                format!("uplink {name} is a port of bridge {other}"),
                self.lacking,
                &format!("ovs-vsctl del-port {other} {name}, or name another uplink"),
            ),
            (Ok(true), None) => Line::good(format!("uplink {name} is up")),
            (Ok(false), None) => Line::new(
                format!("uplink {name} is down"),
                self.lacking,
                "instances reach each other on this host only",
                &format!("ip link set {name} up"),
            ),
            (Err(why), None) => Line::new(
                format!("uplink {name}: {why}"),
                self.lacking,
                "instances reach each other on this host only",
                "name an interface of this host in `uplink`",
            ),
        }
    }
}

#[cfg(test)]
mod tests;
