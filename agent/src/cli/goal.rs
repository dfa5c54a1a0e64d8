//! `berth goal check`: what the agent would refuse, without an agent, a host or root.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

use berth_model::{
    HostName,
    goal::{HostFacts, ParsedFile, PlacedEntry, Refusal, resolve},
    schema,
};

use super::{Failure, args, output};
use crate::goal::read;

pub(super) fn run(command: args::Goal) -> Result<ExitCode, Failure> {
    match command {
        args::Goal::Schema => {
            output::print(&schema::goal())?;
            Ok(ExitCode::SUCCESS)
        }
        args::Goal::Check(what) => check(&what),
    }
}

fn check(what: &args::GoalCheck) -> Result<ExitCode, Failure> {
    let files: Vec<ParsedFile> = what.files.iter().map(|file| read::drop_in(file)).collect();
    let refusals = refusals(&files, what);
    let entries: usize = files.iter().map(|file| file.entries.len()).sum();
    if what.json {
        output::json(&serde_json::json!({ "entries": entries, "refusals": refusals }))?;
    } else {
        let lines: String = refusals.iter().map(|refusal| format!("{refusal}\n")).collect();
        let valid = output::count(entries, "entry", "entries");
        let refused = output::count(refusals.len(), "refusal", "refusals");
        output::print(&format!("{lines}{valid} valid by themselves, {refused}\n"))?;
    }
    Ok(if refusals.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the named host would refuse, or what any host would that the entries name.
fn refusals(files: &[ParsedFile], what: &args::GoalCheck) -> Vec<Refusal> {
    let hosts: BTreeSet<HostName> = match &what.host {
        Some(host) => [host.clone()].into(),
        None => files.iter().flat_map(|file| &file.entries).filter_map(host_of).collect(),
    };
    let memory_bytes = what.memory.map(berth_model::ByteSize::get);
    let mut all: Vec<Refusal> = files.iter().flat_map(|file| file.refusals.clone()).collect();
    for name in hosts {
        let host = HostFacts { name, memory_bytes };
        all.extend(resolve::resolve(&host, files, &BTreeMap::new()).refusals);
    }
    all.sort_by_cached_key(|refusal| (refusal.location.clone(), refusal.to_string()));
    all.dedup();
    all
}

/// The host in an entry's key: what stands before its `app_id`, else before the first dash.
fn host_of(placed: &PlacedEntry) -> Option<HostName> {
    let key = placed.key.as_str();
    let host = match &placed.entry.app_id {
        Some(app_id) => key.strip_suffix(app_id.as_str())?.strip_suffix('-')?,
        None => key.split_once('-')?.0,
    };
    host.parse().ok()
}
