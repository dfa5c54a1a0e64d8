//! All that networks are made of, as the kernel and the switch have it, compared with what
//! the status says it should be.

use std::{collections::BTreeMap, fs, net::IpAddr, path::Path};

use berth_integration::{Bed, PATIENCE, namespace::command_in, proc, until};
use berth_model::status::StatusDocument;
use nix::mount::{MntFlags, umount2};
use serde_json::Value;

/// What there is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Census {
    /// Links of instances in the host's namespace.
    links: Vec<String>,
    /// Ports of instances on the bridge, with their owners.
    ports: BTreeMap<String, String>,
    /// The address inside of each pinned namespace, by owner.
    inside: BTreeMap<String, Vec<IpAddr>>,
    /// Namespaces that are mounted below the run directory.
    mounts: usize,
    /// Owners by leased address.
    leases: BTreeMap<IpAddr, String>,
}

impl Census {
    pub(super) fn of(bed: &Bed) -> Self {
        let pins = bed.dir().join("run/net/netns");
        let mounts = proc::mounts(std::process::id());
        Self {
            links: links(bed),
            ports: ports(bed),
            inside: names(&pins).into_iter().map(|owner| inside(&pins, owner)).collect(),
            mounts: mounts.iter().filter(|mount| mount.point.starts_with(&pins)).count(),
            leases: leases(&bed.dir().join("state/net/leases")),
        }
    }

    /// Who has which address.
    pub(super) fn by_owner(&self) -> &BTreeMap<IpAddr, String> {
        &self.leases
    }

    /// What the networks in a status document amount to.
    fn expected(status: &StatusDocument) -> Self {
        let mut census = Self::default();
        for (key, instance) in &status.instances {
            let Some(network) = instance.network.as_ref().filter(|network| network.ip.is_some())
            else {
                continue;
            };
            let (ip, link) = (network.ip.unwrap(), network.link.clone().unwrap_or_default());
            census.links.push(link.clone());
            census.ports.insert(link, key.to_string());
            census.inside.insert(key.to_string(), vec![ip]);
            census.mounts += 1;
            let other = census.leases.insert(ip, key.to_string());
            assert_eq!(other, None, "{ip} is given twice");
        }
        census.links.sort();
        census
    }

    /// Waits until all that there is, is what the status says, and nothing of it is amiss.
    pub(super) fn await_right(bed: &Bed) -> Self {
        let mut last = (Self::default(), Self::default());
        let right = until(PATIENCE, || {
            let status = bed.document()?;
            let networks = status.instances.values().filter_map(|i| i.network.as_ref());
            if networks.clone().any(|network| !network.amiss.is_empty()) {
                return None;
            }
            last = (Self::of(bed), Self::expected(&status));
            (last.0 == last.1).then(|| last.0.clone())
        });
        right.unwrap_or_else(|| panic!("found {:#?}, expected {:#?}", last.0, last.1))
    }
}

/// The host's ends of the instances' veth pairs, by ip-link(8).
pub(super) fn links(bed: &Bed) -> Vec<String> {
    let text = bed.run(&["ip", "-o", "link", "show", "type", "veth"]);
    let names = text.lines().filter_map(|line| line.split([':', '@']).nth(1));
    let mut ours: Vec<String> =
        names.map(|name| name.trim().to_owned()).filter(|name| name.starts_with("be")).collect();
    ours.sort();
    ours
}

/// The ports that carry an owner, by ovs-vsctl(8), with the owner.
fn ports(bed: &Bed) -> BTreeMap<String, String> {
    let columns = ["--format=json", "--columns=name,external_ids", "list", "Port"];
    let table: Value = serde_json::from_str(&bed.switch().vsctl(&columns)).unwrap();
    let rows = table["data"].as_array().unwrap().iter();
    rows.filter_map(|row| {
        let ids = row[1][1].as_array()?;
        let owner = ids.iter().find(|pair| pair[0] == "berth-owner")?;
        Some((row[0].as_str()?.to_owned(), owner[1].as_str()?.to_owned()))
    })
    .collect()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn inside(pins: &Path, owner: String) -> (String, Vec<IpAddr>) {
    let pin = pins.join(&owner);
    let output = command_in(Some(&pin), "ip").args(["-j", "addr", "show", "dev", "eth0"]).output();
    let table: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap_or_default();
    let all = table[0]["addr_info"].as_array().cloned().unwrap_or_default();
    let global = all.iter().filter(|address| address["scope"] == "global");
    let found = global.filter_map(|address| address["local"].as_str()?.parse().ok()).collect();
    (owner, found)
}

fn leases(dir: &Path) -> BTreeMap<IpAddr, String> {
    let files = names(dir).into_iter().filter(|name| name.ends_with(".json"));
    files
        .filter_map(|name| {
            let lease: Value = serde_json::from_slice(&fs::read(dir.join(&name)).ok()?).ok()?;
            let owner = lease["owner"].as_str()?.to_owned();
            Some((name.strip_suffix(".json")?.parse().ok()?, owner))
        })
        .collect()
}

/// Unmounts all pins and empties the directory, as if it had been wiped.
pub(super) fn wipe_pins(bed: &Bed) {
    let pins = bed.dir().join("run/net");
    let mounts = proc::mounts(std::process::id()).into_iter().map(|mount| mount.point);
    for point in mounts.filter(|point| point.starts_with(&pins)) {
        umount2(&point, MntFlags::MNT_DETACH).unwrap();
    }
    fs::remove_dir_all(&pins).unwrap();
}
