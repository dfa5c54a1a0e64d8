//! `berth status`: a table of instances, everything about one, or the document itself.

mod disk;
mod network;

use std::{process::ExitCode, time::Duration};

use anstyle::AnsiColor;
use berth_model::{
    EntryKey,
    status::{AgentState, GoalStanding, InstanceStatus, Phase, StatusDocument},
};
use jiff::Timestamp;

use super::{Failure, args, output};
use crate::{config::Config, host, status::live};

const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Clears the screen and puts the cursor home (ECMA-48: ED, CUP).
const CLEAR: &str = "\x1b[2J\x1b[H";

pub(super) fn run(config: &Config, what: &args::Status) -> Result<ExitCode, Failure> {
    // Without the runtime (no root, no cgroups) the document alone is shown.
    let runtime = host::open_runtime(config).ok();
    loop {
        let mut document = live::read(config, runtime.as_ref())?;
        if let Some(key) = &what.instance {
            keep_only(&mut document, key)?;
        }
        if what.json {
            output::json(&document)?;
        } else {
            let colours = output::colours(&std::io::stdout());
            let clear = if what.watch && colours { CLEAR } else { "" };
            let text = match &what.instance {
                Some(key) => details(key, &document.instances[key]),
                None => overview(&document, colours),
            };
            output::print(&format!("{clear}{text}"))?;
        }
        if !what.watch {
            return Ok(if what.check { verdict(&document) } else { ExitCode::SUCCESS });
        }
        std::thread::sleep(WATCH_INTERVAL);
    }
}

fn keep_only(document: &mut StatusDocument, key: &EntryKey) -> Result<(), Failure> {
    document.instances.retain(|each, _| each == key);
    if document.instances.is_empty() {
        return Err(format!("there is no instance {key}; `berth status` lists them").into());
    }
    Ok(())
}

