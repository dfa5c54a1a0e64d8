//! Goal entries, written as documents and read by the code that reads documents.

use std::collections::BTreeMap;

use berth_model::goal::{Goals, HostFacts, parse, resolve};
use serde_json::{Value, json};

use super::HOST;
use crate::config::Config;

/// One entry of a document.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    key: String,
    value: Value,
}

/// The entry of a master called `name`, on this port.
pub(crate) fn master(name: &str, port: u16) -> Entry {
    let data = json!({ "role": "master", "port": port, "size": "4GiB", "cluster": "orders" });
    Entry { key: format!("{HOST}-{name}"), value: json!({ "data": data }) }
}

/// The entry of a minion of the master on `master_port` of the same host.
pub(crate) fn minion(name: &str, port: u16, master_port: u16) -> Entry {
    let entry = master(name, port).with("role", "minion").with("master_host", HOST);
    entry.with("master_port", master_port)
}

impl Entry {
    /// Sets a field of `data`.
    pub(crate) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.value["data"][field] = value.into();
        self
    }

    /// Sets `disabled`.
    pub(crate) fn disabled(self) -> Self {
        self.with("disabled", true)
    }

    /// Sets `state`.
    pub(crate) fn state(mut self, state: &str) -> Self {
        self.value["state"] = state.into();
        self
    }

    /// Puts the entry on another host.
    pub(crate) fn on(mut self, host: &str) -> Self {
        self.key = self.key.replacen(HOST, host, 1);
        self
    }
}

/// The text of a goal file.
pub(crate) fn document(entries: &[Entry]) -> String {
    let map: serde_json::Map<String, Value> =
        entries.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect();
    Value::Object(map).to_string()
}

/// The goals that follow from a file with these entries, none of which may be refused.
pub(crate) fn goals(config: &Config, entries: &[Entry]) -> Goals {
    let host = HostFacts { name: config.host.clone(), memory_bytes: Some(config.memory_bytes) };
    let file = parse::file("10-test.json", &document(entries));
    let goals = resolve::resolve(&host, &[file], &BTreeMap::new());
    assert_eq!(goals.refusals, [], "entries of a test must be valid");
    goals
}
