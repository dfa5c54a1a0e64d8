//! The variables that a role and a goal hold, compared with those that are set.

use std::collections::BTreeMap;

use berth_model::goal::{Role, VariableValue};

use super::{Step, Subject, Verb};
use crate::{
    mysql::{SemiSyncRole, Snapshot},
    observe::ServerFacts,
};

/// The steps that set what is not as it should be. Durability comes before anything that
/// lets clients in.
pub(super) fn hold(subject: &Subject<'_>, server: &ServerFacts) -> Vec<Step> {
    let entry = subject.entry();
    let mut verbs = role_variables(entry.role, &server.snapshot);
    verbs.extend(semi_sync(entry.role, entry.semi_sync, &server.snapshot));
    verbs.extend(goal_variables(&entry.variables, &server.globals));
    let away = entry.disabled && entry.role == Role::Minion;
    if server.snapshot.offline_mode != away {
        verbs.push(Verb::OfflineMode { on: away });
    }
    verbs.into_iter().map(|verb| subject.sql(verb)).collect()
}

/// A master's commits are durable; a minion's need not be, as it can be seeded again.
fn role_variables(role: Role, server: &Snapshot) -> Vec<Verb> {
    let (sync_binlog, flush) = match role {
        Role::Master => (1, 1),
        Role::Minion => (0, 2),
    };
    let held = [
        ("sync_binlog", server.held.sync_binlog, sync_binlog),
        ("innodb_flush_log_at_trx_commit", server.held.innodb_flush_log_at_trx_commit, flush),
    ];
    held.into_iter()
        .filter(|(_, is, should)| is != should)
        .map(|(name, _, should)| Verb::SetGlobal { name: name.into(), value: should.to_string() })
        .collect()
}

fn semi_sync(role: Role, wanted: bool, server: &Snapshot) -> Vec<Verb> {
    let held = &server.held.semi_sync;
    let sides = [
        (SemiSyncRole::Source, held.source_enabled, wanted && role == Role::Master),
        (SemiSyncRole::Replica, held.replica_enabled, wanted && role == Role::Minion),
    ];
    sides
        .into_iter()
        .filter(|(_, is, should)| is.is_some_and(|is| is != *should))
        .map(|(role, _, on)| Verb::SemiSync { role, on })
        .collect()
}

fn goal_variables(
    wanted: &BTreeMap<String, VariableValue>,
    found: &BTreeMap<String, String>,
) -> Vec<Verb> {
    wanted
        .iter()
        .filter(|(name, value)| found.get(*name).is_some_and(|is| !same(is, &value.to_string())))
        .map(|(name, value)| Verb::SetGlobal { name: name.clone(), value: value.to_string() })
        .collect()
}

/// MySQL shows 1.000000 for 1 and ON for 1.
fn same(is: &str, should: &str) -> bool {
    let switch = |text: &str| match text.to_ascii_uppercase().as_str() {
        "ON" => "1".to_owned(),
        "OFF" => "0".to_owned(),
        other => other.to_owned(),
    };
    let (is, should) = (switch(is), switch(should));
    match (is.parse::<f64>(), should.parse::<f64>()) {
        (Ok(is), Ok(should)) => (is - should).abs() < 1e-6,
        _ => is == should,
    }
}

/// What a server lacks for what the goal asks.
pub(super) fn notes(subject: &Subject<'_>, server: &ServerFacts) -> Vec<String> {
    let mut notes = Vec::new();
    let plugins = server.snapshot.plugins;
    if subject.entry().semi_sync && !(plugins.semi_sync_source && plugins.semi_sync_replica) {
        notes.push("the goal wants semi-sync, but the image lacks its plugins".to_owned());
    }
    for name in subject.entry().variables.keys() {
        if !server.globals.contains_key(name) {
            notes.push(format!("the server has no variable {name}"));
        }
    }
    if !server.snapshot.other_channels.is_empty() {
        notes.push(format!(
            "it has replication channels that berth doesn't lead: {}",
            server.snapshot.other_channels.join(", ")
        ));
    }
    notes
}