fn verdict(document: &StatusDocument) -> ExitCode {
    let well = document.agent.state == AgentState::Running
        && document.refusals.is_empty()
        && document.network.as_ref().is_none_or(|network| network.refused_pools.is_empty())
        && document.instances.values().all(|instance| instance.phase == Phase::Converged);
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn overview(document: &StatusDocument, colours: bool) -> String {
    let mut text = agent_line(document, colours);
    let mut heading = vec![
        "INSTANCE", "GOAL", "STATE", "PHASE", "SINCE", "ROLE", "LAG", "PID", "MEMORY", "DOING",
    ];
    let mut rows: Vec<Vec<String>> =
        document.instances.iter().map(|(key, instance)| row(key, instance, colours)).collect();
    network::add_addresses(document, &mut heading, &mut rows);
    if rows.is_empty() {
        text.push_str("no instances\n");
    } else {
        text.push_str(&output::table(&heading, rows));
    }
    for (key, instance) in &document.instances {
        if let Some(why) = &instance.blocked {
            text.push_str(&format!("{key} is blocked: {why}\n"));
        }
    }
    text.push_str(&network::overview(document));
    for stray in &document.strays {
        text.push_str(&format!("no goal speaks of container {stray}\n"));
    }
    for refusal in &document.refusals {
        text.push_str(&format!("refused: {refusal}\n"));
    }
    text.push_str(&images_line(document));
    text
}

fn agent_line(document: &StatusDocument, colours: bool) -> String {
    let agent = &document.agent;
    let age = output::age(seconds_since(agent.last_pass_at));
    match agent.state {
        AgentState::Running => format!(
            "{}: agent {} runs (pid {}), last pass {age} ago in {} ms\n",
            document.host, agent.version, agent.pid, agent.last_pass_ms
        ),
        AgentState::Stuck => output::paint(
            &format!(
                "{}: the agent (pid {}) is stopped or stuck, last pass {age} ago\n",
                document.host, agent.pid
            ),
            AnsiColor::Red,
            colours,
        ),
        AgentState::Gone => output::paint(
            &format!(
                "{}: no agent runs; this is from its last pass {age} ago, and nothing is repaired\n",
                document.host
            ),
            AnsiColor::Red,
            colours,
        ),
    }
}

fn images_line(document: &StatusDocument) -> String {
    let Some(images) = &document.images else { return String::new() };
    let taken = images.blob_bytes + images.tree_bytes + images.partial_bytes;
    let (taken, free) = (output::bytes(taken), output::bytes(images.free_bytes));
    format!("images take {taken}, {free} are free\n")
}

fn seconds_since(at: Timestamp) -> i64 {
    Timestamp::now().duration_since(at).as_secs()
}

fn row(key: &EntryKey, instance: &InstanceStatus, colours: bool) -> Vec<String> {
    let dash = || "-".to_owned();
    let colour = match instance.phase {
        Phase::Converged => AnsiColor::Green,
        Phase::Converging => AnsiColor::Yellow,
        Phase::Retrying | Phase::Blocked => AnsiColor::Red,
    };
    let lag = instance.replication.as_ref().and_then(|replication| replication.lag_seconds);
    let pid = instance.container.as_ref().and_then(|container| container.pid);
    vec![
        key.to_string(),
        goal_words(instance),
        instance.state.to_string(),
        output::paint(&instance.phase.to_string(), colour, colours),
        output::age(seconds_since(instance.since)),
        instance.role.map_or_else(dash, |role| role.to_string()),
        lag.map_or_else(dash, |lag| format!("{lag}s")),
        pid.map_or_else(dash, |pid| pid.to_string()),
        memory(instance),
        doing(instance).map_or_else(dash, |doing| cut(&doing)),
    ]
}

/// The beginning of a text that is too long for a table; `berth status KEY` shows all.
fn cut(text: &str) -> String {
    const CHARACTERS: usize = 60;
    match text.char_indices().nth(CHARACTERS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn goal_words(instance: &InstanceStatus) -> String {
    let goal = &instance.goal;
    let state = serde_json::to_value(goal.state).unwrap_or_default();
    let disabled = if goal.disabled { ",disabled" } else { "" };
    let standing = match goal.standing {
        GoalStanding::Current => "",
        GoalStanding::LastGood => ",last-good",
        GoalStanding::Orphaned => ",orphaned",
    };
    match state.as_str() {
        Some("started") | None => format!("{}{disabled}{standing}", goal.role),
        Some(state) => format!("{state}{standing}"),
    }
}

fn memory(instance: &InstanceStatus) -> String {
    let used = instance.usage.memory_bytes.map(output::bytes);
    let limit = instance.usage.memory_max_bytes.map(output::bytes);
    match (used, limit) {
        (Some(used), Some(limit)) => format!("{used}/{limit}"),
        (Some(used), None) => used,
        (None, _) => "-".to_owned(),
    }
}

fn doing(instance: &InstanceStatus) -> Option<String> {
    if let Some(retry) = &instance.retry {
        let wait = output::age(-seconds_since(retry.at));
        let why = instance.last_step.as_ref().and_then(|step| step.error.first());
        let why = why.or(instance.last_exit.as_ref()).map_or("", String::as_str);
        return Some(format!("again in {wait} after {} failures: {why}", retry.failures));
    }
    instance.doing.as_ref().map(|doing| doing.step.clone())
}

/// A count, with its limit where it has one.
fn of(count: u64, limit: Option<u64>) -> String {
    limit.map_or_else(|| count.to_string(), |limit| format!("{count}/{limit}"))
}

/// Everything about one instance, a fact a line.
fn details(key: &EntryKey, instance: &InstanceStatus) -> String {
    let mut lines: Vec<(&str, String)> = vec![
        ("instance", key.to_string()),
        ("goal", format!("{} ({})", goal_words(instance), instance.goal.location)),
        ("cluster", instance.goal.cluster.to_string()),
        ("image", instance.goal.image.clone()),
        ("state", instance.state.to_string()),
        (
            "since",
            format!("{} ({} ago)", instance.since, output::age(seconds_since(instance.since))),
        ),
        ("phase", instance.phase.to_string()),
    ];
    let mut some = |name, value: Option<String>| lines.extend(value.map(|value| (name, value)));
    some("blocked", instance.blocked.clone());
    some("doing", doing(instance));
    some(
        "last step",
        instance.last_step.as_ref().map(|last| {
            let result =
                if last.error.is_empty() { "done".to_owned() } else { last.error.join(": ") };
            format!("{} at {}: {result}", last.step, last.at)
        }),
    );
    some("role", instance.role.map(|role| role.to_string()));
    some("address", instance.address.clone());
    for (name, value) in network::details(instance) {
        some(name, Some(value));
    }
    some("disk", instance.disk.as_ref().map(disk::words));
    some("server", instance.server_version.clone());
    some("uuid", instance.server_uuid.clone());
    some("executed", instance.gtid_executed.clone());
    if let Some(replication) = &instance.replication {
        let threads = |on| if on { "runs" } else { "does not run" };
        some("source", Some(replication.source.clone()));
        some("receiver", Some(threads(replication.receiver).to_owned()));
        some("applier", Some(threads(replication.applier).to_owned()));
        some("lag", replication.lag_seconds.map(|lag| format!("{lag}s")));
        some("error", replication.error.clone());
    }
    if let Some(container) = &instance.container {
        some("pid", container.pid.map(|pid| pid.to_string()));
        some("started", Some(container.started_at.to_string()));
        some("exit", container.exit.clone());
    }
    some(
        "crashes",
        (instance.crashes > 0).then(|| {
            format!(
                "{}, the last by {}",
                instance.crashes,
                instance.last_exit.clone().unwrap_or_default()
            )
        }),
    );
    let usage = &instance.usage;
    some("memory", usage.memory_bytes.map(|_| memory(instance)));
    some("memory high", usage.memory_high_bytes.map(output::bytes));
    some(
        "cpu time",
        usage.cpu_usec.map(|usec| format!("{}.{:02}s", usec / 1_000_000, usec / 10_000 % 100)),
    );
    some("cpu limit", usage.cpu_max_cores.map(|cores| format!("{cores} cores")));
    some("cpu weight", usage.cpu_weight.map(|weight| weight.to_string()));
    some("cpus", usage.cpuset.clone());
    some(
        "disk i/o",
        usage.io_read_bytes.zip(usage.io_write_bytes).map(|(read, written)| {
            format!("{} read, {} written", output::bytes(read), output::bytes(written))
        }),
    );
    some("disk limit", Some(usage.io_max.clone()).filter(|text| !text.is_empty()));
    some("disk weight", usage.io_weight.map(|weight| weight.to_string()));
    some("threads", usage.pids.map(|pids| of(pids, usage.pids_max)));
    some("oom kills", usage.oom_kills.filter(|kills| *kills > 0).map(|kills| kills.to_string()));
    lines.extend(instance.notes.iter().map(|note| ("note", note.clone())));
    lines.iter().map(|(name, value)| format!("{name:<11} {value}\n")).collect()
}

#[cfg(test)]
mod tests;
