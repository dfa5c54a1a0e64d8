//! `berth net …`: pools, leases, and whether the host's network is as they say.
//!
//! Everything is read from files, the kernel and the switch; nothing is changed, and no
//! agent is asked.

use std::{collections::BTreeMap, process::ExitCode};

use berth_netplug::{
    BitRate, Netplug,
    lease::Lease,
    pool::{Pool, PoolSet},
};
use serde_json::{Value, json};

use super::{Failure, args, output};
use crate::config::Config;

pub(super) fn run(config: &Config, command: args::Net) -> Result<ExitCode, Failure> {
    let plug = Netplug::look(config.netplug()?);
    let pools = PoolSet::load(&config.network.pools_dir)?;
    let good = match command {
        args::Net::Pools(what) => list_pools(&plug, &pools, what.json)?,
        args::Net::Leases(what) => list_leases(&plug, &pools, what.json)?,
        args::Net::Check(what) => check(&plug, &pools, what.json)?,
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All leases; a host that never had a network has none.
fn leases(plug: &Netplug) -> Result<Vec<Lease>, Failure> {
    Ok(if plug.has_leases()? { plug.leases()? } else { Vec::new() })
}

fn list_pools(plug: &Netplug, pools: &PoolSet, json: bool) -> Result<bool, Failure> {
    let mut used = BTreeMap::<_, u128>::new();
    for lease in leases(plug)? {
        *used.entry(lease.pool).or_default() += 1;
    }
    let used = |pool: &Pool| used.get(&pool.name).copied().unwrap_or_default();
    let refused: Vec<String> = pools.refused().iter().map(ToString::to_string).collect();
    if json {
        let pools: Vec<Value> = pools.iter().map(|pool| pool_json(pool, used(pool))).collect();
        output::json(&json!({ "pools": pools, "refusals": refused }))?;
        return Ok(refused.is_empty());
    }
    let rows = pools.iter().map(|pool| {
        vec![
            pool.name.to_string(),
            pool.vlan.to_string(),
            pool.subnet.to_string(),
            pool.gateway.map_or_else(|| "-".to_owned(), |gateway| gateway.to_string()),
            used(pool).to_string(),
            pool.capacity().saturating_sub(used(pool)).to_string(),
            rate(pool.rate.inbound),
            rate(pool.rate.outbound),
        ]
    });
    let heading = ["POOL", "VLAN", "SUBNET", "GATEWAY", "USED", "FREE", "IN", "OUT"];
    output::print(&output::table(&heading, rows.collect()))?;
    refused.iter().for_each(|refusal| output::warning(refusal));
    Ok(refused.is_empty())
}

fn rate(rate: Option<BitRate>) -> String {
    rate.map_or_else(|| "-".to_owned(), |rate| rate.to_string())
}

fn pool_json(pool: &Pool, used: u128) -> Value {
    let words = |ranges: &[berth_netplug::AddressRange]| -> Vec<String> {
        ranges.iter().map(ToString::to_string).collect()
    };
    // A JSON number of more than 2^53 is not one to every reader.
    let number = |count: u128| u64::try_from(count).unwrap_or(u64::MAX).min(1 << 53);
    json!({
        "name": pool.name,
        "vlan": pool.vlan,
        "subnet": pool.subnet.to_string(),
        "gateway": pool.gateway,
        "ranges": words(&pool.ranges),
        "reserved": words(&pool.reserved),
        "rate": pool.rate,
        "mtu": pool.mtu,
        "used": number(used),
        "free": number(pool.capacity().saturating_sub(used)),
    })
}

fn list_leases(plug: &Netplug, pools: &PoolSet, json: bool) -> Result<bool, Failure> {
    let leases = leases(plug)?;
    let damaged = if plug.has_leases()? { plug.damaged_leases()? } else { Vec::new() };
    if json {
        let vlan = |lease: &Lease| pools.get(&lease.pool).map(|pool| pool.vlan);
        let listed = leases.iter().map(|lease| {
            json!({
                "owner": lease.owner, "address": lease.address, "pool": lease.pool,
                "vlan": vlan(lease), "generation": lease.generation, "in_service": lease.confirmed,
            })
        });
        let listed: Vec<Value> = listed.collect();
        output::json(&json!({ "leases": listed, "damaged": damaged }))?;
        return Ok(damaged.is_empty());
    }
    let rows = leases.iter().map(|lease| {
        vec![
            lease.address.to_string(),
            lease.owner.to_string(),
            lease.pool.to_string(),
            pools.get(&lease.pool).map_or_else(|| "-".to_owned(), |pool| pool.vlan.to_string()),
            lease.generation.0.to_string(),
            if lease.confirmed { "yes" } else { "not yet" }.to_owned(),
        ]
    });
    let heading = ["ADDRESS", "OWNER", "POOL", "VLAN", "GENERATION", "IN SERVICE"];
    output::print(&output::table(&heading, rows.collect()))?;
    damaged.iter().for_each(|file| output::warning(file));
    Ok(damaged.is_empty())
}

fn check(plug: &Netplug, pools: &PoolSet, json: bool) -> Result<bool, Failure> {
    let findings = plug.check(pools)?;
    let (pools, leases) = (pools.iter().count(), leases(plug)?.len());
    if json {
        output::json(&json!({ "pools": pools, "leases": leases, "findings": findings }))?;
        return Ok(findings.is_empty());
    }
    let lines = findings.iter().map(|finding| {
        format!("{}: {}\n           remedy: {}\n", finding.subject, finding.found, finding.remedy)
    });
    let counted = format!(
        "{}, {}, {}\n",
        output::count(pools, "pool", "pools"),
        output::count(leases, "lease", "leases"),
        output::count(findings.len(), "difference", "differences")
    );
    output::print(&lines.chain([counted]).collect::<String>())?;
    Ok(findings.is_empty())
}
