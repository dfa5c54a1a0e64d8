//! What of networks is shown: nothing, on a host where all is in host mode.

use berth_model::status::{InstanceStatus, NetworkStatus, StatusDocument};

use super::output;

/// Adds a column with addresses before the last one, if any instance has one of its own.
pub(super) fn add_addresses(
    document: &StatusDocument,
    heading: &mut Vec<&str>,
    rows: &mut [Vec<String>],
) {
    if document.instances.values().all(|instance| instance.network.is_none()) {
        return;
    }
    let last = heading.len() - 1;
    heading.insert(last, "ADDRESS");
    for (row, instance) in rows.iter_mut().zip(document.instances.values()) {
        row.insert(last, instance.address.clone().unwrap_or_else(|| "-".to_owned()));
    }
}

/// What concerns all instances' networks, a line each.
pub(super) fn overview(document: &StatusDocument) -> String {
    let Some(network) = &document.network else { return String::new() };
    let refused = network.refused_pools.iter().map(|why| format!("refused pool: {why}\n"));
    let problems = network.problems.iter().map(|why| format!("network: {why}\n"));
    let strays = network.strays.iter().map(|what| format!("no goal speaks of {what}\n"));
    refused.chain(problems).chain(strays).collect()
}

/// Everything about one instance's network, a fact a line.
pub(super) fn details(instance: &InstanceStatus) -> Vec<(&'static str, String)> {
    let Some(network) = &instance.network else { return Vec::new() };
    let mut lines = vec![("network", place(network))];
    let rates = [
        ("rate in", network.rate_asked.inward, network.rate_set.inward),
        ("rate out", network.rate_asked.outward, network.rate_set.outward),
    ];
    for (name, asked, set) in rates {
        let words = |rate: Option<berth_model::BitRate>| {
            rate.map_or_else(|| "no limit".to_owned(), |rate| rate.to_string())
        };
        if asked.is_some() || set.is_some() {
            lines.push((name, format!("{} asked, {} set", words(asked), words(set))));
        }
    }
    if let Some(counters) = &network.counters {
        let words = |bytes, packets, dropped| {
            format!("{} in {packets} packets, {dropped} dropped", output::bytes(bytes))
        };
        let inward = (counters.in_bytes, counters.in_packets, counters.in_dropped);
        let outward = (counters.out_bytes, counters.out_packets, counters.out_dropped);
        lines.push(("traffic in", words(inward.0, inward.1, inward.2)));
        lines.push(("traffic out", words(outward.0, outward.1, outward.2)));
    }
    lines.extend(network.amiss.iter().map(|amiss| ("amiss", amiss.clone())));
    lines
}

fn place(network: &NetworkStatus) -> String {
    let mut words = vec![format!("pool {}", network.pool)];
    if let Some(ip) = network.ip {
        let prefix = network.prefix.map(|prefix| format!("/{prefix}")).unwrap_or_default();
        words.push(format!("{ip}{prefix}"));
    }
    words.extend(network.vlan.map(|vlan| format!("VLAN {vlan}")));
    words.extend(network.link.as_ref().map(|link| format!("link {link}")));
    words.join(", ")
}
