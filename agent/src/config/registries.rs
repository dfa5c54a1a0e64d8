//! The `[registries]` table: how images are fetched that a goal names and the host has not.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use berth_images::{Reference, docker_config_file};
use serde::Deserialize;

use super::network::Wrong;

/// How long a wait may be configured to be.
const WAIT_MAX: Duration = Duration::from_secs(3600);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRegistries {
    pull: bool,
    plain_http: BTreeSet<String>,
    mirrors: BTreeMap<String, Vec<String>>,
    auth_file: PathBuf,
    connect_wait: String,
    stall_wait: String,
    rest_max: String,
    tries: u32,
    parallel: usize,
}

impl Default for RawRegistries {
    fn default() -> Self {
        let usual = berth_images::Registries::default();
        let words = |wait| humantime::format_duration(wait).to_string();
        Self {
            pull: true,
            plain_http: BTreeSet::new(),
            mirrors: BTreeMap::new(),
            auth_file: "/etc/berth/auth.json".into(),
            connect_wait: words(usual.connect_wait),
            stall_wait: words(usual.stall_wait),
            rest_max: words(usual.rest_max),
            tries: usual.tries,
            parallel: usual.parallel,
        }
    }
}

/// Where images come from, checked.
#[derive(Debug, Clone)]
pub struct Registries {
    /// Whether the agent pulls by itself what a goal names.
    pub by_agent: bool,
    /// How registries are reached.
    pub reach: berth_images::Registries,
}

impl Default for Registries {
    fn default() -> Self {
        RawRegistries::default().check().expect("the defaults are in range")
    }
}

impl RawRegistries {
    pub(super) fn check(self) -> Result<Registries, Wrong> {
        let wrong =
            |field, found: &str, expected| Wrong { field, found: format!("{found:?}"), expected };
        for host in self.plain_http.iter().chain(self.mirrors.keys()) {
            if !is_registry(host) {
                let field = "registries";
                return Err(wrong(field, host, "registries as host or host:port, without a path"));
            }
        }
        for mirror in self.mirrors.values().flatten() {
            if berth_images::Registries::check_mirror(mirror).is_err() {
                let expected = "host.domain[/prefix] or host:port[/prefix]";
                return Err(wrong("registries.mirrors", mirror, expected));
            }
        }
        if !self.auth_file.is_absolute() {
            let found = self.auth_file.to_string_lossy();
            return Err(wrong("registries.auth_file", &found, "an absolute path"));
        }
        let wait = |field, text: &str| {
            let wait = humantime::parse_duration(text).ok();
            wait.filter(|wait| (Duration::from_millis(1)..=WAIT_MAX).contains(wait))
                .ok_or_else(|| wrong(field, text, "up to 1h, such as \"30s\""))
        };
        let reach = berth_images::Registries {
            connect_wait: wait("registries.connect_wait", &self.connect_wait)?,
            stall_wait: wait("registries.stall_wait", &self.stall_wait)?,
            rest_max: wait("registries.rest_max", &self.rest_max)?,
            tries: self.tries,
            parallel: self.parallel,
            plain_http: self.plain_http,
            mirrors: self.mirrors,
            auth_files: [Some(self.auth_file), docker_config_file()]
                .into_iter()
                .flatten()
                .collect(),
        };
        if !(1..=100).contains(&reach.tries) {
            return Err(wrong("registries.tries", &reach.tries.to_string(), "1 to 100"));
        }
        if !(1..=16).contains(&reach.parallel) {
            return Err(wrong("registries.parallel", &reach.parallel.to_string(), "1 to 16"));
        }
        Ok(Registries { by_agent: self.pull, reach })
    }
}

/// A name is a registry if an image's name can begin with it. Without a dot or a port it
/// would be taken for a part of the path, except `localhost`.
fn is_registry(host: &str) -> bool {
    format!("{host}/name").parse::<Reference>().is_ok_and(|reference| reference.host() == host)
}
