//! Servers and agents that are killed or stopped: what is repaired, what is told, and what
//! is left alone.

use std::{fs, time::Instant};

use berth_integration::{Bed, Entry, PATIENCE, until};
use berth_model::{
    EntryKey,
    status::{AgentState, InstanceState, Phase},
};
use nix::sys::signal::Signal;

use super::{pids, send};

#[test]
fn servers_and_agents_fail() {
    let mut bed = Bed::new();
    let entries = bed.cluster("shop", 0, 3);
    bed.goal("shop.json", &entries);
    bed.await_converged(&entries);
    bed.sql(&entries[0].key(), "CREATE DATABASE app; CREATE TABLE app.t (id INT PRIMARY KEY)");

    for (number, entry) in entries.iter().enumerate() {
        a_killed_server_comes_back(&bed, &entries, &entry.key(), number);
    }
    a_stopped_agent_shows(&bed, &entries);
    a_stopped_server_holds_nobody_up(&bed, &entries);
    another_program_restarts_nothing(&mut bed, &entries);
    a_server_that_keeps_dying_is_tried_ever_later(&bed, &entries);
}

fn a_killed_server_comes_back(bed: &Bed, entries: &[Entry], victim: &EntryKey, number: usize) {
    let before = pids(bed, entries);
    let begun = Instant::now();
    send(before[number], Signal::SIGKILL);
    bed.await_instance(victim, "another container", |instance| {
        let pid = instance.container.as_ref().and_then(|container| container.pid);
        instance.phase == Phase::Converged && pid.is_some_and(|pid| pid != before[number])
    });
    eprintln!("figure: killed {victim} serves again after {:?}", begun.elapsed());
    bed.sql(&entries[0].key(), &format!("INSERT INTO app.t VALUES ({number})"));
    let rows = (number + 1).to_string();
    for entry in entries {
        bed.await_answer(&entry.key(), "SELECT COUNT(*) FROM app.t", &rows);
    }
    bed.await_converged(entries);
    let after = pids(bed, entries);
    for (at, (before, after)) in before.iter().zip(&after).enumerate() {
        assert_eq!(before == after, at != number, "{at}: {before} {after}");
    }
    let instance = &bed.document().unwrap().instances[victim];
    assert_eq!(instance.crashes, 1);
    let how = instance.last_exit.clone().unwrap();
    assert!(how.contains("signal 9") || how.contains("SIGKILL"), "{how}");
}

fn a_stopped_agent_shows(bed: &Bed, entries: &[Entry]) {
    bed.agent().signal(Signal::SIGSTOP);
    let begun = Instant::now();
    let status = bed.status();
    eprintln!("figure: status answers beside a stopped agent in {:?}", begun.elapsed());
    let stuck = until(PATIENCE, || (bed.status().agent.state == AgentState::Stuck).then_some(()));
    assert!(stuck.is_some(), "{:?}", bed.status().agent);
    // What runs is read from the kernel, also now.
    for entry in entries {
        let instance = &status.instances[&entry.key()];
        assert!(instance.container.as_ref().unwrap().pid.is_some());
        assert!(instance.usage.memory_bytes.unwrap() > 0);
    }
    let output = bed.berth(&["status", "--check"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("stopped or stuck"), "{text}");
    assert_eq!(output.status.code(), Some(1));
    bed.agent().signal(Signal::SIGCONT);
    let runs = until(PATIENCE, || (bed.status().agent.state == AgentState::Running).then_some(()));
    assert!(runs.is_some(), "{:?}", bed.status().agent);
}

fn a_stopped_server_holds_nobody_up(bed: &Bed, entries: &[Entry]) {
    let (killed, stopped) = (entries[1].key(), entries[2].key());
    let before = pids(bed, entries);
    send(before[2], Signal::SIGSTOP);
    let begun = Instant::now();
    bed.await_instance(&stopped, "unresponsive", |instance| {
        instance.state == InstanceState::Unresponsive
    });
    eprintln!("figure: a stopped server is called unresponsive after {:?}", begun.elapsed());
    let begun = Instant::now();
    send(before[1], Signal::SIGKILL);
    bed.await_instance(&killed, "another container", |instance| {
        let pid = instance.container.as_ref().and_then(|container| container.pid);
        instance.phase == Phase::Converged && pid.is_some_and(|pid| pid != before[1])
    });
    eprintln!("figure: another is repaired beside it in {:?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(bed.status().instances[&stopped].state, InstanceState::Unresponsive);
    eprintln!("figure: status answers beside a stopped server in {:?}", begun.elapsed());
    send(before[2], Signal::SIGCONT);
    bed.await_converged(entries);
    assert_eq!(bed.pid(&stopped), before[2], "it was only stopped");
}

fn another_program_restarts_nothing(bed: &mut Bed, entries: &[Entry]) {
    let before = pids(bed, entries);
    let other = bed.dir().join("berth-of-another-version");
    fs::copy(&bed.program, &other).unwrap();
    bed.program = other.clone();
    assert!(bed.end_agent(Signal::SIGTERM).success(), "asked to end, it ends well");
    assert_eq!(bed.status().agent.state, AgentState::Gone);
    assert_eq!(pids(bed, entries), before);
    bed.start_agent();
    bed.await_converged(entries);
    let exe = fs::read_link(format!("/proc/{}/exe", bed.agent().pid())).unwrap();
    assert_eq!(exe, other);
    assert_eq!(pids(bed, entries), before);
}

fn a_server_that_keeps_dying_is_tried_ever_later(bed: &Bed, entries: &[Entry]) {
    let victim = entries[2].key();
    let others = pids(bed, &entries[..2]);
    let mut last = 0;
    let told = until(PATIENCE, || {
        let status = bed.document()?;
        let instance = &status.instances[&victim];
        if instance.phase == Phase::Retrying {
            return Some((instance.clone(), status.agent.last_pass_at));
        }
        let pid = instance.container.as_ref().and_then(|container| container.pid)?;
        if pid != last && proc_is_server(pid) {
            send(pid, Signal::SIGKILL);
            last = pid;
        }
        None
    });
    let (told, then) = told.expect("a server that keeps dying must be tried later at some time");
    let retry = told.retry.clone().expect("when the next try is");
    assert!(retry.failures >= 2 && retry.at > then, "{retry:?} at {then}");
    assert!(told.crashes >= retry.failures.min(2), "{told:?}");
    assert!(told.last_exit.is_some());
    let shown = String::from_utf8_lossy(&bed.berth(&["status"]).stdout).into_owned();
    assert!(shown.contains("retrying"), "{shown}");
    bed.await_converged(entries);
    assert_eq!(pids(bed, &entries[..2]), others);
}

fn proc_is_server(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "mysqld")
}
