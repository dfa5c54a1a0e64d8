//! What a bed shows: its status, its servers' answers, and waiting for both.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::Output,
    time::{SystemTime, UNIX_EPOCH},
};

use berth_model::{
    EntryKey,
    status::{InstanceState, InstanceStatus, Phase, StatusDocument},
};

use super::Bed;
use crate::{Entry, PATIENCE, client, namespace::command_in, program, until};

impl Bed {
    /// Runs the program under test with this configuration, on this host.
    ///
    /// # Panics
    /// It can't be run.
    pub fn berth(&self, arguments: &[&str]) -> Output {
        let mut command = command_in(self.namespace(), program::berth());
        command.arg("--config").arg(self.config()).args(arguments).output().unwrap()
    }

    /// What `berth status --json` prints.
    ///
    /// # Panics
    /// It prints no status document.
    #[must_use]
    pub fn status(&self) -> StatusDocument {
        let output = self.berth(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("{error} in the status: {}", String::from_utf8_lossy(&output.stderr))
        })
    }

    /// The document that the agent wrote last; the live facts of the kernel are not in it.
    #[must_use]
    pub fn document(&self) -> Option<StatusDocument> {
        let text = fs::read(self.dir.join("run/status.json")).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Waits until the agent writes a document like this.
    ///
    /// # Panics
    /// It doesn't in time.
    pub fn await_status(
        &self,
        what: &str,
        is_it: impl Fn(&StatusDocument) -> bool,
    ) -> StatusDocument {
        let found = until(PATIENCE, || self.document().filter(&is_it));
        found.unwrap_or_else(|| panic!("waited in vain for {what}"))
    }

    /// Waits until an instance is like this.
    ///
    /// # Panics
    /// It isn't in time.
    pub fn await_instance(
        &self,
        key: &EntryKey,
        what: &str,
        is_it: impl Fn(&InstanceStatus) -> bool,
    ) -> InstanceStatus {
        let what = format!("{key}: {what}");
        let found =
            self.await_status(&what, |status| status.instances.get(key).is_some_and(&is_it));
        found.instances[key].clone()
    }

    /// Waits until an instance has this state and is converged.
    pub fn await_state(&self, key: &EntryKey, state: InstanceState) -> InstanceStatus {
        self.await_instance(key, &format!("converged as {state}"), |instance| {
            instance.state == state && instance.phase == Phase::Converged
        })
    }

    /// Waits until an instance is blocked for a reason that holds this text.
    pub fn await_blocked(&self, key: &EntryKey, reason: &str) -> InstanceStatus {
        self.await_instance(key, &format!("blocked by {reason:?}"), |instance| {
            instance.phase == Phase::Blocked
                && instance.blocked.as_ref().is_some_and(|why| why.contains(reason))
        })
    }

    /// Waits until the instances of these entries, and no others, are there and converged in
    /// a pass that began after this call.
    pub fn await_converged(&self, entries: &[Entry]) -> StatusDocument {
        let keys: BTreeSet<EntryKey> = entries.iter().map(Entry::key).collect();
        let called = millis_now();
        self.await_status("all converged", |status| {
            let took = i64::try_from(status.agent.last_pass_ms).unwrap_or_default();
            status.agent.last_pass_at.as_millisecond() - took >= called
                && status.refusals.is_empty()
                && status.instances.keys().eq(&keys)
                && status.instances.values().all(|instance| instance.phase == Phase::Converged)
        })
    }

    /// Asks an instance's server by the second client.
    ///
    /// # Errors
    /// What the client says.
    pub fn ask(&self, key: &EntryKey, sql: &str) -> Result<String, String> {
        client::ask(&self.socket(key), sql)
    }

    /// Asks an instance's server by the second client, which must succeed.
    ///
    /// # Panics
    /// The client says an error.
    pub fn sql(&self, key: &EntryKey, sql: &str) -> String {
        self.ask(key, sql).unwrap_or_else(|error| panic!("{key}: {sql}: {error}"))
    }

    /// Asks a server of any host over TCP from this one, by the second client.
    ///
    /// # Errors
    /// What the client says.
    pub fn ask_at(
        &self,
        server: SocketAddr,
        login: (&str, &str),
        sql: &str,
    ) -> Result<String, String> {
        client::ask_at(self.namespace(), server, login, sql)
    }

    /// Waits until a question has this answer.
    ///
    /// # Panics
    /// It hasn't in time.
    pub fn await_answer(&self, key: &EntryKey, sql: &str, answer: &str) {
        let mut last = Ok(String::new());
        let found = until(PATIENCE, || {
            last = self.ask(key, sql);
            (last.as_deref() == Ok(answer)).then_some(())
        });
        assert!(found.is_some(), "{key}: {sql}: found {last:?}, expected {answer:?}");
    }

    /// The socket of an instance's server, on the host.
    #[must_use]
    pub fn socket(&self, key: &EntryKey) -> PathBuf {
        self.dir.join("run/sockets").join(key.as_str()).join("mysqld.sock")
    }

    /// The process id of an instance's server.
    ///
    /// # Panics
    /// None runs.
    #[must_use]
    pub fn pid(&self, key: &EntryKey) -> u32 {
        let status = self.status();
        let container = status.instances[key].container.as_ref();
        container.and_then(|container| container.pid).unwrap_or_else(|| panic!("{key} must run"))
    }

    /// What a failed test wants to know, on standard error.
    pub(super) fn show(&self) {
        let output = self.berth(&["status"]);
        eprintln!("== status\n{}", String::from_utf8_lossy(&output.stdout));
        eprintln!("== agent's log\n{}", last_lines(&self.agent_log(), 80));
        for entry in fs::read_dir(self.dir.join("log")).into_iter().flatten().flatten() {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            eprintln!("== {}\n{}", entry.path().display(), last_lines(&text, 15));
        }
    }
}

/// The time as Unix counts it, in milliseconds.
fn millis_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right");
    i64::try_from(since.as_millis()).expect("milliseconds of this age fit")
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
