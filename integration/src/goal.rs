//! Goal entries, as a fleet's program would write them.

use berth_model::EntryKey;
use serde_json::{Value, json};

/// The host's name in every bed that is no host of a fleet.
pub const HOST: &str = "bed";
/// Memory of each server: little, so that many fit.
const SIZE: &str = "448MiB";

/// One entry of a goal file.
#[derive(Debug, Clone)]
pub struct Entry {
    host: String,
    name: String,
    body: Value,
}

impl Entry {
    /// A master, such as `shop-db1`.
    #[must_use]
    pub fn master(name: &str, port: u16) -> Self {
        let body = json!({
            "app_id": name,
            "state": "started",
            "data": {
                "name": name, "role": "master", "disabled": false,
                "port": port, "size": SIZE, "semi_sync_repl_enabled": false,
            },
        });
        Self { host: HOST.to_owned(), name: name.to_owned(), body }
    }

    /// A minion of the server on this port of the same host.
    #[must_use]
    pub fn minion(name: &str, port: u16, master_port: u16) -> Self {
        Self::master(name, port)
            .data("role", json!("minion"))
            .data("master_host", json!(HOST))
            .data("master_port", json!(master_port))
    }

    /// The same with another field of `data`.
    #[must_use]
    pub fn data(mut self, field: &str, value: Value) -> Self {
        self.body["data"][field] = value;
        self
    }

    /// The same with another state.
    #[must_use]
    pub fn state(mut self, state: &str) -> Self {
        self.body["state"] = json!(state);
        self
    }

    /// The same on another host.
    #[must_use]
    pub fn on(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// The host that it is on.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port that it asks for.
    ///
    /// # Panics
    /// A test gave it none.
    #[must_use]
    pub fn port(&self) -> u16 {
        let port = self.body["data"]["port"].as_u64().and_then(|port| port.try_into().ok());
        port.expect("an entry has a port")
    }

    /// Its key.
    ///
    /// # Panics
    /// The name is none of an entry.
    #[must_use]
    pub fn key(&self) -> EntryKey {
        key_on(&self.host, &self.name)
    }
}

/// The key of the entry of this name on the host of a single bed.
///
/// # Panics
/// It is none of an entry.
#[must_use]
pub fn key(name: &str) -> EntryKey {
    key_on(HOST, name)
}

fn key_on(host: &str, name: &str) -> EntryKey {
    format!("{host}-{name}").parse().expect("tests choose names that are some")
}

/// The text of a file with these entries.
#[must_use]
pub fn text(entries: &[Entry]) -> String {
    let members = entries.iter().map(|entry| (entry.key().to_string(), entry.body.clone()));
    format!("{:#}\n", Value::Object(members.collect()))
}
